"""What the tests of forgetting share."""

from typing import Any

import httpx
from tests.conftest import Api
from tests.memories.helpers import rows, run_operation

from reverie.core.config import Settings


async def forget(caller: httpx.AsyncClient, user: str, scope: dict[str, Any], **more: Any) -> httpx.Response:
    """Forgets a scope, whatever comes of it."""
    return await caller.post("/memory/forget", json={"user_id": user, "scope": scope} | more)


async def forgotten(caller: httpx.AsyncClient, user: str, scope: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What is answered to a forget that has to be done."""
    answer = await forget(caller, user, scope, **more)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def verified(caller: httpx.AsyncClient, user: str, receipt_id: str) -> dict[str, Any]:
    """What looking again says of a receipt."""
    answer = await caller.post(f"/memory/receipts/{receipt_id}/verify", params={"user_id": user})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def finish(api: Api, settings: Settings, receipt_id: str) -> None:
    """Does what is left of a forget, as a worker would."""
    assert await run_operation(api, receipt_id)
    ((state, error),) = await rows(settings, "SELECT state, error FROM operation WHERE id = %s", (receipt_id,))
    assert (state, error) == ("done", None)


async def left(caller: httpx.AsyncClient, user: str) -> set[str]:
    """The contents of the traces that a user still has, but for entities."""
    found: set[str] = set()
    cursor: str | None = None
    while True:
        params: dict[str, str | int] = {"user_id": user, "limit": 100}
        if cursor is not None:
            params["cursor"] = cursor
        page = (await caller.get("/memory/traces", params=params)).json()
        found |= {one["content"] for one in page["items"] if one["kind"] != "entity"}
        cursor = page["next_cursor"]
        if cursor is None:
            return found
