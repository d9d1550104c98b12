"""What was forgotten does not come back by itself: it is recognised, refused, and let in by force."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Api, Remember, serving
from tests.forgetting.helpers import forget, forgotten, left
from tests.memories.helpers import Fickle, owner, post, rows, unit

from reverie.core.config import Settings
from reverie.core.errors import StartError
from reverie.core.ids import user_uuid
from reverie.core.secret import Secret
from reverie.memories.tombstones import LEAST_LENGTH, Buried, Tombstones

LONG = "The safe behind the picture opens with 7-31-12."
TURN = {"content": LONG, "role": "user", "conversation_id": "c"}

COMES_AGAIN: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"content": "A dodo."}, {}, True),
    ({"content": "A dodo."}, {"content": "a dodo."}, False),
    ({"content": "A dodo.", "external_id": "d"}, {}, True),
    ({"content": "A dodo.", "external_id": "d"}, {"content": "Another one."}, True),
    ({"content": "A dodo.", "external_id": "d"}, {"external_id": "e"}, False),
    (TURN, {}, True),
    (TURN, {"occurred_at": "2026-01-01"}, True),
    (TURN, {"conversation_id": "d"}, False),
    (TURN, {"role": "assistant"}, False),
    (TURN | {"content": "Yes."}, {}, False),
    # As an import numbers them, before and after a line above was edited.
    (TURN | {"external_id": "import-1"}, {"external_id": "import-2"}, True),
    (
        TURN | {"external_id": "import-1", "conversation_id": "import-3"},
        {"external_id": "import-2", "conversation_id": "import-4"},
        True,
    ),
    (TURN | {"external_id": "import-1"}, {"external_id": "import-2", "content": "Another one, as long."}, False),
    (TURN | {"external_id": "import-1", "content": "Yes."}, {}, True),
    (TURN | {"occurred_at": "2026-01-01", "content": "Yes."}, {}, True),
    (TURN | {"occurred_at": "2026-01-01", "content": "Yes."}, {"occurred_at": "2026-01-02"}, False),
]
"""What is forgotten, what differs when it comes again, and whether it is refused."""


@pytest.mark.parametrize(("trace", "change", "refused"), COMES_AGAIN)
@pytest.mark.parametrize("supplied", [False, True])
async def test_what_is_the_same_is_refused(
    caller: httpx.AsyncClient, user: str, trace: dict[str, Any], change: dict[str, Any], refused: bool, supplied: bool
) -> None:
    vector = {"embedding": unit(1)} if supplied else {}
    first = (await post(caller, user, trace | vector)).json()["traces"][0]
    body = await forgotten(caller, user, {"trace_id": first["trace_id"]})
    answer = await post(caller, user, trace | change | vector, {"content": f"Good {uuid4().hex}."} | vector)
    assert answer.status_code == 201, answer.text
    again, other = answer.json()["traces"]
    assert other["status"] == "stored"
    if refused:
        assert body["tombstones"] == 1
        assert (again["status"], again["reason"], again["trace_id"]) == ("rejected", "forgotten", None)
        assert again["external_id"] == (trace | change).get("external_id")
        assert again["error"] == "It was forgotten, and stays so; with force: true it is remembered all the same."
    else:
        assert (again["status"], again["reason"]) == ("stored", None)


async def test_nothing_is_encoded_of_what_is_refused(caller: httpx.AsyncClient, user: str, fickle: Fickle) -> None:
    await post(caller, user, LONG)
    await forget(caller, user, {"all": True})
    fickle.documents.clear()
    answer = await post(caller, user, LONG, LONG)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:reverie:problem:forgotten")
    assert fickle.documents == []


@pytest.mark.parametrize("whole", [False, True])
async def test_force_lets_it_in_and_it_is_known_from_then_on(
    caller: httpx.AsyncClient, user: str, settings: Settings, whole: bool
) -> None:
    await post(caller, user, "A dodo.", "A moa.")
    body = await forgotten(caller, user, {"all": True})
    more = {"force": True} if whole else {}
    one = {"content": "A dodo."} | ({} if whole else {"force": True})
    answer = (await post(caller, user, one, "A moa.", **more)).json()["traces"]
    assert [each["status"] for each in answer] == ["stored", "stored" if whole else "rejected"]
    assert (await post(caller, user, "A dodo.")).json()["traces"][0]["status"] == "duplicate"
    kept = await rows(
        settings, "SELECT count(hash), count(*) FROM tombstone WHERE receipt_id = %s", (body["receipt_id"],)
    )
    assert kept == [(0 if whole else 1, 2)]
    # Forgotten again, it is refused again.
    await forget(caller, user, {"all": True})
    assert (await post(caller, user, "A dodo.")).status_code == 422


async def test_one_user_does_not_forget_for_another(caller: httpx.AsyncClient, user: str) -> None:
    await post(caller, user, "A dodo.")
    await forget(caller, user, {"all": True})
    assert (await post(caller, f"{user} 2", "A dodo.")).status_code == 201


async def test_what_retention_removed_may_come_again(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api, remember: Remember
) -> None:
    (first,) = await remember(user, "A dodo.")
    ((space_id,),) = await rows(settings, "SELECT id FROM space WHERE name = 'default'")
    from uuid import UUID

    from reverie.core import clock

    gone = await api.app.state.forgetting.forget_traces(
        space_id, user_uuid(space_id, user), [UUID(first["trace_id"]), uuid4()], reason="too old", now=clock.now(),
        seen=clock.now(), expired=False,
    )  # fmt: skip
    assert gone == 1
    assert await left(caller, user) == set()
    assert (await post(caller, user, "A dodo.")).status_code == 201


async def test_an_answer_that_was_kept_says_it_is_forgotten_and_does_nothing_again(
    caller: httpx.AsyncClient, user: str
) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    body = {"user_id": user, "traces": [{"content": "Yes.", "role": "user", "external_id": "x"}, {"content": "A moa."}]}
    made = (await caller.post("/memory/remember", json=body, headers=key)).json()["traces"]
    counted = (await forgotten(caller, user, {"trace_id": made[0]["trace_id"]}))["counts"]
    assert counted["answers"] == 1
    again = (await caller.post("/memory/remember", json=body, headers=key)).json()["traces"]
    assert (again[0]["status"], again[0]["reason"], again[0]["trace_id"]) == ("rejected", "forgotten", None)
    assert again[0]["external_id"] is None
    assert again[1] == made[1]
    assert await left(caller, user) == {"A moa."}


KEYS = [Secret.of_texts([name * 8]) for name in ("abc", "xyz")]
BURIED = Buried(uuid4(), b"i" * 16, b"d" * 16, "note", None, None, None, 7, False)


def test_the_hash_says_nothing_without_the_secret() -> None:
    user, other, space = uuid4(), uuid4(), b"s" * 32
    hashes = {
        Tombstones(secret).of(key, whose, [BURIED])[0]
        for secret in (*KEYS, Secret()) for key in (space, b"t" * 32) for whose in (user, other)
    }  # fmt: skip
    # With a secret the key of the space changes nothing; without one it is what there is.
    assert len(hashes) == 2 * 2 + 2 * 2
    assert None not in hashes


@pytest.mark.parametrize(
    ("made", "known", "found"), [("a", "a", True), ("a", "ba", True), ("a", "b", False), ("", "b", True)]
)
def test_what_was_made_with_any_of_the_secrets_is_recognised(made: str, known: str, found: bool) -> None:
    secrets = {"a": KEYS[0].keys, "b": KEYS[1].keys}
    user, space = uuid4(), b"s" * 32
    old = Tombstones(Secret(tuple(key for name in made for key in secrets[name])))
    new = Tombstones(Secret(tuple(key for name in known for key in secrets[name])))
    (hashed,) = old.of(space, user, [BURIED])
    refusing = new.refusing(space, user).of(BURIED.identity, BURIED.digest, ("note", None, None, None), 7)
    assert (hashed in refusing) is found


def test_a_text_alone_is_recognised_from_a_length_on() -> None:
    user, space = uuid4(), b"s" * 32
    for length, known in ((LEAST_LENGTH - 1, False), (LEAST_LENGTH, True)):
        (hashed,) = Tombstones(KEYS[0]).of(space, user, [BURIED._replace(identity=None, length=length)])
        assert (hashed is not None) is known


async def test_a_store_asks_for_its_secret(own_settings: Settings, fickle: Fickle) -> None:
    def having(secret: str | None, lost: str | None = None) -> Settings:
        return own_settings.model_copy(update={"reverie_secret_key": secret, "reverie_secret_lost": lost})

    old, new = "an old secret of ours", "a new secret of ours"
    async with serving(having(old), fickle) as api:
        caller = await api.caller()
        await post(caller, "u", {"content": "A dodo.", "embedding": unit(1)})
    # A secret with which nothing was made yet may still be changed.
    async with serving(having(new), fickle) as api:
        caller = await api.caller()
        await forget(caller, "u", {"all": True})
    for wrong in (None, old):
        with pytest.raises(StartError, match="up to 1 forgotten traces") as refused:
            async with serving(having(wrong), fickle):
                pass
    fingerprint = Secret.of_texts([new]).fingerprint
    assert fingerprint is not None
    assert fingerprint.hex() in str(refused.value)
    assert new not in str(refused.value)
    # Rotated: the new one makes, the old one is still recognised.
    async with serving(having(f"{old},{new}"), fickle) as api:
        caller = await api.caller()
        assert (await post(caller, "u", {"content": "A dodo.", "embedding": unit(1)})).status_code == 422
    async with serving(having(old, fingerprint.hex()), fickle) as api:
        caller = await api.caller()
        assert (await post(caller, "u", {"content": "A dodo.", "embedding": unit(1)})).status_code == 201
    async with owner(own_settings) as connection:
        assert await (await connection.execute("SELECT * FROM store_secret")).fetchall() == []
    async with serving(having(None), fickle):
        pass
