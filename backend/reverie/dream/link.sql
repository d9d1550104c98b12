-- Linking. Every block names the user; row-level security stands behind.

-- name: summaries
-- The summaries that the dream made of a user, with their topics.
SELECT t.id, t.conversation_id, t.provenance ->> 'day', t.meta -> 'topics'
FROM memory_trace t
WHERE t.user_id = %b AND t.provenance ? 'sources' AND t.provenance ->> 'by' = 'dream' AND t.kind = 'summary'
  AND t.deleted_at IS NULL

-- name: compared_before
-- The dream's own `similar` edges from some traces of which one end is not hot any more: what these were like was told by
-- whole vectors, of which warm rows have codes and cold ones nothing.
SELECT e.src, e.dst FROM memory_edge e
WHERE e.user_id = %b AND e.src = ANY(%b::uuid[]) AND e.type = 'similar' AND e.meta ->> 'by' = 'dream'
  AND (
      NOT EXISTS (
          SELECT FROM memory_embedding s
          WHERE s.user_id = e.user_id AND s.trace_id = e.src AND s.head = 0 AND s.model_id = {model} AND s.piece = 0
            AND s.{column} IS NOT NULL
      ) OR NOT EXISTS (
          SELECT FROM memory_embedding d
          WHERE d.user_id = e.user_id AND d.trace_id = e.dst AND d.head = 0 AND d.model_id = {model} AND d.piece = 0
            AND d.{column} IS NOT NULL
      )
  )
