"""What a language model may cost in one night, and leaving one alone that keeps failing."""

from collections import Counter
from dataclasses import replace
from typing import Final

import structlog

from reverie.core.breaker import Breaker
from reverie.language.protocol import Answer, LanguageModel, LanguageModelError, Question, Reason

LEAST_ANSWER_TOKENS: Final = 128
"""A question is not asked where the budget leaves its answer less."""

_FAILURES: Final = 3
"""So many in a row, and the model is left alone for a while."""

_PAUSE_SECONDS: Final = 300.0
_TRIAL_SECONDS: Final = 60.0
_LASTING: Final = frozenset({Reason.KEY, Reason.NOT_FOUND})
"""What no second try mends."""

_OF_THE_QUESTION: Final = frozenset({Reason.REFUSED, Reason.TOO_LARGE})
"""What says nothing of the next question."""

log = structlog.get_logger(__name__)


class Budget:
    """The tokens of one space in one night: ``most`` in all, ``spent`` so far."""

    def __init__(self, most: int, spent: int = 0) -> None:
        self.most = most
        self.spent = spent

    @property
    def left(self) -> int:
        return max(0, self.most - self.spent)


class Budgeted:
    """A :class:`~reverie.language.protocol.LanguageModel` that asks the budget first.

    One that failed several times in a row, or does not know the key or the model, is left alone for some minutes, so
    that a night does not spend its time on waiting.
    """

    def __init__(self, model: LanguageModel, budget: Budget, *, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self.budget = budget
        self.calls = 0
        """Questions that were sent, whatever came of them."""

        self.missing: Counter[str] = Counter()
        """Questions without an answer, by reason."""

        self._model = model
        self._breaker = Breaker(pause_seconds, _TRIAL_SECONDS)
        self._failures = 0

    @property
    def name(self) -> str:
        return self._model.name

    async def ask(self, question: Question) -> Answer:
        """One answer, unchecked; its length is bounded by what is left of the budget.

        Raises:
            LanguageModelError: there is none.
        """
        try:
            return await self._ask(self._affordable(question))
        except LanguageModelError as error:
            self.missing[error.reason] += 1
            raise

    async def close(self) -> None:
        """Nothing: the model itself outlives the night."""

    def _affordable(self, question: Question) -> Question:
        room = self.budget.left - question.tokens
        if room < min(LEAST_ANSWER_TOKENS, question.most_tokens):
            raise LanguageModelError(
                Reason.NO_BUDGET, "The tokens of this night are spent (LANGUAGE_MODEL_MAX_TOKENS_PER_NIGHT)."
            )
        if not self._breaker.ask():
            raise LanguageModelError(Reason.LEFT_ALONE, "The language model failed, and is left alone for a while.")
        return replace(question, most_tokens=min(question.most_tokens, room))

    async def _ask(self, question: Question) -> Answer:
        self.calls += 1
        try:
            answer = await self._model.ask(question)
        except LanguageModelError as error:
            self.budget.spent += error.tokens
            self._failed(error)
            raise
        self.budget.spent += answer.tokens
        self._works()
        return answer

    def _works(self) -> None:
        self._failures = 0
        self._breaker.answered()

    def _failed(self, error: LanguageModelError) -> None:
        if error.reason in _OF_THE_QUESTION:
            self._works()
            return
        self._failures += 1
        if error.reason in _LASTING or self._failures >= _FAILURES or self._breaker.doubtful:
            self._breaker.failed()
            log.warning("language model left alone", model=self.name, reason=error.reason, error=error.detail)
