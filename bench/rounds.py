"""A round of `bench/speed`: what it does, what it finds, and the columns that its tables make of that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

from bench.report import Spread, percentile
from bench.tenants import Sentences
from bench.text import Turn, conversation, sentences
from bench.timing import cut
from reverie.embedding.protocol import FloatArray

SERVICE, A, B = "service", "floor A", "floor B"
BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Size:
    """How much one round does. ``turns``: None for as many as a long chat has; ``supplied``: traces of a batch."""

    turns: int | None
    questions: int
    thorough: int
    supplied: int


@dataclass(frozen=True, slots=True)
class Work:
    """What one round does. ``asked`` goes to every side, ``together`` to the callers, ``thorough`` to that recipe.

    ``supplied``: texts and their vectors, float32 ``[texts, dim]``. No question stands in two of the lists.
    """

    turns: Sequence[Turn]
    asked: Sequence[str]
    together: Sequence[str]
    thorough: Sequence[str]
    supplied: Sequence[tuple[Sequence[str], FloatArray]]

    @classmethod
    def of(cls, seed: int, size: Size, drawn: Sentences) -> "Work":
        """Work that ``seed`` decides, with two batches of vectors."""
        talk = conversation(seed, size.turns, 2 * size.questions + size.thorough)
        questions = [question.text for question in talk.questions]
        asked, together, *rest = cut(questions, size.questions)
        texts = [f"{row}. {text}" for row, text in enumerate(islice(sentences(seed), 2 * size.supplied))]
        supplied = [
            (batch, drawn.draw(seed + place, len(batch))) for place, batch in enumerate(cut(texts, size.supplied))
        ]
        return cls(talk.turns, asked, together, [question for part in rest for question in part], supplied)

    @property
    def batches(self) -> list[Sequence[Turn]]:
        """The turns as they are remembered."""
        return cut(self.turns, BATCH)

    def steps(self, sides: int) -> int:
        """Batches and questions of everybody."""
        return sides * (len(self.batches) + len(self.asked) + len(self.supplied)) + len(self.thorough)


@dataclass(slots=True)
class Round:
    """What one round found: seconds of every batch and question of each side, and the machine's load."""

    turns: int
    vectors: int
    remembered: dict[str, list[float]] = field(default_factory=dict)
    recalled: dict[str, list[float]] = field(default_factory=dict)
    supplied: dict[str, list[float]] = field(default_factory=dict)
    together: dict[str, float] = field(default_factory=dict)
    """Recalls a second: of all callers of the service together, and of floor B's one process."""

    thorough: list[float] = field(default_factory=list)
    degraded: int = 0
    """How many of those answered without being reranked."""

    http: list[float] = field(default_factory=list)
    load: float = 0.0

    def rate(self, side: str) -> float:
        """Turns remembered in a second."""
        return self.turns / sum(self.remembered[side])

    def recall_ms(self, side: str, percent: float) -> float:
        """A percentile of recall, in milliseconds."""
        return percentile(self.recalled[side], percent) * 1000

    def supplied_rate(self, side: str) -> float:
        """Traces remembered in a second that bring their vectors; 0 where the side takes none."""
        seconds = sum(self.supplied[side])
        return self.vectors / seconds if seconds else 0.0

    def plain(self) -> dict[str, Any]:
        """As plain values, for JSON: every single measurement too."""
        sides = {
            name: {
                "turns_per_second": self.rate(name),
                "recall_p50_ms": self.recall_ms(name, 50),
                "recall_p95_ms": self.recall_ms(name, 95),
                "supplied_per_second": self.supplied_rate(name),
                "batch_ms": _milliseconds(self.remembered[name]),
                "question_ms": _milliseconds(self.recalled[name]),
                "supplied_ms": _milliseconds(self.supplied[name]),
            }
            for name in self.recalled
        }
        return {
            "turns": self.turns,
            "load": self.load,
            "http_p50_ms": percentile(self.http, 50) * 1000,
            "recalls_per_second_together": self.together,
            "thorough_ms": _milliseconds(self.thorough),
            "thorough_degraded": self.degraded,
            "sides": sides,
        }


@dataclass(frozen=True, slots=True)
class Column:
    """What is measured of every side, as a number of a round."""

    name: str
    unit: str
    of: Callable[[Round, str], float]
    more_is_better: bool
    digits: int = 1

    @property
    def wanted(self) -> Literal["at least", "at most"]:
        """The sense of a bar."""
        return "at least" if self.more_is_better else "at most"

    def shown(self, found: Sequence[Round], side: str) -> str:
        """Such as ``190 (180–200)``; nothing where the side does not do that."""
        measured = [self.of(one, side) for one in found]
        return Spread.of(measured).shown(self.digits) if all(measured) else ""

    def shown_ratio(self, found: Sequence[Round], side: str) -> str:
        """The same of the service's to that of the side."""
        return self.ratio(found, side).shown(2) if self.shown(found, side) else ""

    def ratio(self, found: Sequence[Round], *sides: str) -> Spread:
        """The service's to that of the best of ``sides``, round by round."""
        best = max if self.more_is_better else min
        return Spread.of(self.of(one, SERVICE) / best(self.of(one, side) for side in sides) for one in found)


REMEMBER: Final = Column("remember", "turns/s", Round.rate, more_is_better=True, digits=0)
P50: Final = Column("recall p50", "ms", lambda one, side: one.recall_ms(side, 50), more_is_better=False)
P95: Final = Column("recall p95", "ms", lambda one, side: one.recall_ms(side, 95), more_is_better=False)
SUPPLIED: Final = Column("supplied", "traces/s", Round.supplied_rate, more_is_better=True, digits=0)
COLUMNS: Final = (REMEMBER, P50, P95, SUPPLIED)


def _milliseconds(seconds: Sequence[float]) -> list[float]:
    return [round(one * 1000, 3) for one in seconds]
