"""Connections of callers: how many there may be, and how long each may take to say what it wants.

uvicorn gives a caller who begins a request all the time in the world, and any number of them a connection each.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from os import _exit
from types import FrameType
from typing import Any, Final

import orjson
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors.multiprocess import Multiprocess

from reverie.core.admission import GRACE_IS_OVER
from reverie.core.errors import BadRequest, Busy, HeadersTooLarge, RequestTimeout, ReverieError, UrlTooLong
from reverie.core.http import MOST_HEADER_BYTES, MOST_URL_BYTES

HEAD_SECONDS: Final = 20.0
"""How long a caller may take for the first line and the headers of a request."""

MOST_HEAD_BYTES: Final = MOST_URL_BYTES + 2 * MOST_HEADER_BYTES
"""What is taken in before it is known what is wanted; a little more than what is then refused with a reason."""

FRESH_SECONDS: Final = 1.0
"""How long an idle connection is left alone however many there are: a request may be on its way."""

STALLED_SECONDS: Final = 30.0
"""A caller who takes nothing of an answer for so long is given up."""


LAST_SECONDS: Final = 5
"""What requests that are ended after the grace have to say so."""


class Door:
    """The connections of one process; at most ``most``, and ``grace`` seconds for what runs when it is closed.

    Attributes:
        idle: those that wait for a request and since when, the one that has waited for longest first.
        refused: connections that were refused, or ended to make room for others.
    """

    def __init__(self, most: int, grace: float) -> None:
        self.most = most
        self.idle: dict[Connection, float] = {}
        self.refused = 0
        self._grace = grace
        self._closing = False

    def __call__(self, **arguments: Any) -> "Connection":
        """What uvicorn makes of every connection: it takes this object for its class."""
        return Connection(self, **arguments)

    def make_room(self, now: float) -> bool:
        """Ends the connection that has been idle for longest; whether there was one."""
        self.refused += 1
        oldest = next(iter(self.idle), None)
        if oldest is None or now - self.idle[oldest] < FRESH_SECONDS:
            return False
        oldest.give_way()
        return True

    def close(self, tasks: "set[asyncio.Task[None]]") -> None:
        """Ends requests that outlive the grace; once is enough.

        uvicorn does that too, but does not wait for what they say in the end.
        """
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_later(self._grace, _end, tasks)


class Connection(HttpToolsProtocol):
    """One connection. Without a whole request it is idle, however many bytes of one have come."""

    def __init__(self, door: Door, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._door = door
        self._taken = 0
        """Bytes since it is idle."""

        self._whole = True
        """Whether the body of the last request has come to its end."""

        self._patience: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._door.most and not self._door.make_room(self.loop.time()):
            self._refuse(Busy("There are too many connections; try again shortly."))
            return
        self._rest()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        if self._reader is not None:
            self._reader.cancel()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Ends the connection at once."""
        self._stop()
        self.transport.abort()

    def shutdown(self) -> None:
        super().shutdown()
        self._door.close(self.tasks)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self not in self._door.idle:
            return
        self._taken += len(data)
        self._expect()
        if self._taken > MOST_HEAD_BYTES:
            self._refuse(HeadersTooLarge(f"The first line and the headers take at most {MOST_HEAD_BYTES} bytes."))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words for it
        # A longer URL is more than the parser takes.
        if len(getattr(self, "url", b"")) > MOST_URL_BYTES:
            self._refuse(UrlTooLong(f"A URL takes at most {MOST_URL_BYTES} bytes: send what is long in a body."))
        else:
            self._refuse(BadRequest("This is not a request of HTTP/1.1 that can be read."))

    def on_headers_complete(self) -> None:
        self._stop()
        self._whole = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        if self in self._door.idle:
            # The rest of a request that was answered before it had come.
            self._stop()
            self._rest()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_reader()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._rest()
            if not self._whole:
                self._expect()

    def _rest(self) -> None:
        self._taken = 0
        self._door.idle[self] = self.loop.time()

    def _expect(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._late)

    def _stop(self) -> None:
        self._door.idle.pop(self, None)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _late(self) -> None:
        if self._taken:
            self._refuse(RequestTimeout("The request did not arrive in time: send its headers at once."))
        else:
            self.transport.close()

    def _refuse(self, refusal: ReverieError) -> None:
        """Answers before it is known what is wanted, and ends the connection."""
        self._stop()
        if self.cycle is None or (self.cycle.response_complete and self._whole):
            self.transport.write(_answer(refusal))
        self.transport.close()
        self._watch_reader()

    def _watch_reader(self) -> None:
        """Gives up a caller who does not read, whose answers would stay in memory for ever."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and self._reader is None:
            self._reader = self.loop.call_later(STALLED_SECONDS, self._look_at_reader, unsent)

    def _look_at_reader(self, before: int) -> None:
        self._reader = None
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch_reader()


def _end(tasks: "set[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel(msg=GRACE_IS_OVER)


def _answer(refusal: ReverieError) -> bytes:
    body = orjson.dumps(refusal.problem("/"))
    headers = refusal.headers | {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    status = HTTPStatus(refusal.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server(uvicorn.Server):
    """uvicorn that ends with exit code 0 when it is told to, and at once when it is told again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Without uvicorn's way of raising the signal again after everything was closed."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets requests finish; the second ends the process, as a crash would: nothing is lost."""
        if self.should_exit:
            _exit(128 + sig)
        super().handle_exit(sig, frame)


class Workers(Multiprocess):
    """uvicorn's processes that share a port, told to end as :class:`Server` is."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config, [config.bind_socket()])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._told)

    @property
    def failed(self) -> bool:
        """Whether one of them could not start."""
        return any(process.exitcode == STARTUP_FAILURE for process in self.processes)

    def terminate_all(self) -> None:
        """Lets nobody new in: callers would wait for an answer as long as one of us holds the port."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def _told(self, number: int, _frame: FrameType | None) -> None:
        if self.should_exit.is_set():
            for process in self.processes:
                process.process.kill()
            _exit(128 + number)
        self.signal_queue.append(number)


def allow_connections(most: int) -> None:
    """Raises the limit of open files for so many connections, as far as the system lets this process."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = most + 256
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
