"""Writing what is made of other traces: derived traces, and edges found between traces.

What should be there is compared with what is there, and the difference alone is written, so that doing it twice changes
nothing. Whoever calls has locked the user (:func:`lock_user`) and raises the version where something was changed.

A derived trace says in ``provenance`` what it was made of (``sources``: its text may hold what they say), ``by`` whom,
in which ``run``, for which ``day``, the ``identity`` that it is found by although a person changed it, and the
``digest`` of the text as it was made: where the trace's own is another, a person has written it, and it is left alone,
as one that is pinned is.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb

from reverie.core.database import ReadSession, WriteSession
from reverie.core.ids import uuid7, uuid7s
from reverie.core.kinds import HEADS, KINDS
from reverie.core.queries import Queries
from reverie.memories import repository
from reverie.memories.embedding import EMBED
from reverie.memories.identity import digest
from reverie.operations import repository as operations

SQL = Queries("reverie.memories", "deriving.sql")

DREAM: Final = "dream"
"""What stands as ``by`` in the provenance of derived traces, and in ``meta`` of edges."""

SUMMARY_OF: Final = "summary_of"
SALIENCE: Final = 0.5

_NEAR = timedelta(days=2)
"""A day in any time zone, and in another one after that, begins and ends within so long of it in UTC."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose memory is written, by which run, and when; ``key`` is the key of the space's hashes."""

    space_id: UUID
    user_id: UUID
    key: bytes
    run_id: UUID
    now: datetime


@dataclass(frozen=True, slots=True)
class Derived:
    """A derived trace as it should be.

    Attributes:
        identity: by which it is the same as the one of an earlier run.
        sources: traces whose words are in it, or that were shown to whoever wrote it.
        day: that it was made for.
        model: the name of the language model that wrote it.
        asked: what tells of what, and how, it was made: one of the same that is there is left as it is.
    """

    kind: str
    identity: bytes
    content: str
    language: str
    sources: tuple[UUID, ...]
    day: date
    occurred_at: datetime | None
    conversation_id: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    asked: str | None = None


class Edge(NamedTuple):
    """An edge as it should be."""

    src: UUID
    dst: UUID
    type: str
    weight: float = 1.0
    meta: Mapping[str, Any] = {}


@dataclass(slots=True)
class Written:
    """What became of derived traces.

    Attributes:
        ids: identity → id of each that was wanted and stands, by whomever it was written.
        made: how many are new or say something else; ``removed``: are no more wanted; ``kept``: were changed or pinned
            by a person and left alone.
        edges: `summary_of` edges made and removed.
        operation_id: that makes their vectors.
    """

    ids: dict[bytes, UUID] = field(default_factory=dict)
    made: int = 0
    removed: int = 0
    kept: int = 0
    edges: int = 0
    operation_id: UUID | None = None


class _There(NamedTuple):
    """A derived trace as it is."""

    id: UUID
    identity: str
    kind: str
    digest: bytes
    pinned: bool
    language: str
    conversation_id: str | None
    occurred_at: datetime | None
    meta: dict[str, Any]
    provenance: dict[str, Any]
    warm: bool
    """Whether its text is in PostgreSQL."""

    @property
    def by_hand(self) -> bool:
        """Whether a person has changed or pinned it."""
        made = self.provenance.get("kind"), self.provenance.get("digest")
        return self.pinned or (self.kind, bytes(self.digest).hex()) != made

    def is_of(self, made: Derived) -> bool:
        """Whether it was made of the same, by the same: what else is known today changes nothing of it."""
        return made.asked is not None and (made.asked, made.model) == (
            self.provenance.get("asked"), self.provenance.get("model")
        )  # fmt: skip


async def space_key(session: ReadSession, space_id: UUID) -> bytes:
    """The key of a space's hashes.

    Raises:
        LookupError: there is no such space.
    """
    row = await session.fetch_one(SQL["space_key_of"], (space_id,))
    if row is None:
        raise LookupError(f"There is no space {space_id}.")
    return bytes(row[0])


async def lock_user(session: WriteSession, space_id: UUID, user_id: UUID) -> int | None:
    """Locks a user until the transaction ends; its version, None where there is none."""
    row = await session.fetch_one(SQL["lock_user"], (space_id, user_id))
    return None if row is None else int(row[0])


