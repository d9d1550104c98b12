-- What is warm goes to files. Run as the owner of the schema, in autocommit, on connections that plan by look-ups alone.
-- Ranges stand as literals, so that no other partition is planned for.

-- name: plan_by_keys
-- Thousands of traces are looked up at a time: as a join of another kind every such look would read the whole partition.
SELECT set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false), set_config('random_page_cost', '1.1', false),
       set_config('jit', 'off', false)

-- name: plan_as_usual
SELECT set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true),
       set_config('enable_mergejoin', 'on', true), set_config('work_mem', '64MB', true)

-- name: range_of
-- A part of the queries below: the rows of one range of ids.
AND {table}.trace_id >= '{lower}'::uuid AND {table}.trace_id < '{upper}'::uuid

-- name: list_traces
-- The traces of a range in the order of files: space, month, user. `bounds` are the first ids of the months but the first.
DECLARE exported NO SCROLL CURSOR WITH HOLD FOR
SELECT b.space_id, width_bucket(b.trace_id, '{bounds}'::uuid[]), b.user_id, b.trace_id, t.length
FROM memory_body b JOIN memory_trace t ON t.user_id = b.user_id AND t.id = b.trace_id
WHERE t.deleted_at IS NULL {range}
ORDER BY 1, 2, 3, 4

-- name: next_traces
FETCH {count} FROM exported

-- name: no_more_traces
CLOSE exported

-- name: texts
-- What a file says of traces, and their words in the order in which they stand, as often as PostgreSQL has them.
SELECT k.n::integer, t.user_id, t.id, u.external_id, t.kind, t.role, t.speaker, t.conversation_id, t.external_id,
       t.language, t.created_at, t.happened_at, b.content, b.words,
       (SELECT string_agg(w.lexeme, chr(31) ORDER BY w.at, w.lexeme)
        FROM (SELECT l.lexeme, p.at FROM unnest(b.lexemes) AS l, unnest(l.positions) AS p (at)) w)
FROM unnest(%b::uuid[], %b::uuid[]) WITH ORDINALITY AS k (user_id, trace_id, n)
JOIN memory_trace t ON t.user_id = k.user_id AND t.id = k.trace_id
JOIN memory_body b ON b.user_id = k.user_id AND b.trace_id = k.trace_id {range}
JOIN memory_user u ON u.user_id = k.user_id
ORDER BY k.n

-- name: vectors
-- Their vectors by one model: codes with bits, or numbers where they came late.
SELECT k.n::integer, e.head, e.piece, e.begins, e.ends, e.codes, e.bits, e.{column}
FROM unnest(%b::uuid[], %b::uuid[]) WITH ORDINALITY AS k (user_id, trace_id, n)
JOIN memory_embedding e ON e.user_id = k.user_id AND e.trace_id = k.trace_id AND e.model_id = {model} {range}

-- name: without_digest
-- The traces of a range that no file has.
SELECT b.user_id, b.trace_id FROM memory_body b
WHERE NOT EXISTS (SELECT FROM memory_digest d WHERE d.user_id = b.user_id AND d.trace_id = b.trace_id) {range}

-- name: watch_digests
-- Where a digest goes while its range is exported, its trace stays: as if its text had been changed.
CREATE TRIGGER reverie_exported AFTER DELETE ON memory_digest FOR EACH ROW
WHEN (OLD.trace_id >= '{lower}'::uuid AND OLD.trace_id < '{upper}'::uuid)
EXECUTE FUNCTION reverie_note_change('{table}')

-- name: leave_digests
DROP TRIGGER IF EXISTS reverie_exported ON memory_digest

-- name: digests_watched
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'memory_digest'::regclass AND tgname = 'reverie_exported')

-- name: newest
SELECT trace_id FROM {table} WHERE user_id IS NOT NULL ORDER BY trace_id DESC LIMIT 1
