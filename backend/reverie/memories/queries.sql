-- Traces: written, read and changed. Every block that reads or writes rows names the user; row-level security by space
-- stands behind.

-- name: known_identities
-- Which of these are remembered already, so that they are not encoded for nothing.
SELECT identity, id, digest FROM memory_trace
WHERE user_id = %b AND identity = ANY(%b) AND deleted_at IS NULL

-- name: buried
-- Which of these hashes are those of forgotten traces.
SELECT hash FROM tombstone WHERE user_id = %b AND hash = ANY(%b)

-- name: lift_tombstones
-- The row stays, so that a receipt can be verified: it says what went, and refuses nothing any more.
UPDATE tombstone SET hash = NULL WHERE user_id = %b AND hash = ANY(%b)

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
        %b::jsonb[], %b::text[], %b::boolean[], %b::timestamptz[]
    ) AS g (id, kind, kind_code, role, speaker, conversation_id, external_id, language,
            occurred_at, salience, salience_given, identity, digest, vectors, source,
            meta, content, supplied, expires_at)
),
scope AS (SELECT %b::uuid AS space_id, %b::uuid AS user_id, %b::timestamptz AS now),
-- What was forgotten; of a user who has forgotten nothing, no hash is looked up.
refused AS MATERIALIZED (
    SELECT DISTINCT h.id
    FROM scope s, unnest(%b::uuid[], %b::bytea[]) AS h (id, hash),
         LATERAL (SELECT FROM tombstone x WHERE x.user_id = s.user_id AND x.hash = h.hash LIMIT 1) found
    WHERE EXISTS (SELECT FROM tombstone x, scope u WHERE x.user_id = u.user_id AND x.hash IS NOT NULL)
),
-- The user is locked, so what is fresh here is so when it is stored.
fresh AS MATERIALIZED (
    SELECT g.* FROM given g, scope s
    WHERE (g.identity IS NULL OR NOT EXISTS (
        SELECT FROM memory_trace t
        WHERE t.user_id = s.user_id AND t.identity = g.identity AND t.deleted_at IS NULL
    )) AND g.id NOT IN (SELECT r.id FROM refused r)
),
chained AS (
    SELECT g.id, coalesce(
        lag(g.id) OVER (PARTITION BY g.conversation_id ORDER BY g.id),
        -- The end of the chain, which need not be the newest id: a batch that was encoded for long has older ones.
        (SELECT t.id FROM memory_trace t
         WHERE t.user_id = s.user_id AND t.conversation_id = g.conversation_id AND t.deleted_at IS NULL
           -- What was made of others stands in no chain.
           AND (t.provenance ? 'sources') IS NOT TRUE
           AND NOT EXISTS (SELECT FROM memory_edge e
                           WHERE e.user_id = t.user_id AND e.src = t.id AND e.type = 'next')
         ORDER BY t.id DESC LIMIT 1)
    ) AS follows
    FROM fresh g, scope s
    WHERE g.conversation_id IS NOT NULL
),
stored AS (
    INSERT INTO memory_trace (space_id, user_id, id, kind, role, speaker, conversation_id, external_id, language,
                              length, created_at, occurred_at, salience, salience_given, identity, digest, vectors,
                              source, meta, follows, asks, supplied, expires_at)
    SELECT s.space_id, s.user_id, g.id, g.kind, g.role, g.speaker, g.conversation_id, g.external_id, g.language,
           length(g.content), s.now, g.occurred_at, g.salience, g.salience_given, g.identity, g.digest, g.vectors,
           g.source, g.meta, c.follows, g.content ~ '[?？؟]', g.supplied, g.expires_at
    FROM fresh g LEFT JOIN chained c USING (id), scope s
    ON CONFLICT (user_id, identity) WHERE deleted_at IS NULL DO NOTHING
    RETURNING id, follows
),
body AS (
    INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
    SELECT s.space_id, s.user_id, g.id, g.kind_code, coalesce(g.occurred_at, s.now), length(w.lexemes), g.content,
           w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(s.user_id)])
    FROM stored JOIN given g USING (id), scope s,
         -- OFFSET 0: else the words are counted out twice, once for each mention of them.
         LATERAL (SELECT reverie_lexemes(g.language::regconfig, g.content, coalesce(g.occurred_at, s.now)) AS lexemes
                  OFFSET 0) w
    RETURNING words
),
-- In an order that fills the pages of the covering index. One into whose end more and more rows are written is split in
-- its middle, unless it is the last of all, and its first half stays as it is: of ten rows at 384 dimensions it keeps
-- five. So of every nine the first, third, fifth, seventh and ninth come first, and the four between fill the halves.
embedding AS (
    INSERT INTO memory_embedding (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, {column}, bits)
    SELECT s.space_id, s.user_id, g.id, 0, {model}, 0, g.kind_code, coalesce(g.occurred_at, s.now), v.vec,
           binary_quantize(v.vec)
    FROM unnest(%b::uuid[], %b::{type}[]) WITH ORDINALITY AS v (id, vec, place) JOIN stored USING (id)
    JOIN given g USING (id), scope s
    ORDER BY mod(mod(v.place - 1, 9), 2), v.place
    RETURNING trace_id
),
-- As leave_for_other_models does, which would be a statement more.
other_models AS (
    INSERT INTO operation (id, space_id, user_id, kind, state, payload, trace_ids, attempts, created_at)
    SELECT gen_random_uuid(), s.space_id, s.user_id, 'embed', 'pending', jsonb_build_object('model', m.id),
           ARRAY(SELECT trace_id FROM embedding), 0, s.now
    FROM model m, scope s
    WHERE m.wanted AND m.id <> {model} AND EXISTS (SELECT FROM embedding)
),
edge AS (
    INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
    SELECT s.space_id, s.user_id, n.follows, n.id, 'next', 1, s.now FROM stored n, scope s WHERE n.follows IS NOT NULL
),
counted AS (
    UPDATE memory_user u
    SET traces = u.traces + (SELECT count(*) FROM stored), words = u.words + (SELECT coalesce(sum(words), 0) FROM body),
        languages = ARRAY(SELECT unnest(u.languages) UNION SELECT g.language FROM stored JOIN given g USING (id) ORDER BY 1)
    WHERE u.user_id = %b
)
-- Looked up one by one, and only where nothing was stored: as a join it may read every trace of the store.
SELECT g.id, stored.id IS NOT NULL, t.id, t.digest, g.id IN (SELECT r.id FROM refused r)
FROM given g
LEFT JOIN stored USING (id)
LEFT JOIN LATERAL (
    SELECT m.id, m.digest FROM memory_trace m
    WHERE stored.id IS NULL AND m.user_id = %b AND m.identity = g.identity AND m.deleted_at IS NULL
    LIMIT 1
) t ON true

