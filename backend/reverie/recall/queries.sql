-- Recall: the arms and what they are joined with. Every block names the users; row-level security stands behind.
-- {clauses} are the bounds that a question has (recall/bounds.py), each with its parameters. Where a question is asked as
-- of a moment, what was changed since is not seen: what it said then is not kept.

-- name: vectors
-- The rows whose vectors are nearest, from the parts of a plan (recall/planner.py): of a trace all of its pieces that are
-- among them. Beside each: the fewest rows that a part gave which may end early, and how many traces the users have.
-- What fusion needs to know of each candidate comes along, one look-up a key, whatever the statistics say: as a plain
-- join, a plan made when the table was nearly empty starts from all traces of the store. The order within, which only
-- the primary key has, keeps it from other indexes on the user; the range is that one key, as one that is open above
-- copies the rest of its page of the index. Of a trace that does not stand any more there is no kind.
WITH near AS MATERIALIZED (
{legs}
),
nearest AS MATERIALIZED (SELECT * FROM near ORDER BY distance LIMIT %b)
SELECT uuid_send(n.user_id) || uuid_send(n.trace_id), 1 - n.distance, n.head, n.piece, {fewest},
       (SELECT coalesce(sum(traces), 0)::bigint FROM memory_user WHERE user_id = ANY(%b)),
       t.role, t.speaker, t.length, t.kind, t.happened_at, t.salience, t.salience_given, t.pinned, t.updated_at, t.asks,
       uuid_send(t.user_id) || uuid_send(t.follows), t.conversation_id
FROM nearest n
LEFT JOIN LATERAL (
    SELECT * FROM memory_trace m
    WHERE m.user_id = n.user_id AND m.id >= n.trace_id AND m.id <= n.trace_id ORDER BY m.user_id, m.id LIMIT 1
) t ON t.id = n.trace_id AND t.deleted_at IS NULL AND (t.updated_at < %b::timestamptz) IS NOT FALSE
{warm}

-- name: with_warm
-- What a store adds to `vectors` that has warm rows: one row more, which begins with the candidates of all parts, packed
-- (recall/warm.py). It is the same statement, so that a row that is just being moved or changed is seen in one state.
UNION ALL
SELECT string_agg(uuid_send(w.user_id) || uuid_send(w.trace_id) || int2send(w.head) || int4send(w.piece) || w.codes
                  || varbit_send(w.bits), ''::bytea),
       NULL, NULL, NULL, NULL, (SELECT coalesce(sum(traces), 0)::bigint FROM memory_user WHERE user_id = ANY(%b)),
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM (
{parts}
) w

-- name: warm_rows
-- Of the warm rows of a head those with the fewest signs that differ where the question's components are large: of large
-- users index-only, of others as the heap has them, in the order of users. In partitions that are not warm an empty
-- index over warm rows is all that is looked at. Codes are looked up: a sort copies every row that it is given.
(SELECT c.user_id, c.trace_id, c.head, c.piece, e.codes, e.bits
 FROM (
    SELECT user_id, trace_id, head, piece
    FROM memory_embedding
    WHERE model_id = {model} AND codes IS NOT NULL AND user_id = ANY(%b) AND head IN ({head}) {clauses}
    ORDER BY (bits & %b <~> %b) + (bits & %b <~> %b) LIMIT %b
 ) c
 CROSS JOIN LATERAL (
    SELECT codes, bits FROM memory_embedding m
    WHERE m.user_id = c.user_id AND m.trace_id = c.trace_id AND m.head = c.head AND m.model_id = {model}
      AND m.piece = c.piece
 ) e)

-- name: vectors_exact
-- Every vector within the bounds, index-only from the covering index of the model. The heads are literals: as a
-- parameter they are taken for ten, and with a bound on ids the primary key and the heap seem to cost less.
(SELECT {leg} AS leg, user_id, trace_id, head, piece, {column} <=> %b AS distance
 FROM memory_embedding
 WHERE model_id = {model} AND {column} IS NOT NULL AND user_id = ANY(%b) AND head IN ({heads}) {span} {clauses}
 ORDER BY distance
 LIMIT %b)

