-- What users have set. Every block names the user; row-level security by space stands behind.

-- name: get_user
SELECT external_id, kind, traces, created_at, updated_at, time_zone, language, half_lives, dream
FROM memory_user WHERE user_id = %b

-- name: try_zone
-- An error where PostgreSQL has no such time zone.
SELECT now() AT TIME ZONE %b

-- name: change_user
-- Each with whether it is given; null clears.
UPDATE memory_user
SET time_zone = CASE WHEN %b THEN %b::text ELSE time_zone END, language = CASE WHEN %b THEN %b::text ELSE language END,
    half_lives = CASE WHEN %b THEN %b::jsonb ELSE half_lives END, dream = coalesce(%b, dream)
WHERE user_id = %b
