"""The walls between spaces: nothing crosses, whatever is asked; and the second wall holds where the first is gone.

The first wall is what the queries name, space and user; the second is row-level security in PostgreSQL.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg import errors, sql

from reverie.core import clock
from reverie.core.database import Database
from reverie.core.ids import user_uuid, uuid7
from reverie.dream import service as dream_service
from reverie.exporting import service as export_service
from reverie.forgetting import repository as forgetting
from reverie.forgetting import service as forgetting_service
from reverie.memories import repository as memories
from reverie.memories import service as memory_service
from reverie.memories import users
from reverie.models import Base
from reverie.recall import candidates, lexical, pipeline, vectors
from reverie.relating import edges as relating_edges
from reverie.relating import repository as relating
from reverie.relating import service as relating_service
from reverie.tiers import thaw
from tests.contracts.house import (
    DIM,
    SHARED,
    USER,
    WALLED,
    WITH_KEY,
    House,
    Person,
    Route,
    assert_problem,
    axis,
    furnish_person,
)

UNWALLED = {
    "api_key": "a key is looked up before its space is known",
    "operation": "the worker takes what waits, of whatever space; callers read it by space and id",
}
"""Tables that belong to a space and are not behind the second wall, and why."""


@pytest.fixture(scope="module")
async def intruder(house: House) -> Person:
    """Somebody with a space of their own, whose users have the same names."""
    return await furnish_person(house.api, "intruders", "The intruder's password is nougat.")


@pytest.fixture
def victim(house: House) -> Iterator[Person]:
    """Whose space must be as it was after the test."""
    before = space_state(house, house.theirs)
    yield house.theirs
    assert space_state(house, house.theirs) == before


def space_id(house: House, person: Person) -> UUID:
    row = house.owner.execute("SELECT id FROM space WHERE name = %s", (person.space,)).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def space_state(house: House, person: Person) -> dict[str, Any]:
    """Every row of a space, as the owner sees it."""
    own = space_id(house, person)
    query = sql.SQL("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} t WHERE space_id = %s")
    return {
        name: house.owner.execute(query.format(sql.Identifier(name)), (own,)).fetchone()
        for name, table in Base.metadata.tables.items()
        if "space_id" in table.columns
    }


def nothing_of(victim: Person, house: House, answer: httpx.Response) -> None:
    """Nothing that only the victim's space holds stands in an answer."""
    marks = [victim.secret, victim.space, victim.key_id, victim.operation_id, *victim.trace_ids]
    marks.append(str(user_uuid(space_id(house, victim), USER)))
    marks.append(str(space_id(house, victim)))
    assert [mark for mark in marks if mark in answer.text] == []


