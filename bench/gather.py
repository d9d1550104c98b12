"""What the ranker sees: the candidates of each question of a collection, and which of them are evidence.

The store is loaded through the API; the candidates come from the same code that serves a recall, run in this process
over the same database.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg

from bench.cases import Case
from bench.client import Client
from bench.conversations import Conversation
from bench.report import CannotMeasure
from bench.service import Service
from reverie.auth.principal import Principal
from reverie.core.config import Settings, load_settings
from reverie.core.ids import user_uuid
from reverie.recall import night
from reverie.recall.arms import FOCUS
from reverie.recall.candidates import results
from reverie.recall.features import NAMES, NIGHT_NAMES, NIGHT_RERANK_NAMES, RERANK_NAMES, Asked, matrix
from reverie.recall.fuse import linear
from reverie.recall.night import Told
from reverie.recall.pipeline import RecallService, Stopwatch
from reverie.recall.pool import Pool, best, pool
from reverie.recall.ranker import NONE
from reverie.recall.ranking import reranked_rows, shortlist
from reverie.recall.recipes import RECIPES, RecipeName
from reverie.recall.rerank import passages, rerank
from reverie.recall.schemas import RecallQuery
from reverie.recall.times import spans_for
from reverie.recall.traits import Places
from reverie.recall.types import Arm, Key, Question, Scored, trace_of
from reverie.runtime import open_runtime
from reverie.text.names import name_words

PATIENCE = 60.0
"""Seconds: nothing that is learned from may be missing because the machine was busy."""

SPARE = 10
"""Candidates that are judged beyond those that the service would have judged: another fold has others."""

EMBEDDED_WITHIN = 600.0
"""Seconds in which a worker has embedded what nights have made."""

_WITHOUT_VECTORS: Final = """
SELECT count(*) FROM memory_trace t WHERE t.kind = 'summary' AND t.deleted_at IS NULL
AND NOT EXISTS (SELECT FROM memory_embedding e WHERE e.user_id = t.user_id AND e.trace_id = t.id)
"""

BATCH, BATCH_CHARS = 100, 50_000
"""Most traces and characters of a request: few enough that all have their vectors when it is answered."""


Floats = npt.NDArray[np.float64]


ALL: Final = "all"
"""What nothing is left out of."""

TIMES: Final = "times"
"""Among what is left out: the question is read as if it named no time."""


BY_WIDTH: Final = {len(names): names for names in (NAMES, NIGHT_NAMES, RERANK_NAMES, NIGHT_RERANK_NAMES)}
"""The names of features by how many they are."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A question as the ranker sees it.

    ``features`` is float32 ``[n, names]`` of its candidates, ``evidence`` which of them answer it; ``wanted`` is how
    many traces do, those included that no arm found; ``first`` is what the arms alone weigh, ``fixed`` what fixed
    weights make of the candidates, ``[n]``; ``keys`` and ``names`` (external ids) are the candidates', ``found`` how
    many there were before the best were chosen.

    ``dreamt`` is the same question as nights let the ranker see it, with what they say among the features; None where
    they say too little. Of that one ``told`` is true.
    """

    collection: str
    conversation: str
    number: int
    category: int
    features: npt.NDArray[np.float32]
    evidence: npt.NDArray[np.bool_]
    wanted: int
    first: Floats
    keys: list[Key]
    names: list[str] = field(default_factory=list)
    fixed: Floats = field(default_factory=lambda: np.zeros(0))
    found: int = 0
    dreamt: "Gathered | None" = None
    told: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its features."""
        return BY_WIDTH[self.features.shape[1]]

    @property
    def question(self) -> tuple[str, str, int]:
        """What tells questions apart."""
        return self.collection, self.conversation, self.number

    def without(self, features: Collection[str]) -> "Gathered":
        """The same with these features blank, so that nothing can be learned from them."""
        left = self.features.copy()
        left[:, [self.columns.index(name) for name in features]] = 0
        return replace(self, features=left)

    def with_night(self) -> "Gathered":
        """The same as nights let the ranker see it; where they say too little, 0 is what they say."""
        if self.dreamt is not None:
            return self.dreamt
        silence = np.zeros((len(self.features), len(night.NAMES)), np.float32)
        return replace(self, features=np.concatenate([self.features, silence], axis=1))


Judged = dict[tuple[str, str, int], dict[Key, float]]
"""What the reranker says of the candidates of each question."""


