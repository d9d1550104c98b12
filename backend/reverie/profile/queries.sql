-- What is known of a user. Every block names the user; row-level security by space stands behind.

-- name: user
-- Its time zone, how many of its days were dreamt, and when the last of them was.
SELECT coalesce(u.time_zone, %b::text),
       (SELECT count(*) FROM dream_day d WHERE d.user_id = u.user_id AND d.state = 'done'),
       (SELECT max(d.dreamt_at) FROM dream_day d WHERE d.user_id = u.user_id)
FROM memory_user u WHERE u.user_id = %b

-- name: facts
-- A page of what is known, newest first: what is stated of somebody (its topic that of the predicate), traces of kind
-- fact (the caller's own topic, else that of what they state), and turns and notes of which one takes the place of
-- another, unless what they state of the topic stands there already. With what is superseded, and by what: a triple
-- where all of its sources are. As of a moment that is over, what was remembered by then, and held.
-- What belongs together is looked up in objects: for joins the planner would need to know how much a user has. Each is
-- read by a query of its own, once: in a join a large one is copied for every row. Traces are looked up one by one, by
-- the order of their key: of a table that has grown since it was analysed the planner would read all of the user instead.
-- The range is that one trace: one that is open above copies the rest of its page of the index, which takes longer.
WITH g AS (
    SELECT %b::uuid AS user_id, %b::timestamptz AS now, %b::timestamptz AS moment, %b::text AS zone,
           %b::timestamptz AS before, %b::uuid AS before_key, %b::text AS topic,
           %b::jsonb AS predicates, %b::jsonb AS attributes
),
mark AS MATERIALIZED (
    SELECT m.older, m.newer, m.happened_at, m.is_said,
           CASE WHEN m.about IS NOT NULL THEN coalesce(g.attributes ->> CASE
               -- What follows the last colon; a regular expression takes eight times as long.
               WHEN m.about LIKE '%%: %%' THEN reverse(split_part(reverse(m.about), ' :', 1)) ELSE 'is'
           END, 'other') END AS topic
    FROM g
    CROSS JOIN LATERAL (
        SELECT e.dst AS older, e.src AS newer, n.happened_at,
               n.kind <> 'fact' AND (n.updated_at < g.moment) IS NOT FALSE AS is_said,
               CASE WHEN e.meta ->> 'by' = 'dream' THEN e.meta ->> 'about' END AS about
        FROM memory_edge e
        CROSS JOIN LATERAL (
            SELECT m.id, m.kind, m.happened_at, m.created_at, m.updated_at, m.deleted_at, m.expires_at
            FROM memory_trace m WHERE m.user_id = e.user_id AND m.id >= e.src AND m.id <= e.src ORDER BY m.user_id, m.id LIMIT 1
        ) n
        WHERE e.user_id = g.user_id AND e.type = 'supersedes'
          AND n.id = e.src AND n.deleted_at IS NULL AND (n.expires_at > g.now) IS NOT FALSE AND (n.created_at < g.moment) IS NOT FALSE
          -- What a person writes there may be anything.
          AND (CASE WHEN e.meta ->> 'by' = 'dream' THEN (e.meta ->> 'valid_from')::timestamptz END < g.moment) IS NOT FALSE
    ) m
),
marks AS MATERIALIZED (
    -- Of the same name the last counts: the newest.
    SELECT jsonb_object_agg(older || '/' || coalesce(topic, ''), newer ORDER BY happened_at, newer) AS by_topic,
           jsonb_object_agg(older, newer ORDER BY happened_at, newer) AS newest
    FROM mark
),
told AS MATERIALIZED (
    SELECT e.src, e.dst, e.type, g.predicates ->> e.type AS topic, t.id AS source, t.happened_at,
           CASE WHEN t.kind = 'fact' THEN coalesce(
               CASE jsonb_typeof(t.meta -> 'topic') WHEN 'string' THEN left(nullif(btrim(t.meta ->> 'topic'), ''), 255) END,
               min(g.predicates ->> e.type) OVER (PARTITION BY t.id)
           ) END AS own_topic
    FROM g
    JOIN memory_edge e ON e.user_id = g.user_id AND e.meta ? 'sources'
    CROSS JOIN LATERAL (
        SELECT CASE WHEN pg_input_is_valid(a.id, 'uuid') THEN a.id::uuid END AS id
        FROM jsonb_array_elements_text(
            CASE jsonb_typeof(e.meta -> 'sources') WHEN 'array' THEN e.meta -> 'sources' ELSE '[]' END
        ) AS a (id) OFFSET 0
    ) s
    CROSS JOIN LATERAL (
        SELECT m.user_id, m.id, m.kind, m.meta, m.happened_at, m.created_at, m.updated_at, m.deleted_at, m.expires_at
        FROM memory_trace m
        WHERE m.user_id = e.user_id AND m.id >= s.id AND m.id <= s.id
        ORDER BY m.user_id, m.id LIMIT 1
    ) t
    WHERE g.predicates ->> e.type IS NOT NULL AND t.deleted_at IS NULL AND (t.expires_at > g.now) IS NOT FALSE
      AND (t.created_at < g.moment) IS NOT FALSE AND (t.updated_at < g.moment) IS NOT FALSE
      -- What a text states that was changed since its day was dreamt is read anew.
      AND (t.updated_at IS NULL OR NOT EXISTS (
          SELECT FROM dream_day d
          WHERE d.user_id = t.user_id AND d.day = (t.happened_at AT TIME ZONE g.zone)::date AND d.dreamt_at < t.updated_at
      ))
),
tells AS MATERIALIZED (
    SELECT jsonb_object_agg(source || '/' || topic, true) AS by_topic,
           jsonb_object_agg(source, own_topic) FILTER (WHERE own_topic IS NOT NULL) AS own
    FROM told
),
stated AS (
    SELECT max(t.happened_at) AS happened_at, md5(t.src::text || t.type || t.dst::text)::uuid AS key, t.src, t.dst, t.type,
           t.topic, array_agg(t.source ORDER BY t.happened_at DESC, t.source DESC) AS sources,
           CASE WHEN bool_and(t.newer IS NOT NULL) THEN
               (array_agg(t.newer ORDER BY t.happened_at DESC, t.source DESC))[1]
           END AS superseded_by, NULL::uuid AS partner
    FROM (
        SELECT o.*, coalesce((SELECT by_topic FROM marks) ->> (o.source || '/' || o.topic),
                             (SELECT by_topic FROM marks) ->> (o.source || '/'))::uuid AS newer
        FROM told o
    ) t
    GROUP BY t.src, t.dst, t.type, t.topic
    HAVING NOT coalesce(bool_or(t.own_topic = t.topic), false)
),
recent AS MATERIALIZED (
    SELECT t.id, t.happened_at, md5(t.id::text)::uuid AS key,
           CASE jsonb_typeof(t.meta -> 'topic') WHEN 'string' THEN left(nullif(btrim(t.meta ->> 'topic'), ''), 255) END AS topic
    FROM g JOIN memory_trace t ON t.user_id = g.user_id
    WHERE t.kind = 'fact' AND t.deleted_at IS NULL AND (t.expires_at > g.now) IS NOT FALSE
      AND (t.created_at < g.moment) IS NOT FALSE AND (t.updated_at < g.moment) IS NOT FALSE
      AND (t.happened_at <= g.before) IS NOT FALSE
      AND ((t.happened_at, md5(t.id::text)::uuid) < (g.before, g.before_key)) IS NOT FALSE
    ORDER BY t.happened_at DESC, md5(t.id::text)::uuid DESC LIMIT {most}
),
kept AS (
    SELECT f.happened_at, f.key, NULL::uuid AS src, NULL::uuid AS dst, NULL::text AS type,
           coalesce(f.topic, (SELECT own FROM tells) ->> f.id::text, 'other') AS topic, ARRAY[f.id] AS sources,
           ((SELECT newest FROM marks) ->> f.id::text)::uuid, NULL::uuid
    FROM recent f
),
said AS (
    SELECT x.said_at AS happened_at, md5(x.id::text || x.topic)::uuid AS key, NULL::uuid AS src, NULL::uuid AS dst,
           NULL::text AS type, x.topic, ARRAY[x.id] AS sources,
           (array_agg(x.newer ORDER BY x.at DESC, x.newer DESC) FILTER (WHERE x.newer IS NOT NULL))[1],
           (array_agg(x.partner ORDER BY x.at DESC, x.partner DESC))[1]
    FROM (
        SELECT k.older AS id, coalesce(k.topic, 'other') AS topic, k.newer, k.newer AS partner, k.happened_at AS at,
               t.happened_at AS said_at
        FROM g
        CROSS JOIN mark k
        CROSS JOIN LATERAL (
            SELECT m.id, m.kind, m.happened_at, m.created_at, m.updated_at, m.deleted_at, m.expires_at
            FROM memory_trace m WHERE m.user_id = g.user_id AND m.id >= k.older AND m.id <= k.older ORDER BY m.user_id, m.id LIMIT 1
        ) t
        WHERE t.id = k.older AND t.kind <> 'fact' AND t.deleted_at IS NULL AND (t.expires_at > g.now) IS NOT FALSE
          AND (t.created_at < g.moment) IS NOT FALSE AND (t.updated_at < g.moment) IS NOT FALSE
        UNION ALL
        SELECT newer, coalesce(topic, 'other'), NULL, older, happened_at, happened_at FROM mark WHERE is_said
    ) x
    WHERE (SELECT by_topic FROM tells) -> (x.id || '/' || x.topic) IS NULL
    GROUP BY x.said_at, x.id, x.topic
),
fact AS MATERIALIZED (SELECT * FROM stated UNION ALL SELECT * FROM kept UNION ALL SELECT * FROM said),
-- Facts of a user who has very many are gone through so many at a time; nothing beyond is answered with them.
floor AS (
    SELECT happened_at, key FROM recent WHERE (SELECT count(*) FROM recent) = {most} ORDER BY 1, 2 LIMIT 1
)
SELECT f.*, (SELECT jsonb_object_agg(c.topic, c.n) FROM (SELECT topic, count(*) AS n FROM fact GROUP BY topic) c),
       (SELECT happened_at FROM floor), (SELECT key FROM floor)
FROM (SELECT 1) one
LEFT JOIN LATERAL (
    SELECT f.* FROM fact f, g
    WHERE ((f.happened_at, f.key) < (g.before, g.before_key)) IS NOT FALSE
      AND ((f.happened_at, f.key) >= (SELECT floor.happened_at, floor.key FROM floor)) IS NOT FALSE
      AND (f.topic = g.topic) IS NOT FALSE
    ORDER BY f.happened_at DESC, f.key DESC LIMIT %b
) f ON true

-- name: fresh
-- Of the newest traces, and of those that were changed last, those that no night has read as they are.
SELECT t.id, t.role, t.speaker, t.language, t.created_at, t.happened_at, b.text
FROM (SELECT %b::uuid AS user_id, %b::timestamptz AS now, %b::timestamptz AS moment, %b::text AS zone) g
CROSS JOIN LATERAL (
    (SELECT m.* FROM memory_trace m WHERE m.user_id = g.user_id ORDER BY m.user_id DESC, m.id DESC LIMIT {looked})
    UNION
    (SELECT m.* FROM memory_trace m WHERE m.user_id = g.user_id AND m.updated_at IS NOT NULL
     ORDER BY m.user_id DESC, m.updated_at DESC LIMIT {looked})
) t
CROSS JOIN LATERAL (
    SELECT left(y.content, %b) AS text FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1
) b
WHERE t.deleted_at IS NULL AND t.kind IN ('turn', 'note', 'fact') AND t.language = 'english'
  AND t.role IS DISTINCT FROM 'assistant' AND t.role IS DISTINCT FROM 'system' AND t.role IS DISTINCT FROM 'tool'
  AND (t.expires_at > g.now) IS NOT FALSE
  AND (t.created_at < g.moment) IS NOT FALSE AND (t.updated_at < g.moment) IS NOT FALSE
  AND NOT EXISTS (
      SELECT FROM dream_day d
      WHERE d.user_id = t.user_id AND d.day = (t.happened_at AT TIME ZONE g.zone)::date AND d.state = 'done'
        AND d.dreamt_at > greatest(t.created_at, t.updated_at)
  )
ORDER BY t.happened_at DESC, t.id DESC LIMIT {read}

-- name: lately
-- The newest summaries of days, and of conversations where a day has but one.
SELECT t.id, t.provenance ->> 'day', t.meta ->> 'sentence'
FROM memory_trace t
WHERE t.user_id = %b AND t.provenance ? 'sources' AND t.kind = 'summary' AND t.deleted_at IS NULL
  AND t.provenance ->> 'by' = 'dream' AND (t.created_at < %b) IS NOT FALSE AND t.meta ->> 'sentence' <> ''
ORDER BY t.happened_at DESC, t.id DESC LIMIT {few}

-- name: texts
-- What some traces say, and who says it: entities are named so. Without text where it lies in a file.
SELECT t.id, t.speaker, t.created_at, t.happened_at, left(b.content, %b),
       t.language = 'english' AND (t.role IS NULL OR t.role = 'user')
FROM (SELECT %b::uuid AS user_id) g
CROSS JOIN unnest(%b::uuid[]) AS c (id)
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m WHERE m.user_id = g.user_id AND m.id >= c.id AND m.id <= c.id ORDER BY m.user_id, m.id LIMIT 1
) t
LEFT JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1
) b ON true
WHERE t.id = c.id AND t.deleted_at IS NULL
