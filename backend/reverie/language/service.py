"""The language model of a process, and what a night may ask of it."""

from uuid import UUID

from reverie.core.config import Settings
from reverie.language.budget import Budget, Budgeted
from reverie.language.endpoint import build_model
from reverie.language.protocol import LanguageModel


class Language:
    """Opens the language model that the settings name, if any; nothing is asked before the first question."""

    def __init__(self, model: LanguageModel | None, most_tokens: int) -> None:
        self._model = model
        self._most_tokens = most_tokens

    @classmethod
    def of(cls, settings: Settings) -> "Language":
        """The one of the settings.

        Raises:
            SettingsError: LANGUAGE_MODEL_URL is no URL, or the key cannot be a header.
        """
        return cls(build_model(settings), settings.language_model_max_tokens_per_night)

    def of_night(self, space_id: UUID, spent: int) -> Budgeted | None:  # noqa: ARG002 - one model for all spaces
        """The model for a space in one night, of whose tokens ``spent`` are used up; None where there is no model."""
        return None if self._model is None else Budgeted(self._model, Budget(self._most_tokens, spent))

    async def close(self) -> None:
        """Closes the connections."""
        if self._model is not None:
            await self._model.close()
