-- The graph of a user: its edges both ways, within bounds. Every block names the user; row-level security stands behind.
-- Ids are read as their bytes, see protocol.py.

-- name: neighbours
-- The edges of some traces. Of one that has very many, some each way: those that were written last. What mentions it
-- is counted by itself, and takes no place of what is stated. The edges that are no mentions have an index of their own
-- (memory_edge_apart), or all mentions would be read past on the way to them; mentions are filtered out of
-- memory_edge_dst, of which they are by far the most. The range over `dst` is that one trace, written so that the index
-- is read backwards.
SELECT uuid_send(x.src), uuid_send(x.dst), x.type, x.weight
FROM unnest(%b::uuid[]) AS n (id)
CROSS JOIN LATERAL (
    (SELECT e.src, e.dst, e.type, e.weight FROM memory_edge e
     WHERE e.user_id = %b AND e.src = n.id AND (%b::text[] IS NULL OR e.type = ANY(%b::text[]))
     ORDER BY e.user_id DESC, e.src DESC, e.dst DESC LIMIT %b)
    UNION ALL
    (SELECT e.src, e.dst, e.type, e.weight FROM memory_edge e
     WHERE e.user_id = %b AND e.dst >= n.id AND e.dst <= n.id AND e.type <> 'mentions'
       AND (%b::text[] IS NULL OR e.type = ANY(%b::text[]))
     ORDER BY e.user_id DESC, e.dst DESC LIMIT %b)
    UNION ALL
    (SELECT e.src, e.dst, e.type, e.weight FROM memory_edge e
     WHERE e.user_id = %b AND e.dst >= n.id AND e.dst <= n.id AND e.type = 'mentions'
       AND (%b::text[] IS NULL OR 'mentions' = ANY(%b::text[]))
     ORDER BY e.user_id DESC, e.dst DESC LIMIT %b)
) x

-- name: among
-- By the one end, each of which is looked up by itself: both as lists would be tried pair by pair.
WITH led AS MATERIALIZED (
    SELECT o.src, o.dst, o.type, o.weight
    FROM unnest(%b::uuid[]) AS n (id)
    CROSS JOIN LATERAL (
        SELECT e.src, e.dst, e.type, e.weight FROM memory_edge e
        WHERE e.user_id = %b AND e.src = n.id AND (%b::text[] IS NULL OR e.type = ANY(%b::text[]))
        ORDER BY e.user_id DESC, e.src DESC, e.dst DESC LIMIT %b
    ) o
)
SELECT uuid_send(l.src), uuid_send(l.dst), l.type, l.weight
FROM led l JOIN unnest(%b::uuid[]) AS d (id) ON d.id = l.dst

-- name: entities
-- What is mentioned most, in some traces: the newest, the most salient, and some by the order of their hashes, which is
-- that of chance. Of few traces that is all of them.
SELECT uuid_send(m.dst), sum(m.weight * (0.5 + l.salience / 2))
FROM (
    (SELECT t.id, t.salience FROM memory_trace t
     WHERE t.user_id = %b AND t.deleted_at IS NULL ORDER BY t.user_id DESC, t.id DESC LIMIT {looked})
    UNION
    (SELECT t.id, t.salience FROM memory_trace t
     WHERE t.user_id = %b AND t.deleted_at IS NULL ORDER BY t.user_id DESC, t.salience DESC LIMIT {looked})
    UNION
    (SELECT t.id, t.salience FROM memory_trace t
     WHERE t.user_id = %b AND t.identity IS NOT NULL AND t.deleted_at IS NULL ORDER BY t.user_id, t.identity LIMIT {looked})
) l
CROSS JOIN LATERAL (
    SELECT e.dst, e.weight FROM memory_edge e
    WHERE e.user_id = %b AND e.src = l.id AND e.type = 'mentions' ORDER BY e.user_id, e.src, e.dst LIMIT {each}
) m
GROUP BY m.dst
ORDER BY 2 DESC, m.dst
LIMIT %b

