-- Cold traces: what a search of files needs to know from here. Every block names the users; row-level security stands
-- behind.

-- name: cold_words
-- The words of a question, stemmed, in every language that the users' traces are in, as `lexical` reads them, each with
-- its place; then its phrases: [number, weight, the stems in a row], once for each language.
WITH {question}
SELECT coalesce(m.terms, '{}'), coalesce(m.places, '{}'), coalesce(p.phrases, '[]'::jsonb)
FROM meant m
CROSS JOIN (
    SELECT jsonb_agg(DISTINCT jsonb_build_array(x.n, x.weight, x.stems)) AS phrases
    FROM (
        SELECT f.n, f.weight, ARRAY(
            SELECT w.lexeme FROM unnest(to_tsvector(r.language::regconfig, f.text)) AS w, unnest(w.positions) AS k (at)
            ORDER BY k.at
        ) AS stems
        FROM unnest(%b::text[], %b::float8[]) WITH ORDINALITY AS f (text, weight, n) CROSS JOIN reading r
        WHERE r.kept
    ) AS x
    WHERE cardinality(x.stems) > CASE WHEN x.weight < 1 THEN 1 ELSE 0 END
) AS p

-- name: cold_standing
-- Which of what files hold stands and is cold now, with what fusion needs to know: neither forgotten, nor brought back,
-- nor changed since that file was written, of which the digest names another one or is gone.
SELECT uuid_send(c.user_id) || uuid_send(c.trace_id), uuid_send(c.segment_id),
       t.role, t.speaker, t.length, t.kind, t.happened_at, t.salience, t.salience_given, t.pinned, t.updated_at, t.asks,
       uuid_send(t.user_id) || uuid_send(t.follows), t.conversation_id
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[]) AS c (user_id, trace_id, segment_id)
CROSS JOIN LATERAL (
    SELECT y.segment_id FROM memory_digest y
    WHERE y.user_id = c.user_id AND y.trace_id = c.trace_id AND y.thawed_until IS NULL LIMIT 1
) d
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m
    WHERE m.user_id = c.user_id AND m.id >= c.trace_id AND m.id <= c.trace_id ORDER BY m.user_id, m.id LIMIT 1
) t
WHERE d.segment_id = c.segment_id AND t.id = c.trace_id AND t.deleted_at IS NULL
  AND (t.updated_at < %b::timestamptz) IS NOT FALSE
