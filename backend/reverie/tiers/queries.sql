-- Partitions and their indexes. Run as the owner of the schema, in autocommit.
-- No query here names a user, except those that look at the vectors of a large one to index them: these look at tables,
-- not at memories.

-- name: covered
-- The ranges that touch a span of ids.
SELECT parent, lower, upper FROM memory_partition WHERE lower < %s AND upper > %s

-- name: vector_partitions
SELECT table_name, parent, lower, upper, tier FROM memory_partition
WHERE parent = 'memory_embedding' AND tier = ANY(%s) ORDER BY lower

-- name: all_partitions
SELECT table_name, parent, lower, upper, tier FROM memory_partition ORDER BY parent, lower

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

-- name: try_lock
SELECT pg_try_advisory_lock(%s)

-- name: unlock
SELECT pg_advisory_unlock(%s)

-- name: exact_index
-- The covering index of exact search, read index-only. The id in its key finds a span of time, or given ids.
CREATE INDEX {concurrently} {index} ON {table} (user_id, head, trace_id)
INCLUDE (space_id, piece, kind, happened_at{vector}) WHERE model_id = {model}

-- name: bits_index
CREATE INDEX CONCURRENTLY {index} ON {table} (user_id, head, trace_id)
INCLUDE (space_id, piece, kind, happened_at, bits) WHERE model_id = {model}

-- name: build_memory
-- A graph that outgrows this is finished on disk, many times slower.
SET maintenance_work_mem = '512MB'

-- name: usual_memory
RESET maintenance_work_mem

-- name: hnsw_index
-- Of one user, and of ids that are given: what is written later is not in it, so that it slows no write.
CREATE INDEX CONCURRENTLY {index} ON {table} USING hnsw (({column}::{type}({dim})) {type}_cosine_ops)
WITH (m = {m}, ef_construction = {ef})
WHERE model_id = {model} AND user_id = '{user}'::uuid AND head = {head}
  AND trace_id >= '{lower}'::uuid AND trace_id < '{upper}'::uuid

-- name: index_state
-- Whether an index stands and is valid: a build that was killed leaves an invalid one behind.
SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass(%s)

-- name: drop_index
DROP INDEX CONCURRENTLY IF EXISTS {index}

-- name: rows_of_model
SELECT count(*) FROM {table} WHERE model_id = {model}

-- name: index_bytes
SELECT pg_relation_size(to_regclass(%s))

-- name: reindex
REINDEX INDEX CONCURRENTLY {index}

-- name: broken_off
-- Invalid indexes that REINDEX CONCURRENTLY made beside another, or left in its place (`_ccnew`, `_ccold`).
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(%s) AND NOT i.indisvalid AND starts_with(c.relname, %s)
ORDER BY 1

-- name: changes
-- How many rows were ever written, changed and deleted; it may lag behind a little.
SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_all_tables WHERE relid = to_regclass(%s)

-- name: large_users
SELECT user_id, head, count(*) FROM {table} WHERE model_id = {model}
GROUP BY user_id, head HAVING count(*) >= %s ORDER BY 3 DESC, 1, 2

-- name: kinds
-- Of a user's vectors in a span: how many of each kind.
SELECT kind, count(*) FROM {table} WHERE user_id = '{user}'::uuid {mine} GROUP BY kind

-- name: moments
-- When they happened, in twentieths from the first to the last; null where there are none.
SELECT percentile_disc(ARRAY(SELECT n / 20.0::float8 FROM generate_series(0, 20) AS n)) WITHIN GROUP (ORDER BY happened_at)
FROM {table} WHERE user_id = '{user}'::uuid {mine}

-- name: mine
AND model_id = {model} AND head = {head}
  AND trace_id >= '{lower}'::uuid AND trace_id < '{upper}'::uuid

-- name: mine_warm
AND codes IS NOT NULL

-- name: sample
SELECT {column} FROM {table} WHERE user_id = '{user}'::uuid {mine} ORDER BY random() LIMIT %s

