"""Whatever stands in a field, of whatever type: it is served or refused with a sentence, and never a fault of ours."""

import json
from typing import Any

import httpx
import pytest

from tests.contracts.house import USER, WITH_BODY, WITH_KEY, House, Route, asker, assert_problem, axis

NASTY = [
    "", " ", "\t\r\n", "\x00", "a\x00b", "\x01\x7f\x85", "\ud800", "\udfff\ud800", "\ufeff", "\ufffe\uffff",
    "\u202e\u2066abc", "\u200b", "e\u0301", "\u1e9e\u0130\u0131", "\U0001f469\u200d\U0001f52c", "\U0010ffff",
    "Z\u0351\u036b\u0343" * 20, "\u0644\u0627" * 30, "'", "''", '"', "\\", "\\'", "`", "$$", "$1", "%s", "%b %",
    "%(x)s",
    "{}", "{model}", "{0.__class__}", "--", "/*", ";", "'; DROP TABLE memory_trace; --", "' OR '1'='1",
    "1) OR TRUE --", "'; SET ROLE reverie; --", "'; RESET ROLE; SELECT 1; --", "\\x27", "E'\\x00'",
    "nora' UNION SELECT key FROM api_key --", "NULL", "null", "None", "NaN", "Infinity", "-0", "0", "1e400000",
    "9" * 400, "true", "[]", '{"$gt": 1}', "../../etc/passwd", "http://127.0.0.1/", "<script>alert(1)</script>",
    "a & b | !c <-> d", "& |", ":*", "!", "(", "((((((((", "'a':1A", "a:b:c", "\u2018a\u2019", "x" * 255, "x" * 5000,
    "word " * 4000, "\u00e9" * 256, "2026-02-30", "0000-00-00", "infinity", "epoch", "now", "focus:*", "*",
]  # fmt: skip
"""Blank, forbidden, invisible and confusing text; SQL, jsonpath, tsquery, format strings and patterns of Redis."""

VALUES: dict[str, object] = {
    "null": None, "true": True, "a number": 7, "a fraction": 0.5, "a negative number": -1, "a huge number": 10**400,
    "text": "zebra", "a list": [], "a list of null": [None], "a list of objects": [{}], "an object": {},
    "a nested object": {"a": {"b": [1]}},
}  # fmt: skip
"""Values of every type."""


@pytest.fixture(scope="module")
async def nasty(house: House) -> httpx.AsyncClient:
    """Somebody whose space may become a mess."""
    return await house.api.caller("nasty")


@pytest.fixture
async def trace_id(nasty: httpx.AsyncClient) -> str:
    """A trace that stands when a test begins."""
    body = {"user_id": USER, "traces": [{"content": "Tea.", "embedding": axis(0)}], "force": True}
    answered = (await nasty.post("/memory/remember", json=body)).json()["traces"]
    return str(answered[0]["trace_id"])


def url(route: Route, trace_id: str) -> str:
    return route.at(USER if "{user_id}" in route.path else trace_id)


def assert_served_or_refused(answer: httpx.Response, what: object) -> None:
    assert answer.status_code < 500, f"{what!r}: {answer.text[:500]}"
    if answer.status_code >= 400:
        assert_problem(answer, answer.status_code)


def easy(route: Route) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """(parameters, body) of the good request of a route, with nothing to encode: that has a test of its own."""
    if route.path == "/memory/recall":
        lexical = {"recipe": "lexical"}
        return (route.params, route.json | lexical) if route.json else (route.params | lexical, None)
    if route.path == "/memory/traces/{trace_id}" and route.method == "PATCH":
        return route.params, {"salience": 0.1}
    if route.path == "/memory/remember":
        return route.params, {"user_id": USER, "traces": [{"content": "Tea.", "embedding": axis(0)}], "force": True}
    return route.params, route.json


def parameters(house: House, route: Route) -> list[str]:
    operation = house.api.app.openapi()["paths"][route.path][route.method.lower()]
    return [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]


