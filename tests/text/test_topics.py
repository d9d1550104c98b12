"""What a group of turns is about."""

from hypothesis import given
from hypothesis import strategies as st

from reverie.text.topics import MOST, topics

TALK = [
    "The kiln at the pottery studio broke again.",
    "Then no pottery class this week?",
    "No, the pottery studio waits for a new kiln, and Anna is sad.",
    "How long does a kiln last? I never knew.",
]


def test_words_that_come_again() -> None:
    assert topics(TALK, speakers=["Anna"])[:2] == ["pottery studio", "kiln"]


def test_neither_speakers_nor_small_words_are_topics() -> None:
    texts = ["Really, Quenby said that again and again."] * 4
    assert topics(texts, speakers=["Quenby"]) == []


def test_nothing_comes_again() -> None:
    assert topics(["The kiln broke.", "It rained."]) == []
    assert topics([]) == []


def test_singular_and_plural_are_one() -> None:
    assert topics(["Two kilns broke.", "It has a kiln."]) == ["kiln"]


def test_another_language_passes_through() -> None:
    assert topics(["Der Ofen ist kaputt.", "Der Ofen ist alt."], "german") == []


@given(st.lists(st.text(max_size=80), max_size=12))
def test_what_is_found_holds_for_any_texts(texts: list[str]) -> None:
    found = topics(texts)
    assert found == topics(texts)
    assert len(found) <= MOST
    for one in found:
        assert one == one.casefold()
        assert any(all(word in text.casefold() for word in one.split()) for text in texts)
