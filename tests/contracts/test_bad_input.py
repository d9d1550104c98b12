"""Bad input: a problem document that names the field and what it takes, and a store that is as it was."""

# ruff: noqa: E501 - the tables are read a case a line

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import httpx
import pytest

from tests.contracts.house import (
    DIM,
    ROUTES,
    USER,
    WITH_BODY,
    WITH_KEY,
    House,
    Route,
    assert_problem,
    axis,
    operations,
)

LIMIT = 4 * 1024 * 1024
"""The largest body that the house takes."""


@pytest.fixture(scope="module")
def states(house: House) -> list[dict[str, object]]:
    """What is stored: at first, and after each test that did change something."""
    return [house.state()]


@pytest.fixture(autouse=True)
def untouched(house: House, states: list[dict[str, object]]) -> Iterator[None]:
    """Whatever a test of this file sends, nothing is stored, changed or removed by it."""
    yield
    states.append(house.state())
    assert states[-1] == states.pop(0)


@pytest.fixture
def client(house: House) -> httpx.AsyncClient:
    """Somebody with a key of all scopes."""
    return house.ours.client


def named(route: Route) -> str:
    return route.name


def by_route(routes: list[Route]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=named)


async def send(client: httpx.AsyncClient, route: Route, house: House, **changed: Any) -> httpx.Response:
    """The good request of a route with something changed."""
    given: dict[str, Any] = {"params": route.params}
    if "content" not in changed and route.json is not None:
        given["json"] = route.json
    return await client.request(route.method, route.url(house.ours), **{**given, **changed})


async def test_every_route_is_under_test(house: House) -> None:
    document = (await house.api.client().get("/openapi.json")).json()
    assert operations(document) == {route.name for route in ROUTES}


class TestKeys:
    """No key, a wrong key, a key of the wrong scope."""

    @by_route(WITH_KEY)
    async def test_no_key(self, house: House, route: Route) -> None:
        answer = await send(house.api.client(), route, house)
        assert "Authorization: Bearer" in assert_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"

    @by_route(WITH_KEY)
    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": "Bearer rv_00000000_" + "0" * 64},
            {"X-API-Key": "' OR 1=1 --"},
            {"Authorization": b"Bearer \xff\xfe"},
            {"X-API-Key": b"\x00"},
        ],
        ids=["unknown", "injection", "not ASCII", "NUL"],
    )
    async def test_a_wrong_key(self, house: House, route: Route, headers: dict[str, Any]) -> None:
        answer = await send(house.api.client(), route, house, headers=headers)
        assert_problem(answer, 401)

    @pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Basic abc", "rv_00000000_" + "0" * 64])
    async def test_an_authorization_that_holds_no_key(self, house: House, value: str) -> None:
        answer = await house.api.client().get("/memory/users", headers={"Authorization": value})
        assert_problem(answer, 401)

    @by_route(WITH_KEY)
    async def test_a_key_of_the_wrong_scope(self, house: House, route: Route) -> None:
        for scope in {"read", "write"} - {str(route.scope)}:
            detail = assert_problem(await send(house.poor[scope], route, house), 403)
            assert f"the scope {route.scope}" in detail
            assert f"this key has {scope}" in detail

    @by_route(WITH_BODY)
    async def test_strangers_learn_nothing_of_bodies(self, house: House, route: Route) -> None:
        """The key is looked at first: neither what is wrong with a body nor its size is told to strangers."""
        answer = await send(house.api.client(), route, house, content=b"{", params={})
        assert_problem(answer, 401)


