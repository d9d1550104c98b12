-- How much a trace matters at a moment: parts of queries that have its row as `t`. Every block names the user.

-- name: moment
-- A part of others, `f`: the moment, and the half-lives that the users have set.
(SELECT %b::timestamptz AS moment,
        (SELECT jsonb_object_agg(u.user_id, u.half_lives) FROM memory_user u
         WHERE u.user_id = ANY(%b::uuid[]) AND u.half_lives IS NOT NULL) AS half_lives) f

-- name: each_moment
-- The same where the users are those of the rows; by the owner.
LATERAL (SELECT '{at}'::timestamptz AS moment,
                (SELECT jsonb_build_object(u.user_id, u.half_lives) FROM memory_user u
                 WHERE u.user_id = t.user_id AND u.half_lives IS NOT NULL) AS half_lives) f

-- name: recalled
-- A part of others, `a`: how often it was recalled, one look-up by key, whatever the statistics say.
LEFT JOIN LATERAL (
    SELECT m.trace_id, m.recalls, m.last_at FROM memory_access m
    WHERE m.user_id = t.user_id AND m.trace_id >= t.id AND m.trace_id <= t.id ORDER BY m.user_id, m.trace_id LIMIT 1
) a ON a.trace_id = t.id AND a.last_at <= f.moment

-- name: effective
-- An expression over `t`, `a` and `f`; `memories/strength.py` says the same. What is too small for a number raises, and
-- greatest passes over what is null.
((t.salience + (1 - t.salience) * coalesce(a.recalls, 0) / (coalesce(a.recalls, 0)::float8 + {halfway}))
 * CASE WHEN t.pinned THEN 1 ELSE coalesce(power(0.5::float8, least({faded}, greatest(0,
       date_part('epoch', f.moment - greatest(t.created_at, t.updated_at, a.last_at)) / 86400
       / coalesce((f.half_lives -> t.user_id::text ->> t.kind)::float8, {half_life})))), 1) END)::real
