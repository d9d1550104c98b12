-- Entities: what traces mention, by which names, and what is stated of it. Every block names the user; row-level
-- security stands behind. Whoever writes has locked the user.

-- name: known
-- The entities of these names: those that were given another name, and then those that bear it.
SELECT n.hash, t.id FROM entity_name n JOIN memory_trace t ON t.user_id = n.user_id AND t.id = n.entity_id
WHERE n.user_id = %b AND n.hash = ANY(%b::bytea[]) AND t.deleted_at IS NULL AND t.kind = 'entity'
UNION ALL
SELECT identity, id FROM memory_trace
-- Nothing but an entity has the hash of a name; its kind is not asked for, so that it is looked up by that.
WHERE user_id = %b AND identity = ANY(%b::bytea[]) AND deleted_at IS NULL

-- name: all_names
-- Every entity of a user with its names; of one whose text lies in a file the other names alone.
SELECT t.id, b.content, t.meta -> 'aliases'
FROM memory_trace t
LEFT JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1
) b ON true
WHERE t.user_id = %b AND t.kind = 'entity' AND t.deleted_at IS NULL
ORDER BY t.id

-- name: forgotten_names
-- When entities of these hashes were forgotten.
SELECT hash, max(created_at) FROM tombstone WHERE user_id = %b AND hash = ANY(%b::bytea[]) GROUP BY hash

-- name: named_before
-- Traces in which a name stands, in one of two forms: those with its words, by the index over them, and their text.
SELECT n.place, r.trace_id, t.language, left(b.content, %b)
FROM (SELECT user_id, traces, words FROM memory_user WHERE user_id = %b) u
CROSS JOIN unnest(%b::text[], %b::text[], %b::text[]) WITH ORDINALITY AS n (language, name, other, place)
CROSS JOIN LATERAL reverie_bm25(
    ARRAY[u.user_id], tsvector_to_array(to_tsvector(n.language::regconfig, n.name)), %b::smallint[], NULL, NULL, NULL,
    NULL, u.traces, u.words, 200, %b
) r
CROSS JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = u.user_id AND y.trace_id = r.trace_id LIMIT 1
) b
CROSS JOIN LATERAL (
    SELECT m.deleted_at, m.language FROM memory_trace m WHERE m.user_id = u.user_id AND m.id = r.trace_id LIMIT 1
) t
WHERE (strpos(b.content, n.name) > 0 OR strpos(b.content, n.other) > 0) AND t.deleted_at IS NULL AND r.trace_id <> ALL(%b::uuid[])

-- name: write_entities
-- Entities with their names as bodies; they have no vectors. The user has none of these.
WITH scope AS (SELECT %b::uuid AS space_id, %b::uuid AS user_id, %b::timestamptz AS now),
given AS MATERIALIZED (
    SELECT * FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::bytea[], %b::bytea[])
        AS g (id, name, language, identity, digest)
),
stored AS (
    INSERT INTO memory_trace (space_id, user_id, id, kind, language, length, created_at, salience, salience_given,
                              identity, digest, vectors, provenance)
    SELECT s.space_id, s.user_id, g.id, 'entity', g.language, length(g.name), s.now, %b, false, g.identity, g.digest,
           false, %b::jsonb
    FROM given g, scope s
    ON CONFLICT (user_id, identity) WHERE deleted_at IS NULL DO NOTHING
    RETURNING id
),
body AS (
    INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
    SELECT s.space_id, s.user_id, g.id, %b, s.now, length(w.lexemes), g.name,
           w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(s.user_id)])
    FROM stored JOIN given g USING (id), scope s,
         LATERAL (SELECT to_tsvector(g.language::regconfig, g.name) AS lexemes) w
    RETURNING words
)
UPDATE memory_user u
SET traces = u.traces + (SELECT count(*) FROM stored), words = u.words + (SELECT coalesce(sum(words), 0) FROM body)
WHERE u.user_id = %b

-- name: write_mentions
-- Those whose ends both stand. An edge that says the same stays as it is, and so does by whom it was made.
INSERT INTO memory_edge AS e (space_id, user_id, src, dst, type, weight, ts, meta)
SELECT %b, s.user_id, s.id, d.id, 'mentions', 1, %b, g.meta
FROM unnest(%b::uuid[], %b::uuid[], %b::jsonb[]) AS g (src, dst, meta)
JOIN memory_trace s ON s.user_id = %b AND s.id = g.src AND s.deleted_at IS NULL
JOIN memory_trace d ON d.user_id = s.user_id AND d.id = g.dst AND d.deleted_at IS NULL
ON CONFLICT (user_id, src, dst, type) DO UPDATE
SET meta = (e.meta - 'as' - 'type') || (excluded.meta - 'by' - 'run')
WHERE (e.meta -> 'as', e.meta -> 'type') IS DISTINCT FROM (excluded.meta -> 'as', excluded.meta -> 'type')
RETURNING e.dst

