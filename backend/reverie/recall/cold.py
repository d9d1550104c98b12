"""The cold arm: what lies in files, found by meaning and by words beside the arms over PostgreSQL, and joined to them.

A file is read in a thread, and holds what it was written with: whether a trace stands and is still cold, PostgreSQL
says of those that were found. Scores by words are joined as shares of what the question could have given, since a word
that is rare in one tier need not be so in the other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from reverie.cold import search as scanning
from reverie.cold.files import Damaged
from reverie.cold.search import Halt, Hit, Likest, Phrase, Scan, Term, Wanted
from reverie.cold.segments import MISSING, Segment
from reverie.cold.service import ColdService
from reverie.core.arrays import Uuids
from reverie.core.database import Reads
from reverie.core.kinds import HEADS, KINDS
from reverie.core.queries import Queries
from reverie.core.telemetry import reason
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.objects.store import StorageTrouble
from reverie.recall import lexical
from reverie.recall.types import Arm, Bounds, Candidate, Found, Key, Question, key_of
from reverie.text.languages import detect
from reverie.text.spans import Span

COLD: Final = "cold"

DAMAGED: Final = "Damaged"
"""Why the arm failed where some files could not be read: what the others hold is found all the same."""

AT_ONCE: Final = 2
"""Searches of one process at a time: each takes all the cores that cold memory is given."""

SPARE: Final = 20
DEEPER: Final = 8
"""So many more are looked up than are wanted, for some do not stand any more; so many times more if too few do."""

LEAST_SECONDS: Final = 0.5
"""What is left for reading the texts of what was found, however long the search took."""

_KINDS: Final = {number: kind for kind, number in KINDS.items()}
_HEADS: Final = {number: head for head, number in HEADS.items()}
_SQL = Queries("reverie.recall", "cold.sql")
_WORDS: Final = _SQL.text("cold_words", question=lexical.SQL.text("question_words").decode())

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Searched:
    """What the cold arm found, by meaning and by words; ``scan`` is what it has read, ``known`` what stands of it."""

    arm: Arm
    semantic: Found = field(default_factory=lambda: Found({}))
    lexical: Found = field(default_factory=lambda: Found({}))
    scan: Scan | None = None
    known: dict[tuple[Key, bytes], Candidate] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[Key]:
        """Of all that is known to be cold."""
        return frozenset(key for key, _ in self.known)


class Cold:
    """Searches and reads cold memory for questions that ask for it, within ``seconds`` each."""

    def __init__(self, service: ColdService, model: Model, seconds: float) -> None:
        self.seconds = seconds
        self._service = service
        self._model = model
        self._slots = asyncio.Semaphore(AT_ONCE)
        # Of its own: in one that others fill a search would stand in line beyond its time.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="cold-search")

    def close(self) -> None:
        """Waits for nothing: what still reads ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def search(
        self, reads: Reads, space_id: UUID, question: Question, depth: int, vector: Awaitable[FloatArray | None] | None,
        *, words: bool,
    ) -> Searched:  # fmt: skip
        """The ``depth`` best by meaning, once the ``vector`` of the question is there, and by ``words``.

        Whatever is wrong with the storage or the files is logged, and said by the arm.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, question.end - began)):
                return await self._search(reads, space_id, question, depth, vector, words=words)
        except (StorageTrouble, Damaged, psycopg.Error, PoolTimeout, TimeoutError, scanning.TooLate) as error:
            log.warning("arm failed", arm=COLD, error=type(error).__name__, reason=_reason(error))
            return Searched(Arm(COLD, milliseconds=_since(began), failed=type(error).__name__))

    async def _search(
        self, reads: Reads, space_id: UUID, question: Question, depth: int, vector: Awaitable[FloatArray | None] | None,
        *, words: bool,
    ) -> Searched:  # fmt: skip
        began = time.monotonic()
        assert question.cold is not None  # noqa: S101 - it is asked for
        bounds = question.cold
        if bounds.only is not None and not bounds.only:
            return Searched(Arm(COLD))
        segments = await self._service.segments(space_id, bounds.user_ids, *_ids_of(bounds))
        if not segments:
            return Searched(Arm(COLD, milliseconds=_since(began)))
        terms, phrases = await self._words(reads, space_id, question) if words else ((), ())
        meaning = None if vector is None else await vector
        wanted = _wanted(bounds, meaning, terms, phrases)
        found = await self._scanned(segments, wanted, question.end)
        if MISSING in found.damaged.values():
            now = await self._service.segments(space_id, bounds.user_ids, *_ids_of(bounds))
            if {one.path for one in now} != {one.path for one in segments}:
                # Written anew between the look at its row and the look at the file.
                segments, found = now, await self._scanned(now, wanted, question.end)
        for segment in segments:
            if segment.id in found.damaged:
                await self._service.damaged(segment, found.damaged[segment.id])
        known: dict[tuple[Key, bytes], Candidate] = {}
        scan, near = found.scan, list[Hit]()
        if meaning is not None:
            near = await self._standing(reads, space_id, bounds, scan.nearest, depth, known)
        like = await self._likest(reads, space_id, bounds, scan, depth, known)
        arm = Arm(
            COLD,
            milliseconds=_since(began),
            failed=DAMAGED if found.damaged else None,
            rows=scan.rows,
            files=found.files,
        )
        return Searched(
            arm,
            semantic=Found(
                {_key(hit): hit.score for hit in near},
                dict(_candidate(hit, known) for hit in near),
                rows=scan.rows,
                pieces={_key(hit): (hit.head, hit.piece) for hit in near},
            ),
            lexical=Found(
                {_key(hit): hit.score for hit in like.hits},
                dict(_candidate(hit, known) for hit in like.hits),
                like.most,
                bonus=like.bonus,
            ),
            scan=scan,
            known=known,
        )

    async def in_spans(
        self, reads: Reads, space_id: UUID, question: Question, searched: Searched, spans: Sequence[Span], depth: int
    ) -> Found:
        """The ``depth`` nearest of what happened in each of some spans, of what was read already.

        Raises:
            psycopg.Error, PoolTimeout: what stands could not be read.
        """
        found = Found({})
        if searched.scan is None or question.cold is None:
            return found
        for span in spans:
            nearest = partial(searched.scan.nearest, since=span.since, until=span.until)
            for hit in await self._standing(reads, space_id, question.cold, nearest, depth, searched.known):
                found.scores[_key(hit)] = hit.score
                found.candidates[_key(hit)] = searched.known[_key(hit), hit.segment_id.bytes]
        return found

    async def texts(self, space_id: UUID, keys: Sequence[Key], end: float) -> tuple[dict[Key, str], bool]:
        """The texts of cold traces by ``end`` (monotonic), and whether all of them could be read."""
        wanted = [(UUID(bytes=key[:16]), UUID(bytes=key[16:])) for key in keys]
        try:
            async with asyncio.timeout(max(LEAST_SECONDS, end - time.monotonic())):
                found = await self._service.contents(space_id, wanted)
        except (StorageTrouble, psycopg.Error, PoolTimeout, TimeoutError) as error:
            log.warning("cold texts not read", error=type(error).__name__, reason=_reason(error))
            return {}, False
        return {key_of(*one): text for one, text in found.texts.items()}, found.complete

    async def _words(
        self, reads: Reads, space_id: UUID, question: Question
    ) -> tuple[tuple[Term, ...], tuple[Phrase, ...]]:
        """The words and phrases of a question as PostgreSQL stems them."""
        phrases = lexical.phrases(question.text)
        users = question.bounds.user_ids
        parameters = (
            question.text, detect(question.text), question.language, users,
            [text for text, _ in phrases], [weight for _, weight in phrases],
        )  # fmt: skip
        async with reads.reading(space_id, seconds=self.seconds) as session:
            ((terms, places, rows),) = await session.fetch(_WORDS, parameters)
        readings: dict[tuple[int, float], list[tuple[str, ...]]] = {}
        for number, weight, stems in rows:
            readings.setdefault((number, weight), []).append(tuple(stems))
        return (
            tuple(Term(text, place) for text, place in zip(terms, places, strict=True)),
            tuple(Phrase(tuple(readings[one]), one[1]) for one in sorted(readings)),
        )

    async def _scanned(self, segments: Sequence[Segment], wanted: Wanted, end: float) -> scanning.Found:
        """Reads files in a thread, of which there are few: one that hangs in a storage keeps its place until then."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        halt = Halt(end - time.monotonic())

        def give_back(_: object) -> None:
            with suppress(RuntimeError):  # The loop is over, and nobody waits for the place.
                loop.call_soon_threadsafe(self._slots.release)

        files = [
            scanning.Segment(one.id, one.rows, partial(self._service.open, one), one.model_id == self._model.id)
            for one in segments
        ]
        try:
            job = self._threads.submit(scanning.search, files, wanted, halt)
        except RuntimeError:
            # They are closed.
            self._slots.release()
            raise
        # Also where it is given up before it has begun.
        job.add_done_callback(give_back)
        try:
            return await asyncio.wrap_future(job)
        finally:
            halt.now()

    async def _likest(
        self, reads: Reads, space_id: UUID, bounds: Bounds, scan: Scan, depth: int,
        known: dict[tuple[Key, bytes], Candidate],
    ) -> Likest:  # fmt: skip
        last = Likest([], 0.0, 0.0)

        def best(limit: int) -> list[Hit]:
            nonlocal last
            last = scan.likest(limit, lexical.K1, lexical.B)
            return last.hits

        hits = await self._standing(reads, space_id, bounds, best, depth, known)
        return last._replace(hits=hits)

    async def _standing(
        self, reads: Reads, space_id: UUID, bounds: Bounds, best: Callable[[int], list[Hit]], depth: int,
        known: dict[tuple[Key, bytes], Candidate],
    ) -> list[Hit]:  # fmt: skip
        """The ``depth`` first that stand and are cold, of as many as it takes; ``known`` gets what is known of them."""
        looked = depth + SPARE
        asked: set[tuple[Key, bytes]] = set(known)
        while True:
            hits = await asyncio.to_thread(best, looked)
            new = [hit for hit in hits if (_key(hit), hit.segment_id.bytes) not in asked]
            if new:
                asked |= {(_key(hit), hit.segment_id.bytes) for hit in new}
                parameters = (
                    Uuids(hit.user_id.bytes for hit in new), Uuids(hit.trace_id.bytes for hit in new),
                    Uuids(hit.segment_id.bytes for hit in new), bounds.at,
                )  # fmt: skip
                async with reads.reading(space_id, seconds=self.seconds) as session:
                    cursor = await session.send(_SQL["cold_standing"], parameters)
                for row in await cursor.fetchall():
                    known[row[0], row[1]] = Candidate(row[0], *row[2:])
            standing = [hit for hit in hits if (_key(hit), hit.segment_id.bytes) in known]
            if len(standing) >= depth or len(hits) < looked:
                return standing[:depth]
            looked *= DEEPER


