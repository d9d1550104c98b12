"""Summaries of conversations in their own words."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.text.sentences import content_words, length
from reverie.text.summaries import SHORT_CHARS, Summary, Turn, WordCounts, summarise

CHAT = (
    ("Ann", "Hey Bob! How have you been?"),
    ("Bob", "Hey Ann, great! I finally adopted a beagle named Waffles on 3 May."),
    ("Ann", "Wow, that's so cool! You must be happy."),
    ("Bob", "Yes, totally. My landlord in Ghent said no at first."),
    ("Ann", "I started a bookbinding course last week, and I'm making a diary. [shows a photo of a press]"),
    ("Bob", "Nice! What do you need for it?"),
    ("Ann", "Thread, glue and paper. Talk to you soon, Bob!"),
)


def turns(*said: tuple[str | None, str], language: str | None = "english") -> list[Turn[int]]:
    return [Turn(number, speaker, text, language) for number, (speaker, text) in enumerate(said)]


def summary(*said: tuple[str | None, str], words: int = 60, language: str | None = "english") -> Summary[int]:
    return summarise(turns(*said, language=language), words)


def test_what_is_told_is_kept_and_who_says_it_is_named() -> None:
    found = summary(*CHAT)
    assert "Bob finally adopted a beagle named Waffles on 3 May." in found.text
    assert "Bob's landlord in Ghent said no at first." in found.text
    assert "Ann started a bookbinding course last week" in found.text
    assert "Ann shows a photo of a press." in found.text
    assert found.text.index("Waffles") < found.text.index("bookbinding")


def test_greetings_and_questions_are_left_out() -> None:
    found = summary(*CHAT)
    for left in ("How have", "What do", "Hey", "Wow", "that's so cool", "Talk to you"):
        assert left not in found.text


def test_the_sources_are_the_turns_whose_words_are_in_it() -> None:
    found = summary(*CHAT, words=24)
    told = content_words(found.text, "english")
    for turn in turns(*CHAT):
        if turn.id in found.sources:
            assert content_words(turn.text, "english") & told
    assert set(found.sources) < set(range(len(CHAT)))
    assert list(found.sources) == sorted(found.sources)


@pytest.mark.parametrize("words", [9, 12, 24, 60, 110])
def test_a_budget_is_kept(words: int) -> None:
    assert 0 < length(summary(*CHAT * 3, words=words).text) <= words


def test_three_lengths_of_the_same_words() -> None:
    found = summary(*CHAT)
    assert found.sentence in found.text
    assert len(found.sentence) < len(found.text)
    assert len(found.short) <= SHORT_CHARS
    assert all(sentence in found.text for sentence in found.short.split(". "))


def test_a_short_form_is_cut_between_words() -> None:
    long = " ".join(f"word{number}" for number in range(35))
    found = summary((None, f"The list has {long}."))
    assert found.short.endswith("…")
    assert len(found.short) <= SHORT_CHARS
    assert found.short[:-1].split()[-1] in long.split()


def test_what_earlier_conversations_said_counts_less() -> None:
    said = (("Ann", "I fed the chickens at dawn."), ("Ann", "I sold the tractor to Piet."))
    known = WordCounts()
    for _ in range(40):
        known.add(turns(("Ann", "I sold a tractor, Piet came.")))
    assert summarise(turns(*said), 10).text == "Ann sold the tractor to Piet."
    assert summarise(turns(*said), 10, known=known).text == "Ann fed the chickens at dawn."


def test_the_same_is_told_once() -> None:
    found = summary(*[("Ann", "I bought a red kayak."), ("Ann", "So I bought the red kayak!")] * 2)
    assert found.text.count("kayak") == 1


def test_names_and_numbers_come_first() -> None:
    found = summary(("Ann", "I walked along quiet streets."), ("Ann", "I walked along Rue Haute 12."), words=7)
    assert "Rue Haute 12" in found.text


def test_of_an_assistant_and_a_user_it_is_the_user_who_is_told_of() -> None:
    found = summary(
        ("user", "I'm building a budget tracker with Flask, can you help me with the login?"),
        (
            "assistant",
            "# Login\nHere's the code:\n```python\nlogin()\n```\n1. Install Flask\n2. Configure sessions.",
        ),
        ("assistant", "Sessions should expire after fifteen minutes, unless people renew them."),
        words=13,
    )
    assert found.text == "I'm building a budget tracker with Flask."
    assert found.sources == (0,)


def test_who_retells_is_named() -> None:
    assert summary(("assistant", "Sessions expire after fifteen minutes.")).text == (
        "Assistant: Sessions expire after fifteen minutes."
    )


def test_placeholders_in_brackets_are_left_out() -> None:
    assert "Number" not in summary(("Ann", "I wrote the letter. [Your Phone Number] I sent it to Ghent.")).text


def test_where_there_are_only_questions_or_lists_they_are_told() -> None:
    assert summary(("user", "How do I mend a kayak?")).text == "How do I mend a kayak?"
    assert summary(("user", "- buy glue\n- call Piet about the boiler")).text == "Buy glue. Call Piet about the boiler."


@pytest.mark.parametrize("text", ["", " \n", "😀", "```\nx = 1\n```", "a" * 500, "[Name]", "?!"])
def test_of_nothing_there_is_no_summary(text: str) -> None:
    assert summary(("Ann", text)) == Summary("", "", "", ())
    assert summarise([]) == Summary("", "", "", ())


def test_other_languages_pass_through() -> None:
    german = summary(
        ("Anna", "Hallo Ben! Gestern bin ich mit Dr. Weber nach Hamburg gefahren."),
        ("Ben", "Schön! Ich habe am 3. Mai eine Prüfung in Chemie."),
        language="german",
    )
    assert german.text == (
        "Anna: Gestern bin ich mit Dr. Weber nach Hamburg gefahren. Ben: Ich habe am 3. Mai eine Prüfung in Chemie."
    )
    chinese = summary(
        ("小明", "你好！昨天我去了上海博物馆。你呢？"), ("小红", "周末要去杭州参加比赛。"), language="simple"
    )
    assert chinese.text == "小明: 昨天我去了上海博物馆。小红: 周末要去杭州参加比赛。"


def test_a_sentence_without_an_end_is_cut() -> None:
    thai = "เมื่อวานผมไปเชียงใหม่กับครอบครัว " * 20
    found = summary(("สมชาย", thai), language="simple")
    assert 0 < length(found.text) <= 60
    words = " ".join(f"thing{number}" for number in range(300))
    assert 20 < length(summary(("Ann", words)).text) <= 60


ALPHABET = "ab I'm,.?!\n[]`*-#|:我。é"


@given(st.lists(st.tuples(st.sampled_from(["Ann", "user", None]), st.text(ALPHABET, max_size=80)), max_size=6))
def test_whatever_is_said(said: list[tuple[str | None, str]]) -> None:
    found = summary(*said, words=15)
    assert found == summary(*said, words=15)
    assert length(found.text) <= 15 + len(found.sources)
    assert set(found.sources) <= set(range(len(said)))
    assert bool(found.text) == bool(found.sentence) == bool(found.short) == bool(found.sources)
    assert len(found.short) <= SHORT_CHARS


@pytest.mark.parametrize(
    "piece", [" ", "a", "a ", ". ", "[", "```", "*", "- ", ", ", "I ", "我", "hey, ", "x_", '"', "? "]
)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    def seconds(characters: int) -> float:
        text = piece * (characters // len(piece))
        began = time.process_time()
        summary(("Ann", text))
        return time.process_time() - began

    assert min(seconds(40_000) for _ in range(2)) < 16 * max(seconds(5_000), 0.01)
