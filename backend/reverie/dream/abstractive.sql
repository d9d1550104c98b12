-- name: told
-- The summaries of a day that a language model wrote and that say what it wrote, with their texts; of one that lies in a
-- file, without: it stays there. Their time lies near the day, in whatever time zone that was.
SELECT t.provenance ->> 'identity', t.provenance ->> 'asked', coalesce(b.content, ''), t.meta ->> 'sentence',
       t.meta ->> 'short', t.provenance -> 'sources'
FROM memory_trace t
LEFT JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id
WHERE t.user_id = %b AND t.happened_at >= %b AND t.happened_at < %b AND t.deleted_at IS NULL AND t.kind = 'summary'
  AND t.provenance ->> 'by' = 'dream' AND t.provenance ->> 'day' = %b AND t.provenance ? 'model'
  AND t.provenance ->> 'digest' = encode(t.digest, 'hex')
