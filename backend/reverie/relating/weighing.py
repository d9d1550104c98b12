"""Weighing what was found into suggestions. Pure functions.

Each way of being related says something by itself, from 0 to 1; together they say more, as if each were right or wrong
independently of the others (a noisy or: Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, 4.3.2).
`bench/suggest` measures what the weights find.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest
from typing import Final, NamedTuple
from uuid import UUID

from reverie.memories.entities import MENTIONS
from reverie.recall.edges import DECAY, OTHER
from reverie.relating.types import Around, Entity, Row, Seen, Step
from reverie.text import topics
from reverie.text.sentences import content_words

LEAST_COSINE: Final = 0.5
MOST_COSINE: Final = 0.9
"""Of the carried model: texts that have nothing to do with one another, and such as say the same."""

MOST_SHARE: Final = 0.3
"""A trace that has so large a share of what words can give is as related as they can tell."""

LEAST_TOPIC: Final = 0.05
"""Of a smaller share it is not said which words these are."""

ALIKE, TOPIC, ENTITY, EDGE = 0.7, 0.8, 0.25, 0.1
"""What each way weighs: vectors, words, an entity that both are about, an edge from a trace that is related."""

ABOUT, LEAST_ABOUT = 0.5, 0.2
"""What an entity itself weighs, by how rare it is."""

BY_HAND: Final = 0.9
DIRECT: Final = 0.6
NEIGHBOUR: Final = 0.15
"""What an edge of the trace itself says, times its weight: made by a person, by the store, and `next`, which leads to
what stands before or after it in its conversation and needs no suggesting."""

MOST_LED_TO: Final = 24
"""An entity that more traces mention leads to none of them by itself; it speaks for those that are found otherwise."""

LEAST: Final = 0.2
"""Less is not worth suggesting."""

ENTITIES_IN: Final = 3
"""One of so many suggestions may be an entity, and one in any case."""

SEEDS: Final = 16
"""Traces from which edges are followed, and which are read; more where more are wanted."""

SHOWN_WORDS: Final = 5
MOST_EDGES_SHOWN: Final = 3

NEXT: Final = "next"


@dataclass(slots=True)
class Ties:
    """How a trace is related, as far as it was found."""

    cosine: float = 0.0
    share: float = 0.0
    entities: list[tuple[Entity, float]] = field(default_factory=list)
    """Each with how rare it is, 0 to 1."""

    steps: list[tuple[Step, float]] = field(default_factory=list)
    """Edges, each with what it says."""

    about: float = 0.0
    """Of an entity, what it says that the trace is about it."""

    @property
    def score(self) -> float:
        """What all of it says together."""
        if self.about:
            return 1 - (1 - self.about) * (1 - self.edge)
        return 1 - (1 - self.by_meaning) * (1 - self.by_words) * (1 - self.by_entities) * (1 - self.edge)

    @property
    def alike(self) -> float:
        """Where the cosine lies between what says nothing and what says the same."""
        return min(1.0, max(0.0, (self.cosine - LEAST_COSINE) / (MOST_COSINE - LEAST_COSINE)))

    @property
    def by_meaning(self) -> float:
        return ALIKE * self.alike

    @property
    def by_words(self) -> float:
        return TOPIC * min(1.0, self.share / MOST_SHARE)

    @property
    def by_entities(self) -> float:
        return 1 - math.prod(1 - ENTITY * rarity for _, rarity in self.entities)

    @property
    def edge(self) -> float:
        return max((said for _, said in self.steps), default=0.0)


class Weighed(NamedTuple):
    """A trace that is related, with how, and what it says."""

    row: Row
    ties: Ties
    score: float
    words: list[str]
    """That both have."""


def rarity(mentions: int, traces: int) -> float:
    """How much it tells that two traces are about an entity which so many of so many mention: 1 for the rarest."""
    if traces < 2:
        return 1.0
    return min(1.0, max(0.0, math.log((traces + 1) / (mentions + 1)) / math.log((traces + 1) / 2)))


def gathered(seen: Seen, cosines: Mapping[UUID, float]) -> dict[UUID, Ties]:
    """How each trace is related that was found without edges."""
    ties: dict[UUID, Ties] = {}
    for trace_id, cosine in cosines.items():
        ties.setdefault(trace_id, Ties()).cosine = cosine
    for trace_id, share in seen.words.items():
        ties.setdefault(trace_id, Ties()).share = share
    for entity in sorted(seen.entities, key=lambda one: len(one.traces)):
        rare = rarity(len(entity.traces), seen.traces)
        if len(entity.traces) <= MOST_LED_TO:
            for one in entity.traces:
                ties.setdefault(UUID(bytes=one), Ties()).entities.append((entity, rare))
        else:
            for trace_id, there in ties.items():
                if trace_id.bytes in entity.traces:
                    there.entities.append((entity, rare))
    for gone in seen.dismissed & ties.keys():
        del ties[gone]
    return ties


def seeds(ties: Mapping[UUID, Ties], most: int) -> list[UUID]:
    """The traces that are related the most."""
    return nsmallest(most, ties, key=lambda one: (-ties[one].score, -one.int))


def follow(ties: dict[UUID, Ties], around: Around, own: UUID, dismissed: Collection[UUID]) -> None:
    """Adds what edges lead to, from the trace itself (``own``) and from those that are related to it."""
    scores = {one: ties[one].score for one in around.rows if one in ties}
    for step in around.steps:
        if step.id == own or step.id in dismissed:
            continue
        if step.origin == own and step.type == MENTIONS and step.src == own:
            # It is among the entities that the trace is about.
            continue
        if step.origin == own:
            said = _direct(step)
        elif around.rows[step.id].kind == "entity":
            # A triple of something that the trace is about: not about the trace.
            continue
        else:
            said = EDGE * scores.get(step.origin, 0.0) * min(1.0, step.weight) * DECAY.get(step.type, OTHER)
        if said > 0:
            ties.setdefault(step.id, Ties()).steps.append((step, said))


def _direct(step: Step) -> float:
    share = BY_HAND if step.hand else NEIGHBOUR if step.type == NEXT else DIRECT
    return share * min(1.0, max(0.0, step.weight))


def weighed(
    text: str, language: str, ties: Mapping[UUID, Ties], around: Around, own: UUID, k: int
) -> list[Weighed]:  # fmt: skip
    """The ``k`` traces that are related the most, best first, with entities among them."""
    saying, found, entities = said(text, language), list[Weighed](), 0
    read = {trace_id: ties[trace_id] for trace_id in around.rows.keys() & ties.keys() if trace_id != own}
    for trace_id in seeds(read, len(read)):
        row, score = around.rows[trace_id], ties[trace_id].score
        if score < LEAST or len(found) == k:
            break
        if row.kind == "entity":
            if entities >= max(1, k // ENTITIES_IN):
                continue
            entities += 1
        words = shared_words(saying, row) if ties[trace_id].share >= LEAST_TOPIC else []
        found.append(Weighed(row, ties[trace_id], score, words))
    return found


class Said(NamedTuple):
    """What a text says: its phrases, where it is English, and its words."""

    language: str
    phrases: topics.Phrases
    words: set[str]


def said(text: str, language: str) -> Said:
    """What a text says, by which it is compared with others."""
    english = language == "english"
    return Said(language, topics.phrases(text) if english else {}, content_words(text[: topics.READ_CHARS], language))


def shared_words(one: Said, row: Row) -> list[str]:
    """The words that a text shares with a trace, those that say most first."""
    if row.content is None:
        return []
    if one.language == row.language == "english":
        words = topics.shared(one.phrases, topics.phrases(row.content))[:SHOWN_WORDS]
        if words:
            return words
    both = one.words & content_words(row.content, row.language)
    return sorted(both, key=lambda word: (-len(word), word))[:SHOWN_WORDS]


def as_entities(seen: Seen) -> dict[UUID, Ties]:
    """The entities of a text themselves: what is rare before what is everywhere."""
    found = {}
    for entity in seen.entities:
        if entity.id not in seen.dismissed:
            rare = rarity(len(entity.traces), seen.traces)
            found[entity.id] = Ties(entities=[(entity, rare)], about=max(LEAST_ABOUT, ABOUT * rare))
    return found


def rows_of_new(seen: Seen, language: str, now: datetime) -> dict[UUID, Row]:
    """Entities that are about to be made, as they will stand."""
    return {
        entity.id: Row(entity.id, "entity", None, None, now, entity.name, language)
        for entity in seen.entities if entity.new is not None
    }  # fmt: skip


def best_steps(ties: Ties) -> Sequence[tuple[Step, float]]:
    """The edges that say the most, each other's ends and types apart."""
    ordered = sorted(ties.steps, key=lambda one: (-one[1], one[0].src.int, one[0].dst.int, one[0].type))
    kept: dict[tuple[UUID, UUID, str], tuple[Step, float]] = {}
    for step, said in ordered:
        kept.setdefault((step.src, step.dst, step.type), (step, said))
    return list(kept.values())[:MOST_EDGES_SHOWN]
