"""Long text in pieces: they hold all of it, in order, fit the window, and end where a reader would part them."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reverie.text.pieces import MOST_PIECES, Span, pieces, tokens

anything = st.text(st.characters(exclude_categories=[]), max_size=400)
words = st.lists(st.text(st.sampled_from("abcdefgh"), min_size=1, max_size=9), min_size=40, max_size=300).map(" ".join)
windows = st.integers(16, 60)

PROSE = (
    "The ferry to Stornoway leaves at seven in the morning, and the harbour master has seen it late only twice. "
    "Whoever misses it waits for a day! Is there a bus? Nobody knows.\n\n"
)
CHINESE = "昨天我们去了北京的故宫，天气很好，人也很多。后来我们一起吃了烤鸭！你想去吗？"
THAI = "เมื่อวานนี้เราไปเที่ยวทะเลกับครอบครัวและกินอาหารทะเลอร่อยมาก "
MILLION = 1_000_000


def covered(text: str, spans: list[Span]) -> bool:
    """Whether all but white space is in a piece."""
    told = 0
    for begins, ends in spans:
        if text[told:begins].strip():
            return False
        told = ends
    return not text[told:].strip()


@given(anything.map(lambda text: text * 20), windows, st.integers(1, 600))
@example("ab " * 4000, 16, 600)
@example("\n \n" * 1000 + "x", 16, 5)
@example("\U0001f1e9\U0001f1ea" * 500, 16, 9)
def test_they_hold_all_of_any_text_in_order_and_are_bounded(text: str, window: int, most: int) -> None:
    found = pieces(text, window, most)
    assert len(found) <= most
    if not found:
        assert tokens(text) <= window or len(text) <= window or not text.strip()
        return
    assert covered(text, found)
    assert all(0 <= begins < ends <= len(text) for begins, ends in found)
    for before, after in pairwise(found):
        assert before.begins < after.begins
        assert before.ends < after.ends


@given(anything.map(lambda text: text * 20), windows)
def test_each_fits_the_window_and_overlaps_little(text: str, window: int) -> None:
    found = pieces(text, window, 1_000_000)
    # A character that begins a word costs more at the beginning of a piece than it did within the text.
    assert all(tokens(text[begins:ends]) <= window + 1 for begins, ends in found)
    for before, after in pairwise(found):
        assert tokens(text[after.begins : before.ends]) <= window / 8 + 1


@given(words, windows)
def test_words_stay_whole(text: str, window: int) -> None:
    for begins, ends in pieces(text, window):
        assert begins == 0 or text[begins - 1].isspace()
        assert ends == len(text) or text[ends - 1].isspace()


@given(st.text(st.characters(categories=["Ll", "Mn"]), min_size=30, max_size=200), windows)
def test_a_letter_keeps_its_marks(text: str, window: int) -> None:
    for span in pieces(f"a{text}" * 3, window):
        first = f"a{text}"[span.begins % (len(text) + 1)]
        run = f"a{text}" * 3
        marks = len(run[span.begins :]) - len(run[span.begins :].lstrip("".join({c for c in run if combining(c)})))
        # Only where half a piece is nothing but marks are they parted.
        assert not combining(first) or marks >= window / 3


def combining(character: str) -> bool:
    return unicodedata.category(character) == "Mn"


def test_what_fits_is_no_piece() -> None:
    assert pieces("", 16) == []
    assert pieces("short", 16) == []
    assert pieces(" " * 200 + "x", 500) == []


@pytest.mark.parametrize("prose", [PROSE, PROSE.replace("\n\n", " "), CHINESE])
def test_they_end_with_a_sentence(prose: str) -> None:
    text = prose * 20
    found = pieces(text, 150)
    assert len(found) > 3
    assert all(text[:ends].rstrip()[-1] in ".!?。！？" for _, ends in found)
    assert all(begins == 0 or text[:begins].rstrip()[-1] in ".!?。！？" for begins, _ in found)


def test_a_paragraph_ends_a_piece_before_a_sentence_does() -> None:
    text = (PROSE.strip() + " ") * 2 + "\n\n" + PROSE.strip() * 2
    first = pieces(text, tokens(text) * 0.7)[0]
    assert text[: first.ends].endswith("\n\n")


def test_text_without_any_space_is_cut_where_it_has_to_be() -> None:
    for text in ("x" * 5000, THAI.strip() * 100, "9" * 5000):
        found = pieces(text, 100)
        assert covered(text, found)
        assert len(found) > 4


@pytest.mark.parametrize("part", [PROSE, CHINESE, THAI, "x", ".", "e\u0301", "\n", "word "])
def test_a_million_characters(part: str) -> None:
    text = (part * (MILLION // len(part) + 1))[:MILLION]
    found = pieces(text, 500)
    assert len(found) <= MOST_PIECES
    assert covered(text, found)
    if found:
        # More than that many windows: longer pieces, and none much longer than another.
        longest = max(ends - begins for begins, ends in found)
        assert longest <= 3 * MILLION / MOST_PIECES


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [(PROSE, 36, 50), (CHINESE, len(CHINESE) * 0.9, len(CHINESE) * 1.3), (" " * 160, 10, 10), ("2026-11-21", 4, 8)],
)
def test_tokens_are_about_those_of_a_model(text: str, least: float, most: float) -> None:
    assert least <= tokens(text) <= most
