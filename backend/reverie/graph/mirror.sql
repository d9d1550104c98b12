-- What the mirror holds of a user, page by page: traces that can be seen, and the edges between them.

-- name: take_turns
SELECT pg_try_advisory_lock(hashtext('reverie.mirror'))

-- name: users
-- The next users of the store, whichever space they belong to; by the owner.
SELECT space_id, user_id, version FROM memory_user WHERE user_id > %b ORDER BY user_id LIMIT %b

-- name: bounds
-- Where pages of so many traces begin within a run of ids.
SELECT c.id
FROM (
    SELECT t.id, row_number() OVER (ORDER BY t.id) AS n FROM memory_trace t
    WHERE t.user_id = %b AND t.id >= %b AND t.id < %b AND t.deleted_at IS NULL
) c
WHERE mod(c.n, %b::bigint) = 1
ORDER BY c.id

-- name: sums
-- Of each page how many traces and edges it has, and a sum of all they say that tells whether two are the same; as
-- `sum_of` makes it of what is read back.
SELECT l.lower, coalesce(n.many, 0), coalesce(e.many, 0), coalesce(n.sum, 0) # coalesce(e.sum, 0)
FROM unnest(%b::uuid[], %b::uuid[]) AS l (lower, upper)
CROSS JOIN LATERAL (
    SELECT count(*) AS many,
           bit_xor(('x' || left(md5(concat_ws('|', 'n', t.id, t.kind, coalesce(b.name, ''), {happened})), 16))::bit(64)::bigint) AS sum
    FROM memory_trace t
    LEFT JOIN LATERAL ({called}) b ON true
    WHERE t.user_id = %b AND t.id >= l.lower AND t.id < l.upper AND t.deleted_at IS NULL
) n
CROSS JOIN LATERAL (
    SELECT count(*) AS many,
           bit_xor(('x' || left(md5(concat_ws('|', 'e', e.src, e.dst, e.type, round(e.weight::float8 * 1e6)::bigint)), 16))::bit(64)::bigint) AS sum
    FROM memory_edge e
    JOIN memory_trace s ON s.user_id = e.user_id AND s.id = e.src AND s.deleted_at IS NULL
    JOIN memory_trace d ON d.user_id = e.user_id AND d.id = e.dst AND d.deleted_at IS NULL
    WHERE e.user_id = %b AND e.src >= l.lower AND e.src < l.upper
) e

-- name: page_nodes
SELECT t.id::text, t.kind, b.name, {happened}
FROM memory_trace t
LEFT JOIN LATERAL ({called}) b ON true
WHERE t.user_id = %b AND t.id >= %b AND t.id < %b AND t.deleted_at IS NULL

-- name: page_edges
SELECT e.src::text, e.dst::text, e.type, e.weight::float8
FROM memory_edge e
JOIN memory_trace s ON s.user_id = e.user_id AND s.id = e.src AND s.deleted_at IS NULL
JOIN memory_trace d ON d.user_id = e.user_id AND d.id = e.dst AND d.deleted_at IS NULL
WHERE e.user_id = %b AND e.src >= %b AND e.src < %b

-- name: called
-- What an entity is called; of other traces the mirror holds no text.
SELECT left(coalesce(y.content, g.sentence), 120) AS name
FROM (SELECT 1) one
LEFT JOIN memory_body y ON y.user_id = t.user_id AND y.trace_id = t.id
LEFT JOIN memory_digest g ON g.user_id = t.user_id AND g.trace_id = t.id
WHERE t.kind = 'entity'

-- name: happened
to_char(t.happened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
