-- Segments, what stays of the traces in them, and what has to be taken out of them or off the storage.

-- name: segments_of
-- Visible segments that may hold traces of these users, with ids from (inclusive) to (exclusive).
SELECT s.id, s.space_id, s.month, s.model_id, s.state, s.path, s.checksum, s.bytes, s.traces, s.rows, s.first_user,
       s.last_user, s.lower, s.upper, s.damage
FROM cold_segment s
WHERE s.space_id = %b AND s.state = 'visible'
  AND EXISTS (SELECT FROM unnest(%b::uuid[]) AS u (user_id) WHERE u.user_id BETWEEN s.first_user AND s.last_user)
  AND (%b::uuid IS NULL OR s.upper > %b::uuid) AND (%b::uuid IS NULL OR s.lower < %b::uuid)
ORDER BY s.month DESC, s.id

-- name: places
-- In which segment each of these traces lies; those that are not cold, or are thawed, do not come back.
SELECT d.user_id, d.trace_id, s.id, s.space_id, s.month, s.model_id, s.state, s.path, s.checksum, s.bytes, s.traces,
       s.rows, s.first_user, s.last_user, s.lower, s.upper, s.damage
FROM unnest(%b::uuid[], %b::uuid[]) AS g (user_id, trace_id)
CROSS JOIN LATERAL (
    SELECT * FROM memory_digest m WHERE m.user_id = g.user_id AND m.trace_id = g.trace_id OFFSET 0
) d
JOIN cold_segment s ON s.id = d.segment_id
WHERE d.thawed_until IS NULL AND s.state = 'visible'

-- name: note_damage
-- Unless the file was replaced meanwhile.
UPDATE cold_segment SET damage = %b, checked_at = %b WHERE id = %b AND path = %b

-- name: segment
SELECT id, space_id, month, model_id, state, path, checksum, bytes, traces, rows, first_user, last_user, lower, upper,
       damage
FROM cold_segment
WHERE id = %s

-- name: to_check
SELECT id, space_id, month, model_id, state, path, checksum, bytes, traces, rows, first_user, last_user, lower, upper,
       damage
FROM cold_segment
ORDER BY checked_at NULLS FIRST, id
LIMIT %s

-- name: note_garbage
INSERT INTO cold_garbage (path, created_at) VALUES (%s, %s) ON CONFLICT DO NOTHING

-- name: no_garbage
DELETE FROM cold_garbage WHERE path = %s

-- name: garbage
SELECT g.path FROM cold_garbage g
WHERE NOT EXISTS (SELECT FROM cold_segment s WHERE s.path = g.path)
ORDER BY g.created_at

-- name: is_named
SELECT FROM cold_segment WHERE path = %s

-- name: try_hold
-- Who writes to a path, or rewrites a segment, holds it until he is done or his session ends.
SELECT pg_try_advisory_lock(hashtextextended(%s, 7))

-- name: let_go
SELECT pg_advisory_unlock(hashtextextended(%s, 7))

-- name: add_segment
INSERT INTO cold_segment (id, space_id, month, model_id, state, path, checksum, bytes, traces, rows, first_user,
                          last_user, lower, upper, created_at, checked_at)
VALUES (%s, %s, %s, %s, 'written', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)

-- name: make_given
CREATE TEMPORARY TABLE cold_given (user_id uuid, trace_id uuid, sentence text, minhash bytea, words integer) ON COMMIT DROP

-- name: give
COPY cold_given (user_id, trace_id, sentence, minhash, words) FROM STDIN (FORMAT BINARY)

