"""Memory that is laid down in past weeks: the same rows as the service writes when it is given the same traces."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from bench.past import Batch, Memories, Space, batches, lay, situated, weeks_before
from bench.prose import Prose, passages
from bench.scale import BATCH, SESSION
from bench.tenants import Sentences
from psycopg.rows import dict_row
from tests.conftest import Api, serving

from reverie.core.config import Settings
from reverie.core.ids import milliseconds, moment_of, user_uuid
from reverie.embedding.protocol import Embedder
from reverie.tiers.partitions import week_of

NOW = datetime(2026, 3, 11, 15, tzinfo=UTC)
ROWS = 60


@pytest.fixture(scope="module")
def memories() -> Memories:
    texts, _ = passages(1, 200)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((64, 384)).astype(np.float32)
    return Memories(Prose(1, texts), Sentences(1, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))


@pytest.fixture
async def api(settings: Settings, embedder: Embedder) -> AsyncIterator[Api]:
    heads = settings.model_copy(update={"memory_heads": "semantic,situation,entity"})
    async with serving(heads, embedder) as running:
        yield running


async def test_what_is_laid_down_is_what_the_service_writes(api: Api, memories: Memories, database_url: str) -> None:
    caller, batch = await api.caller(), Batch(0, 0, ROWS, NOW)
    given = [
        trace | {"occurred_at": trace["occurred_at"].isoformat(), "embedding": vector.tolist()}
        for trace, vector in zip(memories.traces(batch), memories.semantic(batch), strict=True)
    ]
    answer = await caller.post("/memory/remember", json={"user_id": "served", "traces": given})
    assert answer.status_code == 201, answer.text

    space = Space.of(database_url)
    await lay(database_url, space, [batch], memories, lambda _: "laid", lambda _: None)

    served, laid = (_everything(database_url, space, user) for user in ("served", "laid"))
    for table in ("user", "trace", "body", "edge"):
        assert laid[table] == served[table], table
    assert len(laid["edge"]) == ROWS - -(-ROWS // SESSION)
    # Unit length is reached anew by the service, and the mean of neighbours is taken in another order: the last digit.
    for head in (0, 1):
        mine, theirs = ([row for row in rows["embedding"] if row["head"] == head] for rows in (laid, served))
        assert len(mine) == len(theirs) == ROWS
        for one, other in zip(mine, theirs, strict=True):
            assert _without_vector(one) == _without_vector(other)
            assert np.allclose(_numbers(one["vec"]), _numbers(other["vec"]), atol=2e-3)
            assert one["bits"] == "".join("1" if number > 0 else "0" for number in _numbers(one["vec"]))
    # Those of the entity are made by the worker.
    about = [row | {"head": 0} for row in laid["embedding"] if row["head"] == 2]
    assert list(map(_without_vector, about)) == [
        _without_vector(row) for row in served["embedding"] if row["head"] == 0
    ]


async def test_what_is_laid_down_is_recalled_and_continued(api: Api, memories: Memories, database_url: str) -> None:
    caller = await api.caller()
    space, parts = Space.of(database_url), batches([30], weeks_before(NOW, 3), 1)
    await lay(database_url, space, parts, memories, lambda _: "laid", lambda _: None)
    wanted = memories.semantic(parts[1])[4]

    asked = {"user_id": "laid", "q": "x", "k": 1, "recipe": "vector", "embedding": wanted.tolist()}
    (found,) = (await caller.post("/memory/recall", json=asked)).json()["results"]

    assert found["external_id"] == str(parts[1].first + 4)
    assert moment_of(UUID(found["trace_id"])) == parts[1].moment.replace(
        microsecond=parts[1].moment.microsecond // 1000 * 1000
    )
    more = [{"content": "another text", "external_id": "4"}, {"content": "a new one"}]
    answer = await caller.post("/memory/remember", json={"user_id": "laid", "traces": more})
    assert [one["status"] for one in answer.json()["traces"]] == ["rejected", "stored"]


def test_batches_lie_in_past_weeks_each_users_own_in_order() -> None:
    weeks = weeks_before(NOW, 4)
    planned = batches([9_000, 10, 1], weeks, 1)

    assert [batch.moment for batch in planned] == sorted(batch.moment for batch in planned)
    assert weeks[-1].until == week_of(NOW).since
    assert {week_of(batch.moment) for batch in planned} == set(weeks)
    assert max(batch.rows for batch in planned) <= BATCH
    for user, size in enumerate([9_000, 10, 1]):
        own = [(batch.first, batch.last) for batch in planned if batch.user == user]
        assert own[0][0] == 0
        assert own[-1][1] == size
        assert all(one[1] == after[0] for one, after in pairwise(own))


def test_a_trace_alone_is_seen_as_it_is_and_others_with_their_neighbours() -> None:
    vectors = np.eye(SESSION + 1, dtype=np.float16)
    seen = situated(vectors)
    assert np.allclose(seen[SESSION], vectors[SESSION])
    assert np.allclose(seen[1][:4], np.array([1, 2, 1, 0]) / np.sqrt(6), atol=1e-3)
    assert np.allclose(seen[0][:3], np.array([2, 1, 0]) / np.sqrt(5), atol=1e-3)


def test_another_batch_says_something_else(memories: Memories) -> None:
    first = Batch(0, 0, 20, NOW)
    for other in (replace(first, user=1), replace(first, first=20, last=40)):
        assert memories.traces(first)[0]["content"] != memories.traces(other)[0]["content"]
        assert not np.allclose(memories.semantic(first), memories.semantic(other))
    assert memories.traces(first) == memories.traces(first)
    lengths = [len(trace["content"]) for trace in memories.traces(Batch(3, 0, 1000, NOW))]
    assert 115 < sum(lengths) / len(lengths) < 150


def _without_vector(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"vec": None, "bits": None}


def _numbers(text: str) -> "np.typing.NDArray[np.float64]":
    return np.array(text.strip("[]").split(","), dtype=np.float64)


def _everything(database_url: str, space: Space, user: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a user in each table, in the order of its traces, without what differs by when they were written."""
    user_id = user_uuid(space.id, user)
    found: dict[str, list[dict[str, Any]]] = {}
    with psycopg.connect(database_url, row_factory=dict_row) as connection:

        def rows(query: str) -> list[dict[str, Any]]:
            return connection.execute(query, {"user": user_id}).fetchall()

        ids = [row["id"] for row in rows("SELECT id FROM memory_trace WHERE user_id = %(user)s ORDER BY id")]
        number = {one: place for place, one in enumerate(ids)} | {None: None}
        found["user"] = rows("SELECT kind, traces, words, languages FROM memory_user WHERE user_id = %(user)s")
        found["trace"] = [
            row | {"id": number[row["id"]], "follows": number[row["follows"]], "user_id": None, "created_at": None}
            for row in rows("SELECT * FROM memory_trace WHERE user_id = %(user)s ORDER BY id")
        ]
        found["body"] = [
            row | {"trace_id": number[row["trace_id"]], "user_id": None}
            for row in rows(
                "SELECT space_id, trace_id, user_id, kind, happened_at, words, content,"
                " ts_delete(lexemes, reverie_user_lexeme(user_id))::text AS lexemes,"
                " lexemes @@ reverie_lexeme_query(reverie_user_lexeme(user_id))::tsquery AS owned"
                " FROM memory_body WHERE user_id = %(user)s ORDER BY trace_id"
            )
        ]
        found["edge"] = [
            row | {"src": number[row["src"]], "dst": number[row["dst"]], "user_id": None, "ts": None}
            for row in rows("SELECT * FROM memory_edge WHERE user_id = %(user)s ORDER BY src, dst")
        ]
        found["embedding"] = [
            row | {"trace_id": number[row["trace_id"]], "user_id": None}
            for row in rows("SELECT * FROM memory_embedding WHERE user_id = %(user)s ORDER BY head, trace_id")
        ]
        written = connection.execute(
            "SELECT version >= %s AS version, updated_at >= created_at AS later FROM memory_user WHERE user_id = %s",
            (milliseconds(NOW), user_id),
        ).fetchone()
    assert written == {"version": True, "later": True}
    return found
