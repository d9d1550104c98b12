-- What the service is, for those who look after it. No block reads a table that holds memory: rows and bytes come from
-- PostgreSQL's own catalogs.

-- name: queue
-- As the serving role; of all spaces. What rests until it may be tried again is not due.
SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'running'),
       (SELECT count(*) FROM operation WHERE state = 'failed'),
       min(created_at) FILTER (WHERE state = 'pending'),
       min(greatest(created_at, lease_until)) FILTER (
           WHERE state = 'pending' AND (lease_until IS NULL OR lease_until < %b::timestamptz)
       )
FROM operation WHERE state IN ('pending', 'running')

-- name: dream
-- As the serving role: when the last night came to its end, how many failed since, and how many days of the last could
-- not be dreamt.
WITH done AS (SELECT max(finished_at) AS at, max(started_at) AS began FROM dream_night WHERE whole AND state = 'done')
SELECT done.at,
       (SELECT count(*) FROM dream_night n WHERE n.whole AND n.state = 'failed'
           AND (done.began IS NULL OR n.started_at > done.began)),
       coalesce((SELECT n.failed FROM dream_night n WHERE n.whole ORDER BY n.started_at DESC LIMIT 1), 0)
FROM done

-- name: active_model
-- As the serving role, like that above.
SELECT id, name, dim, precision FROM model WHERE active

-- name: changes
SELECT m.name, m.dim, m.precision, r.state, r.traces, r.total, r.made, r.refused, r.seen_at
FROM reembedding r JOIN model m ON m.id = r.model_id
ORDER BY m.id

-- name: failed
-- The last that failed of one space.
SELECT finished_at, id, kind, attempts, error
FROM operation WHERE state = 'failed' AND space_id = %b
ORDER BY finished_at DESC
LIMIT %b

-- name: patience
-- As the owner, like all below: nothing here is worth waiting for behind a lock.
SELECT set_config('lock_timeout', '500ms', false), set_config('statement_timeout', %s, false)

-- name: versions
SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
       (SELECT version_num FROM alembic_version)

-- name: partitions
-- Live rows as the statistics collector counts them, else as the planner does. A partition may have gone meanwhile.
SELECT p.table_name, p.parent, p.tier, p.lower, p.upper,
       coalesce(nullif(pg_stat_get_live_tuples(c.oid), 0), greatest(c.reltuples, 0)::bigint, 0),
       coalesce(pg_total_relation_size(c.oid), 0)
FROM memory_partition p LEFT JOIN pg_class c ON c.oid = to_regclass(p.table_name)
ORDER BY p.parent, p.lower

-- name: tables
-- The tables of our schema that are no partitions.
SELECT c.relname, coalesce(nullif(pg_stat_get_live_tuples(c.oid), 0), greatest(c.reltuples, 0)::bigint, 0),
       coalesce(pg_total_relation_size(c.oid), 0)
FROM pg_class c
WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
ORDER BY 3 DESC, c.relname

-- name: indexes
SELECT i.relname, t.relname, coalesce(pg_relation_size(i.oid), 0), x.indisvalid, pg_stat_get_numscans(i.oid)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
WHERE t.relkind = 'r' AND t.relnamespace = current_schema()::regnamespace
ORDER BY t.relname, i.relname