-- name: write_vectors
-- Vectors made after their traces, for those that still stand. All pieces of (trace, head, model) are replaced, from the
-- first that is given on. Their order is that of write_traces; the user is locked, so that no two writers meet in it.
WITH given AS MATERIALIZED (
    SELECT v.id, v.head, v.piece, v.begins, v.ends, v.vec, v.place, b.space_id, b.user_id, b.kind, b.happened_at
    FROM unnest(%b::uuid[], %b::smallint[], %b::integer[], %b::integer[], %b::integer[], %b::{type}[])
        WITH ORDINALITY AS v (id, head, piece, begins, ends, vec, place)
    JOIN memory_body b ON b.user_id = %b AND b.trace_id = v.id
),
gone AS (
    DELETE FROM memory_embedding e
    USING (SELECT user_id, id, head, min(piece) AS piece FROM given GROUP BY user_id, id, head) g
    WHERE e.user_id = g.user_id AND e.trace_id = g.id AND e.head = g.head AND e.model_id = {model}
      AND e.piece >= g.piece
      AND NOT EXISTS (SELECT FROM given o WHERE o.id = e.trace_id AND o.head = e.head AND o.piece = e.piece)
)
INSERT INTO memory_embedding AS e (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, begins, ends,
                                   {column}, bits)
