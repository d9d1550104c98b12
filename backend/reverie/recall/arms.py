"""The arms of recall, side by side: one that fails or is late leaves the answer to the others."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from reverie.core.database import Database, Reads
from reverie.core.errors import Unavailable
from reverie.core.metrics import Metrics
from reverie.core.telemetry import reason
from reverie.embedding.encoder import Encoder
from reverie.embedding.protocol import EmbeddingError, FloatArray
from reverie.memories.model import Model
from reverie.recall import edges, held, lexical, times, vectors
from reverie.recall.cold import COLD, Cold, Searched, joined
from reverie.recall.edges import Reached
from reverie.recall.held import Held, Shelf
from reverie.recall.indexes import Indexes
from reverie.recall.recipes import Recipe
from reverie.recall.shown import FRESH, Shown
from reverie.recall.types import Arm, Bounds, Found, Key, Question, key_of
from reverie.recall.words import Reading
from reverie.text.spans import Span
from reverie.working.focus import Focus, Focused

SEMANTIC, DATED, LEXICAL, FOCUS, EDGES = "semantic", "dated", "lexical", "focus", "edges"

DATED_DEPTH: Final = 30
"""Candidates of each span that a question names: what happened then need not be like the question."""

MOST_SPANS: Final = 2

MOST_REACHED: Final = 40
"""Traces that spreading brings at most."""

HEAD_START: Final = 0.001
"""Seconds after which the reads are sent off that go on while the question is encoded.