UNREADABLE = {
    "empty": (b"", "takes JSON, and there was none"),
    "blank": (b" \n\t", "takes JSON, and there was none"),
    "cut off": (b'{"user_id": "u"', "takes JSON"),
    "no JSON": (b"user_id=u", "takes JSON"),
    "two documents": (b"{}{}", "takes JSON"),
    "comma": (b'{"user_id": "u",}', "takes JSON"),
    "single quotes": (b"{'user_id': 'u'}", "takes JSON"),
    "invalid UTF-8": (b'{"user_id": "\xff\xfe"}', "UTF-8"),
    "UTF-16": ('{"user_id": "u"}'.encode("utf-16"), "UTF-8"),
    "overlong UTF-8": (b'{"user_id": "\xc0\x80"}', "UTF-8"),
    "encoded surrogate": (b'{"user_id": "\xed\xa0\x80"}', "UTF-8"),
    "bare U+0000": (b'{"user_id": "\x00"}', "takes JSON"),
    "NaN": (b'{"user_id": NaN}', "takes JSON"),
    "Infinity": (b'{"user_id": -Infinity}', "takes JSON"),
    "1e400000": (b'{"user_id": 1e400000}', "takes JSON"),
    "-1e400000 within": (b'{"meta": {"x": [-1e400000]}}', "takes JSON"),
    "10 000 levels of lists": (b"[" * 10_000 + b"]" * 10_000, "nested less deeply"),
    "10 000 levels of objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested less deeply"),
    "100 000 levels within": (b'{"meta": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested less deeply"),
}


class TestBodies:
    """What cannot be read as JSON at all."""

    @by_route(WITH_BODY)
    @pytest.mark.parametrize("what", UNREADABLE)
    async def test_unreadable(self, client: httpx.AsyncClient, house: House, route: Route, what: str) -> None:
        content, says = UNREADABLE[what]
        detail = assert_problem(await send(client, route, house, content=content), 400)
        assert detail.startswith("The body takes")
        assert says in detail

    @by_route(WITH_BODY)
    async def test_over_the_limit(self, client: httpx.AsyncClient, house: House, route: Route) -> None:
        answer = await send(client, route, house, content=b" " * (LIMIT + 1))
        assert f"at most {LIMIT} bytes" in assert_problem(answer, 413)

    @by_route(WITH_BODY)
    async def test_over_the_limit_without_a_length(self, client: httpx.AsyncClient, house: House, route: Route) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(5):
                yield b" " * (1024 * 1024)

        answer = await send(client, route, house, content=chunks())
        assert "content-length" not in answer.request.headers
        assert f"at most {LIMIT} bytes" in assert_problem(answer, 413)

    @by_route(WITH_BODY)
    @pytest.mark.parametrize("value", ["null", "true", "7", '"text"', "[]", "[{}]"])
    async def test_not_an_object(self, client: httpx.AsyncClient, house: House, route: Route, value: str) -> None:
        detail = assert_problem(await send(client, route, house, content=value.encode()), 422)
        assert detail.startswith("The body takes a JSON object")

    @by_route(WITH_BODY)
    async def test_an_unknown_field(self, client: httpx.AsyncClient, house: House, route: Route) -> None:
        answer = await send(client, route, house, json={**(route.json or {}), "colour": "blue"})
        assert "is not a field" in assert_problem(answer, 422, "colour")

    @by_route(WITH_BODY)
    async def test_a_nasty_name_of_a_field(self, client: httpx.AsyncClient, house: House, route: Route) -> None:
        for name in ["", "\x00", "\ud800", "x" * 100_000, "a.b", "__class__", "\u202e", "é\n"]:
            body = json.dumps({**(route.json or {}), name: 1}).encode()
            assert_problem(await send(client, route, house, content=body), 422)

    @by_route([route for route in WITH_KEY if route.method != "GET" or not route.params])
    async def test_a_field_of_the_body_in_the_query_string(
        self, client: httpx.AsyncClient, house: House, route: Route
    ) -> None:
        """`POST /memory/forget?dry_run=true` must not forget."""
        answer = await send(client, route, house, params={**route.params, "dry_run": "true"})
        assert "is not a field" in assert_problem(answer, 422, "dry_run")


@dataclass(frozen=True, slots=True)
class Bad:
    """A request with a bad value in one field: what the answer names, and words that it says."""

    method: str
    path: str
    field: str | None
    says: str
    json: Any = None
    params: dict[str, Any] = dataclass_field(default_factory=dict)
    status: int = 422

    @property
    def name(self) -> str:
        given = json.dumps(self.json if self.json is not None else self.params, default=str)
        return f"{self.method} {self.path} {given[:60]} {self.field}"


def ask(**params: Any) -> dict[str, Any]:
    return {"user_id": USER, "q": "tea", **params}


def both(name: str, value: Any, says: str, posted: Any = ...) -> list[Bad]:
    """A bad value of recall by GET and by POST."""
    wanted = value if posted is ... else posted
    return [
        Bad("GET", "/memory/recall", name, says, params=ask(**{name: value})),
        Bad("POST", "/memory/recall", name, says, json=ask(**{name: wanted})),
    ]


