-- What a trace is related to: entities, edges, what was dismissed. Every block names the user; row-level security by
-- space stands behind.

-- name: entities
-- The entities of some names (by the hash of a name, which nothing but an entity has), and those that a trace mentions:
-- by which of the hashes, what they are called, and traces that mention each, a few more than {most} at most. One that
-- has so many is everywhere.
WITH found AS MATERIALIZED (
    SELECT n.id, n.identity AS hash FROM memory_trace n
    WHERE n.user_id = %b AND n.identity = ANY(%b::bytea[]) AND n.deleted_at IS NULL
    UNION ALL
    SELECT a.entity_id, a.hash FROM entity_name a WHERE a.user_id = %b AND a.hash = ANY(%b::bytea[])
    UNION ALL
    SELECT e.dst, NULL FROM memory_edge e WHERE e.user_id = %b AND e.src = %b::uuid AND e.type = 'mentions'
)
SELECT f.id, f.hashes, coalesce(b.content, d.sentence), m.traces
FROM (SELECT o.id, array_agg(DISTINCT o.hash) FILTER (WHERE o.hash IS NOT NULL) AS hashes FROM found o GROUP BY o.id) f
CROSS JOIN LATERAL (
    -- Packed: as a list of ids they take longer to be read than to be found.
    SELECT coalesce(string_agg(uuid_send(x.src), ''::bytea), ''::bytea) AS traces
    FROM (SELECT e.src FROM memory_edge e
          WHERE e.user_id = %b AND e.dst = f.id AND e.type = 'mentions' LIMIT {most} + 1) x
) m
LEFT JOIN LATERAL (SELECT y.content FROM memory_body y WHERE y.user_id = %b AND y.trace_id = f.id LIMIT 1) b ON true
LEFT JOIN LATERAL (SELECT g.sentence FROM memory_digest g WHERE g.user_id = %b AND g.trace_id = f.id LIMIT 1) d ON true
ORDER BY f.id

-- name: size
SELECT u.traces FROM memory_user u WHERE u.user_id = %b

-- name: dismissed
-- The traces that are not to be suggested for one, whichever of both it was said of.
SELECT d.trace_id, d.other_id FROM memory_dismissal d WHERE d.user_id = %b AND (d.trace_id = %b OR d.other_id = %b)

-- name: own_vector
-- What a trace says as a whole, by the vector of its beginning, or by codes with signs where it is warm.
SELECT e.{column}, e.codes, e.bits FROM memory_embedding e
WHERE e.user_id = %b AND e.trace_id = %b AND e.head = 0 AND e.model_id = {model} AND e.piece = 0

-- name: around
-- The rows of some traces, and of what stands one edge from them, with that edge. Along `mentions` goes only what comes
-- of one trace, which is asked for: of any other they are not read, it may have very many. Nothing goes along a type of which a trace has {most} edges in one direction, unless
-- it is that one. Of what is cold there is a sentence.
WITH seed AS MATERIALIZED (SELECT DISTINCT g.id FROM unnest(%b::uuid[]) AS g (id)),
step AS (
    SELECT s.id AS origin, x.id, x.src, x.dst, x.type, x.weight, x.hand
    FROM seed s
    CROSS JOIN (SELECT %b::uuid AS id) own
    CROSS JOIN LATERAL (
        SELECT f.*, count(*) OVER (PARTITION BY f.type, f.back) AS many
        FROM (
            (SELECT e.dst AS id, e.src, e.dst, e.type, e.weight, e.meta ->> 'by' = 'hand' AS hand, false AS back
             FROM memory_edge e
             WHERE e.user_id = %b AND e.src = s.id AND (e.type <> 'mentions' OR e.src = own.id) LIMIT {most})
            UNION ALL
            (SELECT e.src, e.src, e.dst, e.type, e.weight, e.meta ->> 'by' = 'hand', true
             FROM memory_edge e
             WHERE e.user_id = %b AND e.dst = s.id AND e.type <> 'mentions' LIMIT {most})
            UNION ALL
            (SELECT e.src, e.src, e.dst, e.type, e.weight, e.meta ->> 'by' = 'hand', true
             FROM memory_edge e
             WHERE e.user_id = %b AND e.dst = s.id AND e.type = 'mentions' AND s.id = own.id LIMIT {most})
        ) f
    ) x
    WHERE x.many < {most} OR s.id = own.id
)
SELECT w.origin, w.id, w.src, w.dst, w.type, w.weight, w.hand IS TRUE, t.kind, t.speaker, t.conversation_id,
       t.happened_at, coalesce(b.content, d.sentence), t.language
