-- Forgetting: what a scope names, that it is invisible, that it goes, and what proves it. Every block names the user;
-- row-level security stands behind.

-- name: lock_user
-- Locks the user until the transaction ends, so that a remember or an embedding that comes late waits, and raises its
-- version. No row comes back of a user who is not there, and has no traces either.
UPDATE memory_user SET version = greatest(version + 1, %b), updated_at = %b WHERE space_id = %b AND user_id = %b
RETURNING user_id

-- name: space_key
SELECT identity_key FROM space WHERE id = %b

-- name: standing
-- Of these, the ones that stand.
SELECT id FROM memory_trace WHERE user_id = %b AND id = ANY(%b::uuid[]) AND deleted_at IS NULL ORDER BY id

-- name: still_due
-- Of these, under the lock, the ones that stand and are still due: what had expired has not been given more time, and
-- nothing else was changed or pinned since it was looked for.
SELECT id FROM memory_trace
WHERE user_id = %b AND id = ANY(%b::uuid[]) AND deleted_at IS NULL
  AND CASE WHEN %b::boolean THEN expires_at <= %b::timestamptz
           ELSE NOT pinned AND (updated_at < %b::timestamptz) IS NOT FALSE END
ORDER BY id

-- name: all_of_user
SELECT id FROM memory_trace WHERE user_id = %b AND deleted_at IS NULL ORDER BY id

-- name: of_conversation
SELECT id FROM memory_trace WHERE user_id = %b AND conversation_id = %b AND deleted_at IS NULL ORDER BY id

-- name: happened
-- What happened from one moment on, and before another. The entities that the store made have no time of their own: they go
-- with the last trace that mentions them.
SELECT id FROM memory_trace
WHERE user_id = %b AND deleted_at IS NULL AND happened_at >= %b AND happened_at < %b
  AND NOT (kind = 'entity' AND provenance IS NOT NULL AND provenance ->> 'by' IN ('links', 'dream'))
ORDER BY id

-- name: entity_named
-- The entities of a name, by whichever of their names, and how texts call them.
SELECT t.id, b.content, t.meta -> 'aliases'
FROM memory_trace t
LEFT JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id
WHERE t.user_id = %b AND t.kind = 'entity' AND t.deleted_at IS NULL
  AND t.id IN (SELECT m.id FROM memory_trace m WHERE m.user_id = %b AND m.identity = %b AND m.deleted_at IS NULL
               UNION SELECT n.entity_id FROM entity_name n WHERE n.user_id = %b AND n.hash = %b)

-- name: mentioning
SELECT e.src FROM memory_edge e WHERE e.user_id = %b AND e.dst = %b AND e.type = 'mentions'

-- name: texts_with
-- The traces in whose text a pattern is found, by reading all of the user's text: exact, whatever the index knows.
SELECT b.trace_id FROM memory_body b JOIN memory_trace t ON t.user_id = b.user_id AND t.id = b.trace_id
WHERE b.user_id = %b AND b.content ~ %b AND t.deleted_at IS NULL

-- name: matches
-- The traces that have all words of a query, each read in the language of the trace: exact, like the one above. The
-- lexemes have the words of the date too, by which nothing is to go: they only spare reading every text again.
SELECT b.trace_id FROM memory_body b JOIN memory_trace t ON t.user_id = b.user_id AND t.id = b.trace_id
WHERE b.user_id = %b AND t.deleted_at IS NULL AND b.lexemes @@ plainto_tsquery(t.language::regconfig, %b)
  AND to_tsvector(t.language::regconfig, left(b.content, 100000)) @@ plainto_tsquery(t.language::regconfig, %b)

-- name: asked_words
-- Whether a query has words that can be looked for in any language of the user.
SELECT bool_or(numnode(plainto_tsquery(l.language::regconfig, %b)) > 0)
FROM memory_user u CROSS JOIN LATERAL unnest(u.languages) AS l (language) WHERE u.user_id = %b

-- name: text_matches
-- The same of texts that lie elsewhere.
SELECT g.id FROM unnest(%b::uuid[], %b::text[], %b::text[]) AS g (id, language, content)
WHERE to_tsvector(g.language::regconfig, left(g.content, 100000)) @@ plainto_tsquery(g.language::regconfig, %b)