-- name: drop_mentions
-- Of what these traces mention, all but what is wanted; which entities lost one. Who took part in an episode was known
-- where it comes from, and no text of its own needs to name them.
DELETE FROM memory_edge e
WHERE e.user_id = %b AND e.src = ANY(%b::uuid[]) AND e.type = 'mentions' AND e.meta ->> 'by' IS DISTINCT FROM 'migration'
  AND NOT EXISTS (SELECT FROM unnest(%b::uuid[], %b::uuid[]) AS w (src, dst) WHERE w.src = e.src AND w.dst = e.dst)
RETURNING e.dst, e.meta -> 'as'

-- name: mentioned_by
-- The entities that traces mention, and what they call them.
SELECT DISTINCT e.dst, e.meta -> 'as' FROM memory_edge e
WHERE e.user_id = %b AND e.src = ANY(%b::uuid[]) AND e.type = 'mentions'

-- name: only_mentioned_by
-- The entities that the store made itself and that nothing but these traces mentions.
SELECT t.id
FROM (SELECT DISTINCT e.dst FROM memory_edge e
      WHERE e.user_id = %b AND e.src = ANY(%b::uuid[]) AND e.type = 'mentions') m
JOIN memory_trace t ON t.user_id = %b AND t.id = m.dst
WHERE t.kind = 'entity' AND t.provenance ->> 'by' IN ('links', 'dream') AND t.updated_at IS NULL AND NOT t.pinned
  AND NOT EXISTS (
      SELECT FROM memory_edge o
      WHERE o.user_id = t.user_id AND o.dst = t.id AND o.type = 'mentions'
        AND o.src NOT IN (SELECT unnest(%b::uuid[]))
  )

-- name: as_named
-- What texts call these entities and how often, and what kind they speak for: with how each stands.
SELECT t.id, t.identity, t.language, t.meta, t.kind = 'entity' AND t.provenance ->> 'by' IN ('links', 'dream')
           AND t.updated_at IS NULL AND NOT t.pinned,
       EXISTS (SELECT FROM memory_edge e WHERE e.user_id = t.user_id AND e.dst = t.id AND e.type = 'mentions'),
       (SELECT jsonb_object_agg(x.name, x.n) FROM (
            SELECT a.name, count(*) AS n
            FROM memory_edge e
            CROSS JOIN LATERAL jsonb_array_elements_text(coalesce(e.meta -> 'as', jsonb_build_array(b.content))) AS a (name)
            WHERE e.user_id = t.user_id AND e.dst = t.id AND e.type = 'mentions' AND a.name IS NOT NULL
            GROUP BY a.name
        ) x),
       (SELECT jsonb_object_agg(x.type, x.n) FROM (
            SELECT e.meta ->> 'type' AS type, count(*) AS n
            FROM memory_edge e
            WHERE e.user_id = t.user_id AND e.dst = t.id AND e.type = 'mentions' AND e.meta ? 'type'
            GROUP BY 1
        ) x)
FROM memory_trace t
LEFT JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1
) b ON true
WHERE t.user_id = %b AND t.id = ANY(%b::uuid[]) AND t.kind = 'entity' AND t.deleted_at IS NULL
ORDER BY t.id

-- name: names_of
-- The other names of these entities.
SELECT entity_id, hash, by_hand FROM entity_name WHERE user_id = %b AND entity_id = ANY(%b::uuid[])

-- name: write_names
INSERT INTO entity_name AS n (space_id, user_id, hash, entity_id, by_hand)
SELECT %b, %b, g.hash, g.entity_id, g.by_hand
FROM unnest(%b::bytea[], %b::uuid[], %b::boolean[]) AS g (hash, entity_id, by_hand)
ON CONFLICT (user_id, hash) DO UPDATE SET entity_id = excluded.entity_id, by_hand = true WHERE excluded.by_hand

-- name: drop_names
DELETE FROM entity_name WHERE user_id = %b AND hash = ANY(%b::bytea[])

-- name: set_meta
UPDATE memory_trace t SET meta = g.meta
FROM unnest(%b::uuid[], %b::jsonb[]) AS g (id, meta)
WHERE t.user_id = %b AND t.id = g.id

