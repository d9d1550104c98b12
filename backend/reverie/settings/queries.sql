-- What an admin has set of the models. It is the whole store's and belongs to no space; rows are added, never changed.

-- name: newest
SELECT s.version, s.saved_at, s.saved_by, k.name, s.changed, s.restored, s.operation_id,
       language_model_url, language_model, language_model_max_tokens_per_night, embedding_model, embedding_dim,
       embedding_precision, embedding_url, rerank_model, rerank_url,
       language_model_api_key, embedding_api_key, rerank_api_key
FROM ai_settings s LEFT JOIN api_key k ON k.id = s.saved_by
ORDER BY s.version DESC
LIMIT 1

-- name: page
SELECT s.version, s.saved_at, s.saved_by, k.name, s.changed, s.restored, s.operation_id,
       language_model_url, language_model, language_model_max_tokens_per_night, embedding_model, embedding_dim,
       embedding_precision, embedding_url, rerank_model, rerank_url,
       language_model_api_key, embedding_api_key, rerank_api_key
FROM ai_settings s LEFT JOIN api_key k ON k.id = s.saved_by
WHERE s.version < coalesce(%b::integer, 2147483647)
ORDER BY s.version DESC
LIMIT %b

-- name: embeddings
-- The newest version of each embedding model that was ever set, the newest first.
SELECT * FROM (
    SELECT DISTINCT ON (embedding_model, embedding_dim, embedding_precision, embedding_url, embedding_api_key)
           s.version, s.saved_at, s.saved_by, NULL, s.changed, s.restored, s.operation_id,
           language_model_url, language_model, language_model_max_tokens_per_night, embedding_model, embedding_dim,
           embedding_precision, embedding_url, rerank_model, rerank_url,
           language_model_api_key, embedding_api_key, rerank_api_key
    FROM ai_settings s
    ORDER BY embedding_model, embedding_dim, embedding_precision, embedding_url, embedding_api_key, version DESC
) AS d
ORDER BY version DESC
LIMIT 50

-- name: append
-- No row comes back where another version was saved meanwhile.
INSERT INTO ai_settings (version, saved_at, saved_by, changed, restored, operation_id,
                         language_model_url, language_model, language_model_max_tokens_per_night, embedding_model,
                         embedding_dim, embedding_precision, embedding_url, rerank_model, rerank_url,
                         language_model_api_key, embedding_api_key, rerank_api_key)
SELECT %b::integer, %b::timestamptz, %b::uuid, %b::text[], %b::integer, %b::uuid, %b::text, %b::text, %b::integer,
       %b::text, %b::integer, %b::text, %b::text, %b::text, %b::text, %b::bytea, %b::bytea, %b::bytea
WHERE (SELECT coalesce(max(version), 0) FROM ai_settings) = %b::integer
ON CONFLICT (version) DO NOTHING
RETURNING version

-- name: standing
-- The newest version, and the model that questions are asked of: by both a process sees that it has to go over.
SELECT (SELECT coalesce(max(version), 0) FROM ai_settings), (SELECT id FROM model WHERE active)

-- name: active
SELECT id, name, dim, precision FROM model WHERE active

-- name: is_used
-- By the owner: whether the store holds any vectors, or is about to.
SELECT EXISTS (SELECT FROM memory_embedding) OR EXISTS (SELECT FROM reembedding)

-- name: change
-- The change of the model that is under way, if one is.
SELECT m.name, m.dim, m.precision, r.state, r.traces, r.total FROM reembedding r JOIN model m ON m.id = r.model_id LIMIT 1

-- name: operation
SELECT state, error FROM operation WHERE id = %b

-- name: keeper_space
SELECT id FROM space WHERE name = %b
