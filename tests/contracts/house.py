"""Two spaces that hold the same users, what belongs to each, and one good request for every route."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import redis
from psycopg import sql

from reverie.models import Base
from tests.conftest import Api

if TYPE_CHECKING:
    from reverie.core.database import Database

DIM = 384
USER = "nora"
CONVERSATION = "kitchen"
SHARED = "The lighthouse keeper of Skagen collects blue glass."
"""A text that both spaces remember, word for word."""

TABLES = sorted(Base.metadata.tables)
WALLED = sorted(name for name, table in Base.metadata.tables.items() if table.info.get("walled"))
"""The tables that hold memory: behind row-level security by space."""


def axis(n: int) -> list[float]:
    """The unit vector along one axis."""
    return [1.0 if place == n else 0.0 for place in range(DIM)]


@dataclass(slots=True)
class Person:
    """Somebody with a key of all scopes, and everything of theirs that others must not reach."""

    space: str
    key: str
    client: httpx.AsyncClient
    secret: str
    trace_ids: list[str] = field(default_factory=list)
    operation_id: str = ""
    receipt_id: str = ""
    key_id: str = ""
    dream_id: str = ""
    cursor: str = ""
    users_cursor: str = ""
    idempotency_key: str = "the same key in both spaces"


@dataclass(slots=True)
class House:
    """A running API with two spaces."""

    api: Api
    owner: "psycopg.Connection[tuple[Any, ...]]"
    """A connection as the owner of the schema, in autocommit, whom no policy binds."""

    redis: redis.Redis
    ours: Person
    theirs: Person
    poor: dict[str, httpx.AsyncClient]
    """Callers in our space with one scope each."""

    def state(self) -> dict[str, object]:
        """Everything that is stored, as the owner sees it: the rows of each table and their hash, and Redis."""
        rows = {row[0]: row[1:] for row in self.owner.execute(_FINGERPRINTS).fetchall()}
        keys = sorted(self.redis.scan_iter("focus:*"))
        return {**rows, "focus": [(key, self.redis.zrange(key, 0, -1, withscores=True)) for key in keys]}


_FINGERPRINT = (
    "SELECT {name} AS name, count(*), md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {table} t"
)
_FINGERPRINTS = sql.SQL(" UNION ALL ").join(
    sql.SQL(_FINGERPRINT).format(name=sql.Literal(table), table=sql.Identifier(table)) for table in TABLES
)


_OF_COLD = """
WITH one AS (SELECT DISTINCT ON (space_id) space_id, user_id, id FROM memory_trace ORDER BY space_id, id),
digest AS (
    INSERT INTO memory_digest (space_id, user_id, trace_id, segment_id, thawed_until, sentence, minhash, words)
    SELECT space_id, user_id, id, gen_random_uuid(), now() + interval '1 year', 'A sentence.', 'm', 1 FROM one
),
removal AS (
    INSERT INTO cold_removal (space_id, user_id, trace_id, segment_id, created_at)
    SELECT space_id, user_id, gen_random_uuid(), gen_random_uuid(), now() FROM one
),
noted AS (
    INSERT INTO rebuild (space_id, user_id, trace_id, reason, kind, sources, created_at)
    SELECT space_id, user_id, gen_random_uuid(), 'changed', 'summary', ARRAY[gen_random_uuid()], now() FROM one
)
INSERT INTO cold_segment (space_id, id, month, model_id, state, path, checksum, bytes, traces, rows, first_user,
                          last_user, lower, upper, created_at)
SELECT space_id, gen_random_uuid(), '2025-01-01', 1, 'written', 'nowhere', 'c', 1, 1, 1, uuid_nil.id, uuid_nil.id,
       uuid_nil.id, 'ffffffff-ffff-ffff-ffff-ffffffffffff', now()