-- name: rename
-- What an entity is called from now on; where its text lies in a file, that is written anew without it.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%b::uuid[], %b::text[], %b::bytea[], %b::bytea[]) AS g (id, name, identity, digest)
),
trace AS (
    UPDATE memory_trace t SET identity = g.identity, digest = g.digest, length = length(g.name)
    FROM given g WHERE t.user_id = %b AND t.id = g.id
    RETURNING t.space_id, t.user_id, t.id, t.language, t.happened_at, g.name
),
before AS (
    SELECT coalesce(sum(coalesce(b.words, d.words)), 0) AS words
    FROM given g
    LEFT JOIN memory_body b ON b.user_id = %b AND b.trace_id = g.id
    LEFT JOIN memory_digest d ON d.user_id = %b AND d.trace_id = g.id
),
away AS (
    DELETE FROM memory_digest d USING given g WHERE d.user_id = %b AND d.trace_id = g.id
),
body AS (
    INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
    SELECT t.space_id, t.user_id, t.id, %b, t.happened_at, length(w.lexemes), t.name,
           w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(t.user_id)])
    FROM trace t, LATERAL (SELECT to_tsvector(t.language::regconfig, t.name) AS lexemes) w
    ON CONFLICT (user_id, trace_id) DO UPDATE
    SET words = excluded.words, content = excluded.content, lexemes = excluded.lexemes
    RETURNING words
)
UPDATE memory_user u
SET words = u.words + (SELECT coalesce(sum(words), 0) FROM body) - (SELECT words FROM before)
WHERE u.user_id = %b

-- name: drop_entities
WITH words AS (
    SELECT coalesce(sum(coalesce(b.words, d.words)), 0) AS words
    FROM unnest(%b::uuid[]) AS g (id)
    LEFT JOIN memory_body b ON b.user_id = %b AND b.trace_id = g.id
    LEFT JOIN memory_digest d ON d.user_id = %b AND d.trace_id = g.id
),
gone AS (DELETE FROM memory_trace t WHERE t.user_id = %b AND t.id = ANY(%b::uuid[]) RETURNING id)
UPDATE memory_user u
SET traces = u.traces - (SELECT count(*) FROM gone), words = u.words - (SELECT words FROM words)
WHERE u.user_id = %b

-- name: name_mentions
-- Says in mentions that were made before these said so what the text calls the entity.
UPDATE memory_edge e SET meta = e.meta || jsonb_build_object('as', jsonb_build_array(%b::text))
WHERE e.user_id = %b AND e.dst = %b AND e.type = 'mentions' AND NOT e.meta ? 'as'

-- name: move_mentions
-- What is mentioned as one entity is mentioned as another.
WITH gone AS (
    DELETE FROM memory_edge e
    WHERE e.user_id = %b AND e.dst = %b AND e.type = 'mentions'
    RETURNING e.*
)
INSERT INTO memory_edge AS e (space_id, user_id, src, dst, type, weight, ts, meta)
SELECT g.space_id, g.user_id, g.src, %b, g.type, g.weight, g.ts, g.meta FROM gone g
ON CONFLICT (user_id, src, dst, type) DO UPDATE
SET meta = (e.meta || excluded.meta) || jsonb_build_object('as', (
    SELECT coalesce(jsonb_agg(DISTINCT a.name ORDER BY a.name), '[]')
    FROM jsonb_array_elements_text(coalesce(e.meta -> 'as', '[]') || coalesce(excluded.meta -> 'as', '[]')) AS a (name)
))

-- name: move_edges
-- What leads from or to one entity leads from or to another, but for mentions of it; never to itself.
WITH gone AS (
    DELETE FROM memory_edge e
    WHERE e.user_id = %b AND (e.src = %b OR e.dst = %b) AND e.type <> 'mentions'
    RETURNING e.*
),
moved AS (
    SELECT g.space_id, g.user_id, CASE g.src WHEN %b THEN %b ELSE g.src END AS src,
           CASE g.dst WHEN %b THEN %b ELSE g.dst END AS dst, g.type, g.weight, g.ts, g.meta
    FROM gone g
)
INSERT INTO memory_edge AS e (space_id, user_id, src, dst, type, weight, ts, meta)
SELECT DISTINCT ON (m.src, m.dst, m.type) m.* FROM moved m WHERE m.src <> m.dst ORDER BY m.src, m.dst, m.type, m.ts
-- Of two of which a person has made one, what that one says stays.
ON CONFLICT (user_id, src, dst, type) DO UPDATE
SET weight = CASE WHEN excluded.meta ->> 'by' = 'hand' AND e.meta ->> 'by' IS DISTINCT FROM 'hand'
                  THEN excluded.weight ELSE e.weight END,
    meta = CASE WHEN excluded.meta ->> 'by' = 'hand' AND e.meta ->> 'by' IS DISTINCT FROM 'hand'
                THEN excluded.meta ELSE e.meta END
        || CASE WHEN e.meta ? 'sources' OR excluded.meta ? 'sources' THEN jsonb_build_object('sources', (
    SELECT jsonb_agg(DISTINCT s.id ORDER BY s.id)
    FROM jsonb_array_elements_text(coalesce(e.meta -> 'sources', '[]') || coalesce(excluded.meta -> 'sources', '[]')) AS s (id)
)) ELSE '{}'::jsonb END

