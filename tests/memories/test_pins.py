"""Pins: set, taken off, and what they keep."""

from uuid import uuid4

import httpx
from tests.conftest import Api
from tests.memories.helpers import post, rows, user_row

from reverie.core.config import Settings


async def pin(caller: httpx.AsyncClient, user: str, trace_id: str, method: str = "POST") -> httpx.Response:
    return await caller.request(method, f"/memory/traces/{trace_id}/pin", params={"user_id": user})


async def test_a_trace_is_pinned_and_unpinned(caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    [made] = (await post(caller, user, "The spare key lies under the third flowerpot.")).json()["traces"]
    before = (await caller.get(f"/memory/traces/{made['trace_id']}", params={"user_id": user})).json()
    for method, pinned in (("POST", True), ("DELETE", False)):
        answer = await pin(caller, user, made["trace_id"], method)
        assert (answer.status_code, answer.json()) == (200, before | {"pinned": pinned})
        version = (await user_row(settings, user))["version"]
        # What is so already changes nothing: no answer that is kept is made anew for it.
        assert (await pin(caller, user, made["trace_id"], method)).json() == answer.json()
        assert (await user_row(settings, user))["version"] == version


async def test_a_pin_is_seen_at_once_and_is_no_change_of_the_text(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    [made] = (await post(caller, user, "The boiler is serviced by Mrs Okafor.")).json()["traces"]
    question = {"user_id": user, "q": "Who services the boiler?"}
    assert (await caller.post("/memory/recall", json=question)).json()["results"]
    version = (await user_row(settings, user))["version"]
    await pin(caller, user, made["trace_id"])
    assert (await user_row(settings, user))["version"] > version
    [(pinned, updated_at)] = await rows(
        settings, "SELECT pinned, updated_at FROM memory_trace WHERE id = %s", (made["trace_id"],)
    )
    assert (pinned, updated_at) == (True, None)


async def test_what_is_not_there_cannot_be_pinned(caller: httpx.AsyncClient, user: str, api: Api) -> None:
    [made] = (await post(caller, user, "Ours.")).json()["traces"]
    stranger = await api.caller("strangers")
    for who, whose, trace_id in (
        (caller, user, str(uuid4())),
        (caller, "nobody", made["trace_id"]),
        (stranger, user, made["trace_id"]),
    ):
        for method in ("POST", "DELETE"):
            answer = await pin(who, whose, trace_id, method)
            assert answer.status_code == 404, answer.text
    await caller.delete(f"/memory/traces/{made['trace_id']}", params={"user_id": user})
    assert (await pin(caller, user, made["trace_id"])).status_code == 404
