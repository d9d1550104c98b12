-- Traces that are made of others, and edges that are found between traces. Every block names the user; row-level
-- security stands behind. Whoever writes has locked the user.

-- name: space_key_of
SELECT identity_key FROM space WHERE id = %b

-- name: lock_user
SELECT version FROM memory_user WHERE space_id = %b AND user_id = %b FOR UPDATE

-- name: derived_of_day
-- What the dream made of a kind for a day, and what has one of these identities. Its time lies near the day, in whatever
-- time zone that was.
SELECT t.id, coalesce(t.provenance ->> 'identity', encode(t.identity, 'hex')), t.kind, t.digest, t.pinned, t.language,
       t.conversation_id, t.occurred_at, t.meta, t.provenance,
       EXISTS (SELECT FROM memory_body b WHERE b.user_id = t.user_id AND b.trace_id = t.id)
FROM memory_trace t
WHERE t.user_id = %b AND t.happened_at >= %b AND t.happened_at < %b AND t.deleted_at IS NULL
  AND t.provenance ->> 'by' = 'dream' AND t.provenance ->> 'day' = %b AND t.provenance ->> 'kind' = %b
UNION
SELECT t.id, coalesce(t.provenance ->> 'identity', encode(t.identity, 'hex')), t.kind, t.digest, t.pinned, t.language,
       t.conversation_id, t.occurred_at, t.meta, t.provenance,
       EXISTS (SELECT FROM memory_body b WHERE b.user_id = t.user_id AND b.trace_id = t.id)
FROM memory_trace t
WHERE t.user_id = %b AND t.identity = ANY(%b::bytea[]) AND t.deleted_at IS NULL

-- name: write_derived
-- New ones, with their words; their vectors are left to an operation. They are in no chain of `next` edges.
WITH scope AS (SELECT %b::uuid AS space_id, %b::uuid AS user_id, %b::timestamptz AS now),
given AS MATERIALIZED (
    SELECT * FROM unnest(
        %b::uuid[], %b::text[], %b::smallint[], %b::text[], %b::text[], %b::timestamptz[], %b::bytea[], %b::bytea[],
        %b::jsonb[], %b::jsonb[], %b::text[]
    ) AS g (id, kind, kind_code, conversation_id, language, occurred_at, identity, digest, meta, provenance, content)
),
stored AS (
    INSERT INTO memory_trace (space_id, user_id, id, kind, conversation_id, language, length, created_at, occurred_at,
                              salience, salience_given, identity, digest, vectors, meta, provenance, asks)
    SELECT s.space_id, s.user_id, g.id, g.kind, g.conversation_id, g.language, length(g.content), s.now, g.occurred_at,
           %b, false, g.identity, g.digest, true, g.meta, g.provenance, g.content ~ '[?？؟]'
    FROM given g, scope s
    ON CONFLICT (user_id, identity) WHERE deleted_at IS NULL DO NOTHING
    RETURNING id
),
body AS (
    INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
    SELECT s.space_id, s.user_id, g.id, g.kind_code, coalesce(g.occurred_at, s.now), length(w.lexemes), g.content,
           w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(s.user_id)])
    FROM stored JOIN given g USING (id), scope s,
         LATERAL (SELECT reverie_lexemes(g.language::regconfig, g.content, coalesce(g.occurred_at, s.now)) AS lexemes
                  OFFSET 0) w
    RETURNING words
),
counted AS (
    UPDATE memory_user u
    SET traces = u.traces + (SELECT count(*) FROM stored), words = u.words + (SELECT coalesce(sum(words), 0) FROM body),
        languages = ARRAY(SELECT unnest(u.languages) UNION SELECT g.language FROM stored JOIN given g USING (id) ORDER BY 1)
    WHERE u.user_id = %b
)
SELECT id FROM stored

-- name: change_derived
-- One that stays where it is and says something else, or comes of others.
UPDATE memory_trace
SET conversation_id = %b, language = %b, length = length(%b::text), occurred_at = %b, digest = %b, meta = %b,
    provenance = %b, asks = %b::text ~ '[?？؟]', supplied = false, updated_at = %b
WHERE user_id = %b AND id = %b

