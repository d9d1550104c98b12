"""Going over to what an admin has saved, or to the store's other embedding model, while a process runs.

The parts are opened anew beside those that work; when they are open, whatever begins from then on works with them, and
the former ones are closed when what began before has ended. Where they cannot be opened, the former ones go on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from reverie.core.config import Settings
from reverie.core.errors import SettingsError, StartError
from reverie.core.metrics import Metrics
from reverie.embedding.protocol import Embedder, EmbeddingError
from reverie.runtime import Runtime, open_runtime
from reverie.settings import repository
from reverie.settings.force import InForce, reason_of

LOOK_SECONDS: Final = 1.0
"""How often a process looks whether anything else was saved, or is active."""

AGAIN_SECONDS: Final = 60.0
"""After so long, what could not be gone over to is tried again: an endpoint may have been out."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """Parts that are open, and what closes them: all of them, though the one who does it is cancelled meanwhile."""

    runtime: Runtime
    stack: AsyncExitStack


async def opened(
    settings: Settings, embedder: Embedder | None, metrics: Metrics, before: InForce | None = None
) -> Held:
    """Opens the parts of a process, as :func:`~reverie.runtime.open_runtime`.

    Raises:
        StartError, SettingsError: they cannot be opened.
    """
    stack = AsyncExitStack()
    runtime = await stack.enter_async_context(open_runtime(settings, embedder, metrics, before))
    return Held(runtime, stack)


async def successor(current: Runtime, settings: Settings, embedder: Embedder | None, metrics: Metrics) -> Held:
    """Waits until the store has other settings than ``current`` works with, and opens the parts for them."""
    clock, force = asyncio.get_running_loop(), current.in_force
    seen, tried_at = force.generation, clock.time()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            async with current.database.reading(None) as session:
                generation = await repository.generation(session)
        except (psycopg.Error, PoolTimeout):
            continue
        again = (force.refused is not None or force.left_aside) and clock.time() - tried_at > AGAIN_SECONDS
        if generation == seen and not again:
            continue
        seen, tried_at = generation, clock.time()
        if generation == force.generation and not force.left_aside:
            # What could not be gone over to is wanted no more.
            force.refused = None
            continue
        found = await _tried(current, settings, embedder, metrics)
        if found is not None:
            log.info("gone over", version=found.runtime.in_force.version.version, model=str(found.runtime.model))
            return found


async def _tried(current: Runtime, settings: Settings, embedder: Embedder | None, metrics: Metrics) -> Held | None:
    """The parts for what the store has now; None where they cannot be opened, which is said to whoever looks."""
    held: Held | None = None
    try:
        held = await opened(settings, embedder, metrics, current.in_force)
        found = held.runtime.in_force
        if (found.generation, found.embedding) == (current.in_force.generation, current.in_force.embedding):
            # What was left aside still is.
            metrics.follow(current.sources)
            await held.stack.aclose()
            return None
        # So that the first question is as quick as any, and an endpoint that is out is found here.
        await held.runtime.encoder.probe()
    except Exception as error:
        # Whatever keeps new parts from being opened, the former ones go on, and whoever looks is told why.
        why, surprise = _why(error)
        current.in_force.refused = f"What was saved last is not worked with: {why}"
        log.warning("settings not taken", reason=why, exc_info=surprise)
        metrics.follow(current.sources)
        if held is not None:
            await held.stack.aclose()
        return None
    except BaseException:
        if held is not None:
            await held.stack.aclose()
        raise
    return held


def _why(error: Exception) -> tuple[str, Exception | None]:
    """What keeps parts from being opened, as the end of a sentence, and the error itself where nobody expects it."""
    if isinstance(error, SettingsError | StartError | EmbeddingError):
        return reason_of(error), None
    if isinstance(error, psycopg.Error | PoolTimeout):
        return "PostgreSQL did not answer.", None
    return "it fails in a way that nobody expects, of which the log has more.", error


@dataclass(slots=True)
class _Era:
    """The requests that began while certain parts were in force."""

    count: int = 0
    over: bool = False
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def leave(self) -> None:
        """One of them has ended."""
        self.count -= 1
        self._look()

    def end(self) -> None:
        """No other one begins."""
        self.over = True
        self._look()

    def _look(self) -> None:
        if self.over and self.count == 0:
            self.empty.set()


class Turnstile:
    """Counts the requests in work, by the parts that were in force when they began."""

    def __init__(self) -> None:
        self._era = _Era()

    def enter(self) -> _Era:
        """A request begins; it calls :meth:`_Era.leave` when it ends."""
        self._era.count += 1
        return self._era

    def turn(self) -> _Era:
        """Other parts are in force from now on; the requests of the former ones."""
        former, self._era = self._era, _Era()
        former.end()
        return former


class Counted:
    """ASGI middleware: every request is counted by a turnstile."""

    def __init__(self, app: Any, turnstile: Turnstile) -> None:
        self.app = app
        self.turnstile = turnstile

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        era = self.turnstile.enter()
        try:
            await self.app(scope, receive, send)
        finally:
            era.leave()


async def cancelled(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancels tasks until all of them have ended; parts that they close are closed to the end."""
    left = {task for task in tasks if not task.done()}
    while left:
        # Again and again: Python 3.11 loses a cancellation that comes in the moment in which what is waited for comes.
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)
    for task in tasks:
        # Whoever has something to say of it has said it.
        if not task.cancelled():
            task.exception()


def _complain(follower: "asyncio.Task[None]") -> None:
    if not follower.cancelled() and (error := follower.exception()) is not None:
        log.error("settings not followed any more", exc_info=error)


@asynccontextmanager
async def following(
    settings: Settings,
    embedder: Embedder | None,
    metrics: Metrics,
    turnstile: Turnstile,
    go_over: Callable[[Runtime], None],
) -> AsyncIterator[None]:
    """Opens the parts of a process that answers requests, and others in their place while the block runs.

    ``go_over`` has requests work with parts that were opened.

    Raises:
        StartError, SettingsError: the first parts cannot be opened.
    """
    held = await opened(settings, embedder, metrics)
    go_over(held.runtime)
    leaving: list[asyncio.Task[None]] = []

    async def leave(former: Held, era: _Era, before: "asyncio.Task[None] | None") -> None:
        try:
            # A request that began with older parts may have taken some of these.
            if before is not None:
                await asyncio.wait([before])
            await era.empty.wait()
        finally:
            await former.stack.aclose()

    async def follow() -> None:
        nonlocal held
        while True:
            later = await successor(held.runtime, settings, embedder, metrics)
            former, held = held, later
            go_over(later.runtime)
            leaving[:] = [task for task in leaving if not task.done()]
            leaving.append(asyncio.create_task(leave(former, turnstile.turn(), leaving[-1] if leaving else None)))

    follower = asyncio.create_task(follow(), name="follower")
    follower.add_done_callback(_complain)
    try:
        yield
    finally:
        await cancelled([follower])
        if leaving:
            await asyncio.wait(leaving, timeout=settings.reverie_grace_seconds)
            await cancelled(leaving)
        await held.stack.aclose()
