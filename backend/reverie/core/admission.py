"""How much is taken in at once: so many requests in work, so many that wait, so many bytes of bodies.

Beyond that a caller is told at once, and comes again: what cannot be served soon is not left to wait without end.
Recall, writes and everything else have lanes of their own, so that a bulk load does not stand before a question.
"""

import asyncio
import hashlib
import os
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from reverie.core.config import Settings
from reverie.core.errors import Busy, RequestTimeout, ReverieError, TooManyRequests
from reverie.core.http import CLIENT_CLOSED_REQUEST, ProblemJson, presented_key, shown_path

OPEN: Final = ("/health", "/metrics", "/docs", "/openapi.json")
"""Paths that are answered whatever else is waiting: those who watch the service ask them."""

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

EXPORTS: Final = 2
"""Exports at once: each lasts as long as its reader takes, and must keep out no other request."""

SLOWEST: Final = 16 * 1024
"""Bytes a second: for each second's worth that came, the rest of a body may take a second longer."""

SMALL: Final = 64 * 1024
RESERVED: Final = 8
"""A body of so many bytes may use all the room there is, a larger one leaves an eighth: waiting writes keep out no
question."""

GRACE_IS_OVER: Final = "the grace of a process that ends is over"
"""The message with which a request is cancelled that shall still be answered."""

_NOBODY = b""


class Lane:
    """Requests of one sort: ``most`` in work, ``most_waiting`` that wait, each for at most ``seconds``.

    Callers who wait take turns, one request each. Where all places to wait are taken, the caller who has the most of
    them gives one up to another.

    Attributes:
        working: requests in work.
        waiting: requests that wait.
        refused: how many were refused, by status.
    """

    def __init__(self, name: str, most: int, most_waiting: int, seconds: float) -> None:
        self.name = name
        self.working = 0
        self.waiting = 0
        self.refused: Counter[int] = Counter()
        self._most = most
        self._most_waiting = most_waiting
        self._seconds = seconds
        self._queues: OrderedDict[bytes, deque[asyncio.Future[None]]] = OrderedDict()

    def step_in(self) -> bool:
        """Takes a place in work if one is free; whoever has one calls :meth:`leave` when done."""
        if self.working >= self._most:
            return False
        self.working += 1
        return True

    async def wait(self, caller: bytes) -> None:
        """Takes a place in work when it is ``caller``'s turn.

        Raises:
            Busy: no place to wait is left, or the wait was too long.
            TooManyRequests: the same, where others wait beside the many of this caller.
        """
        if self.waiting >= self._most_waiting:
            self._make_room(caller)
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(caller, deque()).append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await turn
        except TimeoutError:
            self._give_up(caller, turn)
            raise self._refusal(Busy(_BUSY)) from None
        except BaseException:
            self._give_up(caller, turn)
            raise

    def leave(self) -> None:
        """Passes a place in work on to the next who waits."""
        while self._queues:
            caller, queue = next(iter(self._queues.items()))
            turn = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues.move_to_end(caller)
            else:
                del self._queues[caller]
            if not turn.done():
                turn.set_result(None)
                return
        self.working -= 1

    def _make_room(self, caller: bytes) -> None:
        if not self._queues:
            raise self._refusal(Busy(_BUSY))
        heaviest = max(self._queues, key=lambda one: len(self._queues[one]))
        if len(self._queues[heaviest]) <= len(self._queues.get(caller, ())) + 1:
            greedy = heaviest == caller and len(self._queues) > 1
            raise self._refusal(TooManyRequests(_MANY) if greedy else Busy(_BUSY))
        turn = self._queues[heaviest].pop()
        self.waiting -= 1
        if not turn.done():
            turn.set_exception(self._refusal(TooManyRequests(_MANY)))

    def _give_up(self, caller: bytes, turn: "asyncio.Future[None]") -> None:
        """Whoever waited does so no more: it was refused, its caller has gone, or it took too long."""
        queue = self._queues.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self.waiting -= 1
            if not queue:
                del self._queues[caller]
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            # The place was given in the same moment.
            self.leave()

    def _refusal(self, error: ReverieError) -> ReverieError:
        self.refused[error.status] += 1
        return error


_BUSY = "More requests wait than can be served soon; try again shortly."
_MANY = "Too many requests of this key wait already; send fewer at once."


