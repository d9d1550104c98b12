-- Operations: every accepted piece of background work. Read before the space is known: no row-level security.

-- name: insert_operation
INSERT INTO operation (id, space_id, user_id, kind, state, payload, trace_ids, attempts, created_at)
VALUES (%b, %b, %b, %b, 'pending', %b, %b, 0, %b)

-- name: get_operation
SELECT id, kind, state, attempts, error, result, created_at, started_at, finished_at, cardinality(trace_ids)
FROM operation WHERE space_id = %b AND id = %b

-- name: lease
-- Takes an operation for one attempt, unless it is finished or another worker holds it. A lease that ends later than
-- any lease was given before the clock was set back.
UPDATE operation
SET state = 'running', attempts = attempts + 1, lease_until = %b, started_at = coalesce(started_at, %b)
WHERE id = (
    SELECT id FROM operation
    WHERE id = %b AND state IN ('pending', 'running') AND attempts < %b
      AND (lease_until IS NULL OR lease_until < %b OR lease_until > %b)
    FOR UPDATE SKIP LOCKED
)
RETURNING id, space_id, user_id, kind, payload, trace_ids, attempts, started_at

-- name: extend_lease
UPDATE operation SET lease_until = %b WHERE id = %b AND attempts = %b AND state = 'running'
RETURNING id

-- name: note_result
UPDATE operation SET result = %b WHERE id = %b AND attempts = %b AND state = 'running'

-- name: finish
UPDATE operation SET state = 'done', result = %b, error = NULL, lease_until = NULL, finished_at = %b
WHERE id = %b AND attempts = %b AND state = 'running'

-- name: put_back
-- After a failure: waits for its next attempt, or is set aside after the last one.
UPDATE operation
SET state = CASE WHEN attempts >= %b THEN 'failed' ELSE 'pending' END, error = %b, lease_until = %b,
    finished_at = CASE WHEN attempts >= %b THEN %b::timestamptz END
WHERE id = %b AND attempts = %b AND state = 'running'

-- name: release
-- Nobody's fault: waits for another attempt, and this one does not count. Whoever was taken over keeps a number of its
-- own: only the holder of the last attempt gives its number back.
UPDATE operation SET state = 'pending', attempts = attempts - 1, error = %b, lease_until = %b
WHERE id = %b AND attempts = %b AND state = 'running'

-- name: left_behind
-- What the bell did not bring to a worker: waiting for a while, or held by one that is gone. What was accepted or
-- leased in a future that the clock was set back from is overdue.
SELECT id, attempts, greatest(created_at, lease_until) FROM operation
WHERE state IN ('pending', 'running') AND (created_at < %b OR created_at > %b)
  AND (lease_until IS NULL OR lease_until < %b OR lease_until > %b)
ORDER BY created_at
LIMIT %b

-- name: set_aside
-- Held by workers that died at every attempt.
UPDATE operation SET state = 'failed', error = %b, lease_until = NULL, finished_at = %b
WHERE state = 'running' AND attempts >= %b AND (lease_until < %b OR lease_until > %b)

-- name: delete_finished
-- Part by part: after weeks without a worker all at once would take longer than a statement may.
DELETE FROM operation WHERE id IN (
    SELECT id FROM operation WHERE state IN ('done', 'failed') AND finished_at < %b ORDER BY finished_at LIMIT %b
)
RETURNING 1
