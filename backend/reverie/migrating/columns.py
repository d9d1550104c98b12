"""Which column of a table of episodes is what: guessed by name and type, unless it is said. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

GUESSES: Final[dict[str, tuple[str, ...]]] = {
    "id": ("id", "episode_id", "uuid", "uid", "key"),
    "content": ("content", "text", "body", "episode", "message", "transcript", "description", "summary", "note"),
    "happened_at": (
        "happened_at", "occurred_at", "event_time", "event_date", "started_at", "start_time", "timestamp", "ts", "date",
        "day", "time", "when", "recorded_at", "created_at", "created", "inserted_at",
    ),
    "user": ("user_id", "user", "owner_id", "owner", "account_id", "agent_id", "username", "user_name"),
    "conversation": ("conversation_id", "session_id", "thread_id", "chat_id", "conversation", "session", "thread"),
    "role": ("role",),
    "speaker": ("speaker", "author", "sender", "said_by"),
    "kind": (),
    "salience": ("salience",),
    "language": ("language", "lang"),
    "participants": ("participants", "people", "persons", "attendees", "members", "who"),
    "topics": ("topics", "topic", "tags", "labels", "keywords", "categories", "category"),
    "meta": ("meta", "metadata", "attributes", "extra"),
}  # fmt: skip
"""What a trace is made of → names of columns that hold it, the likeliest first."""

REQUIRED: Final = ("id", "content")
LEFT_OUT: Final = "-"
"""In place of a field: the column is not brought along."""

SEVERAL: Final = ("participants", "topics")
"""Of which an episode may have many: an array, JSON, a list in a text, or another table."""

_KEPT: Final = frozenset("SNBDETU")
"""Categories of types (pg_type.typcategory) that JSON can hold: text, numbers, truth, times, enums, spans, others."""

_UNREADABLE: Final = frozenset({"bytea", "tsvector", "vector", "halfvec", "sparsevec", "bit", "bit varying", "xml"})
_RELATED: Final = {
    "participants": re.compile(r"particip|people|person|attend|speaker|member|contact|guest", re.IGNORECASE),
    "topics": re.compile(r"topic|tag|label|keyword|categor|subject|theme", re.IGNORECASE),
}
_NAMED: Final = (
    "name", "full_name", "display_name", "title", "label", "topic", "tag", "keyword", "category", "participant",
    "person", "value", "text", "email",
)  # fmt: skip


class WrongMap(ValueError):  # noqa: N818 - what the person who wrote it reads
    """A map that does not fit the table; the message is one sentence."""


class Column(NamedTuple):
    """A column: its type as PostgreSQL writes it, and that type's category."""

    name: str
    type: str
    category: str

    @property
    def is_text(self) -> bool:
        return self.category == "S"

    @property
    def is_moment(self) -> bool:
        """Whether it holds dates or times as such."""
        return self.category == "D" and not self.type.startswith("time ") and self.type != "time"

    @property
    def is_json(self) -> bool:
        return self.type in ("json", "jsonb")

    @property
    def is_array(self) -> bool:
        return self.category == "A"

    @property
    def readable(self) -> bool:
        """Whether JSON can hold it as something that a person reads."""
        return (self.category in _KEPT or self.is_array) and self.type.removesuffix("[]") not in _UNREADABLE


class Key(NamedTuple):
    """A foreign key of one column: of which table, to which."""

    table: str
    column: str
    to_table: str
    to_column: str


