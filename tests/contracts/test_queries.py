"""Where SQL stands, and that every query on a table that holds memory names the user.

That keeps the first wall standing, and lets the schema be distributed by user.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import reverie
from tests.contracts.house import WALLED

PACKAGE = Path(reverie.__file__).parent

OF_SPACES = {"cold_segment", "dream_run", "dream_stage"}
"""Walled tables whose rows are of no one user: a file or a night holds many. Their queries name the space, or are the
owner's."""

WITHOUT_A_USER = {
    "cold/queries.sql drop_digests": "what stays of the traces of a file goes with it, whosever they are; by the owner",
    "cold/queries.sql drop_removals": "as drop_digests",
    "cold/queries.sql lost_removals": "as drop_digests",
    "cold/queries.sql removals": "a file is rewritten, whosever traces have to leave it; by the owner",
    "cold/queries.sql removed": "as removals",
    "core/idempotency.sql claim_key": "an Idempotency-Key belongs to a space; a request is known by it before its user",
    "core/idempotency.sql find_claim": "as claim_key",
    "core/idempotency.sql release_key": "as claim_key",
    "core/idempotency.sql extend_claim": "as claim_key",
    "core/idempotency.sql delete_old_keys": "what has outlived its time goes, whosever it is; by the owner",
    "dream/queries.sql watch": "how far the run is that goes on, over all users; by the owner",
    "dream/queries.sql dreamt": "how many days of how many users a run has dreamt; it names the space",
    "dream/queries.sql next_users_of": "whom a run has dreamt, to take back what it made; it names the space",
    "dream/queries.sql begin_run": "a report for each space that has users; by the owner",
    "graph/mirror.sql users": "whose graph is mirrored, of all spaces; by the owner",
    "memories/queries.sql list_users": "the list of the users of a space; it names the space",
    "memories/queries.sql next_user": "as list_users: work that goes through the users of a space, one after another",
    "reembedding/queries.sql begin": "how many traces there are in all; by the owner",
    "reembedding/queries.sql next_pass": "as begin",
    "reembedding/queries.sql next_traces": "every user's traces in turn, for a new model; by the owner",
    "reembedding/queries.sql drop_part": "a model's vectors go, whosever they are; by the owner",
    "core/secret.sql buried": "how many tombstones there are in all, to say what a lost secret means; by the owner",
    "forgetting/queries.sql unfinished": "receipts that nobody finishes, whosever they are; by the owner",
    "recall/queries.sql uncounted": "whose terms are due to be counted, of all users; by the owner",
    "retention/queries.sql get": "what is forgotten by itself is set for a space; it names the space",
    "retention/queries.sql put": "as get",
    "retention/queries.sql spaces": "every space that has users, with what it has set; by the owner",
    "retention/queries.sql next_users": "as list_users: work that goes through the users of a space, some at a time",
    "retention/queries.sql expired": "what has expired, whosever it is; by the owner",
    "retention/queries.sql count_expired": "how much of a space has expired; it names the space",
    "settings/queries.sql is_used": "whether the store holds any vectors, whosever they are; by the owner",
    "tiers/runs.sql cold_waiting": "counts what waits for a run, whosever it is; by the owner",
    "tiers/thaw.sql expired": "thawed traces whose time is over, whosever they are; by the owner",
    "tiers/export.sql newest": "how new a partition is; by the owner",
    "tiers/moving.sql first_owner": "whose rows a partition has, one user after the other, to copy it; by the owner",
    "tiers/moving.sql next_owner": "as first_owner",
    "tiers/moving.sql all_bodies": "a partition is copied, whosever its rows are; by the owner",
    "tiers/moving.sql some_bodies": "as all_bodies, of users and traces that are given",
    "tiers/moving.sql remove_traces": "as some_bodies",
    "tiers/moving.sql has_newer": "whether a partition holds anything younger, whosever it is; by the owner",
    "tiers/moving.sql count_late": "whether anything was written late into a partition, whosever it is; by the owner",
    "tiers/moving.sql late": "as count_late",
    "tiers/moving.sql unimportant": "which traces of a range matter little, whosever they are; by the owner",
    "tiers/moving.sql remove_vectors": "as some_bodies",
    "tiers/queries.sql large_users": "counts the rows of every user of a partition, for its indexes; by the owner",
    "tiers/queries.sql rows_of_model": "counts the rows of a partition, for the size of its indexes; by the owner",
    "tiers/queries.sql fill_bits": "older rows get the signs of their vectors, whosever they are; by the owner",
    "tiers/queries.sql lacks_bits": "whether any row of a partition has none; by the owner",
}
"""Blocks that touch a table that holds memory and name no user, each with its reason."""

SQL_IN_PYTHON = {
    "core/database.py": "the session itself: transactions, the space in force, the check of the serving role",
    "core/pool.py": "looks whether the server lets us in, before there is a session",
    "core/migrations.py": "looks at servers that may have no table of ours yet, within Alembic's connection",
    "core/schema.py": "looks whether there is a schema at all, before anything else is opened",
    "embedded/postgres.py": "makes the role and the database that everything else needs",
    "migrating/source.py": "reads a table of somebody else's, whose names and columns are known when it is there",
    "memories/model.py": "the embedding model of the store, by the owner, once a start",
    "recall/bounds.py": "the bounds that a question has, one fixed clause each, put together",
    "status/service.py": "asks whether PostgreSQL answers",
}
"""Files of Python that hold SQL, each with its reason."""

