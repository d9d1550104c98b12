-- Keys and spaces. Read before the space is known, so these tables have no row-level security.

-- name: find_key
SELECT k.id, k.space_id, k.scopes, s.identity_key
FROM api_key k JOIN space s ON s.id = k.space_id
WHERE k.hash = %b AND k.revoked_at IS NULL

-- name: insert_space
INSERT INTO space (id, name, identity_key, created_at) VALUES (%b, %b, %b, %b)
ON CONFLICT (name) DO NOTHING
RETURNING id

-- name: find_space
SELECT id, identity_key FROM space WHERE name = %b

-- name: insert_key
INSERT INTO api_key (id, space_id, name, prefix, hash, scopes, created_at) VALUES (%b, %b, %b, %b, %b, %b, %b)

-- name: list_keys
SELECT id, name, prefix, scopes, created_at, revoked_at
FROM api_key
WHERE space_id = %b AND (%b::uuid IS NULL OR id < %b::uuid)
ORDER BY id DESC
LIMIT %b

-- name: revoke_key
UPDATE api_key SET revoked_at = coalesce(revoked_at, %b) WHERE space_id = %b AND id = %b
RETURNING hash
