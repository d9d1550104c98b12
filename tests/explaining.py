"""How PostgreSQL runs a query of the service: as the serving role, by its generic plan."""

import re
from collections.abc import Sequence
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from reverie.core.config import Settings
from reverie.core.database import _SERVING_OPTIONS


class Explaining:
    """Stands for the database, or for a session: the plan of what it is asked, with what was read, is in ``plan``."""

    def __init__(self, settings: Settings, space_id: UUID) -> None:
        self.plan: dict[str, Any] = {}
        self._url = settings.database_url or ""
        self._space_id = space_id

    def reading(self, space_id: UUID, *, seconds: float = 0.0) -> "Explaining":
        return self

    async def __aenter__(self) -> "Explaining":
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def fetch(self, query: bytes, parameters: Sequence[Any]) -> list[Any]:
        with psycopg.connect(self._url, options=_SERVING_OPTIONS, autocommit=True) as line:
            line.execute("SELECT set_config('reverie.space', %s, false)", (str(self._space_id),))
            numbers = count(1)
            text = re.sub("%b", lambda _: f"${next(numbers)}", query.decode())
            line.execute(f"PREPARE asked AS {text}".encode())
            given = [_ids(one) if isinstance(one, bytes) else one for one in parameters]
            values = sql.SQL(", ").join(map(sql.Literal, given)).as_string(line)
            row = line.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({values})".encode()).fetchone()
            assert row is not None
            self.plan = row[0][0]["Plan"]
        return []

    def scans(self) -> list[dict[str, Any]]:
        """The parts of the plan that read traces or edges."""
        return [node for node in _nodes(self.plan) if node.get("Relation Name") in ("memory_trace", "memory_edge")]

    def most_rows(self) -> float:
        """The rows that one look-up read at most, whether it kept them or not."""
        return float(max(float(node["Actual Rows"]) + node.get("Rows Removed by Filter", 0) for node in self.scans()))


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in _nodes(part))]


def _ids(array: bytes) -> list[UUID]:
    """The uuids of an array as it is sent (reverie.core.database.Uuids)."""
    return [UUID(bytes=array[at + 4 : at + 20]) for at in range(20, len(array), 20)]
