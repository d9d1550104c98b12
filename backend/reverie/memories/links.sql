-- Links: what is made of traces shortly after they were remembered. Every block names the user; row-level security by
-- space stands behind, but for the operation itself, which belongs to a space and is read before it is known.

-- name: leave_links
-- One operation a user, made anew by whoever writes; while it waits, more traces change nothing but where it begins.
INSERT INTO operation AS o (id, space_id, user_id, kind, state, payload, attempts, lease_until, created_at)
VALUES (%b, %b, %b, 'link', 'pending', jsonb_build_object('since', %b::uuid), 0, %b, %b)
ON CONFLICT (id) DO UPDATE
SET state = 'pending', error = NULL, result = NULL, started_at = NULL, finished_at = NULL,
    attempts = CASE o.state WHEN 'pending' THEN o.attempts ELSE 0 END,
    lease_until = CASE o.state WHEN 'pending' THEN o.lease_until ELSE excluded.lease_until END,
    created_at = CASE o.state WHEN 'pending' THEN o.created_at ELSE excluded.created_at END,
    -- What a worker is at is done again if that worker is killed.
    payload = CASE WHEN o.state IN ('pending', 'running')
                        AND (o.payload ->> 'since')::uuid < (excluded.payload ->> 'since')::uuid
                   THEN o.payload ELSE excluded.payload END
WHERE o.state <> 'pending' OR (excluded.payload ->> 'since')::uuid < (o.payload ->> 'since')::uuid

-- name: advance_links
-- How far the links are, unless a trace came meanwhile that lies before.
UPDATE operation SET payload = jsonb_build_object('since', %b::uuid)
WHERE id = %b AND (payload ->> 'since')::uuid = %b AND state IN ('pending', 'running')

-- name: space_key
SELECT identity_key FROM space WHERE id = %b

-- name: linkable
-- The next traces that get links, oldest first: some, or all from one on.
SELECT t.id, t.language, t.updated_at, left(b.content, %b)
FROM memory_trace t
CROSS JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1
) b
WHERE t.user_id = %b AND t.id >= %b AND (%b::uuid[] IS NULL OR t.id = ANY(%b::uuid[]))
  AND t.deleted_at IS NULL AND t.kind IN ('turn', 'note', 'fact', 'chunk')
ORDER BY t.id
LIMIT %b

-- name: likest
-- The older traces whose beginnings are most like those of these, exactly, from the covering index of the model.
SELECT n.id, s.trace_id, 1 - s.distance
FROM unnest(%b::uuid[]) AS n (id)
CROSS JOIN LATERAL (
    SELECT q.{column} AS vector FROM memory_embedding q
    WHERE q.user_id = %b AND q.trace_id = n.id AND q.head = 0 AND q.model_id = {model} AND q.piece = 0
      AND q.{column} IS NOT NULL
) own
CROSS JOIN LATERAL (
    SELECT e.trace_id, e.{column} <=> own.vector AS distance
    FROM memory_embedding e
    WHERE e.model_id = {model} AND e.{column} IS NOT NULL AND e.user_id = %b AND e.head IN (0) AND e.piece = 0 AND e.kind = ANY(%b::smallint[])
      AND e.trace_id < n.id
    ORDER BY distance
    LIMIT %b
) s
WHERE s.distance <= %b

-- name: likest_warm
-- The warm ones among which the likest are, by their signs: with what the traces are themselves, as `beginnings` has it.
SELECT n.id, {type}_send(own.vector), s.trace_id, s.codes
FROM unnest(%b::uuid[]) AS n (id)
CROSS JOIN LATERAL (
    SELECT q.{column} AS vector FROM memory_embedding q
    WHERE q.user_id = %b AND q.trace_id = n.id AND q.head = 0 AND q.model_id = {model} AND q.piece = 0
      AND q.{column} IS NOT NULL
) own
CROSS JOIN LATERAL (
    SELECT c.trace_id, c.codes || varbit_send(c.bits) AS codes
    FROM (
        SELECT e.trace_id, e.codes, e.bits
        FROM memory_embedding e
        WHERE e.model_id = {model} AND e.codes IS NOT NULL AND e.user_id = %b AND e.head IN (0) AND e.piece = 0
          AND e.kind = ANY(%b::smallint[]) AND e.trace_id < n.id
        ORDER BY e.bits <~> (SELECT binary_quantize(own.vector))
        LIMIT %b
    ) c
) s

-- name: size
-- How many traces a user has; none is told by the vectors of a model that is not the store's own (yet, or any more).
SELECT u.traces FROM memory_user u WHERE u.user_id = %b AND EXISTS (SELECT FROM model WHERE id = {model} AND active)

-- name: beginnings
-- The vectors of the beginnings of a user's traces after one, in order, as PostgreSQL sends them: what is warm has codes
-- with signs in their place.
SELECT e.trace_id, {type}_send(e.{column}) AS vector, NULL::bytea AS codes
FROM memory_embedding e
WHERE e.model_id = {model} AND e.{column} IS NOT NULL AND e.user_id = %b AND e.head IN (0) AND e.piece = 0
  AND e.kind = ANY(%b::smallint[]) AND e.trace_id > %b
UNION ALL
SELECT w.trace_id, NULL, w.codes || varbit_send(w.bits)
FROM memory_embedding w
WHERE w.model_id = {model} AND w.codes IS NOT NULL AND w.user_id = %b AND w.head IN (0) AND w.piece = 0
  AND w.kind = ANY(%b::smallint[]) AND w.trace_id > %b
ORDER BY trace_id

-- name: as_they_were
-- Those that are still as they were read; the user is locked.
SELECT t.id FROM unnest(%b::uuid[], %b::timestamptz[]) AS r (id, updated_at)
JOIN memory_trace t ON t.user_id = %b AND t.id = r.id
WHERE t.deleted_at IS NULL AND t.updated_at IS NOT DISTINCT FROM r.updated_at

-- name: unlink
-- What a changed text was linked by, but for `next`, what a person has made, and who took part in an episode; what a night
-- has made where that is wanted.
DELETE FROM memory_edge e USING unnest(%b::uuid[]) AS g (id)
WHERE e.user_id = %b AND e.type = ANY(%b::text[]) AND (e.src = g.id OR e.dst = g.id)
  AND (e.meta ->> 'by' IN ('hand', 'migration')) IS NOT TRUE AND (%b OR e.meta ->> 'by' IS NULL)

-- name: write_links
-- Those whose ends both stand; a trace or an entity may have been forgotten meanwhile.
INSERT INTO memory_edge AS e (space_id, user_id, src, dst, type, weight, ts)
SELECT %b, s.user_id, s.id, d.id, g.type, g.weight, %b
FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::real[]) AS g (src, dst, type, weight)
JOIN memory_trace s ON s.user_id = %b AND s.id = g.src AND s.deleted_at IS NULL
JOIN memory_trace d ON d.user_id = s.user_id AND d.id = g.dst AND d.deleted_at IS NULL
ON CONFLICT (user_id, src, dst, type) DO UPDATE SET weight = excluded.weight
WHERE e.weight <> excluded.weight AND e.meta ->> 'by' IS DISTINCT FROM 'hand'
