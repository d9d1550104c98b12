"""Whoever writes a vector writes its signs with it: a row without them is not found by bits."""

import httpx
from tests.conftest import Api
from tests.memories.helpers import post, rows, run_operation, unit

from reverie.core.config import Settings

WRONG = (
    "SELECT count(*) FILTER (WHERE bits IS DISTINCT FROM binary_quantize(vec)), count(*) FROM memory_embedding e"
    " JOIN memory_user u USING (user_id) WHERE u.external_id = %s"
)


async def test_every_way_of_writing(api: Api, caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    supplied = await post(caller, user, *({"content": f"Given {n}.", "embedding": unit(n)} for n in range(3)))
    encoded = await post(caller, user, "The heron waits.", "A barge went by. " * 400)
    later = await post(caller, user, "Encoded by the worker.", wait=False)
    assert await run_operation(api, later.json()["operation_id"])
    for answer, change in ((supplied, {"content": "Said anew."}), (encoded, {"kind": "fact"})):
        trace_id = answer.json()["traces"][0]["trace_id"]
        patched = await caller.patch(f"/memory/traces/{trace_id}", params={"user_id": user}, json=change)
        assert patched.status_code == 200, patched.text
    ((wrong, count),) = await rows(settings, WRONG, (user,))
    assert wrong == 0
    assert count >= 6
