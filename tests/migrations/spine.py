"""A store as the first released schema held it, filled by SQL on the server.

Nothing here may follow the code of today: rows and partitions are written as that version wrote them.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid5

import psycopg
from psycopg import sql
from tests.migrations.catalog import migrate

Connection = psycopg.Connection[tuple[Any, ...]]

REVISION = "20261121_first_tables"

SPACE = UUID("6a0c66cb-3d55-4a67-8f21-6d4c1b6f0001")
USER_IDS = [uuid5(UUID("6f0c5a4e-51c7-5f7e-9f43-0d6a3b0f8a11"), f"{SPACE}/user {n}") for n in range(20)]
LATEST = datetime(2026, 11, 18, 12, tzinfo=UTC)
SPAN = timedelta(weeks=3)
DIM = 384

PARTITION: LiteralString = """
CREATE TABLE {table} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE)
WITH (
    autovacuum_vacuum_insert_threshold = 500,
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05
);
REVOKE ALL ON {table} FROM PUBLIC, reverie_app;
ALTER TABLE {table} ADD PRIMARY KEY ({key});
CREATE INDEX {index} ON {table} {indexed};
ALTER TABLE {table} ADD FOREIGN KEY (user_id, trace_id) REFERENCES memory_trace (user_id, id) ON DELETE CASCADE;
ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ({lower}) TO ({upper});
INSERT INTO memory_partition (table_name, parent, lower, upper) VALUES ({name}, {parent_name}, {lower}, {upper})
"""

PARENTS: dict[str, tuple[LiteralString, LiteralString, LiteralString]] = {
    "memory_body": ("user_id, trace_id", "lexemes", "USING gin (lexemes) WITH (gin_pending_list_limit = 128)"),
    "memory_embedding": (
        "user_id, trace_id, head, model_id, piece",
        "m1_exact",
        "(user_id, head) INCLUDE (space_id, trace_id, piece, kind, happened_at, vec) WHERE model_id = 1",
    ),
}
"""Primary key, ending of the index's name, and index of a partition of each."""

USERS_AND_KEYS = """
INSERT INTO space (id, name, created_at) VALUES (%(space)s, 'default', %(latest)s);
INSERT INTO model (name, dim, precision, active, created_at)
VALUES ('bge-small-en-v1.5', %(dim)s, 'fp16', true, %(latest)s);
INSERT INTO api_key (id, space_id, name, prefix, hash, scopes, created_at)
SELECT gen_random_uuid(), %(space)s, 'key ' || n, 'rv_', sha256(n::text::bytea), '{read,write}', %(latest)s
FROM generate_series(1, 5) n;
INSERT INTO memory_user (space_id, user_id, external_id, created_at, updated_at)
SELECT %(space)s, u.id, 'user ' || u.n - 1, %(latest)s, %(latest)s
FROM unnest(%(user_ids)s::uuid[]) WITH ORDINALITY AS u (id, n)
"""

TRACES = """
CREATE TEMPORARY TABLE given AS
SELECT n, (%(user_ids)s::uuid[])[1 + n %% %(users)s] AS user_id,
       -- A uuid v7 of the time: 48 bits of milliseconds, version, counter, variant.
       (lpad(to_hex((extract(epoch FROM t.at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n %% 4096), 3, '0')
        || '8' || left(md5(n::text), 15))::uuid AS id,
       t.at, (ARRAY['turn', 'note', 'fact', 'chunk'])[1 + n %% 4] AS kind,
       'Number ' || n || ': the ' || (ARRAY['violin', 'harbour', 'garden', 'letter', 'lamp'])[1 + n %% 5]
       || ' stood by the ' || (ARRAY['river', 'mountain', 'window', 'train', 'cat', 'bread', 'tea'])[1 + n %% 7]
       || repeat(', and nobody moved it', n %% 9) AS content
FROM generate_series(1, %(traces)s) n,
     LATERAL (SELECT date_trunc('milliseconds', %(latest)s - n * (%(span)s::interval / %(traces)s)) AS at) t;
INSERT INTO memory_trace (space_id, user_id, id, kind, role, speaker, conversation_id, external_id, language, length,
                          created_at, occurred_at, salience, salience_given, identity, digest, vectors, source, meta)
SELECT %(space)s, user_id, id, kind, CASE WHEN kind = 'turn' THEN 'user' END, 'Nora', 'talk ' || n %% 50,
       'given ' || n, 'english', length(content), at, CASE WHEN n %% 3 = 0 THEN at - interval '1 year' END,
       (n %% 10) / 10.0, n %% 2 = 0, sha256(id::text::bytea), sha256(content::bytea), true, '{"page": 1}',
       jsonb_build_object('colour', (ARRAY['red', 'green', 'blue'])[1 + n %% 3], 'n', n)
FROM given;
INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
SELECT t.space_id, t.user_id, t.id, 1 + g.n %% 4, t.happened_at, length(w.lexemes), g.content,
       w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(t.user_id)])
FROM given g JOIN memory_trace t ON t.user_id = g.user_id AND t.id = g.id,
     LATERAL (SELECT reverie_lexemes('english', g.content, t.happened_at) AS lexemes) w
"""

