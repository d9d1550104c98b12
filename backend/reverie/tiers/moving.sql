-- Moving partitions: the new one is built beside, caught up, swapped in, and the old ones are dropped. Run as the owner
-- of the schema, in autocommit. These look at tables, not at memories of a user.

-- name: ready
-- A client that is gone is noticed in the midst of a long statement, where the server can do that; limits that its role
-- may have for requests are not for this.
SELECT set_config('client_connection_check_interval',
                  CASE WHEN version() ~* 'windows|mingw|visual' THEN '0' ELSE '2s' END, false),
       set_config('maintenance_work_mem', '512MB', false), set_config('max_parallel_maintenance_workers', '0', false),
       set_config('idle_in_transaction_session_timeout', '0', false), set_config('lock_timeout', '0', false)

-- name: body_columns
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = 'memory_body'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''

-- name: names_taken
-- Every table that is, or once was, a partition's over these ids: a name is never used twice.
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'i') AND starts_with(c.relname, %s)

-- name: range_check
-- By it ATTACH knows that all rows are within the range, without reading them.
ALTER TABLE {table} ADD CONSTRAINT {table}_range CHECK (trace_id >= '{lower}'::uuid AND trace_id < '{upper}'::uuid)

-- name: note_changes
CREATE OR REPLACE TRIGGER reverie_moving AFTER INSERT OR UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION reverie_note_change()

-- name: note_no_changes
DROP TRIGGER IF EXISTS reverie_moving ON {table}

-- name: noting
-- Tables whose changes are noted.
SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE t.tgname = 'reverie_moving' AND c.relnamespace = current_schema()::regnamespace
ORDER BY 1

-- name: forget_changes
DELETE FROM tier_change WHERE table_name = ANY(%s)

-- name: forget_all_changes
DELETE FROM tier_change

-- name: take_changes
-- Each trace once, and how many notes of it. What is noted later, or not committed yet, stays.
WITH taken AS (
    DELETE FROM tier_change
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM tier_change WHERE table_name = ANY(%s) LIMIT %s))
    RETURNING user_id, trace_id
)
SELECT user_id, trace_id, count(*) FROM taken GROUP BY user_id, trace_id

-- name: lock_users
-- As everybody does who writes, before anything else; in the order of their ids.
SELECT user_id FROM memory_user WHERE user_id = ANY(%s) ORDER BY user_id FOR SHARE

-- name: empty
-- In the transaction of the copy: then its rows can be frozen as they come, and pages are known to be visible to all.
TRUNCATE {table}

-- name: read_in_order
-- By indexes alone: what is sorted would be written to disk first.
SELECT set_config('enable_seqscan', 'off', false), set_config('enable_sort', 'off', false),
       set_config('enable_bitmapscan', 'off', false), set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false), set_config('enable_material', 'off', false),
       set_config('join_collapse_limit', '1', false), set_config('from_collapse_limit', '1', false),
       set_config('max_parallel_workers_per_gather', '0', false), set_config('jit', 'off', false),
       set_config('random_page_cost', '1.1', false)

-- name: first_owner
(SELECT user_id FROM {table} ORDER BY user_id LIMIT 1)

-- name: next_owner
(SELECT user_id FROM {table} WHERE user_id > n.user_id ORDER BY user_id LIMIT 1)

-- name: read_all_vectors
-- User by user, head by head, from the oldest table to the newest, which is the order of recall.
COPY (
    WITH RECURSIVE owner AS (
        (SELECT user_id FROM ({first}) AS f ORDER BY user_id LIMIT 1)
        UNION ALL
        SELECT (SELECT f.user_id FROM ({following}) AS f ORDER BY f.user_id LIMIT 1)
        FROM owner n WHERE n.user_id IS NOT NULL
    )
    SELECT r.* FROM owner o
    CROSS JOIN LATERAL (
        SELECT v.* FROM (VALUES {heads}) AS h (head)
        CROSS JOIN LATERAL (SELECT * FROM ({rows}) AS w OFFSET 0) AS v
        OFFSET 0
    ) AS r
    WHERE o.user_id IS NOT NULL
) TO STDOUT (FORMAT binary)