-- name: text_has
SELECT g.id FROM unnest(%b::uuid[], %b::text[]) AS g (id, content) WHERE g.content ~ %b

-- name: cold_of_user
-- Whose text lies in a file alone, and its language.
SELECT d.trace_id, t.language FROM memory_digest d JOIN memory_trace t ON t.user_id = d.user_id AND t.id = d.trace_id
WHERE d.user_id = %b AND d.thawed_until IS NULL AND t.deleted_at IS NULL ORDER BY d.trace_id

-- name: counts
-- What hangs on the traces of a scope. A file holds what was changed since too, until it is written anew.
WITH gone AS MATERIALIZED (
    SELECT id FROM memory_trace WHERE user_id = %b AND id = ANY(%b::uuid[]) AND deleted_at IS NULL
)
SELECT (SELECT count(*) FROM gone),
       (SELECT count(*) FROM gone JOIN memory_body b ON b.user_id = %b AND b.trace_id = gone.id),
       (SELECT count(*) FROM gone JOIN memory_embedding e ON e.user_id = %b AND e.trace_id = gone.id),
       (SELECT count(*) FROM memory_edge x
        WHERE x.user_id = %b AND (x.src IN (SELECT id FROM gone) OR x.dst IN (SELECT id FROM gone))),
       (SELECT count(*) FROM gone
        WHERE EXISTS (SELECT FROM memory_digest d WHERE d.user_id = %b AND d.trace_id = gone.id)
           OR EXISTS (SELECT FROM cold_removal r WHERE r.user_id = %b AND r.trace_id = gone.id)),
       (SELECT count(*) FROM gone JOIN memory_access a ON a.user_id = %b AND a.trace_id = gone.id),
       (SELECT count(*) FROM memory_dismissal s
        WHERE s.user_id = %b AND (s.trace_id IN (SELECT id FROM gone) OR s.other_id IN (SELECT id FROM gone))),
       (SELECT array_agg(id) FROM (SELECT id FROM gone ORDER BY id DESC LIMIT 100) shown)

-- name: close_gaps
-- Before traces go: from each that stays and is followed by one that goes, along `next` to the first that stays.
WITH RECURSIVE gone AS MATERIALIZED (SELECT DISTINCT unnest(%b::uuid[]) AS id),
walk AS (
    SELECT e.space_id, e.src, e.dst
    -- OFFSET 0 keeps each a look-up by key: as joins they may compare every trace with every edge.
    FROM gone g, LATERAL (SELECT space_id, src, dst FROM memory_edge
                          WHERE user_id = %b AND dst = g.id AND type = 'next' OFFSET 0) e
    WHERE e.src NOT IN (SELECT id FROM gone)
    UNION
    SELECT w.space_id, w.src, e.dst
    FROM walk w, LATERAL (SELECT dst FROM memory_edge
                          WHERE user_id = %b AND src = w.dst AND type = 'next' OFFSET 0) e
    WHERE NOT (w.dst NOT IN (SELECT id FROM gone))
),
healed AS (
    INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
    SELECT w.space_id, %b, w.src, w.dst, 'next', 1, %b FROM walk w WHERE w.dst NOT IN (SELECT id FROM gone)
    ON CONFLICT DO NOTHING
    RETURNING user_id, src, dst
)
UPDATE memory_trace t SET follows = h.src
FROM (
    SELECT DISTINCT e.dst
    FROM gone g, LATERAL (SELECT dst FROM memory_edge
                          WHERE user_id = %b AND src = g.id AND type = 'next' OFFSET 0) e
) f LEFT JOIN healed h ON h.dst = f.dst
WHERE t.user_id = %b AND t.id = f.dst

-- name: unsituate
-- What warm neighbours have of the head `situation`: it holds a share of what goes, and cannot be made anew.
DELETE FROM memory_embedding WHERE user_id = %b AND trace_id = ANY(%b::uuid[]) AND head = 1 AND codes IS NOT NULL

-- name: buried
-- What the tombstones of traces are made of.
SELECT id, identity, digest, kind, role, speaker, conversation_id, length,
       provenance IS NOT NULL AND provenance ? 'sources' OR EXISTS (
           SELECT FROM memory_edge e WHERE e.user_id = t.user_id AND e.src = t.id AND e.type = 'summary_of'
       ),
       coalesce(starts_with(external_id, 'import-'), false)
