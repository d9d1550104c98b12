"""Figures for Prometheus: what a process counts and measures, and how several processes are read as one.

Everything hangs on an object, so that two applications in one process count apart. What a part counts by itself (the
pool, Redis, the encoder's queues) is read when somebody asks, and costs a request nothing.
"""

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from reverie import __version__
from reverie.core.errors import StartError

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client learns, when it is imported, that several processes count as one."""

REFRESH_SECONDS: Final = 2.0
"""How old the gauges of another process may be, where several are read as one."""

REFUSALS: Final = frozenset((401, 403, 413, 414, 429, 431, 503))
"""Statuses of requests that were refused before their work was done."""

_ARMS = ("semantic", "dated", "lexical", "focus", "edges")
_REDIS = (
    "focus.add", "focus.read", "focus.remove", "focus.count", "focus.drop", "bell", "worker", "status", "ping",
)  # fmt: skip
_KINDS = ("questions", "documents")
_NO_SCORES = ("late", "busy", "failed")
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_POOL_COUNTS = {
    "requests_num": "taken",
    "requests_queued": "waited for",
    "requests_errors": "failed",
    "connections_num": "opened",
    "connections_lost": "lost",
}
"""Counters of psycopg_pool, and what we call them."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What counts by itself.

    Attributes:
        pool: psycopg_pool's counters, under its names.
        redis: failures by what was tried.
        questions: questions that wait for the encoder or are in it; ``documents`` likewise.
    """

    pool: Callable[[], Mapping[str, int]]
    redis: Callable[[], Mapping[str, int]]
    questions: Callable[[], int]
    documents: Callable[[], int]


class Metrics:
    """The figures of one process.

    With PROMETHEUS_MULTIPROC_DIR set, as ``reverie api --workers N`` does, each process writes its figures to that
    folder, and whichever is asked answers for all.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.shared: Final = bool(os.environ.get(FOLDER))
        self.registry: Final = CollectorRegistry()
        self.running = 0
        """Requests that are being answered by this process."""
        self.waiting: Callable[[], Mapping[str, int]] = dict
        """Requests that wait to be let in, by lane."""
        self._lock = threading.Lock()
        self._sources: Sources | None = None
        self._before: dict[tuple[str, str], int] = {}
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        self.registry.register(_First(self.refresh))
        self._make()
        if not self.shared:
            ProcessCollector(namespace="reverie", registry=self.registry)

    def _make(self) -> None:
        within = self.registry
        self._seconds = Histogram(
            "reverie_http_request_seconds", "Seconds from the first byte of a request to the last of its answer.",
            ("method", "route", "status"), buckets=_REQUEST_SECONDS, registry=within,
        )  # fmt: skip
        self._refused = Counter(
            "reverie_http_refused", "Requests refused before their work was done.", ("status",), registry=within
        )
        self._running = _gauge("reverie_http_requests_running", "Requests that are being answered.", (), within)
        self._lanes = _gauge("reverie_http_requests_waiting", "Requests that wait to be let in.", ("lane",), within)
        self._stages = Histogram(
            "reverie_recall_stage_seconds", "Seconds of each stage of a recall.", ("stage",), buckets=_STAGE_SECONDS,
            registry=within,
        )  # fmt: skip
        self._arms = Counter(
            "reverie_recall_arms_failed", "Arms of recall that failed or came too late.", ("arm",), registry=within
        )
        self._batches = Histogram(
            "reverie_encoder_batch_seconds", "Seconds for a batch of texts.", ("kind",), registry=within
        )
        self._texts = Counter("reverie_encoder_texts", "Texts that were encoded.", ("kind",), registry=within)
        self._busy = Counter(
            "reverie_encoder_refused", "Calls refused because too much waited.", ("kind",), registry=within
        )
        self._rerank_seconds = Histogram(
            "reverie_rerank_seconds", "Seconds from asking for a reranking to its scores.", buckets=_REQUEST_SECONDS,
            registry=within,
        )  # fmt: skip
        self._reranked = Counter("reverie_rerank_texts", "Candidates that the reranker judged.", registry=within)
        self._unranked = Counter(
            "reverie_rerank_failed", "Recalls that kept their order as the reranker gave no scores.", ("why",),
            registry=within,
        )  # fmt: skip
        self._waiting = _gauge("reverie_encoder_waiting", "Texts that wait or are being encoded.", ("kind",), within)
        self._redis = Counter("reverie_redis_errors", "What Redis failed at.", ("part",), registry=within)
        self._connections = _gauge("reverie_pool_connections", "Connections to PostgreSQL.", ("state",), within)
        self._line = _gauge("reverie_pool_waiting", "Requests that wait for a connection.", (), within)
        self._pool = Counter("reverie_pool_events", "Connections by what became of them.", ("event",), registry=within)
        self._pool_wait = Counter(
            "reverie_pool_wait_seconds", "Seconds that requests waited for a connection.", registry=within
        )
        # Begun at zero: what first appears at one shows no increase, and nobody hears of a first failure.
        known = {
            self._refused: map(str, REFUSALS),
            self._arms: _ARMS,
            self._redis: _REDIS,
            self._busy: _KINDS,
            self._unranked: _NO_SCORES,
        }
        for counter, labels in known.items():
            for label in labels:
                counter.labels(label)

    def follow(self, sources: Sources) -> None:
        """Reads these from now on."""
        with self._lock:
            self._sources = sources
            self._before.clear()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has ended."""
        key = (method, route, status // 100)
        child = self._requests.get(key)
        if child is None:
            child = self._requests[key] = self._seconds.labels(method, route, f"{status // 100}xx")
        child.observe(seconds)
        if status in REFUSALS:
            self._refused.labels(str(status)).inc()

    def recall(self, stages: Mapping[str, float]) -> None:
        """A recall was answered; milliseconds of its stages."""
        for stage, milliseconds in stages.items():
            self._stages.labels(stage).observe(milliseconds / 1000)

    def arm_failed(self, arm: str) -> None:
        """An arm of recall failed or was late."""
        self._arms.labels(arm).inc()

    def encoded(self, kind: str, texts: int, seconds: float) -> None:
        """The embedder was asked for a batch; called from the encoder's threads."""
        self._batches.labels(kind).observe(seconds)
        self._texts.labels(kind).inc(texts)

    def encoder_busy(self, kind: str) -> None:
        """The encoder took no more."""
        self._busy.labels(kind).inc()

    def reranked(self, texts: int, seconds: float) -> None:
        """The reranker has judged the candidates of a question."""
        self._rerank_seconds.observe(seconds)
        self._reranked.inc(texts)

    def rerank_failed(self, why: str) -> None:
        """There were no scores: ``late``, ``busy`` or ``failed``."""
        self._unranked.labels(why).inc()

    def redis_failed(self, part: str) -> None:
        """A part that uses Redis by itself has lost it."""
        self._redis.labels(part).inc()

    def refresh(self) -> None:
        """Reads the sources; from any thread."""
        with self._lock:
            self._running.set(self.running)
            for lane, count in self.waiting().items():
                self._lanes.labels(lane).set(count)
            if self._sources is not None:
                self._read(self._sources)

    def _read(self, sources: Sources) -> None:
        self._waiting.labels("questions").set(sources.questions())
        self._waiting.labels("documents").set(sources.documents())
        # A copy: this may be another thread than the one that counts.
        for part, failures in dict(sources.redis()).items():
            self._advance(self._redis.labels(part), ("redis", part), failures)
        pool = sources.pool()
        idle = pool.get("pool_available", 0)
        self._connections.labels("idle").set(idle)
        self._connections.labels("busy").set(max(0, pool.get("pool_size", 0) - idle))
        self._line.set(pool.get("requests_waiting", 0))
        for name, event in _POOL_COUNTS.items():
            self._advance(self._pool.labels(event), ("pool", name), pool.get(name, 0))
        self._advance(self._pool_wait, ("pool", "wait"), pool.get("requests_wait_ms", 0), 1000)

    def _advance(self, counter: Counter, key: tuple[str, str], now: int, unit: int = 1) -> None:
        """Brings a counter to where its source is; one that began anew is added."""
        before = self._before.get(key, 0)
        self._before[key] = now
        counter.inc((now - before if now >= before else now) / unit)

    def render(self, known: Iterable[Metric] = ()) -> bytes:
        """Everything in Prometheus' text format, with families that are known otherwise. Reads files where shared."""
        found: Collector = self.registry
        if self.shared:
            self.refresh()
            folder = Path(os.environ[FOLDER])
            _bury(folder)
            found = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(_Joined((_build(), *known), found))

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keeps what others read of this process up to date, where several are read as one."""
        keeper = asyncio.create_task(self._keep()) if self.shared else None
        try:
            yield
        finally:
            if keeper is not None:
                keeper.cancel()
                await asyncio.gather(keeper, return_exceptions=True)
                self.refresh()

    async def _keep(self) -> None:
        while True:
            self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[int]:
        """Serves them over HTTP in a thread, for a process that answers no requests; yields the port (of 0: any).

        Raises:
            StartError: nothing can listen there.
        """
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise StartError(
                f"The worker cannot serve its metrics at {host}, port {port} ({error.strerror}): "
                "choose another REVERIE_WORKER_METRICS_PORT."
            ) from None
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def shared_folder() -> Iterator[None]:
    """A folder by which the processes that are started within the block count as one, unless one is set already."""
    if os.environ.get(FOLDER):
        yield
        return
    # In memory where there is such a place: the files are mapped, and a full disk would end whoever writes to them.
    memory = Path("/dev/shm")  # noqa: S108 - for a folder of mkdtemp's
    within = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="reverie-metrics-", dir=within) as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def operations(states: Mapping[str, int], oldest_pending_seconds: float) -> list[Metric]:
    """The families of the queue in PostgreSQL, which no process counts for itself."""
    by_state = GaugeMetricFamily("reverie_operations", "Operations of all spaces.", labels=["state"])
    for state, count in states.items():
        by_state.add_metric([state], count)
    age = GaugeMetricFamily(
        "reverie_operations_oldest_pending_seconds", "How long the oldest operation has waited.", oldest_pending_seconds
    )
    return [by_state, age]


def dream(age_seconds: float | None, failed_nights: int, failed_days: int) -> list[Metric]:
    """The families of the dream; of a store in which no night came to its end yet there is no age."""
    failures = GaugeMetricFamily(
        "reverie_dream_failures",
        "Nights that failed since the last that came to its end; days that the last night could not dream.",
        labels=["what"],
    )
    failures.add_metric(["nights"], failed_nights)
    failures.add_metric(["days"], failed_days)
    if age_seconds is None:
        return [failures]
    age = GaugeMetricFamily("reverie_last_dream_age", "Seconds since a night came to its end.", age_seconds)
    return [age, failures]


def _build() -> Metric:
    family = GaugeMetricFamily("reverie_build_info", "The version that runs.", labels=["version"])
    family.add_metric([__version__], 1)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], within: CollectorRegistry) -> Gauge:
    """A gauge that is summed over the processes that live."""
    return Gauge(name, text, labels, registry=within, multiprocess_mode="livesum")


def _bury(folder: Path) -> None:
    """Takes the gauges of processes away that were killed: what they held, nobody holds any more."""
    for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
        if pid.isdigit() and not _lives(int(pid)):
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _First(Collector):
    """Runs something before a registry is read: registries are read in the order in which they were filled."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self._run()
        return ()


class _Joined(Collector):
    """Some families before those of a collector."""

    def __init__(self, known: Iterable[Metric], others: Collector) -> None:
        self._known = known
        self._others = others

    def collect(self) -> Iterable[Metric]:
        yield from self._known
        yield from self._others.collect()