NOTE = {"content": "Tea."}
NOBODYS = "0192d000-0000-7000-8000-000000000000"
"""An id that nothing has."""

LONG_ID = "x" * 256
TRACE = f"/memory/traces/{NOBODYS}"

USER_IDS = [
    ("", "not blank"),
    ("  \t", "not blank"),
    (LONG_ID, "at most 255 characters, not 256"),
    ("a\x00b", "without U+0000"),
]
"""Bad user ids and what is said of them."""

BAD_USERS = [
    Bad(
        route.method,
        route.at(NOBODYS),
        "user_id",
        says,
        {**route.json, "user_id": value} if in_body and route.json else route.json,
        route.params if in_body else {**route.params, "user_id": value},
    )
    for value, says in USER_IDS
    for route in WITH_KEY
    for in_body, given in ((True, route.json or {}), (False, route.params))
    if "user_id" in given and route.path != "/memory/recall"
]

RECALLS = [
    *both("user_id", "", "not blank"),
    *both("user_id", LONG_ID, "at most 255 characters, not 256"),
    *both("user_id", "a\x00b", "without U+0000"),
    *both("user_id", [f"u{n}" for n in range(9)], "at most 8"),
    *both("k", "0", "at least 1, not 0", 0),
    *both("k", "101", "at most 100, not 101", 101),
    *both("k", "-1", "at least 1, not -1", -1),
    *both("k", "many", "a whole number, not 'many'"),
    *both("k", "2.5", "a whole number", 2.5),
    *both("k", "9" * 5000, "a whole number", 10**30),
    *both("heads", "semantics", "semantic, situation or entity, not 'semantics'", ["semantics"]),
    *both("kinds", "turns", "turn, note, fact, chunk, summary or entity, not 'turns'", ["turns"]),
    *both("roles", "bot", "user, assistant, system or tool, not 'bot'", ["bot"]),
    *both("tiers", "lukewarm", "hot, warm or cold, not 'lukewarm'", ["lukewarm"]),
    *both("recipe", "slow", "fast, balanced, thorough, vector or lexical, not 'slow'"),
    *both("time_window", "-30d", "such as 30d"),
    *both("time_window", "0d", "such as 30d"),
    *both("time_window", "30", "such as 30d"),
    *both("time_window", "d", "such as 30d"),
    *both("time_window", "30 days", "such as 30d"),
    *both("time_window", "999999y", "such as 30d"),
    *both("time_window", "٣d", "such as 30d"),
    *both("since", "yesterday", "an ISO 8601 time such as"),
    *both("until", "2026-02-30", "an ISO 8601 time such as"),
    *both("at", "2026-13-01T00:00:00Z", "an ISO 8601 time such as"),
    *both("since", "0000-01-01", "an ISO 8601 time such as"),
    *both("since", "0001-01-01T00:00:00+14:00", "within the years 1 to 9999"),
    *both("until", "9999-12-31T23:59:59Z", "within the years 1 to 9999"),
    *both("at", "10000-01-01T00:00:00Z", "an ISO 8601 time such as"),
    *both("min_score", "1.1", "at most 1, not 1.1", 1.1),
    *both("min_score", "-0.1", "at least 0, not -0.1", -0.1),
    *both("min_score", "nan", "number"),
    *both("explain", "perhaps", "true or false, not 'perhaps'"),
    *both("q", "", "not blank"),
    *both("q", " \n", "not blank"),
    *both("q", "a\x00b", "without U+0000"),
    *both("conversation_id", LONG_ID, "at most 255 characters, not 256"),
    Bad("POST", "/memory/recall", "q", "at most 100000 characters, not 100001", json=ask(q="x" * 100_001)),
    Bad("GET", "/memory/recall", "q", "is required", params={"user_id": USER}),
    Bad("POST", "/memory/recall", "q", "is required", json={"user_id": USER}),
    Bad("GET", "/memory/recall", "user_id", "is required", params={"q": "tea"}),
    Bad("POST", "/memory/recall", "user_id", "at least 1", json=ask(user_id=[])),
    Bad("GET", "/memory/recall", "since", "not after until", params=ask(since="2026-05-02", until="2026-05-01")),
    Bad("POST", "/memory/recall", "since", "not after until", json=ask(since="2026-05-02", until="2026-05-01")),
    Bad("GET", "/memory/recall", "time_window", "since or until", params=ask(since="2026-05-02", time_window="3d")),
    Bad("POST", "/memory/recall", "time_window", "since or until", json=ask(until="2026-05-02", time_window="3d")),
    Bad("POST", "/memory/recall", "since", "an ISO 8601 time such as", json=ask(since=1_700_000_000)),
    Bad("POST", "/memory/recall", "time_window", "such as 30d", json=ask(time_window=30)),
    Bad("POST", "/memory/recall", "embedding", f"{DIM} finite numbers, not 2", json=ask(embedding=[1, 2])),
    Bad("POST", "/memory/recall", "embedding", "not all zeros", json=ask(embedding=[0] * DIM)),
    Bad("POST", "/memory/recall", "filter", "1 to 32 conditions", json=ask(filter={})),
    Bad("POST", "/memory/recall", "filter", "meta.<key>", json=ask(filter={"content": "tea"})),
    Bad("POST", "/memory/recall", "filter", "not '$near'", json=ask(filter={"meta.a": {"$near": 1}})),
    Bad("POST", "/memory/recall", "filter", "text, a number", json=ask(filter={"meta.a": [1]})),
    Bad("POST", "/memory/recall", "filter", "without U+0000", json=ask(filter={"meta.a": "\x00"})),
    Bad("POST", "/memory/recall", "filter", "without U+0000", json=ask(filter={"meta.a\x00": 1})),
    Bad("POST", "/memory/recall", "filter", "lone surrogate", json=ask(filter={"meta.a": "\udfff"})),
    Bad("POST", "/memory/recall", "filter", "64 bits", json=ask(filter={"meta.a": {"$gt": 10**400}})),
    Bad(
        "POST", "/memory/recall", "filter", "1 to 32 conditions", json=ask(filter={f"meta.a{n}": 1 for n in range(33)})
    ),
]