-- name: vectors_bits
-- The signs of every vector within the bounds, index-only; then those with the fewest that differ, by their vectors.
-- What has become warm since the plan was made has none.
(SELECT {leg} AS leg, c.user_id, c.trace_id, c.head, c.piece, e.vector <=> %b AS distance
 FROM (
    SELECT user_id, trace_id, head, piece
    FROM memory_embedding
    WHERE model_id = {model} AND user_id = ANY(%b) AND head IN ({heads}) {span} {clauses}
    -- Computed once a query; without the sub-select once a row.
    ORDER BY bits <~> (SELECT binary_quantize(%b::{type})) LIMIT %b
 ) c
 CROSS JOIN LATERAL (
    SELECT {column} AS vector FROM memory_embedding m
    WHERE m.user_id = c.user_id AND m.trace_id = c.trace_id AND m.head = c.head AND m.model_id = {model}
      AND m.piece = c.piece {span}
 ) e
 WHERE e.vector IS NOT NULL
 ORDER BY distance
 LIMIT %b)

-- name: vectors_hnsw
-- The nearest within the bounds by the HNSW index of the user, which its literals name; the scan goes on until enough
-- pass the bounds.
(SELECT {leg} AS leg, user_id, trace_id, head, piece, {column}::{type}({dim}) <=> %b AS distance
 FROM memory_embedding
 WHERE model_id = {model} AND {column} IS NOT NULL AND user_id = '{user}'::uuid AND head = {heads} {span} {clauses}
 ORDER BY distance
 LIMIT %b)

-- name: span
AND trace_id >= '{lower}'::uuid AND trace_id < '{upper}'::uuid

-- name: from_id
AND trace_id >= '{lower}'::uuid

-- name: to_id
AND trace_id < '{upper}'::uuid

-- name: sifted
-- In a hash table that every row is looked for in; as it is written without IS TRUE, each of these ids is looked up.
AND (trace_id IN (SELECT unnest(%b::uuid[]))) IS TRUE

-- name: fewest
(SELECT min((SELECT count(*) FROM near WHERE near.leg = w.leg)) FROM unnest('{{legs}}'::int[]) AS w (leg))

-- name: graph_settings
-- The graph is walked on until enough rows are within the bounds.
SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %b, true),
       set_config('hnsw.max_scan_tuples', %b, true)

-- name: held
-- The version of a user, and where the store is not hot; and, if it is a small one and the version that is named, all of
-- its vectors, what fusion needs to know of its traces and what is answered of them, packed (recall/held.py,
-- recall/shown.py). There is no text of a trace whose text or `meta` is long, nor of a cold one, nor of anybody whose
-- texts are long as a rule.
WITH mark AS MATERIALIZED (
    SELECT version, version = %b AND traces <= %b AS wanted, words <= traces * {words} AS short, external_id, words
    FROM memory_user WHERE user_id = %b
)
SELECT m.version, p.moved, m.wanted, e.ids, e.pieces, e.vectors, t.traces, t.kinds, t.roles, t.speakers, t.conversations,
       CASE WHEN m.wanted THEN m.external_id END, CASE WHEN m.wanted THEN m.words END, t.texts, t.external_ids, t.metas, l.edges, l.types {warm}
FROM mark m
CROSS JOIN LATERAL (
    SELECT string_agg(uuid_send(s.trace_id), ''::bytea) AS ids, string_agg(int4send(s.piece), ''::bytea) AS pieces,
           string_agg({type}_send(s.vector), ''::bytea) AS vectors
    FROM (
        SELECT trace_id, piece, {column} AS vector FROM memory_embedding
        WHERE (SELECT wanted FROM mark) AND model_id = {model} AND {column} IS NOT NULL AND user_id = %b AND head IN (0)
        LIMIT {most}
    ) s
) e
{codes}
CROSS JOIN LATERAL (
    SELECT string_agg(uuid_send(t.id) || int4send(t.length) || timestamptz_send(t.happened_at) || float4send(t.salience)
                      || boolsend(t.salience_given) || boolsend(t.pinned) || timestamptz_send(coalesce(t.updated_at, '-infinity')) || boolsend(t.asks)
                      || coalesce(uuid_send(t.follows), decode(repeat('00', 16), 'hex'))
                      || timestamptz_send(t.created_at) || timestamptz_send(coalesce(t.occurred_at, '-infinity'))
                      || timestamptz_send(coalesce(t.expires_at, 'infinity')),
                      ''::bytea) AS traces,
           array_agg(t.kind) AS kinds, array_agg(t.role) AS roles, array_agg(t.speaker) AS speakers,
           array_agg(t.conversation_id) AS conversations, array_agg(y.content) AS texts,
           array_agg(t.external_id) AS external_ids, array_agg(x.meta) AS metas
    FROM memory_trace t
    -- The first bound spares reading what is stored elsewhere, or compressed.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN pg_column_size(t.meta) <= {chars} THEN nullif(t.meta, '{}'::jsonb)::text ELSE '' END AS text
    ) g
    CROSS JOIN LATERAL (SELECT CASE WHEN length(g.text) > {chars} THEN '' ELSE g.text END AS meta OFFSET 0) x
    LEFT JOIN memory_body y ON (SELECT short FROM mark) AND y.user_id = t.user_id AND y.trace_id = t.id
                           AND t.length <= {chars} AND x.meta IS DISTINCT FROM ''
    WHERE (SELECT wanted FROM mark) AND t.user_id = %b AND t.deleted_at IS NULL
) t
CROSS JOIN LATERAL (
    SELECT string_agg(uuid_send(s.src) || uuid_send(s.dst) || float4send(s.weight), ''::bytea) AS edges,
           array_agg(s.type) AS types
    FROM (
        SELECT src, dst, weight, type FROM memory_edge WHERE (SELECT wanted FROM mark) AND user_id = %b LIMIT {edges}
    ) s
) l
CROSS JOIN LATERAL (
    SELECT string_agg(uuid_send(q.lower) || uuid_send(q.upper) || boolsend(q.tier = 'cold'), ''::bytea ORDER BY q.lower) AS moved
    FROM memory_partition q WHERE q.parent = 'memory_embedding' AND q.tier <> 'hot'
) p

