"""Callers that go on writing whatever happens, and the ledger of what they sent and what they were answered."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED = "everybody"
"""A user to whom all callers write, in conversations that are shared too."""

LONGEST_WAIT = 120.0
"""Seconds after which a write that is not answered counts as stuck."""

LARGEST_BATCH = 50

_WORDS = ("harbour", "parcel", "lantern", "meadow", "violin", "copper", "ladder", "winter", "saddle", "orchard")


@dataclass(slots=True)
class Write:
    """One request and what became of it.

    Attributes:
        body: what was sent.
        wait: whether the answer was to come after the vectors.
        markers: a word for each trace that stands in no other content.
        gives_up: whether its caller lets it go when the first try gets no answer.
        tries: how often it was sent.
        status: 201 or 202 once it was answered.
        answer: the body of the answer.
        seconds: how long the answer took, all tries together.
    """

    body: dict[str, Any]
    wait: bool
    markers: list[str]
    gives_up: bool
    tries: int = 0
    status: int | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def user(self) -> str:
        return str(self.body["user_id"])

    @property
    def ids(self) -> list[str]:
        """The traces that were answered."""
        return [str(one["trace_id"]) for one in self.answer.get("traces", [])]


@dataclass(slots=True)
class Ledger:
    """What all callers sent, and when something was answered."""

    writes: list[Write] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    """Why tries failed: a status, or the kind of the error of the connection."""

    unexpected: list[str] = field(default_factory=list)
    """Answers that no fault excuses."""

    successes: list[tuple[float, float]] = field(default_factory=list)
    """(sent at, answered at) of every try that succeeded, by the monotonic clock."""

    @property
    def answered(self) -> list[Write]:
        return [write for write in self.writes if write.status is not None]

    @property
    def retries(self) -> int:
        return sum(write.tries - 1 for write in self.writes)

    def healed(self, moment: float) -> float | None:
        """Seconds from ``moment`` until the first answer to something that was sent after it."""
        return min((end - moment for sent, end in self.successes if sent >= moment), default=None)


class Caller:
    """Writes one thing after the other, each to the API that comes next, and again until it is answered."""

    def __init__(self, name: str, seed: str, client: httpx.AsyncClient, urls: list[str], ledger: Ledger) -> None:
        self._name = name
        self._random = random.Random(f"{seed} {name}")  # noqa: S311 - the same traffic for the same seed
        self._client = client
        self._urls = urls
        self._ledger = ledger
        self._made = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Writes until told to stop; what was begun is brought to its end."""
        while not stop.is_set():
            write = self._next()
            self._ledger.writes.append(write)
            await self._send(write)
            await asyncio.sleep(self._random.uniform(0.0, 0.25))

    async def _send(self, write: Write) -> None:
        headers = {"Idempotency-Key": uuid4().hex}
        began, backoff = time.monotonic(), 0.1
        while True:
            write.tries += 1
            sent = time.monotonic()
            try:
                answer = await self._client.post(
                    f"{self._random.choice(self._urls)}/memory/remember",
                    params={"wait": str(write.wait).lower()},
                    json=write.body,
                    headers=headers,
                )
            except httpx.TransportError as error:
                self._ledger.refusals[type(error).__name__] += 1
                pause = backoff
            else:
                if answer.status_code in (201, 202):
                    now = time.monotonic()
                    self._ledger.successes.append((sent, now))
                    write.status, write.answer, write.seconds = answer.status_code, answer.json(), now - began
                    return
                self._ledger.refusals[str(answer.status_code)] += 1
                if answer.status_code not in (409, 429, 503) or "retry-after" not in answer.headers:
                    self._ledger.unexpected.append(f"{answer.status_code} {answer.text}")
                    return
                pause = max(backoff, float(answer.headers["retry-after"]))
            if write.gives_up:
                return
            if time.monotonic() - began > LONGEST_WAIT:
                self._ledger.unexpected.append(f"not answered after {write.tries} tries")
                return
            await asyncio.sleep(pause * self._random.uniform(0.8, 1.2))
            backoff = min(2 * backoff, 2.0)

    def _next(self) -> Write:
        user = SHARED if self._random.random() < 0.35 else f"{self._name} {self._random.randrange(2)}"
        make: Callable[[], dict[str, Any]] = self._random.choices(
            [self._one, self._batch, self._messages], weights=[4, 3, 3]
        )[0]
        first = self._made
        body = {"user_id": user} | make()
        markers = [self._marker(n) for n in range(first, self._made)]
        return Write(body, self._random.random() < 0.6, markers, gives_up=self._random.random() < 0.1)

    def _one(self) -> dict[str, Any]:
        return {"traces": [self._trace()]}

    def _batch(self) -> dict[str, Any]:
        most = self._random.choice([5, 15, LARGEST_BATCH])
        traces = [self._trace() for _ in range(self._random.randint(2, most))]
        return {"traces": traces} | ({"conversation_id": self._conversation()} if self._random.random() < 0.5 else {})

    def _messages(self) -> dict[str, Any]:
        roles = ["user", "assistant"] * 3
        messages = [{"role": role, "content": self._text()} for role in roles[: self._random.randint(1, 6)]]
        return {"messages": messages, "conversation_id": self._conversation()}

    def _trace(self) -> dict[str, Any]:
        trace: dict[str, Any] = {"content": self._text()}
        if self._random.random() < 0.4:
            trace["external_id"] = self._marker(self._made - 1)
        return trace

    def _conversation(self) -> str:
        return f"conversation {self._random.randrange(3)}"

    def _text(self) -> str:
        marker = self._marker(self._made)
        self._made += 1
        return f"{marker} {' '.join(self._random.choices(_WORDS, k=self._random.randint(4, 16)))}."

    def _marker(self, number: int) -> str:
        return f"{self._name}n{number}"