FROM memory_trace t WHERE t.user_id = %b AND t.id = ANY(%b::uuid[]) ORDER BY id

-- name: bury
INSERT INTO tombstone (space_id, user_id, trace_id, receipt_id, hash, created_at)
SELECT %b, %b, g.id, %b, g.hash, %b FROM unnest(%b::uuid[], %b::bytea[]) AS g (id, hash)
ON CONFLICT (user_id, trace_id) DO NOTHING

-- name: forget
-- The trace takes its body, vectors, edges and digest with it (ON DELETE CASCADE); a digest that goes has its file
-- written anew.
WITH words AS (
    SELECT coalesce(sum(coalesce(b.words, d.words)), 0) AS words
    FROM unnest(%b::uuid[]) AS g (id)
    LEFT JOIN memory_body b ON b.user_id = %b AND b.trace_id = g.id
    LEFT JOIN memory_digest d ON d.user_id = %b AND d.trace_id = g.id
),
gone AS (
    DELETE FROM memory_trace WHERE user_id = %b AND id = ANY(%b::uuid[]) AND deleted_at IS NULL
    RETURNING id
)
UPDATE memory_user u
SET traces = u.traces - (SELECT count(*) FROM gone), words = greatest(0, u.words - (SELECT words FROM words))
WHERE u.user_id = %b

-- name: hide
-- What goes in parts: invisible from now on, and no more part of the user's sizes.
WITH words AS (
    SELECT coalesce(sum(coalesce(b.words, d.words)), 0) AS words
    FROM unnest(%b::uuid[]) AS g (id)
    LEFT JOIN memory_body b ON b.user_id = %b AND b.trace_id = g.id
    LEFT JOIN memory_digest d ON d.user_id = %b AND d.trace_id = g.id
),
gone AS (
    UPDATE memory_trace SET deleted_at = %b WHERE user_id = %b AND id = ANY(%b::uuid[]) AND deleted_at IS NULL
    RETURNING id
)
UPDATE memory_user u
SET traces = u.traces - (SELECT count(*) FROM gone), words = greatest(0, u.words - (SELECT words FROM words))
WHERE u.user_id = %b

-- name: unlink
DELETE FROM memory_edge e USING unnest(%b::uuid[]) AS g (id)
WHERE e.user_id = %b AND (e.src = g.id OR e.dst = g.id)

-- name: next_hidden
-- The next traces of a receipt that are still to go.
SELECT x.trace_id
FROM tombstone x
CROSS JOIN LATERAL (
    SELECT t.id FROM memory_trace t
    WHERE t.user_id = x.user_id AND t.id = x.trace_id AND t.deleted_at IS NOT NULL LIMIT 1
) t
WHERE x.user_id = %b AND x.receipt_id = %b AND x.trace_id > %b
ORDER BY x.trace_id
LIMIT %b

-- name: remove_vectors
DELETE FROM memory_embedding WHERE user_id = %b AND trace_id = ANY(%b::uuid[]) AND trace_id >= %b AND trace_id <= %b

-- name: remove_bodies
DELETE FROM memory_body WHERE user_id = %b AND trace_id = ANY(%b::uuid[]) AND trace_id >= %b AND trace_id <= %b

-- name: remove_hidden
DELETE FROM memory_trace WHERE user_id = %b AND id = ANY(%b::uuid[]) AND deleted_at IS NOT NULL

-- name: forget_user
DELETE FROM memory_user WHERE user_id = %b