-- name: end_of_rows
-- The id of the last of the oldest {most} rows of a span.
SELECT trace_id FROM (SELECT trace_id FROM {table} WHERE user_id = '{user}'::uuid {mine} ORDER BY trace_id LIMIT {most}) AS oldest
ORDER BY trace_id DESC LIMIT 1

-- name: settings_of_recall
-- The plans of the serving role, for measuring.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('random_page_cost', '1.1', true), set_config('max_parallel_workers_per_gather', '0', true),
       set_config('jit', 'off', true)

-- name: nearest
SELECT {column} <=> %s AS distance FROM {table} WHERE user_id = '{user}'::uuid {mine} ORDER BY distance LIMIT 10

-- name: nearest_by_graph
SELECT {column}::{type}({dim}) <=> %s AS distance FROM {table} WHERE user_id = '{user}'::uuid {mine} ORDER BY distance LIMIT 10

-- name: graph_settings
SELECT set_config('enable_sort', 'off', true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
       set_config('hnsw.ef_search', %s, true)

-- name: signs_of_nearest
-- In how many signs the nearest differ from a question.
SELECT m.bits <~> binary_quantize(%s::{type})
FROM (SELECT user_id, trace_id, head, piece FROM {table} WHERE user_id = '{user}'::uuid {mine} ORDER BY {column} <=> %s LIMIT 10) AS c
CROSS JOIN LATERAL (
    SELECT bits FROM {table} AS b
    WHERE b.user_id = c.user_id AND b.trace_id = c.trace_id AND b.head = c.head AND b.model_id = {model}
      AND b.piece = c.piece
) AS m

-- name: signs_of_all
-- How many rows differ from a question in how many signs.
SELECT signs, count(*) FROM (
    SELECT bits <~> (SELECT binary_quantize(%s::{type})) AS signs FROM {table} WHERE user_id = '{user}'::uuid {mine}
) AS d GROUP BY signs ORDER BY signs

-- name: pages
SELECT (pg_relation_size(to_regclass(%s)) / current_setting('block_size')::int)::int

-- name: fill_bits
-- Of rows older than the column, some pages at a time: what is changed here comes to stand behind them, with its bits.
UPDATE {table} SET bits = binary_quantize({column})
WHERE model_id = {model} AND bits IS NULL AND ctid >= '({first},0)'::tid AND ctid < '({last},0)'::tid

-- name: lacks_bits
SELECT EXISTS (SELECT FROM {table} WHERE model_id = {model} AND bits IS NULL)

-- name: built
SELECT user_id, head, method, lower, upper, index_name, rows, looks, recall, kinds, moments FROM memory_index
WHERE table_name = %s AND model_id = %s ORDER BY user_id, head, method, lower

-- name: codes_sample
-- Signs, behind four bytes that say how many, and codes.
SELECT varbit_send(bits) || codes FROM {table} WHERE user_id = '{user}'::uuid {mine} ORDER BY random() LIMIT %s

-- name: codes_of_user
COPY (SELECT varbit_send(bits) || codes FROM {table} WHERE user_id = '{user}'::uuid {mine}) TO STDOUT (FORMAT binary)

-- name: add_built
INSERT INTO memory_index (user_id, table_name, model_id, head, method, lower, upper, index_name, rows, looks, recall,
                          kinds, moments, built_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (user_id, table_name, model_id, head, method, lower) DO UPDATE
SET upper = excluded.upper, index_name = excluded.index_name, rows = excluded.rows, looks = excluded.looks,
    recall = excluded.recall, kinds = excluded.kinds, moments = excluded.moments, built_at = excluded.built_at

-- name: remove_built
DELETE FROM memory_index
WHERE user_id = %s AND table_name = %s AND model_id = %s AND head = %s AND method = %s AND lower = %s

-- name: unused_graphs
-- HNSW indexes of a partition that nothing names: of a build that was killed, or of what a larger one holds now.
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(%s) AND starts_with(c.relname, %s)
  AND NOT EXISTS (SELECT FROM memory_index b WHERE b.index_name = c.relname)
ORDER BY 1