FROM one, (SELECT '00000000-0000-0000-0000-000000000000'::uuid AS id) uuid_nil
"""
"""A row for each space of the tables that only a move of old memory fills, and that nothing reads as it is."""


_OF_DREAMS = """
WITH one AS (
    SELECT t.space_id, t.user_id, t.id FROM memory_trace t JOIN space s ON s.id = t.space_id
    WHERE s.name = %s ORDER BY t.id LIMIT 1
),
run AS (
    INSERT INTO dream_run (space_id, id, state, started_at, seen_at)
    SELECT space_id, gen_random_uuid(), 'done', now(), now() FROM one
    RETURNING space_id, id
),
stage AS (
    INSERT INTO dream_stage (space_id, run_id, stage, place, state) SELECT space_id, id, 'group', 0, 'done' FROM run
),
dreamer AS (
    INSERT INTO dream_user (space_id, user_id, run_id, days)
    SELECT o.space_id, o.user_id, r.id, 1 FROM one o JOIN run r USING (space_id)
),
day AS (
    INSERT INTO dream_day (space_id, user_id, day, state) SELECT space_id, user_id, '2020-01-01', 'done' FROM one
),
aside AS (
    INSERT INTO dream_aside (space_id, user_id, trace_id, stage, error, created_at)
    SELECT space_id, user_id, id, 'summarise', 'It broke.', now() FROM one
),
access AS (
    INSERT INTO memory_access (space_id, user_id, trace_id, recalls, last_at)
    SELECT space_id, user_id, id, 1, now() FROM one
),
name AS (
    INSERT INTO entity_name (space_id, user_id, hash, entity_id) SELECT space_id, user_id, 'h', id FROM one
),
dismissal AS (
    INSERT INTO memory_dismissal (space_id, user_id, trace_id, other_id, created_at)
    SELECT o.space_id, o.user_id, o.id, n.id, now()
    FROM one o JOIN LATERAL (
        SELECT t.id FROM memory_trace t WHERE t.user_id = o.user_id AND t.id > o.id ORDER BY t.id LIMIT 1
    ) n ON true
)
SELECT id FROM run
"""
"""A run of the dream in a space, with what belongs to one."""


async def furnish(api: Api, owner: "psycopg.Connection[tuple[Any, ...]]", client: redis.Redis) -> House:
    """Fills two spaces."""
    # Whose admins keep the settings of the whole store.
    ours = await furnish_person(api, "default", "Our password is marzipan.")
    theirs = await furnish_person(api, "theirs", "Their password is gingerbread.")
    owner.execute(_OF_COLD)
    poor = {scope: await api.caller("default", [scope]) for scope in ("read", "write")}
    return House(api, owner, client, ours, theirs, poor)


async def furnish_person(api: Api, space: str, secret: str) -> Person:
    key = await api.key(space)
    person = Person(space, key, api.client(key), secret)
    client = person.client
    traces: list[dict[str, Any]] = [
        {"content": SHARED, "external_id": "shared", "meta": {"colour": "blue"}},
        {"content": secret, "external_id": "secret", "meta": {"of": space}, "conversation_id": CONVERSATION},
        {"content": f"{space} like tea.", "conversation_id": CONVERSATION, "role": "user", "speaker": "Nora"},
    ]
    vectors = [trace | {"embedding": axis(n)} for n, trace in enumerate(traces)]
    headers = {"Idempotency-Key": person.idempotency_key}
    body = {"user_id": USER, "traces": vectors}
    answer = await client.post("/memory/remember", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    person.trace_ids = [trace["trace_id"] for trace in answer.json()["traces"]]
    answer = await client.post("/memory/remember?wait=false", json={"user_id": "ilse", "traces": [{"content": space}]})
    assert answer.status_code == 202, answer.text
    person.operation_id = answer.json()["operation_id"]
    answer = await client.post("/keys", json={"name": f"spare of {space}", "scopes": ["read"]})
    assert answer.status_code == 201, answer.text
    person.key_id = answer.json()["id"]
    answer = await client.post("/memory/forget", json={"user_id": "ilse", "scope": {"all": True}, "reason": "moved"})
    assert answer.status_code == 200, answer.text
    person.receipt_id = answer.json()["receipt_id"]
    # A user whom no other space knows by this name.
    body = {"user_id": person.key_id, "traces": [{"content": f"{space} have a friend."}]}
    assert (await client.post("/memory/remember", json=body)).status_code == 201
    answer = await client.put("/settings/retention", json={"ttl_days": 36_500})
    assert answer.status_code == 200, answer.text
    answer = await client.get("/memory/traces", params={"user_id": USER, "limit": 1})
    person.cursor = answer.json()["next_cursor"]
    database: Database = api.app.state.database
    async with database.maintenance() as owner:
        [(dream_id,)] = await (await owner.execute(_OF_DREAMS.encode(), (space,))).fetchall()
    person.dream_id = str(dream_id)
    answer = await client.get("/memory/users", params={"limit": 1})
    person.users_cursor = answer.json()["next_cursor"]
    return person


@dataclass(frozen=True, slots=True)
class Route:
    """A route and a request that it would serve well, for a person whose things it names.

    ``scope`` is the scope that it needs, None where no key is needed.
    """

    method: str
    path: str
    scope: str | None
    ids: Callable[[Person], dict[str, str]] = lambda person: {}
    params: dict[str, Any] = field(default_factory=dict)
    json: dict[str, Any] | None = None
    also: tuple[int, ...] = ()
    """Statuses with which the good request is answered besides those of success: there is nothing to be done."""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def url(self, person: Person) -> str:
        """The path with the ids of a person's things."""
        return self.path.format(**self.ids(person))

    def at(self, one: str) -> str:
        """The path with this for every id in it."""
        return re.sub(r"{\w+}", lambda _: one, self.path)


