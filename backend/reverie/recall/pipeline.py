"""Recall: the arms side by side, fused, read, answered. An arm that fails or is late leaves it to the others."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.errors import Invalid, Unavailable
from reverie.core.ids import lower_bound, user_uuid
from reverie.core.kinds import HEADS, KINDS, RECALLED_KINDS
from reverie.core.metrics import Metrics
from reverie.core.telemetry import reason
from reverie.embedding.encoder import Encoder
from reverie.embedding.fit import supplied
from reverie.embedding.protocol import EmbeddingError
from reverie.memories.model import Model
from reverie.recall import candidates, fuse, lexical, vectors
from reverie.recall.bounds import admissible, rare_clauses
from reverie.recall.filters import jsonpath
from reverie.recall.recipes import RECIPES, Recipe
from reverie.recall.schemas import EdgeOut, RecallIn, RecallOut, RecallQuery, Result
from reverie.recall.types import Arm, Bounds, Edge, Found, Question, Scored, Trace, key_of, trace_of
from reverie.text.fields import EARLIEST
from reverie.working.focus import Focus, Focused

log = structlog.get_logger(__name__)


class Stopwatch:
    """Milliseconds of each stage of a recall."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._began = self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Ends a stage."""
        now = time.perf_counter()
        self.laps[stage] = round((now - self._last) * 1000, 3)
        self._last = now

    def total(self) -> float:
        """Milliseconds since the beginning."""
        return round((time.perf_counter() - self._began) * 1000, 3)


