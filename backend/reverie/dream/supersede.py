"""Superseding: what was said of a thing, and was said otherwise later.

An edge `supersedes` leads from the newer trace to the older, which stays. Which is newer, ``happened_at`` says. A day
looks for what its statements take the place of among the days before it, by their words; and, where later days were
dreamt before it, for what takes the place of those of its own that came after that. Of a user whose days are all dreamt
in one run, what they state is kept meanwhile by what it is about, and the store is not asked.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from heapq import nlargest
from itertools import chain, product
from typing import Final, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from reverie.core import clock
from reverie.core.database import ReadSession, WriteSession
from reverie.core.kinds import KINDS, RECALLED_KINDS
from reverie.core.queries import Queries
from reverie.dream.protocol import Day, Did, Night, Poisonous, Trace, Write
from reverie.memories import derived, deriving
from reverie.memories.deriving import Edge, Mark
from reverie.text.clauses import MOST_CHARS
from reverie.text.statements import Statement, statements
from reverie.text.updates import cues, keys, may_update, update_of

SQL = Queries("reverie.dream", "supersede.sql")

SUPERSEDES: Final = "supersedes"

CANDIDATES: Final = 16
"""Earlier traces that are compared with one statement, those that share its rarest words."""

CAP: Final = 500
"""Traces of a large user that are scored for one statement."""

MOST_LINES: Final = 3
"""Statements of a trace that are looked for."""

MOST_KEPT: Final = 10_000
"""Texts of which it is kept what they state, some eight megabytes."""

MOST_STATED: Final = 60_000
"""Traces of which it is kept what they state and of what, some hundred megabytes."""

NEAREST: Final = 100
"""Earlier traces that share a word or a sign with a statement, of which those that share most are compared with it."""

KEPT_SECONDS: Final = 300.0
"""After the last day that was asked for it is let go."""

ENGLISH: Final = "english"
UNHEARD: Final = frozenset({"assistant", "system", "tool"})
"""Roles that do not tell how things are with the user."""

_KINDS = [KINDS[kind] for kind in RECALLED_KINDS]
_SECONDS_A_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Told:
    """A trace that states something."""

    id: UUID
    speaker: str | None
    created_at: datetime
    happened_at: datetime
    stated: tuple[Statement, ...]

    @property
    def voice(self) -> str:
        """Who says it, as it is compared; empty where nobody is named."""
        return (self.speaker or "").strip().casefold()

    @property
    def order(self) -> tuple[datetime, UUID]:
        """Which of two is newer."""
        return self.happened_at, self.id


Read: TypeAlias = dict[tuple[UUID, int], tuple[Statement, ...]]
"""What traces state, by (trace, hash of its text)."""


class Stated:
    """What those traces of a user state that a run has read, by :func:`keys`, in order.

    Where it has read all that a user has said before a day, nothing is to be looked for in the store. A trace that is
    changed after its day was read has that day dreamt again, by the next run.
    """

    def __init__(self) -> None:
        self.traces: dict[date, int] = {}
        self.told = 0
        self._by_key: dict[tuple[str, str], list[Told]] = {}
        self._voices: set[str] = set()

    def add(self, day: date, traces: int, told: Sequence[Told]) -> None:
        """What was told on a day; of one that is read again it is not taken twice."""
        if day in self.traces:
            return
        self.traces[day] = traces
        self.told += len(told)
        for one in told:
            self._voices.add(one.voice)
            for key in frozenset[str]().union(*map(keys, one.stated)):
                self._by_key.setdefault((one.voice, key), []).append(one)

    def read_before(self, day: date) -> int:
        """How many traces of earlier days were read."""
        return sum(traces for earlier, traces in self.traces.items() if earlier < day)

    def near(self, one: Told) -> list[Told]:
        """The earlier traces that share the most, and the rarest, with what a trace says anew."""
        scores: dict[UUID, float] = {}
        by_id: dict[UUID, Told] = {}
        known = frozenset[str]().union(*(keys(each, newer=True) for each in one.stated if may_update(each)))
        voices = {"", one.voice} if one.voice else self._voices
        for place in product(voices, known):
            found = self._by_key.get(place, ())
            for other in found[-NEAREST:]:
                by_id[other.id] = other
                scores[other.id] = scores.get(other.id, 0.0) + 1 / (1 + len(found))
        return [by_id[other] for other in nlargest(CANDIDATES, scores, key=scores.__getitem__)]


class Superseding:
    """The stage ``supersede``.

    What the texts of a run state is kept while it goes on, up to a bound, and let go a while after its last day.
    """

    name = "supersede"

    def __init__(self) -> None:
        self._run: UUID | None = None
        self._read: Read = {}
        self._users: dict[UUID, Stated] = {}
        self._letting_go: asyncio.TimerHandle | None = None

    async def prepare(self, day: Day, night: Night) -> Did | Write:
        stated = self._of(night.run_id, day.user_id)
        told = await asyncio.to_thread(told_in, day.traces, self._read)
        did = Did(saw=len(day.traces))
        other = len(day.traces) - sum(map(_is_read, day.traces))
        if other:
            did.skipped["in another language or role"] = other
        async with night.database.reading(day.space_id) as session:
            there = {
                (row[0], row[1])
                for row in await session.fetch(SQL["edges_of"], (day.user_id, day.ids) * 2 + (day.user_id,))
            }
            ids, others = await _candidates(session, day, told, stated)
            ids |= set(chain.from_iterable(there))
            others += await _told(session, day, ids - set(day.ids) - {one.id for one in others}, self._read)
        stated.add(day.day, len(day.traces), told)
        wanted = await asyncio.to_thread(edges_of, told, others, there)
        gone = there - {(edge.src, edge.dst) for edge in wanted}
        if not wanted and not gone:
            return did
        return partial(_write, day=day, night=night, wanted=wanted, gone=gone, did=did)

    def _of(self, run_id: UUID, user_id: UUID) -> Stated:
        """What is known of a user in a run; those that were not asked for the longest are let go beyond the bound."""
        if self._run != run_id:
            self._let_go()
            self._run = run_id
        found = self._users.pop(user_id, None) or Stated()
        while self._users and sum(one.told for one in self._users.values()) > MOST_STATED:
            del self._users[next(iter(self._users))]
        self._users[user_id] = found
        if self._letting_go is not None:
            self._letting_go.cancel()
        self._letting_go = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._let_go)
        return found

    def _let_go(self) -> None:
        self._run, self._read, self._users = None, {}, {}


def told_in(traces: Iterable[Trace], read: Read | None = None) -> list[Told]:
    """Those of some traces that state something, in their order. What was ``read`` is kept there.

    Raises:
        Poisonous: a text could not be read.
    """
    known: Read = {} if read is None else read
    found = []
    for trace in traces:
        if _is_read(trace):
            try:
                stated = _stated(known, trace.id, trace.text, trace.speaker)
            except (ValueError, IndexError, KeyError, RecursionError) as error:
                raise Poisonous(trace.id, f"Its statements could not be read ({type(error).__name__}).") from error
            if stated:
                found.append(Told(trace.id, trace.speaker, trace.created_at, trace.happened_at, stated))
    return found


def _stated(known: Read, trace_id: UUID, text: str, speaker: str | None) -> tuple[Statement, ...]:
    """What a text states, read once."""
    key = (trace_id, hash((text[:MOST_CHARS], speaker)))
    if key not in known:
        if len(known) >= MOST_KEPT:
            known.clear()
        known[key] = tuple(statements(text, speaker))
    return known[key]


def _is_read(trace: Trace) -> bool:
    return trace.language == ENGLISH and trace.role not in UNHEARD


async def _candidates(
    session: ReadSession, day: Day, told: Sequence[Told], stated: Stated
) -> tuple[set[UUID], list[Told]]:
    """Traces of other days that may be about the same as those of the day: those to be read, and those that were."""
    if not told:
        return set(), []
    begin = datetime.combine(day.day, time(), tzinfo=ZoneInfo(day.zone)).astimezone(UTC)
    end = datetime.combine(day.day + timedelta(days=1), time(), tzinfo=ZoneInfo(day.zone)).astimezone(UTC)
    known = stated.read_before(day.day)
    [earlier] = await session.fetch(SQL["earlier"], (day.user_id, begin, known + 1))
    found, read = set[UUID](), list[Told]()
    if earlier[0] == known:
        near = await asyncio.to_thread(lambda: [*chain.from_iterable(map(stated.near, told))])
        read = list({one.id: one for one in near}.values())
    else:
        found = await _alike(session, day, told, None, begin, newer=True)
    [later] = await session.fetch(SQL["dreamt_later"], (day.user_id, day.day))
    if later[0] is not None:
        came = {one.id for one in day.traces if max(one.created_at, one.updated_at or one.created_at) >= later[0]}
        found |= await _alike(session, day, [one for one in told if one.id in came], end, None, newer=False)
    return found, read


async def _alike(
    session: ReadSession, day: Day, told: Sequence[Told], since: datetime | None, until: datetime | None, *, newer: bool
) -> set[UUID]:  # fmt: skip
    """Traces of a span of time in which the words of statements stand: of such as may be the newer, or the older."""
    lines = dict[tuple[str, str], None]()
    for one in told:
        some = [each for each in one.stated if (may_update(each) if newer else each.sort == "state")]
        for statement in some[:MOST_LINES]:
            sought = " ".join(sorted(cues(statement)))
            if sought:
                lines[sought, (one.speaker or "").strip().lower()] = None
    if not lines:
        return set()
    columns = ([words for words, _ in lines], [speaker for _, speaker in lines])
    rows = await session.fetch(SQL["alike"], (day.user_id, *columns, _KINDS, since, until, CAP, CANDIDATES))
    return {row[0] for row in rows}


async def _told(session: ReadSession, day: Day, ids: Collection[UUID], known: Read) -> list[Told]:
    """What other traces state."""
    if not ids:
        return []
    rows = await session.fetch(SQL["told"], (MOST_CHARS, day.user_id, list(ids)))

    def read() -> list[Told]:
        return [Told(row[0], row[1], row[2], row[3], _stated(known, row[0], row[4], row[1])) for row in rows]

    return [one for one in await asyncio.to_thread(read) if one.stated]


def edges_of(told: Sequence[Told], others: Iterable[Told], there: Collection[tuple[UUID, UUID]] = ()) -> list[Edge]:
    """The edges that lead from or to the traces of a day. Pure.

    Args:
        told: of the day.
        others: traces of other days that may be about the same.
        there: pairs (newer, older) that had an edge.
    """
    mine = {one.id for one in told}
    everyone = sorted({one.id: one for one in chain(told, others)}.values(), key=lambda one: one.order)
    by_id = {one.id: one for one in everyone}
    by_key: dict[str, list[int]] = {}
    found: dict[tuple[UUID, UUID], Edge] = {}
    for place, one in enumerate(everyone):
        known = frozenset[str]().union(*(keys(each, newer=True) for each in one.stated))
        near = sorted({other for key in known for other in by_key.get(key, ())[-CANDIDATES:]})
        for other in near:
            if one.id in mine or everyone[other].id in mine:
                _add(found, one, everyone[other])
        # Only how things are can be updated, and what was done be denied.
        for key in frozenset[str]().union(*(keys(each) for each in one.stated if each.sort in ("state", "done"))):
            by_key.setdefault(key, []).append(place)
    for newer, older in there:
        if (newer, older) not in found and newer in by_id and older in by_id:
            _add(found, by_id[newer], by_id[older])
    return [found[pair] for pair in sorted(found)]


def _add(found: dict[tuple[UUID, UUID], Edge], newer: Told, older: Told) -> None:
    """Adds the edge between two traces, if the newer says otherwise."""
    # What nobody is named for, is the user's.
    if newer.order <= older.order or (newer.voice and older.voice and newer.voice != older.voice):
        return
    days = (newer.happened_at - older.happened_at).total_seconds() / _SECONDS_A_DAY
    update = update_of(newer.stated, older.stated, days)
    if update is not None:
        meta = {"valid_from": newer.happened_at.astimezone(UTC).isoformat(), "about": update.about}
        found[newer.id, older.id] = Edge(newer.id, older.id, SUPERSEDES, 1.0, meta)


async def _write(
    session: WriteSession, *, day: Day, night: Night, wanted: Sequence[Edge], gone: Collection[tuple[UUID, UUID]],
    did: Did,
) -> Did:  # fmt: skip
    now = clock.now()
    mark = Mark(day.space_id, day.user_id, day.key, night.run_id, now)
    pairs = list(gone)
    removed = len(
        await session.fetch(
            SQL["drop_edges"], ([src for src, _ in pairs], [dst for _, dst in pairs], day.user_id)
        )
    ) if pairs else 0  # fmt: skip
    made = await deriving.write_edges(session, mark, wanted)
    if made or removed:
        # What was made of them may tell what is no longer so.
        await derived.note_changed(session, day.user_id, list({dst for _, dst in pairs} | {e.dst for e in wanted}), now)
    return Did(saw=did.saw, made=made, removed=removed, skipped=did.skipped)