class Related(NamedTuple):
    """Where names of an episode's participants or topics stand: in ``table``, or where ``through`` leads from it."""

    table: str
    key: str
    """The column that names the episode."""

    of: str
    """The column of ``table`` that holds the name, or leads to it."""

    through: Key | None = None
    named: str = ""
    """The column of the other table that holds the name."""

    def __str__(self) -> str:
        if self.through is None:
            return f"{self.table}.{self.of}"
        return f"{self.through.to_table}.{self.named} by {self.table}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is brought along of a table.

    Attributes:
        table: as it is written in SQL.
        fields: what a trace is made of → the column.
        related: participants and topics that stand in other tables.
        rest: columns that go into ``meta`` under their own names.
        left_out: columns that are not brought along.
        columns: all of them, by name.
        unique: whether no two rows can have the same id.
        key: the column that other tables name episodes by.
    """

    table: str
    fields: Mapping[str, str]
    related: Mapping[str, Sequence[Related]] = field(default_factory=dict)
    rest: Sequence[str] = ()
    left_out: Sequence[str] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)
    unique: bool = True
    placed: bool = True
    """Whether a row can be told by where it lies: not those of a view."""

    def type_of(self, name: str) -> Column | None:
        """The column of a field, if it has one."""
        return self.columns.get(self.fields[name]) if name in self.fields else None


def maps(given: Sequence[str]) -> dict[str, str]:
    """``column=field`` as column → field.

    Raises:
        WrongMap: one is not written so, or names no field.
    """
    found: dict[str, str] = {}
    for one in given:
        column, equals, wanted = (part.strip() for part in one.rpartition("="))
        if not equals or not column:
            raise WrongMap(f"--map takes COLUMN=FIELD, such as body=content, not {one!r}.")
        if wanted not in (*GUESSES, LEFT_OUT):
            raise WrongMap(f"--map {one}: a field is one of {', '.join(GUESSES)}, or {LEFT_OUT} to leave it out.")
        found[column] = wanted
    return found


def planned(
    table: str, columns: Sequence[Column], keys: Sequence[Key], tables: Mapping[str, Sequence[Column]],
    mapped: Mapping[str, str], unique: Sequence[str], *, placed: bool = True,
) -> Plan:  # fmt: skip
    """The plan of a table.

    Args:
        table: as it is written in SQL.
        columns: of the table.
        keys: foreign keys that lead to the table, and from the tables that these are of.
        tables: the columns of those tables, and of those that they lead to.
        mapped: what was said: column → field.
        unique: columns that are unique by themselves.
        placed: whether its rows lie somewhere.

    Raises:
        WrongMap: a map names no column, or a required field has none.
    """
    known = {one.name: one for one in columns}
    fields: dict[str, str] = {}
    related: dict[str, list[Related]] = {}
    for name, wanted in mapped.items():
        if name not in known and (found := _said(table, name, keys, tables)) is not None and wanted in SEVERAL:
            related.setdefault(wanted, []).append(found)
            continue
        if name not in known:
            raise WrongMap(f"--map {name}={wanted}: {table} has no column {name}; it has {', '.join(known)}.")
        if wanted in fields:
            raise WrongMap(f"--map {name}={wanted}: {fields[wanted]} was given for {wanted} already.")
        if wanted != LEFT_OUT:
            fields[wanted] = name
    free = {name: one for name, one in known.items() if name not in mapped}
    for wanted, names in GUESSES.items():
        if wanted not in fields and wanted not in related:
            guessed = _guess(wanted, names, free, unique)
            if guessed is not None:
                fields[wanted] = guessed
                del free[guessed]
    for wanted in REQUIRED:
        if wanted not in fields:
            raise WrongMap(
                f"No column of {table} looks like {wanted}: name it by --map COLUMN={wanted}; "
                f"it has {', '.join(known)}."
            )
    for wanted in SEVERAL:
        if wanted not in fields and wanted not in related:
            related[wanted] = _found(table, wanted, fields["id"], keys, tables)
    rest = [name for name, one in free.items() if one.readable]
    left = [name for name in known if name not in rest and name not in fields.values()]
    return Plan(
        table, fields, {name: found for name, found in related.items() if found}, rest, left, known,
        fields["id"] in unique, placed,
    )  # fmt: skip


def _guess(wanted: str, names: Sequence[str], free: Mapping[str, Column], unique: Sequence[str]) -> str | None:
    lowered = {name.lower(): name for name in free}
    for name in names:
        column = free.get(lowered.get(name, ""))
        if column is not None and _fits(wanted, column):
            return column.name
    if wanted == "id":
        return next((name for name in unique if name in free), None)
    return None


def _fits(wanted: str, column: Column) -> bool:
    """Whether a column that is called so can be what is looked for, by its type."""
    match wanted:
        case "content" | "role" | "speaker" | "language":
            return column.is_text or column.category == "E"
        case "happened_at":
            return column.is_moment or column.is_text or column.category == "N"
        case "participants" | "topics":
            return column.is_array or column.is_json or column.is_text
        case "meta":
            return column.is_json
        case "salience":
            return column.category == "N"
        case _:
            return column.category in "SNUE"


def _found(
    table: str, wanted: str, key: str, keys: Sequence[Key], tables: Mapping[str, Sequence[Column]]
) -> list[Related]:
    """The tables that name the participants or topics of episodes, by their foreign keys."""
    found = []
    for one in keys:
        if one.to_table != table or one.to_column != key or one.table == table:
            continue
        if not _RELATED[wanted].search(_bare(one.table)):
            continue
        related = _names_in(one, wanted, keys, tables)
        if related is not None:
            found.append(related)
    return found


def _names_in(one: Key, wanted: str, keys: Sequence[Key], tables: Mapping[str, Sequence[Column]]) -> Related | None:
    for other in keys:
        if other.table == one.table and other.column != one.column and other.to_table in tables:
            named = _name_column(tables[other.to_table], wanted, {other.to_column})
            if named is not None:
                return Related(one.table, one.column, other.column, other, named)
    named = _name_column(tables.get(one.table, ()), wanted, {one.column})
    return None if named is None else Related(one.table, one.column, named)


def _name_column(columns: Sequence[Column], wanted: str, taken: set[str]) -> str | None:
    texts = [one.name for one in columns if (one.is_text or one.category == "E") and one.name not in taken]
    for name in _NAMED:
        if name in texts:
            return name
    return next((name for name in texts if _RELATED[wanted].search(name)), texts[0] if texts else None)


def _said(table: str, name: str, keys: Sequence[Key], tables: Mapping[str, Sequence[Column]]) -> Related | None:
    """``other_table.column`` of a map, where that table names episodes."""
    other, _, column = name.rpartition(".")
    for one in keys:
        if one.to_table == table and other in (one.table, _bare(one.table)):
            if any(each.name == column for each in tables.get(one.table, ())):
                return Related(one.table, one.column, column)
            raise WrongMap(
                f"--map {name}: {one.table} has no column {column}; it has "
                f"{', '.join(each.name for each in tables.get(one.table, ()))}."
            )
    return None


def _bare(table: str) -> str:
    return table.rpartition(".")[2].strip('"')