def user_of(run: str, conversation: Conversation) -> str:
    """The user who remembers a conversation."""
    return f"{run}/{conversation.collection}/{conversation.name}"


def load(client: Client, run: str, conversations: Sequence[Conversation], advance: Callable[[int], Any]) -> None:
    """Remembers conversations, each as a user of its own."""
    for conversation in conversations:
        for batch in _batches(conversation.traces):
            client.remember_in_time(user_of(run, conversation), batch)
            advance(len(batch))


def dream(
    service: Service, client: Client, run: str, conversations: Sequence[Conversation], advance: Callable[[int], Any]
) -> None:
    """Dreams every night of conversations that were loaded, and waits until what was made has its vectors.

    Raises:
        CannotMeasure: it fails, or takes too long.
    """
    for conversation in conversations:
        client.dream(user_of(run, conversation))
        advance(1)
    end = time.monotonic() + EMBEDDED_WITHIN
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        while (connection.execute(_WITHOUT_VECTORS).fetchone() or (0,))[0]:
            if time.monotonic() > end:
                raise CannotMeasure("The summaries have no vectors yet.")
            time.sleep(1)


def _batches(traces: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for trace in traces:
        if batch and (len(batch) == BATCH or size + len(trace["content"]) > BATCH_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(trace)
        size += len(trace["content"])
    if batch:
        yield batch


async def gather(
    service: Service,
    run: str,
    cases: Sequence[Case],
    recipe: RecipeName,
    advance: Callable[[int], Any],
    *,
    dreamt: bool = False,
) -> list[Gathered]:
    """The candidates of questions to conversations that were loaded; also with what nights say, if they were
    ``dreamt``."""
    return (await gather_without(service, run, cases, recipe, {ALL: frozenset()}, advance, dreamt=dreamt))[ALL]


async def gather_without(
    service: Service,
    run: str,
    cases: Sequence[Case],
    recipe: RecipeName,
    without: Mapping[str, frozenset[str]],
    advance: Callable[[int], Any],
    *,
    dreamt: bool = False,
) -> dict[str, list[Gathered]]:
    """The candidates of questions, also where arms are left out, as if no night had been dreamt.

    Args:
        service: where the conversations were loaded.
        run: the name under which they were.
        cases: the questions.
        recipe: whose arms search.
        without: by a name of its own, arms that are left out; :data:`TIMES` for the times that the question names.
        advance: is told of each question.
        dreamt: also with what nights say, where they say something.
    """
    found: dict[str, list[Gathered]] = {name: [] for name in without}
    async with open_runtime(_settings(service)) as runtime:
        principal = await runtime.keys.authenticate(service.key)
        ids: dict[str, dict[UUID, str]] = {}
        for case in cases:
            user = user_of(run, case.conversation)
            if user not in ids:
                ids[user] = _trace_ids(service.database_url, user_uuid(principal.space_id, user))
            searched = await _search(runtime.recall, principal, user, case, recipe)
            by_night = None
            if dreamt:
                again = await _search(runtime.recall, principal, user, case, recipe, nights=True)
                by_night = _told(case, again, ids[user], recipe)
            for name, left in without.items():
                plain = searched.without(left)
                places = best(plain, RECIPES[recipe].shortlist)
                found[name].append(replace(_gathered(case, plain, places, ids[user]), dreamt=by_night))
            advance(1)
    return found


class Searched(NamedTuple):
    """What the arms found for a question, and what summaries say to it."""

    question: Question
    arms: dict[str, Arm]
    pool: Pool
    told: Told | None

    def without(self, left: frozenset[str]) -> Pool:
        """The candidates as they would be without some arms."""
        if not left:
            return self.pool
        arms = {name: arm for name, arm in self.arms.items() if name not in left}
        known = {
            row.key: row
            for row in self.pool.rows
            if any(row.key in arm.scores for name, arm in arms.items() if name != FOCUS)
        }
        moments = (row.happened_at for row in known.values())
        named = [] if TIMES in left else spans_for(self.question.text, self.question.now, moments)
        return pool(arms, known, named)


async def _search(
    recall: RecallService, principal: Principal, user: str, case: Case, recipe: RecipeName, *, nights: bool = False
) -> Searched:  # fmt: skip
    query = RecallQuery(user_id=[user], q=case.text, recipe=recipe, tiers=["hot", "warm"], **case.more)
    question, arms, found, _, _, night = await recall.gather(principal, query, Stopwatch(), nights=nights)
    if failed := [arm.name for arm in arms.values() if arm.failed and arm.name != FOCUS]:
        raise CannotMeasure(f"Recall was degraded: {', '.join(failed)} failed.")
    return Searched(question, arms, found, night)


def _told(case: Case, searched: Searched, ids: Mapping[UUID, str], recipe: RecipeName) -> Gathered | None:
    sizes = RECIPES[recipe]
    places, said = shortlist(searched.pool, sizes.shortlist, searched.told, sizes.night_shortlist)
    if said is None:
        return None
    seen = _gathered(case, searched.pool, places, ids)
    return replace(seen, features=np.concatenate([seen.features, said], axis=1), told=True)


def _gathered(case: Case, found: Pool, places: Places, ids: Mapping[UUID, str]) -> Gathered:
    asked = case.conversation.questions[case.number]
    read = Asked.read(case.text)
    keys = [found.keys[place] for place in places]
    names = [ids.get(trace_of(key), "") for key in keys]
    return Gathered(
        collection=case.conversation.collection,
        conversation=case.conversation.name,
        number=case.number,
        category=asked.category,
        features=matrix(read, found, places),
        evidence=np.array([name in asked.evidence for name in names], dtype=np.bool_),
        wanted=len(asked.evidence),
        first=found.first[places],
        keys=keys,
        names=names,
        fixed=np.sum(list(linear(read, found, places).values()), axis=0),
        found=len(found.keys),
    )


async def judge(
    service: Service, conversations: Sequence[Conversation], likely: Sequence[tuple[Gathered, Floats]],
    advance: Callable[[int], Any], known: Judged | None = None,
) -> Judged:  # fmt: skip
    """What the reranker says of the best candidates of each question, and of some more.

    Args:
        service: where the conversations were loaded.
        conversations: that have the questions.
        likely: questions, and for each the scores of its candidates.
        advance: is told of each question.
        known: what it has said already, which it is not asked again and which is answered too.
    """
    settings = _settings(service)
    questions = {
        (one.collection, one.name, number): asked.text
        for one in conversations
        for number, asked in enumerate(one.questions)
    }
    judged = {question: dict(said) for question, said in (known or {}).items()}
    async with open_runtime(settings) as runtime:
        space_id = (await runtime.keys.authenticate(service.key)).space_id
        for row, scores in likely:
            text = questions[row.question]
            places = (-scores).argsort(kind="stable")[: settings.rerank_candidates + SPARE]
            keys = [row.keys[place] for place in places]
            traces, _, _ = await results(runtime.database, space_id, keys, None, PATIENCE)
            read = passages(
                [traces[key].content for key in keys], [traces[key].speaker for key in keys], name_words(text)
            )
            before = judged.setdefault(row.question, {})
            new = [(key, passage) for key, passage in zip(keys, read, strict=True) if key not in before]
            if new:
                said = await rerank(runtime.reranking, text, [passage for _, passage in new], PATIENCE)
                if said is None:
                    raise CannotMeasure("The reranker does not answer.")
                before.update(zip([key for key, _ in new], said, strict=True))
            advance(1)
    return judged


def reranked(row: Gathered, scores: Floats, judged: Judged, most: int) -> Gathered:
    """The best ``most`` candidates of a question as the ranker of ``thorough`` sees them.

    Args:
        scores: what the first ranking makes of all candidates, from 0 to 1.
    """
    said = judged[row.question]
    order = [place for place in (-scores).argsort(kind="stable") if row.keys[place] in said][:most]
    keys = [row.keys[place] for place in order]
    before = [Scored(key, float(scores[place]), {}) for key, place in zip(keys, order, strict=True)]
    return replace(
        row,
        features=np.concatenate([row.features[order], reranked_rows(before, [said[key] for key in keys])], axis=1),
        evidence=row.evidence[order],
        first=scores[order],
        keys=keys,
        names=[row.names[place] for place in order],
        fixed=row.fixed[order],
        dreamt=None,
    )


def _settings(service: Service) -> Settings:
    return load_settings(
        database_url=service.database_url, memory_ranker=NONE, memory_recall_timeout_seconds=PATIENCE
    )  # fmt: skip


def _trace_ids(database_url: str, user_id: UUID) -> dict[UUID, str]:
    with psycopg.connect(database_url) as connection:
        query = "SELECT id, external_id FROM memory_trace WHERE user_id = %s AND external_id IS NOT NULL"
        return dict(connection.execute(query, (user_id,)).fetchall())
