"""Keys: made, listed and revoked over HTTP; each opens what its scopes say, of its own space."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Api
from tests.memories.helpers import rows

from reverie.auth.secrets import digest, make_key
from reverie.core.config import Settings

SCOPES = ("read", "write", "admin")
SOME_ID = "01a1fdfa-b7f8-7001-bc25-f89c93b560db"
OTHER_ID = "01a20207-2b1e-7000-9d0c-5e0f5a3c7b22"

ROUTES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("read", "GET", "/memory/recall", {"params": {"user_id": "u", "q": "x"}}),
    ("read", "POST", "/memory/recall", {"json": {"user_id": "u", "q": "x"}}),
    ("read", "GET", "/memory/traces", {"params": {"user_id": "u"}}),
    ("read", "GET", f"/memory/traces/{SOME_ID}", {"params": {"user_id": "u"}}),
    ("read", "GET", "/memory/users", {}),
    ("read", "GET", f"/operations/{SOME_ID}", {}),
    ("write", "POST", "/memory/remember", {"json": {"user_id": "u", "traces": [{"content": "x"}]}}),
    ("read", "GET", "/memory/receipts", {"params": {"user_id": "u"}}),
    ("read", "GET", f"/memory/receipts/{SOME_ID}", {"params": {"user_id": "u"}}),
    ("read", "POST", f"/memory/receipts/{SOME_ID}/verify", {"params": {"user_id": "u"}}),
    ("write", "POST", "/memory/forget", {"json": {"user_id": "u", "scope": {"all": True}}}),
    ("write", "PATCH", f"/memory/traces/{SOME_ID}", {"params": {"user_id": "u"}, "json": {"content": "x"}}),
    ("write", "DELETE", f"/memory/traces/{SOME_ID}", {"params": {"user_id": "u"}}),
    ("write", "POST", f"/memory/traces/{SOME_ID}/pin", {"params": {"user_id": "u"}}),
    ("write", "DELETE", f"/memory/traces/{SOME_ID}/pin", {"params": {"user_id": "u"}}),
    ("read", "GET", f"/memory/traces/{SOME_ID}/related", {"params": {"user_id": "u"}}),
    ("write", "DELETE", f"/memory/traces/{SOME_ID}/related", {"params": {"user_id": "u", "other_id": OTHER_ID}}),
    ("write", "POST", f"/memory/traces/{SOME_ID}/related", {"params": {"user_id": "u", "other_id": OTHER_ID}}),
    ("read", "GET", "/memory/edges", {"params": {"user_id": "u"}}),
    ("write", "POST", "/memory/edges", {"json": {"user_id": "u", "src": SOME_ID, "dst": OTHER_ID, "type": "x"}}),
    ("write", "DELETE", "/memory/edges", {"params": {"user_id": "u", "src": SOME_ID, "dst": OTHER_ID, "type": "x"}}),
    ("write", "POST", f"/memory/entities/{SOME_ID}/merge", {"json": {"user_id": "u", "into": SOME_ID}}),
    ("write", "POST", f"/memory/entities/{SOME_ID}/split", {"json": {"user_id": "u", "names": ["x"]}}),
    ("read", "GET", "/memory/graph", {"params": {"user_id": "u"}}),
    ("read", "GET", "/memory/graph/path", {"params": {"user_id": "u", "from": "a", "to": "b"}}),
    ("write", "POST", "/memory/thaw", {"json": {"user_id": "u", "scope": {"all": True}}}),
    ("read", "GET", f"/memory/users/{SOME_ID}", {}),
    ("read", "GET", f"/memory/users/{SOME_ID}/profile", {}),
    ("write", "PATCH", f"/memory/users/{SOME_ID}", {"json": {"dream": True}}),
    ("admin", "POST", "/memory/consolidate", {"json": {}}),
    ("read", "GET", "/dreams", {}),
    ("read", "GET", f"/dreams/{SOME_ID}", {}),
    ("admin", "DELETE", f"/dreams/{SOME_ID}", {}),
    ("admin", "GET", "/admin/jobs", {}),
    ("admin", "GET", "/tiers", {}),
    ("admin", "GET", f"/memory/users/{SOME_ID}/export", {}),
    ("admin", "GET", "/settings/retention", {}),
    ("admin", "PUT", "/settings/retention", {"json": {"dry_run": True}}),
    ("admin", "POST", "/settings/retention/run", {"json": {"dry_run": True}}),
    ("admin", "GET", "/settings/ai", {}),
    ("admin", "PUT", "/settings/ai", {"json": {"version": 0}}),
    ("admin", "POST", "/settings/ai/test", {"json": {"language_model": {"url": "", "model": ""}}}),
    ("admin", "GET", "/settings/ai/history", {}),
    ("admin", "POST", "/settings/ai/restore", {"json": {"version": 1}}),
    ("admin", "GET", "/admin/status", {}),
    ("admin", "GET", "/metrics", {}),
    ("admin", "GET", "/keys", {}),
    ("admin", "POST", "/keys", {"json": {"name": "n"}}),
    ("admin", "DELETE", f"/keys/{SOME_ID}", {}),
]
OPEN = {"/health/live", "/health/ready"}


def test_every_route_is_in_the_table(api: Api) -> None:
    document = api.app.openapi()
    served = {
        (method.upper(), path.split("{", maxsplit=1)[0])
        for path, methods in document["paths"].items()
        for method in methods
        if path not in OPEN
    }
    assert served == {(method, path.split(SOME_ID, maxsplit=1)[0]) for _, method, path, _ in ROUTES}


@pytest.mark.parametrize("given", SCOPES)
async def test_a_key_opens_what_its_scope_says(api: Api, given: str) -> None:
    client = await api.caller(scopes=[given])
    for prefix in ("", "/v1"):
        for needed, method, path, request in ROUTES:
            answer = await client.request(method, prefix + path, **request)
            if given in (needed, "admin"):
                assert answer.status_code not in (401, 403), (method, path)
            else:
                assert answer.status_code == 403, (method, path)
                assert needed in answer.json()["detail"]
                assert given in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer rv_00000000_" + "0" * 64},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic dTpw"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer \u00fc"},
    ],
)
async def test_nothing_opens_without_a_key(api: Api, headers: dict[str, str]) -> None:
    client = api.client()
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    for _, method, path, request in ROUTES:
        answer = await client.request(method, path, headers=list(raw.items()), **request)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_key_is_taken_as_bearer_and_as_x_api_key(api: Api) -> None:
    key, client = await api.key(), api.client()
    for headers in ({"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer  {key} "}, {"X-API-Key": key}):
        assert (await client.get("/memory/users", headers=headers)).status_code == 200
    assert (await client.get("/memory/users", headers={"X-API-Key": key[:-1]})).status_code == 401


async def test_keys_are_made_listed_and_revoked(api: Api, settings: Settings) -> None:
    admin = await api.caller(f"space {uuid4().hex}")
    made = (await admin.post("/keys", json={"name": "robot", "scopes": ["write", "read", "read"]})).json()
    assert made["scopes"] == ["read", "write"]
    plain = (await admin.post("/keys", json={"name": "plain"})).json()
    assert plain["scopes"] == ["read", "write"]
    listed = (await admin.get("/keys")).json()
    assert listed["next_cursor"] is None
    assert [one["name"] for one in listed["items"]] == ["plain", "robot", "test"]
    assert listed["items"][1] == {name: value for name, value in made.items() if name != "key"}
    robot = api.client(made["key"])
    assert (await robot.get("/memory/users")).status_code == 200
    assert (await admin.delete(f"/keys/{made['id']}")).status_code == 204
    refused = await robot.get("/memory/users")
    assert refused.status_code == 401
    revoked = (await admin.get("/keys")).json()["items"][1]
    assert revoked["revoked_at"] is not None
    assert (await admin.delete(f"/keys/{made['id']}")).status_code == 204
    assert (await admin.get("/keys")).json()["items"][1]["revoked_at"] == revoked["revoked_at"]
    assert (await admin.delete(f"/keys/{uuid4()}")).status_code == 404
    (stored,) = await rows(settings, "SELECT k::text, hash FROM api_key k WHERE id = %s", (made["id"],))
    assert made["key"].rsplit("_", 1)[-1] not in stored[0]
    assert bytes(stored[1]) == digest(made["key"])


async def test_another_spaces_keys_are_not_there(api: Api) -> None:
    mine, theirs = await api.caller(f"space {uuid4().hex}"), await api.caller(f"space {uuid4().hex}")
    (key,) = (await theirs.get("/keys")).json()["items"]
    answer = await mine.delete(f"/keys/{key['id']}")
    assert answer.status_code == 404
    assert key["id"] not in (await mine.get("/keys")).text
    assert (await theirs.get("/memory/users")).status_code == 200


async def test_a_new_key_belongs_to_the_space_of_who_made_it(api: Api, user: str) -> None:
    admin = await api.caller(f"space {uuid4().hex}")
    made = (await admin.post("/keys", json={"name": "n"})).json()
    body = {"user_id": user, "traces": [{"content": "Here."}]}
    assert (await api.client(made["key"]).post("/memory/remember", json=body)).status_code == 201
    assert [one["user_id"] for one in (await admin.get("/memory/users")).json()["items"]] == [user]


async def test_keys_page_newest_first(api: Api) -> None:
    admin = await api.caller(f"space {uuid4().hex}")
    for n in range(4):
        await admin.post("/keys", json={"name": f"{n}"})
    first = (await admin.get("/keys", params={"limit": 3})).json()
    second = (await admin.get("/keys", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [one["name"] for one in first["items"] + second["items"]] == ["3", "2", "1", "0", "test"]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": ""}, {"name": "x" * 101}, {"name": "a\u0000"}, {"name": "\ud800"}, {"name": 7},
        {"name": "n", "scopes": []}, {"name": "n", "scopes": ["root"]}, {"name": "n", "scopes": "read"},
        {"name": "n", "space": "other"},
    ],
)  # fmt: skip
async def test_a_key_that_makes_no_sense_is_refused(caller: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await caller.post("/keys", content=json.dumps(body))
    assert answer.status_code == 422
    assert answer.json()["field"].split(".")[0] in ("name", "scopes", "space")


def test_keys_are_random_and_named_by_their_prefix() -> None:
    keys = [make_key() for _ in range(50)]
    assert len({key.text for key in keys}) == len({key.digest for key in keys}) == 50
    for key in keys:
        assert key.text.startswith(f"rv_{key.prefix}_")
        assert len(key.text.rsplit("_", 1)[-1]) == 64
        assert key.digest == digest(key.text)