-- name: held_words
-- The words of the texts of a user at a version, packed (recall/words.py), with how many traces and words the user has.
-- Nothing while there are more, which are forgotten and not removed yet: they may be very many.
WITH mark AS MATERIALIZED (
    SELECT u.user_id, u.traces, u.words
    FROM memory_user u
    CROSS JOIN LATERAL (
        SELECT count(*) AS bodies, coalesce(sum(s.words), 0) AS words
        FROM (SELECT y.words FROM memory_body y WHERE y.user_id = u.user_id LIMIT {most}) s
    ) b
    WHERE u.version = %b AND u.user_id = %b AND b.bodies <= u.traces AND b.words <= u.words
)
SELECT w.bodies, w.postings, m.traces, m.words
FROM mark m
CROSS JOIN LATERAL (
    SELECT string_agg(uuid_send(b.trace_id) || int2send(b.kind) || timestamptz_send(b.happened_at) || int4send(b.words),
                      ''::bytea ORDER BY b.n) AS bodies,
           string_agg(s.packed, ''::bytea) AS postings
    FROM (
        SELECT y.*, (row_number() OVER () - 1)::integer AS n FROM memory_body y
        WHERE y.user_id = m.user_id
    ) b
    LEFT JOIN LATERAL (
        SELECT string_agg(int4send(b.n) || int8send(reverie_term_key(u.lexeme)) || int2send(p.place), ''::bytea) AS packed
        FROM unnest(b.lexemes) u, unnest(coalesce(u.positions, ARRAY[0::smallint])) AS p (place)
    ) s ON true
) w

-- name: held_codes
-- What `held` adds where a store has warm rows: those of the user, packed as `with_warm` packs them, but for
-- the user.
CROSS JOIN LATERAL (
    SELECT string_agg(uuid_send(s.trace_id) || int2send(s.head) || int4send(s.piece) || s.codes || varbit_send(s.bits),
                      ''::bytea) AS rows
    FROM (
        SELECT trace_id, head, piece, codes, bits FROM memory_embedding
        WHERE (SELECT wanted FROM mark) AND model_id = {model} AND codes IS NOT NULL AND user_id = %b AND head IN (0)
        LIMIT {most}
    ) s
) w

-- name: indexes_mark
-- Of no user: what is known of the large ones of the store and of its partitions, which is no memory. Whether there may
-- be warm rows (what is known is newer than that by less than it takes until the first are made), and cold ones; then
-- what changes with the rest.
SELECT (SELECT announced_at IS NOT NULL FROM tier_control), p.cold, p.tables, count(i.*), max(i.built_at)
FROM (
    SELECT coalesce(bool_or(tier = 'cold'), false) AS cold,
           md5(string_agg(table_name || tier, ',' ORDER BY table_name) FILTER (WHERE tier <> 'hot')) AS tables
    FROM memory_partition
) p
LEFT JOIN memory_index i ON true
GROUP BY p.cold, p.tables