async def settle_day(
    session: WriteSession, mark: Mark, kind: str, day: date, wanted: Sequence[Derived]
) -> Written:  # fmt: skip
    """Makes the derived traces of a kind and a day what they should be, with their `summary_of` edges."""
    written = Written()
    there = await _of_day(session, mark, kind, day, [one.identity for one in wanted])
    left = {one.identity.hex(): one for one in wanted}
    outdated, new = list[UUID](), list[Derived]()
    changed = list[tuple[_There, Derived]]()
    for one in there:
        made = left.pop(one.identity, None)
        if made is not None:
            written.ids[made.identity] = one.id
        if one.by_hand:
            written.kept += 1
        elif made is None:
            outdated.append(one.id)
            written.removed += 1
        elif one.is_of(made):
            continue
        elif not one.warm and digest(mark.key, made.content) != bytes(one.digest):
            outdated.append(one.id)
            new.append(made)
        elif not _same(mark, one, made):
            changed.append((one, made))
    if outdated:
        await drop(session, mark.user_id, outdated)
    new += left.values()
    encoded = await _insert(session, mark, new, written)
    for one, made in changed:
        encoded += await _change(session, mark, one, made)
    written.made = len(new) + len(changed)
    mine = [*new, *(made for _, made in changed)]
    edges = [Edge(written.ids[one.identity], source, SUMMARY_OF) for one in mine for source in one.sources]
    srcs = [written.ids[one.identity] for one in mine]
    written.edges = sum(await set_edges(session, mark, srcs, [SUMMARY_OF], edges))
    if encoded:
        written.operation_id = uuid7(mark.now)
        await operations.insert(
            session, written.operation_id, mark.space_id, EMBED, mark.now, user_id=mark.user_id, trace_ids=encoded
        )
    return written


async def _of_day(
    session: WriteSession, mark: Mark, kind: str, day: date, identities: list[bytes]
) -> list[_There]:  # fmt: skip
    noon = datetime.combine(day, time(12), tzinfo=UTC)
    around = (noon - _NEAR, noon + _NEAR, day.isoformat(), kind)
    rows = await session.fetch(SQL["derived_of_day"], (mark.user_id, *around, mark.user_id, identities))
    return sorted((_There(*row) for row in rows), key=lambda one: one.id)


def _same(mark: Mark, one: _There, made: Derived) -> bool:
    """Whether a derived trace is as it should be, whichever run made it."""
    provenance = {name: value for name, value in one.provenance.items() if name != "run"}
    wanted = {name: value for name, value in _provenance(mark, made).items() if name != "run"}
    said = (one.language, one.conversation_id, one.occurred_at, provenance, one.meta)
    return said == (made.language, made.conversation_id, made.occurred_at, wanted, dict(made.meta))


def _provenance(mark: Mark, made: Derived) -> dict[str, Any]:
    said = {
        "by": DREAM,
        "run": str(mark.run_id),
        "kind": made.kind,
        "day": made.day.isoformat(),
        "identity": made.identity.hex(),
        "digest": digest(mark.key, made.content).hex(),
        "sources": [str(one) for one in made.sources],
    }
    how = {"model": made.model, "asked": made.asked}
    return said | {name: value for name, value in how.items() if value is not None}


async def _insert(session: WriteSession, mark: Mark, new: Sequence[Derived], written: Written) -> list[UUID]:
    if not new:
        return []
    ids = uuid7s(mark.now, len(new))
    columns = (
        ids, [one.kind for one in new], [KINDS[one.kind] for one in new], [one.conversation_id for one in new],
        [one.language for one in new], [one.occurred_at for one in new], [one.identity for one in new],
        [digest(mark.key, one.content) for one in new], [Jsonb(dict(one.meta)) for one in new],
        [Jsonb(_provenance(mark, one)) for one in new], [one.content for one in new],
    )  # fmt: skip
    scope = (mark.space_id, mark.user_id, mark.now)
    await session.fetch(SQL["write_derived"], (*scope, *columns, SALIENCE, mark.user_id))
    written.ids |= {one.identity: trace_id for one, trace_id in zip(new, ids, strict=True)}
    return ids


