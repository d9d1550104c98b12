-- What was brought along. Every block names the user; row-level security by space stands behind.

-- name: count
SELECT count(*) FROM memory_trace t
WHERE t.user_id = %b AND t.deleted_at IS NULL AND t.external_id IS NOT NULL AND t.source ->> 'table' = %b
