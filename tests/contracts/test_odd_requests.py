"""Requests that are odd as HTTP: encodings, sizes, methods, paths, and bytes that are no request at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from reverie.core.http import MOST_HEADER_BYTES, MOST_PARAMETERS
from tests.contracts.documented import PROBLEM
from tests.contracts.house import ROUTES, WITH_BODY, WITH_KEY, House, Route, asker, assert_problem, axis
from tests.contracts.listening import listening
from tests.waiting import PATIENCE

NOTE = {"user_id": "odd", "traces": [{"content": "Tea.", "embedding": axis(0)}], "force": True}


@pytest.fixture(scope="module")
async def odd(house: House) -> httpx.AsyncClient:
    """Somebody whose space may become a mess."""
    return await house.api.caller("odd")


async def send(client: httpx.AsyncClient, route: Route, house: House, **given: Any) -> httpx.Response:
    """The good request of a route, of somebody who owns nothing of what it names."""
    body = {} if "content" in given or route.json is None else {"json": route.json}
    asking = asker(house, client, route)
    return await asking.request(route.method, route.url(house.theirs), **{"params": route.params, **body, **given})


def by_route(routes: list[Route]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=lambda route: route.name)


class TestBodies:
    """What is said of a body, and what it is."""

    @pytest.mark.parametrize(
        "content_type",
        ["application/json", "application/json; charset=latin-1", "text/plain", "application/x-www-form-urlencoded",
         "multipart/form-data", "multipart/form-data; boundary=x", "application/xml", "", "\u00ff", "a/b/c"],
    )  # fmt: skip
    async def test_json_is_read_whatever_content_type_says(self, odd: httpx.AsyncClient, content_type: str) -> None:
        headers = {b"Content-Type": content_type.encode("latin-1")}
        answer = await odd.post("/memory/remember", content=json.dumps(NOTE), headers=headers)
        assert answer.status_code == 201, answer.text

    @pytest.mark.parametrize(
        "content",
        [b"user_id=odd&q=tea", b"--x\r\nContent-Disposition: form-data; name=q\r\n\r\ntea\r\n--x--\r\n", b"<q>tea</q>"],
        ids=["form", "multipart", "XML"],
    )
    async def test_what_is_no_json_is_refused(self, odd: httpx.AsyncClient, content: bytes) -> None:
        assert "takes JSON" in assert_problem(await odd.post("/memory/recall", content=content), 400)

    @by_route(WITH_BODY)
    @pytest.mark.parametrize("coding", ["gzip", "br", "gzip, gzip", "identity, gzip", "x" * 5000, "\u00ff"])
    async def test_an_encoded_body(self, odd: httpx.AsyncClient, house: House, route: Route, coding: str) -> None:
        headers = {"Content-Encoding": coding.encode("latin-1")}
        answer = await send(odd, route, house, content=b"\x1f\x8b\x08", headers=headers)
        assert "without Content-Encoding" in assert_problem(answer, 415)
        assert answer.headers["accept-encoding"] == "identity"

    async def test_identity_is_no_encoding(self, odd: httpx.AsyncClient) -> None:
        answer = await odd.post("/memory/remember", json=NOTE, headers={"Content-Encoding": "Identity"})
        assert answer.status_code == 201

    async def test_a_byte_order_mark(self, odd: httpx.AsyncClient) -> None:
        answer = await odd.post("/memory/remember", content=b"\xef\xbb\xbf" + json.dumps(NOTE).encode())
        assert "takes JSON" in assert_problem(answer, 400)

    async def test_of_a_key_that_stands_twice_the_last_counts(self, odd: httpx.AsyncClient) -> None:
        answer = await odd.post("/memory/recall", content=b'{"user_id": "odd", "q": "a", "q": "b", "k": 0, "k": 3}')
        assert answer.status_code == 200
        assert (answer.json()["query"], answer.json()["k"]) == ("b", 3)

    @pytest.mark.parametrize("written", ["3.0", "3e0", "0.3e1"])
    async def test_a_whole_number_may_be_written_with_a_point(self, odd: httpx.AsyncClient, written: str) -> None:
        answer = await odd.post("/memory/recall", content=f'{{"user_id": "odd", "q": "a", "k": {written}}}')
        assert answer.json()["k"] == 3

    @by_route(WITH_BODY)
    @pytest.mark.parametrize("number", ["1e308", "-1e308", "1e-320", "-0.0", "0.1e1", "123456789012345678901234567890"])
    async def test_numbers_of_every_size(self, odd: httpx.AsyncClient, house: House, route: Route, number: str) -> None:
        for name in [*(route.json or {}), "k", "min_score", "salience", "embedding"]:
            content = json.dumps({**(route.json or {}), name: "@"}).replace('"@"', number).encode()
            answer = await send(odd, route, house, content=content)
            assert answer.status_code in (200, 201, 404, 422, *route.also), f"{name}: {answer.text}"

    @by_route([route for route in WITH_KEY if route.json is None])
    async def test_a_body_where_none_is_taken_is_passed_over(
        self, odd: httpx.AsyncClient, house: House, route: Route
    ) -> None:
        answer = await send(odd, route, house, content=b"\x00" * 100_000)
        assert answer.status_code in (200, 204, 404), answer.text

    @by_route(WITH_KEY)
    @pytest.mark.parametrize("length", ["-1", "1e3", "9" * 5000, "\u00b2", " 7"])
    async def test_a_length_that_is_none(self, odd: httpx.AsyncClient, house: House, route: Route, length: str) -> None:
        headers = {"Content-Length": length.encode("latin-1")}
        answer = await send(odd, route, house, content=b"", headers=headers)
        assert answer.status_code < 500, answer.text


class TestUrls:
    """Paths and query strings."""

    @by_route(ROUTES)
    async def test_too_many_parameters(self, odd: httpx.AsyncClient, house: House, route: Route) -> None:
        url = f"{route.url(house.theirs)}?{'&' * MOST_PARAMETERS}"
        answer = await odd.request(route.method, url, json=route.json)
        assert f"at most {MOST_PARAMETERS} parameters" in assert_problem(answer, 414)

    async def test_as_many_parameters_as_there_may_be(self, odd: httpx.AsyncClient) -> None:
        assert_problem(await odd.get("/memory/recall?" + "&" * (MOST_PARAMETERS - 1)), 422, "user_id")

    @pytest.mark.parametrize("what", ["%ff", "%c0%80", "%ed%a0%80", "%00", "%", "%zz", "%u0041", "+", ";", "&&==", "=x",
                                      "\u2603"])  # fmt: skip
    async def test_a_query_string_that_is_hardly_one(self, odd: httpx.AsyncClient, what: str) -> None:
        for path in ("/memory/recall", "/memory/traces", "/memory/users", "/keys"):
            for query in (what, f"user_id={what}&q=tea", f"user_id=odd&q={what}", f"cursor={what}", f"{what}=1"):
                answer = await odd.get(f"{path}?{query}")
                assert answer.status_code in (200, 422), f"{query}: {answer.text}"

    @pytest.mark.parametrize(
        "path",
        ["//memory/users", "/memory//users", "/memory/users/", "/memory/users//", "/memory/users;a=b",
         "/memory/users%2F", "/%6demory/nothing", "/memory/traces/", "/v1", "/v1/v1/keys", "/V1/keys",
         "/MEMORY/users", "/memory/traces/%ff%fe", "/memory/traces/%ed%a0%80", "/" + "x" * 30_000, "/\u2603",
         "/%0d%0aX-Odd: 1", "/openapi.json/", "/memory/traces/..%2f..%2fkeys"],
    )  # fmt: skip
    async def test_a_path_that_is_hardly_one(self, odd: httpx.AsyncClient, path: str) -> None:
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
            answer = await odd.request(method, f"http://reverie.test{path}")
            assert answer.status_code in (404, 405, 422), f"{method} {path[:50]}: {answer.status_code}"
            assert "x-odd" not in answer.headers
            if method != "HEAD":
                assert len(answer.json()["detail"]) < 400
                assert len(answer.json()["instance"]) < 400


class TestHeaders:
    """Headers of every size and kind."""

    @by_route(ROUTES)
    async def test_headers_that_are_too_large(self, odd: httpx.AsyncClient, house: House, route: Route) -> None:
        answer = await send(odd, route, house, headers={"X-Odd": "x" * MOST_HEADER_BYTES})
        assert f"at most {MOST_HEADER_BYTES} bytes" in assert_problem(answer, 431)
        many = [(f"X-{n}", "x" * 100) for n in range(MOST_HEADER_BYTES // 100)]
        assert_problem(await send(odd, route, house, headers=many), 431)

    @by_route(ROUTES)
    @pytest.mark.parametrize("host", ["", "[::1", "[", "a b", "\u00ff", "x" * 5000, "reverie.test:port", "//", "@:"])
    async def test_a_host_that_is_hardly_one(
        self, odd: httpx.AsyncClient, house: House, route: Route, host: str
    ) -> None:
        for headers in ({}, {b"Idempotency-Key": f"{route.name} {ascii(host)[:50]}".encode()}):
            given = {b"Host": host.encode("latin-1"), **headers}
            answer = await send(odd, route, house, headers=given)
            assert answer.status_code in (200, 201, 202, 204, 404, *route.also), answer.text
            assert_problem(await odd.request("BREW", route.url(house.theirs), headers=given), 405)

    @by_route(WITH_KEY)
    @pytest.mark.parametrize("value", [b"\xff\xfe", b"\xc3\xa9", b"", b"x" * 256])
    async def test_an_idempotency_key_that_is_none(
        self, odd: httpx.AsyncClient, house: House, route: Route, value: bytes
    ) -> None:
        answer = await send(odd, route, house, headers={"Idempotency-Key": value})
        documented = house.api.app.openapi()["paths"][route.path][route.method.lower()].get("parameters", [])
        if any(one["name"] == "Idempotency-Key" for one in documented):
            assert_problem(answer, 422, "Idempotency-Key")
        else:
            assert answer.status_code in (200, 204, 404, *route.also)

    @by_route(ROUTES)
    async def test_a_wish_for_another_protocol(self, odd: httpx.AsyncClient, house: House, route: Route) -> None:
        wishes = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Accept": "text/html", "Accept-Encoding": "br;q=0",
                  "Range": "bytes=0-1", "If-Match": "x", "Expect": "100-continue", "TE": "trailers"}  # fmt: skip
        answer = await send(odd, route, house, headers=wishes)
        assert answer.status_code in (200, 201, 202, 204, 404, *route.also), answer.text


class TestHead:
    """HEAD is GET without the body."""

    @by_route([route for route in ROUTES if route.method == "GET"])
    async def test_head(self, house: House, route: Route) -> None:
        for client in (house.ours.client, house.api.client()):
            got = await client.get(route.url(house.ours), params=route.params)
            head = await client.head(route.url(house.ours), params=route.params)
            assert head.status_code == got.status_code
            assert head.content == b""
            assert head.headers["content-type"] == got.headers["content-type"]


RAW: dict[str, tuple[bytes, int]] = {
    "no request": (b"tea\r\n\r\n", 400),
    "bytes": (bytes(range(256)) * 4, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "an unknown version": (b"GET / HTTP/7.7\r\nHost: a\r\n\r\n", 400),
    "U+0000 in a header": (b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Odd: a\x00b\r\n\r\n", 400),
    "U+0000 in the path": (b"GET /health/\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a bare line feed in a header": (b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Odd: a\nb\r\n\r\n", 400),
    "two lengths": (b"GET /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a length and chunks": (
        b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400
    ),
    "a negative length": (b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    "CONNECT": (b"CONNECT reverie:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a whole URL": (b"GET http://elsewhere/health/live HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "no host": (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
    "a websocket": (
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", 200
    ),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a long URL": (b"GET /keys?q=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "a long path": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "a long header": (b"GET /keys HTTP/1.1\r\nHost: a\r\nX-Odd: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    "a header without end": (b"GET /keys HTTP/1.1\r\nHost: a\r\nX-Odd: " + b"x" * 400_000, 431),
}  # fmt: skip


@pytest.fixture(scope="module")
async def port(house: House) -> AsyncIterator[int]:
    """Where the house listens, as ``reverie api`` would."""
    async with listening(house.api.app) as number:
        yield number


class TestBytes:
    """Bytes as they come over the wire, to the server that ``reverie api`` runs."""

    @pytest.mark.parametrize("what", RAW)
    async def test_an_answer_comes_and_is_a_document(self, port: int, what: str) -> None:
        sent, status = RAW[what]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = httpx.Headers(dict(line.split(": ", 1) for line in lines[1:] if line))
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
        writer.close()
        assert int(lines[0].split()[1]) == status, head + json.dumps(body).encode()
        if status >= 400:
            assert headers["content-type"] == PROBLEM
            assert body["status"] == status
            assert body["detail"].endswith(".")

    async def test_a_body_that_cannot_be_read_ends_its_connection_alone(self, house: House, port: int) -> None:
        head = f"POST /keys HTTP/1.1\r\nHost: a\r\nX-API-Key: {house.ours.key}\r\nTransfer-Encoding: chunked\r\n\r\n"
        for rest in (b"zz\r\n", b"5\r\nabc", b"ffffffffffffffffff\r\n", b"1\r\nab\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode() + rest)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE):
                assert not (await reader.read()).startswith(b"HTTP/1.1 5")
            writer.close()
            assert (await house.ours.client.get("/keys")).status_code == 200