async def _change(session: WriteSession, mark: Mark, one: _There, made: Derived) -> list[UUID]:
    """Writes one anew in its place; its id where it needs new vectors."""
    said, user_id = digest(mark.key, made.content), mark.user_id
    happened_at = made.occurred_at or mark.now
    await session.execute(
        SQL["change_derived"],
        (
            made.conversation_id, made.language, made.content, made.occurred_at, said, Jsonb(dict(made.meta)),
            Jsonb(_provenance(mark, made)), made.content, mark.now, user_id, one.id,
        ),
    )  # fmt: skip
    if said == bytes(one.digest):
        await session.execute(SQL["change_derived_vectors"], (happened_at, user_id, one.id))
        return []
    await repository.leave_cold(session, user_id, one.id)
    await session.execute(
        SQL["change_derived_body"],
        (
            user_id, one.id, happened_at, made.language, happened_at, made.content, user_id, one.id, made.language,
            user_id,
        ),
    )  # fmt: skip
    await repository.drop_vectors(session, user_id, one.id, tuple(HEADS))
    return [one.id]


async def drop(session: WriteSession, user_id: UUID, trace_ids: Collection[UUID]) -> None:
    """Removes derived traces, with their edges and vectors; nothing keeps them from being made again."""
    ids = list(trace_ids)
    await session.execute(SQL["drop_derived"], (ids, user_id, user_id, user_id, ids, user_id))


async def set_edges(
    session: WriteSession, mark: Mark, srcs: Collection[UUID], types: Collection[str], wanted: Iterable[Edge], *,
    left: Collection[tuple[UUID, UUID]] = (),
) -> tuple[int, int]:  # fmt: skip
    """Makes the edges of some types that lead from ``srcs`` what they should be; (made or changed, removed).

    Edges that somebody else made stay as they are, and are not made a second time; those between the pairs of ``left``
    stay, too. Their ``meta`` gets ``by`` and ``run``.
    """
    edges = {one[:3]: one for one in wanted if one[:2] not in left}
    rows = await session.fetch(SQL["edges_from"], (mark.user_id, list(srcs), list(types)))
    outdated = list[Edge]()
    for there in (Edge(*row) for row in rows):
        if there[:2] in left:
            continue
        if there[:3] not in edges:
            outdated.append(there)
        elif _says_the_same(edges[there[:3]], there):
            del edges[there[:3]]
    if outdated:
        ends = ([one.src for one in outdated], [one.dst for one in outdated], [one.type for one in outdated])
        await session.execute(SQL["drop_edges"], (*ends, mark.user_id))
    return await write_edges(session, mark, list(edges.values())), len(outdated)


def _says_the_same(one: Edge, there: Edge) -> bool:
    """Whether an edge is as it should be, whichever run made it; weights are kept in single precision."""
    said = {name: value for name, value in there.meta.items() if name not in ("by", "run")}
    return np.float32(one.weight) == np.float32(there.weight) and dict(one.meta) == said


async def write_edges(session: WriteSession, mark: Mark, wanted: Sequence[Edge]) -> int:
    """Writes edges whose ends both stand; how many were not there, or said something else."""
    if not wanted:
        return 0
    by = {"by": DREAM, "run": str(mark.run_id)}
    columns = (
        [one.src for one in wanted], [one.dst for one in wanted], [one.type for one in wanted],
        [one.weight for one in wanted], [Jsonb(dict(one.meta) | by) for one in wanted],
    )  # fmt: skip
    return len(await session.fetch(SQL["write_edges"], (mark.space_id, mark.now, *columns, mark.user_id)))


async def forget_rebuilds(session: WriteSession, user_id: UUID, before: datetime) -> None:
    """Takes back the notes that something of a user is to be made anew: it was."""
    await session.execute(SQL["drop_rebuilds"], (user_id, before))


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken back of a run: traces, edges; ``kept``: what a person had changed or pinned."""

    traces: int
    edges: int
    kept: int
    ends: list[UUID] = field(default_factory=list)
    """Where its `mentions` edges led to."""


async def undo(session: WriteSession, user_id: UUID, run_id: UUID) -> Undone:
    """Removes the derived traces and the edges of a user that a run made last; the user is locked."""
    rows = await session.fetch(SQL["made_by_run"], (user_id, str(run_id)))
    gone = [row[0] for row in rows if row[1]]
    edges = await session.fetch(SQL["drop_edges_of_run"], (user_id, str(run_id)))
    if gone:
        await drop(session, user_id, gone)
    ends = list({row[0] for row in edges if row[1] == "mentions"})
    return Undone(len(gone), len(edges), len(rows) - len(gone), ends)
