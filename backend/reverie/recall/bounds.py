"""The bounds of a question as SQL: clauses over fixed column names, with their parameters. Pure functions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from reverie.core.kinds import KINDS
from reverie.recall.types import Bounds, Candidate, trace_of


def clauses(bounds: Bounds) -> tuple[str, list[Any]]:
    """(clauses, parameters) for ``memory_embedding``, all over columns of its covering index."""
    texts, parameters = ["AND kind = ANY(%b)"], [bounds.kinds]
    for text, value in (
        ("AND happened_at >= %b", bounds.since),
        ("AND happened_at < %b", bounds.until),
        ("AND trace_id < %b", bounds.before),
        ("AND trace_id IN (SELECT unnest(%b::uuid[]))", None if bounds.only is None else list(bounds.only)),
    ):
        if value is not None:
            texts.append(text)
            parameters.append(value)  # type: ignore[arg-type]
    return " ".join(texts), parameters


def rare_clauses(
    roles: Sequence[str] | None, conversation_id: str | None, user_ids: list[Any], path: str | None
) -> tuple[str, list[Any]]:
    """(clauses, parameters) for ``memory_trace``; none when the question has no such filter."""
    texts: list[str] = []
    parameters: list[Any] = []
    if roles is not None:
        texts.append("AND role = ANY(%b)")
        parameters.append(list(roles))
    if conversation_id is not None:
        texts.append("AND conversation_id = %b")
        parameters.append(conversation_id)
    if path is not None:
        texts.append("AND id IN (SELECT reverie_meta_ids(%b, %b::jsonpath))")
        parameters += [user_ids, path]
    return " ".join(texts), parameters


def range_clauses(ranges: Sequence[tuple[UUID, UUID]]) -> tuple[str, list[Any]]:
    """(clauses, parameters) for ``memory_trace``: the ids in any of these ranges, each without its end."""
    either = " OR ".join(["id >= %b AND id < %b"] * len(ranges))
    return f"AND ({either})", [end for ends in ranges for end in ends]


def admissible(one: Candidate, bounds: Bounds) -> bool:
    """Whether a trace that came another way than by an arm of SQL (the focus) is within the bounds."""
    trace_id = trace_of(one.key)
    return (
        KINDS[one.kind] in bounds.kinds
        and (bounds.since is None or one.happened_at >= bounds.since)
        and (bounds.until is None or one.happened_at < bounds.until)
        and (bounds.before is None or trace_id < bounds.before)
        and (bounds.only is None or trace_id in bounds.only)
    )