-- name: read_some_vectors
COPY (
    SELECT r.* FROM (VALUES {given}) AS g (user_id, trace_id) CROSS JOIN LATERAL ({rows}) AS r
) TO STDOUT (FORMAT binary)

-- name: has_vector
-- Rows in their index: a hot partition is read by it alone.
AND e.{column} IS NOT NULL

-- name: has_codes
AND e.codes IS NOT NULL

-- name: vector_sent
{type}_send(e.{column})

-- name: codes_sent
-- Behind four bytes that say how many signs there are.
varbit_send(e.bits) || e.codes

-- name: either_sent
CASE WHEN e.codes IS NULL THEN {type}_send(e.{column}) ELSE varbit_send(e.bits) || e.codes END

-- name: vectors_of
-- Pieces from the second on have a span of the content, which the covering index does not have.
SELECT e.space_id, e.user_id, e.trace_id, e.happened_at, e.piece, e.head, e.kind,
       coalesce(CASE WHEN e.piece > 0 THEN (
           SELECT s.begins FROM {table} s WHERE s.user_id = e.user_id AND s.trace_id = e.trace_id AND s.head = e.head
             AND s.model_id = {model} AND s.piece = e.piece) END, -1),
       coalesce(CASE WHEN e.piece > 0 THEN (
           SELECT s.ends FROM {table} s WHERE s.user_id = e.user_id AND s.trace_id = e.trace_id AND s.head = e.head
             AND s.model_id = {model} AND s.piece = e.piece) END, -1),
       {payload}
FROM {table} e
WHERE {mine} AND e.model_id = {model} {where}

-- name: if_it_matters
-- An extra head of a trace that matters little is left behind. Of a whole partition it is not asked row by row: to hold
-- a lock of that table for minutes would keep partitions from being made.
AND CASE WHEN e.head = 0 THEN true ELSE coalesce((
    SELECT {effective} >= {low} FROM memory_trace t CROSS JOIN {moment}
    {recalled}
    WHERE t.user_id = e.user_id AND t.id = e.trace_id), true) END

-- name: unimportant
COPY (SELECT t.id FROM memory_trace t CROSS JOIN {moment}
      {recalled}
      WHERE t.id >= '{lower}'::uuid AND t.id < '{upper}'::uuid AND {effective} < {low})
TO STDOUT (FORMAT binary)

-- name: write_vectors
COPY {table} (space_id, user_id, trace_id, happened_at, piece, head, kind, model_id, bits, codes, begins, ends)
FROM STDIN (FORMAT binary{options})

-- name: all_bodies
SELECT {columns} FROM {table}

-- name: read_bodies
COPY (SELECT * FROM ({rows}) AS b ORDER BY user_id, trace_id) TO STDOUT (FORMAT binary)

-- name: write_bodies
COPY {table} ({columns}) FROM STDIN (FORMAT binary, FREEZE)

-- name: some_bodies
INSERT INTO {into} ({columns})
SELECT {columns} FROM {table} b
WHERE (b.user_id, b.trace_id) IN (SELECT * FROM unnest(%s::uuid[], %s::uuid[]))

-- name: remove_traces
DELETE FROM {table} WHERE (user_id, trace_id) IN (SELECT * FROM unnest(%s::uuid[], %s::uuid[]))

-- name: packed_key
-- Of a table that is hardly written any more.
ALTER TABLE {table} ADD PRIMARY KEY (user_id, trace_id, head, model_id, piece) WITH (fillfactor = 100)

-- name: late_index
-- The covering index of what was written or changed since its range was moved; exact search reads it as the hot ones.
CREATE INDEX {concurrently} {index} ON {table} (user_id, head, trace_id)
INCLUDE (space_id, piece, kind, happened_at{vector}) WHERE model_id = {model} AND {column} IS NOT NULL

-- name: codes_index
-- Empty: so that who looks for what is warm has nothing to read in a hot partition.
CREATE INDEX {concurrently} {index} ON {table} (user_id, head, trace_id) WHERE model_id = {model} AND codes IS NOT NULL

-- name: warm_bits_index
CREATE INDEX {concurrently} {index} ON {table} (user_id, head, trace_id)
INCLUDE (space_id, piece, kind, happened_at, bits) WHERE model_id = {model} AND codes IS NOT NULL AND head = 0

