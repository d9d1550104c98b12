"""What stands between spaces in the database itself, read from the catalogs and tried as the serving role."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from reverie.core.ids import uuid7
from reverie.models import Base

Connection = psycopg.Connection[tuple[Any, ...]]

NOW = datetime.now(UTC)
WALLED = {table.name for table in Base.metadata.tables.values() if table.info.get("walled")}
OPEN = {
    "space": "names the wall itself",
    "api_key": "says which space a request belongs to",
    "operation": "is swept before the space is known",
    "model": "belongs to no space",
    "ai_settings": "belongs to no space: the models are those of the whole store; keys are encrypted",
    "memory_partition": "belongs to no space",
    "memory_index": "belongs to no space; how many vectors large users have, and what was measured of their indexes",
    "reembedding": "belongs to no space; how far the change of the model is",
    "tier_change": "a log of ids while a partition is moved, for its mover alone",
    "tier_control": "belongs to no space",
    "tier_run": "belongs to no space; counts alone",
    "dream_night": "belongs to no space; when the dream ran, and how that ended",
    "dream_control": "belongs to no space",
    "cold_garbage": "paths of objects to be deleted, for whoever deletes them",
    "store_secret": "fingerprints of the secret of the whole store",
}

OF_A_SPACE = {"idempotency_key", "cold_segment", "retention", "dream_run", "dream_stage"}
"""Walled, and of no single user: answers, files of many users, how long a space keeps what it has, its nights."""


def rows(connection: Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), parameters or None).fetchall()


def test_every_table_has_a_wall_or_a_reason_for_none(owner: Connection) -> None:
    found = rows(
        owner,
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
        " AND relname <> 'alembic_version'",
    )
    assert {name for name, walled, _ in found if walled} == WALLED
    assert {name for name, walled, _ in found if not walled} == set(OPEN)
    assert not any(forced for *_, forced in found)


def test_every_wall_is_the_same_both_ways(owner: Connection) -> None:
    policies = rows(
        owner,
        "SELECT c.relname, p.polcmd, p.polpermissive, p.polroles,"
        " pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)"
        " FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid",
    )
    assert {policy[0] for policy in policies} == WALLED
    assert len(policies) == len(WALLED)
    for _, command, permissive, roles, using, check in policies:
        assert (command, permissive, roles) == ("*", True, [0])
        assert "space_id = " in using
        assert "current_setting('reverie.space'::text, true)" in using
        assert check == using


def test_tables_that_hold_memory_are_keyed_by_their_user(owner: Connection) -> None:
    unique = rows(
        owner,
        "SELECT i.indrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index i"
        " JOIN pg_class c ON c.oid = indrelid WHERE i.indisunique AND c.relname = ANY(%s)",
        list(WALLED - OF_A_SPACE),
    )
    assert {table for table, _ in unique} == WALLED - OF_A_SPACE
    for table, definition in unique:
        assert "user_id" in definition, table


def test_nobody_but_the_owner_reaches_a_partition(owner: Connection) -> None:
    held = rows(
        owner,
        "SELECT count(*), count(relacl) FILTER (WHERE relacl::text LIKE '%reverie_app%' OR relacl::text ~ '[{,]=')"
        " FROM pg_class WHERE relispartition AND relkind = 'r'",
    )
    assert held[0][0] > 0
    assert held[0][1] == 0


def test_functions_that_pass_the_wall_keep_to_their_own_path(owner: Connection) -> None:
    found = rows(
        owner,
        "SELECT proname, prosecdef, proconfig, has_function_privilege('public', oid, 'EXECUTE'),"
        " has_function_privilege('reverie_app', oid, 'EXECUTE') FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND prosecdef",
    )
    assert {row[0] for row in found} == {
        "reverie_bm25", "reverie_meta_ids", "reverie_note_change", "reverie_note_removal"
    }  # fmt: skip
    for name, _, settings, public, served in found:
        path = next(setting for setting in settings if setting.startswith("search_path="))
        assert path == "search_path=pg_catalog, public, pg_temp", name
        # What a trigger runs is called by nobody else.
        assert (public, served) == (False, not name.startswith("reverie_note_"))


@pytest.fixture
def two_spaces(owner: Connection) -> dict[UUID, UUID]:
    """One user with one trace in each of two spaces: the spaces and their users."""
    spaces = {uuid4(): uuid4() for _ in range(2)}
    for space, user in spaces.items():
        trace = uuid7(NOW)
        owner.execute("INSERT INTO space (id, name, created_at) VALUES (%s, %s, %s)", (space, str(space), NOW))
        owner.execute(
            "INSERT INTO memory_user (space_id, user_id, external_id, traces, words, created_at, updated_at)"
            " VALUES (%s, %s, 'u', 1, 2, %s, %s)",
            (space, user, NOW, NOW),
        )
        owner.execute(
            "INSERT INTO memory_trace (space_id, user_id, id, kind, language, length, created_at, salience,"
            " salience_given, digest, vectors, meta) VALUES (%s, %s, %s, 'note', 'english', 4, %s, 0.5, false, 'd',"
            """ true, '{"colour": "red", "size": 7}')""",
            (space, user, trace, NOW),
        )
        owner.execute(
            "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes) VALUES"
            " (%s, %s, %s, %s, 2, 2, 'red word',"
            " 'red:1 word:2'::tsvector || array_to_tsvector(ARRAY[reverie_user_lexeme(%s)]))",
            (space, user, trace, NOW, user),
        )
    return spaces


def serve(owner: Connection, space: UUID | None) -> None:
    """Makes the connection the serving role's, for one space or for none."""
    owner.execute("SET ROLE reverie_app")
    owner.execute("SELECT set_config('reverie.space', %s, false)", (str(space or ""),))


