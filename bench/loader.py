"""A caller that remembers text without pause, in a process of its own: what recall has to stand beside."""

import itertools
import multiprocessing
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any, Final

import httpx
import orjson

from bench.report import CannotMeasure
from bench.service import Service
from bench.text import conversation

_OPEN: Final = 2
"""So many operations are left open before the next request: the worker always has one more to do."""

_REST: Final = 0.1
_STOP_SECONDS: Final = 120


@dataclass(slots=True)
class Load:
    """What a caller remembered while the block ran."""

    user: str
    traces: int = 0
    seconds: float = 0.0
    refused: int = 0
    """Requests answered with 429 or 503, and sent again."""

    @property
    def rate(self) -> float:
        """Traces accepted in a second."""
        return self.traces / self.seconds if self.seconds else 0.0


def traces(seed: int, count: int) -> list[dict[str, Any]]:
    """Turns of a chat that ``seed`` decides, as traces that are never the same as others."""
    talk = conversation(seed, count, 0)
    return [
        {
            "content": turn.content,
            "speaker": turn.speaker,
            "occurred_at": turn.occurred_at.isoformat(),
            "external_id": f"{seed}:{number}",
        }
        for number, turn in enumerate(talk.turns)
    ]


@contextmanager
def loading(service: Service, batch: int, *, wait: bool) -> Iterator[Load]:
    """One caller remembers for a user of its own in requests of ``batch`` until the block ends.

    With ``wait`` they are encoded before each answer, without they are left to the worker; the block has ended when
    the worker has done them all.

    Raises:
        CannotMeasure: a request failed.
    """
    context = multiprocessing.get_context("spawn")
    begun, stop, answer = context.Event(), context.Event(), context.SimpleQueue()
    load = Load(f"bench/{uuid.uuid4()}")
    process = context.Process(target=_run, args=(service, batch, wait, load.user, begun, stop, answer.put), daemon=True)
    process.start()
    try:
        while not begun.wait(_REST):
            _still_runs(process.is_alive())
        yield load
        _still_runs(process.is_alive())
        stop.set()
        process.join(_STOP_SECONDS)
        _still_runs(not answer.empty())
        load.traces, load.seconds, load.refused = answer.get()
    finally:
        process.kill()
        process.join()


def _still_runs(good: bool) -> None:
    if not good:
        raise CannotMeasure("The caller that loads failed; what it said stands above.")


def _run(
    service: Service,
    batch: int,
    wait: bool,
    user: str,
    begun: Event,
    stop: Event,
    tell: Callable[[tuple[int, float, int]], None],
) -> None:
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}
    sent, refused = 0, 0
    open_operations: list[str] = []
    with httpx.Client(base_url=service.url, headers=headers, timeout=300.0) as http:
        began = time.perf_counter()
        for seed in itertools.count(1):
            if stop.is_set():
                break
            body = orjson.dumps({"user_id": user, "traces": traces(seed, batch)})
            answer = http.post("/memory/remember", params={"wait": str(wait).lower()}, content=body)
            if answer.status_code in (429, 503):
                refused += 1
                stop.wait(float(answer.headers.get("Retry-After", "1")))
                continue
            answer.raise_for_status()
            sent += batch
            if answer.status_code == 202:
                open_operations.append(answer.json()["operation_id"])
            begun.set()
            open_operations = _until_open(http, open_operations, _OPEN, stop)
        seconds = time.perf_counter() - began
        _until_open(http, open_operations, 1, None)
    tell((sent, seconds, refused))


def _until_open(http: httpx.Client, operations: list[str], most: int, stop: Event | None) -> list[str]:
    """Waits until fewer than ``most`` operations are open, or ``stop`` is set; those that still are."""
    while len(operations) >= most and not (stop is not None and stop.is_set()):
        time.sleep(_REST)
        found = http.get(f"/operations/{operations[0]}").raise_for_status().json()
        if found["state"] == "failed":
            raise CannotMeasure(f"An operation failed: {found['error']}")
        if found["state"] == "done":
            operations = operations[1:]
    return operations