def properties(house: House, route: Route) -> list[str]:
    """The fields of the body of a route, as its OpenAPI document has them."""
    document = house.api.app.openapi()
    body = document["paths"][route.path][route.method.lower()]["requestBody"]
    return list(document["components"]["schemas"][_model(body)]["properties"])


def _model(body: dict[str, Any]) -> str:
    return str(body["content"]["application/json"]["schema"]["$ref"]).rsplit("/", 1)[-1]


@pytest.mark.parametrize("route", WITH_KEY, ids=lambda route: route.name)
async def test_nasty_text_in_the_query_string(
    house: House, nasty: httpx.AsyncClient, trace_id: str, route: Route
) -> None:
    params, body = easy(route)
    for name in parameters(house, route):
        for text in (text for text in NASTY if (len(text) <= 5000 and text.isascii()) or text.isprintable()):
            given = {**params, name: text}
            answer = await asker(house, nasty, route).request(
                route.method, url(route, trace_id), params=given, json=body
            )
            assert_served_or_refused(answer, text)


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
async def test_nasty_text_in_the_body(house: House, nasty: httpx.AsyncClient, trace_id: str, route: Route) -> None:
    params, body = easy(route)
    for name in properties(house, route):
        for text in NASTY:
            content = json.dumps({**(body or {}), name: text}).encode()
            answer = await asker(house, nasty, route).request(
                route.method, url(route, trace_id), params=params, content=content
            )
            assert_served_or_refused(answer, text)


@pytest.mark.parametrize("route", [route for route in WITH_KEY if "{" in route.path], ids=lambda route: route.name)
async def test_nasty_text_in_the_path(nasty: httpx.AsyncClient, route: Route) -> None:
    for text in NASTY:
        if text.isascii() and len(text) <= 255:
            path = httpx.URL(route.at("~")).path.replace("~", _quoted(text))
            answer = await nasty.request(route.method, path, params=route.params, json=route.json)
            # There may be a user of that name.
            least = 200 if route.path.endswith(("/export", "/profile", "/users/{user_id}")) else 400
            assert least <= answer.status_code < 500, f"{text!r}: {answer.text[:500]}"


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode()) or "%20"


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
@pytest.mark.parametrize("kind", VALUES)
async def test_every_type_in_every_field(
    house: House, nasty: httpx.AsyncClient, trace_id: str, route: Route, kind: str
) -> None:
    params, body = easy(route)
    for name in properties(house, route):
        content = json.dumps({**(body or {}), name: VALUES[kind]}).encode()
        answer = await asker(house, nasty, route).request(
            route.method, url(route, trace_id), params=params, content=content
        )
        assert_served_or_refused(answer, name)
        if answer.status_code == 422:
            assert answer.json()["field"].split(".")[0] == name or name in answer.json()["detail"], answer.text


TRACE_FIELDS = ["content", "kind", "role", "speaker", "conversation_id", "external_id", "occurred_at", "language"]


@pytest.mark.parametrize("name", TRACE_FIELDS)
async def test_nasty_text_in_a_trace_is_rejected_or_comes_back_as_it_was(nasty: httpx.AsyncClient, name: str) -> None:
    user = f"nasty {name}"
    traces = [{"content": f"{name} {n}", "embedding": axis(n), name: text} for n, text in enumerate(NASTY)]
    body = json.dumps({"user_id": user, "traces": [{"content": "plain"}, *traces]}).encode()
    answer = await nasty.post("/memory/remember", content=body)
    assert answer.status_code == 201, answer.text
    answered = answer.json()["traces"][1:]
    for text, one in zip(NASTY, answered, strict=True):
        if one["status"] == "rejected":
            assert one["error"].startswith(name), one
            assert one["error"].endswith("."), one
            continue
        read = await nasty.get(f"/memory/traces/{one['trace_id']}", params={"user_id": user})
        if name not in ("occurred_at", "language"):
            assert read.json()[name] == (text or None), text


