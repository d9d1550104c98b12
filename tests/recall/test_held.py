"""What is held of small users: it answers as PostgreSQL does, stands until a write, and keeps within its bounds."""

import asyncio
import gc
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import psycopg
import pytest
from pgvector import HalfVector, Vector
from psycopg_pool import PoolTimeout
from structlog.testing import CapturingLogger
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle, owner, post, rows, run_operation, unit
from tests.recall.chilling import AGES, NOW, chill
from tests.recall.stores import empty_store
from tests.tiers.rows import add_model
from tests.waiting import until

from reverie.auth.service import KeyService
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection, Database, Rows, Trip
from reverie.core.ids import uuid7s
from reverie.core.kinds import KINDS
from reverie.embedding.protocol import EmbeddingError, FloatArray
from reverie.memories.model import Model
from reverie.recall import arms, candidates, held, lexical, shown, vectors, words
from reverie.recall.cache import SECONDS
from reverie.recall.cold import COLD
from reverie.recall.held import Held, Mark, Shelf
from reverie.recall.pipeline import RecallService
from reverie.recall.types import Bounds, Candidate, Found, Key, Question, key_of
from reverie.recall.words import Reading, Terms, Words
from reverie.tiers.indexes import add_model_indexes

PAST = datetime(2020, 3, 4, 5, 6, 7, 891_011, tzinfo=UTC)
WEEK = timedelta(weeks=1)
DIM = 24
PLENTY = 64 * 1024 * 1024
LONG, BARE, NOBODY, *ALIKE = [UUID(int=n << 64 | n) for n in range(1, 7)]
"""Of each of ALIKE as much is held; of LONG it is more."""

TRACES, GONE, FEW = 130, 9, 20
ROWS = TRACES + 5 * 13
STANDING = ROWS - GONE
"""The vectors of LONG, a tenth of whose traces has six: with those of traces that do not stand, and without."""
EVERY_KIND = sorted(KINDS.values())
ROLES = (None, "user", "assistant", "system", "tool")
TALKS = ("monday", None, "Züge 🌊")
VOCABULARY = [
    "the", "lakes", "herons", "swimming", "Häuser", "Seen", "quietly", "river", "boats", "harbour", "lantern", "Reiher",
    "amber", "violet", "copper", "swims", "lake", "die", "und", "moonlight",
]  # fmt: skip
COMMON = np.array([1 / (1 + n) for n in range(len(VOCABULARY))]) / sum(1 / (1 + n) for n in range(len(VOCABULARY)))
WORDED = (
    "Where do the herons swim?", "lake", "seen, Häuser, Reiher", "welche Boote fahren auf dem See?", "nothing of that",
    "the", "", "copper copper amber", "🌊 湖", "quiet harbours in moonlight by lantern and boat",
    "river OR (lake & !heron):*",
)  # fmt: skip
PHRASED = (
    'Where is the "lakes herons" amber?', '"the heron"', '"lake lake"', 'A "heron lake swim" or "Häuser See"',
    "Did Lakes Herons meet Swimming Häuser?", "Herons the Lakes", '"herons of the lake"', '"never said" "river"',
    '"the"', '"lakes lakes lakes"', "«swimming herons» “lake the heron”",
)  # fmt: skip
SPEAKERS = (None, "Ada", "Zoë 🌊", "", "李白", 'a "b", {c}\\')


# What is held answers as PostgreSQL does


