"""What a language model is, and why there may be no answer of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

BYTES_PER_TOKEN: Final = 4
"""Of UTF-8, where an endpoint does not say how many tokens it counted: some four in prose, in most scripts."""


class Reason(StrEnum):
    """Why an answer is missing, or was not taken; by these a report counts what was done without the model."""

    LATE = "late"
    UNREACHABLE = "unreachable"
    PRIVATE = "private address"
    KEY = "key refused"
    NOT_FOUND = "not found"
    BUSY = "busy"
    FAILED = "failed"
    REFUSED = "request refused"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too large"
    NO_BUDGET = "over budget"
    LEFT_ALONE = "left alone"
    EMPTY = "empty"
    CUT = "cut off"
    FORM = "form"
    LENGTH = "length"
    LANGUAGE = "language"
    NAMES = "names"
    NUMBERS = "numbers"
    MARKUP = "markup"
    PREAMBLE = "preamble"
    REPETITION = "repetition"
    ORDERS = "orders"
    UNFOUNDED = "unfounded"

    @property
    def says(self) -> str:
        """The reason in words, after "the model"."""
        return _SAYS[self]


_SAYS: Final = {
    Reason.LATE: "did not answer in time",
    Reason.UNREACHABLE: "could not be reached",
    Reason.PRIVATE: "was not asked: it is at a private address, and AI_PRIVATE_ENDPOINTS is not `allow` here",
    Reason.KEY: "did not take the key",
    Reason.NOT_FOUND: "is not there",
    Reason.BUSY: "had too much to do",
    Reason.FAILED: "failed",
    Reason.REFUSED: "refused the question",
    Reason.UNREADABLE: "gave an answer that is none",
    Reason.TOO_LARGE: "answered with too much",
    Reason.NO_BUDGET: "was not asked: the tokens of the night were spent",
    Reason.LEFT_ALONE: "was not asked: it had failed just before",
    Reason.EMPTY: "said nothing",
    Reason.CUT: "was not through when its answer was cut off",
    Reason.FORM: "answered in another form than it was asked for",
    Reason.LENGTH: "wrote too much or too little",
    Reason.LANGUAGE: "wrote in another language than the sources",
    Reason.NAMES: "named what no source names",
    Reason.NUMBERS: "told a number that no source tells",
    Reason.MARKUP: "wrote something else than plain text",
    Reason.PREAMBLE: "talked about its answer",
    Reason.REPETITION: "repeated itself",
    Reason.ORDERS: "obeyed what it was to read",
    Reason.UNFOUNDED: "wrote what the sources do not say",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked: our own words, and apart from them what they are about.

    ``material`` is JSON, and everything that was remembered stands in it alone; ``instructions`` hold none of it.
    ``most_tokens`` bounds the answer, the model's thoughts included.
    """

    instructions: str
    material: str
    most_tokens: int

    @property
    def tokens(self) -> int:
        """What the question costs by itself, estimated."""
        return estimated(self.instructions) + estimated(self.material)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said: ``tokens`` are those of question and answer, ``cut`` says that it was not through."""

    text: str
    tokens: int
    cut: bool = False


class LanguageModelError(Exception):
    """There is no answer.

    ``detail`` is one sentence without secrets; ``tokens`` are what the attempt is counted as all the same.
    """

    def __init__(self, reason: Reason, detail: str, tokens: int = 0) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.tokens = tokens


class LanguageModel(Protocol):
    """Answers questions; ``name`` is what reports and provenance call it."""

    @property
    def name(self) -> str: ...

    async def ask(self, question: Question) -> Answer:
        """One answer, unchecked.

        Raises:
            LanguageModelError: there is none.
        """
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


def estimated(text: str) -> int:
    """The tokens of a text, estimated."""
    return len(text.encode(errors="replace")) // BYTES_PER_TOKEN + 1