SELECT g.space_id, g.user_id, g.id, g.head, {model}, g.piece, g.kind, g.happened_at, g.begins, g.ends, g.vec,
       binary_quantize(g.vec)
FROM given g
ORDER BY mod(mod(g.place - 1, 9), 2), g.place
ON CONFLICT (user_id, trace_id, head, model_id, piece) DO UPDATE
SET {column} = excluded.{column}, codes = NULL, bits = excluded.bits, kind = excluded.kind,
    happened_at = excluded.happened_at, begins = excluded.begins, ends = excluded.ends

-- name: situate
-- The head `situation` of traces, and of those before and after them: the mean of each one's vector, counted twice, and
-- of its neighbours' of the same day. Each model's own vectors, or those of one alone. Unless {fresh}, only what has a
-- vector of this head gets it anew. OFFSET 0 keeps each a look-up by key, whatever the statistics say.
-- What is warm has no vector: it is left out of the mean of a neighbour that was written or changed late, and what it
-- has of this head stays as it is while its own text does.
WITH given AS MATERIALIZED (SELECT DISTINCT unnest(%b::uuid[]) AS id),
around AS MATERIALIZED (
    SELECT id FROM given
    UNION
    SELECT t.follows
    FROM given g, LATERAL (SELECT m.follows FROM memory_trace m WHERE m.user_id = %b AND m.id = g.id OFFSET 0) t
    UNION
    SELECT t.dst
    FROM given g, LATERAL (SELECT e.dst FROM memory_edge e
                           WHERE e.user_id = %b AND e.src = g.id AND e.type = 'next' OFFSET 0) t
),
seen AS MATERIALIZED (
    SELECT t.user_id, t.id, t.follows, t.happened_at,
           t.vectors AND t.kind = 'turn' AND t.conversation_id IS NOT NULL AND t.length <= %b AS situated
    FROM around a, LATERAL (SELECT * FROM memory_trace m
                            WHERE m.user_id = %b AND m.id = a.id AND m.deleted_at IS NULL OFFSET 0) t
    WHERE {fresh} OR EXISTS (
        SELECT FROM memory_embedding e WHERE e.user_id = t.user_id AND e.trace_id = t.id AND e.head = 1
    )
),
parts AS (
    SELECT s.id, s.id AS part FROM seen s, generate_series(1, 2) WHERE s.situated
    UNION ALL
    SELECT s.id, n.id
    FROM (
        SELECT id, user_id, happened_at, follows AS neighbour FROM seen WHERE situated
        UNION ALL
        SELECT s.id, s.user_id, s.happened_at, t.dst
        FROM seen s, LATERAL (SELECT e.dst FROM memory_edge e
                              WHERE e.user_id = s.user_id AND e.src = s.id AND e.type = 'next' OFFSET 0) t
        WHERE s.situated
    ) s, LATERAL (SELECT m.id, m.happened_at FROM memory_trace m
                  WHERE m.user_id = s.user_id AND m.id = s.neighbour OFFSET 0) n
    WHERE n.happened_at BETWEEN s.happened_at - interval '1 day' AND s.happened_at + interval '1 day'
),
made AS MATERIALIZED (
    SELECT p.id, v.model_id, l2_normalize(avg(v.vec)) AS vec, l2_normalize(avg(v.vec_fp32)) AS vec_fp32
    FROM parts p, LATERAL (SELECT e.model_id, e.vec, e.vec_fp32 FROM memory_embedding e
                           WHERE e.user_id = %b AND e.trace_id = p.part AND e.head = 0 AND e.piece = 0
                             AND e.codes IS NULL {only} OFFSET 0) v
    GROUP BY p.id, v.model_id
    -- Not where neighbours alone have a vector, nor where all cancel one another out.
    HAVING bool_or(p.part = p.id) AND coalesce(l2_norm(avg(v.vec)), vector_norm(avg(v.vec_fp32))) > 0
),
gone AS (
    DELETE FROM memory_embedding e USING seen s
    WHERE e.user_id = s.user_id AND e.trace_id = s.id AND e.head = 1 {only}
      AND NOT EXISTS (SELECT FROM made m WHERE m.id = e.trace_id AND m.model_id = e.model_id)
      AND NOT (s.situated AND EXISTS (
          SELECT FROM memory_embedding o
          WHERE o.user_id = s.user_id AND o.trace_id = s.id AND o.head = 0 AND o.model_id = e.model_id AND o.piece = 0
            AND o.codes IS NOT NULL
      ))
)
INSERT INTO memory_embedding (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, vec, vec_fp32,
                              bits)
