-- The secrets that a store needs, by their fingerprints. They belong to no space and no user.

-- name: fingerprints
SELECT fingerprint FROM store_secret

-- name: register
-- In the transaction of the first hash that is made with it.
INSERT INTO store_secret (fingerprint, created_at) VALUES (%b, %b) ON CONFLICT DO NOTHING

-- name: give_up
-- As the owner, like the one below.
DELETE FROM store_secret WHERE fingerprint = ANY(%b)

-- name: buried
-- Of all users: how many traces are recognised.
SELECT count(*) FROM tombstone WHERE hash IS NOT NULL