-- name: indexes
SELECT i.model_id, i.user_id, i.table_name, i.head, i.method, i.lower, i.upper, i.rows, i.looks, i.recall, i.kinds,
       i.moments, p.tier
FROM memory_index i JOIN memory_partition p ON p.table_name = i.table_name

-- name: vector_ranges
-- The ranges of ids, and whether their vectors are hot.
SELECT tier = 'hot', lower, upper FROM memory_partition WHERE parent = 'memory_embedding' ORDER BY lower

-- name: question_words
-- The words of a question, a part of others: it is read in every language that the users' traces are in. A small word of
-- its own language counts in no other: among German traces an English "what" would be a rare word. Its own language is
-- what its text tells, else the one of the settings if the users have it, else the users' first.
asked AS MATERIALIZED (
    SELECT a.q, l.languages, coalesce(a.told, CASE WHEN a.usual = ANY(l.languages) THEN a.usual END, l.languages[1],
                                      a.usual) AS own
    FROM (SELECT %b::text, %b::text, %b::text) AS a (q, told, usual),
         (SELECT array_agg(DISTINCT s.language) AS languages
          FROM memory_user u, unnest(u.languages) AS s (language) WHERE u.user_id = ANY(%b)) AS l
),
reading AS MATERIALIZED (
    SELECT s.language, s.language = a.own AS own, to_tsvector(s.language::regconfig, a.q) AS words,
           a.languages IS NULL OR s.language = ANY(a.languages) AS kept
    FROM asked a, (SELECT DISTINCT unnest(x.languages || x.own) FROM asked x) AS s (language)
),
meant AS (
    SELECT array_agg(w.lexeme) AS terms, array_agg(w.place) AS places,
           string_agg(int8send(reverie_term_key(w.lexeme)), ''::bytea) AS keys
    FROM (
        SELECT DISTINCT t.lexeme, t.positions[1]::integer AS place
        FROM reading r, unnest(r.words) AS t
        WHERE r.kept AND (r.own OR t.positions[1] IN (
            SELECT p.place FROM reading o, unnest(o.words) AS k, unnest(k.positions) AS p (place) WHERE o.own
        ))
    ) AS w
)

-- name: terms
-- The stemmed words of a question by themselves: their keys, and their places. Then of what stands in a row in it, as it
-- is read in each language: the number of the phrase; and the places and keys of its words, packed (recall/words.py).
WITH {question},
phrase AS (
    SELECT array_agg(p.n) AS numbers, array_agg(p.packed) AS packed
    FROM (
        SELECT f.n, string_agg(int2send(w.place) || int8send(reverie_term_key(t.lexeme)), ''::bytea) AS packed
        FROM unnest(%b::text[], %b::float8[]) WITH ORDINALITY AS f (text, weight, n)
        CROSS JOIN reading r
        CROSS JOIN LATERAL unnest(to_tsvector(r.language::regconfig, f.text)) AS t
        CROSS JOIN LATERAL unnest(t.positions) AS w (place)
        WHERE r.kept
        GROUP BY f.n, f.weight, r.language
        HAVING count(*) > CASE WHEN f.weight < 1 THEN 1 ELSE 0 END
    ) AS p
)
SELECT m.keys, m.places, p.numbers, p.packed FROM meant m, phrase p

-- name: lexical
-- BM25 over the words of the users; the function is the definer's, so that the GIN index may be used.
WITH whose AS MATERIALIZED (
    SELECT coalesce(sum(u.traces), 0)::bigint AS traces, coalesce(sum(u.words), 0)::bigint AS words,
           bool_or(u.traces > %b AND (u.traces > %b * u.counted OR u.counted > %b * u.traces)) AS stale
    FROM memory_user u WHERE u.user_id = ANY(%b)
),
{question},
phrase AS (
    SELECT array_agg(p.q) AS queries, array_agg(p.weight) AS weights
    FROM (
        SELECT string_agg(DISTINCT x.q::text, '|')::tsquery AS q, f.weight
        FROM unnest(%b::text[], %b::float8[]) WITH ORDINALITY AS f (text, weight, n)
        CROSS JOIN reading r
        CROSS JOIN LATERAL (SELECT phraseto_tsquery(r.language::regconfig, f.text) AS q) x
        -- What is left of a name without small words may be a single word, which is a term already.
        WHERE r.kept AND numnode(x.q) > CASE WHEN f.weight < 1 THEN 1 ELSE 0 END
        GROUP BY f.n, f.weight
    ) AS p
)
SELECT uuid_send(r.user_id) || uuid_send(r.trace_id), r.score, r.idf_mass, r.matched, r.phrases, w.stale, m.keys,
       t.role, t.speaker, t.length, t.kind, t.happened_at, t.salience, t.salience_given, t.pinned, t.updated_at, t.asks,
       uuid_send(t.user_id) || uuid_send(t.follows), t.conversation_id