SELECT b.space_id, b.user_id, m.id, 1, m.model_id, 0, b.kind, b.happened_at, m.vec, m.vec_fp32,
       coalesce(binary_quantize(m.vec), binary_quantize(m.vec_fp32))
FROM made m, LATERAL (SELECT y.* FROM memory_body y WHERE y.user_id = %b AND y.trace_id = m.id OFFSET 0) b
ON CONFLICT (user_id, trace_id, head, model_id, piece) DO UPDATE
SET vec = excluded.vec, vec_fp32 = excluded.vec_fp32, codes = NULL, bits = excluded.bits, kind = excluded.kind,
    happened_at = excluded.happened_at

-- name: neighbours
SELECT src FROM memory_edge WHERE user_id = %b AND dst = ANY(%b) AND type = 'next'
UNION
SELECT dst FROM memory_edge WHERE user_id = %b AND src = ANY(%b) AND type = 'next'

-- name: unembedded
-- What still has to be encoded of these traces: those that stand, are to have vectors, and lack the first of `semantic`,
-- or are so long that there may be more pieces of it and have none, or (where it is wanted) lack `entity`. `there` has
-- the first two pieces of each head, as head * 2 + piece. As much text as one takes at a time.
SELECT t.id, t.speaker, b.content, t.updated_at, t.kind, t.salience, t.conversation_id, t.vectors, t.supplied, t.there
FROM (
    SELECT t.*, e.there, sum(t.length) OVER (ORDER BY t.id) - t.length AS before
    FROM unnest(%b::uuid[]) AS wanted (id)
    CROSS JOIN LATERAL (
        SELECT * FROM memory_trace m WHERE m.user_id = %b AND m.id >= wanted.id AND m.id <= wanted.id ORDER BY m.user_id, m.id LIMIT 1
    ) t
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(e.head * 2 + e.piece), ARRAY[]::integer[]) AS there FROM memory_embedding e
        WHERE e.user_id = t.user_id AND e.trace_id = t.id AND e.model_id = {model} AND e.piece < 2
    ) e
    -- What is cold is not encoded again; here, so that it takes no place of others.
    CROSS JOIN LATERAL (SELECT FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1) told
    WHERE t.id = wanted.id AND t.deleted_at IS NULL AND t.vectors
      AND (0 <> ALL(e.there) OR (t.length > %b AND 1 <> ALL(e.there) AND NOT t.supplied)
           OR (%b AND 4 <> ALL(e.there)))
    ORDER BY t.id
    LIMIT %b
) t
JOIN memory_body b ON b.user_id = %b AND b.trace_id = t.id
WHERE t.before < %b
ORDER BY t.id

-- name: unchanged
-- Those that are still as they were read, and are to have vectors; the user is locked.
SELECT t.id FROM unnest(%b::uuid[], %b::timestamptz[]) AS r (id, updated_at)
JOIN memory_trace t ON t.user_id = %b AND t.id = r.id
WHERE t.deleted_at IS NULL AND t.vectors AND t.updated_at IS NOT DISTINCT FROM r.updated_at

-- name: leave_for_other_models
-- While a store goes over to another model: what else is wanted is left to a worker that has it.
INSERT INTO operation (id, space_id, user_id, kind, state, payload, trace_ids, attempts, created_at)
SELECT gen_random_uuid(), %b, %b, %b, 'pending', jsonb_build_object('model', m.id), %b, 0, %b
FROM model m WHERE m.wanted AND m.id <> {model}