-- name: salient
-- Of a user who has no entities, the traces that matter most.
SELECT uuid_send(t.id), t.salience FROM memory_trace t
WHERE t.user_id = %b AND t.deleted_at IS NULL AND (t.expires_at > %b) IS NOT FALSE
ORDER BY t.user_id DESC, t.salience DESC
LIMIT %b

-- name: together
-- Which entities the same traces mention, and how many do; of an entity that very many mention, those that did last.
WITH mention AS MATERIALIZED (
    SELECT n.id AS entity, m.src
    FROM unnest(%b::uuid[]) AS n (id)
    CROSS JOIN LATERAL (
        SELECT e.src FROM memory_edge e
        WHERE e.user_id = %b AND e.dst >= n.id AND e.dst <= n.id AND e.type = 'mentions'
        ORDER BY e.user_id DESC, e.dst DESC LIMIT %b
    ) m
),
several AS MATERIALIZED (
    SELECT s.src FROM (SELECT src FROM mention GROUP BY src HAVING count(*) > 1) s
    CROSS JOIN LATERAL (
        SELECT m.deleted_at, m.expires_at FROM memory_trace m WHERE m.user_id = %b AND m.id = s.src LIMIT 1
    ) t
    WHERE t.deleted_at IS NULL AND (t.expires_at > %b) IS NOT FALSE
),
joining AS MATERIALIZED (SELECT m.entity, m.src FROM mention m JOIN several s USING (src)),
many AS MATERIALIZED (SELECT entity, count(*) AS n FROM mention GROUP BY entity)
SELECT uuid_send(p.a), uuid_send(p.b), p.n / sqrt(x.n::float8 * y.n)
FROM (
    SELECT a.entity AS a, b.entity AS b, count(*) AS n
    FROM joining a JOIN joining b ON b.src = a.src AND b.entity > a.entity
    GROUP BY a.entity, b.entity
) p
JOIN many x ON x.entity = p.a
JOIN many y ON y.entity = p.b
ORDER BY 3 DESC, p.a, p.b
LIMIT %b

-- name: version
SELECT version FROM memory_user WHERE user_id = %b

-- name: seen
-- Those of some traces that can be seen, with their kind and salience.
SELECT uuid_send(t.id), t.kind, t.salience
FROM unnest(%b::uuid[]) AS c (id)
CROSS JOIN LATERAL (SELECT * FROM memory_trace m WHERE m.user_id = %b AND m.id = c.id LIMIT 1) t
WHERE t.deleted_at IS NULL AND (t.expires_at > %b) IS NOT FALSE

-- name: nodes
-- The same as they are drawn: with the beginning of the text, of a cold one its first sentence, and what newer one takes
-- its place.
SELECT uuid_send(t.id), t.kind, CASE t.kind WHEN 'entity' THEN t.meta ->> 'type' END, t.happened_at,
       left(coalesce(b.content, d.sentence), {chars}), b.content IS NULL,
       (SELECT uuid_send(e.src) FROM memory_edge e
        CROSS JOIN LATERAL (SELECT * FROM memory_trace m WHERE m.user_id = e.user_id AND m.id = e.src LIMIT 1) n
        WHERE e.user_id = at.user_id AND e.dst = t.id AND e.type = 'supersedes'
          AND n.deleted_at IS NULL AND (n.expires_at > at.now) IS NOT FALSE
        ORDER BY n.happened_at DESC, n.id DESC LIMIT 1)
FROM (SELECT %b::uuid AS user_id, %b::timestamptz AS now) at
CROSS JOIN unnest(%b::uuid[]) AS c (id)
CROSS JOIN LATERAL (SELECT * FROM memory_trace m WHERE m.user_id = at.user_id AND m.id = c.id LIMIT 1) t
LEFT JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = at.user_id AND y.trace_id = c.id LIMIT 1
) b ON true
LEFT JOIN LATERAL (
    SELECT y.sentence FROM memory_digest y WHERE y.user_id = at.user_id AND y.trace_id = c.id LIMIT 1
) d ON true
WHERE t.deleted_at IS NULL AND (t.expires_at > at.now) IS NOT FALSE
