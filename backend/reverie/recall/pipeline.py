"""Recall: the arms side by side, fused, read, answered. An arm that fails or is late leaves it to the others."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

import psycopg

from reverie.auth.principal import Principal
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database, Reads
from reverie.core.errors import Invalid
from reverie.core.ids import lower_bound, user_uuid
from reverie.core.kinds import HEADS, KINDS, RECALLED_KINDS
from reverie.core.metrics import Metrics
from reverie.embedding.encoder import Encoder
from reverie.embedding.fit import supplied
from reverie.embedding.reranking.service import Reranking
from reverie.memories.access import AccessCounts
from reverie.memories.model import Model
from reverie.memories.strength import full_hour
from reverie.recall import candidates, edges, fuse, times
from reverie.recall.answer import Answer, edges_among, explanation, result, size, via
from reverie.recall.arms import EDGES, FOCUS, LEXICAL, SEMANTIC, Arms
from reverie.recall.bounds import admissible, rare_clauses
from reverie.recall.cache import Cache, Looking
from reverie.recall.cache import key_of as question_key
from reverie.recall.cold import COLD, DAMAGED, Cold
from reverie.recall.edges import Reached
from reverie.recall.features import Asked
from reverie.recall.filters import jsonpath
from reverie.recall.fold import said_once
from reverie.recall.held import Shelf
from reverie.recall.indexes import Indexes
from reverie.recall.night import Night, Told, enough
from reverie.recall.pool import Pool, best, pool
from reverie.recall.ranges import within_tiers
from reverie.recall.ranker import OF_THE_NIGHT, Ranker
from reverie.recall.ranking import Ranking
from reverie.recall.recipes import RECIPES
from reverie.recall.rerank import passages, rerank
from reverie.recall.schemas import RecallIn, RecallQuery
from reverie.recall.strengths import Desk, Sheets, Strengths, nights_of, told
from reverie.recall.superseded import newer_first, pairs_of
from reverie.recall.types import Arm, Bounds, Candidate, Edge, Key, Question, Scored, Trace, trace_of
from reverie.text.fields import EARLIEST
from reverie.text.names import name_words
from reverie.working.focus import Focus

SEEDS: Final = 10
"""Candidates from which recall spreads over the edges."""

SHEETS_WITHIN: Final = 0.05
"""Seconds after which the vector arm no longer waits to hear what nights have made."""

SPARE: Final = 4
"""Results that are read beyond those wanted, in place of such as only repeat another."""


Known: TypeAlias = tuple[Sheets, dict[bytes, Night]]
"""The sheets of users, and what nights have made of them as of the moment that is asked about."""


class Chosen(NamedTuple):
    """A result: its score, its row, and the traces that only repeat it."""

    scored: Scored
    trace: Trace
    repeats: list[UUID]


class Gathered(NamedTuple):
    """All candidates of a question, before they are weighed; how those were reached that edges lead to; the sheets of
    the users; and what the summaries of their nights say to it."""

    question: Question
    arms: dict[str, Arm]
    pool: Pool
    reached: dict[Key, Reached]
    sheets: Sheets
    night: Told | None


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
        self, settings: Settings, database: Database, encoder: Encoder, model: Model, focus: Focus, metrics: Metrics,
        rankers: Mapping[str, Ranker], reranking: Reranking, cold: ColdService, counts: AccessCounts,
    ) -> None:  # fmt: skip
        self._counts = counts
        self._database = database
        self._metrics = metrics
        self._model = model
        self._rankers = rankers
        self._cache: Cache[Answer] = Cache()
        self._reranking = reranking
        self._rerank_candidates = settings.rerank_candidates
        self._rerank_seconds = settings.rerank_seconds
        self._k = settings.memory_k
        self._language = settings.memory_language
        self._timeout = settings.memory_recall_timeout_seconds
        self.indexes = indexes = Indexes(database, settings.memory_hnsw)
        """What is known of large users, for whoever looks for what is near beside recall."""
        shelf = Shelf(model, settings.memory_held_mb * 1024 * 1024, indexes)
        # A user's version tells what was changed, not that traces lie elsewhere now: until that is seen, for some
        # seconds, a kept answer names the tiers of before.
        indexes.when_moved(self._cache.clear)
        self._desk = Desk(model)
        self._cold = Cold(cold, model, settings.memory_cold_timeout_seconds)
        self._arms = Arms(database, encoder, model, indexes, shelf, focus, metrics, self._timeout, self._cold)

    async def recall(self, principal: Principal, asked: RecallQuery) -> Answer:
        """Answers a question: what :class:`~reverie.recall.schemas.RecallOut` describes, made without it.

        Raises:
            Invalid: the caller's vector does not fit.
            Unavailable: no arm could answer.
        """
        watch = Stopwatch()
        space_id = principal.space_id
        names = {user_uuid(space_id, name): name for name in asked.user_id}
        key = question_key(space_id, asked)
        known = await self._cache.find(self._database, space_id, list(names), key, self._timeout)
        if known is not None:
            self._count(asked, space_id, names, known)
            return known | {"took_ms": watch.total()}
        looking = Looking(self._database, list(names))
        nights = RECIPES[asked.recipe].fused and f"balanced{OF_THE_NIGHT}" in self._rankers
        gathered = await self.gather(principal, asked, watch, looking, nights=nights)
        question, arms, found, reached, sheets, night = gathered
        strengths = Strengths(sheets, (asked.at or full_hour(question.now)).timestamp())
        chosen, links, degraded = await self._chosen(space_id, asked, question, arms, found, strengths, night, watch)
        self._metrics.recall(watch.laps)
        answer = {
            "query": asked.q,
            "k": question.k,
            "heads": asked.heads or ["semantic"],
            "results": [
                result(
                    one.scored,
                    one.trace,
                    fuse.said(arms.values(), one.scored.key),
                    one.repeats,
                    via(reached.get(one.scored.key), names),
                )
                for one in chosen
            ],
            "edges": edges_among([one.scored for one in chosen], links, names),
            "degraded": [arm.name for arm in arms.values() if arm.failed] + degraded,
            "took_ms": watch.total(),
            "explain": explanation(arms, [one.scored for one in chosen], watch.laps, strengths)
            if asked.explain
            else None,
        }
        self._count(asked, space_id, names, answer)
        await self._keep(key, answer, looking, asked, [one.trace.expires_at for one in chosen if one.trace.expires_at])
        return answer

    def _count(self, asked: RecallQuery, space_id: UUID, names: Mapping[UUID, str], answer: Answer) -> None:
        """Notes that the results were recalled. What measures a single arm recalls nothing."""
        if not asked.touch or not RECIPES[asked.recipe].fused:
            return
        for user_id, name in names.items():
            recalled = [one["trace_id"] for one in answer["results"] if one["user_id"] == name]
            if recalled:
                self._counts.note(space_id, user_id, recalled)

    def close(self) -> None:
        """Waits for nothing."""
        self._arms.close()
        self._cold.close()

    def forget(self, user_id: UUID, trace_ids: Collection[UUID]) -> None:
        """Takes traces of a user out of the memory of this process: held vectors, and the answers that show them."""
        gone = {str(one) for one in trace_ids}
        self._cache.drop(lambda _, answer: any(str(one["trace_id"]) in gone for one in answer["results"]))
        self._arms.drop(user_id)
        self._desk.drop(user_id)

    async def _chosen(
        self, space_id: UUID, asked: RecallQuery, question: Question, arms: Mapping[str, Arm], found: Pool,
        strengths: Strengths, night: Told | None, watch: Stopwatch,
    ) -> tuple[list[Chosen], list[Edge], list[str]]:  # fmt: skip
        """The best traces, the edges among those that were read, and what was not done in time."""
        recipe, k = RECIPES[asked.recipe], question.k
        most = self._rerank_candidates if recipe.rerank else 0
        wanted = max(k + SPARE, most)
        # If their texts cannot be read, the others take their places.
        more = len(arms[COLD].candidates) if COLD in arms else 0
        ranking = None
        if recipe.fused:
            ranking = self._ranking(asked, arms, found, k, wanted + more, strengths, night)
        ranked = fuse.alone(next(iter(arms.values())), found.rows) if ranking is None else ranking.ordered
        watch.lap("fuse")
        standing = [one.key for one in ranked if most or one.score >= asked.min_score]
        keys, traces, links, degraded = await self._read(space_id, question, arms, standing, wanted)
        watch.lap("results")
        if ranking is not None and most:
            scores = await self._reranked(asked.q, [traces[key] for key in keys[:most] if key in traces])
            if scores is None:
                degraded.append("rerank")
            else:
                ranked = ranking.reranked(scores)
            watch.lap("rerank")
        scored = {one.key: one for one in ranked if one.key in traces and one.score >= asked.min_score}
        read = [traces[key] for key in scored]
        once = said_once(read) if recipe.fused else [(trace, []) for trace in read]
        shown = {trace.key: (trace, [trace_of(one.key) for one in same]) for trace, same in once[:k]}
        best = [scored[key] for key in shown]
        if recipe.fused:
            best = newer_first(best, pairs_of([trace for trace, _ in shown.values()], links))
        return [Chosen(one, *shown[one.key]) for one in best], links, degraded

    async def _read(
        self, space_id: UUID, question: Question, arms: Mapping[str, Arm], ranked: Sequence[Key], wanted: int
    ) -> tuple[list[Key], dict[Key, Trace], list[Edge], list[str]]:
        """The first ``wanted`` of ``ranked``, but for those whose texts cannot be read; those of them that stand, with
        the edges among them; and what was not done."""
        lost = set[Key]()
        cold = arms[COLD].candidates if _has_cold(arms) else None
        degraded: list[str] = []
        while True:
            keys = [key for key in ranked if key not in lost][:wanted]
            # Each time anew: while cold memory is waited for, what is held may be forgotten.
            held = self._arms.shown(question, arms)
            here = None if held is None else held.results(keys, clock.now())
            traces, links, untold = (
                await candidates.results(self._database, space_id, keys, question.bounds.at, self._timeout)
                if here is None
                else (*here, {})
            )
            if untold and cold is not None:
                texts, complete = await self._cold.texts(space_id, list(untold), question.end)
                if not complete:
                    # What is left of cold memory is tried once more; then the answer comes from the rest.
                    lost |= cold.keys() if degraded else set()
                    degraded = [COLD]
                traces |= {key: untold[key]._replace(content=text) for key, text in texts.items()}
            gone = untold.keys() - traces.keys()
            if not gone:
                return keys, traces, links, [] if degraded and arms[COLD].failed else degraded
            lost |= gone

    async def _keep(
        self, key: bytes, answer: Answer, looking: Looking, asked: RecallQuery, ends: Sequence[datetime]
    ) -> None:
        """Keeps an answer to which every arm has contributed, until the first of ``ends`` at most.

        Explanations are asked for to see a search.
        """
        # A window of time moves on with every moment, and the weights of what is in it change with what leaves it.
        if answer["degraded"] or asked.explain or asked.time_window is not None:
            return
        versions = None
        # Of an answer that was found although a look failed it is not known how long it stands.
        with suppress(psycopg.InterfaceError):
            versions = await looking.versions()
        if versions is not None:
            # Then "yesterday" is another day.
            midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            self._cache.keep(key, answer, size(answer), versions, until=min([midnight, *ends]))

    async def gather(
        self, principal: Principal, asked: RecallQuery, watch: Stopwatch, reads: Reads | None = None, *,
        nights: bool = True,
    ) -> Gathered:  # fmt: skip
        """All candidates of a question, before they are weighed. Without ``nights`` as if none had been dreamt.

        Raises:
            Invalid, Unavailable: as :meth:`recall`.
        """
        space_id = principal.space_id
        user_ids = [user_uuid(space_id, name) for name in asked.user_id]
        bringing = asyncio.create_task(self._known(principal, user_ids, asked.at, nights=nights))
        try:
            return await self._gather(principal, asked, user_ids, watch, reads or self._database, bringing)
        finally:
            bringing.cancel()

    async def _gather(
        self, principal: Principal, asked: RecallQuery, user_ids: list[UUID], watch: Stopwatch, reads: Reads,
        bringing: asyncio.Task[Known],
    ) -> Gathered:  # fmt: skip
        space_id, recipe = principal.space_id, RECIPES[asked.recipe]

        async def dreamt() -> bool:
            if not bringing.done():
                await asyncio.wait([bringing], timeout=SHEETS_WITHIN)
            return bringing.done() and enough(bringing.result()[1])

        question = await self._question(reads, space_id, user_ids, asked)
        watch.lap("question")
        arms = await self._arms.search(space_id, question, recipe, reads, dreamt)
        watch.lap("arms")
        sheets, made = await bringing
        night = told(made, arms)
        known, depth = _known_by(arms), max(recipe.depth, question.k)
        wide = SEMANTIC in arms and len(arms[SEMANTIC].scores) > depth
        # Where nights tell of too few of what the vector arm has brought for them, it is as if it had brought no more.
        if wide and (night is None or not night.of(known.values())):
            arms[SEMANTIC] = arms[SEMANTIC].best(depth)
            known = _known_by(arms)
        # As of a moment that is over, what is in focus today says nothing.
        if recipe.focus and asked.at is None and len(known) < question.k:
            arms[FOCUS] = await self._arms.focused(question.bounds)
            known |= await self._from_focus(space_id, question, arms[FOCUS], known, cold=_has_cold(arms))
        watch.lap("candidates")
        spans = times.spans_for(question.text, question.now, (one.happened_at for one in known.values()))
        found = pool(arms, known, spans)
        # As of a moment that is over, most edges were not there yet.
        if not recipe.hops or asked.at is not None:
            return Gathered(question, arms, found, {}, sheets, night)
        first = best(found, SEEDS)
        most = max(float(found.first[first].max(initial=0.0)), 1e-9)
        seeds = {found.keys[place]: float(found.first[place]) / most for place in first}
        names = edges.named(asked.q, principal.identity_key)
        arms[EDGES], reached = await self._arms.spread(
            space_id, question, seeds, names, recipe.hops, reads, cold=_has_cold(arms)
        )
        watch.lap("edges")
        found = pool(arms, known | arms[EDGES].candidates, spans)
        return Gathered(question, arms, found, reached, sheets, night)

    async def sheets(self, principal: Principal, user_ids: Sequence[UUID]) -> Sheets:
        """What is known of some users beside their traces."""
        kept = self._desk.kept(user_ids)
        return (
            await self._desk.bring(self._database, principal.space_id, user_ids, self._timeout)
            if kept is None
            else kept
        )

    async def _known(
        self, principal: Principal, user_ids: Sequence[UUID], at: datetime | None, *, nights: bool
    ) -> Known:  # fmt: skip
        sheets = await self.sheets(principal, user_ids)
        return sheets, nights_of(sheets, at) if nights else {}

    async def _question(self, reads: Reads, space_id: UUID, user_ids: list[UUID], asked: RecallQuery) -> Question:
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
            only = await candidates.matching(reads, space_id, user_ids, text, parameters, self._timeout)
        bounds = Bounds(
            user_ids=user_ids,
            kinds=[KINDS[kind] for kind in asked.kinds or RECALLED_KINDS],
            heads=[HEADS[head] for head in asked.heads or ("semantic",)],
            since=since,
            until=asked.until,
            before=lower_bound(asked.at) if asked.at is not None else None,
            at=asked.at,
            only=only,
        )
        return Question(
            asked.q,
            self._language,
            await within_tiers(reads, space_id, bounds, asked.tiers, self._timeout),
            asked.k or self._k,
            asked.at or clock.now(),
            vector,
            cold=bounds if "cold" in asked.tiers else None,
            end=time.monotonic() + self._cold.seconds,
        )

    async def _from_focus(
        self, space_id: UUID, question: Question, focus: Arm, known: Mapping[Key, Candidate], *, cold: bool
    ) -> dict[Key, Candidate]:
        """What is in focus and no arm found: as much as is wanting, for it stands behind all that one did."""
        missing = [key for key in focus.scores if key not in known][: question.k - len(known)]
        if not missing:
            return {}
        others = await candidates.weighable(
            self._database, space_id, missing, question.bounds.at, self._timeout, cold=cold
        )
        return {one.key: one for one in others if admissible(one, question.bounds)}

    def _ranking(
        self, asked: RecallQuery, arms: Mapping[str, Arm], found: Pool, k: int, most: int, strengths: Strengths,
        night: Told | None,
    ) -> Ranking:  # fmt: skip
        # The rankers have only learned from answers of all arms.
        great = [arms[name] for name in (SEMANTIC, LEXICAL) if name in arms]
        whole = len(great) > 1 and not any(arm.failed for arm in great) and bool(arms[SEMANTIC].scores)
        rankers = self._rankers if whole else {}
        recipe = RECIPES[asked.recipe]
        return Ranking(
            Asked.read(asked.q), found, max(recipe.shortlist, k), most, rankers, strengths,
            told=night, night_size=max(recipe.night_shortlist, k), explain=asked.explain,
        )  # fmt: skip

    async def _reranked(self, question: str, traces: Sequence[Trace]) -> dict[Key, float] | None:
        """What the reranker says of traces; None if it does not say it in time."""
        read = passages([one.content for one in traces], [one.speaker for one in traces], name_words(question))
        scores = await rerank(self._reranking, question, read, self._rerank_seconds)
        return None if scores is None else {one.key: score for one, score in zip(traces, scores, strict=True)}


def _known_by(arms: Mapping[str, Arm]) -> dict[Key, Candidate]:
    """The candidates of all arms."""
    return {key: one for arm in arms.values() for key, one in arm.candidates.items()}


def _has_cold(arms: Mapping[str, Arm]) -> bool:
    """Whether cold memory is asked for, and there: a damaged file leaves the others."""
    return COLD in arms and arms[COLD].failed in (None, DAMAGED)


def _back(moment: datetime, window: timedelta) -> datetime:
    return moment - window if moment - EARLIEST > window else EARLIEST
