-- Idempotency-Key: one row for each key of a space, kept 24 hours.

-- name: claim_key
-- A row that was claimed and never answered (its process died) is claimed again after its lease, or at once when that
-- ends later than any lease: the clock was set back meanwhile. `created_at` says whose claim it is.
INSERT INTO idempotency_key AS i (space_id, key, request_hash, locked_until, created_at)
VALUES (%b, %b, %b, %b, %b)
ON CONFLICT (space_id, key) DO UPDATE
SET request_hash = excluded.request_hash, locked_until = excluded.locked_until, created_at = excluded.created_at,
    status = NULL, response = NULL, user_id = NULL
WHERE i.created_at < %b OR (i.status IS NULL AND (i.locked_until < excluded.created_at OR i.locked_until > %b))
RETURNING created_at

-- name: find_claim
SELECT request_hash, status, response FROM idempotency_key WHERE space_id = %b AND key = %b

-- name: keep_answer
UPDATE idempotency_key SET status = %b, response = %b, user_id = %b
WHERE space_id = %b AND key = %b AND status IS NULL AND created_at = %b
RETURNING key

-- name: extend_claim
UPDATE idempotency_key SET locked_until = %b WHERE space_id = %b AND key = %b AND status IS NULL AND created_at = %b

-- name: release_key
DELETE FROM idempotency_key WHERE space_id = %b AND key = %b AND status IS NULL AND created_at = %b

-- name: delete_old_keys
DELETE FROM idempotency_key WHERE created_at < %b

-- name: answers_of
SELECT space_id, key, response FROM idempotency_key WHERE user_id = %b AND response IS NOT NULL FOR UPDATE

-- name: change_answer
UPDATE idempotency_key SET response = %b WHERE space_id = %b AND key = %b AND user_id = %b