-- name: of_one_model
-- A part of `situate`.
AND e.model_id = {model}

-- name: wanted_model
SELECT name FROM model WHERE id = %b AND wanted

-- name: get_trace
-- Of a cold one there is no content here.
SELECT t.id, u.external_id, t.external_id, b.content, t.kind, t.role, t.speaker, t.conversation_id, t.language,
       t.length, t.created_at, t.occurred_at, t.happened_at, t.updated_at, t.salience, t.pinned, t.vectors, t.source,
       t.meta, t.expires_at,
       -- A text that stands in a cold partition was brought back, or came late.
       coalesce((SELECT CASE p.tier WHEN 'hot' THEN 'hot' ELSE 'warm' END FROM memory_partition p
                 WHERE p.parent = 'memory_embedding' AND p.lower <= t.id ORDER BY p.lower DESC LIMIT 1), 'hot')
FROM memory_trace t
JOIN memory_user u ON u.user_id = t.user_id
LEFT JOIN LATERAL (SELECT y.content FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1) b ON true
WHERE t.user_id = %b AND t.id = %b AND t.deleted_at IS NULL

-- name: list_traces
SELECT t.id, u.external_id, t.external_id, b.content, t.kind, t.role, t.speaker, t.conversation_id, t.language,
       t.length, t.created_at, t.occurred_at, t.happened_at, t.updated_at, t.salience, t.pinned, t.vectors, t.source,
       t.meta, t.expires_at,
       -- A text that stands in a cold partition was brought back, or came late.
       coalesce((SELECT CASE p.tier WHEN 'hot' THEN 'hot' ELSE 'warm' END FROM memory_partition p
                 WHERE p.parent = 'memory_embedding' AND p.lower <= t.id ORDER BY p.lower DESC LIMIT 1), 'hot')
FROM memory_trace t
JOIN memory_user u ON u.user_id = t.user_id
LEFT JOIN LATERAL (SELECT y.content FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1) b ON true
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
    source = %b, meta = %b, asks = %b ~ '[?？؟]', supplied = supplied AND %b, expires_at = %b,
    updated_at = %b
WHERE user_id = %b AND id = %b AND deleted_at IS NULL AND updated_at IS NOT DISTINCT FROM %b
RETURNING id

-- name: change_body
WITH before AS (SELECT words FROM memory_body WHERE user_id = %b AND trace_id = %b),
body AS (
    UPDATE memory_body b
    SET kind = %b, happened_at = %b, content = %b, words = length(w.lexemes),
        lexemes = w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(b.user_id)])
    FROM (SELECT reverie_lexemes(%b::regconfig, %b, %b) AS lexemes OFFSET 0) w
    WHERE b.user_id = %b AND b.trace_id = %b
    RETURNING b.user_id, b.trace_id, b.words
)
UPDATE memory_user u
SET words = u.words + body.words - before.words,
    languages = ARRAY(SELECT unnest(u.languages) UNION SELECT t.language ORDER BY 1)
FROM before, body JOIN memory_trace t ON t.user_id = body.user_id AND t.id = body.trace_id
WHERE u.user_id = %b
RETURNING u.user_id

-- name: bring_back
-- A cold trace as it lay in its file, in the form of warm ones, before it is changed; the user is locked, and counts its
-- words already. Its words are only counted here: whoever changes it writes them anew.
WITH trace AS MATERIALIZED (
    SELECT t.space_id, t.user_id, t.id, t.happened_at FROM memory_trace t WHERE t.user_id = %b AND t.id = %b
),
body AS (
    INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
    SELECT t.space_id, t.user_id, t.id, %b::smallint, t.happened_at, %b::integer, %b::text, ''::tsvector FROM trace t
    ON CONFLICT DO NOTHING
)
INSERT INTO memory_embedding (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, begins, ends, codes,
                              bits)
SELECT t.space_id, t.user_id, t.id, v.head, m.id, v.piece, %b::smallint, t.happened_at, v.begins, v.ends, v.codes,
       v.bits::bit varying