FROM whose w
CROSS JOIN meant m
CROSS JOIN phrase p
CROSS JOIN LATERAL reverie_bm25(
    %b, m.terms, %b::smallint[], %b::timestamptz, %b::timestamptz, %b::uuid, %b::uuid[], w.traces, w.words, %b, %b, %b,
    %b, m.places, p.queries, p.weights
) r
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m
    WHERE m.user_id = r.user_id AND m.id >= r.trace_id AND m.id <= r.trace_id ORDER BY m.user_id, m.id LIMIT 1
) t
WHERE t.id = r.trace_id AND t.deleted_at IS NULL AND (t.updated_at < %b::timestamptz) IS NOT FALSE

-- name: uncounted
-- Of all users: whose traces are so many that their terms are to be counted, or counted again.
SELECT space_id, user_id FROM memory_user WHERE traces > %b AND (traces > %b * counted OR counted > %b * traces)

-- name: count_terms
-- In how many traces of a large user the terms stand that are not rare, from a sample that the ids draw.
WITH due AS MATERIALIZED (
    SELECT u.traces, least(1, %b::float8 / u.traces, %b::float8 / greatest(u.words, 1)) AS share
    FROM memory_user u
    WHERE u.user_id = %b AND u.traces > %b AND (u.traces > %b * u.counted OR u.counted > %b * u.traces)
),
sample AS MATERIALIZED (
    SELECT b.lexemes
    FROM due d CROSS JOIN LATERAL (
        SELECT y.trace_id, y.lexemes FROM memory_body y WHERE y.user_id = %b
    ) b
    WHERE (uuid_hash_extended(b.trace_id, 7) & 1048575) < d.share * 1048576
),
term AS MATERIALIZED (
    SELECT reverie_term_key(w.word) AS key, count(*) AS n
    FROM sample s, unnest(tsvector_to_array(s.lexemes)) AS w (word)
    GROUP BY key HAVING count(*) >= %b
    ORDER BY n DESC LIMIT 20000
)
UPDATE memory_user u
SET counted = d.traces,
    terms = coalesce((SELECT array_agg(t.key ORDER BY t.key) FROM term t), '{}'),
    term_traces = coalesce((
        SELECT array_agg(least(d.traces, t.n * d.traces / (SELECT count(*) FROM sample))::integer ORDER BY t.key)
        FROM term t
    ), '{}')
FROM due d
WHERE u.user_id = %b

-- name: sheets
-- Of each user the half-lives that it has set, and its traces that were recalled most often, packed
-- (recall/strengths.py).
SELECT uuid_send(u.user_id), u.half_lives, r.packed
FROM memory_user u
CROSS JOIN LATERAL (
    SELECT string_agg(uuid_send(m.trace_id) || int4send(m.recalls) || float8send(date_part('epoch', m.last_at)),
                      ''::bytea) AS packed
    FROM (
        SELECT a.trace_id, a.recalls, a.last_at FROM memory_access a
        WHERE a.user_id = u.user_id ORDER BY a.recalls DESC LIMIT %b
    ) m
) r
WHERE u.user_id = ANY(%b)

