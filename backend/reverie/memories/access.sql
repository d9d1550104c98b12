-- How often traces were recalled. Every block names the user; row-level security stands behind.

-- name: add_recalls
-- Of what was forgotten meanwhile nothing is noted. No version is raised: what a trace says is as it was.
INSERT INTO memory_access AS a (space_id, user_id, trace_id, recalls, last_at)
SELECT t.space_id, t.user_id, t.id, g.recalls, g.last_at
FROM unnest(%b::uuid[], %b::integer[], %b::timestamptz[]) AS g (id, recalls, last_at)
CROSS JOIN LATERAL (
    SELECT m.space_id, m.user_id, m.id FROM memory_trace m
    WHERE m.user_id = %b AND m.id = g.id AND m.deleted_at IS NULL FOR KEY SHARE
) t
ORDER BY g.id
ON CONFLICT (user_id, trace_id) DO UPDATE
SET recalls = least(a.recalls::bigint + excluded.recalls, 2147483647)::integer,
    last_at = greatest(a.last_at, excluded.last_at)