@pytest.mark.parametrize("name", ["meta", "source"])
async def test_nasty_text_in_meta_is_rejected_or_comes_back_as_it_was(nasty: httpx.AsyncClient, name: str) -> None:
    user = f"nasty {name}"
    objects = [{text: [text, {text: text}]} for text in NASTY]
    traces = [{"content": f"{n}", "embedding": axis(n), name: value} for n, value in enumerate(objects)]
    answer = await nasty.post("/memory/remember", content=json.dumps({"user_id": user, "traces": traces}).encode())
    assert answer.status_code == 201, answer.text
    for value, one in zip(objects, answer.json()["traces"], strict=True):
        if one["status"] == "rejected":
            assert not next(iter(value)).isprintable()
            continue
        read = await nasty.get(f"/memory/traces/{one['trace_id']}", params={"user_id": user})
        assert read.json()[name] == value


async def test_nasty_contents_are_encoded_and_found(nasty: httpx.AsyncClient) -> None:
    texts = [text for text in NASTY if len(text) < 300]
    body = json.dumps({"user_id": "encoded", "traces": [{"content": text} for text in texts]}).encode()
    answer = await nasty.post("/memory/remember", content=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["degraded"] == []
    assert {one["vectors"] for one in answer.json()["traces"] if one["status"] == "stored"} == {"stored"}
    answer = await nasty.get("/memory/recall", params={"user_id": "encoded", "q": "'; DROP TABLE memory_trace; --"})
    assert answer.json()["results"][0]["content"] == "'; DROP TABLE memory_trace; --"
    assert answer.json()["degraded"] == []


async def test_nasty_questions_fail_no_arm(nasty: httpx.AsyncClient) -> None:
    for text in NASTY:
        body = json.dumps({"user_id": "encoded", "q": text}).encode()
        answer = await nasty.post("/memory/recall", content=body)
        assert answer.status_code in (200, 422)
        if answer.status_code == 200:
            assert answer.json()["degraded"] == [], text


async def test_nasty_filters_fail_nothing(nasty: httpx.AsyncClient) -> None:
    for text in NASTY:
        for given in ({f"meta.{text}": 1}, {"meta.a": text}, {"meta.a": {"$in": [text]}}, {"meta.a": {text: 1}}):
            question = {"user_id": "nasty meta", "q": "tea", "filter": given, "recipe": "lexical"}
            body = json.dumps(question).encode()
            answer = await nasty.post("/memory/recall", content=body)
            assert_served_or_refused(answer, given)
            assert answer.status_code in (200, 422)


NUMBERS = [
    "0", "-0", "-0.0", "1", "-1", "0.5", "1.0", "37.0", "1e2", "1e-320", "5e-324", "1e-40", "1e308", "-1e308",
    "1.7976931348623157e308", "2147483648", "-2147483649", "9007199254740993", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775809",
    "123456789012345678901234567890", "1" + "0" * 400, "0." + "3" * 400,
]  # fmt: skip
"""Numbers as JSON writes them, at and beyond the bounds of every type."""

NESTED: list[tuple[str, str, str]] = [
    ("POST", "/memory/forget", '{"user_id": "nora", "dry_run": true, "scope": {"trace_id": @}}'),
    ("POST", "/memory/forget", '{"user_id": "nora", "dry_run": true, "scope": {"trace_ids": [@]}}'),
    ("POST", "/memory/forget", '{"user_id": "nora", "dry_run": true, "scope": {"all": @}}'),
    ("POST", "/memory/forget", '{"user_id": "nora", "dry_run": true, "scope": {@: true}}'),
    ("POST", "/memory/remember", '{"user_id": "nested", "messages": [{"role": @, "content": "Tea."}]}'),
    ("POST", "/memory/remember", '{"user_id": "nested", "messages": [{"role": "tool", "content": @}]}'),
    ("POST", "/memory/remember", '{"user_id": "nested", "messages": [{"role": "tool", "content": "Tea.", "name": @}]}'),
    (
        "POST",
        "/memory/remember",
        '{"user_id": "nested", "messages": [{"role": "tool", "content": [{"type": "text", "text": @}, @]}]}',
    ),
    ("POST", "/memory/remember", '{"user_id": "nested", "traces": [@]}'),
    ("POST", "/memory/remember", '{"user_id": "nested", "traces": [{"content": "Tea.", "salience": @}]}'),
    ("POST", "/memory/remember", '{"user_id": "nested", "traces": [{"content": "Tea.", "embedding": [@]}]}'),
    ("POST", "/memory/remember", '{"user_id": "nested", "traces": [{"content": "Tea.", "meta": {"a": [[@]]}}]}'),
    ("POST", "/memory/remember", '{"user_id": "nested", "traces": [{"content": "Tea.", "source": {"a": {"b": @}}}]}'),
    ("POST", "/memory/recall", '{"user_id": [@], "q": "tea", "recipe": "lexical"}'),
    ("POST", "/memory/recall", '{"user_id": "nested", "q": "tea", "recipe": "lexical", "kinds": [@]}'),
    ("POST", "/memory/recall", '{"user_id": "nested", "q": "tea", "recipe": "lexical", "heads": [@, @]}'),
    ("POST", "/memory/recall", '{"user_id": "nested", "q": "tea", "recipe": "lexical", "roles": [@]}'),
    ("POST", "/memory/recall", '{"user_id": "nested", "q": "tea", "recipe": "lexical", "tiers": [@]}'),
    ("POST", "/memory/recall", '{"user_id": "nested", "q": "tea", "recipe": "lexical", "embedding": [@]}'),
    ("POST", "/memory/recall", '{"user_id": "u", "q": "tea", "recipe": "lexical", "filter": {"meta.a": {"$lt": @}}}'),
    ("POST", "/memory/recall", '{"user_id": "u", "q": "tea", "recipe": "lexical", "filter": {"meta.a": {"$in": [@]}}}'),
    ("POST", "/keys", '{"name": "nested", "scopes": [@]}'),
    ("PATCH", "/memory/traces/{trace_id}", '{"salience": 0.1, "meta": {"a": @}}'),
]  # fmt: skip
"""Requests with a place for a value (``@``) within another."""


@pytest.mark.parametrize(("method", "path", "body"), NESTED, ids=[body for _, _, body in NESTED])
async def test_nasty_values_within_others(
    nasty: httpx.AsyncClient, trace_id: str, method: str, path: str, body: str, long: bool
) -> None:
    texts = NASTY if long else NASTY[::4]
    where = path.format(trace_id=trace_id)
    params = {"user_id": USER} if method == "PATCH" else {}
    for number, value in enumerate([*map(json.dumps, texts), *NUMBERS, *map(json.dumps, VALUES.values())]):
        if body.partition("@")[2].startswith(":") and not value.startswith('"'):
            continue
        # A text that is known already is not written.
        content = body.replace("Tea.", f"Tea {number}.").replace("@", value).encode()
        answer = await nasty.request(method, where, params=params, content=content)
        assert_served_or_refused(answer, value)


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
async def test_nasty_numbers_in_the_body(house: House, nasty: httpx.AsyncClient, trace_id: str, route: Route) -> None:
    params, body = easy(route)
    for name in properties(house, route):
        whole = json.dumps({**(body or {}), name: "@"})
        for number in NUMBERS:
            content = whole.replace('"@"', number).encode()
            answer = await asker(house, nasty, route).request(
                route.method, url(route, trace_id), params=params, content=content
            )
            assert_served_or_refused(answer, number)


@pytest.mark.parametrize("route", WITH_KEY, ids=lambda route: route.name)
async def test_nasty_numbers_in_the_query_string(
    house: House, nasty: httpx.AsyncClient, trace_id: str, route: Route
) -> None:
    params, body = easy(route)
    for name in parameters(house, route):
        for number in NUMBERS:
            given = {**params, name: number}
            answer = await asker(house, nasty, route).request(
                route.method, url(route, trace_id), params=given, json=body
            )
            assert_served_or_refused(answer, number)