-- name: change_derived_body
WITH before AS (SELECT words FROM memory_body WHERE user_id = %b AND trace_id = %b),
body AS (
    UPDATE memory_body b
    SET happened_at = %b, content = w.content, words = length(w.lexemes),
        lexemes = w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(b.user_id)])
    FROM (SELECT g.content, reverie_lexemes(%b::regconfig, g.content, %b) AS lexemes
          FROM (SELECT %b::text AS content) g OFFSET 0) w
    WHERE b.user_id = %b AND b.trace_id = %b
    RETURNING b.words
)
UPDATE memory_user u
SET words = u.words + body.words - before.words,
    languages = ARRAY(SELECT unnest(u.languages) UNION SELECT %b::text ORDER BY 1)
FROM before, body
WHERE u.user_id = %b

-- name: change_derived_vectors
UPDATE memory_embedding SET happened_at = %b WHERE user_id = %b AND trace_id = %b

-- name: drop_derived
WITH words AS (
    SELECT coalesce(sum(coalesce(b.words, d.words)), 0) AS words
    FROM unnest(%b::uuid[]) AS g (id)
    LEFT JOIN memory_body b ON b.user_id = %b AND b.trace_id = g.id
    LEFT JOIN memory_digest d ON d.user_id = %b AND d.trace_id = g.id
),
gone AS (DELETE FROM memory_trace t WHERE t.user_id = %b AND t.id = ANY(%b::uuid[]) RETURNING id)
UPDATE memory_user u
SET traces = u.traces - (SELECT count(*) FROM gone), words = greatest(0, u.words - (SELECT words FROM words))
WHERE u.user_id = %b

-- name: edges_from
-- The dream's own from these traces.
SELECT e.src, e.dst, e.type, e.weight, e.meta FROM memory_edge e
WHERE e.user_id = %b AND e.src = ANY(%b::uuid[]) AND e.type = ANY(%b::text[]) AND e.meta ->> 'by' = 'dream'

-- name: drop_edges
DELETE FROM memory_edge e USING unnest(%b::uuid[], %b::uuid[], %b::text[]) AS g (src, dst, type)
WHERE e.user_id = %b AND e.src = g.src AND e.dst = g.dst AND e.type = g.type

-- name: write_edges
-- Those whose ends both stand. One that says the same already keeps the run that made it; one that somebody else made
-- stays as it is, and of what a person has put the other way round, nothing is said.
INSERT INTO memory_edge AS e (space_id, user_id, src, dst, type, weight, ts, meta)
SELECT %b, s.user_id, s.id, d.id, g.type, g.weight, %b, g.meta
FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::real[], %b::jsonb[]) AS g (src, dst, type, weight, meta)
JOIN memory_trace s ON s.user_id = %b AND s.id = g.src AND s.deleted_at IS NULL
JOIN memory_trace d ON d.user_id = s.user_id AND d.id = g.dst AND d.deleted_at IS NULL
WHERE g.type <> 'supersedes' OR NOT EXISTS (
    SELECT FROM memory_edge h
    WHERE h.user_id = s.user_id AND h.src = g.dst AND h.dst = g.src AND h.type = g.type AND h.meta ->> 'by' = 'hand'
)
ON CONFLICT (user_id, src, dst, type) DO UPDATE SET weight = excluded.weight, meta = excluded.meta, ts = excluded.ts
WHERE e.meta ->> 'by' = 'dream' AND (e.weight, e.meta - 'run') IS DISTINCT FROM (excluded.weight, excluded.meta - 'run')
RETURNING e.src

-- name: drop_rebuilds
-- What was noted before all days of a user were gone through.
DELETE FROM rebuild WHERE user_id = %b AND created_at <= %b

-- name: made_by_run
-- What a run made of a user and nobody changed or pinned since.
SELECT t.id, encode(t.digest, 'hex') = coalesce(t.provenance ->> 'digest', '') AND NOT t.pinned
FROM memory_trace t
WHERE t.user_id = %b AND t.provenance ? 'sources' AND t.provenance ->> 'by' = 'dream' AND t.provenance ->> 'run' = %b
  AND t.deleted_at IS NULL

-- name: drop_edges_of_run
DELETE FROM memory_edge e WHERE e.user_id = %b AND e.meta ->> 'by' = 'dream' AND e.meta ->> 'run' = %b
RETURNING e.dst, e.type
