-- Traces: written, read and changed. Every block names the user; row-level security by space stands behind.

-- name: known_identities
-- Which of these are remembered already, so that they are not encoded for nothing.
SELECT identity, id, digest FROM memory_trace
WHERE user_id = %b AND identity = ANY(%b) AND deleted_at IS NULL

-- name: raise_version
-- Locks the user, so that `next` edges and counts cannot race, and raises its version. A version begins with the
-- milliseconds of its time, so that a user who was forgotten and comes back never sees an old version again.
INSERT INTO memory_user AS u (space_id, user_id, external_id, version, created_at, updated_at)
VALUES (%b, %b, %b, %b, %b, %b)
ON CONFLICT (user_id) DO UPDATE
SET version = greatest(u.version + 1, excluded.version), updated_at = excluded.updated_at
RETURNING version

-- name: touch_version
UPDATE memory_user SET version = greatest(version + 1, %b), updated_at = %b WHERE space_id = %b AND user_id = %b

-- name: write_traces
-- One statement: traces, bodies, vectors, `next` edges and the user's counts. A trace whose identity is there already
-- writes nothing; its row in the answer names the trace that was there.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(
        %b::uuid[], %b::text[], %b::smallint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
        %b::timestamptz[], %b::real[], %b::boolean[], %b::bytea[], %b::bytea[], %b::boolean[], %b::jsonb[],
        %b::jsonb[], %b::text[]
    ) AS g (id, kind, kind_code, role, speaker, conversation_id, external_id, language,
            occurred_at, salience, salience_given, identity, digest, vectors, source,
            meta, content)
),
scope AS (SELECT %b::uuid AS space_id, %b::uuid AS user_id, %b::timestamptz AS now),
stored AS (
    INSERT INTO memory_trace (space_id, user_id, id, kind, role, speaker, conversation_id, external_id, language,
                              length, created_at, occurred_at, salience, salience_given, identity, digest, vectors,
                              source, meta)
    SELECT s.space_id, s.user_id, g.id, g.kind, g.role, g.speaker, g.conversation_id, g.external_id, g.language,
           length(g.content), s.now, g.occurred_at, g.salience, g.salience_given, g.identity, g.digest, g.vectors,
           g.source, g.meta
    FROM given g, scope s
    ON CONFLICT (user_id, identity) WHERE deleted_at IS NULL DO NOTHING
    RETURNING id
),
body AS (
    INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
    SELECT s.space_id, s.user_id, g.id, g.kind_code, coalesce(g.occurred_at, s.now), length(w.lexemes), g.content,
           w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(s.user_id)])
    FROM stored JOIN given g USING (id), scope s,
         LATERAL (SELECT reverie_lexemes(g.language::regconfig, g.content, coalesce(g.occurred_at, s.now)) AS lexemes) w
    RETURNING words
),
embedding AS (
    INSERT INTO memory_embedding (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, {column})
    SELECT s.space_id, s.user_id, g.id, 0, {model}, 0, g.kind_code, coalesce(g.occurred_at, s.now), v.vec
    FROM unnest(%b::uuid[], %b::{type}[]) AS v (id, vec) JOIN stored USING (id) JOIN given g USING (id), scope s
),
edge AS (
    INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
    SELECT s.space_id, s.user_id, n.src, n.dst, 'next', 1, s.now
    FROM (
        SELECT g.id AS dst, coalesce(
            lag(g.id) OVER (PARTITION BY g.conversation_id ORDER BY g.id),
            -- The end of the chain, which need not be the newest id: a batch that was encoded for long has older ones.
            (SELECT t.id FROM memory_trace t
             WHERE t.user_id = p.user_id AND t.conversation_id = g.conversation_id
               AND NOT EXISTS (SELECT FROM memory_edge e
                               WHERE e.user_id = t.user_id AND e.src = t.id AND e.type = 'next')
             ORDER BY t.id DESC LIMIT 1)
        ) AS src
        FROM stored JOIN given g USING (id), scope p
        WHERE g.conversation_id IS NOT NULL
    ) n, scope s
    WHERE n.src IS NOT NULL
),
counted AS (
    UPDATE memory_user u
    SET traces = u.traces + (SELECT count(*) FROM stored), words = u.words + (SELECT coalesce(sum(words), 0) FROM body)
    WHERE u.user_id = %b
)
-- Looked up one by one, and only where nothing was stored: as a join it may read every trace of the store.
SELECT g.id, stored.id IS NOT NULL, t.id, t.digest
FROM given g
LEFT JOIN stored USING (id)
LEFT JOIN LATERAL (
    SELECT m.id, m.digest FROM memory_trace m
    WHERE stored.id IS NULL AND m.user_id = %b AND m.identity = g.identity AND m.deleted_at IS NULL
    LIMIT 1
) t ON true

-- name: write_vectors
-- Vectors made after their traces: all pieces of (trace, head, model) are replaced, for those traces that still stand.
WITH given AS (
    SELECT v.id, v.vec, b.space_id, b.user_id, b.kind, b.happened_at
    FROM unnest(%b::uuid[], %b::{type}[]) AS v (id, vec)
    JOIN memory_body b ON b.user_id = %b AND b.trace_id = v.id
),
gone AS (
    DELETE FROM memory_embedding e USING given g
    WHERE e.user_id = g.user_id AND e.trace_id = g.id AND e.head = 0 AND e.model_id = {model} AND e.piece > 0
)
INSERT INTO memory_embedding AS e (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, {column})
SELECT g.space_id, g.user_id, g.id, 0, {model}, 0, g.kind, g.happened_at, g.vec FROM given g
ON CONFLICT (user_id, trace_id, head, model_id, piece) DO UPDATE
SET {column} = excluded.{column}, kind = excluded.kind, happened_at = excluded.happened_at