class Gate:
    """What one process lets in.

    Attributes:
        lanes: by name: ``recall``, ``write``, ``export``, ``other``.
        held: bytes of bodies in memory.
        refused: requests refused for their body, by status: too slow (408), or no room for it (503).
    """

    def __init__(self, settings: Settings) -> None:
        bounds = settings.reverie_max_waiting, settings.reverie_max_wait_seconds
        few = _few(settings.database_pool_size)
        self.lanes = {
            "recall": Lane("recall", settings.reverie_max_recalls or few, *bounds),
            "write": Lane("write", settings.reverie_max_writes or few, *bounds),
            "export": Lane("export", EXPORTS, *bounds),
            "other": Lane("other", settings.reverie_max_writes or few, *bounds),
        }
        self.body_seconds = settings.reverie_body_seconds
        self.held = 0
        self.refused: Counter[int] = Counter()
        self._most_held = settings.reverie_max_held_bytes
        self._most_by_large = self._most_held - self._most_held // RESERVED

    def lane_of(self, method: str, path: str) -> Lane | None:
        """The lane of a request; None for what is always answered."""
        path = path.removeprefix("/v1")
        if path.startswith(OPEN):
            return None
        # What is related is looked for as a question is: on two connections at once, with the encoder.
        of_trace = path.startswith("/memory/traces/") and method not in WRITES
        if path == "/memory/recall" or (of_trace and path.endswith("/related")):
            return self.lanes["recall"]
        if path.startswith("/memory/users/") and path.endswith("/export"):
            return self.lanes["export"]
        return self.lanes["write" if method in WRITES and path.startswith("/memory/") else "other"]

    def hold(self, size: int, before: int = 0) -> None:
        """Makes room for a part of a body, of which ``before`` bytes are held already.

        Raises:
            Busy: all bodies together would be too much.
        """
        small = before + size <= SMALL
        if self.held + size > (self._most_held if small else self._most_by_large):
            self.refused[Busy.status] += 1
            raise Busy("The bodies of all requests together are too large for now; try again shortly.")
        self.held += size

    def drop(self, size: int) -> None:
        """A request with so many bytes of body has ended."""
        self.held -= size


def _few(connections: int) -> int:
    """What keeps the processors busy. More at once would not be done sooner, and leave nothing to documents.

    Nor more than leaves connections to the other lanes: a recall takes two, and a write may wait for another's lock.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(4, 2 * cores), max(2, connections * 2 // 5))


class Admission:
    """ASGI middleware: reads the whole body first, so that who sends it slowly holds up nobody, then asks the gate.

    Requests without a key are passed on at once: they are refused before they cost anything.
    """

    def __init__(self, app: Any, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        caller = _caller(scope) if scope["type"] == "http" else _NOBODY
        lane = self.gate.lane_of(scope["method"], scope["path"]) if caller != _NOBODY else None
        if lane is None:
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self.gate, receive, send)
        try:
            await self._serve(lane, caller, scope, exchange)
        except ClientDisconnect:
            await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
        except ReverieError as refusal:
            await _refuse(refusal, scope, exchange)
        except asyncio.CancelledError as error:
            if exchange.answering or error.args != (GRACE_IS_OVER,):
                raise
            await _refuse(Busy("The service is being stopped; try again shortly."), scope, exchange)
        finally:
            self.gate.drop(exchange.size)

    async def _serve(self, lane: Lane, caller: bytes, scope: Any, exchange: "_Exchange") -> None:
        await exchange.read()
        if not lane.step_in():
            async with exchange.while_there():
                await lane.wait(caller)
        try:
            if lane.name == "recall":
                # Nothing of a question that nobody waits for is worth finishing; a write is.
                async with exchange.while_there():
                    await self.app(scope, exchange.receive, exchange.send)
            else:
                await self.app(scope, exchange.receive, exchange.send)
        finally:
            lane.leave()


class _Exchange:
    """One request: its body read beforehand, and whether its answer has begun."""

    __slots__ = ("_body", "_gate", "_receive", "_send", "answering", "size")

    def __init__(self, gate: Gate, receive: Any, send: Any) -> None:
        self.answering = False
        self.size = 0
        self._gate = gate
        self._receive = receive
        self._send = send
        self._body: bytes | None = None

    async def read(self) -> None:
        """Reads the body.

        Raises:
            RequestTimeout: it came too slowly.
            Busy: there is no room for it.
            ClientDisconnect: the caller went away.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._gate.body_seconds
        parts: list[bytes] = []
        try:
            async with asyncio.timeout_at(until) as patience:
                while self._take(await self._receive(), parts):
                    # What came fast buys no silence: nobody holds much of a body and waits.
                    until = min(until + len(parts[-1]) / SLOWEST, loop.time() + self._gate.body_seconds)
                    patience.reschedule(until)
        except TimeoutError:
            self._gate.refused[RequestTimeout.status] += 1
            raise RequestTimeout("The body did not arrive in time: send it faster, or in smaller requests.") from None
        self._body = parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, message: Any, parts: list[bytes]) -> bool:
        """Keeps a part of the body; whether more is to come."""
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        self._gate.hold(len(part), self.size)
        self.size += len(part)
        parts.append(part)
        return bool(message.get("more_body", False))

    async def receive(self) -> Any:
        """The body as one message, then what comes after it."""
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        self.answering = True
        await self._send(message)

    @asynccontextmanager
    async def while_there(self) -> AsyncIterator[None]:
        """Ends the block when the caller goes away before the answer has begun.

        Raises:
            ClientDisconnect: that happened.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as scope:
                watch = loop.create_task(self._watch(scope))
                try:
                    yield
                finally:
                    watch.cancel()
        except TimeoutError:
            if scope.expired():
                raise ClientDisconnect from None
            raise

    async def _watch(self, scope: asyncio.Timeout) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        if not self.answering:
            scope.reschedule(asyncio.get_running_loop().time())


async def _refuse(refusal: ReverieError, scope: Any, exchange: _Exchange) -> None:
    answer = ProblemJson(refusal.problem(shown_path(scope)), refusal.status, refusal.headers)
    await answer(scope, exchange.receive, exchange.send)


def _caller(scope: Any) -> bytes:
    """Who asks, by the key that was sent and is not yet looked at; nothing where none was."""
    key = presented_key(Headers(scope=scope))
    return hashlib.blake2b(key.encode(), digest_size=8).digest() if key else _NOBODY
