"""The worker process: arq brings operations at once, crons keep the house, and a sweeper that needs no Redis finds
whatever was left behind."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any, ClassVar, Final, TypeAlias
from uuid import UUID

import psycopg
import structlog
from arq import ArqRedis, Worker, cron, func
from arq.cron import CronJob
from arq.worker import Function
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.endings import to_its_end
from reverie.core.idempotency import delete_old_keys
from reverie.core.metrics import Metrics
from reverie.core.outages import PASSING
from reverie.core.queue import HEARTBEAT, HEARTBEAT_SECONDS, QUEUE, RUN_OPERATION, arq_redis, deserialize, serialize
from reverie.core.telemetry import configure_logging, reason
from reverie.following import Held, cancelled, opened, successor
from reverie.graph.neo4j import MirrorTrouble
from reverie.recall.lexical import count_due
from reverie.runtime import Runtime

SWEEP_SECONDS = 2.0
SWEEPS = 4
"""So many operations are run beside those that the bell brings."""

REST_SECONDS = 2.0
"""How long the worker waits after Redis went away before it asks again, and for Redis to hear that jobs have ended."""

OPERATION_SECONDS = 3600
BUILD_SECONDS = 24 * 3600
HOUSE_MINUTES = 5
PRUNE_MINUTES = 60
MIRROR_MINUTES = 1

_MINUTES = set(range(0, 60, HOUSE_MINUTES))

Job: TypeAlias = Callable[[dict[Any, Any]], Awaitable[None]]

log = structlog.get_logger(__name__)


async def run_operation(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - arq's signature
    """The bell rang for an operation; what cannot be taken on while PostgreSQL is away, the sweeper finds."""
    runtime: Runtime = ctx["runtime"]
    try:
        await runtime.operations.run(UUID(args[0]))
    except PASSING as error:
        log.warning("operation left", operation=args[0], error=type(error).__name__, reason=reason(error))


async def keep_house(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - arq's signature
    """Partitions ahead, the terms of large users and the recalls counted, and what has outlived its time or expired."""
    runtime: Runtime = ctx["runtime"]
    chores = (
        runtime.tiers.keep_ahead(),
        count_due(runtime.database),
        runtime.operations.delete_finished(runtime.settings.memory_operation_days),
        delete_old_keys(runtime.database, clock.now()),
        runtime.eraser.finish_left(),
        runtime.retention.pruner.forget_expired(),
        runtime.counts.flush(),
    )
    # Each by itself: one that fails does not keep the others from being done.
    done = await asyncio.gather(*chores, return_exceptions=True)
    failed = [found for found in done if isinstance(found, BaseException)]
    if failed:
        raise failed[0]


async def build_indexes(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - arq's signature
    """The indexes that are due; returns at once while another job builds."""
    runtime: Runtime = ctx["runtime"]
    await runtime.tiers.build_indexes(runtime.model)


async def prune(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - arq's signature
    """What the rules of each space take; returns at once while another prunes."""
    runtime: Runtime = ctx["runtime"]
    await runtime.retention.pruner.prune_all()


async def dream(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - arq's signature
    """Dreams once a night (DREAM_AT), the tiers at its end; returns at once where it was done, or somebody does."""
    runtime: Runtime = ctx["runtime"]
    await runtime.dreams.nightly()


async def mirror(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - arq's signature
    """Brings the mirror of the graph up to date, where there is one; returns at once while another does."""
    runtime: Runtime = ctx["runtime"]
    if runtime.mirroring is not None:
        try:
            await runtime.mirroring.run()
        except MirrorTrouble as trouble:
            log.warning("mirror left", reason=str(trouble))


REPEATED: Final[Mapping[Job, float]] = {
    keep_house: HOUSE_MINUTES, build_indexes: HOUSE_MINUTES, dream: HOUSE_MINUTES, mirror: MIRROR_MINUTES,
    prune: PRUNE_MINUTES,
}  # fmt: skip
"""The jobs of the crons with the minutes after which each is done again where there is no Redis."""


class WorkerSettings:
    """What ``reverie worker`` gives to arq; the ``arq`` command would find no runtime for it.

    ``max_tries=1`` and ``keep_result=0``: attempts and results are in the operation's row.
    """

    functions: ClassVar[list[Function]] = [func(run_operation, name=RUN_OPERATION, max_tries=1, keep_result=0)]
    cron_jobs: ClassVar[list[CronJob]] = [
        cron(keep_house, minute=_MINUTES, run_at_startup=True, max_tries=1, keep_result=0),
        cron(prune, minute={17}, max_tries=1, keep_result=0),
        cron(build_indexes, minute=_MINUTES, run_at_startup=True, max_tries=1, keep_result=0, timeout=BUILD_SECONDS),
        cron(mirror, run_at_startup=True, max_tries=1, keep_result=0, timeout=BUILD_SECONDS),
        cron(dream, minute=_MINUTES, max_tries=1, keep_result=0, timeout=BUILD_SECONDS),
    ]


def main(settings: Settings) -> None:
    """Runs the worker until SIGTERM or SIGINT.

    Raises:
        SystemExit: a part of it ended by itself; whoever supervises the process starts it again.
    """
    configure_logging(settings.reverie_log_level)
    if not asyncio.run(serve(settings)):
        sys.exit(1)


async def serve(settings: Settings) -> bool:
    """The worker in a running event loop. True when the process was told to end, False when a part of it ended.

    When other settings are saved, or the store goes over to another embedding model, it goes on with other parts.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, _tell, stop, name)
    metrics = Metrics()
    held = await opened(settings, None, metrics)
    with ExitStack() as open_parts:
        if settings.reverie_worker_metrics_port is not None:
            open_parts.enter_context(metrics.served(settings.reverie_host, settings.reverie_worker_metrics_port))
        while True:
            following = asyncio.create_task(successor(held.runtime, settings, None, metrics), name="successor")
            try:
                told = await _work(held.runtime, stop, following)
            finally:
                try:
                    later = await _ended(following)
                finally:
                    await held.stack.aclose()
            if later is None:
                return told
            held = later


