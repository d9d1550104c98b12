"""What stays of a text: a sentence, and numbers by which nearly the same is known."""

import random
from itertools import pairwise

import pytest

from reverie.cold.digest import LONGEST_SENTENCE, MINHASH_BYTES, likeness, minhash, sentence

STORY = (
    "The ferry to Fort William left at seven in the morning. Ada had packed the blue tent, two maps and the old "
    "thermos that her brother gave her in 2019. It rained until noon, and nobody on board minded very much."
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (STORY, "The ferry to Fort William left at seven in the morning."),
        ("Hey Mel! Good to see you! I went to the lake.", "I went to the lake."),
        ("Hey Mel! How are you? I went to the lake with Ada.", "I went to the lake with Ada."),
        ("Hey Mel!", "Hey Mel!"),
        ("  two\n lines, of which one says something", "lines, of which one says something"),
        ("", ""),
        ("昨日は雨でした。今日は晴れです。", "昨日は雨でした。"),
        ("Dr. Who", "Dr."),
    ],
)
def test_a_sentence_is_one_that_says_something(content: str, expected: str) -> None:
    assert sentence(content) == expected


@pytest.mark.parametrize("content", ["word " * 100, "x" * 500, "a" * 70 + " " + "b" * 70])
def test_a_long_sentence_is_cut(content: str) -> None:
    cut = sentence(content)
    assert len(cut) <= LONGEST_SENTENCE
    assert cut.endswith("…")
    assert content.startswith(cut[:-1])


def test_the_numbers_are_few_and_always_the_same() -> None:
    assert len(minhash(STORY)) == MINHASH_BYTES <= 64
    assert minhash(STORY) == minhash(STORY)
    # Stored numbers are compared with new ones for years.
    assert minhash("The ferry left.").hex()[:32] == "d25f3d8d9e0d22aec1891edd16fdc208"


def test_the_same_words_are_alike_and_others_are_not() -> None:
    assert likeness(minhash(STORY), minhash(STORY.upper())) == 1.0
    assert likeness(minhash(STORY), minhash("Something else was said by other people elsewhere")) < 0.15
    assert likeness(minhash(STORY), minhash(STORY.replace("blue", "green"))) > 0.7
    assert minhash("...") == bytes(MINHASH_BYTES)


def test_likeness_is_near_the_share_of_common_words() -> None:
    drawn = random.Random(3)  # noqa: S311 - drawn alike each time
    vocabulary = [f"w{number}" for number in range(5000)]
    errors = []
    for _ in range(60):
        words = drawn.sample(vocabulary, 200)
        share = drawn.random()
        other = words[: int(200 * share)] + drawn.sample(vocabulary, 200 - int(200 * share))
        one, two = {*words, *pairwise(words)}, {*other, *pairwise(other)}
        exact = len(one & two) / len(one | two)
        errors.append(likeness(minhash(" ".join(words)), minhash(" ".join(other))) - exact)
    assert abs(sum(errors) / len(errors)) < 0.02
    assert max(map(abs, errors)) < 0.2


def test_a_very_long_text_takes_no_long_time() -> None:
    assert len(minhash("word " * 200_000)) == MINHASH_BYTES