-- name: add_digests
-- FOR SHARE makes whoever is about to forget or change a trace wait: the digest is there for him, and its removal is
-- noted when it goes. Of those that somebody has already the removal is noted here: waited for, he might wait for us
-- at another. What lay in another segment before has to leave that one.
WITH held AS MATERIALIZED (
    SELECT t.space_id, t.user_id, t.id
    FROM cold_given g JOIN memory_trace t ON t.user_id = g.user_id AND t.id = g.trace_id
    WHERE t.deleted_at IS NULL
    FOR SHARE OF t SKIP LOCKED
),
before AS (
    INSERT INTO cold_removal (space_id, user_id, trace_id, segment_id, created_at)
    SELECT d.space_id, d.user_id, d.trace_id, d.segment_id, %s
    FROM cold_given g JOIN memory_digest d ON d.user_id = g.user_id AND d.trace_id = g.trace_id
    WHERE d.segment_id <> %s
    ON CONFLICT DO NOTHING
),
gone AS (
    INSERT INTO cold_removal (space_id, user_id, trace_id, segment_id, created_at)
    SELECT %s, g.user_id, g.trace_id, %s, %s
    FROM cold_given g LEFT JOIN held h ON h.user_id = g.user_id AND h.id = g.trace_id
    WHERE h.id IS NULL
    ON CONFLICT DO NOTHING
)
INSERT INTO memory_digest (space_id, user_id, trace_id, segment_id, sentence, minhash, words)
SELECT h.space_id, h.user_id, h.id, %s, g.sentence, g.minhash, g.words
FROM held h JOIN cold_given g ON g.user_id = h.user_id AND g.trace_id = h.id
ON CONFLICT (user_id, trace_id) DO UPDATE
SET segment_id = excluded.segment_id, sentence = excluded.sentence, minhash = excluded.minhash, words = excluded.words,
    thawed_until = NULL

-- name: show
UPDATE cold_segment SET state = 'visible' WHERE id = ANY (%s) AND state = 'written'

-- name: leave_out
DELETE FROM memory_digest d USING unnest(%s::uuid[], %s::uuid[]) AS g (user_id, trace_id)
WHERE d.user_id = g.user_id AND d.trace_id = g.trace_id

-- name: unfinished
SELECT id, space_id, month, model_id, state, path, checksum, bytes, traces, rows, first_user, last_user, lower, upper,
       damage
FROM cold_segment WHERE state = 'written'

-- name: hold_written
SELECT FROM cold_segment WHERE id = %s AND state = 'written' FOR UPDATE

-- name: share_written
SELECT FROM cold_segment WHERE id = %s AND state = 'written' FOR SHARE

-- name: drop_digests
DELETE FROM memory_digest
WHERE user_id BETWEEN %s AND %s AND trace_id >= %s AND trace_id < %s AND segment_id = %s

-- name: drop_segment
DELETE FROM cold_segment WHERE id = %s

-- name: drop_removals
-- After its digests, which are noted when they go.
DELETE FROM cold_removal WHERE segment_id = %s

-- name: lost_removals
-- Of segments that there are no more.
DELETE FROM cold_removal r WHERE NOT EXISTS (SELECT FROM cold_segment s WHERE s.id = r.segment_id)

-- name: to_rewrite
-- Segments that hold what they must not; the spaces and users of the removals that are waited for, if any are named.
SELECT DISTINCT r.segment_id FROM cold_removal r
JOIN cold_segment s ON s.id = r.segment_id AND s.state = 'visible'
WHERE %s::uuid IS NULL OR r.user_id = %s::uuid

-- name: removals
SELECT trace_id FROM cold_removal WHERE segment_id = %s

-- name: replace_segment
UPDATE cold_segment
SET path = %s, checksum = %s, bytes = %s, traces = %s, rows = %s, first_user = %s, last_user = %s, lower = %s,
    upper = %s, checked_at = %s, damage = NULL
WHERE id = %s AND path = %s
RETURNING id

-- name: removed
DELETE FROM cold_removal WHERE segment_id = %s AND trace_id = ANY (%s)

-- name: left
SELECT count(*) FROM cold_removal r JOIN cold_segment s ON s.id = r.segment_id
WHERE s.damage IS DISTINCT FROM %s AND (%s::uuid IS NULL OR r.user_id = %s::uuid)

-- name: named
SELECT path FROM cold_segment UNION ALL SELECT path FROM cold_garbage