class RecallService:
    """Finds what was remembered."""

    def __init__(
        self, settings: Settings, database: Database, encoder: Encoder, model: Model, focus: Focus, metrics: Metrics
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._encoder = encoder
        self._model = model
        self._focus = focus
        self._k = settings.memory_k
        self._language = settings.memory_language
        self._timeout = settings.memory_recall_timeout_seconds
        self._plan = vectors.plan_for(settings.memory_hnsw)

    async def recall(self, principal: Principal, asked: RecallQuery) -> RecallOut:
        """Answers a question.

        Raises:
            Invalid: the caller's vector does not fit.
            Unavailable: no arm could answer.
        """
        watch = Stopwatch()
        space_id, recipe = principal.space_id, RECIPES[asked.recipe]
        names = {user_uuid(space_id, name): name for name in asked.user_id}
        question = await self._question(space_id, list(names), asked)
        watch.lap("question")
        arms = await self._search(space_id, question, recipe)
        watch.lap("arms")
        base = fuse.weigh(arms)
        focus = arms["focus"].scores if "focus" in arms else {}
        keys = fuse.shortlist(base, focus, max(recipe.shortlist, question.k), question.k)
        watch.lap("shortlist")
        known = {key: one for arm in arms.values() for key, one in arm.candidates.items()}
        standing = [known[key] for key in keys if key in known]
        if unknown := [key for key in keys if key not in known]:
            others = await candidates.weighable(self._database, space_id, unknown, self._timeout)
            standing += [one for one in others if admissible(one, question.bounds)]
        watch.lap("candidates")
        if recipe.fused:
            ranked = fuse.fuse(asked.q, base, arms, standing)
        else:
            ranked = fuse.alone(next(iter(arms.values())), standing)
        best = [one for one in ranked if one.score >= asked.min_score][: question.k]
        watch.lap("fuse")
        traces, edges = await candidates.results(self._database, space_id, [one.key for one in best], self._timeout)
        best = [one for one in best if one.key in traces]
        watch.lap("results")
        self._metrics.recall(watch.laps)
        return RecallOut(
            query=asked.q,
            k=question.k,
            heads=asked.heads or ["semantic"],
            results=[_result(one, traces[one.key], fuse.said(arms.values(), one.key)) for one in best],
            edges=_among(best, edges, names),
            degraded=[arm.name for arm in arms.values() if arm.failed],
            took_ms=watch.total(),
            explain=_explanation(arms, self._plan, best, watch) if asked.explain else None,
        )

    async def _question(self, space_id: UUID, user_ids: list[UUID], asked: RecallQuery) -> Question:
        vector = None
        path = None
        if isinstance(asked, RecallIn):
            path = jsonpath(asked.filter) if asked.filter is not None else None
            if asked.embedding is not None:
                try:
                    vector = supplied(asked.embedding, self._model.dim)
                except ValueError as error:
                    raise Invalid(f"embedding {error}.", field="embedding") from None
        since = asked.since if asked.time_window is None else _back(asked.at or clock.now(), asked.time_window)
        text, parameters = rare_clauses(asked.roles, asked.conversation_id, user_ids, path)
        only = None
        if text:
            only = await candidates.matching(self._database, space_id, user_ids, text, parameters, self._timeout)
        if "hot" not in asked.tiers:
            only = frozenset()
        bounds = Bounds(
            user_ids=user_ids,
            kinds=[KINDS[kind] for kind in asked.kinds or RECALLED_KINDS],
            heads=[HEADS[head] for head in asked.heads or ("semantic",)],
            since=since,
            until=asked.until,
            before=lower_bound(asked.at) if asked.at is not None else None,
            only=only,
        )
        return Question(asked.q, self._language, bounds, asked.k or self._k, vector)

    async def _search(self, space_id: UUID, question: Question, recipe: Recipe) -> dict[str, Arm]:
        searches: list[Awaitable[Arm]] = []
        depth = max(recipe.depth, question.k)
        if recipe.semantic:
            # First: the encoder's thread works on the question while the others are sent off.
            searches.append(self._arm("semantic", lambda: self._semantic(space_id, question, depth)))
        if recipe.lexical:
            searches.append(
                self._arm(
                    "lexical",
                    lambda: lexical.search(self._database, space_id, question, depth, self._timeout),
                )
            )
        if recipe.focus:
            searches.append(self._focused(question.bounds))
        arms = list(await asyncio.gather(*searches))
        for arm in arms:
            if arm.failed:
                self._metrics.arm_failed(arm.name)
        if all(arm.failed for arm in arms if arm.name != "focus"):
            outage = self._database.outage
            what = "No arm of recall could answer" if outage is None else outage.what
            raise Unavailable(f"{what}; try again shortly.")
        return {arm.name: arm for arm in arms}

    async def _semantic(self, space_id: UUID, question: Question, depth: int) -> Found:
        vector = question.vector if question.vector is not None else await self._encoder.question(question.text)
        return await vectors.search(
            self._database, space_id, question.bounds, vector, self._model, self._plan, depth, self._timeout
        )

    async def _focused(self, bounds: Bounds) -> Arm:
        """What the focus holds, be it out of date; whatever is wrong with Redis is logged there."""
        began = time.perf_counter()
        focused = Focused([], degraded=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                focused = await self._focus.read(bounds.user_ids)
        scores = {key_of(*key): 1 / (1 + rank) for rank, key in enumerate(focused.keys)}
        return Arm("focus", scores, milliseconds=_since(began), failed="redis" if focused.degraded else None)

    async def _arm(self, name: str, search: Callable[[], Awaitable[Found]]) -> Arm:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                found = await search()
        except (psycopg.Error, PoolTimeout, EmbeddingError, TimeoutError) as error:
            log.warning("arm failed", arm=name, error=type(error).__name__, reason=reason(error))
            return Arm(name, milliseconds=_since(began), failed=type(error).__name__)
        return Arm(name, found.scores, found.candidates, found.most, _since(began))


def _back(moment: datetime, window: timedelta) -> datetime:
    return moment - window if moment - EARLIEST > window else EARLIEST


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)


def _result(one: Scored, trace: Trace, said: dict[str, float]) -> Result:
    return Result(
        trace_id=trace_of(one.key), user_id=trace.user, external_id=trace.external_id, content=trace.content,
        kind=trace.kind, role=trace.role, speaker=trace.speaker, conversation_id=trace.conversation_id,
        created_at=trace.created_at, occurred_at=trace.occurred_at, salience=round(trace.salience, 6),
        score=round(one.score, 6), scores=_rounded(said), via=[],
        tier="hot", meta=trace.meta,
    )  # fmt: skip


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(score, 6) for name, score in scores.items()}


def _among(best: Sequence[Scored], edges: Sequence[Edge], names: dict[UUID, str]) -> list[EdgeOut]:
    shown = {trace_of(one.key) for one in best}
    return [
        EdgeOut(user_id=names[edge.user_id], src=edge.src, dst=edge.dst, type=edge.type, weight=edge.weight)
        for edge in edges
        if edge.src in shown and edge.dst in shown
    ]


def _explanation(arms: dict[str, Arm], plan: str, best: Sequence[Scored], watch: "Stopwatch") -> dict[str, object]:
    return {
        "arms": {
            arm.name: {"candidates": len(arm.scores), "milliseconds": arm.milliseconds, "failed": arm.failed}
            for arm in arms.values()
        },
        "plan": plan,
        "stages": watch.laps,
        "shares": {
            str(trace_of(one.key)): {name: round(share, 6) for name, share in one.shares.items()} for one in best
        },
    }
