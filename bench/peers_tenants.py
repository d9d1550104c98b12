"""The peers' part of `bench/tenants`: the same users with the same vectors in the one index that each of them has.

Both insert so slowly that they are given as many users as fit a number of traces: everybody of the smallest size, one
of each larger size, and then others while there is room.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peers import K, Peer, PeerProcess, peer_process, peer_schema
from bench.text import sentences
from reverie.embedding.protocol import FloatArray

if TYPE_CHECKING:
    from bench.tenants import Sentences, Size

BATCH = 1000


@dataclass(slots=True)
class Found:
    """What was found of a peer's users of one size."""

    traces: int
    users: int
    recall: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "traces": self.traces,
            "users": self.users,
            "recall_at_10": sum(self.recall) / len(self.recall),
            "recall_ms": [round(one * 1000, 3) for one in self.seconds],
        }


@dataclass(slots=True)
class PeerStore:
    """A peer's whole store: its users, how fast it took their traces, and what was found of each size."""

    peer: Peer
    users: list[tuple[int, int]]
    """(traces, number) of each."""

    seconds: float = 0.0
    found: list[Found] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Such as ``mem0 of 30,000``."""
        return f"{self.peer.name} of {self.traces:,}"

    @property
    def traces(self) -> int:
        return sum(traces for traces, _ in self.users)

    @property
    def rate(self) -> float:
        """Traces a second, in batches of BATCH."""
        return self.traces / self.seconds

    def plain(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "peer": self.peer.name,
            "users_apart_by": self.peer.apart_by,
            "traces": self.traces,
            "users": len(self.users),
            "traces_per_second": self.rate,
            "sizes": [one.plain() for one in self.found],
        }


def those_that_fit(sizes: Sequence["Size"], most: int) -> list[tuple[int, int]]:
    """(traces, number) of the users that a peer is given, at most ``most`` traces in all; the smallest come first."""
    first = [(size.traces, number) for size in sizes[:1] for number in size.users]
    first += [(size.traces, size.users[0]) for size in sizes[1:]]
    taken, room = [], most
    for user in first + [(size.traces, number) for size in sizes[1:] for number in size.users[1:]]:
        if user[0] <= room:
            taken.append(user)
            room -= user[0]
    return sorted(taken)


def measure(
    peer: Peer, sizes: Sequence["Size"], most: int, drawn: "Sentences", database_url: str, advance: Callable[[int], Any]
) -> PeerStore:
    """Fills a peer's store with at most ``most`` traces, and asks every size its questions."""
    store = PeerStore(peer, those_that_fit(sizes, most))
    with ExitStack() as stack:
        process = stack.enter_context(peer_process(peer))
        process.open(stack.enter_context(peer_schema(database_url)))
        for traces, number in store.users:
            store.seconds += _load(process, number, drawn.draw(number, traces), advance)
        process.analyze()
        for size in sizes:
            numbers = [number for traces, number in store.users if traces == size.traces]
            if numbers:
                store.found.append(_ask(process, size, numbers, drawn))
    return store


def _load(process: PeerProcess, number: int, vectors: FloatArray, advance: Callable[[int], Any]) -> float:
    """The seconds that a user's traces take."""
    texts = [f"{row}. {text}" for row, text in enumerate(islice(sentences(number), len(vectors)))]
    seconds = 0.0
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        seconds += sum(process.supply(str(number), [(batch, vectors[start : start + BATCH])]))
        advance(len(batch))
    return seconds


def _ask(process: PeerProcess, size: "Size", numbers: Sequence[int], drawn: "Sentences") -> Found:
    """The questions of a size, shared out among those of its users that there are."""
    found = Found(size.traces, len(numbers))
    vectors = [question.vector for _, question in size.questions]
    for place, number in enumerate(numbers):
        rows = drawn.draw(number, size.traces)
        for vector in vectors[place :: len(numbers)]:
            texts, seconds = process.find(str(number), vector)
            wanted = set(np.argsort(rows @ vector)[::-1][:K].tolist())
            found.recall.append(len(wanted & {int(text.partition(".")[0]) for text in texts}) / len(wanted))
            found.seconds.append(seconds)
    return found