-- name: nights
-- Of each user the summaries that were made last and whose vectors are here, packed (recall/night.py): when their day
-- ended and when they were made or changed; their vectors, hot or warm; the keys of their words; and the traces whose
-- words stand in them, with when that was found. In each, an int4 says of which summary a row is.
WITH summary AS MATERIALIZED (
    SELECT u.user_id, s.*, (row_number() OVER (PARTITION BY u.user_id ORDER BY s.id) - 1)::integer AS n
    FROM unnest(%b::uuid[]) AS u (user_id)
    CROSS JOIN LATERAL (
        SELECT t.id, t.conversation_id, t.happened_at, coalesce(t.updated_at, t.created_at) AS made, v.hot, v.warm
        FROM memory_trace t
        CROSS JOIN LATERAL (
            SELECT {type}_send(m.{column}) AS hot,
                   uuid_send(m.trace_id) || int2send(m.head) || int4send(m.piece) || m.codes || varbit_send(m.bits) AS warm
            FROM memory_embedding m
            WHERE m.user_id = t.user_id AND m.trace_id = t.id AND m.head = 0 AND m.model_id = {model} AND m.piece = 0
        ) v
        WHERE t.user_id = u.user_id AND t.provenance ? 'sources' AND t.kind = 'summary' AND t.deleted_at IS NULL
        ORDER BY t.id DESC LIMIT {most}
    ) s
)
SELECT uuid_send(s.user_id), array_agg(s.conversation_id ORDER BY s.n), array_agg(s.happened_at ORDER BY s.n),
       string_agg(float8send(date_part('epoch', s.made)), ''::bytea ORDER BY s.n),
       string_agg(int4send(s.n) || s.hot, ''::bytea), string_agg(int4send(s.n) || s.warm, ''::bytea) FILTER (WHERE s.hot IS NULL),
       string_agg(b.words, ''::bytea), string_agg(e.quoted, ''::bytea)
FROM summary s
LEFT JOIN LATERAL (
    SELECT string_agg(int4send(s.n) || int8send(reverie_term_key(w.word)), ''::bytea) AS words
    FROM memory_body y, unnest(tsvector_to_array(y.lexemes)) AS w (word)
    WHERE y.user_id = s.user_id AND y.trace_id = s.id
) b ON true
LEFT JOIN LATERAL (
    SELECT string_agg(uuid_send(q.dst) || float8send(date_part('epoch', q.ts)), ''::bytea) AS quoted
    FROM memory_edge q WHERE q.user_id = s.user_id AND q.src = s.id AND q.type = 'summary_of'
) e ON true
GROUP BY s.user_id

-- name: matching
-- The traces that pass the rarer filters, before the arms run.
SELECT id FROM memory_trace
WHERE user_id = ANY(%b) AND deleted_at IS NULL {clauses}

-- name: candidates
-- What fusion needs to know of traces that came another way than by an arm above; of cold ones where they are wanted.
SELECT uuid_send(c.user_id) || uuid_send(c.trace_id),
       t.role, t.speaker, t.length, t.kind, t.happened_at, t.salience, t.salience_given, t.pinned, t.updated_at, t.asks,
       uuid_send(t.user_id) || uuid_send(t.follows), t.conversation_id
FROM unnest(%b::uuid[], %b::uuid[]) AS c (user_id, trace_id)
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m
    WHERE m.user_id = c.user_id AND m.id >= c.trace_id AND m.id <= c.trace_id ORDER BY m.user_id, m.id LIMIT 1
) t
{cold}
WHERE t.id = c.trace_id AND t.deleted_at IS NULL AND (t.updated_at < %b::timestamptz) IS NOT FALSE
  AND (%b OR cold.it IS NULL)

-- name: known_of_warm
-- What fusion needs to know of traces whose warm rows were found: their text is here, or was a moment ago.
SELECT uuid_send(c.user_id) || uuid_send(c.trace_id),
       t.role, t.speaker, t.length, t.kind, t.happened_at, t.salience, t.salience_given, t.pinned, t.updated_at, t.asks,
       uuid_send(t.user_id) || uuid_send(t.follows), t.conversation_id
FROM unnest(%b::uuid[], %b::uuid[]) AS c (user_id, trace_id)
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m
    WHERE m.user_id = c.user_id AND m.id >= c.trace_id AND m.id <= c.trace_id ORDER BY m.user_id, m.id LIMIT 1
) t
WHERE t.id = c.trace_id AND t.deleted_at IS NULL AND (t.updated_at < %b::timestamptz) IS NOT FALSE

-- name: is_cold
-- A part of others: whether a trace `t` is cold now, not while it is being written to a file.
LEFT JOIN LATERAL (
    SELECT true AS it FROM memory_digest d
    WHERE d.user_id = t.user_id AND d.trace_id = t.id AND d.thawed_until IS NULL
      AND NOT EXISTS (SELECT FROM memory_body y WHERE y.user_id = d.user_id AND y.trace_id = d.trace_id)
    LIMIT 1
) cold ON true

