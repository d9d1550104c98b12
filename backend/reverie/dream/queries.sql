-- The dream. What goes over all users is the owner's, in autocommit; all else names the user, and row-level security
-- stands behind.

-- name: take_runs
SELECT pg_try_advisory_lock(%s)

-- name: is_running
-- Whether anybody holds the lock of runs: a bigint's halves, in this database.
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND (classid::bigint << 32) | objid::bigint = %s
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)

-- name: control
-- Whether the dream rests, and whether a run is to end.
SELECT c.paused, coalesce((SELECT n.cancelled FROM dream_night n WHERE n.id = %s), false) FROM dream_control c

-- name: set_paused
UPDATE dream_control SET paused = %s WHERE paused <> %s RETURNING paused

-- name: cancel
-- The run that goes on, or rests.
UPDATE dream_night
SET cancelled = true, state = CASE state WHEN 'paused' THEN 'cancelled' ELSE state END,
    finished_at = CASE state WHEN 'paused' THEN %s::timestamptz ELSE finished_at END
WHERE state IN ('running', 'paused') AND NOT cancelled
RETURNING id

-- name: cancel_runs
UPDATE dream_run SET state = 'cancelled', finished_at = %s WHERE id = ANY(%s) AND state = 'paused'

-- name: begin_night
-- One that rested, or failed and is tried again, goes on as itself.
INSERT INTO dream_night AS n (id, state, asked, as_of, whole, started_at, seen_at)
VALUES (%s, 'running', %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE
SET state = 'running', seen_at = excluded.seen_at, finished_at = NULL, error = NULL, capped = false
WHERE n.state IN ('running', 'paused', 'failed')
RETURNING n.id

-- name: end_broken_off
-- Whoever holds the lock knows that nobody else runs.
UPDATE dream_night SET state = 'failed', error = 'It was broken off.', finished_at = seen_at
WHERE state = 'running' AND id <> %s
RETURNING id

-- name: end_broken_off_runs
UPDATE dream_run SET state = 'failed', error = 'It was broken off.', finished_at = seen_at
WHERE state IN ('running', 'paused') AND id = ANY(%s)

-- name: begin_run
-- For each space that is meant and remembers anything.
INSERT INTO dream_run (space_id, id, state, asked, started_at, seen_at)
SELECT s.id, %s, 'running', %s, %s, %s FROM space s
WHERE (%s::uuid IS NULL OR s.id = %s::uuid) AND EXISTS (SELECT FROM memory_user u WHERE u.space_id = s.id)
ON CONFLICT (space_id, id) DO UPDATE SET state = 'running', seen_at = excluded.seen_at, finished_at = NULL, error = NULL

-- name: runs_of
SELECT space_id, report FROM dream_run WHERE id = %s ORDER BY space_id

-- name: dreamt
-- Of a run in a space: days, those that failed, users.
SELECT coalesce(sum(days), 0)::bigint, coalesce(sum(failed), 0)::bigint, count(*) FROM dream_user
WHERE space_id = %b AND run_id = %b

-- name: note_night
UPDATE dream_night SET seen_at = %s WHERE id = %s

-- name: end_night
UPDATE dream_night
SET state = %s, capped = %s, error = %s, days = days + %s, failed = failed + %s, seen_at = %s, finished_at = %s
WHERE id = %s

-- name: end_run
UPDATE dream_run SET state = %s, report = %s, error = %s, seen_at = %s, finished_at = %s WHERE space_id = %s AND id = %s

-- name: watch
-- The run that goes on: how many days it has dreamt so far, and how many of them failed.
SELECT n.id, n.started_at, n.seen_at, coalesce(sum(u.days), 0)::bigint, coalesce(sum(u.failed), 0)::bigint
FROM dream_night n LEFT JOIN dream_user u ON u.run_id = n.id
WHERE n.state = 'running'
GROUP BY n.id

-- name: forget_nights
DELETE FROM dream_night WHERE started_at < %s AND state NOT IN ('running', 'paused')

-- name: forget_runs
DELETE FROM dream_run r WHERE NOT EXISTS (SELECT FROM dream_night n WHERE n.id = r.id)

-- name: last_night
SELECT id, state, asked, as_of, whole, capped, days, failed, started_at, seen_at, finished_at, error
FROM dream_night
WHERE whole ORDER BY started_at DESC LIMIT 1

-- name: get_night
SELECT id, state, asked, as_of, whole, capped, days, failed, started_at, seen_at, finished_at, error
FROM dream_night WHERE id = %s

-- name: resting
-- The run that rests for longest.
SELECT id, state, asked, as_of, whole, capped, days, failed, started_at, seen_at, finished_at, error
FROM dream_night
WHERE state = 'paused' ORDER BY started_at LIMIT 1

-- name: changed_users
-- Those of whom anything was written since all of their days were dreamt.
SELECT u.space_id, u.user_id, u.external_id, u.version, coalesce(u.time_zone, %s), u.language
FROM memory_user u
WHERE u.user_id > %s AND u.dream AND u.version IS DISTINCT FROM u.dreamt_version
  AND (%s::uuid IS NULL OR u.space_id = %s::uuid) AND (%s::uuid IS NULL OR u.user_id = %s::uuid)
ORDER BY u.user_id
LIMIT %s

-- name: all_users
SELECT u.space_id, u.user_id, u.external_id, u.version, coalesce(u.time_zone, %s), u.language
FROM memory_user u
WHERE u.user_id > %s AND u.dream
  AND (%s::uuid IS NULL OR u.space_id = %s::uuid) AND (%s::uuid IS NULL OR u.user_id = %s::uuid)
ORDER BY u.user_id
LIMIT %s

-- name: due_days
-- One pass over the thin rows of a user: of each of its days a fingerprint, which no order changes; those days that are
-- over and are not dreamt as they are now. Days before the calendar of the Common Era are nobody's.
WITH scope AS (SELECT %s::uuid AS user_id, %s::text AS zone, %s::date AS last),
there AS MATERIALIZED (
    SELECT (t.happened_at AT TIME ZONE s.zone)::date AS day, count(*) AS traces,
           int8send(count(*)) || int8send(bit_xor(uuid_hash_extended(
               t.id, coalesce((extract(epoch FROM t.updated_at) * 1000000)::bigint, 0)
           ))) AS fingerprint
    FROM scope s JOIN memory_trace t ON t.user_id = s.user_id
    WHERE t.kind IN ('turn', 'note', 'fact', 'chunk') AND t.deleted_at IS NULL AND t.happened_at >= '0001-01-03'
    GROUP BY 1
),
dreamt AS (SELECT d.* FROM scope s JOIN dream_day d ON d.user_id = s.user_id)
SELECT coalesce(t.day, d.day), coalesce(t.traces, 0)
FROM there t FULL JOIN dreamt d ON d.day = t.day, scope s
WHERE coalesce(t.day, d.day) <= s.last
  AND (t.fingerprint IS DISTINCT FROM d.fingerprint OR (d.state = 'pending' AND d.attempts <= %s)
       OR (d.state = 'failed' AND d.attempts < %s))
ORDER BY 1

-- name: due_day
-- One day of a user, dreamt or not.
SELECT %s::date, (
    SELECT count(*) FROM memory_trace t
    WHERE t.user_id = %s AND t.kind IN ('turn', 'note', 'fact', 'chunk') AND t.deleted_at IS NULL
      AND t.happened_at >= %s::date::timestamp - interval '2 days'
      AND t.happened_at < %s::date::timestamp + interval '3 days'
      AND (t.happened_at AT TIME ZONE %s)::date = %s::date
)

-- name: is_dreamt
SELECT EXISTS (SELECT FROM dream_day WHERE user_id = %s AND day = %s)

-- name: has_later
-- Whether a user has traces of days that are not over.
SELECT EXISTS (
    SELECT FROM memory_trace t
    WHERE t.user_id = %s AND t.kind IN ('turn', 'note', 'fact', 'chunk') AND t.deleted_at IS NULL
      AND t.happened_at >= %s::date::timestamp - interval '2 days' AND (t.happened_at AT TIME ZONE %s)::date > %s::date
)

-- name: days_until
-- The last day that is over in a time zone at a moment, and the day that goes on.
SELECT (%s::timestamptz AT TIME ZONE %s)::date - 1, (%s::timestamptz AT TIME ZONE %s)::date

-- name: begin_day
-- What was done of a day whose traces are still the same stays done. Its attempts begin anew where they are not.
INSERT INTO dream_day AS d (space_id, user_id, day, fingerprint, state, run_id, attempts)
SELECT %b, u.user_id, %b, %b, 'pending', %b, 1 FROM memory_user u WHERE u.user_id = %b
ON CONFLICT (user_id, day) DO UPDATE
SET state = 'pending', run_id = excluded.run_id, fingerprint = excluded.fingerprint,
    stage = CASE WHEN d.fingerprint = excluded.fingerprint AND d.state = 'pending' THEN d.stage END,
    attempts = CASE WHEN d.fingerprint = excluded.fingerprint AND d.state <> 'done' THEN d.attempts + 1 ELSE 1 END
RETURNING stage, attempts

-- name: checkpoint
-- Nothing where another run has taken the day over. Who comes on is not one who is killed again and again. Behind a
-- stage that failed the checkpoint stays where it is.
UPDATE dream_day SET stage = coalesce(%b, stage), attempts = CASE WHEN %b::text IS NULL THEN attempts ELSE 1 END
WHERE user_id = %b AND day = %b AND run_id = %b
RETURNING day

-- name: leave_day
-- It was nobody's fault: this attempt does not count.
UPDATE dream_day SET attempts = greatest(0, attempts - 1) WHERE user_id = %b AND day = %b AND run_id = %b

-- name: end_day
UPDATE dream_day SET state = %b, stage = NULL, attempts = %b, error = %b, dreamt_at = %b
WHERE user_id = %b AND day = %b AND run_id = %b
RETURNING day

-- name: drop_day
-- Nothing is left of it.
DELETE FROM dream_day WHERE user_id = %b AND day = %b AND run_id = %b RETURNING day

-- name: note_user
INSERT INTO dream_user AS d (space_id, user_id, run_id, days, failed, first_day, last_day)
SELECT %b, u.user_id, %b, 1, %b, %b, %b FROM memory_user u WHERE u.user_id = %b
ON CONFLICT (user_id, run_id) DO UPDATE
SET days = d.days + 1, failed = d.failed + excluded.failed, first_day = least(d.first_day, excluded.first_day),
    last_day = greatest(d.last_day, excluded.last_day)

-- name: note_stage
-- What a stage of a run did so far, in all: only one writes it.
INSERT INTO dream_stage (space_id, run_id, stage, place, state, saw, made, moved, removed, skipped, seconds, bytes, model,
                         tokens, error)
VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
ON CONFLICT (space_id, run_id, stage) DO UPDATE
SET state = excluded.state, saw = excluded.saw, made = excluded.made, moved = excluded.moved,
    removed = excluded.removed, skipped = excluded.skipped, seconds = excluded.seconds, bytes = excluded.bytes,
    model = excluded.model, tokens = excluded.tokens, error = excluded.error

-- name: stages_of
SELECT stage, state, saw, made, moved, removed, skipped, seconds, bytes, model, tokens, error FROM dream_stage
WHERE space_id = %b AND run_id = %b ORDER BY place

-- name: tokens_of_others
-- What language models took for a space in other runs since a moment.
SELECT coalesce(sum(s.tokens), 0)::bigint
FROM dream_run r JOIN dream_stage s ON s.space_id = r.space_id AND s.run_id = r.id
WHERE r.space_id = %b AND r.id <> %b AND r.started_at >= %b

-- name: through
-- A user of whom no day is left, unless somebody else has written meanwhile.
UPDATE memory_user SET dreamt_version = version
WHERE space_id = %b AND user_id = %b AND version = %b AND dreamt_version IS DISTINCT FROM version

-- name: day_traces
-- The turns, notes, facts and chunks of a day with their texts, and with each the fingerprint of all. A day may begin
-- twice, where clocks are set back at midnight: so it is not a range of moments.
SELECT t.id, t.kind, t.role, t.speaker, t.conversation_id, t.language, t.created_at, t.happened_at, t.updated_at,
       t.salience, t.salience_given, t.pinned, t.meta, t.traces, t.fingerprint,
       (SELECT left(b.content, %b) FROM memory_body b WHERE b.user_id = t.user_id AND b.trace_id = t.id)
FROM (
    SELECT t.*, count(*) OVER () AS traces,
           int8send(count(*) OVER ()) || int8send(bit_xor(uuid_hash_extended(
               t.id, coalesce((extract(epoch FROM t.updated_at) * 1000000)::bigint, 0)
           )) OVER ()) AS fingerprint
    FROM memory_trace t
    WHERE t.user_id = %b AND t.kind IN ('turn', 'note', 'fact', 'chunk') AND t.deleted_at IS NULL
      AND t.happened_at >= %b AND t.happened_at < %b AND (t.happened_at AT TIME ZONE %b)::date = %b
) t
ORDER BY t.happened_at, t.id
LIMIT %b

-- name: aside
SELECT a.stage, a.trace_id FROM dream_aside a
JOIN memory_trace t ON t.user_id = a.user_id AND t.id = a.trace_id
WHERE a.user_id = %b AND a.trace_id = ANY(%b::uuid[]) AND t.updated_at IS NOT DISTINCT FROM a.changed_at

-- name: set_aside
INSERT INTO dream_aside (space_id, user_id, trace_id, stage, changed_at, error, created_at)
SELECT t.space_id, t.user_id, t.id, %b, %b, %b, %b FROM memory_trace t WHERE t.user_id = %b AND t.id = %b
ON CONFLICT (user_id, trace_id, stage) DO UPDATE
SET changed_at = excluded.changed_at, error = excluded.error, created_at = excluded.created_at

-- name: as_they_were
-- How many are still as they were read; the user is locked.
SELECT count(*) FROM unnest(%b::uuid[], %b::timestamptz[]) AS r (id, updated_at)
JOIN memory_trace t ON t.user_id = %b AND t.id = r.id
WHERE t.deleted_at IS NULL AND t.updated_at IS NOT DISTINCT FROM r.updated_at

-- name: earlier_texts
-- The beginnings of what stands before a day, the latest first: of conversations, and of each day what is in none.
SELECT t.conversation_id, (t.happened_at AT TIME ZONE %b)::date, t.id, t.speaker, t.role, b.text, t.language
FROM memory_trace t
CROSS JOIN LATERAL (
    SELECT left(y.content, %b) AS text FROM memory_body y WHERE y.user_id = t.user_id AND y.trace_id = t.id LIMIT 1
) b
WHERE t.user_id = %b AND t.happened_at < %b AND (t.happened_at AT TIME ZONE %b)::date < %b
  AND t.kind IN ('turn', 'note', 'fact', 'chunk') AND t.deleted_at IS NULL
ORDER BY t.happened_at DESC, t.id DESC
LIMIT %b

-- name: dreams
-- Whether a user dreams, and its time zone.
SELECT dream, time_zone FROM memory_user WHERE user_id = %b

-- name: list_runs
SELECT r.id, r.state, r.asked ->> 'day', u.external_id, r.started_at, r.seen_at, r.finished_at, r.report, r.error
FROM dream_run r LEFT JOIN memory_user u ON u.user_id = (r.asked ->> 'user_id')::uuid
WHERE r.space_id = %b AND (%b::uuid IS NULL OR r.id < %b::uuid)
ORDER BY r.id DESC
LIMIT %b

-- name: get_run
SELECT r.id, r.state, r.asked ->> 'day', u.external_id, r.started_at, r.seen_at, r.finished_at, r.report, r.error
FROM dream_run r LEFT JOIN memory_user u ON u.user_id = (r.asked ->> 'user_id')::uuid
WHERE r.space_id = %b AND r.id = %b

-- name: users_of
SELECT u.external_id, d.days, d.failed, d.first_day, d.last_day
FROM dream_user d JOIN memory_user u ON u.user_id = d.user_id
WHERE d.space_id = %b AND d.run_id = %b
ORDER BY d.days DESC, u.external_id
LIMIT %b

-- name: next_users_of
SELECT user_id FROM dream_user WHERE space_id = %b AND run_id = %b AND user_id > %b ORDER BY user_id LIMIT %b

-- name: undone
UPDATE dream_run SET state = 'undone' WHERE space_id = %b AND id = %b