REMEMBERS = [
    Bad("POST", "/memory/remember", "user_id", "is required", json={"traces": [NOTE]}),
    Bad("POST", "/memory/remember", "traces", "messages", json={"user_id": USER}),
    Bad("POST", "/memory/remember", "traces", "at least 1", json={"user_id": USER, "traces": []}),
    Bad("POST", "/memory/remember", "messages", "at least 1", json={"user_id": USER, "messages": []}),
    Bad("POST", "/memory/remember", "traces", "at most 1000, not 1001", json={"user_id": USER, "traces": [NOTE] * 1001}),
    Bad("POST", "/memory/remember", "traces", "a list", json={"user_id": USER, "traces": NOTE}),
    Bad("POST", "/memory/remember", "traces", "messages", json={"user_id": USER, "traces": [NOTE], "messages": [NOTE]}),
    Bad(
        "POST", "/memory/remember", "conversation_id", "at most 255",
        json={"user_id": USER, "traces": [NOTE], "conversation_id": LONG_ID},
    ),
    Bad(
        "POST", "/memory/remember", "wait", "true or false, not 'later'",
        json={"user_id": USER, "traces": [NOTE]}, params={"wait": "later"},
    ),
    Bad("POST", "/memory/remember", "traces", "None of the 2", json={"user_id": USER, "traces": [{}, {}]}),
    Bad("POST", "/memory/remember", "traces", "content", json={"user_id": USER, "traces": [{"content": " "}]}),
    Bad("POST", "/memory/remember", "messages", "role", json={"user_id": USER, "messages": [NOTE]}),
]  # fmt: skip