-- name: results
-- The rows of what is answered, looked up in the same manner, without those that have expired. The text of what is cold
-- lies in a file.
SELECT uuid_send(c.user_id) || uuid_send(c.id), c.id::text, u.external_id, t.external_id, b.content, t.kind, t.role, t.speaker,
       t.conversation_id, t.created_at, t.occurred_at, t.salience, t.meta, t.expires_at,
       -- A text that stands in a cold partition was thawed, or came late.
       coalesce((SELECT CASE p.tier WHEN 'hot' THEN 'hot' ELSE 'warm' END FROM memory_partition p
                 WHERE p.parent = 'memory_embedding' AND p.lower <= c.id ORDER BY p.lower DESC LIMIT 1), 'hot'),
       -- As of a moment that is over: what was remembered by then, and held. From the edges on, of which most have none:
       -- by the order alone all traces of the user would be gone through.
       (SELECT e.src FROM memory_edge e
        CROSS JOIN LATERAL (
            SELECT * FROM memory_trace m WHERE m.user_id = e.user_id AND m.id >= e.src AND m.id <= e.src ORDER BY m.user_id, m.id LIMIT 1
        ) n
        WHERE e.user_id = c.user_id AND e.dst = c.id AND e.type = 'supersedes'
          AND n.id = e.src AND n.deleted_at IS NULL AND (n.expires_at > at.now) IS NOT FALSE
          AND (n.created_at < at.moment) IS NOT FALSE
          AND ((e.meta ->> 'valid_from')::timestamptz < at.moment) IS NOT FALSE
        ORDER BY n.happened_at DESC, n.id DESC LIMIT 1)
FROM (SELECT %b::timestamptz AS now, %b::timestamptz AS moment) at
CROSS JOIN unnest(%b::uuid[], %b::uuid[]) AS c (user_id, id)
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m WHERE m.user_id = c.user_id AND m.id >= c.id AND m.id <= c.id ORDER BY m.user_id, m.id LIMIT 1
) t
CROSS JOIN LATERAL (SELECT n.external_id FROM memory_user n WHERE n.user_id = c.user_id LIMIT 1) u
LEFT JOIN LATERAL (
    SELECT y.content FROM memory_body y WHERE y.user_id = c.user_id AND y.trace_id = c.id LIMIT 1
) b ON true
WHERE t.id = c.id AND t.deleted_at IS NULL AND (t.expires_at > at.now) IS NOT FALSE

-- name: versions
-- What every write of a user raises: answers that were kept stand as long as it stays.
SELECT user_id, version FROM memory_user WHERE user_id = ANY(%b)

-- name: edges
SELECT user_id, src, dst, type, weight FROM memory_edge
WHERE user_id = ANY(%b) AND src = ANY(%b) AND dst = ANY(%b) AND (ts < %b::timestamptz) IS NOT FALSE

-- name: named_mentions
-- Of the entities that a question names, by whichever of their names: the traces that mention them, how many of them
-- each mentions, how often the rarest of these is mentioned, and of how many triples about them it is a source. An
-- entity that is mentioned by more than {most} counts as so often mentioned, and of its mentions so many are looked at.
WITH named AS MATERIALIZED (
    SELECT n.user_id, n.id FROM memory_trace n
    -- By the hash of a name, which nothing but an entity has; its kind is not asked for, so that it is looked up by that.
    WHERE n.user_id = ANY(%b) AND n.identity = ANY(%b::bytea[]) AND n.deleted_at IS NULL
    UNION
    SELECT a.user_id, a.entity_id FROM entity_name a WHERE a.user_id = ANY(%b) AND a.hash = ANY(%b::bytea[])
),
mention AS (
    SELECT n.user_id, m.src, count(*) OVER (PARTITION BY n.user_id, n.id) AS many
    FROM named n
    CROSS JOIN LATERAL (
        SELECT e.src FROM memory_edge e WHERE e.user_id = n.user_id AND e.dst = n.id AND e.type = 'mentions'
        ORDER BY e.src DESC LIMIT {most}
    ) m
),
stated AS (
    SELECT n.user_id, s.id::uuid AS src
    FROM named n
    CROSS JOIN LATERAL (
        SELECT e.meta FROM memory_edge e
        WHERE e.user_id = n.user_id AND (e.src = n.id OR e.dst = n.id) AND e.meta ? 'sources' LIMIT {most}
    ) t
    CROSS JOIN LATERAL jsonb_array_elements_text(t.meta -> 'sources') AS s (id)
)
SELECT uuid_send(m.user_id) || uuid_send(m.src), count(*), min(m.many), coalesce(max(s.n), 0)
FROM mention m
LEFT JOIN (SELECT user_id, src, count(*) AS n FROM stated GROUP BY user_id, src) s USING (user_id, src)
GROUP BY m.user_id, m.src