-- name: unembedded
-- What an operation still has to encode: those of its traces that stand, are to have vectors, and have none.
SELECT t.id, t.speaker, b.content, t.updated_at
FROM unnest(%b::uuid[]) AS wanted (id)
JOIN memory_trace t ON t.user_id = %b AND t.id = wanted.id AND t.deleted_at IS NULL AND t.vectors
JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id
WHERE NOT EXISTS (
    SELECT FROM memory_embedding e
    WHERE e.user_id = t.user_id AND e.trace_id = t.id AND e.head = 0 AND e.model_id = {model}
)
ORDER BY t.id
LIMIT %b

-- name: unchanged
-- Those that are still as they were read, and are to have vectors; the user is locked.
SELECT t.id FROM unnest(%b::uuid[], %b::timestamptz[]) AS r (id, updated_at)
JOIN memory_trace t ON t.user_id = %b AND t.id = r.id
WHERE t.deleted_at IS NULL AND t.vectors AND t.updated_at IS NOT DISTINCT FROM r.updated_at

-- name: get_trace
SELECT t.id, u.external_id, t.external_id, b.content, t.kind, t.role, t.speaker, t.conversation_id, t.language,
       t.length, t.created_at, t.occurred_at, t.happened_at, t.updated_at, t.salience, t.pinned, t.vectors, t.source,
       t.meta
FROM memory_trace t
JOIN memory_user u ON u.user_id = t.user_id
JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id
WHERE t.user_id = %b AND t.id = %b AND t.deleted_at IS NULL

-- name: list_traces
SELECT t.id, u.external_id, t.external_id, b.content, t.kind, t.role, t.speaker, t.conversation_id, t.language,
       t.length, t.created_at, t.occurred_at, t.happened_at, t.updated_at, t.salience, t.pinned, t.vectors, t.source,
       t.meta
FROM memory_trace t
JOIN memory_user u ON u.user_id = t.user_id
JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id
WHERE t.user_id = %b AND t.deleted_at IS NULL
  AND (%b::uuid IS NULL OR t.id < %b::uuid)
  AND (%b::text IS NULL OR t.kind = %b::text)
  AND (%b::text IS NULL OR t.conversation_id = %b::text)
ORDER BY t.id DESC
LIMIT %b

-- name: change_trace
-- Changes a trace that is still as it was read; no row comes back when somebody else changed it meanwhile.
UPDATE memory_trace
SET kind = %b, role = %b, speaker = %b, conversation_id = %b, external_id = %b, language = %b, length = %b,
    occurred_at = %b, salience = %b, salience_given = salience_given OR %b, identity = %b, digest = %b, vectors = %b,
    source = %b, meta = %b, updated_at = %b
WHERE user_id = %b AND id = %b AND deleted_at IS NULL AND updated_at IS NOT DISTINCT FROM %b
RETURNING id

-- name: change_body
WITH before AS (SELECT words FROM memory_body WHERE user_id = %b AND trace_id = %b),
body AS (
    UPDATE memory_body b
    SET kind = %b, happened_at = %b, content = %b, words = length(w.lexemes),
        lexemes = w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(b.user_id)])
    FROM (SELECT reverie_lexemes(%b::regconfig, %b, %b) AS lexemes) w
    WHERE b.user_id = %b AND b.trace_id = %b
    RETURNING b.words
)
UPDATE memory_user u SET words = u.words + body.words - before.words FROM body, before WHERE u.user_id = %b

-- name: change_vectors
UPDATE memory_embedding SET kind = %b, happened_at = %b WHERE user_id = %b AND trace_id = %b

-- name: leave_chain
-- Takes a trace out of its chain of `next` edges, and joins those that were before and after it.
WITH gone AS (
    DELETE FROM memory_edge WHERE user_id = %b AND type = 'next' AND (src = %b OR dst = %b)
    RETURNING space_id, src, dst
)
INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
SELECT b.space_id, %b, b.src, a.dst, 'next', 1, %b FROM gone b, gone a WHERE b.dst = %b AND a.src = %b
ON CONFLICT DO NOTHING

-- name: join_chain
-- Puts a trace behind the end of the chain of a conversation, as write_traces does; the user is locked.
INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
SELECT t.space_id, t.user_id, t.id, %b, 'next', 1, %b
FROM memory_trace t
WHERE t.user_id = %b AND t.conversation_id = %b AND t.id <> %b
  AND NOT EXISTS (SELECT FROM memory_edge e WHERE e.user_id = t.user_id AND e.src = t.id AND e.type = 'next')
ORDER BY t.id DESC LIMIT 1

-- name: drop_vectors
DELETE FROM memory_embedding WHERE user_id = %b AND trace_id = %b

-- name: list_users
-- Names no user, since it is the list of them; the space is named, and its policy holds.
SELECT user_id, external_id, kind, traces, created_at, updated_at FROM memory_user
WHERE space_id = %b AND (%b::timestamptz IS NULL OR (created_at, user_id) < (%b::timestamptz, %b::uuid))
ORDER BY created_at DESC, user_id DESC
LIMIT %b