def _trace(person: Person) -> dict[str, str]:
    return {"trace_id": person.trace_ids[1]}


def _entity(person: Person) -> dict[str, str]:
    # No entity: what is named by its id is a trace of theirs.
    return {"entity_id": person.trace_ids[1]}


def _receipt(person: Person) -> dict[str, str]:
    return {"receipt_id": person.receipt_id}


def _dream(person: Person) -> dict[str, str]:
    return {"dream_id": person.dream_id}


NOBODYS, ANOTHER = "01a20207-2b1e-7000-9d0c-5e0f5a3c7b21", "01a20207-2b1e-7000-9d0c-5e0f5a3c7b22"
"""Ids of no trace."""

ROUTES = [
    Route("GET", "/health/live", None),
    Route("GET", "/health/ready", None),
    Route("GET", "/admin/status", "admin"),
    Route("GET", "/metrics", "admin"),
    Route(
        "POST",
        "/memory/remember",
        "write",
        json={"user_id": USER, "traces": [{"content": "Tea at four."}], "force": True},
    ),
    Route("GET", "/memory/recall", "read", params={"user_id": USER, "q": "password"}),
    Route("POST", "/memory/recall", "read", json={"user_id": USER, "q": "password"}),
    Route("GET", "/memory/traces", "read", params={"user_id": USER}),
    Route("GET", "/memory/traces/{trace_id}", "read", _trace, {"user_id": USER}),
    Route("PATCH", "/memory/traces/{trace_id}", "write", _trace, {"user_id": USER}, {"salience": 0.9}),
    Route("DELETE", "/memory/traces/{trace_id}", "write", _trace, {"user_id": USER}),
    Route("POST", "/memory/traces/{trace_id}/pin", "write", _trace, {"user_id": USER}),
    Route("DELETE", "/memory/traces/{trace_id}/pin", "write", _trace, {"user_id": USER}),
    Route("GET", "/memory/traces/{trace_id}/related", "read", _trace, {"user_id": USER}),
    Route(
        "DELETE",
        "/memory/traces/{trace_id}/related",
        "write",
        _trace,
        {"user_id": USER, "other_id": NOBODYS},
        also=(404,),
    ),
    Route(
        "POST",
        "/memory/traces/{trace_id}/related",
        "write",
        _trace,
        {"user_id": USER, "other_id": NOBODYS},
        also=(404,),
    ),
    Route("GET", "/memory/edges", "read", params={"user_id": USER}),
    Route(
        "POST",
        "/memory/edges",
        "write",
        json={"user_id": USER, "src": NOBODYS, "dst": ANOTHER, "type": "relates_to"},
        also=(404,),
    ),
    Route(
        "DELETE",
        "/memory/edges",
        "write",
        params={"user_id": USER, "src": NOBODYS, "dst": ANOTHER, "type": "relates_to"},
        also=(404,),
    ),
    Route(
        "POST",
        "/memory/entities/{entity_id}/merge",
        "write",
        _entity,
        json={"user_id": USER, "into": "01a20207-2b1e-7000-9d0c-5e0f5a3c7b21"},
        also=(404,),
    ),
    Route(
        "POST",
        "/memory/entities/{entity_id}/split",
        "write",
        _entity,
        json={"user_id": USER, "names": ["Bob"]},
        also=(404,),
    ),
    Route("POST", "/memory/forget", "write", json={"user_id": USER, "scope": {"all": True}}),
    Route("GET", "/memory/receipts", "read", params={"user_id": "ilse"}),
    Route("GET", "/memory/receipts/{receipt_id}", "read", _receipt, {"user_id": "ilse"}),
    Route("POST", "/memory/receipts/{receipt_id}/verify", "read", _receipt, {"user_id": "ilse"}),
    Route("GET", "/memory/graph", "read", params={"user_id": USER}),
    Route("GET", "/memory/graph/path", "read", params={"user_id": USER, "from": "Nora", "to": "Skagen"}, also=(404,)),
    Route("POST", "/memory/thaw", "write", json={"user_id": USER, "scope": {"all": True}}, also=(409,)),
    Route("GET", "/tiers", "admin"),
    Route("GET", "/memory/users", "read"),
    Route("GET", "/memory/users/{user_id}/export", "admin", lambda person: {"user_id": person.key_id}),
    Route("GET", "/memory/users/{user_id}/profile", "read", lambda person: {"user_id": person.key_id}),
    Route("GET", "/memory/users/{user_id}", "read", lambda person: {"user_id": person.key_id}),
    Route(
        "PATCH",
        "/memory/users/{user_id}",
        "write",
        lambda person: {"user_id": person.key_id},
        json={"time_zone": "Europe/Berlin"},
    ),
    Route("POST", "/memory/consolidate", "admin", json={"day": "2026-05-08", "user_id": USER}),
    Route("GET", "/dreams", "read"),
    Route("GET", "/dreams/{dream_id}", "read", _dream),
    Route("DELETE", "/dreams/{dream_id}", "admin", _dream),
    Route("GET", "/admin/jobs", "admin"),
    Route("GET", "/settings/retention", "admin"),
    Route("PUT", "/settings/retention", "admin", json={"ttl_days": 3650}),
    Route("POST", "/settings/retention/run", "admin", json={"dry_run": True}),
    Route("GET", "/settings/ai", "admin", also=(403,)),
    Route("PUT", "/settings/ai", "admin", json={"version": 0}, also=(403, 409)),
    Route("POST", "/settings/ai/test", "admin", json={"language_model": {"url": "", "model": ""}}, also=(403,)),
    Route("GET", "/settings/ai/history", "admin", also=(403,)),
    Route("POST", "/settings/ai/restore", "admin", json={"version": 1}, also=(403, 404)),
    Route("GET", "/operations/{operation_id}", "read", lambda person: {"operation_id": person.operation_id}),
    Route("POST", "/keys", "admin", json={"name": "one more"}),
    Route("GET", "/keys", "admin"),
    Route("DELETE", "/keys/{key_id}", "admin", lambda person: {"key_id": person.key_id}),
]
"""Every route. A new one is added here, and with that is under all tests of the walls and of bad input."""


def asker(house: House, client: httpx.AsyncClient, route: Route) -> httpx.AsyncClient:
    """Who asks a route instead of somebody of another space, who would be told no more than that it is not theirs."""
    return house.ours.client if route.path.startswith("/settings/ai") else client


WITH_KEY = [route for route in ROUTES if route.scope is not None]
WITH_BODY = [route for route in ROUTES if route.json is not None]


def operations(document: dict[str, Any]) -> set[str]:
    """The routes of an OpenAPI document, as names of :data:`ROUTES`."""
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def assert_problem(answer: httpx.Response, status: int, field: str | None = None) -> str:
    """Makes sure that an answer is a problem document (RFC 9457) of this status and field; returns its sentence."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:reverie:problem:")
    assert problem["title"]
    assert problem["instance"] == answer.request.url.path
    detail = str(problem["detail"])
    assert detail.endswith("."), detail
    assert detail[0].isupper() or detail.startswith((str(problem.get("field")), "/")), detail
    assert len(detail) < 400, detail
    assert "\n" not in detail
    for technical in ("pydantic", "Input should", "Value error", "Traceback", "psycopg", "function-"):
        assert technical not in detail, detail
    if field is not None:
        assert problem.get("field") == field, problem
        assert field in detail, detail
    return detail
