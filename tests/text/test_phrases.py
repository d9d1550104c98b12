"""What of a question stands in a row."""

import time

import pytest

from reverie.text.phrases import MOST_PHRASES, long_names, quoted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('When does the "night train" leave?', ["night train"]),
        ("Wann fährt der „Nachtzug“?", ["Nachtzug"]),
        ("«Bonjour», »Hallo«, “good day”, 「東京」 and 'so long'", ["Bonjour", "Hallo", "good day", "東京", "so long"]),
        ('"twice" and "twice"', ["twice"]),
        ("It's Anna's dogs' bowl, isn't it?", []),
        ("the dogs' and the cats' 'own room'", ["own room"]),
        ('an inch is 1" and "" is empty, " " too', []),
        ('"one that\nruns on"', []),
        (f'"{"x" * 300}"', []),
        ("'", []),
        ("", []),
    ],
)
def test_phrases_in_quotation_marks(text: str, wanted: list[str]) -> None:
    assert quoted(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("How do we get to Fort William?", ["Fort William"]),
        ("Fort William is where?", ["Fort William"]),
        ("Did Anna Berg call?", ["Did Anna Berg", "Anna Berg"]),
        ("The ferry to the Isle of Skye, or to Mallaig", ["Isle of Skye"]),
        ("Who met Ursula von der Leyen in New York City?", ["Ursula von der Leyen", "New York City"]),
        ("What did Maria, Tomek and Nadia say?", ["Tomek and Nadia"]),
        ("What is Tomek allergic to?", []),
        ("WHERE IS FORT WILLIAM?", []),
        ("A Title Of Many Words With Capitals Is Not A Name", []),
        ("東京タワー はどこですか", []),
        ("", []),
    ],
)
def test_names_of_several_words(text: str, wanted: list[str]) -> None:
    assert long_names(text) == wanted


@pytest.mark.parametrize(
    "text", ['"' * 100_000, "'a " * 33_333, "Aa Bb. " * 14_285, "„a“ " * 25_000, "A" * 100_000, "Aa of " * 16_666]
)
def test_a_long_text_takes_no_long_time_and_gives_few(text: str) -> None:
    began = time.perf_counter()
    assert len(quoted(text)) <= MOST_PHRASES
    assert len(long_names(text)) <= MOST_PHRASES
    assert time.perf_counter() - began < 2
