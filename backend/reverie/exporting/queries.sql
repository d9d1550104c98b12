-- All that is held about a user, page by page; every block names the user. What is being forgotten is gone already.

-- name: known
-- Whether there is anything of a user at all: after a forget of everything, the receipts are.
SELECT EXISTS (SELECT FROM memory_user u WHERE u.user_id = %b)
    OR EXISTS (SELECT FROM forget_receipt r WHERE r.user_id = %b)

-- name: user
SELECT user_id, external_id, kind, traces, words, languages, version, created_at, updated_at, time_zone, language,
       half_lives, dream
FROM memory_user WHERE user_id = %b

-- name: traces
-- The next traces, with as much text as one page takes and at least one; of a cold one there is no content here.
SELECT p.id, p.external_id, b.content, p.kind, p.role, p.speaker, p.conversation_id, p.language, p.created_at,
       p.occurred_at, p.happened_at, p.updated_at, p.expires_at, p.salience, p.salience_given, p.pinned, p.vectors,
       p.supplied, p.source, p.meta, p.provenance, p.follows
FROM (
    SELECT n.*, sum(n.length) OVER (ORDER BY n.id) - n.length AS before
    FROM (
        SELECT * FROM memory_trace t
        WHERE t.user_id = %b AND t.id > %b AND t.deleted_at IS NULL
        ORDER BY t.user_id, t.id LIMIT %b
    ) n
) p
LEFT JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = %b AND y.trace_id = p.id LIMIT 1
) b ON true
WHERE p.before < %b
ORDER BY p.id

-- name: still
-- What of these stands at this moment: one may have been forgotten, or come back from where it was cold, since it was
-- read.
SELECT t.id, b.content FROM memory_trace t
LEFT JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = %b AND y.trace_id = t.id LIMIT 1
) b ON true
WHERE t.user_id = %b AND t.id = ANY(%b) AND t.deleted_at IS NULL

-- name: segments_of
-- Which file holds which of these traces, of those that are cold.
SELECT trace_id, segment_id FROM memory_digest WHERE user_id = %b AND trace_id = ANY(%b)

-- name: vectors
-- Of some traces, as they lie here: a vector, or codes where it is warm.
SELECT e.trace_id, m.name, m.dim, e.head, e.piece, e.begins, e.ends, e.vec, e.vec_fp32, e.codes, e.bits
FROM memory_embedding e JOIN model m ON m.id = e.model_id
WHERE e.user_id = %b AND e.trace_id = ANY(%b)
ORDER BY e.user_id, e.trace_id, e.head, e.model_id, e.piece

-- name: edges
SELECT src, dst, type, weight, ts, meta FROM memory_edge
WHERE user_id = %b AND (src, dst, type) > (%b::uuid, %b::uuid, %b::text)
ORDER BY user_id, src, dst, type LIMIT %b

-- name: dismissals
-- Suggestions that were dismissed.
SELECT trace_id, other_id, created_at FROM memory_dismissal
WHERE user_id = %b AND (trace_id, other_id) > (%b::uuid, %b::uuid) ORDER BY user_id, trace_id, other_id LIMIT %b

-- name: receipts
SELECT id, scope, reason, counts, state, created_at, finished_at FROM forget_receipt
WHERE user_id = %b AND id > %b ORDER BY user_id, id LIMIT %b

-- name: tombstones
-- What keeps a forgotten trace from coming back: no text, and no hash that says anything without the key.
SELECT trace_id, receipt_id, created_at FROM tombstone
WHERE user_id = %b AND trace_id > %b ORDER BY user_id, trace_id LIMIT %b

-- name: accesses
-- How often traces were recalled.
SELECT trace_id, recalls, last_at FROM memory_access
WHERE user_id = %b AND trace_id > %b ORDER BY user_id, trace_id LIMIT %b

-- name: days
-- Which days are dreamt.
SELECT day, state, dreamt_at, error FROM dream_day
WHERE user_id = %b AND day > %b ORDER BY user_id, day LIMIT %b

-- name: asides
-- Traces that a stage of the dream cannot take.
SELECT trace_id, stage, error, created_at FROM dream_aside
WHERE user_id = %b AND (trace_id, stage) > (%b::uuid, %b::text) ORDER BY user_id, trace_id, stage LIMIT %b

-- name: rebuilds
SELECT trace_id, reason, kind, sources, created_at FROM rebuild
WHERE user_id = %b AND trace_id > %b ORDER BY user_id, trace_id LIMIT %b

-- name: operations
SELECT id, kind, state, payload, trace_ids, result, error, attempts, created_at, started_at, finished_at FROM operation
WHERE space_id = %b AND user_id = %b AND id > %b ORDER BY id LIMIT %b

-- name: answers
-- What was answered to an Idempotency-Key about the user's traces; kept for a day.
SELECT key, status, response, created_at FROM idempotency_key
WHERE space_id = %b AND user_id = %b AND key > %b::text ORDER BY key LIMIT %b
