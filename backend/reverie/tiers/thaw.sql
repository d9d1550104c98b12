-- Bringing cold traces back, and letting them cool again. The first blocks on serving connections: each names the user,
-- and row-level security by space stands behind.

-- name: is_known
SELECT EXISTS (SELECT FROM memory_trace WHERE user_id = %b AND id = %b AND deleted_at IS NULL)

-- name: count_cold
-- Of a scope: traces that lie in files alone, and traces that are back already.
SELECT count(*) FILTER (WHERE d.thawed_until IS NULL), count(*) FILTER (WHERE d.thawed_until IS NOT NULL)
FROM memory_digest d
JOIN cold_segment s ON s.id = d.segment_id AND s.state = 'visible'
JOIN memory_trace t ON t.user_id = d.user_id AND t.id = d.trace_id AND t.deleted_at IS NULL
WHERE d.user_id = %b {scope}

-- name: next_cold
-- The next traces of a scope that lie in files alone.
SELECT d.trace_id, d.segment_id
FROM memory_digest d
JOIN cold_segment s ON s.id = d.segment_id AND s.state = 'visible'
JOIN memory_trace t ON t.user_id = d.user_id AND t.id = d.trace_id AND t.deleted_at IS NULL
WHERE d.user_id = %b AND d.trace_id > %b AND d.thawed_until IS NULL {scope}
ORDER BY d.user_id, d.trace_id
LIMIT %b

-- name: extend
-- What is back already stays for longer.
UPDATE memory_digest SET thawed_until = greatest(thawed_until, %b)
WHERE user_id = %b AND thawed_until IS NOT NULL
  AND trace_id IN (
      SELECT d.trace_id FROM memory_digest d
      JOIN memory_trace t ON t.user_id = d.user_id AND t.id = d.trace_id AND t.deleted_at IS NULL
      WHERE d.user_id = %b AND d.thawed_until IS NOT NULL {scope}
  )
RETURNING trace_id

-- name: of_traces
AND d.trace_id = ANY(%b::uuid[])

-- name: of_conversation
AND t.conversation_id = %b

-- name: of_since
AND t.happened_at >= %b

-- name: of_until
AND t.happened_at < %b

-- name: lock_user
-- Whoever writes for the user waits, and what was recalled before is not answered again. Also by the owner.
UPDATE memory_user SET version = greatest(version + 1, %b), updated_at = %b WHERE user_id = %b

-- name: thaw_bodies
-- Those that still lie in the segment that they were read from; the user is locked. OFFSET 0: see write_traces.
INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
SELECT t.space_id, t.user_id, t.id, k.code, t.happened_at, length(w.lexemes), g.content,
       w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(t.user_id)])
FROM unnest(%b::uuid[], %b::text[]) AS g (id, content)
JOIN memory_trace t ON t.user_id = %b AND t.id = g.id AND t.deleted_at IS NULL
JOIN memory_digest d ON d.user_id = t.user_id AND d.trace_id = t.id AND d.segment_id = %b AND d.thawed_until IS NULL
JOIN unnest(%b::text[], %b::smallint[]) AS k (kind, code) ON k.kind = t.kind,
     LATERAL (SELECT reverie_lexemes(t.language::regconfig, g.content, t.happened_at) AS lexemes OFFSET 0) w
ON CONFLICT DO NOTHING
RETURNING trace_id

-- name: thaw_vectors
-- Of those whose text came back just now.
INSERT INTO memory_embedding (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, begins, ends, codes,
                              bits)
SELECT t.space_id, t.user_id, t.id, v.head, m.id, v.piece, k.code, t.happened_at, v.begins, v.ends, v.codes,
       v.bits::bit varying
FROM unnest(%b::uuid[], %b::smallint[], %b::integer[], %b::integer[], %b::integer[], %b::bytea[], %b::text[])
    AS v (id, head, piece, begins, ends, codes, bits)
JOIN memory_trace t ON t.user_id = %b AND t.id = v.id AND t.vectors
JOIN unnest(%b::text[], %b::smallint[]) AS k (kind, code) ON k.kind = t.kind
JOIN model m ON m.id = %b
ORDER BY v.head, t.id, v.piece
ON CONFLICT DO NOTHING

-- name: thawed
UPDATE memory_digest SET thawed_until = %b WHERE user_id = %b AND trace_id = ANY(%b)

-- name: expired
-- By the owner, like all below: thawed traces whose time is over, but those of files that are not to be relied on.
SELECT user_id, trace_id, segment_id, space_id FROM memory_digest
WHERE thawed_until <= %s AND segment_id <> ALL(%s::uuid[])
ORDER BY user_id, trace_id
LIMIT %s

-- name: cool
-- What was changed or forgotten meanwhile has no digest any more, and stays; the user is locked. The range of the ids
-- leaves out the partitions that hold none of them.
WITH cooled AS (
    UPDATE memory_digest SET thawed_until = NULL
    WHERE user_id = %s AND trace_id = ANY(%s) AND thawed_until <= %s AND segment_id = ANY(%s)
    RETURNING user_id, trace_id
),
vectors AS (
    DELETE FROM memory_embedding e USING cooled c
    WHERE e.user_id = c.user_id AND e.trace_id = c.trace_id AND e.trace_id >= %s AND e.trace_id <= %s
    RETURNING 1
),
bodies AS (
    DELETE FROM memory_body b USING cooled c
    WHERE b.user_id = c.user_id AND b.trace_id = c.trace_id AND b.trace_id >= %s AND b.trace_id <= %s
)
SELECT (SELECT count(*) FROM cooled), (SELECT count(*) FROM vectors)