_BLOCK = re.compile(r"^-- name: (\w+)[ \t]*\n", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")
_ROWS = re.compile(r"\b(?:SELECT|INSERT|UPDATE|DELETE|MERGE|COPY)\b")
_DEFINES = re.compile(r"\s*(?:CREATE|ALTER|DROP|REVOKE|GRANT)\b")
_REFERENCE = re.compile(
    r"\b(FROM|JOIN|UPDATE|INTO|USING|,)\s+(?:ONLY\s+)?(\w+|\{table\}|\{parent\})(?:\s+AS)?(?:\s+(?!SET\b|WHERE\b|ON\b|"
    r"JOIN\b|LEFT\b|USING\b|GROUP\b|ORDER\b|LIMIT\b|RETURNING\b|AS\b)([a-z]\w*))?(\s*\([^)]*\))?"
)
_SQL = re.compile(
    r"\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|CREATE|ALTER|DROP|TRUNCATE|SET|RESET|BEGIN|COMMIT|ROLLBACK|LOCK|"
    r"VACUUM|ANALYZE|GRANT|REVOKE|COPY|MERGE|EXPLAIN|REINDEX|NOTIFY|LISTEN|AND|WHERE|ORDER BY)\b(?:\s|$)"
)


def blocks() -> Iterator[tuple[str, str]]:
    """(file and name, statement without its comments) of every block of every package."""
    for path in sorted(PACKAGE.rglob("*.sql")):
        parts = _BLOCK.split(path.read_text(encoding="utf-8"))
        for name, block in zip(parts[1::2], parts[2::2], strict=True):
            yield f"{path.relative_to(PACKAGE)} {name}", _COMMENT.sub("", block)


BLOCKS = dict(blocks())


def unscoped(block: str) -> list[str]:
    """The tables that hold memory and that a block reads or writes without naming the user of their rows."""
    if not _ROWS.search(block) or _DEFINES.match(block):
        return []
    return [
        table
        for before, table, alias, columns in _REFERENCE.findall(block)
        if (table in WALLED and table not in OF_SPACES) or table.startswith("{")
        if not _names_user(block, before, alias or table, columns, bool(alias))
    ]


def _names_user(block: str, before: str, name: str, columns: str, aliased: bool) -> bool:
    if before == "INTO":
        return "user_id" in columns
    # Compared with something: a parameter, or the same column of a row that is held to it.
    own = rf"\b{re.escape(name)}\.user_id" + ("" if aliased else r"|(?<![\w.])user_id")
    return bool(re.search(rf"(?:{own})\s*=|=\s*(?:{own})\b", block))


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 50
    assert sum(any(table in block for table in WALLED) for block in BLOCKS.values()) > 20


@pytest.mark.parametrize("name", [name for name in BLOCKS if name not in WITHOUT_A_USER])
def test_a_query_on_memory_names_the_user(name: str) -> None:
    assert unscoped(BLOCKS[name]) == []


@pytest.mark.parametrize("name", WITHOUT_A_USER)
def test_no_reason_is_given_in_vain(name: str) -> None:
    assert unscoped(BLOCKS[name]) != []


@pytest.mark.parametrize(
    "block",
    [
        "SELECT id FROM memory_trace WHERE id = %b",
        "SELECT t.id FROM memory_trace t JOIN memory_body b ON b.trace_id = t.id WHERE t.user_id = %b",
        "DELETE FROM memory_edge WHERE src = %b",
        "UPDATE memory_user SET version = 1 WHERE space_id = %b",
        "UPDATE memory_user u SET user_id2 = %b",
        "INSERT INTO memory_edge (space_id, src, dst) VALUES (%b, %b, %b)",
        "SELECT user_id FROM memory_trace ORDER BY user_id",
        "SELECT 1 FROM memory_trace t WHERE t.user_id = %b AND EXISTS (SELECT FROM memory_embedding e)",
        "WITH a AS (SELECT 1) DELETE FROM {table} WHERE model_id = {model}",
    ],
)
def test_a_query_without_a_user_is_found(block: str) -> None:
    assert unscoped(block) != []


def sql_in(path: Path) -> list[str]:
    """The SQL that stands in a file of Python: its texts that begin as a statement or a clause does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose)
    values = (text.value.decode("latin-1") if isinstance(text.value, bytes) else text.value for text in texts)
    return [value for value in values if isinstance(value, str) and _SQL.match(value)]


FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("name", [name for name in FILES if name not in SQL_IN_PYTHON])
def test_sql_stands_in_sql_files(name: str) -> None:
    assert sql_in(FILES[name]) == []


@pytest.mark.parametrize("name", SQL_IN_PYTHON)
def test_a_file_with_a_reason_holds_sql(name: str) -> None:
    assert sql_in(FILES[name]) != []


def test_every_block_is_used() -> None:
    """A block that nobody asks for by name is dead."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in FILES.values())
    built = {f"{parent}_key" for parent in WALLED}
    names = {name.split()[1] for name in BLOCKS} - built
    assert {name for name in names if f'"{name}"' not in source} == set()
