-- Salience that nobody gave. Every block names the user; row-level security stands behind.

-- name: weigh
-- What was weighed before stays as it is.
UPDATE memory_trace t SET salience = w.salience
FROM unnest(%b::uuid[], %b::real[]) AS w (id, salience)
WHERE t.user_id = %b AND t.id = w.id AND NOT t.salience_given AND t.salience = 0.5 AND t.deleted_at IS NULL
RETURNING t.id
