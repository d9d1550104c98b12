-- What was made of other traces. Every block names the user; row-level security stands behind.

-- name: derived_from
-- One step: by the edges that lead to these traces, and by what the provenance of others names.
SELECT e.src FROM memory_edge e WHERE e.user_id = %b AND e.dst = ANY(%b::uuid[]) AND e.type = 'summary_of'
UNION
SELECT t.id FROM memory_trace t
WHERE t.user_id = %b AND t.provenance ? 'sources' AND t.deleted_at IS NULL AND EXISTS (
    SELECT FROM jsonb_array_elements_text(
        CASE jsonb_typeof(t.provenance -> 'sources') WHEN 'array' THEN t.provenance -> 'sources' ELSE '[]' END
    ) AS s (id)
    WHERE lower(s.id) IN (SELECT g.id::text FROM unnest(%b::uuid[]) AS g (id))
)

-- name: note_derived
-- With the sources that stand and do not go.
INSERT INTO rebuild AS r (space_id, user_id, trace_id, reason, kind, identity, sources, created_at)
SELECT t.space_id, t.user_id, t.id, x.reason, t.kind, t.identity, s.sources, x.now
FROM (SELECT %b::timestamptz AS now, %b::text AS reason) x
CROSS JOIN unnest(%b::uuid[]) AS d (id)
JOIN memory_trace t ON t.user_id = %b AND t.id = d.id
CROSS JOIN LATERAL (
    SELECT array_agg(m.id ORDER BY m.id) AS sources
    FROM (
        SELECT e.dst AS id FROM memory_edge e
        WHERE e.user_id = t.user_id AND e.src = t.id AND e.type = 'summary_of'
        UNION
        -- Somebody else may have written anything there.
        SELECT CASE WHEN p.id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN p.id::uuid END
        FROM jsonb_array_elements_text(
            CASE jsonb_typeof(t.provenance -> 'sources') WHEN 'array' THEN t.provenance -> 'sources' ELSE '[]' END
        ) AS p (id)
    ) n
    JOIN memory_trace m ON m.user_id = %b AND m.id = n.id
    WHERE m.deleted_at IS NULL AND m.id NOT IN (SELECT unnest(%b::uuid[]))
) s
WHERE s.sources IS NOT NULL AND t.user_id = %b
ON CONFLICT (user_id, trace_id) DO UPDATE
SET reason = excluded.reason, sources = excluded.sources, created_at = excluded.created_at

-- name: drop_sources
UPDATE rebuild r
SET sources = ARRAY(SELECT s.id FROM unnest(r.sources) AS s (id) WHERE s.id NOT IN (SELECT unnest(%b::uuid[])))
WHERE r.user_id = %b AND EXISTS (
    SELECT FROM unnest(r.sources) AS s (id) WHERE s.id IN (SELECT unnest(%b::uuid[]))
)

-- name: drop_noted
-- What has no source left, and what was to be made anew because of a change and goes itself.
DELETE FROM rebuild r
WHERE r.user_id = %b AND (r.sources = '{}' OR (r.reason = 'changed' AND r.trace_id = ANY(%b::uuid[])))
