"""SQL of the settings that an admin saves."""

from dataclasses import dataclass
from uuid import UUID

from reverie.core.database import Connection, ReadSession, Row, WriteSession
from reverie.core.queries import Queries
from reverie.settings.overlay import FIELDS, KEYS, Version

SQL = Queries("reverie.settings")

_FIRST = 7
"""Columns before those of the settings themselves."""

Identity = tuple[str, int, str]
"""What vectors are marked with: the model's name, their dimension and precision."""


@dataclass(frozen=True, slots=True)
class Active:
    """The model that questions are asked of."""

    id: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the embedding model that is under way; ``share`` is how much of its pass is done, in percent."""

    identity: Identity
    state: str
    share: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What the settings of a process follow from.

    Attributes:
        newest: the version that was saved last.
        embeddings: the newest version of each embedding model that was ever set, the newest first.
        active: the model that questions are asked of; None in a store that nobody has used.
        is_used: whether the store holds vectors.
    """

    newest: Version
    embeddings: tuple[Version, ...]
    active: Active | None
    is_used: bool


async def standing(connection: Connection) -> Standing:
    """What a process that opens its parts has to know; by the owner."""
    newest = await (await connection.execute(SQL["newest"])).fetchone()
    embeddings = await (await connection.execute(SQL["embeddings"])).fetchall()
    active = await (await connection.execute(SQL["active"])).fetchone()
    used = await (await connection.execute(SQL["is_used"])).fetchone()
    return Standing(
        _version(newest) if newest else Version(),
        tuple(_version(row) for row in embeddings),
        Active(active[0], (active[1], active[2], active[3])) if active else None,
        bool(used and used[0]),
    )


async def generation(session: ReadSession) -> tuple[int, int | None]:
    """(the newest version, the number of the active model)."""
    row = await session.fetch_one(SQL["standing"])
    assert row is not None  # noqa: S101 - a select without a table has a row
    return row[0], row[1]


async def newest(session: ReadSession) -> Version:
    """The version that was saved last."""
    row = await session.fetch_one(SQL["newest"])
    return _version(row) if row else Version()


async def page(session: ReadSession, before: int | None, limit: int) -> list[Version]:
    """Versions before one, the newest first."""
    return [_version(row) for row in await session.fetch(SQL["page"], (before, limit))]


async def append(session: WriteSession, version: Version) -> bool:
    """Adds a version after the one before it; False where another one is there already."""
    parameters = (
        version.version, version.saved_at, version.saved_by, list(version.changed), version.restored,
        version.operation_id, *(version.values.get(name) for name in FIELDS),
        *(version.keys.get(name) for name in KEYS.values()), version.version - 1,
    )  # fmt: skip
    return bool(await session.fetch(SQL["append"], parameters))


async def active(session: ReadSession) -> Active | None:
    """The model that questions are asked of."""
    row = await session.fetch_one(SQL["active"])
    return Active(row[0], (row[1], row[2], row[3])) if row else None


async def change(session: ReadSession) -> Change | None:
    """The change of the embedding model that is under way."""
    row = await session.fetch_one(SQL["change"])
    return Change((row[0], row[1], row[2]), row[3], 100 * min(row[4], row[5]) // max(row[5], 1)) if row else None


async def operation(session: ReadSession, operation_id: UUID) -> tuple[str, str | None] | None:
    """(state, error) of the operation of a version; None when it is over for so long that it was forgotten."""
    row = await session.fetch_one(SQL["operation"], (operation_id,))
    return (row[0], row[1]) if row else None


async def keeper_space(session: ReadSession, name: str) -> UUID | None:
    """The space whose admins keep the settings."""
    row = await session.fetch_one(SQL["keeper_space"], (name,))
    return row[0] if row else None


def _version(row: Row) -> Version:
    values = dict(zip(FIELDS, row[_FIRST : _FIRST + len(FIELDS)], strict=True))
    keys = dict(zip(KEYS.values(), row[_FIRST + len(FIELDS) :], strict=True))
    return Version(
        row[0], row[1], row[2], row[3], tuple(row[4]), row[5], row[6],
        {name: value for name, value in values.items() if value is not None},
        {name: bytes(value) for name, value in keys.items() if value is not None},
    )  # fmt: skip
