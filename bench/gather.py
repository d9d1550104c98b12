"""What the ranker sees: the candidates of each question of a collection, and which of them are evidence.

The store is loaded through the API; the candidates come from the same code that serves a recall, run in this process
over the same database.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg

from bench.client import Client
from bench.conversations import Conversation
from bench.report import CannotMeasure
from bench.service import Service
from reverie.auth.principal import Principal
from reverie.core.config import load_settings
from reverie.core.ids import user_uuid
from reverie.recall.candidates import results
from reverie.recall.features import NAMES, Asked, matrix
from reverie.recall.pipeline import RecallService, Stopwatch
from reverie.recall.pool import best
from reverie.recall.ranker import NONE
from reverie.recall.ranking import reranked_rows
from reverie.recall.recipes import RECIPES, RecipeName
from reverie.recall.rerank import passages, rerank
from reverie.recall.schemas import RecallQuery
from reverie.recall.types import Key, Scored, trace_of
from reverie.runtime import open_runtime
from reverie.text.names import name_words

PATIENCE = 120.0
"""Seconds: nothing that is learned from may be missing because the machine was busy."""

SPARE = 10
"""Candidates that are judged beyond those that the service would have judged: another fold has others."""

BATCH, BATCH_CHARS = 100, 50_000
"""Most traces and characters of a request: few enough that all have their vectors when it is answered."""


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gathered:
    """A question as the ranker sees it.

    ``features`` is float32 ``[n, names]`` of its candidates, ``evidence`` which of them answer it; ``wanted`` is how
    many traces do, those included that no arm found; ``first`` is what the arms alone weigh, ``[n]``; ``keys`` are the
    candidates'.
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

    @property
    def question(self) -> tuple[str, str, int]:
        """What tells questions apart."""
        return self.collection, self.conversation, self.number

    def without(self, features: Collection[str]) -> "Gathered":
        """The same with these features blank, so that nothing can be learned from them."""
        left = self.features.copy()
        left[:, [NAMES.index(name) for name in features]] = 0
        return replace(self, features=left)


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
    conversations: Sequence[Conversation],
    recipe: RecipeName,
    advance: Callable[[int], Any],
) -> list[Gathered]:
    """The candidates of every question of conversations that were loaded."""
    settings = load_settings(database_url=service.database_url, memory_ranker=NONE)
    async with open_runtime(settings) as runtime:
        principal = await runtime.keys.authenticate(service.key)
        found = []
        for conversation in conversations:
            user = user_of(run, conversation)
            ids = _trace_ids(service.database_url, user_uuid(principal.space_id, user))
            for number in range(len(conversation.questions)):
                found.append(await _gathered(runtime.recall, principal, user, conversation, number, ids, recipe))
                advance(1)
    return found


async def _gathered(
    recall: RecallService,
    principal: Principal,
    user: str,
    conversation: Conversation,
    number: int,
    ids: dict[UUID, str],
    recipe: RecipeName,
) -> Gathered:
    asked = conversation.questions[number]
    query = RecallQuery(user_id=[user], q=asked.text, recipe=recipe, tiers=["hot", "warm"])
    _, _, found, _ = await recall.gather(principal, query, Stopwatch())
    places = best(found, RECIPES[recipe].shortlist)
    return Gathered(
        collection=conversation.collection,
        conversation=conversation.name,
        number=number,
        category=asked.category,
        features=matrix(Asked.read(asked.text), found, places),
        evidence=np.array([ids.get(trace_of(found.keys[place])) in asked.evidence for place in places], dtype=np.bool_),
        wanted=len(asked.evidence),
        first=found.first[places],
        keys=[found.keys[place] for place in places],
    )


async def judge(
    service: Service, conversations: Sequence[Conversation], likely: Sequence[tuple[Gathered, Floats]],
    advance: Callable[[int], Any],
) -> Judged:  # fmt: skip
    """What the reranker says of the best candidates of each question, and of some more.

    Args:
        likely: questions, and for each the scores of its candidates.
    """
    settings = load_settings(database_url=service.database_url, memory_ranker=NONE)
    questions = {
        (one.collection, one.name, number): asked.text
        for one in conversations
        for number, asked in enumerate(one.questions)
    }
    judged: Judged = {}
    async with open_runtime(settings) as runtime:
        space_id = (await runtime.keys.authenticate(service.key)).space_id
        for row, scores in likely:
            text = questions[row.question]
            places = (-scores).argsort(kind="stable")[: settings.rerank_candidates + SPARE]
            keys = [row.keys[place] for place in places]
            traces, _ = await results(runtime.database, space_id, keys, None, PATIENCE)
            read = passages(
                [traces[key].content for key in keys], [traces[key].speaker for key in keys], name_words(text)
            )
            said = await rerank(runtime.reranking, text, read, PATIENCE)
            if said is None:
                raise CannotMeasure("The reranker does not answer.")
            judged[row.question] = dict(zip(keys, said, strict=True))
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
        features=reranked_rows(row.features[order], before, [said[key] for key in keys]),
        evidence=row.evidence[order],
        first=scores[order],
        keys=keys,
    )


def _trace_ids(database_url: str, user_id: UUID) -> dict[UUID, str]:
    with psycopg.connect(database_url) as connection:
        query = "SELECT id, external_id FROM memory_trace WHERE user_id = %s AND external_id IS NOT NULL"
        return dict(connection.execute(query, (user_id,)).fetchall())
