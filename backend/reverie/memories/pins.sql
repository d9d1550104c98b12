-- Pins. Every block names the user; row-level security stands behind.

-- name: pin
-- The text is as it was: no change is noted that would have its day dreamt again.
UPDATE memory_trace SET pinned = %b WHERE user_id = %b AND id = %b AND deleted_at IS NULL