FORGETS = [
    Bad("POST", "/memory/forget", "scope", "is required", json={"user_id": USER}),
    *(
        Bad("POST", "/memory/forget", "scope", "exactly one of", json={"user_id": USER, "scope": scope})
        for scope in ({}, {"trace_id": NOBODYS, "all": True}, {"trace_id": None, "trace_ids": None})
    ),
    Bad("POST", "/memory/forget", "scope.all", "true", json={"user_id": USER, "scope": {"all": False}}),
    Bad("POST", "/memory/forget", "scope.trace_ids", "at least 1", json={"user_id": USER, "scope": {"trace_ids": []}}),
    Bad("POST", "/memory/forget", "scope.trace_id", "a UUID", json={"user_id": USER, "scope": {"trace_id": "7"}}),
    Bad("POST", "/memory/forget", "scope", "a JSON object", json={"user_id": USER, "scope": "all"}),
    Bad(
        "POST",
        "/memory/forget",
        "scope.everything",
        "is not a field",
        json={"user_id": USER, "scope": {"everything": 1}},
    ),
    Bad(
        "POST",
        "/memory/forget",
        "dry_run",
        "true or false",
        json={"user_id": USER, "scope": {"all": True}, "dry_run": 2},
    ),
    Bad("POST", "/memory/forget", "reason", "U+0000", json={"user_id": USER, "scope": {"all": True}, "reason": "\x00"}),
    Bad(
        "POST",
        "/memory/forget",
        None,
        "no trace",
        json={"user_id": USER, "scope": {"trace_id": NOBODYS}},
        status=404,
    ),
]

PATCHES = [
    Bad("PATCH", TRACE, None, "at least one field", json={}, params={"user_id": USER}),
    Bad("PATCH", TRACE, "content", "not null", json={"content": None}, params={"user_id": USER}),
    Bad("PATCH", TRACE, "content", "not blank", json={"content": "\u2003"}, params={"user_id": USER}),
    Bad("PATCH", TRACE, "salience", "at most 1", json={"salience": 2}, params={"user_id": USER}),
    Bad("PATCH", TRACE, "embedding", "is not a field", json={"embedding": axis(0)}, params={"user_id": USER}),
    Bad("PATCH", TRACE, "meta", "a JSON object", json={"meta": []}, params={"user_id": USER}),
    Bad("PATCH", TRACE, "user_id", "is required", json={"salience": 1}),
    Bad("PATCH", TRACE, None, "no trace", json={"salience": 1}, params={"user_id": USER}, status=404),
    Bad("PATCH", "/memory/traces/seven", "trace_id", "a UUID", json={"salience": 1}, params={"user_id": USER}),
]

LISTS = [
    *(
        Bad("GET", path, "limit", says, params={**params, "limit": value})
        for path, params in (("/memory/traces", {"user_id": USER}), ("/memory/users", {}), ("/keys", {}))
        for value, says in (
            ("0", "at least 1, not 0"), ("101", "at most 100, not 101"), ("ten", "a whole number, not 'ten'")
        )
    ),
    *(
        Bad("GET", path, "cursor", "next_cursor", params={**params, "cursor": value})
        for path, params in (("/memory/traces", {"user_id": USER}), ("/memory/users", {}), ("/keys", {}))
        for value in ("7", "", "2026-01-01T00:00:00Z,7", "' OR 1=1", "\x00")
    ),
    Bad("GET", "/memory/users", "cursor", "at most 100 characters", params={"cursor": "x" * 101}),
    Bad("GET", "/memory/traces", "kind", "turn, note", params={"user_id": USER, "kind": "memo"}),
    Bad("GET", "/memory/traces", "conversation_id", "not blank", params={"user_id": USER, "conversation_id": ""}),
    Bad("GET", "/memory/users", "user_id", "is not a field", params={"user_id": USER}),
]  # fmt: skip

NAMED_ONES = [
    Bad("GET", "/memory/traces/seven", "trace_id", "a UUID", params={"user_id": USER}),
    Bad("DELETE", "/memory/traces/seven", "trace_id", "a UUID", params={"user_id": USER}),
    Bad("GET", "/memory/traces/%00", "trace_id", "a UUID", params={"user_id": USER}),
    Bad("GET", "/operations/seven", "operation_id", "a UUID"),
    Bad("DELETE", "/keys/seven", "key_id", "a UUID"),
    Bad("GET", TRACE, None, "no trace", params={"user_id": USER}, status=404),
    Bad("DELETE", TRACE, None, "no trace", params={"user_id": USER}, status=404),
    Bad("GET", f"/operations/{NOBODYS}", None, "no operation", status=404),
    Bad("DELETE", f"/keys/{NOBODYS}", None, "no key", status=404),
]

