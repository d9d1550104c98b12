-- What is forgotten by itself. The settings belong to a space; what is due is looked for user by user.

-- name: get
SELECT ttl_days, max_traces_per_user, salience_floor, updated_at FROM retention WHERE space_id = %b

-- name: put
INSERT INTO retention (space_id, ttl_days, max_traces_per_user, salience_floor, updated_at) VALUES (%b, %b, %b, %b, %b)
ON CONFLICT (space_id) DO UPDATE
SET ttl_days = excluded.ttl_days, max_traces_per_user = excluded.max_traces_per_user,
    salience_floor = excluded.salience_floor, updated_at = excluded.updated_at

-- name: spaces
-- By the owner: every space that remembers anything, with what it has set for itself.
SELECT s.id, r.ttl_days, r.max_traces_per_user, r.salience_floor, r.updated_at
FROM space s LEFT JOIN retention r ON r.space_id = s.id
WHERE EXISTS (SELECT FROM memory_user u WHERE u.space_id = s.id)
ORDER BY s.id

-- name: next_users
-- The users of a space by age, for work that goes through all of them; the space is named, and its policy holds.
SELECT user_id, created_at, traces FROM memory_user
WHERE space_id = %b AND (created_at, user_id) > (%b::timestamptz, %b::uuid)
ORDER BY created_at, user_id
LIMIT %b

-- name: expired
-- By the owner: what has expired, whosever it is, from the index that holds nothing but what expires.
SELECT space_id, user_id, id FROM memory_trace
WHERE expires_at <= %s AND deleted_at IS NULL AND (%s::uuid IS NULL OR space_id = %s::uuid)
ORDER BY expires_at
LIMIT %s

-- name: count_expired
-- Of a space, from the same index: (traces, users).
SELECT count(*), count(DISTINCT user_id) FROM memory_trace WHERE space_id = %b AND expires_at <= %b AND deleted_at IS NULL

-- name: count_subject
-- The traces of a space that its rules look at; what has expired goes without them.
SELECT count(*) FROM memory_user u JOIN memory_trace t ON t.user_id = u.user_id
WHERE u.space_id = %b AND t.kind <> 'entity' AND t.deleted_at IS NULL AND (t.expires_at <= %b::timestamptz) IS NOT TRUE

-- name: due
-- What of a user goes by the rules of its space: too old (1), of too little salience (2), too many (3); each by the
-- first. A parameter that is null switches its rule off. Pinned traces are safe, and count; entities and what was
-- derived from other traces do not count. What has expired goes another way, and what is being forgotten is gone.
-- Salience is the effective one, which no index knows: where no rule asks for it, no row is looked at for it.
WITH f AS (SELECT * FROM {moment})
SELECT id, 1 AS rule FROM memory_trace
WHERE user_id = %b AND created_at < %b::timestamptz AND NOT pinned AND kind <> 'entity' AND deleted_at IS NULL
  AND (expires_at <= %b::timestamptz) IS NOT TRUE
UNION ALL
SELECT t.id, 2 FROM f CROSS JOIN memory_trace t
{recalled}
WHERE %b::real IS NOT NULL AND t.user_id = %b AND {effective} < %b::real AND t.created_at < %b::timestamptz
  AND NOT t.pinned AND t.kind <> 'entity' AND t.deleted_at IS NULL AND (t.expires_at <= %b::timestamptz) IS NOT TRUE
  AND (t.created_at < %b::timestamptz) IS NOT TRUE
UNION ALL
(SELECT t.id, 3 FROM f CROSS JOIN memory_trace t
 {recalled}
 WHERE t.user_id = %b AND NOT t.pinned AND t.kind <> 'entity' AND t.provenance IS NULL AND t.deleted_at IS NULL
   AND (t.expires_at <= %b::timestamptz) IS NOT TRUE
   AND (t.created_at < %b::timestamptz) IS NOT TRUE
   AND ({effective} < %b::real AND t.created_at < %b::timestamptz) IS NOT TRUE
 ORDER BY {effective}, t.id
 -- Within CASE, so that nothing is counted of a user who cannot have too many.
 LIMIT CASE WHEN %b::boolean THEN greatest(0, (
    SELECT count(*) FROM f CROSS JOIN memory_trace t
    {recalled}
    WHERE t.user_id = %b AND t.kind <> 'entity' AND t.provenance IS NULL AND t.deleted_at IS NULL
      AND (t.expires_at <= %b::timestamptz) IS NOT TRUE
      AND (t.created_at < %b::timestamptz AND NOT t.pinned) IS NOT TRUE
      AND ({effective} < %b::real AND t.created_at < %b::timestamptz AND NOT t.pinned) IS NOT TRUE
 ) - %b::bigint) ELSE 0 END)

-- name: some_due
SELECT id, rule FROM ({due}) AS d LIMIT %b

-- name: count_due
SELECT rule, count(*) FROM ({due}) AS d GROUP BY rule

-- name: take_turns
SELECT pg_try_advisory_lock(hashtext('reverie.retention'))
