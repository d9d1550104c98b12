"""A stand-in for a Neo4j server: Bolt 5.4 (https://neo4j.com/docs/bolt/current/) over a socket, for the real driver.

The handshake, the chunks and the messages are those of the protocol; PackStream is the driver's own. What it is asked
in Cypher is run by Kuzu, another database with that language, whose tables have to be made beforehand. Three things
are put into Kuzu's own words: indexes, of which it needs none, a part of a list, and an order without a limit.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import kuzu
from neo4j._codec.packstream import Structure
from neo4j._codec.packstream import _common as buffers
from neo4j._codec.packstream import v1 as packstream

MAGIC = b"\x60\x60\xb0\x17"
VERSION = (5, 4)
HELLO, GOODBYE, RESET, RUN, BEGIN, COMMIT, ROLLBACK, DISCARD, PULL = (
    0x01, 0x02, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x2F, 0x3F
)  # fmt: skip
TELEMETRY, ROUTE, LOGON, LOGOFF = 0x54, 0x66, 0x6A, 0x6B
SUCCESS, RECORD, IGNORED, FAILURE = b"\x70", b"\x71", b"\x7e", b"\x7f"

TABLES = (
    "CREATE NODE TABLE ReverieTrace (key STRING PRIMARY KEY, user STRING, id STRING, kind STRING, name STRING,"
    " happened_at STRING)",
    "CREATE NODE TABLE ReverieUser (key STRING PRIMARY KEY, space STRING, version INT64)",
    "CREATE NODE TABLE ReveriePage (key STRING PRIMARY KEY, user STRING, lower STRING, sum STRING)",
    "CREATE REL TABLE EDGE (FROM ReverieTrace TO ReverieTrace, type STRING, weight DOUBLE)",
)
IN_ITS_OWN_WORDS = (
    ("links[0..$most]", "list_slice(links, 1, $most)"),
    ("ORDER BY e.weight DESC, m.id DESC\n", "ORDER BY e.weight DESC, m.id DESC SKIP 0\n"),
)


# The driver's own, which has no types there.
_READ: Any = buffers.UnpackableBuffer
_WRITTEN: Any = buffers.PackableBuffer
_PACKER: Any = packstream.Packer
_UNPACKER: Any = packstream.Unpacker


@dataclass
class Standin:
    """The server: what it was asked, and how it shall fail."""

    password: str = "a secret of Neo4j"
    port: int = 0
    asked: list[str] = field(default_factory=list)
    silent: bool = False
    """Takes questions and never answers."""
    refuses: bool = False
    breaks_after: int | None = None
    """After so many questions every connection breaks."""
    database: kuzu.Database = field(default_factory=kuzu.Database)

    def __post_init__(self) -> None:
        connection = kuzu.Connection(self.database)
        for statement in TABLES:
            connection.execute(statement)
        connection.close()

    @property
    def url(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def rows(self, cypher: str, **parameters: Any) -> list[list[Any]]:
        """What the database holds."""
        connection = kuzu.Connection(self.database)
        try:
            return _answer(connection, cypher, parameters)[1]
        finally:
            connection.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Standin"]:
        """Serves until the block ends."""
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await _Talk(self, reader, writer).go()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            tasks.discard(task)

        server = await asyncio.start_server(serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()


class _Talk:
    """One connection."""

    def __init__(self, standin: Standin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.standin = standin
        self.reader = reader
        self.writer = writer
        self.connection = kuzu.Connection(standin.database)
        self.failed = False
        self.open = False
        self.result: tuple[list[str], list[list[Any]]] = ([], [])

    async def go(self) -> None:
        try:
            assert await self.reader.readexactly(4) == MAGIC
            offers = await self.reader.readexactly(16)
            assert any(_offers(offers[place : place + 4]) for place in range(0, 16, 4)), offers
            self.writer.write(bytes((0, 0, VERSION[1], VERSION[0])))
            while True:
                message = await self.read()
                tag, fields = message.tag[0], message.fields
                if tag == GOODBYE:
                    return
                self.handle(tag, list(fields))
                await self.writer.drain()
        finally:
            self.connection.close()

    def handle(self, tag: int, fields: list[Any]) -> None:
        if tag == RESET:
            self.failed = False
            self.end("ROLLBACK")
            self.say(SUCCESS, {})
        elif self.failed:
            self.say(IGNORED)
        elif tag == HELLO:
            self.say(SUCCESS, {"server": "Neo4j/5.26.0", "connection_id": "bolt-1", "hints": {}})
        elif tag == LOGON:
            if fields[0].get("credentials") == self.standin.password:
                self.say(SUCCESS, {})
            else:
                self.fail("Neo.ClientError.Security.Unauthorized", "The client is unauthorized.")
        elif tag == RUN:
            self.run(fields[0], fields[1])
        elif tag == PULL:
            for row in self.result[1]:
                self.say(RECORD, row)
            self.say(SUCCESS, {"type": "rw", "db": "neo4j"} | ({} if self.open else {"bookmark": "b"}))
        elif tag == BEGIN:
            self.connection.execute("BEGIN TRANSACTION")
            self.open = True
            self.say(SUCCESS, {})
        elif tag in (COMMIT, ROLLBACK):
            self.end("COMMIT" if tag == COMMIT else "ROLLBACK")
            self.say(SUCCESS, {"bookmark": "b"})
        elif tag in (DISCARD, TELEMETRY, LOGOFF):
            self.say(SUCCESS, {})
        else:
            self.fail("Neo.ClientError.Request.Invalid", f"What is 0x{tag:02x}?")

    def run(self, cypher: str, parameters: dict[str, Any]) -> None:
        self.standin.asked.append(cypher)
        if self.standin.breaks_after is not None and len(self.standin.asked) > self.standin.breaks_after:
            raise ConnectionResetError
        if self.standin.silent:
            return
        if self.standin.refuses:
            self.fail("Neo.ClientError.Statement.SyntaxError", "What is this?")
            return
        try:
            self.result = _answer(self.connection, cypher, parameters)
        except RuntimeError as error:
            self.fail("Neo.ClientError.Statement.SyntaxError", str(error))
            return
        self.say(SUCCESS, {"fields": self.result[0], "t_first": 0})

    def end(self, how: str) -> None:
        if self.open:
            # What failed has ended it already.
            with suppress(RuntimeError):
                self.connection.execute(how)
        self.open = False

    def fail(self, code: str, message: str) -> None:
        self.failed = True
        self.say(FAILURE, {"code": code, "message": message})

    async def read(self) -> Structure:
        """The next message: chunks of a length each, until one is empty."""
        data = bytearray()
        while True:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            if size == 0 and data:
                break
            data += await self.reader.readexactly(size)
        unpacker = _UNPACKER(_READ(data))
        count, tag = unpacker.unpack_structure_header()
        return Structure(tag, *(unpacker.unpack() for _ in range(count)))

    def say(self, tag: bytes, *fields: Any) -> None:
        buffer = _WRITTEN()
        _PACKER(buffer).pack_struct(tag, fields)
        data = bytes(buffer.data)
        for start in range(0, len(data), 0xFFFF):
            part = data[start : start + 0xFFFF]
            self.writer.write(len(part).to_bytes(2, "big") + part)
        self.writer.write(b"\x00\x00")


def _offers(four: bytes) -> bool:
    """Whether a proposal of the handshake, a version with a range of minor ones, holds ours."""
    _, span, minor, major = four
    return major == VERSION[0] and minor - span <= VERSION[1] <= minor


def _answer(connection: kuzu.Connection, cypher: str, parameters: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """What Kuzu says to a question: names and rows."""
    text = "\n".join(line for line in cypher.splitlines() if not line.startswith("//"))
    if text.startswith(("CREATE CONSTRAINT", "CREATE INDEX")):
        return [], []
    for theirs, its in IN_ITS_OWN_WORDS:
        text = text.replace(theirs, its)
    # It refuses parameters that are not asked for, and lists of nothing.
    asked = set(re.findall(r"\$(\w+)", text))
    used = {name: [""] if value == [] else value for name, value in parameters.items() if name in asked}
    result = connection.execute(text, used)
    assert isinstance(result, kuzu.QueryResult)
    rows = []
    while result.has_next():
        rows.append(list(result.get_next()))
    names = list(result.get_column_names()) if rows else []
    result.close()
    return names, rows
