-- Forgetting: what would go, and that it goes. Every block names the user; row-level security stands behind.

-- name: lock_user
-- Locks the user until the transaction ends, so that a remember or an embedding that comes late waits, and raises its
-- version. No row comes back of a user who is not there, and has no traces either.
UPDATE memory_user SET version = greatest(version + 1, %b), updated_at = %b WHERE space_id = %b AND user_id = %b
RETURNING user_id

-- name: counts
-- What hangs on the traces of a scope; null means all traces of the user.
WITH gone AS MATERIALIZED (
    SELECT id FROM memory_trace
    WHERE user_id = %b AND (%b::uuid[] IS NULL OR id = ANY(%b::uuid[]))
)
SELECT (SELECT count(*) FROM gone),
       (SELECT count(*) FROM gone JOIN memory_body b ON b.user_id = %b AND b.trace_id = gone.id),
       (SELECT count(*) FROM gone JOIN memory_embedding e ON e.user_id = %b AND e.trace_id = gone.id),
       (SELECT count(*) FROM memory_edge x
        WHERE x.user_id = %b AND (x.src IN (SELECT id FROM gone) OR x.dst IN (SELECT id FROM gone))),
       (SELECT array_agg(id) FROM (SELECT id FROM gone ORDER BY id DESC LIMIT 100) shown)

-- name: close_gaps
-- Before traces go: from each that stays and is followed by one that goes, along `next` to the first that stays.
WITH RECURSIVE gone AS MATERIALIZED (SELECT DISTINCT unnest(%b::uuid[]) AS id),
walk AS (
    SELECT e.space_id, e.src, e.dst
    -- OFFSET 0 keeps each a look-up by key: as joins they may compare every trace with every edge.
    FROM gone g, LATERAL (SELECT space_id, src, dst FROM memory_edge
                          WHERE user_id = %b AND dst = g.id AND type = 'next' OFFSET 0) e
    WHERE e.src NOT IN (SELECT id FROM gone)
    UNION
    SELECT w.space_id, w.src, e.dst
    FROM walk w, LATERAL (SELECT dst FROM memory_edge
                          WHERE user_id = %b AND src = w.dst AND type = 'next' OFFSET 0) e
    WHERE NOT (w.dst NOT IN (SELECT id FROM gone))
),
healed AS (
    INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
    SELECT w.space_id, %b, w.src, w.dst, 'next', 1, %b FROM walk w WHERE w.dst NOT IN (SELECT id FROM gone)
    ON CONFLICT DO NOTHING
    RETURNING user_id, src, dst
)
UPDATE memory_trace t SET follows = h.src
FROM (
    SELECT DISTINCT e.dst
    FROM gone g, LATERAL (SELECT dst FROM memory_edge
                          WHERE user_id = %b AND src = g.id AND type = 'next' OFFSET 0) e
) f LEFT JOIN healed h ON h.dst = f.dst
WHERE t.user_id = %b AND t.id = f.dst

-- name: forget
-- The trace takes its body, vectors and edges with it (ON DELETE CASCADE).
WITH words AS (
    SELECT coalesce(sum(b.words), 0) AS words FROM memory_body b
    WHERE b.user_id = %b AND (%b::uuid[] IS NULL OR b.trace_id = ANY(%b::uuid[]))
),
gone AS (
    DELETE FROM memory_trace WHERE user_id = %b AND (%b::uuid[] IS NULL OR id = ANY(%b::uuid[]))
    RETURNING id
)
UPDATE memory_user u
SET traces = u.traces - (SELECT count(*) FROM gone), words = u.words - (SELECT words FROM words)
WHERE u.user_id = %b

-- name: forget_user
DELETE FROM memory_user WHERE user_id = %b

-- name: insert_receipt
INSERT INTO forget_receipt (space_id, user_id, id, scope, reason, counts, created_at)
VALUES (%b, %b, %b, %b, %b, %b, %b)