FROM (
    SELECT NULL::uuid AS origin, s.id, NULL::uuid AS src, NULL::uuid AS dst, NULL::text AS type, NULL::real AS weight,
           false AS hand
    FROM seed s
    UNION ALL
    SELECT * FROM step
) w
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m WHERE m.user_id = %b AND m.id >= w.id AND m.id <= w.id ORDER BY m.user_id, m.id LIMIT 1
) t
LEFT JOIN LATERAL (
    SELECT left(y.content, %b) AS content FROM memory_body y WHERE y.user_id = %b AND y.trace_id = w.id LIMIT 1
) b ON true
LEFT JOIN LATERAL (SELECT g.sentence FROM memory_digest g WHERE g.user_id = %b AND g.trace_id = w.id LIMIT 1) d ON true
WHERE t.id = w.id AND t.deleted_at IS NULL AND (t.expires_at > %b) IS NOT FALSE

-- name: standing
-- Of these, the ones that stand, with their kind and when they happened.
SELECT t.id, t.kind, t.happened_at FROM memory_trace t
WHERE t.user_id = %b AND t.id = ANY(%b::uuid[]) AND t.deleted_at IS NULL

-- name: dismiss
INSERT INTO memory_dismissal (space_id, user_id, trace_id, other_id, created_at) VALUES (%b, %b, %b, %b, %b)
ON CONFLICT (user_id, trace_id, other_id) DO NOTHING

-- name: take_back
DELETE FROM memory_dismissal WHERE user_id = %b AND trace_id = %b AND other_id = %b

-- name: put_edge
-- By hand. One that the store had made is a person's from now on; of a triple its sources are kept.
INSERT INTO memory_edge AS e (space_id, user_id, src, dst, type, weight, ts, meta)
VALUES (%b, %b, %b, %b, %b, %b, %b, %b)
ON CONFLICT (user_id, src, dst, type) DO UPDATE
SET weight = excluded.weight, ts = excluded.ts, meta = excluded.meta || CASE
        WHEN e.meta ? 'sources' THEN jsonb_build_object('sources', e.meta -> 'sources') ELSE '{}'::jsonb END

-- name: has_edge
SELECT e.src FROM memory_edge e WHERE e.user_id = %b AND e.src = %b AND e.dst = %b AND e.type = %b

-- name: drop_edge
DELETE FROM memory_edge e WHERE e.user_id = %b AND e.src = %b AND e.dst = %b AND e.type = %b RETURNING e.src

-- name: edges
-- A page of a user's edges: those from the newest traces first.
SELECT e.src, e.dst, e.type, e.weight, e.ts, e.meta FROM memory_edge e
WHERE e.user_id = %b AND (%b::uuid IS NULL OR (e.src, e.dst, e.type) < (%b::uuid, %b::uuid, %b::text))
  AND (%b::text IS NULL OR e.type = %b::text)
ORDER BY e.user_id DESC, e.src DESC, e.dst DESC, e.type DESC
LIMIT %b

-- name: edges_of
-- The same of one trace: those from it and those to it, each by the index that has them.
SELECT x.src, x.dst, x.type, x.weight, x.ts, x.meta
FROM (
    (SELECT * FROM memory_edge e
     WHERE e.user_id = %b AND e.src = %b AND (%b::uuid IS NULL OR (e.src, e.dst, e.type) < (%b::uuid, %b::uuid, %b::text))
       AND (%b::text IS NULL OR e.type = %b::text)
     ORDER BY e.src DESC, e.dst DESC, e.type DESC LIMIT %b)
    UNION ALL
    (SELECT * FROM memory_edge e
     WHERE e.user_id = %b AND e.dst = %b AND (%b::uuid IS NULL OR (e.src, e.dst, e.type) < (%b::uuid, %b::uuid, %b::text))
       AND (%b::text IS NULL OR e.type = %b::text)
     ORDER BY e.src DESC, e.dst DESC, e.type DESC LIMIT %b)
) x
ORDER BY x.src DESC, x.dst DESC, x.type DESC
LIMIT %b
