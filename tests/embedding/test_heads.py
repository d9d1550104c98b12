from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.embedding.heads import (
    ENTITY_LENGTH,
    ENTITY_SALIENCE,
    SITUATED_LENGTH,
    entity_text,
    heads_for,
    semantic_pieces,
    semantic_text,
)

ALL = frozenset({"semantic", "situation", "entity"})


@dataclass(frozen=True)
class Trace:
    """A trace that gets every head."""

    kind: str = "turn"
    salience: float = 0.5
    conversation_id: str | None = "c"
    content: str = "We met Zoë at the lighthouse in Dunbar and talked about bees."
    vectors: bool = True


def test_the_speaker_goes_before_what_is_said() -> None:
    assert semantic_text("I like tea.", "Ada") == "Ada: I like tea."


@pytest.mark.parametrize("speaker", [None, "", "user", "Assistant"])
def test_without_a_name_the_text_stands_alone(speaker: str | None) -> None:
    assert semantic_text("I like tea.", speaker) == "I like tea."


@pytest.mark.parametrize("enabled", [{"semantic"}, {"semantic", "entity"}, {"semantic", "situation"}, ALL])
def test_a_trace_gets_no_head_that_is_switched_off(enabled: set[str]) -> None:
    assert heads_for(Trace(), enabled) == enabled


@pytest.mark.parametrize(
    ("trace", "heads"),
    [
        (Trace(vectors=False), set()),
        (Trace(kind="note"), {"semantic", "entity"}),
        (Trace(kind="chunk", conversation_id=None), {"semantic", "entity"}),
        (Trace(kind="summary"), {"semantic"}),
        (Trace(conversation_id=None), {"semantic", "entity"}),
        (Trace(content="x" * SITUATED_LENGTH), ALL),
        (Trace(content="x" * (SITUATED_LENGTH + 1)), {"semantic", "entity"}),
        (Trace(salience=ENTITY_SALIENCE - 0.01), {"semantic", "situation"}),
        (Trace(content="x" * (ENTITY_LENGTH - 1)), {"semantic", "situation"}),
    ],
)
def test_salience_kind_and_length_decide(trace: Trace, heads: set[str]) -> None:
    assert heads_for(trace, ALL) == heads


@given(st.floats(0, 1), st.integers(0, 5000), st.sampled_from(["turn", "note", "entity"]), st.booleans())
def test_more_salience_never_takes_a_head_away(salience: float, length: int, kind: str, talk: bool) -> None:
    trace = Trace(kind, salience, "c" if talk else None, "x" * length)
    assert heads_for(trace, ALL) <= heads_for(replace(trace, salience=1.0), ALL)


def test_a_content_that_fits_the_window_has_no_pieces() -> None:
    assert semantic_pieces("The heron stood in the shallows. " * 40, "Ada", 512) == []


def test_a_long_speaker_leaves_less_room() -> None:
    content = "The heron stood in the shallows. " * 200
    short, long = (semantic_pieces(content, speaker, 512) for speaker in ("Ada", "Ada of the Long Name " * 12))
    assert len(long) > len(short) > 2
    assert 0 < short[0].begins < 512 * 5
    assert short[-1].ends == len(content)
    assert all(before.ends >= after.begins for before, after in pairwise(short))
    assert semantic_pieces(content, "user", 512) == semantic_pieces(content, None, 512)


def test_what_comes_after_white_space_that_fills_the_window_is_a_piece() -> None:
    (only,) = semantic_pieces(" " * 20_000 + "The heron stood in the shallows.", None, 512)
    assert only.begins > 512
    assert only.ends == 20_032


def test_a_name_longer_than_the_window_leaves_some_room() -> None:
    assert 2 < len(semantic_pieces("The heron stood in the shallows. " * 20, "Ada " * 60, 16)) < 60


@pytest.mark.parametrize(
    ("content", "speaker", "text"),
    [
        ("We met Zoë in Dunbar. It rained in Dunbar.", "Ada", "Ada, Zoë, Dunbar, rained"),
        ("Yesterday Bob flew to Oslo!", None, "yesterday, Bob, Oslo"),
        ("The meeting is on 12 May at Jane's.", "user", "meeting, 12, May, Jane's"),
        ("Yes, of course.", "Ada", "Ada, course"),
        ("Hm. Yes. No.", "Ada", None),
        ("", None, None),
    ],
)
def test_what_a_text_is_about(content: str, speaker: str | None, text: str | None) -> None:
    assert entity_text(content, speaker) == text


@given(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.text())
def test_what_any_text_is_about_is_short_and_made_of_its_words(content: str, speaker: str | None) -> None:
    found = entity_text(content * 50, speaker)
    assert found is None or len(found.split(", ")) <= 49 + (speaker or "").count(", ")