class TestFirstWall:
    """Every route, with another space's ids, keys, cursors and words."""

    @pytest.mark.parametrize("route", [route for route in WITH_KEY if "{" in route.path], ids=lambda route: route.name)
    async def test_anothers_id_is_as_good_as_none(
        self, house: House, intruder: Person, victim: Person, route: Route
    ) -> None:
        name = next(iter(route.ids(victim)))
        theirs, nobodys = route.ids(victim)[name], str(uuid7(clock.now()))
        said = []
        for one in (theirs, nobodys):
            path = route.path.format(**{name: one})
            answer = await intruder.client.request(route.method, path, params=route.params, json=route.json)
            assert_problem(answer, 404)
            said.append((answer.text.replace(one, "ID"), sorted(answer.headers)))
        assert said[0] == said[1]

    @pytest.mark.parametrize("route", WITH_KEY, ids=lambda route: route.name)
    async def test_no_route_shows_anything_of_another_space(self, house: House, victim: Person, route: Route) -> None:
        """Good requests, each by somebody whose own space was just furnished with the same users."""
        person = await furnish_person(house.api, f"visitor {route.name}", "A visitor's password.")
        answer = await person.client.request(route.method, route.url(person), params=route.params, json=route.json)
        assert answer.status_code in (200, 201, 202, 204, *route.also), answer.text
        nothing_of(victim, house, answer)

    async def test_anothers_words_recall_nothing(self, house: House, intruder: Person, victim: Person) -> None:
        for recipe in ("fast", "balanced", "thorough", "vector", "lexical"):
            asked = {"user_id": [USER, "ilse"], "q": victim.secret, "recipe": recipe, "k": 100}
            extras: list[dict[str, Any]] = [{}, {"embedding": axis(1)}, {"filter": {"meta.of": victim.space}}]
            for extra in extras:
                answer = await intruder.client.post("/memory/recall", json={**asked, **extra, "explain": True})
                assert answer.status_code == 200, answer.text
                found = answer.json()
                assert found["query"] == victim.secret
                assert {result["trace_id"] for result in found["results"]} <= set(intruder.trace_ids)
                assert not set(victim.trace_ids) & set(re.findall(r"[0-9a-f-]{36}", answer.text))
                if "filter" in extra:
                    assert found["results"] == []

    async def test_anothers_inner_user_id_is_just_another_name(
        self, house: House, intruder: Person, victim: Person
    ) -> None:
        inner = str(user_uuid(space_id(house, victim), USER))
        answer = await intruder.client.get("/memory/recall", params={"user_id": inner, "q": "password"})
        assert answer.json()["results"] == []
        answer = await intruder.client.get("/memory/traces", params={"user_id": inner})
        assert answer.json() == {"items": [], "next_cursor": None}

    async def test_anothers_traces_cannot_be_forgotten(self, intruder: Person, victim: Person) -> None:
        scope = {"trace_ids": victim.trace_ids}
        for dry_run in (True, False):
            body = {"user_id": USER, "scope": scope, "dry_run": dry_run}
            answer = await intruder.client.post("/memory/forget", json=body)
            assert answer.status_code == 200, answer.text
            assert set(answer.json()["counts"].values()) == {0}
            assert answer.json()["trace_ids"] == []

    async def test_anothers_cursor_pages_through_ones_own(self, house: House, intruder: Person, victim: Person) -> None:
        lists = [
            ("/memory/traces", {"user_id": USER}, victim.cursor),
            ("/memory/users", {}, victim.users_cursor),
            ("/keys", {}, victim.key_id),
        ]
        for path, params, cursor in lists:
            answer = await intruder.client.get(path, params={**params, "cursor": cursor})
            assert answer.status_code == 200, answer.text
            hidden = answer.text.replace(victim.users_cursor, "")
            assert victim.secret not in hidden
            items = answer.json()["items"]
            assert not {item.get("trace_id") for item in items} & set(victim.trace_ids)
            assert victim.key_id not in {item.get("id") for item in items}

    async def test_the_same_text_is_new_in_every_space(self, house: House) -> None:
        rows = house.owner.execute(
            "SELECT t.identity, t.digest FROM memory_trace t JOIN memory_body b ON b.user_id = t.user_id AND "
            "b.trace_id = t.id WHERE b.content = %s",
            (SHARED,),
        ).fetchall()
        assert len(rows) >= 2
        assert len({bytes(row[0]) for row in rows}) == len({bytes(row[1]) for row in rows}) == len(rows)

    async def test_an_idempotency_key_belongs_to_its_space(
        self, house: House, intruder: Person, victim: Person
    ) -> None:
        body = {"user_id": USER, "traces": [{"content": "Once.", "embedding": axis(9)}]}
        visitor = await house.api.caller("somebody else")
        headers = {"Idempotency-Key": "once"}
        first = await intruder.client.post("/memory/remember", json=body, headers=headers)
        second = await visitor.post("/memory/remember", json=body, headers=headers)
        again = await intruder.client.post("/memory/remember", json=body, headers=headers)
        assert first.json() == again.json()
        assert first.json()["traces"][0]["trace_id"] != second.json()["traces"][0]["trace_id"]
        # A key that the victim used is free here.
        headers = {"Idempotency-Key": "only theirs"}
        assert (await victim_writes(house, headers)).status_code == 201
        answer = await intruder.client.post("/memory/remember", json=body, headers=headers)
        assert answer.status_code == 201
        nothing_of(victim, house, answer)

    async def test_a_revoked_key_opens_nothing(self, house: House) -> None:
        person = await furnish_person(house.api, "revokers", "A revoked password.")
        made = (await person.client.post("/keys", json={"name": "brief"})).json()
        brief = house.api.client(made["key"])
        assert (await brief.get("/memory/users")).status_code == 200
        assert (await person.client.delete(f"/keys/{made['id']}")).status_code == 204
        assert_problem(await brief.get("/memory/users"), 401)


