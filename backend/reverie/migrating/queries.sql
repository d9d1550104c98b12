-- What was brought along. Every block names the user; row-level security by space stands behind.

-- name: count
SELECT count(*) FROM memory_trace t WHERE t.user_id = %b AND t.id = ANY(%b) AND t.deleted_at IS NULL

-- name: tables
SELECT t.id, t.source ->> 'table' FROM memory_trace t WHERE t.user_id = %b AND t.id = ANY(%b)