KEYS = [
    Bad("POST", "/keys", "name", "is required", json={}),
    Bad("POST", "/keys", "name", "at least 1 character", json={"name": ""}),
    Bad("POST", "/keys", "name", "at most 100 characters", json={"name": "x" * 101}),
    Bad("POST", "/keys", "name", "U+0000", json={"name": "\x00"}),
    Bad("POST", "/keys", "name", "text, not 7", json={"name": 7}),
    Bad("POST", "/keys", "scopes", "read, write or admin, not 'root'", json={"name": "k", "scopes": ["root"]}),
    Bad("POST", "/keys", "scopes", "at least 1", json={"name": "k", "scopes": []}),
]

BAD = [*BAD_USERS, *RECALLS, *REMEMBERS, *FORGETS, *PATCHES, *LISTS, *NAMED_ONES, *KEYS]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_a_bad_value(client: httpx.AsyncClient, bad: Bad) -> None:
    content = None if bad.json is None else json.dumps(bad.json).encode()
    answer = await client.request(bad.method, bad.path, params=bad.params, content=content)
    detail = assert_problem(answer, bad.status, bad.field)
    assert bad.says in detail


class TestQueryStrings:
    """What is unknown, or given twice."""

    @by_route(WITH_KEY)
    async def test_unknown(self, client: httpx.AsyncClient, house: House, route: Route) -> None:
        answer = await send(client, route, house, params={**route.params, "colour": "blue"})
        assert "is not a field" in assert_problem(answer, 422, "colour")

    @by_route([route for route in WITH_KEY if route.params])
    async def test_given_twice(self, client: httpx.AsyncClient, house: House, route: Route) -> None:
        name = "q" if "q" in route.params else "user_id"
        query = httpx.QueryParams(route.params).add(name, "another")
        answer = await send(client, route, house, params=query)
        assert "given twice" in assert_problem(answer, 422, name)


class TestPathsAndMethods:
    """What is not there, and what is asked in the wrong way."""

    @pytest.mark.parametrize("path", ["/", "/memory", "/memory/", "/memory/remember/", "/memory/nothing", "/v2/memory/users", "/%00", "/%ff",
                                      "/memory/../keys/", "/.env", "/memory/traces/a/b"])  # fmt: skip
    async def test_an_unknown_path(self, client: httpx.AsyncClient, path: str) -> None:
        for method in ("GET", "POST", "DELETE"):
            assert_problem(await client.request(method, path), 404)

    @by_route(ROUTES)
    @pytest.mark.parametrize("prefix", ["", "/v1"])
    async def test_a_wrong_method(self, client: httpx.AsyncClient, house: House, route: Route, prefix: str) -> None:
        allowed = {other.method for other in ROUTES if other.path == route.path}
        allowed |= {"HEAD"} if "GET" in allowed else set()
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"} - allowed:
            answer = await client.request(method, prefix + route.url(house.ours))
            assert answer.headers["allow"], method
            assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed
            if method != "HEAD":
                assert f", not {method}." in assert_problem(answer, 405)
            assert answer.status_code == 405


READING = ("/memory/recall", "/settings/ai/test")
WRITING = [route for route in WITH_BODY if route.method == "POST" and route.path not in READING]


class TestIdempotencyKeys:
    """Idempotency-Key: of a wrong form, or with another body."""

    @by_route(WRITING)
    @pytest.mark.parametrize("value", [b"", b"x" * 256, b"a\x00b"], ids=["empty", "too long", "NUL"])
    async def test_a_wrong_form(self, client: httpx.AsyncClient, house: House, route: Route, value: bytes) -> None:
        answer = await send(client, route, house, headers={"Idempotency-Key": value})
        assert_problem(answer, 422, "Idempotency-Key")

    @by_route(WRITING)
    async def test_another_body(self, client: httpx.AsyncClient, house: House, route: Route) -> None:
        headers = {"Idempotency-Key": house.ours.idempotency_key}
        detail = assert_problem(await send(client, route, house, headers=headers), 422, "Idempotency-Key")
        assert "another body" in detail

    async def test_a_refused_request_leaves_the_key_free(self, client: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "refused"}
        body = {"user_id": USER, "traces": [{"content": " "}]}
        for _ in range(2):
            answer = await client.post("/memory/remember", json=body, headers=headers)
            assert_problem(answer, 422, "traces")
