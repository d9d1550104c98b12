"""Weighing what was found: pure."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.memories.suggesting import Note
from reverie.relating import weighing
from reverie.relating.onway import Found, same_topic, similar
from reverie.relating.shown import suggestion
from reverie.relating.types import Around, Entity, Row, Seen, Step
from reverie.relating.weighing import Ties, Weighed
from reverie.text.topics import phrases, shared

NOW = datetime(2026, 5, 8, tzinfo=UTC)
OWN = UUID(int=99)


def row(n: int, text: str | None = "A text.", kind: str = "note") -> Row:
    return Row(UUID(int=n), kind, None, None, NOW, text, "english")


def entity(n: int, *traces: int, new: str | None = None) -> Entity:
    return Entity(UUID(int=n), f"Name {n}", frozenset(), frozenset(UUID(int=one).bytes for one in traces), new)


def step(origin: int, n: int, kind: str = "relates_to", weight: float = 1.0, *, hand: bool = False) -> Step:
    return Step(UUID(int=origin), UUID(int=n), UUID(int=origin), UUID(int=n), kind, weight, hand)


@given(
    cosine=st.floats(-1, 1), share=st.floats(0, 2), rare=st.lists(st.floats(0, 1), max_size=4),
    said=st.lists(st.floats(0, 1), max_size=3), about=st.floats(0, 1),
)  # fmt: skip
def test_whatever_ties_two_traces_the_score_lies_between_0_and_1_and_more_ties_say_more(
    cosine: float, share: float, rare: list[float], said: list[float], about: float
) -> None:
    ties = Ties(cosine, share, [(entity(1), one) for one in rare], [(step(2, 3), one) for one in said], about)
    assert 0 <= ties.score <= 1
    more = Ties(cosine, share, ties.entities, [*ties.steps, (step(2, 4), 1.0)], about)
    assert more.score >= ties.score


def test_what_everybody_mentions_tells_nothing_and_what_two_mention_all() -> None:
    assert weighing.rarity(1000, 1000) == 0
    assert weighing.rarity(1, 1000) == 1
    assert weighing.rarity(10, 1000) > weighing.rarity(100, 1000) > 0
    assert weighing.rarity(1, 0) == weighing.rarity(1, 1) == 1


def test_an_entity_that_is_everywhere_leads_to_nothing_of_its_own() -> None:
    everywhere = entity(500, *range(1, weighing.MOST_LED_TO + 3))
    seen = Seen(entities=[everywhere], words={UUID(int=1): 0.1}, traces=300)
    ties = weighing.gathered(seen, {})
    assert list(ties) == [UUID(int=1)]
    assert ties[UUID(int=1)].entities[0][0] is everywhere


def test_what_was_dismissed_comes_back_by_no_way() -> None:
    gone = UUID(int=1)
    seen = Seen(entities=[entity(500, 1, 2)], words={gone: 0.3}, traces=10, dismissed={gone, UUID(int=500)})
    ties = weighing.gathered(seen, {gone: 0.9, UUID(int=2): 0.9})
    around = Around({UUID(int=n): row(n) for n in (1, 2)}, [step(2, 1), step(99, 1, hand=True)])
    weighing.follow(ties, around, OWN, seen.dismissed)
    assert gone not in ties
    assert weighing.as_entities(seen) == {}


def test_an_edge_by_hand_says_more_than_one_of_the_store_and_that_more_than_the_next_turn() -> None:
    ties: dict[UUID, Ties] = {}
    around = Around({UUID(int=n): row(n) for n in (1, 2, 3, 4)})
    around.steps = [step(99, 1, hand=True), step(99, 2), step(99, 3, "next"), step(4, 2, "similar")]
    weighing.follow(ties, around, OWN, ())
    scores = [ties[UUID(int=n)].score for n in (1, 2, 3)]
    assert scores == sorted(scores, reverse=True)
    assert UUID(int=4) not in ties


def test_one_in_three_may_be_an_entity() -> None:
    ties = {UUID(int=n): Ties(about=0.9) for n in range(1, 8)} | {UUID(int=n): Ties(cosine=0.8) for n in range(10, 20)}
    around = Around(
        {UUID(int=n): row(n, kind="entity") for n in range(1, 8)} | {UUID(int=n): row(n) for n in range(10, 20)}
    )
    for k, entities in ((1, 1), (5, 1), (6, 2), (9, 3)):
        found = weighing.weighed("A text.", "english", ties, around, OWN, k)
        assert len(found) == k
        assert sum(one.row.kind == "entity" for one in found) == entities


def test_what_says_little_is_not_suggested() -> None:
    ties = {UUID(int=1): Ties(cosine=0.55), UUID(int=2): Ties(cosine=0.75)}
    around = Around({UUID(int=n): row(n) for n in (1, 2)})
    assert [one.row.id.int for one in weighing.weighed("x", "english", ties, around, OWN, 5)] == [2]


@pytest.mark.parametrize(
    ("text", "other", "words"),
    [
        ("The sleeper train leaves at nine.", "We booked a sleeper train.", ["sleeper train"]),
        ("Kilns and basil.", "A kiln and some basil leaves.", ["basil", "kilns"]),
        ("Nothing of it.", "All of that.", []),
        ("", "", []),
    ],
)
def test_the_words_that_two_texts_share(text: str, other: str, words: list[str]) -> None:
    assert shared(phrases(text), phrases(other)) == words


def test_words_are_shared_in_other_languages_too() -> None:
    there = Row(UUID(int=1), "note", None, None, NOW, "Der Nachtzug fährt um neun.", "german")
    said = weighing.said("Wann fährt der Nachtzug?", "german")
    assert weighing.shared_words(said, there) == ["nachtzug", "fährt"]
    assert weighing.shared_words(said, there._replace(content=None)) == []


def test_similar_edges_lead_to_the_nearest_few_by_their_beginnings() -> None:
    found = Found(Note(OWN, "x", "english", None, known=False))
    found.cosines = {UUID(int=n): (0.8 + n / 100, n != 12) for n in range(1, 15)}
    links = similar(found)
    assert [(link.src, link.dst.int) for link in links] == [(OWN, 14), (OWN, 13), (OWN, 11)]
    found.seen.traces = 1_000_000
    assert similar(found) == []


def test_same_topic_edges_lead_to_what_shares_much() -> None:
    text = "The sleeper train to the coast was late."
    found = Found(Note(OWN, text, "english", None, known=False))
    found.seen.words = {UUID(int=n): 0.1 * n for n in range(1, 7)}
    found.around.rows = {
        UUID(int=n): row(n, "A sleeper train along the coast." if n > 2 else "A train.", "entity" if n == 6 else "note")
        for n in range(1, 7)
    }
    assert [(link.dst.int, link.weight) for link in same_topic(found)] == [(5, 0.5), (4, 0.4), (3, 0.3)]


def test_an_entity_that_was_not_made_is_not_named() -> None:
    kept, unmade = entity(7, 1), entity(8, 1, new="name 8")
    one = Weighed(row(1, "x" * 150 + " word" * 50), Ties(entities=[(kept, 0.9), (unmade, 0.9)]), 0.4, [])
    shown = suggestion(one, {UUID(int=8): None, UUID(int=7): UUID(int=70)})
    assert [(named.trace_id.int, named.name) for named in shown.reasons[0].entities] == [(70, "Name 7")]
    assert shown.content is not None
    assert len(shown.content) <= 202
    assert shown.content.endswith("word …")
