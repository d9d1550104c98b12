"""Types of fields that everything that comes in shares: what PostgreSQL can hold, in the caller's words. Pure."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema

from reverie.core.limits import LIMIT, limits_of
from reverie.text.languages import CONFIGURATIONS, SIMPLE, configuration

_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_MOST_INTEGER = 2**63


def storable_text(value: str) -> str:
    """``value``, if PostgreSQL can store it.

    Raises:
        ValueError: it holds U+0000 or a lone surrogate; the message is the end of a sentence about the field.
    """
    found = _FORBIDDEN.search(value)
    if found is None:
        return value
    name = "U+0000" if found[0] == "\x00" else f"a lone surrogate (U+{ord(found[0]):04X})"
    raise ValueError(f"takes text without {name}")


def _at_most(value: str, most: int) -> str:
    if len(value) > most:
        raise ValueError(f"takes at most {most} characters, not {len(value)}")
    return storable_text(value)


def short_text(value: str, info: ValidationInfo) -> str:
    """``value``, if it is as short as an id has to be."""
    return _at_most(value, limits_of(info).id_chars)


def content_text(value: str, info: ValidationInfo) -> str:
    """``value``, if it may be the content of a trace."""
    return not_blank(_at_most(value, limits_of(info).content_chars))


def question_text(value: str, info: ValidationInfo) -> str:
    """``value``, if it may be a question."""
    return not_blank(_at_most(value, limits_of(info).question_chars))


def not_blank(value: str) -> str:
    """``value``, if it holds more than white space."""
    if not value or value.isspace():
        raise ValueError("takes text that is not blank")
    return value


def moment(value: object) -> datetime:
    """A date or time in ISO 8601 as UTC; one without an offset is taken as UTC.

    Raises:
        ValueError: it is none, or lies outside the years 1 to 9999.
    """
    if isinstance(value, datetime):
        parsed = value
    elif isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError("takes an ISO 8601 time such as 2026-05-08T13:56:00Z") from None
    else:
        raise ValueError("takes an ISO 8601 time such as 2026-05-08T13:56:00Z")
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    if not EARLIEST <= parsed <= LATEST:
        raise ValueError("takes a time within the years 1 to 9999")
    return parsed.astimezone(UTC)


def json_object(value: object, info: ValidationInfo) -> object:
    """``value``, if jsonb can hold it: few enough levels, text without U+0000, numbers of at most 64 bits.

    Raises:
        ValueError: the end of a sentence about the field.
    """
    if not isinstance(value, dict):
        raise ValueError("takes a JSON object")
    level: list[Any] = [value]
    most = limits_of(info).meta_levels
    for _ in range(most):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return value
    raise ValueError(f"takes JSON of at most {most} levels")


def _children(parent: Any) -> list[Any]:
    if isinstance(parent, dict):
        for key in parent:
            storable_text(key)
        values = list(parent.values())
    elif isinstance(parent, list):
        values = parent
    else:
        return []
    for child in values:
        if isinstance(child, str):
            storable_text(child)
        elif isinstance(child, int) and not -_MOST_INTEGER <= child < 2 * _MOST_INTEGER:
            raise ValueError("takes whole numbers of at most 64 bits")
    return [child for child in values if isinstance(child, dict | list)]


def no_number(value: object) -> object:
    """What ``Literal[True]`` takes but a number: 1 equals True.

    Raises:
        ValueError: it is one.
    """
    if value == 1 and value is not True:
        raise ValueError("takes true")
    return value


def whole(value: object) -> object:
    """What JSON Schema takes for a whole number, also where it is written as 30.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


STORABLE = r"^[^\u0000]*$"
NOT_BLANK = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"
"""Patterns (ECMA 262) of text that PostgreSQL can store, and that holds more than white space."""


def _described_text(limit: str, *, blank: bool = False) -> WithJsonSchema:
    """What the API's description says of text of at most so many characters."""
    least = {} if blank else {"minLength": 1}
    return WithJsonSchema({"type": "string", **least, LIMIT: limit, "pattern": STORABLE if blank else NOT_BLANK})


_LANGUAGES = "|".join([*sorted(CONFIGURATIONS.values()), SIMPLE])

Text = Annotated[str, AfterValidator(short_text), _described_text("id_chars", blank=True)]
Identifier = Annotated[str, AfterValidator(short_text), AfterValidator(not_blank), _described_text("id_chars")]
Content = Annotated[str, AfterValidator(content_text), _described_text("content_chars")]
Question = Annotated[str, AfterValidator(question_text), _described_text("question_chars")]
Moment = Annotated[datetime, BeforeValidator(moment), WithJsonSchema({"type": "string", "format": "date-time"})]
JsonObject = Annotated[dict[str, Any], BeforeValidator(json_object)]
Language = Annotated[
    str,
    AfterValidator(configuration),
    WithJsonSchema({"type": "string", "pattern": f"^({_LANGUAGES}|({'|'.join(CONFIGURATIONS)})([-_].*)?)$"}),
]