-- name: spread
-- What stands one or two edges away from seeds, each trace by its best path: from a node along all its edges but those
-- of a type of which it has too many (a name that is everywhere says nothing), from the best nodes on, each as it was
-- reached best.
-- The trace before another in its conversation is known from its row: among very many edges to it, `next` may be last.
WITH RECURSIVE seed AS MATERIALIZED (
    SELECT user_id, id, weight FROM unnest(%b::uuid[], %b::uuid[], %b::real[]) AS g (user_id, id, weight)
    UNION ALL
    SELECT n.user_id, n.id, %b::real FROM memory_trace n
    -- By the hash of a name, which nothing but an entity has; its kind is not asked for, so that it is looked up by that.
    WHERE n.user_id = ANY(%b) AND n.identity = ANY(%b::bytea[]) AND n.deleted_at IS NULL
    UNION ALL
    SELECT a.user_id, a.entity_id, %b::real FROM entity_name a WHERE a.user_id = ANY(%b) AND a.hash = ANY(%b::bytea[])
),
walk AS (
    SELECT s.user_id, s.id, s.weight, s.id AS origin, NULL::uuid AS src, NULL::uuid AS dst, NULL::text AS type,
           NULL::real AS link, 0 AS hops
    FROM seed s
    UNION ALL
    SELECT w.user_id, x.id, (w.weight * x.weight * x.share)::real, w.origin, x.src, x.dst,
           x.type, x.weight, w.hops + 1
    FROM (
        SELECT * FROM (
            SELECT DISTINCT ON (user_id, id) * FROM walk WHERE hops < %b ORDER BY user_id, id, weight DESC, origin
        ) b
        ORDER BY weight DESC LIMIT {beam}
    ) w
    CROSS JOIN LATERAL (
        SELECT f.id, f.src, f.dst, f.type, f.weight, count(*) OVER n AS many,
               {share} / CASE WHEN f.back AND f.type = 'mentions' THEN count(*) OVER n ELSE 1 END AS share
        FROM (
            (SELECT e.dst AS id, e.src, e.dst, e.type, e.weight, false AS back
             FROM memory_edge e WHERE e.user_id = w.user_id AND e.src = w.id LIMIT {most})
            UNION ALL
            (SELECT e.src, e.src, e.dst, e.type, e.weight, true
             FROM memory_edge e WHERE e.user_id = w.user_id AND e.dst = w.id AND e.type <> 'next' LIMIT {most})
            UNION ALL
            (SELECT t.follows, t.follows, t.id, 'next', 1, true
             FROM (
                SELECT * FROM memory_trace m WHERE m.user_id = w.user_id AND m.id >= w.id AND m.id <= w.id ORDER BY m.user_id, m.id LIMIT 1
             ) t
             WHERE t.id = w.id AND t.follows IS NOT NULL)
        ) f
        WINDOW n AS (PARTITION BY f.type, f.back)
    ) x
    WHERE x.many < {most} AND x.id <> w.origin AND (%b::uuid IS NULL OR x.id < %b::uuid)
),
reached AS MATERIALIZED (
    SELECT DISTINCT ON (user_id, id) * FROM walk WHERE hops > 0 ORDER BY user_id, id, weight DESC, hops, src, dst
)
SELECT uuid_send(r.user_id) || uuid_send(r.id), r.weight, r.user_id, r.src, r.dst, r.type, r.link, r.hops,
       t.role, t.speaker, t.length, t.kind, t.happened_at, t.salience, t.salience_given, t.pinned, t.updated_at, t.asks,
       uuid_send(t.user_id) || uuid_send(t.follows), t.conversation_id
FROM reached r
CROSS JOIN LATERAL (
    SELECT * FROM memory_trace m WHERE m.user_id = r.user_id AND m.id >= r.id AND m.id <= r.id ORDER BY m.user_id, m.id LIMIT 1
) t
{cold}
WHERE t.id = r.id AND t.deleted_at IS NULL AND t.kind = ANY(%b::text[]) AND (%b OR cold.it IS NULL)
  AND (%b::timestamptz IS NULL OR t.happened_at >= %b::timestamptz)
  AND (%b::timestamptz IS NULL OR t.happened_at < %b::timestamptz)
  AND (%b::uuid[] IS NULL OR t.id = ANY(%b::uuid[]))
ORDER BY r.weight DESC, r.id DESC
LIMIT %b
