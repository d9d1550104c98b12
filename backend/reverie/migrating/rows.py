"""A row of a table of episodes as a trace to be remembered. Pure functions."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

import orjson

MOST_NAMES: Final = 64
"""Participants, or topics, of an episode; the rest of more stays in its ``meta`` alone."""

MOST_NAME: Final = 100
"""Characters of a participant's name, or a topic's; what is longer is a sentence."""

ROLES: Final = {
    "human": "user", "person": "user", "ai": "assistant", "bot": "assistant", "agent": "assistant",
    "model": "assistant", "developer": "system", "function": "tool",
}  # fmt: skip
"""Roles of others → ours."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS: Final = 100_000_000_000
"""Seconds of the year 5138: a greater number counts milliseconds."""

_NUMBER: Final = re.compile(r"-?\d{8,16}(?:\.\d+)?")
"""Seconds or milliseconds since 1970. With fewer digits it would be of that spring: a year, or a number of days."""

_NAME_KEYS: Final = ("name", "full_name", "display_name", "label", "title", "topic", "tag", "value", "id")


class Faulty(ValueError):  # noqa: N818 - what is told of the row
    """A row that cannot be remembered; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read, which is judged later: a JSON that cannot be read is a fault of this row alone.

    Attributes:
        place: where it lies.
        fields: what a trace is made of → the text.
        several: of participants and topics, the JSON of whatever holds them.
        rest: columns → the JSON of what goes into ``meta`` under their names.
        meta: the column of ``rest`` whose members go there under their own.
    """

    place: str
    fields: Mapping[str, str | None]
    several: Mapping[str, Sequence[str | None]]
    rest: Mapping[str, str | None]
    meta: str = ""

    @property
    def id(self) -> str:
        """By which it is told of."""
        return self.fields.get("id") or f"at {self.place}"


@dataclass(frozen=True, slots=True)
class Episode:
    """A row to be remembered: whose it is, the trace as the service takes it, and what it is linked by."""

    row: str
    user: str
    trace: dict[str, Any]
    happened_at: datetime | None
    participants: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()

    @property
    def day(self) -> date | None:
        """Of its date, in UTC."""
        return None if self.happened_at is None else self.happened_at.astimezone(UTC).date()


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read.

    Attributes:
        table: by which the traces say where they come from.
        user: whose they are, where no column says so.
        zone: of dates without an offset.
        undated: whether a row without a date is taken; it happens when it is remembered.
        since: what happened before is passed over; in ``zone``.
        prefix: before the ids, where those of another table are the same.
    """

    table: str
    user: str | None
    zone: tzinfo = UTC
    undated: bool = False
    since: datetime | None = None
    prefix: str = ""


def episode(row: Row, how: Reading) -> Episode | None:
    """What is remembered of a row; None where it happened before what is wanted.

    Raises:
        Faulty: it cannot be remembered.
    """
    fields = row.fields
    if fields.get("id") in (None, ""):
        raise Faulty("its id is null.")
    if fields.get("content") is None:
        raise Faulty("its content is null.")
    happened_at = moment(fields.get("happened_at"), how.zone)
    if happened_at is None and "happened_at" in fields and not how.undated:
        raise Faulty("its date is null: give it one, or take such rows by --undated.")
    if how.since is not None and (happened_at is None or happened_at < how.since):
        return None
    user = fields.get("user") if "user" in fields else how.user
    if not user:
        raise Faulty("it says not whose memory it is: its user is null.")
    participants, topics = (_several(row, name) for name in ("participants", "topics"))
    meta = _meta(row)
    meta |= {name: list(found) for name, found in (("participants", participants), ("topics", topics)) if found}
    trace: dict[str, Any] = {
        "content": fields["content"],
        "external_id": f"{how.prefix}{fields['id']}",
        "occurred_at": happened_at,
        "source": {"table": how.table, "id": fields["id"]},
        "meta": meta or None,
        "conversation_id": fields.get("conversation") or None,
        "speaker": fields.get("speaker") or None,
        "kind": fields.get("kind") or None,
        "language": fields.get("language") or None,
    }
    if fields.get("role"):
        role = str(fields["role"]).strip().lower()
        trace["role"] = ROLES.get(role, role)
    if fields.get("salience") is not None:
        trace["salience"] = _number(str(fields["salience"]))
    given = {name: value for name, value in trace.items() if value is not None}
    return Episode(row.id, user, given, happened_at, participants[:MOST_NAMES], topics[:MOST_NAMES])


def moment(text: str | None, zone: tzinfo = UTC) -> datetime | None:
    """A date as PostgreSQL or a person wrote it, or seconds or milliseconds since 1970; None where there is none.

    Raises:
        Faulty: it is no date, or none that a calendar of four digits has.
    """
    written = (text or "").strip()
    if not written:
        return None
    try:
        if _NUMBER.fullmatch(written) and not (len(written) == 8 and written.isdigit()):
            number = float(written)
            return _EPOCH + timedelta(seconds=number / 1000 if abs(number) >= _MILLISECONDS else number)
        found = _written(written)
        return (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        raise Faulty(f"its date {written[:40]!r} is none.") from None


def _written(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)


def _several(row: Row, name: str) -> tuple[str, ...]:
    try:
        return names(*(_parsed(text, name) for text in row.several.get(name, ())))
    except RecursionError:
        raise Faulty(f"the JSON of its {name} has too many levels.") from None


def _meta(row: Row) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for column, text in row.rest.items():
        value = _parsed(text, column)
        if column == row.meta and isinstance(value, dict):
            meta |= value
        elif value is not None:
            meta[column] = value
    return meta


def _parsed(text: str | None, what: str) -> Any:
    # Not orjson: it rounds whole numbers beyond 64 bits, which the service refuses.
    try:
        return None if text is None else json.loads(text, parse_float=_finite)
    except (ValueError, RecursionError):
        raise Faulty(f"the JSON of its {what} cannot be read.") from None


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError
    return number


def names(*values: object) -> tuple[str, ...]:
    """Names out of whatever holds them: a list, JSON, objects with a name, a text with commas; each once, in order."""
    found: dict[str, str] = {}
    for one in (name for value in values for name in _names(value)):
        name = " ".join(one.split())
        if name and len(name) <= MOST_NAME:
            found.setdefault(name.casefold(), name)
    return tuple(found.values())


def _names(value: object) -> list[str]:
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("[", "{"):
            try:
                return _names(orjson.loads(text))
            except orjson.JSONDecodeError:
                pass
        return re.split(r"[,;|\n]", text)
    if isinstance(value, Mapping):
        for key in _NAME_KEYS:
            if isinstance(value.get(key), str | int):
                return [str(value[key])]
        return [name for one in value.values() if isinstance(one, list) for name in _names(one)]
    if isinstance(value, Sequence):
        return [
            name for one in value if one is not None
            for name in ([one] if isinstance(one, str) and one.strip()[:1] not in ("[", "{") else _names(one))
        ]  # fmt: skip
    return [str(value)] if isinstance(value, int) and not isinstance(value, bool) else []


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