async def _ended(following: "asyncio.Task[Held]") -> Held | None:
    """What comes after the parts that have ended, if that was why; else nothing of it is left open."""
    if following.done() and not following.cancelled() and following.exception() is None:
        return following.result()
    await cancelled([following])
    with suppress(asyncio.CancelledError):
        late = following.result()
        await late.stack.aclose()
    return None


async def _work(runtime: Runtime, stop: asyncio.Event, following: "asyncio.Task[Held]") -> bool:
    """Runs the parts until one ends, others are ``following`` or ``stop`` is set; whether it was that."""
    told = asyncio.create_task(stop.wait())
    parts = [asyncio.create_task(part(runtime), name=part.__name__.strip("_")) for part in (_sweep, _listen)]
    ended, _ = await asyncio.wait([told, following, *parts], return_when=asyncio.FIRST_COMPLETED)
    for part in ended - {told, following}:
        error = None if part.cancelled() else part.exception()
        log.error("worker part ended", part=part.get_name(), error=type(error).__name__, exc_info=error)
    left, end = {told, *parts}, time.monotonic() + runtime.settings.reverie_grace_seconds
    while left and time.monotonic() < end:
        # Again and again: Python 3.11 loses a cancellation that comes in the moment in which what is waited for comes.
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)
    for part in left:
        # Its lease runs out, and another worker takes what it held.
        log.warning("worker part not ended in time", part=part.get_name())
    await runtime.operations.settled()
    return stop.is_set()


def _tell(stop: asyncio.Event, number: signal.Signals) -> None:
    """The first signal lets the worker put back what it holds; the second ends it, as a crash would."""
    if stop.is_set():
        os._exit(128 + number)
    stop.set()


async def _sweep(runtime: Runtime) -> None:
    """Some sweeps at once: one that runs a long operation holds back no other work, nor the ringing for it."""
    sweeping = set[asyncio.Task[None]]()
    async with asyncio.TaskGroup() as sweeps:
        while True:
            if len(sweeping) < SWEEPS:
                sweeping.add(sweep := sweeps.create_task(_sweep_once(runtime)))
                sweep.add_done_callback(sweeping.discard)
            await asyncio.sleep(SWEEP_SECONDS)


async def _sweep_once(runtime: Runtime) -> None:
    try:
        await runtime.operations.sweep()
    except (psycopg.Error, PoolTimeout) as error:
        log.warning("sweep failed", error=type(error).__name__, reason=reason(error))


async def _listen(runtime: Runtime) -> None:
    """arq's worker, started again whenever Redis went away; without Redis the sweeper does it all."""
    url = runtime.settings.redis_url
    if url is None:
        async with asyncio.TaskGroup() as jobs:
            for job, minutes in REPEATED.items():
                jobs.create_task(_repeat(job, runtime, minutes))
        return
    while True:
        client = arq_redis(url, runtime.settings.redis_timeout_seconds)
        worker = Worker(
            functions=WorkerSettings.functions,
            cron_jobs=WorkerSettings.cron_jobs,
            redis_pool=client,
            queue_name=QUEUE,
            job_serializer=serialize,
            job_deserializer=deserialize,
            job_timeout=OPERATION_SECONDS,
            max_jobs=4,
            poll_delay=0.25,
            handle_signals=False,
            health_check_interval=HEARTBEAT_SECONDS,
            ctx={"runtime": runtime},
        )
        try:
            await worker.async_run()
        except (RedisError, OSError) as error:
            runtime.metrics.redis_failed("worker")
            log.warning("redis failed", what="worker", error=str(error))
        finally:
            # Whoever ends the parts cancels them again and again.
            await to_its_end(_close(worker, client))
        await asyncio.sleep(REST_SECONDS)


async def _close(worker: Worker, client: ArqRedis) -> None:
    """Ends the jobs, says farewell, and closes the connections: arq's own ``close`` stops at the first that fails."""
    # Not arq's tasks around them: what those shield would go on to use a connection that nobody closes.
    for job in worker.job_tasks.values():
        job.cancel()
    tasks = left = set(worker.tasks.values())
    try:
        while left:
            _, left = await asyncio.wait(left, timeout=REST_SECONDS)
            for task in list(worker.job_tasks.values()) or left:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(RedisError, OSError):
            await client.delete(HEARTBEAT)
    finally:
        with suppress(RedisError, OSError):
            await client.connection_pool.disconnect()


async def _repeat(job: Job, runtime: Runtime, minutes: float) -> None:
    """A job of the crons, where there is no Redis for arq."""
    while True:
        try:
            await job({"runtime": runtime})
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("job failed", job=job.__name__, error=type(error).__name__, reason=reason(error))
        await asyncio.sleep(minutes * 60)
