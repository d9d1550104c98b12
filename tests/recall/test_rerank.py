"""What the reranker reads of a text, and its scores if they come in time."""

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.embedding.protocol import FloatArray, Limits
from reverie.embedding.reranking.service import Reranking
from reverie.recall.rerank import BUDGET, FEWEST, passages, rerank, window
from reverie.text.names import name_words

FILLER = "We talked about the weather and the garden for a while. "
ANSWER = "Clara adopted a grey cat from the shelter in Porto."
LONG = FILLER * 60 + ANSWER + " " + FILLER * 60
QUESTION = name_words("Which cat did Clara adopt in Porto?")


def test_a_short_text_is_read_whole() -> None:
    assert window(ANSWER, QUESTION, 200) == ANSWER
    assert window("", QUESTION, 200) == ""


def test_of_a_long_text_the_passage_with_the_words_is_read() -> None:
    found = window(LONG, QUESTION, 300)
    assert ANSWER in found
    assert len(found) <= 300
    assert found.startswith("We talked")
    assert found in LONG


@pytest.mark.parametrize("place", [0, 1, 30, 119, 120])
def test_wherever_it_stands(place: int) -> None:
    sentences = [FILLER] * 120
    sentences.insert(place, ANSWER + " ")
    assert ANSWER in window("".join(sentences), QUESTION, 300)


def test_endings_do_not_matter() -> None:
    assert ANSWER in window(LONG, ["adopting", "cats"], 200)


def test_a_rare_word_is_worth_more_than_frequent_ones() -> None:
    text = "The garden and the weather. " * 50 + "Nobody saw the otter. " + "The garden and the weather. " * 50
    assert "otter" in window(text, ["garden", "weather", "otter"], 120)


def test_several_words_are_worth_more_than_one_often() -> None:
    text = "cat " * 40 + FILLER * 20 + "the grey cat of Porto " + FILLER * 20
    assert "grey cat of Porto" in window(text, ["cat", "grey", "porto"], 160)


def test_words_within_others_do_not_count() -> None:
    text = "concatenate " * 30 + FILLER * 10 + "A cat." + FILLER * 10
    assert "A cat." in window(text, ["cat"], 120)


def test_without_any_of_the_words_it_is_the_beginning() -> None:
    for words in ([], ["volcano"], ["the", "and"]):
        found = window(LONG, words, 300)
        assert LONG.startswith(found)
        assert 200 < len(found) <= 300


def test_scripts_without_spaces() -> None:
    text = "今日は天気がいいです。" * 60 + "姉は灰色の猫を飼い始めました。" + "今日は天気がいいです。" * 60
    assert "灰色の猫" in window(text, name_words("姉はどんな猫を飼いましたか"), 80)
    russian = "Мы говорили о погоде. " * 40 + "Клара взяла серого кота. " + "Мы говорили о погоде. " * 40
    assert "серого кота" in window(russian, name_words("Какого кота взяла Клара?"), 120)


def test_a_text_without_any_space() -> None:
    found = window("x" * 5_000 + "needle" + "y" * 5_000, ["needle"], 300)
    assert len(found) <= 300


@given(st.text(max_size=600), st.lists(st.text(max_size=8), max_size=6), st.integers(1, 200))
def test_any_text_gives_a_passage_of_it(content: str, words: list[str], most: int) -> None:
    found = window(content, words, most)
    assert found in content
    assert len(found) <= most or found == content
    assert bool(found) or not content.strip() or most < 2


@given(st.lists(st.integers(0, 3_000), max_size=30), st.integers(0, 20_000))
def test_passages_keep_to_their_budget(lengths: list[int], budget: int) -> None:
    contents = ["a" * length for length in lengths]
    read = passages(contents, [None] * len(contents), ["b"], budget)
    total = sum(map(len, read))
    assert total <= max(budget, FEWEST * len(contents))
    if sum(lengths) <= budget:
        assert read == contents


def test_what_short_texts_leave_goes_to_the_long_ones() -> None:
    contents = [ANSWER] * 25 + [LONG] * 5
    read = passages(contents, ["user"] * 30, QUESTION)
    assert read[:25] == contents[:25]
    assert all(ANSWER in one and len(one) > 2 * BUDGET // 30 for one in read[25:])


def test_who_speaks_is_read_where_it_is_somebody() -> None:
    speakers = ["Clara", None, "user", "", "Assistant", "Dr. Ömer"]
    assert passages(["Hello."] * 6, speakers, QUESTION) == [
        "Clara: Hello.", "Hello.", "Hello.", "Hello.", "Hello.", "Dr. Ömer: Hello.",
    ]  # fmt: skip


def test_a_million_characters_are_looked_through_quickly() -> None:
    text = ("The garden and the weather were fine that day. " * 22_000)[:1_000_000]
    words = name_words("What did we say about the weather in the garden on the day of the wedding in Porto with Clara?")
    window(text, words, 500)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        window(text, words, 500)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1


class Gated:
    """A reranker that waits."""

    name, max_tokens, limits = "gated", 512, Limits(texts=8, size=8_000)

    def __init__(self) -> None:
        self.gate = threading.Event()

    def score(self, question: str, texts: Sequence[str]) -> FloatArray:
        assert self.gate.wait(30)
        return np.array([len(text) for text in texts], dtype=np.float32)

    def close(self) -> None:
        self.gate.set()


async def test_scores_or_none() -> None:
    gated = Gated()
    reranking = Reranking(lambda: gated)
    assert await rerank(reranking, "q", ["a", "bb"], 0.05) is None
    gated.gate.set()
    assert await rerank(reranking, "q", ["a", "bb"], 60) == [1.0, 2.0]
    assert await rerank(reranking, "q", [], 60) == []
    await reranking.close()
    assert await rerank(reranking, "q", ["a"], 60) is None
