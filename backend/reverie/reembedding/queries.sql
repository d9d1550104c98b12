-- Changing the embedding model. Run as the owner of the schema, in autocommit: it goes through every user's traces.
-- {model}, {column} and {type} are those of the model whose vectors are made or removed.

-- name: plan_as_serving
-- A table that was just loaded has no statistics, and would be read whole for each part.
SELECT set_config('enable_seqscan', 'off', false), set_config('random_page_cost', '1.1', false),
       set_config('jit', 'off', false)

-- name: take_run
SELECT pg_try_advisory_lock(%b)

-- name: take_served
-- Nobody has it to themselves as long as a process serves the model.
SELECT pg_try_advisory_lock(%b, %b)

-- name: give_served
SELECT pg_advisory_unlock(%b, %b)

-- name: served_by
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid::bigint = %b AND objid::bigint = %b AND objsubid = 2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: changes
-- Every model of the store, and how far its vectors have come that are being made or removed.
SELECT m.id, m.name, m.dim, m.precision, m.active, r.state, r.traces, r.total, r.made, r.refused, r.after_user,
       r.after_trace, r.seen_at
FROM model m LEFT JOIN reembedding r ON r.model_id = m.id
ORDER BY m.id

-- name: add_model
INSERT INTO model (name, dim, precision, created_at) VALUES (%b, %b, %b, %b)
ON CONFLICT (name, dim, precision) DO NOTHING

-- name: begin
INSERT INTO reembedding (model_id, state, total, started_at, seen_at)
SELECT id, 'filling', (SELECT coalesce(sum(traces), 0) FROM memory_user), %b, %b
FROM model WHERE name = %b AND dim = %b AND precision = %b

-- name: next_pass
UPDATE reembedding
SET state = %b, traces = 0, total = (SELECT coalesce(sum(traces), 0) FROM memory_user), after_user = NULL,
    after_trace = NULL, seen_at = %b
WHERE model_id = %b AND state = %b
RETURNING model_id

-- name: keep_writers_out
-- Who writes has looked into this table: whoever looked before has committed, whoever looks afterwards sees the change.
LOCK TABLE model IN ACCESS EXCLUSIVE MODE

-- name: want
UPDATE model SET wanted = true WHERE id = %b

-- name: want_no_more
UPDATE model SET wanted = false WHERE id = %b AND NOT active

-- name: step_down
UPDATE model SET active = false, wanted = false WHERE active

-- name: step_up
UPDATE model SET active = true, wanted = true, heads = %b WHERE id = %b

-- name: next_traces
-- The next traces after one, and whether each is still to get its vectors: as look-ups, whatever the statistics say.
SELECT t.user_id, t.id, t.kind, t.speaker, t.length, t.salience, t.conversation_id, t.updated_at,
       t.vectors AND t.deleted_at IS NULL AND e.piece IS NULL
FROM (
    SELECT m.user_id, m.id, m.kind, m.speaker, m.length, m.salience, m.conversation_id, m.updated_at, m.vectors,
           m.deleted_at
    FROM memory_trace m
    WHERE (m.user_id, m.id) > (%b, %b)
    ORDER BY m.user_id, m.id
    LIMIT %b
) t
LEFT JOIN LATERAL (
    SELECT piece FROM memory_embedding
    WHERE user_id = t.user_id AND trace_id = t.id AND head = 0 AND model_id = {model}
    LIMIT 1
) e ON true
ORDER BY t.user_id, t.id

-- name: contents
SELECT w.n, b.content
FROM unnest(%b::uuid[], %b::uuid[]) WITH ORDINALITY AS w (user_id, id, n)
CROSS JOIN LATERAL (
    SELECT content FROM memory_body WHERE user_id = w.user_id AND trace_id = w.id LIMIT 1
) b

-- name: lock_users
-- As everybody does who writes, before anything else; in the order of their ids.
SELECT user_id FROM memory_user WHERE user_id = ANY(%b) ORDER BY user_id FOR SHARE

-- name: write_part
-- What was changed or forgotten since it was read is passed over; the users are locked.
WITH standing AS MATERIALIZED (
    SELECT t.space_id, t.user_id, t.id, g.kind, t.happened_at
    FROM unnest(%b::uuid[], %b::uuid[], %b::timestamptz[], %b::smallint[]) AS g (user_id, id, updated_at, kind)
    JOIN memory_trace t ON t.user_id = g.user_id AND t.id = g.id
    WHERE t.deleted_at IS NULL AND t.vectors AND t.updated_at IS NOT DISTINCT FROM g.updated_at
),
written AS (
    INSERT INTO memory_embedding (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, begins, ends,
                                  {column}, bits)
    SELECT s.space_id, s.user_id, s.id, v.head, {model}, v.piece, s.kind, s.happened_at, v.begins, v.ends, v.vec,
           binary_quantize(v.vec)
    FROM unnest(%b::uuid[], %b::uuid[], %b::smallint[], %b::int[], %b::int[], %b::int[], %b::{type}[])
        AS v (user_id, id, head, piece, begins, ends, vec)
    JOIN standing s ON s.user_id = v.user_id AND s.id = v.id
    ON CONFLICT (user_id, trace_id, head, model_id, piece) DO NOTHING
    RETURNING head, piece
)
SELECT count(*) FROM written WHERE head = 0 AND piece = 0

-- name: checkpoint
-- No row comes back when the change was broken off.
UPDATE reembedding
SET traces = traces + %b, made = made + %b, refused = refused + %b, after_user = %b, after_trace = %b, seen_at = %b
WHERE model_id = %b AND state = %b
RETURNING traces, total, made, refused

-- name: done
DELETE FROM reembedding WHERE model_id = %b

-- name: drop_begins
INSERT INTO reembedding (model_id, state, started_at, seen_at) VALUES (%b, 'dropping', %b, %b)
ON CONFLICT (model_id) DO UPDATE
SET state = 'dropping', traces = 0, total = 0, made = 0, refused = 0, after_user = NULL, after_trace = NULL,
    seen_at = excluded.seen_at

-- name: dropped
UPDATE reembedding SET traces = traces + %b, seen_at = %b WHERE model_id = %b

-- name: forget_model
DELETE FROM model WHERE id = %b AND NOT active

-- name: vector_partitions
SELECT c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'memory_embedding'::regclass
ORDER BY c.relname

-- name: model_indexes
-- The indexes of a model on the partitions, which have its number in their names.
SELECT c.relname
FROM pg_inherits i
JOIN pg_class t ON t.oid = i.inhrelid
JOIN pg_index x ON x.indrelid = t.oid
JOIN pg_class c ON c.oid = x.indexrelid
WHERE i.inhparent = 'memory_embedding'::regclass AND starts_with(c.relname, t.relname || '_m' || %b || '_')

-- name: drop_index
DROP INDEX CONCURRENTLY IF EXISTS {index}

-- name: drop_part
-- By place in the table: whatever went before is not read again.
DELETE FROM {table} WHERE ctid >= '({first},0)'::tid AND ctid < '({after},0)'::tid AND model_id = {model}

-- name: vacuum
-- Index-only scans need the visibility map, and the planner its statistics.
VACUUM (ANALYZE, SKIP_LOCKED) {table}
