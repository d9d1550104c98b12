"""The largest values that a caller may send, from the settings."""

from dataclasses import dataclass

from pydantic import ValidationInfo

from reverie.core.config import Settings

LIMIT = "x-limit"
"""Stands in a JSON Schema for the name of the limit that is its ``maxLength``, until the API is described."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Passed as pydantic's validation context to everything that comes in."""

    content_chars: int = 1_000_000
    question_chars: int = 100_000
    id_chars: int = 255
    meta_levels: int = 32


def limits_from(settings: Settings) -> Limits:
    """The limits that the settings name."""
    return Limits(
        settings.memory_max_content_chars,
        settings.memory_max_question_chars,
        settings.memory_max_id_chars,
        settings.memory_max_meta_depth,
    )


def limits_of(info: ValidationInfo) -> Limits:
    """The limits in force for a validation."""
    return info.context if isinstance(info.context, Limits) else Limits()