# --- Joining, pure


def joined(arm: Arm, cold: Found, depth: int) -> Arm:
    """An arm with what the same search found among cold traces; at most ``depth`` of all. One that failed stays so."""
    if arm.failed or not cold.scores:
        return arm
    share, most = 1.0, arm.most
    if cold.most > 0:
        most = arm.most or cold.most
        # Without what phrases add to either, a whole question weighs as much here as there.
        share = (arm.most / (1 + arm.bonus)) / (cold.most / (1 + cold.bonus)) if arm.most > 0 else 1.0
        most = max(most, cold.most * share)
    # Of what is found here and there, as while a range is being moved, the text in PostgreSQL is the one that counts.
    scores = {key: score * share for key, score in cold.scores.items()} | arm.scores
    candidates = cold.candidates | arm.candidates
    pieces = cold.pieces | arm.pieces
    return replace(
        arm,
        scores=scores,
        candidates={key: candidates[key] for key in scores if key in candidates},
        pieces={key: pieces[key] for key in scores if key in pieces},
        most=most,
        rows=arm.rows + cold.rows,
    ).best(depth)


def _wanted(bounds: Bounds, vector: FloatArray | None, terms: tuple[Term, ...], phrases: tuple[Phrase, ...]) -> Wanted:
    return Wanted(
        user_ids=tuple(dict.fromkeys(bounds.user_ids)),
        vector=vector,
        heads=tuple(_HEADS[head] for head in bounds.heads),
        terms=terms,
        phrases=phrases,
        kinds=frozenset(_KINDS[kind] for kind in bounds.kinds),
        since=bounds.since,
        until=bounds.until,
        before=bounds.before,
        only=bounds.only,
    )


def _ids_of(bounds: Bounds) -> tuple[UUID | None, UUID | None]:
    """Between which ids all lies that may be found: from, and up to but without."""
    lower, upper = None, bounds.before
    if bounds.only:
        lower, last = min(bounds.only), UUID(int=max(bounds.only).int + 1)
        upper = last if upper is None else min(upper, last)
    return lower, upper


def _key(hit: Hit) -> Key:
    return key_of(hit.user_id, hit.trace_id)


def _candidate(hit: Hit, known: Mapping[tuple[Key, bytes], Candidate]) -> tuple[Key, Candidate]:
    return _key(hit), known[_key(hit), hit.segment_id.bytes]


def _reason(error: Exception) -> str | None:
    """What may be logged of an error: ours name no content, PostgreSQL's are read by what is known of them."""
    return str(error) if isinstance(error, StorageTrouble | Damaged) else reason(error)


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
