"""Those who look after operations read as much among a million finished ones as among none."""

import re
from itertools import count
from typing import Any

import pytest
from tests.figures import Figure
from tests.migrations.catalog import Connection

from reverie.core.queries import Queries
from reverie.operations.repository import SQL

FINISHED, BACKLOG = 1_000_000, 100_000
SHORT_FINISHED, SHORT_BACKLOG = 20_000, 5_000

FILL = """
INSERT INTO space (id, name, created_at) VALUES (%(space)s, 's', now());
INSERT INTO operation (id, space_id, kind, state, payload, trace_ids, result, attempts, error, created_at, finished_at)
SELECT gen_random_uuid(), %(space)s, 'embed', CASE WHEN n %% 5000 = 0 THEN 'failed' ELSE 'done' END, '{}',
       ARRAY[gen_random_uuid()], '{"embedded": 1}', 1, 'x', t.at, t.at
FROM generate_series(1, %(finished)s) n, LATERAL (SELECT now() - n * interval '1 second' AS at) t;
INSERT INTO operation (id, space_id, kind, state, payload, attempts, created_at, lease_until)
SELECT gen_random_uuid(), %(space)s, 'embed', CASE WHEN n <= 4 THEN 'running' ELSE 'pending' END, '{}', 1,
       now() - interval '1 minute', CASE WHEN n <= 4 THEN now() + interval '1 minute' END
FROM generate_series(1, %(backlog)s) n;
VACUUM ANALYZE operation
"""

STATUS = Queries("reverie.status")

QUERIES = {
    "left behind": (SQL["left_behind"], {"operation_open"}),
    "set aside": (SQL["set_aside"], {"operation_running"}),
    "delete finished": (SQL["delete_finished"], {"operation_finished", "operation_pkey"}),
    "the last that failed": (STATUS["failed"], {"operation_failed"}),
    "how many failed": (b"SELECT count(*) FROM operation WHERE state = 'failed'", {"operation_failed"}),
}
"""Each with the indexes that it reads."""

SPACE = "6a0c66cb-3d55-4a67-8f21-6d4c1b6f0002"
VALUES = {
    "timestamp with time zone": "'2000-01-01'",
    "uuid": f"'{SPACE}'",
    "text": "'x'",
    "integer": "100",
    "bigint": "100",
}
"""What each type of parameter is given: every moment is long ago, every number of attempts too high."""

SERVING = "SET ROLE reverie_app; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"


@pytest.fixture
def many(owner: Connection, long: bool) -> Connection:
    """A connection as those that serve, to a store with many operations."""
    values = {
        "space": SPACE,
        "finished": FINISHED if long else SHORT_FINISHED,
        "backlog": BACKLOG if long else SHORT_BACKLOG,
    }
    for statement in FILL.split(";\n"):
        owner.execute(statement.encode(), values)
    owner.execute(SERVING)
    return owner


def explained(connection: Connection, name: str, query: bytes) -> dict[str, Any]:
    """The generic plan of a query, with what it read."""
    numbers = count(1)
    text = re.sub("%b", lambda _: f"${next(numbers)}", query.decode())
    connection.execute(f"PREPARE {name} AS {text}".encode())
    types = "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = %s"
    [[known]] = connection.execute(types, (name,)).fetchall()
    given = ", ".join(VALUES[one] for one in known)
    call = f"{name} ({given})" if given else name
    [[[plan]]] = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {call}".encode()).fetchall()
    found: dict[str, Any] = plan
    return found


def indexes(plan: dict[str, Any]) -> set[str]:
    """The indexes that a plan reads, and the tables that it reads in order."""
    found = {plan["Index Name"]} if "Index Name" in plan else set()
    if plan["Node Type"] == "Seq Scan":
        found.add(plan["Relation Name"])
    return found.union(*(indexes(part) for part in plan.get("Plans", [])))


@pytest.mark.timeout(900)
def test_each_reads_a_few_pages_of_its_own_index(many: Connection, figure: Figure) -> None:
    for number, (what, (query, wanted)) in enumerate(QUERIES.items()):
        explanation = explained(many, f"q{number}", query)
        plan = explanation["Plan"]
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        figure(what, f"{pages} pages, {explanation['Execution Time']:.2f} ms")
        assert indexes(plan) == wanted, what
        assert pages <= 120, what


def test_finished_operations_are_vacuumed_early(owner: Connection) -> None:
    row = owner.execute("SELECT reloptions FROM pg_class WHERE oid = 'operation'::regclass").fetchone()
    assert row == (["autovacuum_vacuum_scale_factor=0.02"],)
