"""What was weighed, as it is answered. Pure functions."""

import math
from collections.abc import Mapping
from typing import Final, TypeAlias
from uuid import UUID

from reverie.memories.schemas import EdgeBetween, NamedEntity, Reason, Suggestion
from reverie.relating.weighing import Ties, Weighed, best_steps

SHOWN_CHARS: Final = 200
"""Of a trace that is suggested, so much is shown."""

SHOWN_ENTITIES: Final = 5
Ids: TypeAlias = Mapping[UUID, UUID | None]
"""The ids that entities have got, where it is not the one thought of; None where they were not made."""

_AS_THEY_ARE: Final[Ids] = {}


def suggestion(one: Weighed, instead: Ids = _AS_THEY_ARE) -> Suggestion:
    """A suggestion."""
    row = one.row
    return Suggestion(
        trace_id=instead.get(row.id) or row.id, kind=row.kind, content=_beginning(row.content), speaker=row.speaker,
        conversation_id=row.conversation_id, happened_at=row.happened_at, score=round(one.score, 4),
        reasons=reasons(one.ties, one.words, instead),
    )  # fmt: skip


def _beginning(text: str | None) -> str | None:
    if text is None or len(text) <= SHOWN_CHARS:
        return text
    cut = text[:SHOWN_CHARS]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut[SHOWN_CHARS // 2 :] else cut} …"


def reasons(ties: Ties, words: list[str], instead: Ids = _AS_THEY_ARE) -> list[Reason]:
    """Why, the reason that says most first."""
    found: list[tuple[float, Reason]] = []
    if ties.alike > 0:
        found.append((ties.by_meaning, Reason(why="alike", score=round(ties.cosine, 4))))
    if ties.entities:
        rarest = sorted(ties.entities, key=lambda one: (-one[1], one[0].id.int))[:SHOWN_ENTITIES]
        named = [
            NamedEntity(trace_id=its_id, name=entity.name) for entity, _ in rarest
            if entity.name is not None and (its_id := instead.get(entity.id, entity.id)) is not None
        ]  # fmt: skip
        score = 1 - math.prod(1 - rare for _, rare in ties.entities)
        found.append((ties.by_entities, Reason(why="shared_entity", score=round(score, 4), entities=named)))
    if words:
        found.append((ties.by_words, Reason(why="same_topic", score=round(min(1.0, ties.share), 4), words=words)))
    found += [
        (said, Reason(why="edge", score=round(said, 4), edge=EdgeBetween(
            src=step.src, dst=step.dst, type=step.type, weight=round(step.weight, 6)
        )))
        for step, said in best_steps(ties)
    ]  # fmt: skip
    return [reason for _, reason in sorted(found, key=lambda one: -one[0])]