VECTORS = """
CREATE TEMPORARY TABLE drawn AS
SELECT k, (SELECT array_agg(sin(k * 7.3 + d * 1.7)) FROM generate_series(1, %(dim)s) d)::vector::halfvec AS vec
FROM generate_series(0, 255) k;
INSERT INTO memory_embedding (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, vec)
SELECT t.space_id, t.user_id, t.id, 0, 1, 0, 1 + g.n %% 4, t.happened_at, d.vec
FROM given g JOIN memory_trace t ON t.user_id = g.user_id AND t.id = g.id JOIN drawn d ON d.k = g.n %% 256
"""

REST = """
INSERT INTO memory_edge (space_id, user_id, src, dst, type, ts)
SELECT %(space)s, b.user_id, b.id, a.id, 'next', a.at FROM given a JOIN given b ON b.n = a.n + %(users)s;
UPDATE memory_user u SET version = 1, traces = c.traces, words = c.words
FROM (SELECT user_id, count(*) AS traces, sum(words) AS words FROM memory_body GROUP BY user_id) c
WHERE u.user_id = c.user_id;
INSERT INTO operation (id, space_id, user_id, kind, state, payload, trace_ids, result, attempts, error, created_at,
                       started_at, finished_at)
SELECT gen_random_uuid(), %(space)s, user_id, 'embed', CASE WHEN n %% 100 = 0 THEN 'failed' ELSE 'done' END, '{}',
       ARRAY[id], '{"embedded": 1, "refused": 0}', 1, CASE WHEN n %% 100 = 0 THEN 'It failed.' END, at, at, at
FROM given;
INSERT INTO idempotency_key (space_id, key, request_hash, status, response, locked_until, created_at)
SELECT %(space)s, 'key ' || n, sha256(n::text::bytea), 201, convert_to('{"traces": []}', 'UTF8'), at, at
FROM given WHERE n %% 10 = 0;
INSERT INTO forget_receipt (space_id, user_id, id, scope, counts, created_at)
SELECT %(space)s, user_id, id, 'trace', '{"traces": 1}', at FROM given WHERE n %% 100 = 0;
DROP TABLE given, drawn
"""


def make(url: str, traces: int) -> None:
    """Brings an empty database to the first released schema and fills it; its users are ``user 0`` and on."""
    migrate(url, REVISION)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        add_partitions(connection)
        values = {
            "space": SPACE,
            "user_ids": USER_IDS,
            "users": len(USER_IDS),
            "latest": LATEST,
            "span": SPAN,
            "dim": DIM,
            "traces": traces,
        }
        for script in (USERS_AND_KEYS, TRACES, VECTORS, REST):
            for statement in script.split(";\n"):
                connection.execute(statement.encode(), values)
        connection.execute("ANALYZE")


def add_partitions(connection: Connection) -> None:
    """The weekly partitions that hold every trace."""
    monday = (LATEST - SPAN).replace(hour=0) - timedelta(days=(LATEST - SPAN).weekday())
    while monday <= LATEST:
        year, week, _ = monday.isocalendar()
        for parent, (key, ending, indexed) in PARENTS.items():
            name = f"{parent}_{year:04d}w{week:02d}"
            parts = {
                "table": sql.Identifier(name),
                "parent": sql.Identifier(parent),
                "index": sql.Identifier(f"{name}_{ending}"),
                "key": sql.SQL(key),
                "indexed": sql.SQL(indexed),
                "name": sql.Literal(name),
                "parent_name": sql.Literal(parent),
                "lower": sql.Literal(str(first_id(monday))),
                "upper": sql.Literal(str(first_id(monday + timedelta(weeks=1)))),
            }
            connection.execute(sql.SQL(PARTITION).format(**parts))
        monday += timedelta(weeks=1)


def first_id(moment: datetime) -> UUID:
    """The smallest id of a moment."""
    return UUID(int=round(moment.timestamp() * 1000) << 80)
