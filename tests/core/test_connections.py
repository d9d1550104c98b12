"""Connections as callers make them, byte by byte."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from tests.waiting import PATIENCE, until

from reverie.core import connections
from reverie.core.connections import Connection, Door, Server

REQUEST = b"GET / HTTP/1.1\r\nHost: reverie.test\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, whatever is still to come; ``/large`` with more than a socket takes."""
    body = b"x" * (64 * 1024 * 1024) if scope["path"] == "/large" else b"here"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Listening:
    """A server on loopback, and callers of it."""

    def __init__(self, server: Server, door: Door) -> None:
        self.server = server
        self.door = door
        self.writers: list[asyncio.StreamWriter] = []

    async def call(self, *data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection over which this was sent."""
        host, port = self.server.servers[0].sockets[0].getsockname()[:2]
        reader, writer = await asyncio.open_connection(host, port)
        self.writers.append(writer)
        writer.write(b"".join(data))
        return reader, writer


@asynccontextmanager
async def listening(most: int) -> AsyncIterator[Listening]:
    door = Door(most, PATIENCE)
    # uvicorn takes a factory of connections for their class.
    kind: Any = door
    config = uvicorn.Config(app, port=0, http=kind, ws="none", lifespan="off", log_config=None)
    server = Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    found = Listening(server, door)
    try:
        yield found
    finally:
        for writer in found.writers:
            writer.close()
        server.should_exit = True
        await asyncio.wait_for(task, PATIENCE)


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode().splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-1])}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def problem(reader: asyncio.StreamReader, status: int) -> str:
    """The sentence of a problem document, after which the connection ends."""
    found, headers, body = await answer(reader)
    assert (found, headers["content-type"], headers["connection"]) == (status, "application/problem+json", "close")
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    document = json.loads(body)
    assert document["status"] == status
    return str(document["detail"])


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends a connection without a word."""
    with suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(1), PATIENCE) == b""
    return True


async def test_who_says_nothing_whole_makes_room_for_who_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FRESH_SECONDS", 0)
    async with listening(most=4) as server:
        drippers = [await server.call(REQUEST[: 3 + n]) for n in range(4)]
        await until(lambda: len(server.door.idle) == 4)
        for _ in range(3):
            reader, _ = await server.call(REQUEST)
            assert (await answer(reader))[0] == 200
        # Those that waited for longest went first; the last is still listened to.
        assert server.door.refused == 3
        for dripper, _ in drippers[:3]:
            assert await ended(dripper)
        await until(lambda: len(server.server.server_state.connections) == 4)
        drippers[3][1].write(REQUEST[6:])
        assert (await answer(drippers[3][0]))[0] == 200


async def test_headers_that_drip_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    async with listening(most=10) as server:
        slow, _ = await server.call(b"GET / HTTP/1.1\r\nX: ")
        silent, _ = await server.call()
        first, again = await server.call(REQUEST)
        assert (await answer(first))[0] == 200
        again.write(b"GET")
        assert "did not arrive in time" in await problem(slow, 408)
        assert "did not arrive in time" in await problem(first, 408)
        assert await ended(silent)


async def test_headers_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_HEAD_BYTES", 4096)
    async with listening(most=10) as server:
        reader, _ = await server.call(b"GET / HTTP/1.1\r\n", b"X: 1\r\n" * 1000)
        assert "4096 bytes" in await problem(reader, 431)
        reader, _ = await server.call(b"\r\n" * 3000)
        assert "4096 bytes" in await problem(reader, 431)


async def test_what_is_no_http_is_refused_in_the_same_shape() -> None:
    async with listening(most=10) as server:
        reader, _ = await server.call(b"\x16\x03\x01 hello\r\n\r\n")
        assert "HTTP/1.1" in await problem(reader, 400)


async def test_the_rest_of_a_request_that_was_answered_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    async with listening(most=10) as server:
        reader, writer = await server.call(b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\nx")
        assert (await answer(reader))[0] == 200
        writer.write(b"x")
        assert await ended(reader)
        reader, writer = await server.call(b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 2\r\n\r\nx")
        assert (await answer(reader))[0] == 200
        writer.write(b"x" + REQUEST)
        assert (await answer(reader))[0] == 200


async def test_who_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.2)
    async with listening(most=10) as server:
        reader, _ = await server.call(REQUEST.replace(b"/ ", b"/large ", 1))
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        await until(lambda: not server.server.server_state.connections)


async def test_who_has_just_come_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FRESH_SECONDS", PATIENCE)
    async with listening(most=1) as server:
        first, writer = await server.call()
        await until(lambda: len(server.door.idle) == 1)
        refused, _ = await server.call(REQUEST)
        assert "too many connections" in await problem(refused, 503)
        writer.write(REQUEST)
        assert (await answer(first))[0] == 200


async def test_when_all_are_at_work_one_more_is_told_to_come_again() -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await app(scope, receive, send)

    async with listening(most=1) as server:
        server.server.config.loaded_app = slow
        reader, _ = await server.call(REQUEST)
        await asyncio.wait_for(begun.wait(), PATIENCE)
        refused, _ = await server.call()
        assert "too many connections" in await problem(refused, 503)
        go_on.set()
        assert (await answer(reader))[0] == 200


async def test_uvicorn_makes_its_connections_at_the_door() -> None:
    door = Door(1, PATIENCE)
    kind: Any = door
    config = uvicorn.Config(app, http=kind, lifespan="off", log_config=None)
    config.load()
    made = config.http_protocol_class(config=config, server_state=Server(config).server_state, app_state={})  # type: ignore[call-arg]
    assert isinstance(made, Connection)
