"""Words for people: what stands out, how times and counts read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.cli.text import count, moment, one_line, passage, pattern, plain, stem


@pytest.mark.parametrize(
    ("question", "text", "marked"),
    [
        ("What is the cat called?", "They call her the cat; she calls back.", ["call", "cat", "calls"]),
        ("When is Tomek's birthday?", "Tomek had birthdays", ["Tomek", "birthdays"]),
        ("Where did she move?", "Moving is hard; a movie is not", ["Moving", "movie"]),
        ("C++ (a language)", "the languages", ["languages"]),
    ],
)
def test_the_words_of_a_question_stand_out(question: str, text: str, marked: list[str]) -> None:
    found = pattern(question)
    assert found is not None
    assert found.findall(text) == marked


def test_a_question_of_common_words_marks_nothing() -> None:
    assert pattern("What is it to me?") is None
    assert pattern("?!") is None


@given(st.text(), st.text(), st.integers(20, 200))
def test_a_passage_is_short_and_harmless(text: str, question: str, most: int) -> None:
    shown = passage(text, pattern(question), most)
    assert len(shown) <= most + 4
    assert not any(ord(sign) < 32 for sign in shown)
    assert plain(shown) == shown


def test_a_passage_shows_the_place_that_was_found() -> None:
    text = "rain " * 100 + "and then the otters came " + "rain " * 100
    assert "otters" in passage(text, pattern("Which otters?"), 80)
    assert passage(text, pattern("snow"), 80).startswith("rain rain")


@given(st.text(min_size=1))
def test_a_stem_is_the_beginning_of_its_word(word: str) -> None:
    assert word.lower().startswith(stem(word))


def test_times_and_counts() -> None:
    assert moment("2026-05-08T13:56:00Z") == "8 May 2026, 13:56"
    assert moment("2026-05-08T00:00:00+00:00") == "8 May 2026"
    assert moment(None) == ""
    assert (count(1, "trace"), count(0, "trace"), count(12480, "trace")) == ("1 trace", "0 traces", "12 480 traces")
    assert one_line("a\n b\tc", 4) == "a b…"