@dataclass(slots=True)
class Store:
    """Users whose rows have all that a row may have, with vectors by a model of either precision, and by another."""

    owner: Connection
    database: Database
    space_id: UUID
    elsewhere: UUID
    models: dict[str, Model]
    written: dict[Key, Candidate] = field(default_factory=dict)
    gone: set[Key] = field(default_factory=set)

    async def write(self, user: UUID, count: int, gone: int = 0, *, bare: bool = False) -> None:
        """Remembers traces, of which the last ``gone`` do not stand any more."""
        random = np.random.default_rng(user.int % 2**32)
        ids = [one for week in range(2) for one in uuid7s(PAST + week * WEEK, count // 2)]
        traces: list[tuple[Any, ...]] = []
        for n, trace_id in enumerate(ids):
            one = Candidate(
                key_of(user, trace_id),
                ROLES[n % len(ROLES)],
                SPEAKERS[n % len(SPEAKERS)],
                int(random.integers(1, 200_000)),
                list(KINDS)[n // 2 % len(KINDS)] if n % 2 else "note",
                _happened(n),
                float(np.float32(random.random())),
                n % 5 == 0,
                n % 7 == 0,
                PAST if n % 11 == 0 else None,
                bool(random.integers(2)),
                key_of(user, ids[n - 1]) if n % 3 else None,
                TALKS[n % len(TALKS)],
            )
            stands = n < count - gone
            self.written[one.key] = one
            if not stands:
                self.gone.add(one.key)
            traces.append(
                (self.space_id, user, trace_id, one.kind, one.role, one.speaker, one.length, PAST,
                 one.happened_at if n % 5 else None, one.salience, one.salience_given,
                 ids[n - 1] if n % 3 else None, one.asks, None if stands else PAST, one.pinned,
                 one.updated_at, one.conversation)
            )  # fmt: skip
        async with self.owner.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO memory_trace (space_id, user_id, id, kind, language, role, speaker, length, created_at,"
                " occurred_at, salience, salience_given, digest, vectors, follows, asks, deleted_at,"
                " pinned, updated_at, conversation_id)"
                " VALUES (%s, %s, %s, %s, 'english', %s, %s, %s, %s, %s, %s, %s, 'd', true, %s, %s, %s, %s, %s, %s)",
                traces,
            )
            await cursor.executemany(
                "INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)"
                " VALUES (%s, %s, %s, %s, %s, 0.3, %s)",
                [
                    (self.space_id, user, ids[n], ids[n - 1], ("near", "supersedes")[n % 2], PAST)
                    for n in range(1, min(9, count))
                ],
            )
            total = 0 if bare else await self._write_texts(cursor, user, ids)
            await cursor.execute(
                "INSERT INTO memory_user (space_id, user_id, external_id, version, traces, words, languages,"
                " created_at, updated_at) VALUES (%s, %s, %s, 7, %s, %s, %s, %s, %s)",
                (self.space_id, user, str(user), count - gone, total, ["english", "german"], PAST, PAST),
            )
            if not bare:
                for model in self.models.values():
                    await self._write_vectors(cursor, user, ids, model)

    async def _write_texts(self, cursor: psycopg.AsyncCursor[Any], user: UUID, ids: Sequence[UUID]) -> int:
        """Texts of words of which some are common; how many words all have."""
        random = np.random.default_rng(user.int % 2**32)
        for n, trace_id in enumerate(ids):
            one = self.written[key_of(user, trace_id)]
            if one.key in self.gone:
                continue
            said = random.choice(VOCABULARY, size=int(random.integers(0, 40)), p=COMMON)
            language = "german" if n % 4 == 0 else "english"
            await cursor.execute(
                "INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)"
                " SELECT %s, %s, %s, %s, %s, length(w.lexemes), %s,"
                " w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(%s)])"
                " FROM (SELECT to_tsvector(%s::regconfig, %s) AS lexemes OFFSET 0) w",
                (
                    self.space_id,
                    user,
                    trace_id,
                    KINDS[one.kind],
                    one.happened_at,
                    text := " ".join(said),
                    user,
                    language,
                    text,
                ),
            )
        counted = await cursor.execute("SELECT coalesce(sum(words), 0) FROM memory_body WHERE user_id = %s", (user,))
        return int((await counted.fetchall())[0][0])

    async def _write_vectors(
        self, cursor: psycopg.AsyncCursor[Any], user: UUID, ids: Sequence[UUID], model: Model
    ) -> None:
        """A trace in ten has six pieces; a third has a vector of another head, which no question here is asked of."""
        made: list[tuple[Any, ...]] = []
        for n, trace_id in enumerate(ids):
            one = self.written[key_of(user, trace_id)]
            pieces = [(0, piece) for piece in range(6 if n % 10 == 0 else 1)]
            for head, piece in [*pieces, *([] if n % 3 else [(1, 0)])]:
                vector = drawn((user.int + 1000 * n + 10 * piece + head) % 2**32 + (model.name == "another"), 1)[0]
                given = HalfVector(vector) if model.precision == "fp16" else Vector(vector)
                made.append(
                    (self.space_id, user, trace_id, one.happened_at, piece, head, model.id, KINDS[one.kind], given)
                )
        query = (
            "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind,"  # noqa: S608
            f" {model.column}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        )
        await cursor.executemany(query.encode(), made)

    async def exactly(self, asked: Bounds, question: FloatArray, model: Model, depth: int = 2000) -> Found:
        return await vectors.search(self.database, self.space_id, asked, question, model, None, depth, 10.0)

    async def words(self, user: UUID, model: Model) -> Words:
        """The words of a user, once they were brought."""
        shelf = Shelf(model, PLENTY)
        whose = await Asker(self, shelf).twice(user)
        await self.bring_words(shelf, user, whose)
        assert whose.words is not None
        return whose.words

    async def bring_words(self, shelf: Shelf, user: UUID, whose: Held) -> None:
        """Waits until it was tried to bring the words of what is held."""
        shelf.bring_words(self.database, self.space_id, user, whose, 10.0)
        await until(lambda: not shelf._bringing_words)

    async def held(self, user: UUID, model: Model) -> Held:
        return await Asker(self, Shelf(model, PLENTY)).twice(user)


def _happened(n: int) -> datetime:
    """Long ago, to the microsecond; for each fifth when it was written."""
    if n % 5 == 0:
        return PAST
    if n % 7 == 0:
        return datetime(1, 1, 2, tzinfo=UTC) + n * timedelta(days=700, microseconds=1)
    return PAST + n * timedelta(hours=5, microseconds=333)


def drawn(seed: int, count: int) -> FloatArray:
    """Unit vectors around a few centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((6, DIM))
    made = centres[random.integers(6, size=count)] + 0.7 * random.standard_normal((count, DIM))
    unit_length: FloatArray = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return unit_length


QUESTIONS = [*drawn(99, 9), 3 * drawn(98, 1)[0], 0.25 * drawn(97, 1)[0]]


def bounds(*users: UUID, **given: Any) -> Bounds:
    return replace(Bounds(list(users), EVERY_KIND, [0]), **given)


@pytest.fixture(scope="module")
async def store(postgres: Any, template: str, worker_id: str) -> AsyncIterator[Store]:
    async with empty_store(postgres, template, f"held_{worker_id}", PAST) as (connection, database):
        models = {how: await add_model(connection, "held", DIM, how, PAST) for how in ("fp16", "fp32")}
        models["another"] = await add_model(connection, "another", DIM, "fp16", PAST)
        for model in models.values():
            await add_model_indexes(connection, model)
        keys = KeyService(database)
        made = Store(
            connection, database, await keys.ensure_space("here"), await keys.ensure_space("elsewhere"), models
        )
        await made.write(LONG, TRACES, GONE)
        await made.write(BARE, 2, bare=True)
        for user in ALIKE:
            await made.write(user, FEW)
        await connection.execute("VACUUM ANALYZE memory_embedding")
        yield made


@pytest.fixture(params=["fp16", "fp32"])
def model(request: pytest.FixtureRequest, store: Store) -> Model:
    return store.models[request.param]


def alike(here: Found, there: Found, depth: int) -> None:
    """``here``: the best that are held; ``there``: all that PostgreSQL finds."""
    best = sorted(there.scores, key=lambda key: -there.scores[key])[:depth]
    assert len(here.scores) == len(best)
    for mine, theirs in zip(here.scores, best, strict=True):
        assert mine == theirs or abs(there.scores[mine] - there.scores[theirs]) < 2e-6
        assert here.scores[mine] == pytest.approx(there.scores[mine], abs=1e-5)
    assert list(here.scores.values()) == sorted(here.scores.values(), reverse=True)
    assert here.candidates == {key: there.candidates[key] for key in here.scores}
    for key, one in here.candidates.items():
        assert list(map(type, one)) == list(map(type, there.candidates[key]))
        assert one.happened_at.utcoffset() == timedelta(0)
    # Only vectors are of pieces, and only their search has a plan.
    assert here.pieces == ({key: there.pieces[key] for key in here.scores} if there.plan else {})


SOME = _happened(52)
"""When one of the traces happened, to the microsecond."""

BOUNDS: dict[str, tuple[dict[str, Any], bool]] = {
    "plain": ({}, True),
    "the usual kinds": ({"kinds": [1, 2, 3, 4]}, True),
    "a rare kind": ({"kinds": [5]}, True),
    "no kind": ({"kinds": []}, False),
    "since": ({"since": SOME}, True),
    "until": ({"until": SOME}, True),
    "since and until": ({"since": SOME - 20 * timedelta(hours=5), "until": SOME + timedelta(days=2)}, True),
    "one moment": ({"since": SOME, "until": SOME + timedelta(microseconds=1)}, True),
    "an empty window": ({"since": SOME, "until": SOME}, False),
    "a window that ends before it begins": ({"since": SOME, "until": SOME - WEEK}, False),
    "antiquity": ({"until": datetime(1900, 1, 1, tzinfo=UTC)}, True),
    "all at once": ({"kinds": [2, 3], "since": PAST, "until": PAST + WEEK}, True),
}


@pytest.mark.parametrize("name", BOUNDS)
async def test_what_is_held_answers_as_exact_search(store: Store, model: Model, name: str) -> None:
    given, some = BOUNDS[name]
    asked = bounds(LONG, **given)
    whose = await store.held(LONG, model)
    for question in QUESTIONS:
        there = await store.exactly(asked, question, model)
        assert (there.plan, bool(there.scores)) == ("exact", some)
        for depth in (1, 7, 40, TRACES - GONE, 1000):
            here = held.search(whose, asked, question, model, depth)
            assert here.plan == "held"
            assert here.rows == len(whose.vectors)
            alike(here, there, depth)
            assert not store.gone & here.scores.keys()


@pytest.mark.parametrize("name", BOUNDS)
async def test_held_words_answer_as_postgresql_does(store: Store, model: Model, name: str) -> None:
    asked = bounds(LONG, **BOUNDS[name][0])
    whose = await store.words(LONG, model)
    anything = phrased = False
    for text in (*WORDED, *PHRASED):
        assert bool(lexical.phrases(text)) is (text in PHRASED)
        for language in ("english", "german"):
            question = Question(text, language, asked, 10, PAST)
            there = await lexical.search(store.database, store.database, store.space_id, question, 1000, 10.0)
            terms = await read_by(store, question)
            for depth in (1, 7, 1000):
                here = held.search_words(whose, asked, terms, depth)
                assert here is not None
                if depth == 1000:
                    alike(here, there, depth)
                    anything = anything or bool(here.scores)
                if here.scores:
                    assert here.most == pytest.approx(there.most, rel=1e-9)
                    phrased = phrased or here.bonus > 0
                    assert sorted(np.frombuffer(here.terms, ">i8")) == sorted(np.frombuffer(there.terms, ">i8"))
                    first = sorted(there.scores.values(), reverse=True)[: len(here.scores)]
                    assert max(here.scores.values()) == pytest.approx(max(first), rel=1e-6)
                assert not store.gone & here.scores.keys()
    assert anything is BOUNDS[name][1]
    assert phrased or name != "plain"


async def read_by(store: Store, question: Question) -> Terms:
    reading = Reading(question)
    async with store.database.reading(store.space_id) as session:
        await reading.send(session)
    terms = await reading.terms()
    assert terms is not None
    return terms


async def test_of_a_question_of_very_many_terms_the_longest_are_left_to_postgresql(store: Store, model: Model) -> None:
    whose = await store.words(LONG, model)
    for count, here in ((words.MOST_TERMS, True), (words.MOST_TERMS + 1, False)):
        terms = await read_by(
            store, Question(" ".join(f"w{n}x" for n in range(count)), "english", bounds(LONG), 9, PAST)
        )
        assert (held.search_words(whose, bounds(LONG), terms, 10) is not None) is here


async def test_all_of_a_trace_is_held_and_nothing_that_does_not_stand(store: Store, model: Model) -> None:
    whose = await store.held(LONG, model)
    standing = {key: one for key, one in store.written.items() if key[:16] == LONG.bytes and key not in store.gone}
    assert {one.key: one for one in whose.traces} == standing
    assert whose.mark.version == 7
    assert len(whose.traces) == len(whose.pieces) == len(whose.vectors) == STANDING
    assert whose.kinds.tolist() == [KINDS[one.kind] for one in whose.traces]
    assert set(whose.kinds.tolist()) == set(EVERY_KIND)
    since = [one.happened_at - datetime(2000, 1, 1, tzinfo=UTC) for one in whose.traces]
    assert [timedelta(microseconds=one) for one in whose.happened.tolist()] == since
    assert whose.vectors.dtype == np.float32
    assert np.linalg.norm(whose.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    found = held.search(whose, bounds(LONG), QUESTIONS[0], model, 1000)
    assert len({piece for _, piece in found.pieces.values()}) > 3
    assert (await store.exactly(bounds(LONG), QUESTIONS[0], model)).scores.keys() == found.scores.keys()


# What is held of whom


@dataclass(slots=True)
class Asker:
    """One who asks a shelf. Where ``gate`` is not set, what a look has found is long in coming."""

    store: Store
    shelf: Shelf
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0
    found: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self, user: UUID, space_id: UUID | None = None, **given: Any) -> Held | None:
        asked = bounds(user, **given)
        return await self.shelf.of(self, space_id or self.store.space_id, asked, 10.0)

    async def twice(self, user: UUID) -> Held:
        """What is held from the second question on of one who was not known."""
        assert await self(user) is None
        found = await self(user)
        assert found is not None
        return found

    async def slowly(self, user: UUID) -> asyncio.Task[Held | None]:
        """A question whose look has seen what it sees, and that waits at the gate."""
        self.gate.clear()
        asking = asyncio.create_task(self(user))
        await until(lambda: self.found > 0)
        return asking

    def reading(self, space_id: UUID | None, *, seconds: float | None = None) -> Any:
        return self.store.database.reading(space_id, seconds=seconds)

    @asynccontextmanager
    async def reading_vectors(self, space_id: UUID, *, seconds: float | None = None) -> AsyncIterator[Trip]:
        self.looks += 1
        async with self.store.database.reading_vectors(space_id, seconds=seconds) as trip:
            yield trip
        self.found += 1
        await self.gate.wait()


@pytest.fixture
def asker(store: Store, model: Model) -> Asker:
    return Asker(store, Shelf(model, PLENTY))


Write = Callable[[UUID, int], Awaitable[None]]


@pytest.fixture
async def write(store: Store) -> AsyncIterator[Write]:
    """Gives a user another version, until the test ends."""

    async def change(user: UUID, version: int) -> None:
        await store.owner.execute("UPDATE memory_user SET version = %s WHERE user_id = %s", (version, user))

    yield change
    await store.owner.execute("UPDATE memory_user SET version = 7 WHERE version <> 7")


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The users whose vectors were brought, in order."""
    users: list[UUID] = []
    read = held.read

    def noted(user_id: UUID, mark: Mark, row: Any, model: Model, most: int) -> Held | None:
        assert threading.current_thread() is not threading.main_thread()
        found = read(user_id, mark, row, model, most)
        if found is not None:
            users.append(user_id)
        return found

    monkeypatch.setattr(held, "read", noted)
    return users


async def test_a_look_brings_nothing_but_what_is_wanted(store: Store, model: Model) -> None:
    query = Shelf(model, PLENTY)._query
    for wanted, most, brings in ((7, TRACES - GONE, True), (7, TRACES - GONE - 1, False), (6, 2000, False)):
        async with store.database.reading_vectors(store.space_id) as session:
            cursor = await session.send(query, (wanted, most, LONG, LONG, LONG, LONG))
        ((version, moved, flag, *columns),) = await cursor.fetchall()
        assert (version, moved, flag, {column is not None for column in columns}) == (7, None, brings, {brings})


async def test_the_second_question_at_a_version_brings_it(asker: Asker, brought: list[UUID], write: Write) -> None:
    assert await asker(LONG) is None
    assert (brought, asker.looks) == ([], 1)
    first = await asker(LONG)
    assert first is not None
    assert (brought, asker.looks) == ([LONG], 2)
    assert await asker(LONG) is first
    other = await asker.twice(ALIKE[0])
    assert (await asker(LONG), await asker(ALIKE[0])) == (first, other)
    assert (brought, asker.looks) == ([LONG, ALIKE[0]], 7)
    # However it came about: what another version has is another memory.
    for version in (9, 3):
        await write(LONG, version)
        changed = await asker.twice(LONG)
        assert changed.mark.version == version
        assert await asker(LONG) is changed
    assert (first.mark.version, brought, asker.looks) == (7, [LONG, ALIKE[0], LONG, LONG], 13)
    with clock.as_of(clock.now() + timedelta(seconds=SECONDS + 1)):
        assert await asker.twice(LONG) is not changed


async def test_who_is_written_to_between_any_two_questions_is_never_brought(
    asker: Asker, brought: list[UUID], write: Write
) -> None:
    for version in (8, 9, 5, 8, 10):
        await write(LONG, version)
        assert await asker(LONG) is None
    assert (brought, asker.looks) == ([], 5)
    whose = await asker(LONG)
    assert whose is not None
    assert (whose.mark.version, brought, asker.looks) == (10, [LONG], 6)
    for version in (11, 12):
        await write(LONG, version)
        assert await asker(LONG) is None
    assert (brought, asker.looks) == ([LONG], 8)


async def test_while_one_brings_others_neither_look_nor_bring(asker: Asker, brought: list[UUID], write: Write) -> None:
    assert await asker(LONG) is None
    slow, others = Asker(asker.store, asker.shelf), Asker(asker.store, asker.shelf)
    asking = await slow.slowly(LONG)
    for _ in range(3):
        assert await others(LONG) is None
    assert others.looks == 0
    assert await others.twice(ALIKE[0]) is await others(ALIKE[0])
    # A write meanwhile changes nothing for who has looked already, and is seen by the next.
    await write(LONG, 8)
    slow.gate.set()
    whose = await asking
    assert whose is not None
    assert (whose.mark.version, brought) == (7, [ALIKE[0], LONG])
    assert (await others.twice(LONG)).mark.version == 8
    assert brought == [ALIKE[0], LONG, LONG]


async def test_two_questions_at_once_bring_once(asker: Asker, brought: list[UUID]) -> None:
    assert set(await asyncio.gather(asker(LONG), asker(LONG), asker(LONG))) == {None}
    assert (brought, asker.looks) == ([], 3)
    first, *others = await asyncio.gather(asker(LONG), asker(LONG), asker(LONG))
    assert others == [None, None]
    assert (brought, asker.looks) == ([LONG], 4)
    assert {id(one) for one in await asyncio.gather(asker(LONG), asker(LONG))} == {id(first)}


async def test_who_looks_late_does_not_displace_what_was_brought(
    asker: Asker, brought: list[UUID], write: Write
) -> None:
    late, later = Asker(asker.store, asker.shelf), Asker(asker.store, asker.shelf)
    asking = await late.slowly(LONG)
    whose = await asker.twice(LONG)
    late.gate.set()
    assert await asking is None
    assert await asker(LONG) is whose
    assert brought == [LONG]
    # Nor where it stood when it looked.
    asking = await later.slowly(LONG)
    await write(LONG, 8)
    newer = await asker.twice(LONG)
    later.gate.set()
    assert await asking is whose
    assert await asker(LONG) is newer
    assert (newer.mark.version, brought) == (8, [LONG, LONG])


async def test_of_very_many_words_none_are_held(store: Store, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await store.held(LONG, model)
    assert whole.words_due
    assert 0 < whole.postings <= words.MOST_WORDS
    for most, here in ((whole.postings, True), (whole.postings - 1, False)):
        monkeypatch.setattr(held, "MOST_WORDS", most)
        assert (await store.held(LONG, model)).words_due is here


async def test_words_that_do_not_fit_are_not_brought(store: Store, model: Model) -> None:
    whole = await store.held(LONG, model)
    less = await Asker(store, Shelf(model, whole.size - 1)).twice(LONG)
    assert (less.words_due, less.size < whole.size, len(less.vectors)) == (False, True, STANDING)
    shelf = Shelf(model, whole.size - 1)
    shelf.bring_words(store.database, store.space_id, LONG, less, 10.0)
    assert not shelf._bringing_words


@pytest.mark.parametrize("user", [LONG, ALIKE[0]])
async def test_it_takes_as_much_as_it_says(store: Store, model: Model, user: UUID) -> None:
    async def bring(shelf: Shelf) -> int:
        whose = await Asker(store, shelf).twice(user)
        await store.bring_words(shelf, user, whose)
        assert whose.words is not None
        return whose.size

    await bring(Shelf(model, PLENTY))  # What is made once for all.
    tracemalloc.start()
    try:
        shelf = Shelf(model, PLENTY)
        size = await bring(shelf)
        gc.collect()
        with_it, _ = tracemalloc.get_traced_memory()
        shelf.drop(user)
        gc.collect()
        without, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * size < with_it - without < 1.25 * size


async def test_words_of_another_version_are_not_taken(store: Store, model: Model, write: Write) -> None:
    shelf = Shelf(model, PLENTY)
    whose = await Asker(store, shelf).twice(LONG)
    await write(LONG, 8)
    await store.bring_words(shelf, LONG, whose)
    assert (whose.words, whose.words_due) == (None, False)


async def test_while_forgotten_texts_are_not_removed_yet_no_words_are_held(
    store: Store, model: Model, write: Write
) -> None:
    key = min(key for key in store.gone if key[:16] == LONG.bytes)
    # More than there should be; and as many, where one is cold.
    for counted in (0, 1):
        body = (store.space_id, LONG, UUID(bytes=key[16:]), KINDS["fact"], PAST, 3, "a heron swims", "a heron swims")
        await store.owner.execute(
            "INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, to_tsvector(%s))",
            body,
        )
        more = "UPDATE memory_user SET traces = traces + %s, words = words + 3 * %s WHERE user_id = %s"
        await store.owner.execute(more, (counted, counted, LONG))
        try:
            shelf = Shelf(model, PLENTY)
            whose = await Asker(store, shelf).twice(LONG)
            await store.bring_words(shelf, LONG, whose)
            assert (whose.words, whose.words_due) == (None, False)
        finally:
            await store.owner.execute("DELETE FROM memory_body WHERE trace_id = %s", (UUID(bytes=key[16:]),))
            await store.owner.execute(more, (-counted, -counted, LONG))
    assert (await store.words(LONG, model)).known


async def test_words_are_brought_of_one_user_at_a_time(store: Store, model: Model) -> None:
    shelf = Shelf(model, PLENTY)
    asker = Asker(store, shelf)
    users = [await asker.twice(user) for user in ALIKE[:2]]
    async with shelf._one:
        for user, whose in zip(ALIKE, users, strict=False):
            shelf.bring_words(store.database, store.space_id, user, whose, 10.0)
        await asyncio.sleep(0.05)
        assert [whose.words for whose in users] == [None, None]
        shelf.drop(ALIKE[1])
    await until(lambda: not shelf._bringing_words)
    assert [whose.words is None for whose in users] == [False, True], "who was let go of needs none"


async def test_words_that_cannot_be_brought_are_looked_for_in_postgresql(
    asker: Asker, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    whose = await asker.twice(LONG)
    monkeypatch.setattr(Trip, "go", lost)
    heard = CapturingLogger()
    monkeypatch.setattr(held, "log", heard)
    for _ in range(2):
        await asker.store.bring_words(asker.shelf, LONG, whose)
    assert (whose.words, len(heard.calls)) == (None, 1)
    monkeypatch.undo()
    # A pool that is crowded says nothing of them.
    whose.words_due = True
    monkeypatch.setattr(Trip, "go", crowded)
    await asker.store.bring_words(asker.shelf, LONG, whose)
    assert (whose.words, whose.words_due) == (None, True)
    monkeypatch.undo()
    # What is brought when the service ends is called off.
    whose.words_due = True
    asker.shelf.bring_words(asker.store.database, asker.store.space_id, LONG, whose, 10.0)
    (bringing,) = asker.shelf._bringing_words
    asker.shelf.close()
    await asyncio.wait([bringing])
    assert (bringing.cancelled(), whose.words) == (True, None)


async def lost(*_: Any) -> Any:
    raise psycopg.OperationalError("the connection is lost")


@pytest.mark.parametrize("how", ["called off", "looking", "reading"])
async def test_who_fails_to_bring_it_leaves_it_to_the_next(
    asker: Asker, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await asker(LONG) is None
    slow = Asker(asker.store, asker.shelf)
    asking = await slow.slowly(LONG)
    with monkeypatch.context() as patch:
        if how == "called off":
            asking.cancel()
        elif how == "looking":
            patch.setattr(Rows, "fetchall", lost)
        else:
            patch.setattr(held, "read", lambda *_: 1 // 0)
        slow.gate.set()
        await asyncio.wait([asking])
    failed = None if asking.cancelled() else type(asking.exception())
    assert failed == {"called off": None, "looking": psycopg.OperationalError, "reading": ZeroDivisionError}[how]
    whose = await asker(LONG)
    assert whose is not None
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "fetchall", lost)
        with pytest.raises(psycopg.OperationalError):
            await asker(LONG)
    assert await asker(LONG) is whose


async def test_what_cannot_be_brought_in_time_is_left_to_postgresql(
    asker: Asker, brought: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: Any) -> Any:
        raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")

    assert await asker(LONG) is None
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "fetchall", late)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await asker(LONG)
    assert [await asker(LONG) for _ in range(3)] == [None] * 3
    assert (brought, asker.looks) == ([], 2)


async def test_who_has_no_vectors_who_is_not_there_and_who_is_elsewhere(asker: Asker) -> None:
    whose = await asker.twice(BARE)
    assert held.search(whose, bounds(BARE), QUESTIONS[0], asker.shelf._model, 10) == Found({}, plan="held")
    assert (await asker.store.exactly(bounds(BARE), QUESTIONS[0], asker.shelf._model)).scores == {}
    for again in range(3):
        for _ in range(2):
            assert await asker(NOBODY) is None
            assert await asker(LONG, asker.store.elsewhere) is None
        # What it is held of stays noted, or held, while somebody asks for it where it is not.
        assert (await asker(LONG) is None) == (again == 0)
    assert asker.looks == 2 + 3 * 5


EDGES = {"MOST_TRACES": (TRACES - GONE, 1), "MOST_BYTES": (ROWS * 4 * DIM, 4 * DIM)}
"""How many traces LONG has, and how many bytes of vectors; and what one more takes."""


@pytest.mark.parametrize("limit", EDGES)
async def test_who_is_too_large_is_left_to_postgresql(
    store: Store, model: Model, limit: str, monkeypatch: pytest.MonkeyPatch, brought: list[UUID], write: Write
) -> None:
    most, one = EDGES[limit]
    monkeypatch.setattr(held, limit, most)
    assert len((await store.held(LONG, model)).vectors) == STANDING
    for too_little in (most - 1, most - one):
        monkeypatch.setattr(held, limit, too_little)
        asker = Asker(store, Shelf(model, PLENTY))
        for looks in (1, 2, 2, 2):
            assert await asker(LONG) is None
            assert asker.looks == looks
    # Nor after a write, until the note of it is too old.
    await write(LONG, 8)
    assert await asker(LONG) is None
    await asker.twice(ALIKE[0])
    assert asker.looks == 4
    with clock.as_of(clock.now() + timedelta(seconds=SECONDS + 1)):
        for looks in (5, 6, 6):
            assert await asker(LONG) is None
            assert asker.looks == looks
    assert brought == [LONG, ALIKE[0]]


async def test_who_asked_longest_ago_gives_way_to_others(store: Store, model: Model, brought: list[UUID]) -> None:
    size = (await store.held(ALIKE[0], model)).size
    assert size >= FEW * DIM * 4
    brought.clear()
    asker = Asker(store, Shelf(model, size * 5 // 2))
    first, second, third = ALIKE
    await asker.twice(first)
    await asker.twice(second)
    assert await asker(first) is not None
    await asker.twice(third)
    assert await asker(first) is not None
    assert brought == [first, second, third]
    # Of this one alone there is too much: it is known, and drives out nobody but those who asked longest ago.
    before = asker.looks
    for looks in (1, 2, 2):
        assert await asker(LONG) is None
        assert asker.looks == before + looks
        assert asker.shelf._kept.size <= size * 5 // 2
    assert await asker(third) is not None
    assert await asker(first) is not None
    await asker.twice(second)
    assert brought == [first, second, third, LONG, second]
    assert asker.shelf._kept.size <= size * 5 // 2


# A recall of the service


@dataclass(slots=True)
class Sent:
    """The queries that a service sent."""

    queries: list[bytes] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, int]:
        """How often it looked whether what is held stands, and how often PostgreSQL searched vectors."""
        looks = sum(b"string_agg(uuid_send(s.trace_id)" in query for query in self.queries)
        return looks, sum(b"WITH near AS" in query for query in self.queries)

    @property
    def by_words(self) -> int:
        """How often PostgreSQL was asked for what has the words."""
        return sum(b"reverie_bm25(" in query for query in self.queries)

    @property
    def answered(self) -> list[bytes]:
        """Those for the rows of what is answered."""
        return [query for query in self.queries if b"y.content FROM memory_body y WHERE y.user_id = c.user_id" in query]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    noted = Sent()
    send = Trip.send

    async def noting(self: Trip, query: bytes, parameters: Sequence[Any] = ()) -> Rows:
        noted.queries.append(query)
        return await send(self, query, parameters)

    monkeypatch.setattr(Trip, "send", noting)
    return noted


async def asked(caller: httpx.AsyncClient, user: str | list[str], q: str = "heron", **more: Any) -> dict[str, Any]:
    """The whole answer, by the vectors alone unless said otherwise; as an explanation it is never a kept one."""
    body = {"user_id": user, "q": q, "k": 50, "recipe": "vector", "explain": True} | more
    answer = await caller.post("/memory/recall", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["degraded"] == []
    return found


def found_in(answer: dict[str, Any]) -> list[str]:
    return [one["trace_id"] for one in answer["results"]]


def plan_of(answer: dict[str, Any]) -> str | None:
    plan: str | None = answer["explain"]["plan"]
    return plan


async def changed(caller: httpx.AsyncClient, user: str, *args: Any, **more: Any) -> list[str]:
    """What is found after a write: at once by PostgreSQL, then alike in what is held."""
    first, *others = [await asked(caller, user, *args, **more) for _ in range(3)]
    assert [plan_of(one) for one in (first, *others)] == ["exact", "held", "held"]
    scores = {one["trace_id"]: one["score"] for one in first["results"]}
    for other in others:
        assert {one["trace_id"]: one["score"] for one in other["results"]} == pytest.approx(scores, abs=1e-3)
    return found_in(first)


async def remembered(caller: httpx.AsyncClient, user: str, *traces: Any) -> list[str]:
    answer = await post(caller, user, *traces)
    assert answer.status_code == 201, answer.text
    return [one["trace_id"] for one in answer.json()["traces"]]


@pytest.fixture(scope="module")
async def other(settings: Settings, fickle: Fickle) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody at another service over the same store, which holds nothing."""
    async with serving(settings.model_copy(update={"memory_held_mb": 0}), fickle) as running:
        yield await running.caller()


async def test_a_write_is_seen_at_once(caller: httpx.AsyncClient, user: str) -> None:
    seen: set[str] = set()
    for n in range(3):
        seen.update(await remembered(caller, user, f"The heron dived {n} times."))
        assert set(await changed(caller, user)) == seen
    (soup,) = await remembered(caller, user, {"content": "Soup.", "kind": "note", "occurred_at": "2021-05-06"})
    assert set(await changed(caller, user)) == seen | {soup}
    path = f"/memory/traces/{soup}"

    async def change(**what: Any) -> None:
        assert (await caller.patch(path, params={"user_id": user}, json=what)).status_code == 200

    telescope = "A telescope stands in the attic."
    await change(content=telescope)
    assert (await changed(caller, user, telescope))[0] == soup
    answer = await asked(caller, user, telescope)
    assert (found_in(answer)[0], answer["results"][0]["score"] > 0.9) == (soup, True)
    assert found_in(await asked(caller, user, kinds=["fact"])) == []
    await change(kind="fact")
    assert await changed(caller, user, kinds=["fact"]) == [soup]
    await change(occurred_at="2011-05-06T07:08:09.123456Z")
    assert await changed(caller, user, until="2011-05-06T07:08:09.123456Z") == []
    assert found_in(await asked(caller, user, until="2011-05-06T07:08:09.123457Z")) == [soup]
    gone = seen.pop()
    assert (await caller.delete(f"/memory/traces/{gone}", params={"user_id": user})).status_code == 200
    assert set(await changed(caller, user)) == seen | {soup}
    await caller.post("/memory/forget", json={"user_id": user, "scope": {"all": True}})
    for _ in range(3):
        assert found_in(await asked(caller, user)) == []
    again = await remembered(caller, user, "The heron is back.")
    assert await changed(caller, user) == again


async def test_what_another_process_writes_is_seen_at_once(
    caller: httpx.AsyncClient, other: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    ids = await remembered(caller, user, "The heron flew.")
    assert await changed(caller, user) == ids
    ids += await remembered(other, user, "The heron dived.", "The heron slept.")
    assert set(await changed(caller, user)) == set(ids)
    await other.delete(f"/memory/traces/{ids.pop(0)}", params={"user_id": user})
    assert set(await changed(caller, user)) == set(ids)
    async with owner(settings) as connection, connection.transaction():
        # As any writer does: the version with what it changes. The vectors are still there.
        await connection.execute("UPDATE memory_trace SET deleted_at = now() WHERE id = %s", (ids[0],))
        await connection.execute(
            "UPDATE memory_user SET version = version + 1, traces = traces - 1 WHERE external_id = %s", (user,)
        )
        # It is not committed yet.
        answer = await asked(caller, user)
        assert (set(found_in(answer)), plan_of(answer)) == (set(ids), "held")
    assert await rows(settings, "SELECT 1 FROM memory_embedding WHERE trace_id = %s", (ids[0],))
    assert await changed(caller, user) == ids[1:]


async def test_vectors_that_are_made_later_are_found_once_they_are_there(
    api: Api, caller: httpx.AsyncClient, user: str
) -> None:
    ids: list[str] = []
    for text in ("The heron flew.", "The heron dived.", "The heron slept."):
        answer = await post(caller, user, text, wait=False)
        assert answer.status_code == 202
        assert set(await changed(caller, user)) == set(ids)
        assert await run_operation(api, answer.json()["operation_id"])
        ids += [one["trace_id"] for one in answer.json()["traces"]]
        assert set(await changed(caller, user)) == set(ids)


async def test_whoever_writes_finds_it_beside_others_who_ask_and_write(
    caller: httpx.AsyncClient, other: httpx.AsyncClient, user: str
) -> None:
    answered: set[str] = set()

    async def write(by: httpx.AsyncClient, name: str) -> None:
        for n in range(5):
            trace = {"content": f"{name} saw heron {n}.", "embedding": unit(n + 7 * len(name))}
            (made,) = await remembered(by, user, trace)
            answered.add(made)
            for _ in range(3):
                assert made in found_in(await asked(caller, user, embedding=unit(n)))

    async def ask(seed: int) -> None:
        for n in range(12):
            before = set(answered)
            assert before <= set(found_in(await asked(caller, user, embedding=unit(100 * seed + n))))

    await asyncio.gather(write(caller, "Ada"), write(other, "Grace"), ask(1), ask(2))
    assert set(found_in(await asked(caller, user))) == answered
    answer = await asked(caller, user)
    assert (set(found_in(answer)), len(answered), plan_of(answer)) == (answered, 10, "held")


async def test_vectors_are_brought_by_the_second_question_alone(
    caller: httpx.AsyncClient, other: httpx.AsyncClient, user: str, sent: Sent, brought: list[UUID]
) -> None:
    await remembered(caller, user, "The heron flew.", "The owl slept.")
    plans = [plan_of(await asked(caller, user, f"heron {n}", recipe=("vector", "balanced")[n % 2])) for n in range(6)]
    assert plans == ["exact", *["held"] * 5]
    assert (len(brought), sent.counts) == (1, (6, 1))
    for n in range(4):
        await remembered((caller, other)[n % 2], user, f"The heron dived {n} times.")
        answer = await asked(caller, user, f"heron {n}")
        assert (len(found_in(answer)), plan_of(answer)) == (3 + n, "exact")
    assert (len(brought), sent.counts) == (1, (10, 5))
    assert plan_of(await asked(caller, user)) == "held"
    assert (len(brought), sent.counts) == (2, (11, 5))


async def test_the_service_answers_as_one_that_holds_nothing(
    caller: httpx.AsyncClient, other: httpx.AsyncClient, user: str
) -> None:
    texts = [f"The {bird} {verb} over the {place}." for bird in ("heron", "owl", "swift", "wren")
             for verb, place in (("flew", "lake"), ("slept", "barn"), ("sang", "hedge"), ("dived", "sea"))]  # fmt: skip
    long = " ".join(f"On day {n} a {('heron', 'owl', 'wren')[n % 3]} came to the window." for n in range(150))
    traces: list[dict[str, Any]] = [
        {"content": text, "kind": ("note", "fact", "turn")[n % 3], "occurred_at": f"2023-{1 + n % 12:02}-15"}
        for n, text in enumerate([*texts, long])
    ]
    await remembered(caller, user, *traces)
    assert plan_of(await asked(caller, user)) == "exact"
    more: list[dict[str, Any]] = [
        {}, {"k": 3}, {"kinds": ["fact"]}, {"since": "2023-05-01"}, {"until": "2023-05-01"},
        {"since": "2023-03-01", "until": "2023-09-01"}, {"since": "2030-01-01"},
        {"kinds": ["note"], "since": "2023-02-01", "q": "What happened in October 2023?"},
        {"q": "Which bird came to the window in May 2023?"},
    ]  # fmt: skip
    for recipe in ("vector", "balanced", "fast"):
        for given in more:
            told = {"q": "Where did the heron sleep?", "recipe": recipe} | given
            here, there = await asked(caller, user, **told), await asked(other, user, **told)
            assert (plan_of(here), plan_of(there)) == ("held", "exact")
            scores = {one["trace_id"]: one["score"] for one in there["results"]}
            assert [one["score"] for one in here["results"]] == pytest.approx(list(scores.values()), abs=1e-3)
            assert {one["trace_id"]: one["score"] for one in here["results"]} == pytest.approx(scores, abs=1e-3), told
            assert here["explain"]["pieces"] == there["explain"]["pieces"]
            for arm, of_arm in there["explain"]["arms"].items():
                assert here["explain"]["arms"][arm]["candidates"] == of_arm["candidates"]


async def linked(caller: httpx.AsyncClient, user: str, src: str, dst: str, kind: str, weight: float = 1.0) -> None:
    body = {"user_id": user, "src": src, "dst": dst, "type": kind, "weight": weight}
    answer = await caller.post("/memory/edges", json=body)
    assert answer.status_code in (200, 201), answer.text


async def test_held_words_cost_no_search(
    caller: httpx.AsyncClient, other: httpx.AsyncClient, user: str, sent: Sent
) -> None:
    await remembered(
        caller, user, "The heron flew over the lake.", "The owl slept.", "Flew the heron? The lake is calm.",
        "Jean-Luc met Mary of York at a well-known lake near New York; new york, not York New.", "New New York York.",
        {"content": "Die alte Mühle am See, sagte er: die Mühle, die alte.", "language": "german"},
        "Write to jean-luc@lakes.example.org or see https://lakes.example.org/heron/4.2?x=1 by 10:30 on 2023-05-08.",
        "x " * 300 + "heron", "The heron " * 300,
    )  # fmt: skip

    async def searched(q: str) -> int:
        before = sent.by_words
        assert plan_of(await asked(caller, user, q=q, recipe="balanced")) in ("exact", "held")
        return sent.by_words - before

    # By the second question the vectors are there, and the words are brought beside it.
    assert [await searched("heron lake") for _ in range(2)] == [1, 1]
    async with asyncio.timeout(10):
        while await searched("heron lake"):
            pass
    for q in (
        "heron lake", "owls", '"heron flew"', "nothing of the kind", "the", '"the"', '"flew the heron" "is calm"',
        "Did Jean-Luc see New York?", '"New York New York"', '"new new york"', "Mary of York", '"mary in york"',
        '"york"', '"die alte Mühle"', '"alte Mühlen"', '"a well-known lake"', '"known lake"', "„Mühle am See“",
        '"x x x heron"', '"heron the heron"', '"jean-luc@lakes.example.org"', '"lakes.example.org/heron/4.2"',
        '"by 10:30 on 2023-05-08"', '"owl slept" or "owl wept"', '"🌊"', '"lake near the new york"',
    ):  # fmt: skip
        before = sent.by_words
        here = await asked(caller, user, q=q, recipe="balanced")
        assert (sent.by_words - before, here["explain"]["plan"]) == (0, "held"), q
        there = await asked(other, user, q=q, recipe="balanced")
        assert found_in(here) == found_in(there)
        for mine, theirs in zip(here["results"], there["results"], strict=True):
            assert mine["scores"] == pytest.approx(theirs["scores"], abs=1e-4), q
    await remembered(caller, user, "A heron, a heron, a lake.")
    before = sent.by_words
    found = await asked(caller, user, q="heron lake", recipe="balanced")
    assert "A heron, a heron, a lake." in {one["content"] for one in found["results"]}
    assert sent.by_words == before + 1, "what was held is out of date"


async def test_what_is_answered_is_held_too(
    caller: httpx.AsyncClient, other: httpx.AsyncClient, user: str, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=2)
    older, newer, newest, *_ = await remembered(
        caller, user, {"content": "The heron lives at the lake.", "kind": "fact", "salience": 0.7},
        {"content": "The heron lives at the sea.", "kind": "fact", "external_id": "e 1", "meta": {"n": {"deep": [1]}}},
        {"content": "The heron lives in the hills.", "kind": "fact", "occurred_at": "2031-02-03T04:05:06.789+01:00"},
        {"content": "The 鷺 flew.", "role": "user", "speaker": "Zoë 🌊", "conversation_id": "pond"},
        {"content": "Did it?", "role": "assistant", "conversation_id": "pond", "occurred_at": "2023-04-05"},
        {"content": "The heron eats until noon.", "expires_at": soon.isoformat()},
    )  # fmt: skip
    await linked(caller, user, newer, older, "supersedes")
    await linked(caller, user, newest, older, "supersedes", 0.5)
    await linked(caller, user, newest, newer, "near", 0.3)
    assert plan_of(await asked(caller, user)) == "exact"
    for recipe in ("vector", "balanced", "thorough"):
        for later in (timedelta(), timedelta(hours=3)):
            with monkeypatch.context() as moved:
                now = datetime.now(UTC) + later
                moved.setattr(clock, "now", lambda now=now: now)
                there = await asked(other, user, recipe=recipe)
                # Another clock has it brought anew.
                for _ in range(2):
                    await asked(caller, user, recipe=recipe)
                before = len(sent.answered)
                here = await asked(caller, user, recipe=recipe)
            assert plan_of(here) == "held"
            assert len(sent.answered) == before, "PostgreSQL was asked for what is held"
            assert len(here["results"]) == (5 if later else 6)
            assert [plain(one) for one in here["results"]] == [plain(one) for one in there["results"]]
            assert unordered(here["edges"]) == unordered(there["edges"]) != []
            found = {one["trace_id"]: one["superseded_by"] for one in here["results"]}
            assert (found[older], found[newer]) == (newest, None)


def plain(one: dict[str, Any]) -> dict[str, Any]:
    """A result without its scores, which differ by a hair."""
    return {name: value for name, value in one.items() if name not in ("score", "scores")}


def unordered(edges: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    return sorted(sorted(edge.items()) for edge in edges)


async def test_what_is_moved_is_seen_at_once(own_settings: Settings, fickle: Fickle) -> None:
    # Moves nothing, but announces that there may be something.
    await chill(own_settings, steps=("warm",))
    async with serving(own_settings, fickle) as running:
        caller = await running.caller()
        with clock.as_of(NOW - AGES["cold"]):
            await remembered(caller, "ada", "The heron dived once.", "The heron dived twice.")
        await remembered(caller, "ada", "The heron dived again.")
        seen: list[list[list[str]]] = []
        for step in ("warm", "cold", "cold"):
            answers = [await asked(caller, "ada") for _ in range(3)]
            assert [plan_of(answer) == "held" for answer in answers] == [False, True, True]
            seen.append([sorted(one["tier"] for one in answer["results"]) for answer in answers])
            await chill(own_settings, steps=(step,))
        assert seen == [[["hot"] * 3] * 3, [["hot", "warm", "warm"]] * 3, [["hot"]] * 3]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_what_is_forgotten_while_a_question_is_answered_is_left_out(
    caller: httpx.AsyncClient, other: httpx.AsyncClient, user: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = await remembered(caller, user, "The heron dived once.", "The heron dived twice.")
    await asked(caller, user)
    assert set(found_in(await asked(caller, user))) == {gone, kept}
    search = arms.Arms.search

    async def interrupted(*given: Any) -> Any:
        found = await search(*given)
        monkeypatch.setattr(arms.Arms, "search", search)
        # Another process has other memory: there what was held is left as it is, and too old.
        forgetting = {"user_id": user, "scope": {"trace_ids": [gone]}}
        answer = await (caller if where == "here" else other).post("/memory/forget", json=forgetting)
        assert answer.status_code == 200, answer.text
        if where == "elsewhere":
            monkeypatch.setattr(arms, "FRESH", 0.0)
        return found

    monkeypatch.setattr(arms.Arms, "search", interrupted)
    answer = await asked(caller, user)
    assert (plan_of(answer), found_in(answer)) == ("held", [kept])


async def test_what_is_held_is_looked_at_again_after_cold_texts_were_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, cold = (key_of(LONG, one) for one in uuid7s(PAST, 2))
    looks: list[None] = [None, None]
    found: list[Any] = [({here: None}, [], {cold: None}), ({here: None}, [], {})]

    async def results(*_: Any) -> Any:
        return found.pop(0)

    async def texts(*_: Any) -> Any:
        return {}, False

    monkeypatch.setattr(candidates, "results", results)
    service: Any = SimpleNamespace(
        _arms=SimpleNamespace(shown=lambda *_: looks.pop()), _cold=SimpleNamespace(texts=texts), _database=None,
        _timeout=1.0,
    )  # fmt: skip
    asked: Any = SimpleNamespace(bounds=bounds(LONG), end=0.0)
    found_cold: Any = SimpleNamespace(candidates={cold: None}, failed=None)
    keys, *_ = await RecallService._read(service, UUID(int=1), asked, {COLD: found_cold}, [cold, here], 2)
    assert (keys, looks, found) == ([here], [], [])


async def test_of_a_long_text_postgresql_is_asked(caller: httpx.AsyncClient, user: str, sent: Sent) -> None:
    long = f"The heron. {'It waits. ' * 300}"
    told = {"content": "The wren sang.", "meta": {"log": "la " * 1000}}
    owls = [f"The owl slept {n} times." for n in range(20)]
    for one, added in ((long, long), ("The wren sang.", told)):
        name = f"{user}/{one[:9]}"
        await remembered(caller, name, *owls, added)
        for times in range(3):
            before = len(sent.answered)
            answer = await asked(caller, name)
            texts = sorted(each["content"] for each in answer["results"])
            assert (texts, len(sent.answered) - before) == (sorted([*owls, one]), 1), times
            assert one == long or {"log": "la " * 1000} in [each["meta"] for each in answer["results"]]
        before = len(sent.answered)
        assert (await asked(caller, name, k=1, q="the owl slept"))["results"][0]["content"] in owls
        assert len(sent.answered) == before, "it is not among those that are read"
        assert {one["content"] for one in (await asked(caller, name, k=20, q="the owl slept"))["results"]} == {*owls}
        assert len(sent.answered) == before + 1, "also what is read beyond those wanted"


async def test_of_texts_that_are_long_as_a_rule_none_is_held(
    settings: Settings, caller: httpx.AsyncClient, user: str, sent: Sent
) -> None:
    for count, asks in ((shown.USUAL_WORDS, 0), (shown.USUAL_WORDS + 1, 1)):
        name = f"{user}/{count}"
        await remembered(caller, name, "The owl slept.", "The wren sang.")
        async with owner(settings) as connection:
            query = "UPDATE memory_user SET words = %s * traces WHERE external_id = %s"
            await connection.execute(query, (count, name))
        for _ in range(2):
            await asked(caller, name)
        before = len(sent.answered)
        assert len((await asked(caller, name))["results"]) == 2
        assert len(sent.answered) == before + asks


async def test_where_not_all_fits_what_is_answered_is_left_to_postgresql(
    store: Store, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "shown", lambda *_: shown.Shown(LONG, "long", {}, {}, {}, [], 100_000))
    whole = await store.held(LONG, model)
    less = replace(whole, words_due=False).size
    for most, here in ((less, True), (less - 1, False)):
        asker = Asker(store, Shelf(model, most))
        assert ((await asker.twice(LONG)).shown is not None) is here


async def test_what_is_let_go_of_while_it_is_brought_is_not_kept(asker: Asker, brought: list[UUID]) -> None:
    assert await asker(LONG) is None
    slow = Asker(asker.store, asker.shelf)
    asking = await slow.slowly(LONG)
    asker.shelf.drop(LONG)
    slow.gate.set()
    whose = await asking
    assert whose is not None
    assert brought == [LONG]
    assert await asker(LONG) is None


async def test_who_has_very_many_edges_is_answered_by_postgresql(
    caller: httpx.AsyncClient, user: str, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await remembered(caller, user, "The heron flew.", "The owl slept.", "The wren sang.")
    for src, dst in ((0, 1), (1, 2)):
        await linked(caller, user, ids[src], ids[dst], "near")
    monkeypatch.setattr(shown, "MOST_EDGES", 1)
    for plan in ("exact", "held", "held"):
        before = len(sent.answered)
        answer = await asked(caller, user)
        assert (plan_of(answer), len(answer["edges"]), len(sent.answered)) == (plan, 2, before + 1)


OTHERWISE: list[tuple[dict[str, Any], int]] = [
    ({"at": "2999-01-01"}, 2), ({"filter": {"meta.n": 1}}, 1), ({"conversation_id": "pond"}, 1),
    ({"roles": ["user"]}, 1), ({"heads": ["situation"]}, 0), ({"heads": ["semantic", "entity"]}, 2),
]  # fmt: skip


SAME: list[dict[str, Any]] = [
    {}, {"kinds": ["note"]}, {"since": "2020-01-01"}, {"time_window": "1h"}, {"heads": ["semantic"]}
]  # fmt: skip


async def test_other_questions_are_searched_in_postgresql(caller: httpx.AsyncClient, user: str, sent: Sent) -> None:
    await remembered(
        caller, user, {"content": "The heron flew.", "meta": {"n": 1}, "conversation_id": "pond"},
        {"content": "The owl slept.", "role": "user"},
    )  # fmt: skip
    await remembered(caller, f"{user} 2", "The stork flew.")
    for again in range(2):
        before, others = sent.counts, 1 + len(OTHERWISE)
        for given, count in OTHERWISE:
            answer = await asked(caller, user, **given)
            assert (len(answer["results"]), plan_of(answer)) == (count, "exact"), given
        answer = await asked(caller, [user, f"{user} 2"])
        assert (len(answer["results"]), plan_of(answer)) == (3, "exact")
        assert sent.counts == (before[0], before[1] + others)
        for n, same in enumerate(SAME):
            assert plan_of(await asked(caller, user, **same)) == ("held" if n or again else "exact")
        assert sent.counts == (before[0] + 5, before[1] + others + (again == 0))


async def test_who_grows_too_large_is_looked_at_once_more(
    caller: httpx.AsyncClient, user: str, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MOST_TRACES", 2)
    ids = await remembered(caller, user, "The heron flew.", "The owl slept.")
    assert set(await changed(caller, user)) == set(ids)
    for n, looks in enumerate((4, 5, 5, 5)):
        # After a write too, which is found all the same.
        ids += [] if n in (1, 2) else await remembered(caller, user, "The stork came.")
        answer = await asked(caller, user)
        assert (set(found_in(answer)), plan_of(answer)) == (set(ids), "exact")
        assert sent.counts == (looks, 2 + n)


@pytest.mark.parametrize("without", [{"memory_held_mb": 0}, {"memory_hnsw": "always"}])
async def test_where_nothing_is_held_nobody_looks(
    settings: Settings, fickle: Fickle, user: str, sent: Sent, without: dict[str, Any]
) -> None:
    async with serving(settings.model_copy(update=without), fickle) as running:
        somebody = await running.caller()
        ids = await remembered(somebody, user, "The heron flew.")
        for n in range(3):
            answer = await asked(somebody, user, f"heron {n}")
            assert (found_in(answer), plan_of(answer)) == (ids, "exact")
    assert sent.counts == (0, 3)


# What fails


@pytest.fixture
async def own(own_settings: Settings, fickle: Fickle) -> AsyncIterator[tuple[httpx.AsyncClient, Settings]]:
    """(somebody, settings) of a service that the test may break; its arms have a second."""
    hasty = own_settings.model_copy(update={"memory_recall_timeout_seconds": 1.0})
    async with serving(hasty, fickle) as running:
        caller = await running.caller()
        await remembered(caller, "ada", "The lighthouse keeper retired.", "The foghorn is silent.")
        yield caller, hasty


async def ask(caller: httpx.AsyncClient, **more: Any) -> tuple[int, dict[str, Any]]:
    """A question that nobody has asked before, so that it has to be encoded."""
    body = {"user_id": "ada", "q": f"lighthouse keeper {uuid4().hex}", "explain": True} | more
    answer = await caller.post("/memory/recall", json=body)
    return answer.status_code, answer.json()


async def by_words(caller: httpx.AsyncClient) -> dict[str, Any]:
    status, answer = await ask(caller)
    assert (status, answer["degraded"], plan_of(answer)) == (200, ["semantic"], None)
    assert answer["results"][0]["content"] == "The lighthouse keeper retired."
    semantic: dict[str, Any] = answer["explain"]["arms"]["semantic"]
    return semantic


NEW, AGAIN = ("exact", "held", "held"), ("held", "held")
"""The plans of a user at a version that was not seen before, and at one that is held."""


async def works(caller: httpx.AsyncClient, *plans: str, **more: Any) -> None:
    for plan in plans:
        status, answer = await ask(caller, **more)
        assert (status, answer["degraded"], len(answer["results"]), plan_of(answer)) == (200, [], 2, plan)


@asynccontextmanager
async def quietly() -> AsyncIterator[None]:
    """Leaves no task behind, and gives the event loop nothing to complain of, such as an error that nobody took."""
    loop, heard, tasks = asyncio.get_running_loop(), list[dict[str, Any]](), asyncio.all_tasks()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: heard.append(context))
    try:
        yield
        await until(lambda: asyncio.all_tasks() <= tasks, 10)
        gc.collect()
    finally:
        loop.set_exception_handler(before)
    assert heard == []


async def crowded(*_: Any) -> Any:
    raise PoolTimeout("no connection is free")


async def late(*_: Any) -> Any:
    await asyncio.sleep(60)


Look = Callable[..., Awaitable[Any]]


async def test_a_failed_look_fails_no_answer_that_would_be_kept(
    own: tuple[httpx.AsyncClient, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, _ = own
    for _ in range(2):
        assert (await ask(caller))[0] == 200
    go = Trip.go

    async def broken(self: Trip) -> None:
        if any(b"string_agg(uuid_send(s.trace_id)" in query for (query, _), _ in self._queued):
            raise psycopg.OperationalError("the connection is lost")
        await go(self)

    monkeypatch.setattr(Trip, "go", broken)
    status, answer = await ask(caller, explain=False)
    assert (status, answer["degraded"], len(answer["results"])) == (200, [], 2)


@pytest.mark.parametrize("look", [lost, crowded])
async def test_without_the_look_postgresql_searches(
    own: tuple[httpx.AsyncClient, Settings], look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, _ = own
    async with quietly():
        with monkeypatch.context() as patch:
            log = CapturingLogger()
            patch.setattr(arms, "log", log)
            patch.setattr(Shelf, "of", look)
            await works(caller, "exact", "exact")
            await works(caller, "exact", recipe="vector")
            error = "OperationalError" if look is lost else "PoolTimeout"
            logged = [(one.method_name, *one.args, one.kwargs["error"]) for one in log.calls]
            assert logged == [("warning", "held not read", error)] * 3
            # Only where that fails too do the words answer alone.
            patch.setattr(vectors, "search", look)
            assert (await by_words(caller))["failed"] == error
            assert (await ask(caller, recipe="vector"))[0] == 503
    await works(caller, *NEW)


async def test_a_look_that_hangs_is_given_up(
    own: tuple[httpx.AsyncClient, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, _ = own
    async with quietly():
        with monkeypatch.context() as patch:
            patch.setattr(Shelf, "of", late)
            semantic = await by_words(caller)
            assert semantic["failed"] == "TimeoutError"
            assert 900 < semantic["milliseconds"] < 5000
            assert (await ask(caller, recipe="vector"))[0] == 503
    await works(caller, *NEW)


@pytest.mark.parametrize("seen", [0, 1, 2])
@pytest.mark.parametrize("search", [False, True])
async def test_a_connection_that_is_cut_during_the_look(
    own: tuple[httpx.AsyncClient, Settings], seen: int, search: bool
) -> None:
    """Of a version that is new, that is to be brought, or that is held; and perhaps during the ``search`` after it."""
    caller, settings = own
    # So that nothing is read beside the arms.
    await ask(caller, recipe="lexical")
    await works(caller, *NEW[:seen])
    async with owner(settings) as connection, owner(settings) as watcher:
        await connection.execute("BEGIN")
        await connection.execute("LOCK TABLE memory_embedding IN ACCESS EXCLUSIVE MODE")
        asking: asyncio.Task[Any] = asyncio.create_task(by_words(caller) if search else works(caller, "exact"))
        ended = set[int]()
        while len(ended) < 1 + search:
            assert not asking.done()
            cursor = await watcher.execute(
                "SELECT a.pid, pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_locks l USING (pid)"
                " WHERE a.datname = current_database() AND NOT l.granted"
            )
            ended |= {pid for pid, _ in await cursor.fetchall()}
        await connection.execute("ROLLBACK")
        await asking
    await works(caller, *NEW[seen:])


def failing_after(seconds: float) -> Callable[..., FloatArray]:
    """An encoder that fails once it has kept its caller waiting."""

    def encode(*_: Any) -> FloatArray:
        time.sleep(seconds)
        raise EmbeddingError("the model is out for lunch")

    return encode


@pytest.mark.parametrize("seconds", [0, 0.05])
@pytest.mark.parametrize("look", [None, lost, late])
async def test_without_the_encoder_nobody_waits_for_the_look(
    own: tuple[httpx.AsyncClient, Settings], look: Look | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, _ = own
    await works(caller, *NEW)
    async with quietly():
        with monkeypatch.context() as patch:
            patch.setattr(Fickle, "encode_questions", failing_after(seconds))
            if look is not None:
                patch.setattr(Shelf, "of", look)
            for _ in range(3):
                semantic = await by_words(caller)
                assert semantic["failed"] == "EmbeddingError"
                assert semantic["milliseconds"] < 900
    await works(caller, *AGAIN)


@pytest.mark.parametrize("seen", [0, 1])
async def test_without_the_encoder_a_look_that_waits_is_called_off(
    own: tuple[httpx.AsyncClient, Settings], seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In PostgreSQL too, where it waits for a lock, be it to bring vectors or not; and its connection is not lost."""
    caller, settings = own
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await works(caller, *NEW[:seen])
    async with quietly(), owner(settings) as connection, connection.transaction():
        await connection.execute("LOCK TABLE memory_embedding IN ACCESS EXCLUSIVE MODE")
        with monkeypatch.context() as patch:
            patch.setattr(Fickle, "encode_questions", failing_after(0.2))
            for _ in range(6):
                asking = asyncio.create_task(by_words(caller))
                while not await rows(settings, waiting):
                    assert not asking.done()
                assert (await asking)["failed"] == "EmbeddingError"
        async with asyncio.timeout(0.5):
            while await rows(settings, waiting):
                pass
    await works(caller, *NEW[seen:])


async def test_a_caller_who_brings_the_vector_needs_no_encoder(
    own: tuple[httpx.AsyncClient, Settings], fickle: Fickle
) -> None:
    caller, _ = own
    with fickle.failing():
        for n, plan in enumerate(NEW):
            await works(caller, plan, embedding=unit(n), recipe="vector")
