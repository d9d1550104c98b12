-- What newer statements take the place of. Every block names the user; row-level security stands behind.

-- name: dreamt_later
-- Since when later days of the user are dreamt: their statements have looked for older ones without finding those of this
-- day that came after that.
SELECT min(dreamt_at) FROM dream_day WHERE user_id = %b AND day > %b

-- name: earlier
-- How many traces a user has from before a moment, counted to a limit.
SELECT count(*) FROM (
    SELECT FROM memory_trace t
    WHERE t.user_id = %b AND t.happened_at < %b AND t.kind IN ('turn', 'note', 'fact', 'chunk') AND t.deleted_at IS NULL
    LIMIT %b
) e

-- name: alike
-- For each line of words the traces in which most of them stand, by the index over them, within a span of time; of the
-- same speaker, where both are named.
SELECT DISTINCT r.trace_id
FROM (SELECT user_id, traces, words FROM memory_user WHERE user_id = %b) u
CROSS JOIN unnest(%b::text[], %b::text[]) AS g (words, speaker)
CROSS JOIN LATERAL reverie_bm25(
    ARRAY[u.user_id], tsvector_to_array(to_tsvector('english', g.words)), %b::smallint[], %b::timestamptz,
    %b::timestamptz, NULL, NULL, u.traces, u.words, %b, %b
) r
CROSS JOIN LATERAL (
    SELECT lower(m.speaker) AS speaker FROM memory_trace m WHERE m.user_id = u.user_id AND m.id = r.trace_id LIMIT 1
) t
WHERE g.speaker = '' OR t.speaker IS NULL OR t.speaker = g.speaker

-- name: told
-- Those of some traces that may state something, with the beginnings of their texts.
SELECT t.id, t.speaker, t.created_at, t.happened_at, b.text
FROM memory_trace t
CROSS JOIN LATERAL (
    SELECT left(y.content, %b) AS text FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1
) b
WHERE t.user_id = %b AND t.id = ANY(%b::uuid[]) AND t.deleted_at IS NULL AND t.language = 'english'
  AND t.kind IN ('turn', 'note', 'fact', 'chunk') AND t.role IS DISTINCT FROM 'assistant'
  AND t.role IS DISTINCT FROM 'system' AND t.role IS DISTINCT FROM 'tool'

-- name: edges_of
-- The dream's own that lead to or from some traces. Not those of which an end is cold: what it states is not read, so that
-- nothing could be said against them.
SELECT e.src, e.dst FROM (
    SELECT o.src, o.dst FROM memory_edge o
    WHERE o.user_id = %b AND o.src = ANY(%b::uuid[]) AND o.type = 'supersedes' AND o.meta ->> 'by' = 'dream'
    UNION
    SELECT o.src, o.dst FROM memory_edge o
    WHERE o.user_id = %b AND o.dst = ANY(%b::uuid[]) AND o.type = 'supersedes' AND o.meta ->> 'by' = 'dream'
) e
WHERE NOT EXISTS (
    SELECT FROM unnest(ARRAY[e.src, e.dst]) AS one (id)
    JOIN memory_trace t ON t.user_id = %b AND t.id = one.id AND t.deleted_at IS NULL
    WHERE NOT EXISTS (SELECT FROM memory_body b WHERE b.user_id = t.user_id AND b.trace_id = t.id)
)

-- name: drop_edges
DELETE FROM memory_edge e USING unnest(%b::uuid[], %b::uuid[]) AS g (src, dst)
WHERE e.user_id = %b AND e.src = g.src AND e.dst = g.dst AND e.type = 'supersedes' AND e.meta ->> 'by' = 'dream'
RETURNING e.src
