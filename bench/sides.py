"""Who is measured by `bench/speed`, and what each is asked: the service over HTTP, the floors, the peers."""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from bench.client import Client, in_base64
from bench.floor import Floor
from bench.peers import PeerProcess
from bench.report import Degraded
from bench.text import Turn
from bench.timing import timed
from reverie.embedding.heads import semantic_text
from reverie.embedding.protocol import FloatArray


class Side(Protocol):
    """One of those that are measured; seconds of each batch or question."""

    def remember(self, batches: Sequence[Sequence[Turn]]) -> list[float]: ...

    def recall(self, questions: Sequence[str]) -> list[float]: ...

    def supply(self, batches: Sequence[tuple[Sequence[str], FloatArray]]) -> list[float]:
        """Remembers texts with their vectors; nothing where it cannot."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceSide:
    """The service, seen from a caller."""

    client: Client
    user: str

    @property
    def other_user(self) -> str:
        """Whose traces bring their vectors."""
        return f"{self.user}/supplied"

    def remember(self, batches: Sequence[Sequence[Turn]]) -> list[float]:
        return [timed(self._remember, batch) for batch in batches]

    def recall(self, questions: Sequence[str]) -> list[float]:
        return [timed(self.client.recall, self.user, question) for question in questions]

    def supply(self, batches: Sequence[tuple[Sequence[str], FloatArray]]) -> list[float]:
        return [timed(self._supply, *batch) for batch in batches]

    def _remember(self, batch: Sequence[Turn]) -> None:
        traces = [
            {
                "external_id": turn.external_id,
                "conversation_id": turn.session,
                "speaker": turn.speaker,
                "content": turn.content,
                "occurred_at": turn.occurred_at,
            }
            for turn in batch
        ]
        self.client.remember(self.user, traces)

    def _supply(self, texts: Sequence[str], vectors: FloatArray) -> None:
        traces = [
            {"content": text, "embedding": in_base64(vector)} for text, vector in zip(texts, vectors, strict=True)
        ]
        self.client.remember(self.other_user, traces)

    def recall_thoroughly(self, questions: Sequence[str]) -> tuple[list[float], int]:
        """The seconds of each by the recipe `thorough`, and how many were not reranked in time."""
        asked = [self._recall_thoroughly(question) for question in questions]
        return [seconds for seconds, _ in asked], sum(degraded for _, degraded in asked)

    def _recall_thoroughly(self, question: str) -> tuple[float, bool]:
        degraded: list[Degraded] = []

        def ask() -> None:
            try:
                self.client.ask(self.user, question, recipe="thorough")
            except Degraded as error:
                degraded.append(error)

        return timed(ask), bool(degraded)


@dataclass(frozen=True, slots=True)
class FloorSide:
    """A floor; it encodes the same text as the service."""

    floor: Floor
    user: uuid.UUID

    def remember(self, batches: Sequence[Sequence[Turn]]) -> list[float]:
        rows = [[(uuid.uuid4(), _text(turn)) for turn in batch] for batch in batches]
        return self.floor.remember(self.user, rows)

    def recall(self, questions: Sequence[str]) -> list[float]:
        return self.floor.recall(self.user, questions)

    def supply(self, batches: Sequence[tuple[Sequence[str], FloatArray]]) -> list[float]:  # noqa: ARG002
        return []


@dataclass(frozen=True, slots=True)
class PeerSide:
    """A peer; it encodes the same text too."""

    peer: PeerProcess
    user: str

    def remember(self, batches: Sequence[Sequence[Turn]]) -> list[float]:
        return self.peer.remember(self.user, [[_text(turn) for turn in batch] for batch in batches])

    def recall(self, questions: Sequence[str]) -> list[float]:
        return self.peer.recall(self.user, questions)

    def supply(self, batches: Sequence[tuple[Sequence[str], FloatArray]]) -> list[float]:
        return self.peer.supply(f"{self.user}/supplied", batches)


def recall_together(clients: Sequence[Client], user: str, questions: Sequence[str]) -> float:
    """The seconds until all questions are answered, asked by all callers at once."""
    shares = [questions[number :: len(clients)] for number in range(len(clients))]

    def ask(client: Client, share: Sequence[str]) -> None:
        for question in share:
            client.recall(user, question)

    with ThreadPoolExecutor(len(clients)) as callers:
        return timed(lambda: list(callers.map(ask, clients, shares)))


def _text(turn: Turn) -> str:
    return semantic_text(turn.content, turn.speaker)
