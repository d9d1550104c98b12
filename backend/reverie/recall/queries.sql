-- Recall: the arms and what they are joined with. Every block names the users; row-level security stands behind.
-- {clauses} are the bounds that a question has (recall/bounds.py), each with its parameters.

-- name: vectors
-- The vectors of the users that are nearest. With {vector} the bare column, every one is read, index-only from the
-- covering index of the model; with the cast that the HNSW index has, the scan of that goes on until enough rows pass
-- the bounds.
-- What fusion needs to know of each candidate comes along, one look-up a key, whatever the statistics say: as a plain
-- join, a plan made when the table was nearly empty starts from all traces of the store. The order within, which only
-- the primary key has, keeps it from other indexes on the user.
SELECT uuid_send(n.user_id) || uuid_send(n.trace_id), 1 - n.distance, t.role, t.speaker, t.length, t.kind, t.happened_at
FROM (
    SELECT user_id, trace_id, {vector} <=> %b AS distance
    FROM memory_embedding
    WHERE model_id = {model} AND user_id = ANY(%b) AND head = ANY(%b) {clauses}
    ORDER BY distance
    LIMIT %b
) n
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m
    WHERE m.user_id = n.user_id AND m.id >= n.trace_id ORDER BY m.user_id, m.id LIMIT 1
) t
WHERE t.id = n.trace_id AND t.deleted_at IS NULL

-- name: hnsw_settings
SELECT set_config('hnsw.ef_search', '200', true), set_config('hnsw.iterative_scan', 'strict_order', true)

-- name: lexical
-- Exact BM25 over the words of the users; the function is the definer's, so that the GIN index may be used.
SELECT uuid_send(r.user_id) || uuid_send(r.trace_id), r.score, t.role, t.speaker, t.length, t.kind, t.happened_at,
       r.idf_mass
FROM (SELECT coalesce(sum(traces), 0)::bigint AS traces, coalesce(sum(words), 0)::bigint AS words
      FROM memory_user WHERE user_id = ANY(%b)) u
CROSS JOIN LATERAL reverie_bm25(
    %b, tsvector_to_array(to_tsvector(%b::regconfig, %b)), %b::smallint[], %b::timestamptz, %b::timestamptz, %b::uuid,
    %b::uuid[], u.traces, u.words, %b, %b, %b, %b
) r
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m
    WHERE m.user_id = r.user_id AND m.id >= r.trace_id ORDER BY m.user_id, m.id LIMIT 1
) t
WHERE t.id = r.trace_id AND t.deleted_at IS NULL

-- name: matching
-- The traces that pass the rarer filters, before the arms run.
SELECT id FROM memory_trace
WHERE user_id = ANY(%b) AND deleted_at IS NULL {clauses}

-- name: candidates
-- What fusion needs to know of traces that came another way than by an arm above.
SELECT uuid_send(c.user_id) || uuid_send(c.trace_id), 0, t.role, t.speaker, t.length, t.kind, t.happened_at
FROM unnest(%b::uuid[], %b::uuid[]) AS c (user_id, trace_id)
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m
    WHERE m.user_id = c.user_id AND m.id >= c.trace_id ORDER BY m.user_id, m.id LIMIT 1
) t
WHERE t.id = c.trace_id AND t.deleted_at IS NULL

-- name: results
-- The rows of what is answered, looked up in the same manner.
SELECT uuid_send(c.user_id) || uuid_send(c.id), u.external_id, t.external_id, b.content, t.kind, t.role, t.speaker,
       t.conversation_id, t.created_at, t.occurred_at, t.salience, t.meta
FROM unnest(%b::uuid[], %b::uuid[]) AS c (user_id, id)
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m WHERE m.user_id = c.user_id AND m.id >= c.id ORDER BY m.user_id, m.id LIMIT 1
) t
CROSS JOIN LATERAL (SELECT n.external_id FROM memory_user n WHERE n.user_id = c.user_id LIMIT 1) u
CROSS JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = c.user_id AND y.trace_id = c.id LIMIT 1
) b
WHERE t.id = c.id AND t.deleted_at IS NULL

-- name: edges
SELECT user_id, src, dst, type, weight FROM memory_edge
WHERE user_id = ANY(%b) AND src = ANY(%b) AND dst = ANY(%b)
