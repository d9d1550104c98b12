"""A user whose graph a test draws by hand."""

from typing import Any
from uuid import UUID

import httpx
from tests.memories.helpers import owner, post, rows, unit, user_row

from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.memories.identity import entity_identity

LINK = (
    "INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)"
    " SELECT space_id, user_id, %s, %s, %s, %s, now() FROM memory_trace WHERE user_id = %s AND id = %s"
)


class Drawn:
    """A user's traces by what they say, and the answers about their graph."""

    def __init__(self, caller: httpx.AsyncClient, settings: Settings, user: str) -> None:
        self.caller = caller
        self.settings = settings
        self.user = user
        self.user_id = UUID(int=0)
        self.ids: dict[str, UUID] = {}

    async def trace(self, *texts: str, **given: Any) -> None:
        """Remembers notes."""
        for start in range(0, len(texts), 500):
            part = [
                {"content": text, "kind": "note", "embedding": unit(len(self.ids) + n)} | given
                for n, text in enumerate(texts[start : start + 500])
            ]
            answer = await post(self.caller, self.user, *part)
            assert answer.status_code == 201, answer.text
            made = [UUID(one["trace_id"]) for one in answer.json()["traces"]]
            self.ids |= dict(zip(texts[start : start + 500], made, strict=True))
        self.user_id = (await user_row(self.settings, self.user))["user_id"]

    async def entity(self, *names: str) -> None:
        """Makes entities of these names, as the store keeps them."""
        await self.trace(*names)
        ((key,),) = await rows(
            self.settings,
            "SELECT s.identity_key FROM space s JOIN memory_user u ON u.space_id = s.id WHERE u.user_id = %s",
            (self.user_id,),
        )
        async with owner(self.settings) as connection:
            for name in names:
                await connection.execute(
                    "UPDATE memory_trace SET kind = 'entity', identity = %s WHERE user_id = %s AND id = %s",
                    (entity_identity(bytes(key), name), self.user_id, self.ids[name]),
                )

    async def link(self, *edges: tuple[str, str, str] | tuple[str, str, str, float]) -> None:
        """Draws edges (from, to, type, weight)."""
        given = [
            (self.ids[src], self.ids[dst], kind, *(weight or [1.0]), self.user_id, self.ids[src])
            for src, dst, kind, *weight in edges
        ]
        async with owner(self.settings) as connection, connection.cursor() as cursor:
            await cursor.executemany(LINK, given)

    async def execute(self, statement: str, *parameters: Any) -> None:
        async with owner(self.settings) as connection:
            await one(connection, statement, *parameters)

    async def get(self, path: str = "/memory/graph", **given: Any) -> httpx.Response:
        return await self.caller.get(path, params={"user_id": self.user, **given})

    async def graph(self, **given: Any) -> dict[str, Any]:
        answer = await self.get(**given)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def labels(self, **given: Any) -> list[str]:
        """What the nodes say, in their order."""
        return [node["label"] for node in (await self.graph(**given))["nodes"]]

    async def edges(self, **given: Any) -> set[tuple[str, str, str]]:
        """The edges by what their ends say."""
        found = await self.graph(**given)
        label = {node["trace_id"]: node["label"] for node in found["nodes"]}
        return {(label[edge["src"]], label[edge["dst"]], edge["type"]) for edge in found["edges"]}


async def one(connection: Connection, statement: str, *parameters: Any) -> None:
    await connection.execute(statement.encode(), parameters)