They keep the interpreter busy, for which the encoder's thread has to wait each time it comes back to Python, and they
end long before it: with this a recall takes a seventh less.
"""

LOOK_WITHIN: Final = 0.01
"""Seconds after which the words are no longer kept waiting to hear whether they are held."""

log = structlog.get_logger(__name__)


class Arms:
    """Searches by every arm that a recipe has: over two connections at a time at most, and one more for ``cold``."""

    def __init__(
        self, database: Database, encoder: Encoder, model: Model, indexes: Indexes, shelf: Shelf, focus: Focus,
        metrics: Metrics, seconds: float, cold: Cold,
    ) -> None:  # fmt: skip
        self._cold = cold
        self._database = database
        self._shelf = shelf
        self._encoder = encoder
        self._model = model
        self._indexes = indexes
        self._focus = focus
        self._metrics = metrics
        self._seconds = seconds

    async def search(
        self, space_id: UUID, question: Question, recipe: Recipe, reads: Reads, dreamt: Callable[[], Awaitable[bool]]
    ) -> dict[str, Arm]:
        """What each arm found, by its name; what it reads is read from ``reads``.

        ``dreamt`` is asked whether nights will say which candidates matter, once the question is encoded.

        Raises:
            Unavailable: no arm could answer.
        """
        depth = reached = max(recipe.depth, question.k)

        async def reach() -> int:
            nonlocal reached
            if recipe.fused and recipe.night_depth > depth and await dreamt():
                reached = recipe.night_depth
            return reached

        searches: list[Awaitable[list[Arm]]] = []
        looking: asyncio.Task[Held | None] | None = None
        reading: Reading | None = None
        vector: asyncio.Future[FloatArray | None] | None = None
        if recipe.semantic:
            vector = asyncio.get_running_loop().create_future()
            reading = Reading(question) if recipe.lexical else None
            looking = asyncio.create_task(self._held(reads, space_id, question, reading))
            looking.add_done_callback(_taken)
            # First: the encoder's thread works on the question while the others are sent off.
            searches.append(self._by_meaning(reads, space_id, question, reach, vector, looking, dated=recipe.fused))
        if recipe.lexical:
            searches.append(self._by_words(reads, space_id, question, depth, looking, reading))
        try:
            if question.cold is None:
                arms = {arm.name: arm for found in await asyncio.gather(*searches) for arm in found}
            else:
                several, cold = await asyncio.gather(
                    asyncio.gather(*searches),
                    self._cold.search(self._database, space_id, question, depth, vector, words=recipe.lexical),
                )
                arms = {arm.name: arm for found in several for arm in found}
                depths = {SEMANTIC: reached, LEXICAL: depth}
                arms = await self._with_cold(space_id, question, arms, cold, depths, dated=recipe.fused)
        finally:
            if looking is not None:
                looking.cancel()
        if reading is not None and (ready := _seen(looking)) is not None:
            self._shelf.bring_words(self._database, space_id, question.bounds.user_ids[0], ready, self._seconds)
        for arm in arms.values():
            if arm.failed:
                self._metrics.arm_failed(arm.name)
        if all(arm.failed for arm in arms.values() if arm.name in (SEMANTIC, LEXICAL)):
            outage = self._database.outage
            what = "No arm of recall could answer" if outage is None else outage.what
            raise Unavailable(f"{what}; try again shortly.")
        return arms

    async def _with_cold(
        self, space_id: UUID, question: Question, arms: dict[str, Arm], cold: Searched, depths: Mapping[str, int], *,
        dated: bool,
    ) -> dict[str, Arm]:  # fmt: skip
        """The arms with what each search found among cold traces, and then the cold arm, which says how that went."""
        more = {SEMANTIC: cold.semantic, LEXICAL: cold.lexical}
        arms = {name: joined(arm, more[name], depths[name]) if name in more else arm for name, arm in arms.items()}
        semantic = arms.get(SEMANTIC)
        if dated and semantic is not None and not semantic.failed and cold.scan is not None:
            moments = (one.happened_at for one in semantic.candidates.values())
            spans = times.spans_for(question.text, question.now, moments)[:MOST_SPANS]
            then = await self._arm(
                DATED, lambda: self._cold.in_spans(self._database, space_id, question, cold, spans, DATED_DEPTH)
            )
            if then.scores:
                there = arms.get(DATED, Arm(DATED))
                arms[DATED] = joined(there, Found(then.scores, then.candidates), len(spans) * DATED_DEPTH)
        found = {key: one for arm in arms.values() for key, one in arm.candidates.items()}
        arms[COLD] = replace(cold.arm, candidates={key: found[key] for key in found if key in cold.keys})
        return arms

    async def spread(self, space_id: UUID, question: Question, seeds: Mapping[Key, float], names: Sequence[bytes],
                     hops: int, reads: Reads, *, cold: bool = False) -> tuple[Arm, dict[Key, Reached]]:  # fmt: skip
        """What stands beside what was found, and by which edge it was reached; with ``cold`` what is cold, too."""
        reached: dict[Key, Reached] = {}

        async def over_edges() -> Found:
            found = await edges.spread(
                reads, space_id, question.bounds, seeds, hops, MOST_REACHED, self._seconds, names, cold=cold
            )
            reached.update(found.reached)
            return Found({key: one.weight for key, one in found.reached.items()}, found.candidates)

        arm = await self._arm(EDGES, over_edges)
        if arm.failed:
            self._metrics.arm_failed(EDGES)
        return arm, reached

    async def _by_words(
        self, reads: Reads, space_id: UUID, question: Question, depth: int,
        looking: "asyncio.Task[Held | None] | None", reading: Reading | None,
    ) -> list[Arm]:  # fmt: skip
        """The words; beside the vectors there is a look at what is held, with the ``reading`` of the question."""
        if looking is not None:
            await self._after_the_encoder(question)

        async def found() -> Found:
            if looking is not None and reading is not None and self._shelf.has_words(question.bounds):
                await asyncio.wait([looking], timeout=LOOK_WITHIN)
                here = await _by_held_words(question, looking, reading, depth)
                if here is not None:
                    return here
            return await lexical.search(self._database, reads, space_id, question, depth, self._seconds)

        return [await self._arm(LEXICAL, found)]

    async def _after_the_encoder(self, question: Question) -> None:
        """Gives the encoder's thread its start, where there is something to encode."""
        if question.vector is None and not self._encoder.knows(question.text):
            await asyncio.sleep(HEAD_START)

    async def _by_meaning(
        self, reads: Reads, space_id: UUID, question: Question, reach: Callable[[], Awaitable[int]],
        told: "asyncio.Future[FloatArray | None]", looking: "asyncio.Task[Held | None]", *, dated: bool,
    ) -> list[Arm]:  # fmt: skip
        """The nearest of all; and of what happened in the spans that the question names, one after the other.

        ``told`` is given the vector of the question as soon as it is there, or None; ``reach`` says then how many are
        wanted.
        """
        vector: FloatArray | None = None
        ready: Held | None = None
        looked = time.monotonic()

        async def nearest() -> Found:
            nonlocal vector, ready
            try:
                # Not as another task: the encoder's thread begins before this one does anything else.
                vector = question.vector if question.vector is not None else await self._encoder.question(question.text)
                ready = await asyncio.shield(looking)
            finally:
                if not told.done():
                    told.set_result(vector)
            return await self._nearest(reads, space_id, question.bounds, vector, ready, await reach())

        found = await self._arm(SEMANTIC, nearest)
        found = replace(found, vector=vector, looked=looked)
        if ready is not None:
            found = replace(found, shown=ready.shown, table=ready.table)
        if found.failed or vector is None or not dated:
            return [found]
        moments = (one.happened_at for one in found.candidates.values())
        bounds = [_within(question.bounds, span) for span in times.spans_for(question.text, question.now, moments)]
        if not bounds:
            return [found]
        known, whose = vector, ready
        return [
            found, await self._arm(DATED, lambda: self._in_spans(reads, space_id, bounds[:MOST_SPANS], known, whose))
        ]  # fmt: skip

    async def _held(self, reads: Reads, space_id: UUID, question: Question, reading: Reading | None) -> Held | None:
        """What is held of the user of a question, if that still stands."""
        if self._indexes.mode == "always":
            return None
        await self._after_the_encoder(question)
        try:
            return await self._shelf.of(reads, space_id, question.bounds, self._seconds, reading)
        except (psycopg.Error, PoolTimeout) as error:
            # Perhaps it was too much to bring; the search itself says whether PostgreSQL is well.
            log.warning("held not read", error=type(error).__name__, reason=reason(error))
            return None

    async def _in_spans(
        self, reads: Reads, space_id: UUID, spans: list[Bounds], vector: FloatArray, ready: Held | None
    ) -> Found:
        found = Found({})
        for bounds in spans:
            more = await self._nearest(reads, space_id, bounds, vector, ready, DATED_DEPTH)
            found.scores.update(more.scores)
            found.candidates.update(more.candidates)
        return found

    async def _nearest(
        self, reads: Reads, space_id: UUID, bounds: Bounds, vector: FloatArray, ready: Held | None, depth: int
    ) -> Found:
        if ready is not None:
            return held.search(ready, bounds, vector, self._model, depth)
        return await vectors.search(reads, space_id, bounds, vector, self._model, self._indexes, depth, self._seconds)

    def shown(self, question: Question, arms: Mapping[str, Arm]) -> Shown | None:
        """What is held to be answered, unless the look was a while ago, or some of it was forgotten since."""
        found = arms.get(SEMANTIC)
        if found is None or found.shown is None or time.monotonic() - found.looked > FRESH:
            return None
        return found.shown if self._shelf.shows(question.bounds.user_ids[0], found.shown) else None

    def drop(self, user_id: UUID) -> None:
        """Lets go of what this process holds of a user."""
        self._shelf.drop(user_id)

    def close(self) -> None:
        """Calls off what is going on beside questions."""
        self._shelf.close()

    async def focused(self, bounds: Bounds) -> Arm:
        """What the focus holds, be it out of date; whatever is wrong with Redis is logged there."""
        began = time.perf_counter()
        focused = Focused([], degraded=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                focused = await self._focus.read(bounds.user_ids)
        scores = {key_of(*key): 1 / (1 + rank) for rank, key in enumerate(focused.keys)}
        if focused.degraded:
            self._metrics.arm_failed(FOCUS)
        return Arm(FOCUS, scores, milliseconds=_since(began), failed="redis" if focused.degraded else None)

    async def _arm(self, name: str, search: Callable[[], Awaitable[Found]]) -> Arm:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._seconds):
                found = await search()
        except (psycopg.Error, PoolTimeout, EmbeddingError, TimeoutError) as error:
            log.warning("arm failed", arm=name, error=type(error).__name__, reason=reason(error))
            return Arm(name, milliseconds=_since(began), failed=type(error).__name__)
        return Arm(
            name, found.scores, found.candidates, found.most, _since(began), None, found.plan, found.rows, found.pieces,
            found.bonus, found.terms,
        )  # fmt: skip


def _within(bounds: Bounds, span: Span) -> Bounds:
    since = span.since if bounds.since is None else max(bounds.since, span.since)
    until = span.until if bounds.until is None else min(bounds.until, span.until)
    return replace(bounds, since=since, until=until)


async def _by_held_words(
    question: Question, looking: "asyncio.Task[Held | None]", reading: Reading, depth: int
) -> Found | None:
    """What held words say to a question; None where there are none that stand, or it is not known yet."""
    ready = _seen(looking)
    if ready is None or ready.words is None:
        return None
    terms = await reading.terms()
    return None if terms is None else held.search_words(ready.words, question.bounds, terms, depth)


def _seen(looking: "asyncio.Task[Held | None] | None") -> Held | None:
    """What a look has found so far."""
    over = looking is not None and looking.done() and not looking.cancelled() and looking.exception() is None
    return looking.result() if looking is not None and over else None


def _taken(task: "asyncio.Task[Held | None]") -> None:
    """Whoever waits for the task hears of its error; where nobody does any more, nobody needs to."""
    if not task.cancelled():
        task.exception()


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