-- name: foreign_key
-- From now on a trace that is removed takes its rows here with it.
ALTER TABLE {table} ADD CONSTRAINT {table}_trace_fkey FOREIGN KEY (user_id, trace_id)
REFERENCES memory_trace (user_id, id) ON DELETE CASCADE NOT VALID

-- name: validate
ALTER TABLE {table} VALIDATE CONSTRAINT {table}_trace_fkey

-- name: analyze
ANALYZE {table}

-- name: detach
ALTER TABLE {parent} DETACH PARTITION {table}

-- name: drop_range_check
ALTER TABLE {table} DROP CONSTRAINT {table}_range

-- name: partition
INSERT INTO memory_partition (table_name, parent, lower, upper, tier)
VALUES ('{table}', '{parent}', '{lower}', '{upper}', '{tier}')

-- name: no_partition
DELETE FROM memory_partition WHERE table_name = '{table}'

-- name: tier
UPDATE memory_partition SET tier = '{tier}' WHERE table_name = '{table}'

-- name: drop_table
DROP TABLE IF EXISTS {table}

-- name: left_over
-- Tables that look like partitions and are none: of a move that was killed.
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
  AND c.relname ~ '^(memory_body|memory_embedding)_[0-9]{4,}w[0-9]{2}(_[0-9]+)?$'
  AND NOT EXISTS (SELECT FROM memory_partition p WHERE p.table_name = c.relname)
ORDER BY 1

-- name: standing
-- Which of these are partitions.
SELECT table_name FROM memory_partition WHERE table_name = ANY(%s)

-- name: bytes
-- With indexes and everything that belongs to them.
SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0) FROM unnest(%s::text[]) AS name

-- name: settings_of_swap
-- Who is held up while everybody waits for him is put out. What is lost with a crash was as it is without it.
SET LOCAL idle_in_transaction_session_timeout = '500ms'; SET LOCAL synchronous_commit = off

-- name: lock_share
-- Nobody who reads or writes waits behind it; an autovacuum or a build of an index does not begin.
LOCK TABLE {tables} IN SHARE UPDATE EXCLUSIVE MODE

-- name: lock_briefly
SET LOCAL lock_timeout = '{wait}ms'; LOCK TABLE {tables} IN {mode} MODE

-- name: last_look
-- How much was changed that is not caught up, and for which models.
SELECT (SELECT count(*) FROM (SELECT FROM tier_change WHERE table_name = ANY(%s) LIMIT %s) AS c),
       (SELECT coalesce(array_agg(id::integer ORDER BY id), ARRAY[]::integer[]) FROM model)

-- name: has_newer
-- Whether a partition has ids from a limit on: newer rows stand at its end.
SELECT EXISTS (
    SELECT FROM {table} WHERE trace_id >= '{limit}'::uuid
      AND ctid >= format('(%s,0)', greatest(0, pg_relation_size('{table}'::regclass)
                                               / current_setting('block_size')::int - 100))::tid
) OR EXISTS (SELECT FROM {table} WHERE trace_id >= '{limit}'::uuid)

-- name: announce
UPDATE tier_control SET announced_at = coalesce(announced_at, %s) RETURNING announced_at

-- name: count_late
SELECT count(*) FROM (SELECT FROM {table} WHERE model_id = {model} AND {column} IS NOT NULL LIMIT {most}) AS l

-- name: late
SELECT DISTINCT user_id, trace_id FROM (
    SELECT user_id, trace_id FROM {table} WHERE model_id = {model} AND {column} IS NOT NULL LIMIT {most}
) AS l

-- name: still_late
SELECT DISTINCT e.user_id, e.trace_id FROM unnest(%s::uuid[], %s::uuid[]) AS g (user_id, trace_id)
JOIN {table} e ON e.user_id = g.user_id AND e.trace_id = g.trace_id
WHERE e.model_id = {model} AND e.{column} IS NOT NULL

-- name: remove_vectors
DELETE FROM {table} WHERE model_id = {model} AND (user_id, trace_id) IN (SELECT * FROM unnest(%s::uuid[], %s::uuid[]))
