-- Runs over the tiers, and what there is to see of them. Run as the owner of the schema, in autocommit.

-- name: take_runs
SELECT pg_try_advisory_lock(%s)

-- name: is_running
-- Whether anybody holds the lock of runs: a bigint's halves, in this database.
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND (classid::bigint << 32) | objid::bigint = %s
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)

-- name: patience
SELECT set_config('lock_timeout', '500ms', false), set_config('statement_timeout', %s, false)

-- name: begin_run
INSERT INTO tier_run (id, as_of, state, started_at, seen_at) VALUES (%s, %s, 'running', %s, %s)

-- name: end_broken_off
-- Whoever holds the lock knows that nobody else runs.
UPDATE tier_run SET state = 'failed', error = 'It was broken off.', finished_at = seen_at WHERE state = 'running'

-- name: note_run
UPDATE tier_run SET report = %s, seen_at = %s WHERE id = %s

-- name: end_run
UPDATE tier_run SET state = %s, report = %s, error = %s, seen_at = %s, finished_at = %s WHERE id = %s

-- name: forget_runs
-- All but the last.
DELETE FROM tier_run WHERE id IN (SELECT id FROM tier_run ORDER BY started_at DESC OFFSET %s)

-- name: last_run
SELECT id, state, as_of, started_at, seen_at, finished_at, report, error FROM tier_run ORDER BY started_at DESC LIMIT 1

-- name: control
SELECT paused, announced_at FROM tier_control

-- name: set_paused
UPDATE tier_control SET paused = %s WHERE paused <> %s RETURNING paused

-- name: active_model
SELECT id, name, dim, precision FROM model WHERE active

-- name: tier_sizes
-- Of each tier and parent: partitions, rows as the statistics collector counts them (else as the planner does), bytes of
-- tables and of indexes.
SELECT p.tier, p.parent, count(*),
       coalesce(sum(coalesce(nullif(pg_stat_get_live_tuples(c.oid), 0), greatest(c.reltuples, 0)::bigint)), 0)::bigint,
       coalesce(sum(pg_table_size(c.oid)), 0)::bigint, coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint
FROM memory_partition p LEFT JOIN pg_class c ON c.oid = to_regclass(p.table_name)
GROUP BY p.tier, p.parent

-- name: ranges
-- The partitions of vectors of a tier, oldest first: the first is the next to move.
SELECT lower, upper FROM memory_partition WHERE parent = 'memory_embedding' AND tier = %s ORDER BY lower

-- name: cold_sizes
-- Traces, files and bytes that are read, and what of the digests takes room here.
SELECT coalesce(sum(traces), 0)::bigint, count(*), coalesce(sum(bytes), 0)::bigint,
       pg_table_size('memory_digest'::regclass), pg_indexes_size('memory_digest'::regclass)
FROM cold_segment WHERE state = 'visible'

-- name: cold_waiting
-- Traces to be taken out of files, objects to be deleted, traces that are thawed, and segments of an export that did not
-- come to its end.
SELECT (SELECT count(*) FROM cold_removal), (SELECT count(*) FROM cold_garbage),
       (SELECT count(*) FROM memory_digest WHERE thawed_until IS NOT NULL),
       (SELECT count(*) FROM cold_segment WHERE state = 'written')

-- name: visible_segments
-- Of one space, or of all.
SELECT id, path, month, traces, bytes, checked_at, damage FROM cold_segment
WHERE state = 'visible' AND (%s::uuid IS NULL OR space_id = %s::uuid)
ORDER BY month, path

-- name: open_thaws
-- As above.
SELECT id, created_at, result FROM operation
WHERE kind = %s AND state IN ('pending', 'running') AND (%s::uuid IS NULL OR space_id = %s::uuid)
ORDER BY created_at LIMIT 20