def test_the_serving_role_sees_one_space(owner: Connection, two_spaces: dict[UUID, UUID]) -> None:
    space, other = two_spaces
    serve(owner, space)
    for table in ("memory_user", "memory_trace", "memory_body"):
        assert rows(owner, f"SELECT space_id FROM {table}") == [(space,)]  # noqa: S608 - our own names
    assert rows(owner, "UPDATE memory_user SET version = 1 WHERE space_id = %s RETURNING 1", other) == []
    assert rows(owner, "DELETE FROM memory_trace WHERE user_id = %s RETURNING 1", two_spaces[other]) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        rows(owner, "UPDATE memory_user SET space_id = %s RETURNING 1", other)


def test_without_a_space_there_is_nothing(owner: Connection, two_spaces: dict[UUID, UUID]) -> None:
    serve(owner, None)
    for table in sorted(WALLED):
        assert rows(owner, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608


def test_the_serving_role_cannot_go_around_the_wall(owner: Connection, two_spaces: dict[UUID, UUID]) -> None:
    (partition,) = rows(owner, "SELECT tableoid::regclass::text FROM memory_body LIMIT 1")[0]
    serve(owner, next(iter(two_spaces)))
    for attempt in (
        f"SELECT count(*) FROM {partition}",  # noqa: S608
        "ALTER TABLE memory_trace DISABLE ROW LEVEL SECURITY",
        "DROP POLICY memory_trace_space ON memory_trace",
        "TRUNCATE memory_trace CASCADE",
        "INSERT INTO model (name, dim, precision, created_at) VALUES ('x', 1, 'fp16', now())",
        "UPDATE space SET name = 'mine'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows(owner, attempt)


def test_the_functions_hold_the_wall_themselves(owner: Connection, two_spaces: dict[UUID, UUID]) -> None:
    users = list(two_spaces.values())
    lexical = "SELECT user_id FROM reverie_bm25(%s, %s, null, null, null, null, null, 2, 4, 2000, 10)"
    meta = "SELECT count(*) FROM reverie_meta_ids(%s, %s)"
    for space, user in two_spaces.items():
        serve(owner, space)
        assert rows(owner, lexical, users, ["red"]) == [(user,)]
        assert rows(owner, meta, users, '$.colour == "red"') == [(1,)]
        assert rows(owner, meta, users, "$.size > 6") == [(1,)]
        assert rows(owner, meta, users, '$.colour == "red" && $.size > 7') == [(0,)]
    serve(owner, None)
    assert rows(owner, lexical, users, ["red"]) == []
    assert rows(owner, meta, users, '$.colour == "red"') == [(0,)]
