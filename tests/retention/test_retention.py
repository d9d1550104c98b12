"""What is forgotten by itself: what expired, and what the rules of a space take; and what is not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from psycopg import AsyncConnection
from tests.conftest import Api, Remember, serving

from reverie import worker
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.embedding.protocol import Embedder
from reverie.retention import pruning, repository
from reverie.retention.pruning import Pruner
from reverie.runtime import open_runtime

PATH = "/settings/retention"


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def pruner(api: Api) -> Pruner:
    pruner: Pruner = api.app.state.retention.pruner
    return pruner


@pytest.fixture
async def told(caller: httpx.AsyncClient) -> Any:
    """Whom a user still has, by content."""

    async def contents(user: str) -> set[str]:
        answer = await caller.get("/memory/traces", params={"user_id": user, "limit": 100})
        return {item["content"] for item in answer.json()["items"]}

    return contents


def ago(**span: float) -> Any:
    """The clock of this process so long ago."""
    return clock.as_of(clock.now() - timedelta(**span))


async def reasons(owner: Connection) -> list[str]:
    cursor = await owner.execute("SELECT reason FROM forget_receipt ORDER BY id")
    return [row[0] for row in await cursor.fetchall()]


async def put(caller: httpx.AsyncClient, **given: Any) -> dict[str, Any]:
    answer = await caller.put(PATH, json=given)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


class TestExpiry:
    """`expires_at` of a trace."""

    async def test_it_is_kept_changed_and_taken_back(self, caller: httpx.AsyncClient, remember: Remember) -> None:
        until = (clock.now() + timedelta(days=1)).isoformat().replace("+00:00", "Z")
        [made] = await remember("ann", {"content": "The code is 4417.", "expires_at": until})
        path, params = f"/memory/traces/{made['trace_id']}", {"user_id": "ann"}
        assert (await caller.get(path, params=params)).json()["expires_at"] == until
        later = "2099-01-01T00:00:00Z"
        assert (await caller.patch(path, params=params, json={"expires_at": later})).json()["expires_at"] == later
        untouched = (await caller.patch(path, params=params, json={"salience": 0.9})).json()
        assert untouched["expires_at"] == later
        assert (await caller.patch(path, params=params, json={"expires_at": None})).json()["expires_at"] is None

    async def test_a_message_may_have_one(self, caller: httpx.AsyncClient) -> None:
        message = {"role": "user", "content": "Meet me at six.", "expires_at": "2099-01-01T00:00:00Z"}
        answer = await caller.post("/memory/remember", json={"user_id": "ann", "messages": [message]})
        path = f"/memory/traces/{answer.json()['traces'][0]['trace_id']}"
        found = (await caller.get(path, params={"user_id": "ann"})).json()
        assert (found["expires_at"], found["role"]) == ("2099-01-01T00:00:00Z", "user")

    @pytest.mark.parametrize("value", ["2020-01-01T00:00:00Z", "soon", 7])
    async def test_one_that_has_passed_or_is_none_is_refused(self, caller: httpx.AsyncClient, value: object) -> None:
        traces = [{"content": "Too late.", "expires_at": value}, {"content": "In time."}]
        answer = await caller.post("/memory/remember", json={"user_id": "ann", "traces": traces})
        [late, good] = answer.json()["traces"]
        takes = "a time that is still to come" if value == "2020-01-01T00:00:00Z" else "an ISO 8601 time such as"
        assert late["error"].startswith(f"expires_at takes {takes}")
        assert (late["status"], good["status"]) == ("rejected", "stored")

    async def test_it_is_not_recalled_from_that_moment_on(self, caller: httpx.AsyncClient, remember: Remember) -> None:
        until = clock.now() + timedelta(seconds=30)
        await remember("ann", {"content": "The code is 4417.", "expires_at": until.isoformat()}, "The code is secret.")

        async def recalled() -> set[str]:
            answer = await caller.get("/memory/recall", params={"user_id": "ann", "q": "what is the code"})
            return {one["content"] for one in answer.json()["results"]}

        # Asked twice, so that an answer is kept: that one ends with it too.
        assert await recalled() == await recalled() == {"The code is 4417.", "The code is secret."}
        with clock.as_of(until + timedelta(seconds=1)):
            assert await recalled() == {"The code is secret."}

    async def test_it_is_forgotten_with_a_receipt_for_each_user(
        self, pruner: Pruner, remember: Remember, told: Any, owner: Connection
    ) -> None:
        until = clock.now() + timedelta(seconds=30)
        for user in ("ann", "bob"):
            await remember(user, *[{"content": f"Soon over {n}.", "expires_at": until.isoformat()} for n in range(3)])
        await remember("ann", {"content": "Later.", "expires_at": "2099-01-01T00:00:00Z"}, "Always.")
        await owner.execute("UPDATE memory_trace SET pinned = true")
        assert await pruner.forget_expired() == 0
        with clock.as_of(until + timedelta(seconds=1)):
            assert await pruner.forget_expired() == 6
            assert await pruner.forget_expired() == 0
        assert (await told("ann"), await told("bob")) == ({"Later.", "Always."}, set())
        assert await reasons(owner) == ["retention: 3 expires_at has passed"] * 2

    async def test_what_is_more_than_a_part_goes_in_parts(
        self, pruner: Pruner, remember: Remember, told: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pruning, "PART", 4)
        until = clock.now() + timedelta(seconds=30)
        await remember("ann", *[{"content": f"Over {n}.", "expires_at": until.isoformat()} for n in range(11)])
        with clock.as_of(until + timedelta(seconds=1)):
            assert await pruner.forget_expired() == 11
        assert await told("ann") == set()

    async def test_what_went_may_come_again(self, pruner: Pruner, remember: Remember, told: Any) -> None:
        until = clock.now() + timedelta(seconds=30)
        await remember("ann", {"content": "Tea.", "external_id": "t", "expires_at": until.isoformat()})
        with clock.as_of(until + timedelta(seconds=1)):
            assert await pruner.forget_expired() == 1
            await remember("ann", {"content": "Tea.", "external_id": "t"})
        assert await told("ann") == {"Tea."}


class TestRules:
    """What each rule takes, and what is safe from it."""

    async def test_nothing_goes_by_default(self, pruner: Pruner, remember: Remember, told: Any) -> None:
        with ago(days=5000):
            await remember("ann", {"content": "Old and dull.", "salience": 0.0})
        assert await pruner.prune_all() == 0
        assert await told("ann") == {"Old and dull."}

    async def test_age_counts_from_when_it_was_learned(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection
    ) -> None:
        with ago(days=40):
            await remember("ann", "Learned long ago.", "Pinned.")
        with ago(days=20):
            await remember("ann", {"content": "Happened long ago.", "occurred_at": "1999-01-01"})
        await owner.execute("UPDATE memory_trace SET pinned = true WHERE digest = (SELECT digest FROM memory_trace "
                            "JOIN memory_body ON trace_id = id WHERE content = 'Pinned.')")  # fmt: skip
        changed = await put(caller, ttl_days=30)
        assert changed["due"] == {
            "traces": 3, "due": 1, "users": 1,
            "by_rule": {"expires_at": 0, "ttl_days": 1, "salience_floor": 0, "max_traces_per_user": 0},
        }  # fmt: skip
        assert await pruner.prune_all() == 1
        assert await told("ann") == {"Pinned.", "Happened long ago."}
        assert await reasons(owner) == ["retention: 1 older than 30 days (ttl_days)"]

    async def test_the_floor_takes_what_is_dull_once_it_is_settled(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection
    ) -> None:
        with ago(days=8):
            await remember("ann", {"content": "Dull.", "salience": 0.1}, {"content": "On it.", "salience": 0.4})
            await remember("ann", {"content": "Dull and pinned.", "salience": 0.1})
        await remember("ann", {"content": "Dull and new.", "salience": 0.1})
        await owner.execute(
            "UPDATE memory_trace t SET pinned = true FROM memory_body b WHERE b.trace_id = t.id"
            " AND b.content LIKE '%pinned.'"
        )
        await put(caller, salience_floor=0.3)
        assert await pruner.prune_all() == 1
        assert await told("ann") == {"On it.", "Dull and pinned.", "Dull and new."}

    async def test_the_floor_is_one_of_what_time_and_recalls_have_made_of_salience(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection
    ) -> None:
        # Of a note half is left after a year, of a chunk all.
        with ago(days=800):
            await remember("ann", "Faded.", "Pinned.", "Recalled.", "Changed.", {"content": "A page.", "kind": "chunk"})
        await remember("ann", "New.")
        for text, query in (
            ("Pinned.", "UPDATE memory_trace SET pinned = true WHERE id = %s"),
            ("Changed.", "UPDATE memory_trace SET updated_at = now() - interval '1 hour' WHERE id = %s"),
            (
                "Recalled.",
                "INSERT INTO memory_access SELECT space_id, user_id, id, 1, now() FROM memory_trace WHERE id = %s",
            ),
        ):
            found = await owner.execute("SELECT trace_id FROM memory_body WHERE content = %s", (text,))
            await owner.execute(query.encode(), await found.fetchone())
        await put(caller, salience_floor=0.2)
        assert await pruner.prune_all() == 1
        assert await told("ann") == {"Pinned.", "Recalled.", "Changed.", "A page.", "New."}
        # And of too many the one goes that has faded most.
        await put(caller, salience_floor=0, max_traces_per_user=5)
        with ago(days=300):
            await remember("ann", {"content": "Was dear.", "salience": 0.55})
        assert await pruner.prune_all() == 1
        assert await told("ann") == {"Pinned.", "Recalled.", "Changed.", "A page.", "New."}

    async def test_a_user_may_have_other_half_lives(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any
    ) -> None:
        with ago(days=100):
            for user in ("ann", "bob"):
                await remember(user, "A note.", {"content": "A fact.", "kind": "fact"})
        answer = await caller.patch("/memory/users/bob", json={"half_lives": {"note": 10}})
        assert answer.status_code == 200, answer.text
        await put(caller, salience_floor=0.2)
        assert await pruner.prune_all() == 1
        assert await told("ann") == {"A note.", "A fact."}
        assert await told("bob") == {"A fact."}

    async def test_of_too_many_the_least_salient_go_and_of_these_the_oldest(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection
    ) -> None:
        await remember("bob", "One.", "Two.")
        await remember("ann", {"content": "Pinned.", "salience": 0.0})
        await owner.execute("UPDATE memory_trace SET pinned = true WHERE salience = 0")
        await remember("ann", {"content": "Dear.", "salience": 0.9})
        await remember("ann", "First.", "Second.", "Third.")
        await remember("ann", {"content": "Dull.", "salience": 0.4})
        await put(caller, max_traces_per_user=4)
        assert await pruner.prune_all() == 2
        assert await told("ann") == {"Pinned.", "Dear.", "Second.", "Third."}
        assert await told("bob") == {"One.", "Two."}
        assert await pruner.prune_all() == 0

    async def test_entities_and_what_is_derived_do_not_count(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection
    ) -> None:
        with ago(days=100):
            await remember("ann", {"content": "Lisbon", "kind": "entity"})
            await remember("ann", {"content": "A summary.", "kind": "summary"})
        await owner.execute("""UPDATE memory_trace SET provenance = '{"sources": []}' WHERE kind = 'summary'""")
        with ago(days=100):
            await remember("ann", "One.", "Two.")
        await put(caller, max_traces_per_user=2)
        assert await pruner.prune_all() == 0
        await put(caller, ttl_days=30, force=True)
        assert await pruner.prune_all() == 3
        assert await told("ann") == {"Lisbon"}

    async def test_all_rules_at_once_leave_one_receipt_a_user(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection
    ) -> None:
        with ago(days=40):
            await remember("ann", "Aged.", {"content": "Aged and dull.", "salience": 0.1})
        with ago(days=10):
            await remember("ann", {"content": "Dull.", "salience": 0.1})
        await remember("ann", *[f"New {n}." for n in range(9)])
        changed = await put(caller, ttl_days=30, salience_floor=0.2, max_traces_per_user=8)
        assert changed["due"]["by_rule"] == {
            "expires_at": 0, "ttl_days": 2, "salience_floor": 1, "max_traces_per_user": 1
        }  # fmt: skip
        assert await pruner.prune_all() == 4
        assert await told("ann") == {f"New {n}." for n in range(1, 9)}
        assert await reasons(owner) == [
            "retention: 2 older than 30 days (ttl_days), 1 salience below 0.2 (salience_floor), "
            "1 more than 8 traces (max_traces_per_user)"
        ]

    async def test_a_large_user_goes_in_parts(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pruning, "PART", 7)
        monkeypatch.setattr(pruning, "USERS", 1)
        with ago(days=40):
            for user in ("ann", "bob", "eve"):
                await remember(user, *[f"Note {n}." for n in range(20)])
        await put(caller, ttl_days=30, force=True)
        assert await pruner.prune_all() == 60

    async def test_another_space_keeps_its_own(
        self, api: Api, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any
    ) -> None:
        other = await api.caller("another")
        with ago(days=40):
            await remember("ann", "Ours.")
            await other.post("/memory/remember", json={"user_id": "ann", "traces": [{"content": "Theirs."}]})
        await remember("ann", "New.", "Newer.")
        await put(caller, ttl_days=30)
        assert await pruner.prune_all() == 1
        theirs = await other.get("/memory/traces", params={"user_id": "ann"})
        assert [item["content"] for item in theirs.json()["items"]] == ["Theirs."]
        assert (await other.get(PATH)).json()["ttl_days"] is None


class TestTurns:
    """Faults, and more than one who prunes."""

    async def test_two_never_prune_at_once(self, api: Api, pruner: Pruner, caller: httpx.AsyncClient,
                                           remember: Remember, owner: Connection) -> None:  # fmt: skip
        with ago(days=40):
            await remember("ann", *[f"Note {n}." for n in range(30)])
        await put(caller, ttl_days=30, force=True)
        gone = await asyncio.gather(*(pruner.prune_all() for _ in range(4)))
        assert sum(gone) == 30
        assert len(await reasons(owner)) == 1
        await owner.execute("SELECT pg_advisory_lock(hashtext('reverie.retention'))")
        assert (await pruner.prune_all(), await pruner.forget_expired()) == (0, 0)

    async def test_a_run_that_ended_in_the_midst_is_gone_on_with(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ago(days=40):
            for user in ("ann", "bob", "eve"):
                await remember(user, "One.", "Two.")
        await put(caller, ttl_days=30, force=True)
        forget, calls = pruner._forget, 0

        async def killed(*given: Any, **named: Any) -> int:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise asyncio.CancelledError
            return await forget(*given, **named)

        monkeypatch.setattr(pruner, "_forget", killed)
        with pytest.raises(asyncio.CancelledError):
            await pruner.prune_all()
        assert await pruner.prune_all() == 4
        assert await pruner.prune_all() == 0

    async def test_what_is_changed_or_pinned_between_the_look_and_the_removal_stays(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        until = clock.now() + timedelta(seconds=30)
        with ago(days=40):
            made = await remember("ann", "Changed.", "Pinned.", "Old.")
        lasting = await remember("ann", *[{"content": f"Over {n}.", "expires_at": until.isoformat()} for n in "ab"])
        await put(caller, ttl_days=30)
        forget = pruner._forget

        async def patch(trace: dict[str, Any], **change: Any) -> None:
            path = f"/memory/traces/{trace['trace_id']}"
            assert (await caller.patch(path, params={"user_id": "ann"}, json=change)).status_code == 200

        async def late(*given: Any, **named: Any) -> int:
            await patch(made[0], salience=0.9)
            await owner.execute("UPDATE memory_trace SET pinned = true WHERE id = %s", (made[1]["trace_id"],))
            await patch(lasting[0], expires_at=None)
            return await forget(*given, **named)

        monkeypatch.setattr(pruner, "_forget", late)
        assert await pruner.prune_all() == 1
        with clock.as_of(until + timedelta(seconds=1)):
            assert await pruner.forget_expired() == 1
        assert await told("ann") == {"Changed.", "Pinned.", "Over a."}

    async def test_a_user_who_cannot_be_pruned_keeps_back_no_other(
        self, pruner: Pruner, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection
    ) -> None:
        with ago(days=40):
            for user in ("ann", "bob"):
                await remember(user, f"Of {user}.")
        await put(caller, ttl_days=30, force=True)
        await owner.execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.space_id IS NOT NULL AND"
            " EXISTS (SELECT FROM memory_user WHERE user_id = OLD.user_id AND external_id = 'ann')"
            " THEN RAISE 'no' USING ERRCODE = 'data_exception'; END IF; RETURN OLD; END $$"
        )
        await owner.execute("CREATE TRIGGER no BEFORE DELETE ON memory_trace FOR EACH ROW EXECUTE FUNCTION no()")
        assert await pruner.prune_all() == 1
        assert (await told("ann"), await told("bob")) == ({"Of ann."}, set())


class TestSettings:
    """GET and PUT /settings/retention."""

    async def test_it_says_what_is_in_force_and_who_has_set_it(self, settings: Settings, embedder: Embedder) -> None:
        given = {"memory_ttl_days": 90, "memory_max_traces_per_user": 5000, "memory_salience_floor": 0.25}
        async with serving(settings.model_copy(update=given), embedder) as api:
            caller = await api.caller()
            assert (await caller.get(PATH)).json() == {
                "ttl_days": None, "max_traces_per_user": None, "salience_floor": None, "updated_at": None,
                "in_force": {
                    "ttl_days": {"value": 90, "set_by": "service"},
                    "max_traces_per_user": {"value": 5000, "set_by": "service"},
                    "salience_floor": {"value": 0.25, "set_by": "service"},
                },
            }  # fmt: skip
            await put(caller, ttl_days=0, salience_floor=0.3)
            shown = (await caller.get(PATH)).json()
            assert (shown["ttl_days"], shown["max_traces_per_user"], shown["salience_floor"]) == (0, None, 0.3)
            assert shown["in_force"] == {
                "ttl_days": {"value": 0, "set_by": "space"},
                "max_traces_per_user": {"value": 5000, "set_by": "service"},
                "salience_floor": {"value": 0.3, "set_by": "space"},
            }
            assert datetime.fromisoformat(shown["updated_at"]) <= clock.now()
            await put(caller)
            assert (await caller.get(PATH)).json()["in_force"]["ttl_days"] == {"value": 90, "set_by": "service"}

    async def test_the_settings_of_the_service_prune(self, settings: Settings, embedder: Embedder) -> None:
        async with serving(settings.model_copy(update={"memory_ttl_days": 30}), embedder) as api:
            caller = await api.caller()
            with ago(days=40):
                await caller.post("/memory/remember", json={"user_id": "ann", "traces": [{"content": "Old."}]})
            assert await api.app.state.retention.pruner.prune_all() == 1

    async def test_what_would_empty_the_store_asks_for_force(
        self, caller: httpx.AsyncClient, remember: Remember, told: Any
    ) -> None:
        with ago(days=40):
            await remember("ann", *[f"Old {n}." for n in range(10)])
        await remember("ann", "New.")
        answer = await caller.put(PATH, json={"ttl_days": 30})
        assert answer.status_code == 409
        assert answer.json()["detail"] == (
            "This would forget 10 of the 11 traces of the space at the next run: send force as true if that is meant."
        )
        assert (await caller.get(PATH)).json()["ttl_days"] is None
        counted = await put(caller, ttl_days=30, dry_run=True)
        assert (counted["due"]["due"], counted["dry_run"], counted["ttl_days"]) == (10, True, 30)
        assert (await caller.get(PATH)).json()["ttl_days"] is None
        assert (await put(caller, ttl_days=30, force=True))["due"]["due"] == 10
        # Nobody is asked again about what is in force.
        assert (await put(caller, ttl_days=30))["dry_run"] is False
        assert len(await told("ann")) == 11

    async def test_neither_entities_nor_what_expired_make_it_seem_little(
        self, caller: httpx.AsyncClient, remember: Remember
    ) -> None:
        until = clock.now() + timedelta(seconds=60)
        with ago(days=40):
            await remember("ann", *[f"Old {n}." for n in range(10)])
            await remember("ann", *[{"content": f"Town {n}", "kind": "entity"} for n in range(10)])
            # Old enough too: counted once, by the rule that comes first.
            await remember("ann", *[{"content": f"Over {n}.", "expires_at": until.isoformat()} for n in range(10)])
        with clock.as_of(until + timedelta(seconds=1)):
            answer = await caller.put(PATH, json={"ttl_days": 30})
            assert answer.status_code == 409
            assert answer.json()["detail"].startswith("This would forget 10 of the 10 traces of the space")
            due = (await put(caller, ttl_days=30, dry_run=True))["due"]
        assert (due["traces"], due["due"]) == (30, 20)
        assert due["by_rule"] == {"expires_at": 10, "ttl_days": 10, "salience_floor": 0, "max_traces_per_user": 0}

    async def test_what_leaves_a_tenth_does_not(self, caller: httpx.AsyncClient, remember: Remember) -> None:
        with ago(days=40):
            await remember("ann", *[f"Old {n}." for n in range(9)])
        await remember("ann", "New.")
        assert (await put(caller, ttl_days=30))["due"]["due"] == 9

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"ttl_days": -1}, "ttl_days takes a number of at least 0, not -1."),
            ({"ttl_days": 36_501}, "ttl_days takes a number of at most 36500, not 36501."),
            ({"ttl_days": 1.5}, "ttl_days takes a whole number, not 1.5."),
            ({"ttl_days": "30"}, "ttl_days takes a whole number, not '30'."),
            ({"max_traces_per_user": -5}, "max_traces_per_user takes a number of at least 0, not -5."),
            ({"max_traces_per_user": 10**10}, "max_traces_per_user takes a number of at most 1e+09, not 10000000000."),
            ({"salience_floor": 1.1}, "salience_floor takes a number of at most 1, not 1.1."),
            ({"salience_floor": "low"}, "salience_floor takes a number, not 'low'."),
            ({"force": "yes"}, "force takes true or false, not 'yes'."),
            ({"days": 3}, "days is not a field here."),
        ],
    )
    async def test_bad_values(self, caller: httpx.AsyncClient, given: dict[str, Any], says: str) -> None:
        answer = await caller.put(PATH, json=given)
        assert (answer.status_code, answer.json()["detail"]) == (422, says)

    async def test_a_whole_number_may_be_written_with_a_point(self, caller: httpx.AsyncClient) -> None:
        answer = await caller.put(
            PATH, content=b'{"ttl_days": 30.0, "max_traces_per_user": 5.0, "salience_floor": 1e-320}'
        )
        assert (answer.status_code, answer.json()["ttl_days"], answer.json()["salience_floor"]) == (200, 30, 0.0)

    @pytest.mark.parametrize("scope", ["read", "write"])
    async def test_it_needs_an_admin(self, api: Api, scope: str) -> None:
        client = await api.caller(scopes=[scope])
        assert (await client.get(PATH)).status_code == 403
        assert (await client.put(PATH, json={})).status_code == 403
        assert (await client.post(f"{PATH}/run", json={})).status_code == 403


class TestRunning:
    """POST /settings/retention/run."""

    @asynccontextmanager
    async def another_run(self, owner: Connection) -> AsyncIterator[None]:
        await owner.execute("SELECT pg_advisory_lock(hashtext('reverie.retention'))")
        yield
        await owner.execute("SELECT pg_advisory_unlock_all()")

    async def test_a_dry_run_counts_and_an_operation_forgets(
        self, api: Api, caller: httpx.AsyncClient, remember: Remember, told: Any, owner: Connection
    ) -> None:
        until = clock.now() + timedelta(seconds=60)
        with ago(days=40):
            await remember("ann", "Old.")
        await remember("ann", {"content": "Over.", "expires_at": until.isoformat()}, "New.")
        await put(caller, ttl_days=30)
        with clock.as_of(until + timedelta(seconds=1)):
            answer = await caller.post(f"{PATH}/run", json={"dry_run": True})
            counted = answer.json()
            assert (answer.status_code, counted["operation_id"], counted["dry_run"]) == (200, None, True)
            assert (counted["due"]["due"], counted["due"]["users"]) == (2, 1)
            answer = await caller.post(f"{PATH}/run", json={})
            started = answer.json()
            assert (answer.status_code, started["due"]) == (202, counted["due"])
            path = f"/operations/{started['operation_id']}"
            async with self.another_run(owner):
                await api.app.state.operations.run(UUID(started["operation_id"]))
            waiting = (await caller.get(path)).json()
            assert (waiting["state"], waiting["error"]) == ("pending", "Another run of retention goes on.")
        with clock.as_of(until + timedelta(minutes=3)):
            await api.app.state.operations.run(UUID(started["operation_id"]))
        done = (await caller.get(path)).json()
        assert (done["kind"], done["state"], done["result"]) == ("prune", "done", {"traces": 2})
        assert await told("ann") == {"New."}
        assert len(await reasons(owner)) == 2


async def test_expired_traces_are_found_by_an_index_of_their_own(remember: Remember, owner: Connection) -> None:
    await remember("ann", {"content": "Soon over.", "expires_at": "2099-01-01T00:00:00Z"})
    for n in range(4):
        await remember("ann", *[{"content": f"Note {n} {m}.", "salience": 0.0} for m in range(250)])
    await owner.execute("ANALYZE memory_trace")
    query = repository.SQL["expired"].decode().replace("%s", "{}").format("now()", "NULL", "NULL", 10)
    cursor = await owner.execute(f"EXPLAIN {query}".encode())
    assert "Index Scan using memory_trace_expires" in str(await cursor.fetchall())


async def test_the_worker_does_both_by_itself(
    remember: Remember, caller: httpx.AsyncClient, told: Any, settings: Settings, embedder: Embedder
) -> None:
    until = clock.now() + timedelta(seconds=30)
    with ago(days=40):
        await remember("ann", "Old.")
    await remember("ann", {"content": "Over.", "expires_at": until.isoformat()}, "New.")
    await put(caller, ttl_days=30)
    async with open_runtime(settings, embedder) as runtime:
        with clock.as_of(until + timedelta(seconds=1)):
            await worker.keep_house({"runtime": runtime})
            assert await told("ann") == {"Old.", "New."}
            await worker.prune({"runtime": runtime})
    assert await told("ann") == {"New."}
    assert worker.prune in [job.coroutine for job in worker.WorkerSettings.cron_jobs]