-- name: strip_operations
-- Operations no more name what went. One that links is done when it names none that is left: without ids it would link
-- all from a trace on.
WITH gone AS MATERIALIZED (SELECT unnest(%b::uuid[]) AS id),
named AS MATERIALIZED (
    SELECT o.id FROM operation o
    WHERE o.user_id = %b AND o.kind <> %b AND (
        EXISTS (SELECT FROM unnest(o.trace_ids) AS t (id) WHERE t.id IN (SELECT g.id FROM gone g))
        OR o.payload ->> 'since' IN (SELECT g.id::text FROM gone g)
        OR (o.error IS NOT NULL AND EXISTS (SELECT FROM gone g WHERE strpos(o.error, g.id::text) > 0))
    )
    FOR UPDATE
),
left_over AS MATERIALIZED (
    SELECT o.id, ARRAY(
        SELECT t.id FROM unnest(o.trace_ids) WITH ORDINALITY AS t (id, place)
        WHERE t.id NOT IN (SELECT g.id FROM gone g) ORDER BY t.place
    ) AS trace_ids
    FROM operation o WHERE o.user_id = %b AND o.id IN (SELECT n.id FROM named n)
)
UPDATE operation o
SET trace_ids = l.trace_ids,
    -- The least id of its moment: no later trace is missed, and nobody has it.
    payload = CASE WHEN o.payload ->> 'since' IN (SELECT g.id::text FROM gone g)
                   THEN jsonb_set(o.payload, '{since}', to_jsonb(left(o.payload ->> 'since', 14) || '0000-0000-000000000000'))
                   ELSE o.payload END,
    error = CASE WHEN o.error IS NOT NULL AND EXISTS (SELECT FROM gone g WHERE strpos(o.error, g.id::text) > 0)
                 THEN NULL ELSE o.error END,
    state = CASE WHEN o.state = 'pending' AND o.kind = 'link' AND l.trace_ids = '{}' AND NOT o.payload ? 'since'
                 THEN 'done' ELSE o.state END,
    finished_at = CASE WHEN o.state = 'pending' AND o.kind = 'link' AND l.trace_ids = '{}' AND NOT o.payload ? 'since'
                       THEN %b::timestamptz ELSE o.finished_at END
FROM left_over l
WHERE o.id = l.id AND o.user_id = %b
RETURNING o.id

-- name: naming_operations
SELECT count(*) FROM operation o
WHERE o.user_id = %b AND o.kind <> %b AND (
    EXISTS (SELECT FROM unnest(o.trace_ids) AS t (id) WHERE t.id IN (SELECT unnest(%b::uuid[])))
    OR o.payload ->> 'since' IN (SELECT g.id::text FROM unnest(%b::uuid[]) AS g (id))
)

-- name: insert_receipt
INSERT INTO forget_receipt (space_id, user_id, id, scope, reason, counts, created_at, state, finished_at, wal)
VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b,
        CASE WHEN %b::text = 'done' THEN (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint END)

-- name: leave_forget
-- The operation that does the rest; it has the id of the receipt.
INSERT INTO operation (id, space_id, user_id, kind, state, payload, trace_ids, attempts, created_at)
VALUES (%b, %b, %b, %b, 'pending', '{}'::jsonb, '{}', 0, %b)
ON CONFLICT (id) DO UPDATE
SET state = 'pending', attempts = 0, error = NULL, lease_until = NULL, finished_at = NULL
WHERE operation.state IN ('done', 'failed')

-- name: unremoved
-- Traces of a receipt that a file still holds.
SELECT count(DISTINCT c.trace_id) FROM cold_removal c
JOIN tombstone x ON x.user_id = c.user_id AND x.trace_id = c.trace_id
WHERE c.user_id = %b AND x.receipt_id = %b

-- name: finish_receipt
UPDATE forget_receipt
SET state = 'done', finished_at = %b, wal = (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint
WHERE user_id = %b AND id = %b AND state = 'running'

-- name: list_receipts
SELECT id, scope, reason, counts, state, created_at, finished_at, wal FROM forget_receipt
WHERE user_id = %b AND (%b::uuid IS NULL OR id < %b::uuid)
ORDER BY id DESC
LIMIT %b

-- name: get_receipt
SELECT id, scope, reason, counts, state, created_at, finished_at, wal FROM forget_receipt WHERE user_id = %b AND id = %b

-- name: unfinished
-- As the owner, of all users: receipts whose operation was set aside, or is gone.
SELECT r.space_id, r.user_id, r.id FROM forget_receipt r
WHERE r.state = 'running' AND NOT EXISTS (
    SELECT FROM operation o WHERE o.id = r.id AND o.state IN ('pending', 'running')
)

-- name: garbage_of_space
-- As the owner: files of a space that no segment names and that are not deleted yet.
SELECT count(*) FROM cold_garbage WHERE starts_with(path, %s) AND created_at <= %s
