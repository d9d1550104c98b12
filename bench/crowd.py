"""Many callers at once, who ask and remember without pause: what they are answered, how soon, and what it costs."""

import asyncio
import itertools
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson

from bench.loader import traces
from bench.report import percentile
from bench.service import Service

RECALL, REMEMBER = "recall", "remember"
BATCH: Final = 16
"""Traces of a request."""

BUSY: Final = frozenset({429, 503})
"""What a service that has too much to do may answer."""

_SAMPLE_SECONDS: Final = 0.25
_LONGEST_REST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: what it was, the status (0: no answer came), seconds until the answer."""

    what: str
    status: int
    seconds: float
    degraded: bool = False


@dataclass(slots=True)
class Crowd:
    """What all callers together were answered. ``rss`` are bytes of the API process, (second, bytes) over time."""

    callers: int
    seconds: float = 0.0
    answers: list[Answered] = field(default_factory=list)
    rss: list[tuple[float, int]] = field(default_factory=list)

    def statuses(self, what: str) -> Counter[int]:
        """How often each status came."""
        return Counter(one.status for one in self.answers if one.what == what)

    def milliseconds(self, what: str, percent: float, *, refused: bool = False) -> float:
        """A percentile of the time to an answer, of those that were served or of those that were refused."""
        chosen = [one.seconds for one in self.answers if one.what == what and (one.status in BUSY) is refused]
        return percentile(chosen, percent) * 1000 if chosen else 0.0

    def rate(self, what: str) -> float:
        """Requests served in a second."""
        served = sum(one.what == what and 200 <= one.status < 300 for one in self.answers)
        return served / self.seconds

    @property
    def errors(self) -> int:
        """Answers that are neither good nor say that there is too much to do."""
        return sum(not (200 <= one.status < 300 or one.status in BUSY) for one in self.answers)

    @property
    def growth_mib(self) -> float:
        """How much more memory the API held at most than in the beginning."""
        sizes = [size for _, size in self.rss]
        return (max(sizes) - sizes[0]) / 2**20 if sizes else 0.0


def gather(service: Service, user: str, questions: Sequence[str], callers: int, seconds: float, writer: str) -> Crowd:
    """Half of the callers ask about ``user``, the others remember batches for users that begin with ``writer``.

    Whoever is refused comes again after the time that the answer names, but within a second.
    """
    return asyncio.run(_gather(service, user, questions, callers, seconds, writer))


async def _gather(
    service: Service, user: str, questions: Sequence[str], callers: int, seconds: float, writer: str
) -> Crowd:
    crowd = Crowd(callers)
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=callers, max_keepalive_connections=callers)
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=60.0, limits=limits) as http:
        began = time.perf_counter()
        until = began + seconds
        async with _watched(crowd, service, began):
            askers = [_ask(http, crowd, user, [*questions[n:], *questions[:n]], until) for n in range(callers // 2)]
            writers = [_write(http, crowd, f"{writer}/{n}", n, until) for n in range(callers - callers // 2)]
            await asyncio.gather(*askers, *writers)
        crowd.seconds = time.perf_counter() - began
    return crowd


async def _ask(http: httpx.AsyncClient, crowd: Crowd, user: str, questions: Sequence[str], until: float) -> None:
    for question in itertools.cycle(questions):
        if time.perf_counter() >= until:
            return
        request = http.build_request("GET", "/memory/recall", params={"user_id": user, "q": question})
        await _send(http, crowd, RECALL, request)


async def _write(http: httpx.AsyncClient, crowd: Crowd, user: str, first: int, until: float) -> None:
    for number in itertools.count():
        if time.perf_counter() >= until:
            return
        body = orjson.dumps({"user_id": user, "traces": traces(1_000 * (first + 1) + number, BATCH)})
        await _send(http, crowd, REMEMBER, http.build_request("POST", "/memory/remember", content=body))


async def _send(http: httpx.AsyncClient, crowd: Crowd, what: str, request: httpx.Request) -> None:
    began = time.perf_counter()
    try:
        answer = await http.send(request)
    except httpx.HTTPError:
        crowd.answers.append(Answered(what, 0, time.perf_counter() - began))
        return
    taken = time.perf_counter() - began
    good = answer.status_code < 300
    degraded = good and bool(orjson.loads(answer.content)["degraded"])
    crowd.answers.append(Answered(what, answer.status_code, taken, degraded))
    if answer.status_code in BUSY:
        await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), _LONGEST_REST))


@asynccontextmanager
async def _watched(crowd: Crowd, service: Service, began: float) -> AsyncIterator[None]:
    """Notes the memory of the API process while the block runs, where it can be seen from here."""
    process = process_at(service.url)

    async def watch(pid: int) -> None:
        while True:
            crowd.rss.append((round(time.perf_counter() - began, 2), resident(pid)))
            await asyncio.sleep(_SAMPLE_SECONDS)

    task = asyncio.create_task(watch(process)) if process is not None else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def resident(pid: int) -> int:
    """Bytes of memory that a process holds (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def process_at(url: str) -> int | None:
    """The process that listens at ``url`` on this machine; None where that cannot be told (Linux tells)."""
    parts = urlsplit(url)
    if not Path("/proc/net/tcp").exists() or parts.hostname is None:
        return None
    address = socket.inet_aton(socket.gethostbyname(parts.hostname))[::-1].hex().upper()
    wanted = f"{address}:{parts.port or 80:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] == wanted and row[3] == "0A"}
    return next((pid for pid in _processes() if sockets & _open_files(pid)), None)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _open_files(pid: int) -> set[str]:
    try:
        return {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()
