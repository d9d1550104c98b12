"""The graph as PostgreSQL holds it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from reverie.core import clock
from reverie.core.arrays import Uuids
from reverie.core.database import Database
from reverie.core.queries import Queries
from reverie.graph.protocol import TOGETHER, Id, Link, Whose

SQL = Queries("reverie.graph")

LOOKED: Final = 1000
"""Traces that are looked at for what is mentioned most: so many of the newest, the most salient and of chance each."""

EACH: Final = 32
"""Mentions of one trace that count for that."""

MENTIONS: Final = 8000
"""Mentions that are looked at for which entities stand together, spread over them; at least :data:`LEAST` of each."""

LEAST: Final = 16

OUT: Final = 256
"""Edges from one trace that are looked at for those among some."""

CHARS: Final = 120
"""Of a text so much is shown."""


class Seen(NamedTuple):
    """A trace that can be seen."""

    id: Id
    kind: str
    salience: float


class Node(NamedTuple):
    """A trace as it is drawn.

    ``entity_type`` is what texts, or its maker, say that an entity is; ``text`` its beginning, None where it is cold
    and has no digest.
    """

    id: Id
    kind: str
    entity_type: str | None
    happened_at: datetime
    text: str | None
    cold: bool
    superseded_by: Id | None


class PostgresGraph:
    """The graph in PostgreSQL."""

    name = "postgres"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def entities(self, whose: Whose, most: int) -> list[tuple[Id, float]]:
        """As the protocol has it; of many traces some are looked at (:data:`LOOKED`)."""
        user_id = whose.user_id
        query = SQL.text("entities", looked=LOOKED, each=EACH)
        async with self._database.reading(whose.space_id) as session:
            rows = await session.fetch(query, (user_id, user_id, user_id, user_id, most))
        return [(row[0], float(row[1])) for row in rows]

    async def neighbours(
        self, whose: Whose, ids: Sequence[Id], types: Sequence[str] | None, most: int
    ) -> list[Link]:  # fmt: skip
        """As the protocol has it: those that were written last."""
        given = None if types is None else list(types)
        one = (whose.user_id, given, given, most)
        async with self._database.reading(whose.space_id) as session:
            rows = await session.fetch(SQL["neighbours"], (Uuids(ids), *one, *one, *one))
        return [Link(*row) for row in rows]

    async def among(self, whose: Whose, ids: Sequence[Id], types: Sequence[str] | None) -> list[Link]:
        """As the protocol has it; of a trace from which very many lead, :data:`OUT` are looked at."""
        given, chosen = None if types is None else list(types), Uuids(ids)
        async with self._database.reading(whose.space_id) as session:
            rows = await session.fetch(SQL["among"], (chosen, whose.user_id, given, given, OUT, chosen))
        return [Link(*row) for row in rows]

    async def together(self, whose: Whose, ids: Sequence[Id], most: int) -> list[Link]:
        """As the protocol has it; of each entity some mentions are looked at (:data:`MENTIONS`)."""
        each = max(LEAST, MENTIONS // max(1, len(ids)))
        parameters = (Uuids(ids), whose.user_id, each, whose.user_id, clock.now(), most)
        async with self._database.reading(whose.space_id) as session:
            rows = await session.fetch(SQL["together"], parameters)
        return [Link(row[0], row[1], TOGETHER, float(row[2])) for row in rows]


class Shown:
    """What may be shown of a user's traces, whichever backend named them: PostgreSQL alone knows what is forgotten."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self, whose: Whose) -> int | None:
        """The version of a user, that every write raises; None of one who is not there."""
        async with self._database.reading(whose.space_id) as session:
            row = await session.fetch_one(SQL["version"], (whose.user_id,))
        return row[0] if row else None

    async def seen(self, whose: Whose, ids: Sequence[Id]) -> dict[Id, Seen]:
        """Those of some traces that can be seen."""
        if not ids:
            return {}
        async with self._database.reading(whose.space_id) as session:
            rows = await session.fetch(SQL["seen"], (Uuids(ids), whose.user_id, clock.now()))
        return {row[0]: Seen(*row) for row in rows}

    async def nodes(self, whose: Whose, ids: Sequence[Id]) -> dict[Id, Node]:
        """The same as they are drawn."""
        if not ids:
            return {}
        query = SQL.text("nodes", chars=CHARS + 1)
        async with self._database.reading(whose.space_id) as session:
            rows = await session.fetch(query, (whose.user_id, clock.now(), Uuids(ids)))
        return {row[0]: Node(*row) for row in rows}

    async def salient(self, whose: Whose, most: int) -> list[tuple[Id, float]]:
        """The traces of a user that matter most, with their salience."""
        async with self._database.reading(whose.space_id) as session:
            rows = await session.fetch(SQL["salient"], (whose.user_id, clock.now(), most))
        return [(row[0], float(row[1])) for row in rows]