FROM trace t
JOIN model m ON m.id = %b
CROSS JOIN unnest(%b::smallint[], %b::integer[], %b::integer[], %b::integer[], %b::bytea[], %b::text[])
    AS v (head, piece, begins, ends, codes, bits)
ON CONFLICT DO NOTHING

-- name: leave_cold
-- What a file holds of a trace is not what it says any more: the file is written anew without it.
DELETE FROM memory_digest WHERE user_id = %b AND trace_id = %b

-- name: change_vectors
UPDATE memory_embedding SET kind = %b, happened_at = %b WHERE user_id = %b AND trace_id = %b

-- name: leave_chain
-- Takes a trace out of its chain of `next` edges, and joins those that were before and after it.
WITH gone AS (
    DELETE FROM memory_edge WHERE user_id = %b AND type = 'next' AND (src = %b OR dst = %b)
    RETURNING space_id, src, dst
),
joined AS (
    INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
    SELECT b.space_id, %b, b.src, a.dst, 'next', 1, %b FROM gone b, gone a WHERE b.dst = %b AND a.src = %b
    ON CONFLICT DO NOTHING
)
UPDATE memory_trace t SET follows = b.src
FROM gone a LEFT JOIN gone b ON b.dst = a.src
WHERE t.user_id = %b AND t.id = a.dst

-- name: join_chain
-- Puts a trace behind the end of the chain of a conversation, as write_traces does; the user is locked.
WITH joined AS (
    INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
    SELECT t.space_id, t.user_id, t.id, %b, 'next', 1, %b
    FROM memory_trace t
    WHERE t.user_id = %b AND t.conversation_id = %b AND t.id <> %b AND t.deleted_at IS NULL
      AND (t.provenance ? 'sources') IS NOT TRUE
      AND NOT EXISTS (SELECT FROM memory_edge e WHERE e.user_id = t.user_id AND e.src = t.id AND e.type = 'next')
    ORDER BY t.id DESC LIMIT 1
    RETURNING user_id, src, dst
)
UPDATE memory_trace t SET follows = j.src FROM joined j WHERE t.user_id = j.user_id AND t.id = j.dst

-- name: drop_vectors
DELETE FROM memory_embedding WHERE user_id = %b AND trace_id = %b AND head = ANY(%b)

-- name: next_user
-- The next user of a space, for work that goes through all of them; the space is named, and its policy holds.
SELECT user_id FROM memory_user WHERE space_id = %b AND user_id > %b ORDER BY user_id LIMIT 1

-- name: next_traces
SELECT id FROM memory_trace WHERE user_id = %b AND id > %b AND deleted_at IS NULL ORDER BY id LIMIT %b

-- name: matched_texts
-- The text that a piece of a trace was made of, at most so many characters; of piece 0 the beginning. Looked up by key,
-- whatever the statistics say.
SELECT uuid_send(c.user_id) || uuid_send(c.id), c.piece, coalesce(e.begins, 0),
       substr(b.content, coalesce(e.begins, 0) + 1, least(coalesce(e.ends - e.begins, %b), %b))
FROM unnest(%b::uuid[], %b::uuid[], %b::integer[]) AS c (user_id, id, piece)
CROSS JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = c.user_id AND y.trace_id = c.id LIMIT 1
) b
LEFT JOIN LATERAL (
    SELECT m.begins, m.ends FROM memory_embedding m
    WHERE m.user_id = c.user_id AND m.trace_id = c.id AND m.head = 0 AND m.model_id = {model} AND m.piece = c.piece
    LIMIT 1
) e ON true

-- name: list_users
-- Names no user, since it is the list of them; the space is named, and its policy holds.
SELECT user_id, external_id, kind, traces, created_at, updated_at FROM memory_user
WHERE space_id = %b AND (%b::timestamptz IS NULL OR (created_at, user_id) < (%b::timestamptz, %b::uuid))
ORDER BY created_at DESC, user_id DESC
LIMIT %b