-- name: entity
SELECT t.identity, t.language, b.content, t.meta
FROM memory_trace t LEFT JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id
WHERE t.user_id = %b AND t.id = %b AND t.kind = 'entity' AND t.deleted_at IS NULL

-- name: taken
-- Which of these identities are somebody's.
SELECT identity, id FROM memory_trace WHERE user_id = %b AND identity = ANY(%b::bytea[]) AND deleted_at IS NULL

-- name: stated_of
-- What is stated of an entity.
SELECT e.src, e.dst, e.type, e.meta FROM memory_edge e
WHERE e.user_id = %b AND (e.src = %b OR e.dst = %b) AND e.meta ? 'sources'
ORDER BY e.src, e.dst, e.type

-- name: mentions_of
SELECT e.src, e.ts, e.meta FROM memory_edge e
WHERE e.user_id = %b AND e.dst = %b AND e.type = 'mentions'
ORDER BY e.src

-- name: replace_mentions
UPDATE memory_edge e SET meta = g.meta
FROM unnest(%b::uuid[], %b::jsonb[]) AS g (src, meta)
WHERE e.user_id = %b AND e.src = g.src AND e.dst = %b AND e.type = 'mentions'

-- name: remove_mentions
DELETE FROM memory_edge e WHERE e.user_id = %b AND e.src = ANY(%b::uuid[]) AND e.dst = %b AND e.type = 'mentions'

-- name: stated_by
-- What is stated by these traces: edges that name one of them among their sources.
SELECT e.src, e.dst, e.type, e.meta FROM memory_edge e
WHERE e.user_id = %b AND e.meta ? 'sources' AND EXISTS (
    SELECT FROM jsonb_array_elements_text(e.meta -> 'sources') AS s (id)
    WHERE s.id IN (SELECT g.id::text FROM unnest(%b::uuid[]) AS g (id))
)
ORDER BY e.src, e.dst, e.type

-- name: write_triples
-- Those whose ends both stand; who says so too is added.
INSERT INTO memory_edge AS e (space_id, user_id, src, dst, type, weight, ts, meta)
SELECT %b, s.user_id, s.id, d.id, g.type, 1, %b, g.meta
FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::jsonb[]) AS g (src, dst, type, meta)
JOIN memory_trace s ON s.user_id = %b AND s.id = g.src AND s.deleted_at IS NULL
JOIN memory_trace d ON d.user_id = s.user_id AND d.id = g.dst AND d.deleted_at IS NULL
ON CONFLICT (user_id, src, dst, type) DO UPDATE
SET meta = e.meta || jsonb_build_object('sources', (
    SELECT jsonb_agg(DISTINCT s.id ORDER BY s.id)
    FROM jsonb_array_elements_text(coalesce(e.meta -> 'sources', '[]') || (excluded.meta -> 'sources')) AS s (id)
))
WHERE NOT coalesce(e.meta -> 'sources', '[]') @> (excluded.meta -> 'sources')
RETURNING e.src

-- name: set_sources
UPDATE memory_edge e SET meta = e.meta || jsonb_build_object('sources', g.sources)
FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::jsonb[]) AS g (src, dst, type, sources)
WHERE e.user_id = %b AND e.src = g.src AND e.dst = g.dst AND e.type = g.type

-- name: drop_triples
DELETE FROM memory_edge e USING unnest(%b::uuid[], %b::uuid[], %b::text[]) AS g (src, dst, type)
WHERE e.user_id = %b AND e.src = g.src AND e.dst = g.dst AND e.type = g.type AND e.meta ->> 'by' IS DISTINCT FROM 'hand'

-- name: leave_triples
-- What a person said too stands by that alone.
UPDATE memory_edge e SET meta = e.meta - 'sources'
FROM unnest(%b::uuid[], %b::uuid[], %b::text[]) AS g (src, dst, type)
WHERE e.user_id = %b AND e.src = g.src AND e.dst = g.dst AND e.type = g.type AND e.meta ->> 'by' = 'hand'