async def victim_writes(house: House, headers: dict[str, str]) -> httpx.Response:
    """Somebody of yet another space uses an Idempotency-Key."""
    client = await house.api.caller("writers")
    body = {"user_id": USER, "traces": [{"content": "Theirs.", "embedding": axis(8)}]}
    return await client.post("/memory/remember", json=body, headers=headers)


class TestSecondWallThroughTheService:
    """The real queries with their own filter gone: row-level security alone keeps the victim's rows."""

    FILTER = re.compile(r"((?:\w+\.)?(?:user_id|space_id) = (?:ANY\(%b\)|%b(?:::uuid)?))")

    @pytest.fixture
    def unfiltered(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
        """Takes the user and the space out of every query on memory; how many filters went."""
        gone = 0
        vectors.statement.cache_clear()
        for queries in (memories.SQL, forgetting.SQL, candidates.SQL, lexical.SQL, vectors.SQL, relating.SQL):
            blocks = {}
            for name, block in queries._blocks.items():
                blocks[name], count = self.FILTER.subn(r"(\1 OR true)", block)
                gone += count
            monkeypatch.setattr(queries, "_blocks", blocks)
            monkeypatch.setattr(queries, "_encoded", {name: block.encode() for name, block in blocks.items()})
        yield gone
        vectors.statement.cache_clear()

    async def test_reading_without_a_filter(
        self, house: House, intruder: Person, victim: Person, unfiltered: int
    ) -> None:
        assert unfiltered > 20
        client = intruder.client
        listed = await client.get("/memory/traces", params={"user_id": "nobody at all"})
        nothing_of(victim, house, listed)
        assert set(intruder.trace_ids) <= {item["trace_id"] for item in listed.json()["items"]}, (
            "the filter still holds"
        )
        users = await client.get("/memory/users")
        nothing_of(victim, house, users)
        for recipe in ("vector", "lexical", "balanced"):
            body = {"user_id": USER, "q": victim.secret, "recipe": recipe, "embedding": axis(1), "k": 100}
            answer = await client.post("/memory/recall", json=body)
            assert answer.status_code == 200, answer.text
            assert answer.json()["degraded"] == []
            assert answer.json()["results"]
            assert {one["content"] for one in answer.json()["results"]}.isdisjoint({victim.secret})
            assert set(victim.trace_ids).isdisjoint(re.findall(r"[0-9a-f-]{36}", answer.text))
        for trace_id in victim.trace_ids:
            for method in ("GET", "PATCH", "DELETE"):
                change = {"salience": 0.1} if method == "PATCH" else None
                url = f"/memory/traces/{trace_id}"
                assert_problem(await client.request(method, url, params={"user_id": USER}, json=change), 404)

    @pytest.fixture
    async def vandal(self, house: House) -> Person:
        """Somebody whose own space may be laid waste."""
        return await furnish_person(house.api, f"vandals {uuid4()}", "A vandal's password.")

    @pytest.mark.usefixtures("vandal", "unfiltered")  # in this order: the space is furnished while the filters stand
    async def test_writing_without_a_filter(self, house: House, vandal: Person, victim: Person) -> None:
        """Everything of the vandal's own space may go; of the victim's, nothing may change (see the fixture)."""
        body: dict[str, Any] = {"user_id": "nobody", "scope": {"trace_ids": [*victim.trace_ids, vandal.trace_ids[0]]}}
        answer = await vandal.client.post("/memory/forget", json=body)
        assert answer.json()["trace_ids"] == [vandal.trace_ids[0]], "the filter still holds"
        url = f"/memory/traces/{vandal.trace_ids[1]}"
        await vandal.client.patch(url, params={"user_id": USER}, json={"content": "Vandalised."})
        body = {"user_id": USER, "scope": {"all": True}}
        assert (await vandal.client.post("/memory/forget", json=body)).status_code == 200
        left = house.owner.execute(
            "SELECT count(*) FROM memory_trace WHERE space_id = %s", (space_id(house, vandal),)
        ).fetchone()
        assert left == (0,)

    @pytest.mark.parametrize("route", [route for route in WITH_KEY if "/memory/" in route.path], ids=lambda r: r.name)
    async def test_with_the_victims_own_user_id(
        self, house: House, intruder: Person, victim: Person, monkeypatch: pytest.MonkeyPatch, route: Route
    ) -> None:
        """As if two spaces could share a user: the queries ask for the victim's rows, by their right id."""
        stolen = space_id(house, victim)
        for module in (
            memory_service, forgetting_service, export_service, pipeline, thaw, dream_service, users, relating_service,
            relating_edges,
        ):  # fmt: skip
            monkeypatch.setattr(module, "user_uuid", lambda space, user: user_uuid(stolen, user))
        answer = await intruder.client.request(route.method, route.url(victim), params=route.params, json=route.json)
        nothing_of_but_the_asked(victim, answer)
        if answer.status_code == 200:
            shown = answer.json()
            assert shown.get("results", []) == []
            # The focus is Redis', which has no second wall: it holds ids alone, and recall reads them here.
            assert {n for name, n in shown.get("counts", {}).items() if name != "focus"} <= {0}
            assert {item.get("trace_id") for item in shown.get("items", [])}.isdisjoint(victim.trace_ids)
        elif route.path == "/memory/remember":
            assert answer.status_code == 500  # row-level security itself refuses: it is no caller's fault
        else:
            assert_problem(answer, route.also[0] if route.also else 404)


def nothing_of_but_the_asked(victim: Person, answer: httpx.Response) -> None:
    assert victim.secret not in answer.text
    asked = answer.request.url.path
    assert [one for one in victim.trace_ids if one in answer.text and one not in asked] == []


@pytest.fixture
async def serving(house: House) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection as serving ones are, in a transaction that is rolled back."""
    database: Database = house.api.app.state.database
    async with database._pool.connection() as connection:
        await connection.set_autocommit(False)
        try:
            yield connection
        finally:
            await connection.rollback()
            await connection.set_autocommit(True)


async def enter(connection: psycopg.AsyncConnection[Any], space: UUID | str) -> None:
    await connection.execute("SELECT set_config('reverie.space', %s, true)", (str(space),))


async def count(connection: psycopg.AsyncConnection[Any], query: str | sql.Composed, *parameters: Any) -> int:
    """The rows that a statement returns or changes; what it changed is undone."""
    async with connection.transaction(force_rollback=True):
        return (await connection.execute(query, parameters)).rowcount


class TestSecondWallInSql:
    """Row-level security itself, with statements that name no user and no space."""

    @pytest.mark.parametrize("table", WALLED)
    async def test_a_table_shows_and_yields_only_the_space_in_force(
        self, house: House, serving: psycopg.AsyncConnection[Any], table: str
    ) -> None:
        name = sql.Identifier(table)
        everything = [
            sql.SQL("SELECT 1 FROM {}").format(name),
            sql.SQL("UPDATE {} SET space_id = space_id").format(name),
            sql.SQL("DELETE FROM {}").format(name),
        ]
        total = house.owner.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
        for person in (house.ours, house.theirs):
            own = space_id(house, person)
            query = sql.SQL("SELECT count(*) FROM {} WHERE space_id = %s").format(name)
            there = house.owner.execute(query, (own,)).fetchone()
            assert there is not None
            assert total is not None
            assert 0 < there[0] < total[0], "the house holds rows of several spaces"
            await enter(serving, own)
            for statement in everything:
                assert await count(serving, statement) == there[0]
        for nobody in ("", str(uuid4())):
            await enter(serving, nobody)
            for statement in everything:
                assert await count(serving, statement) == 0

    @pytest.mark.parametrize("table", WALLED)
    async def test_rows_of_another_space_cannot_be_written(
        self, house: House, serving: psycopg.AsyncConnection[Any], table: str
    ) -> None:
        ours, theirs = space_id(house, house.ours), space_id(house, house.theirs)
        name = sql.Identifier(table)
        columns = [column.name for column in Base.metadata.tables[table].columns if column.computed is None]
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        given = sql.SQL(", ").join(
            sql.SQL("{}::uuid").format(sql.Literal(theirs)) if column == "space_id" else sql.Identifier(column)
            for column in columns
        )
        # A row of our own under the other space's id, as if a query had mixed them up.
        copied = sql.SQL("INSERT INTO {0} ({1}) SELECT {2} FROM {0} LIMIT 1").format(name, listed, given)
        moved = sql.SQL("UPDATE {} SET space_id = {}").format(name, sql.Literal(theirs))
        await enter(serving, ours)
        for statement in (copied, moved):
            with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
                await count(serving, statement)

    @pytest.mark.parametrize("function", ["reverie_bm25", "reverie_meta_ids"])
    async def test_a_definer_function_serves_the_space_in_force(
        self, house: House, serving: psycopg.AsyncConnection[Any], function: str
    ) -> None:
        theirs = space_id(house, house.theirs)
        users = [user_uuid(theirs, USER)]
        call = _call(house, function)
        found = {}
        for space in (theirs, space_id(house, house.ours), uuid4(), ""):
            await enter(serving, space)
            found[space] = await count(serving, call, users)
        assert found.pop(theirs) > 0
        assert set(found.values()) == {0}

    async def test_every_definer_function_is_known_and_fenced(self, house: House) -> None:
        rows = house.owner.execute(
            "SELECT p.proname, p.proconfig, pg_get_userbyid(p.proowner), has_function_privilege('public', p.oid, "
            "'EXECUTE') FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prosecdef "
            "AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert {row[0] for row in rows} == {
            "reverie_bm25",
            "reverie_meta_ids",
            "reverie_note_change",
            "reverie_note_removal",
        }
        for _, config, owner, public in rows:
            path = next(one for one in config if one.startswith("search_path="))
            assert path.endswith("pg_temp")
            assert owner == house.owner.info.user
            assert not public

    async def test_no_partition_can_be_touched(self, house: House, serving: psycopg.AsyncConnection[Any]) -> None:
        rows = house.owner.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'").fetchall()
        partitions = [sql.Identifier(row[0]) for row in rows]
        assert len(partitions) >= 2
        await enter(serving, space_id(house, house.ours))
        for partition in partitions:
            for statement in ("SELECT 1 FROM {}", "DELETE FROM {}", "UPDATE {} SET space_id = space_id", "TRUNCATE {}"):
                with pytest.raises(errors.InsufficientPrivilege):
                    await count(serving, sql.SQL(statement).format(partition))

    @pytest.mark.parametrize("table", sorted(Base.metadata.tables))
    async def test_the_schema_cannot_be_changed(self, serving: psycopg.AsyncConnection[Any], table: str) -> None:
        for statement in (
            "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} DISABLE ROW LEVEL SECURITY", "CREATE TRIGGER t AFTER "
            "INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()", "CREATE POLICY p ON {} USING (true)",
        ):  # fmt: skip
            with pytest.raises(errors.InsufficientPrivilege):
                await count(serving, sql.SQL(statement).format(sql.Identifier(table)))

    async def test_statistics_tell_nothing(self, house: House, serving: psycopg.AsyncConnection[Any]) -> None:
        """pg_stats holds values of rows: it hides those of tables under a policy, and partitions are not readable."""
        house.owner.execute("ANALYZE")
        await enter(serving, space_id(house, house.ours))
        query = "SELECT 1 FROM pg_stats WHERE tablename = ANY(%s) OR tablename LIKE 'memory_%%_20%%'"
        assert await count(serving, query, WALLED) == 0

    async def test_every_table_of_a_space_is_walled_or_has_a_reason_not_to_be(self, house: House) -> None:
        rows = house.owner.execute(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, count(p.polname) FILTER (WHERE "
            "p.polqual IS NOT NULL AND p.polwithcheck IS NOT NULL AND p.polpermissive AND p.polcmd = '*') "
            "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'space_id' "
            "LEFT JOIN pg_policy p ON p.polrelid = c.oid "
            "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition GROUP BY 1, 2, 3"
        ).fetchall()
        walled = {row[0] for row in rows if row[1]}
        assert walled == set(WALLED)
        assert {row[0] for row in rows} - walled == set(UNWALLED)
        for _, enabled, forced, policies in rows:
            assert not forced, "forced, the owner's migrations touch no rows, without an error"
            assert policies == (1 if enabled else 0)

    async def test_the_serving_role_has_no_powers(self, house: House, serving: psycopg.AsyncConnection[Any]) -> None:
        cursor = await serving.execute(
            "SELECT current_user, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin, "
            "rolinherit AND EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid) "
            "FROM pg_roles r WHERE rolname = current_user"
        )
        assert await cursor.fetchone() == ("reverie_app", False, False, False, False, False, False, False)
        cursor = await serving.execute(
            "SELECT relname, has_table_privilege(oid, 'INSERT'), has_table_privilege(oid, 'UPDATE'), "
            "has_table_privilege(oid, 'DELETE') FROM pg_class "
            "WHERE relname IN ('model', 'reembedding', 'memory_partition', 'space', 'alembic_version')"
        )
        allowed = {row[0]: row[1:] for row in await cursor.fetchall()}
        assert allowed == {
            "model": (False, False, False),
            "reembedding": (False, False, False),
            "memory_partition": (False, False, False),
            "space": (True, False, False),
            "alembic_version": (False, False, False),
        }


def _call(house: House, function: str) -> sql.Composed:
    """A call that would find everything of the users in its one parameter."""
    row = house.owner.execute(
        "SELECT proargnames[:pronargs], proargtypes::regtype[]::text[] FROM pg_proc WHERE proname = %s", (function,)
    ).fetchone()
    assert row is not None
    known: dict[str, Any] = {
        "p_terms": sql.SQL("ARRAY['password', 'tea', 'like', 'gingerbread']"),
        "p_kinds": sql.SQL("ARRAY[1, 2, 3, 4, 5, 6]::smallint[]"),
        "p_traces": sql.SQL("1000"), "p_words": sql.SQL("10000"), "p_cap": sql.SQL("2000"), "p_limit": sql.SQL("1000"),
        "p_k1": sql.SQL("1.2"), "p_b": sql.SQL("0.75"), "p_users": sql.SQL("%s::uuid[]"),
        "p_path": sql.SQL("'exists($)'::jsonpath"),
    }  # fmt: skip
    names = row[0]
    types = house.owner.execute(
        "SELECT format_type(t, NULL) FROM pg_proc, unnest(proargtypes::oid[]) WITH ORDINALITY AS a (t, n) "
        "WHERE proname = %s ORDER BY n",
        (function,),
    ).fetchall()
    arguments = [
        sql.SQL("{} => {}").format(sql.Identifier(name), known.get(name, sql.SQL(f"NULL::{kind}")))
        for name, (kind,) in zip(names, types, strict=True)
    ]
    return sql.SQL("SELECT * FROM {}({})").format(sql.Identifier(function), sql.SQL(", ").join(arguments))


INJECTIONS = [
    "'; RESET ROLE; --", "'; SET ROLE reverie; --", "'; SET SESSION AUTHORIZATION DEFAULT; --", "x'); RESET ROLE; --",
    "'; SELECT set_config('reverie.space', '{victim}', false); --", "' OR space_id = '{victim}' --", "{victim}",
    "'; COMMIT; RESET ROLE; BEGIN; --", "\\'; RESET ROLE; --", "$$; RESET ROLE; $$", "%b; RESET ROLE",
    "{model}; RESET ROLE",
    "1); RESET ROLE; --", "::regconfig; RESET ROLE", "english'; RESET ROLE; --", "pg_temp.english",
    "$.a\" || true || \"",
    "\" == 1) || (1 == 1", "a\\\" || true || \\\"",
]  # fmt: skip


async def test_no_input_leaves_the_serving_role_or_the_space(house: House, intruder: Person, victim: Person) -> None:
    stolen = str(space_id(house, victim))
    lexical_only = {"user_id": USER, "recipe": "lexical"}
    for text in (text.replace("{victim}", stolen) for text in INJECTIONS):
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "/memory/recall", {"params": {"user_id": text, "q": text, "conversation_id": text}}),
            ("POST", "/memory/recall", {"json": lexical_only | {"q": text, "filter": {f"meta.{text}": text}}}),
            ("POST", "/memory/recall", {"json": lexical_only | {"q": "tea", "filter": {"meta.of": {"$ne": text}}}}),
            ("GET", "/memory/traces", {"params": {"user_id": text, "conversation_id": text}}),
            ("GET", "/memory/traces", {"params": {"user_id": USER, "cursor": text}}),
            ("GET", "/memory/users", {"params": {"cursor": text}}),
            ("POST", "/memory/forget", {"json": {"user_id": text, "scope": {"all": True}, "reason": text}}),
            ("GET", f"/operations/{httpx.QueryParams({'a': text})}", {}),
            ("POST", "/memory/remember", {"headers": {"Idempotency-Key": text}, "json": {"user_id": text, "traces": [
                {"content": text, "external_id": text, "conversation_id": text, "speaker": text, "meta": {text: text},
                 "embedding": [1.0] * DIM}, {"content": text, "language": text}]}}),
        ]  # fmt: skip
        for method, path, given in requests:
            answer = await intruder.client.request(method, path, **given)
            assert answer.status_code < 500, (text, answer.text)
            assert victim.secret not in answer.text
            assert set(victim.trace_ids).isdisjoint(re.findall(r"[0-9a-f-]{36}", answer.text))
    database: Database = house.api.app.state.database
    all_there = asyncio.Barrier(4)
    seen = await asyncio.gather(*(_who(database, all_there) for _ in range(4)))
    assert {(role, space) for role, space, _ in seen} == {("reverie_app", "")}
    assert len({backend for _, _, backend in seen}) == 4, "every connection of the pool was looked at"


async def _who(database: Database, all_there: asyncio.Barrier) -> tuple[str, str, int]:
    """(role, space, backend) of a connection of the pool, outside of any session; kept until others have theirs."""
    async with database._pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT current_user, coalesce(current_setting('reverie.space', true), ''), pg_backend_pid()"
        )
        row = await cursor.fetchone()
        await all_there.wait()
        assert row is not None
        return str(row[0]), str(row[1]), int(row[2])
