-- Partitions and their indexes. Run as the owner of the schema, in autocommit.
-- No query here names a user: these look at tables, not at memories, except the counts for the planner of HNSW.

-- name: covered
-- The ranges that touch a span of ids.
SELECT parent, lower, upper FROM memory_partition WHERE lower < %s AND upper > %s

-- name: vector_partitions
SELECT table_name FROM memory_partition WHERE parent = 'memory_embedding' AND tier = 'hot' ORDER BY lower

-- name: models
SELECT id, name, dim, precision FROM model ORDER BY id

-- name: add_partition
INSERT INTO memory_partition (table_name, parent, lower, upper) VALUES (%s, %s, %s, %s)

-- name: short_wait
SET LOCAL lock_timeout = '100ms'

-- name: long_wait
SELECT set_config('lock_timeout', setting::int + 500 || 'ms', true) FROM pg_settings WHERE name = 'deadlock_timeout'

-- name: lock_partitions
SELECT pg_advisory_xact_lock(%s)

-- name: create_table
CREATE TABLE {table} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE)
WITH (
    -- Index-only scans and the cheap half of a GIN scan need a visibility map: vacuum soon after a load, not after
    -- a fifth of the table is new.
    autovacuum_vacuum_insert_threshold = 500,
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05
)

-- name: revoke
-- What ALTER DEFAULT PRIVILEGES may have given: a partition bypasses its parent's policy.
REVOKE ALL ON {table} FROM PUBLIC, reverie_app

-- name: memory_body_key
ALTER TABLE {table} ADD PRIMARY KEY (user_id, trace_id)

-- name: memory_embedding_key
ALTER TABLE {table} ADD PRIMARY KEY (user_id, trace_id, head, model_id, piece)

-- name: foreign_key
ALTER TABLE {table} ADD FOREIGN KEY (user_id, trace_id) REFERENCES memory_trace (user_id, id) ON DELETE CASCADE

-- name: lexemes_index
-- Every search reads what is pending: 4 MB, the default, take 9 ms; 128 kB take 0.2 ms and half of what it costs to
-- have none when 1000 bodies are inserted (53 ms instead of 104).
CREATE INDEX {index} ON {table} USING gin (lexemes) WITH (gin_pending_list_limit = 128)

-- name: attach
ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ('{lower}') TO ('{upper}')

-- name: lock_builds
SELECT pg_try_advisory_lock(%s)

-- name: unlock_builds
SELECT pg_advisory_unlock(%s)

-- name: exact_index
-- The covering index of exact search, read index-only.
CREATE INDEX {concurrently} {index} ON {table} (user_id, head)
INCLUDE (space_id, trace_id, piece, kind, happened_at{vector}) WHERE model_id = {model}

-- name: build_memory
-- A graph that outgrows this is finished on disk, many times slower.
SET maintenance_work_mem = '512MB'

-- name: usual_memory
RESET maintenance_work_mem

-- name: hnsw_index
CREATE INDEX CONCURRENTLY {index} ON {table} USING hnsw (({column}::{type}({dim})) {type}_cosine_ops)
WITH (m = {m}, ef_construction = {ef}) WHERE model_id = {model}

-- name: index_state
-- Whether an index stands and is valid: a build that was killed leaves an invalid one behind.
SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass(%s)

-- name: drop_index
DROP INDEX CONCURRENTLY IF EXISTS {index}

-- name: has_rows
SELECT EXISTS (SELECT FROM {table} WHERE model_id = {model})

-- name: rows_estimate
-- The planner's own count of rows; -1 before the first ANALYZE or VACUUM.
SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)

-- name: largest_user
-- The rows of the user who owns most of a partition, and the rows of all users.
SELECT coalesce(max(n), 0)::bigint, coalesce(sum(n), 0)::bigint
FROM (SELECT count(*) AS n FROM {table} WHERE model_id = {model} GROUP BY user_id) AS users
