"""How summaries are measured: ROUGE on the examples of its paper, what they are compared with, and the command."""

import json
import subprocess
from datetime import date
from pathlib import Path

import pytest
from bench.conversations import read_collection
from bench.dream import Session, by_night, interval, kept, names_and_numbers, sessions_of, share
from bench.extracts import Said, by_chance, lead, lexrank, said
from bench.finding import Words
from bench.rouge import rouge_l, rouge_n, words

from reverie.text.summaries import Turn

COMMANDS = Path(__file__).parents[2] / "bench"

REFERENCE = "police killed the gunman"
CANDIDATES = ("police kill the gunman", "the gunman kill police", "the gunman police killed")
"""Lin (2004), section 3.1."""


def test_rouge_l_of_the_examples_in_its_paper() -> None:
    found = [rouge_l(words(one), words(REFERENCE)) for one in CANDIDATES]
    assert [one.f1 for one in found] == [0.75, 0.5, 0.5]
    assert [one.recall for one in found] == [0.75, 0.5, 0.5]


def test_rouge_2_of_the_examples_in_its_paper() -> None:
    """The first two have one pair of words of the reference, "the gunman"; the third has "police killed" beside."""
    assert [rouge_n(words(one), words(REFERENCE), 2).recall for one in CANDIDATES] == [1 / 3, 1 / 3, 2 / 3]


def test_rouge_counts_a_word_as_often_as_both_have_it() -> None:
    found = rouge_n(words("The cat, the cat."), words("the cat sat on the mat"), 1)
    assert (found.precision, found.recall) == (0.75, 0.5)
    assert found.f1 == pytest.approx(0.6)
    assert rouge_n([], [], 1).f1 == rouge_n(["a"], ["b"], 2).f1 == rouge_l([], ["a"]).f1 == 0.0


SENTENCES = said([("Ann", "I sail. The sea is calm."), ("Bob", "The sea is cold! Is the sea calm?")])


def test_what_summaries_are_compared_with() -> None:
    assert SENTENCES[1:3] == [Said("Ann", "The sea is calm."), Said("Bob", "The sea is cold!")]
    assert lead(SENTENCES, 6) == "Ann: I sail. The sea is"
    assert by_chance(SENTENCES, 6, "seed") == by_chance(SENTENCES, 6, "seed")
    assert {by_chance(SENTENCES, 5, str(seed)) for seed in range(20)} > {"Ann: The sea is calm."}
    # What shares words with most of the others comes first, and what repeats it does not come beside it.
    assert lexrank(SENTENCES[1:], 5) == "Ann: The sea is calm."
    assert len(lexrank(SENTENCES, 100).split()) <= len(lead(SENTENCES, 100).split())


def test_names_and_numbers_that_are_kept() -> None:
    turns = [Turn("1", "Ann", "I met Bob and Dr. Weber in Ghent, for 12 euros."), Turn("2", "Bob", "Hi Ann!")]
    wanted = names_and_numbers(Session(("a", "b"), date(2026, 5, 1), turns, None))
    assert "12" in wanted
    assert "ghent" in wanted
    assert "bob" not in wanted
    assert kept(wanted, "Ann was in Ghent with 12 others.") == 2 / len(wanted)


def test_words_that_are_rare_find_more() -> None:
    found = Words(["the cat sat", "a cat ran", "dogs ran"]).shares("Which dogs ran?")
    assert found.argmax() == 2
    assert 0 < found[1] < found[2] <= 1
    assert not Words(["a cat"]).shares("horses").any()


def test_only_words_of_earlier_days_are_known() -> None:
    """The sessions of one day and of later days do not change what a day's summary says."""
    days = [date(2026, 5, number) for number in (1, 2, 2, 3)]
    told = ["I fed the chickens at dawn. I sold the tractor.", *["I sold the tractor to Piet."] * 3]
    sessions = [
        Session(("a", str(place)), day, [Turn(str(place), "Ann", text, "english")], None)
        for place, (day, text) in enumerate(zip(days, told, strict=True))
    ]
    assert [*by_night(sessions, 10)][:3] == [*by_night(sessions[:3], 10)]
    assert [*by_night(sessions, 10)][1] == [*by_night(sessions[:2], 10)][1]


def test_an_interval_holds_the_mean() -> None:
    mean, low, high = interval([0.0, 1.0] * 50)
    assert low < mean == 0.5 < high
    assert interval([0.3] * 5) == pytest.approx((0.3, 0.3, 0.3))


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A conversation of three sessions with summaries that a person could have written."""
    sessions = {
        "session_1": ["I adopted a beagle named Waffles in Ghent.", "Hi! How lovely! Is it a puppy?"],
        "session_2": ["I started a bookbinding course on 3 May.", "Oh! What do you make there?"],
        "session_3": ["My sister Ines sold her kayak to Piet.", "Great! Are you sad about it?"],
    }
    conversation: dict[str, object] = {"speaker_a": "Ann", "speaker_b": "Bob"}
    for number, (name, texts) in enumerate(sessions.items(), 1):
        conversation[f"{name}_date_time"] = f"2026-05-0{number}T10:00:00"
        conversation[name] = [
            {"speaker": speaker, "dia_id": f"D{number}:{place}", "text": text}
            for place, (speaker, text) in enumerate(zip(["Ann", "Bob"], texts, strict=True), 1)
        ]
    sample = {
        "sample_id": "one",
        "conversation": conversation,
        "qa": [{"question": "Who bought the kayak?", "evidence": ["D3:1"], "category": 4}],
        "session_summary": {f"{name}_summary": f"Ann told Bob: {texts[0]}" for name, texts in sessions.items()},
    }
    path = tmp_path / "told.json"
    path.write_text(json.dumps([sample]))
    return path


def test_sessions_come_in_the_order_of_their_days(told: Path) -> None:
    conversation = read_collection(told)[0]
    assert conversation.references["session_2"] == "Ann told Bob: I started a bookbinding course on 3 May."
    assert [one.key for one in sessions_of(conversation)] == [("one", f"session_{number}") for number in (1, 2, 3)]
    assert share(conversation, conversation.questions[0], ["session_1", "session_3"]) == 1.0
    assert share(conversation, conversation.questions[0], ["session_1"]) == 0.0


def test_the_command_measures_without_a_service(told: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = subprocess.run(  # noqa: S603
        [COMMANDS / "dream", "--data", told, "--json", out, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(out.read_bytes())
    assert done.returncode == int(not all(bar["met"] for bar in found["bars"]))
    means = {row["by"]: row for row in found["rows"] if row["budget"] == 60 and "words" in row}
    assert set(means) == {"night", "lead", "random", "LexRank", "a person"}
    assert means["a person"]["ROUGE-1"] == means["night"]["found in 3"] == 1.0
    assert means["night"]["names and numbers"] == 1.0
    assert len(found["bars"]) == 7
