"""BM25 that stays quick for very large users, quoted phrases, and questions in every language that a user has.

Of a user of 200 000 traces a common word stands in half of them, and to count those took most of a question's time.
What stands in many traces of a large user is now counted beforehand, from a sample (``memory_user.terms``), and is a
candidate only together with other words of the question: see the function.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "20261121_lexical"
down_revision = "20261121_bits"
branch_labels = None
depends_on = None

ROOM = {"memory_user": 1.5}

FIRST = "20261121_first_tables"
"""The migration that made the function which this one replaces."""

OLD = (
    "reverie_bm25(uuid[], text[], smallint[], timestamptz, timestamptz, uuid, uuid[], bigint, bigint, integer, integer,"
    " double precision, double precision)"
)
NEW = OLD.removesuffix(")") + ", integer[], tsquery[], double precision[])"

COLUMNS = """
ALTER TABLE memory_user
    ADD COLUMN IF NOT EXISTS languages text[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS counted bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS terms bigint[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS term_traces integer[] NOT NULL DEFAULT '{}'
"""

LANGUAGES = """
UPDATE memory_user u SET languages = t.languages
FROM (SELECT user_id, array_agg(DISTINCT language ORDER BY language) AS languages FROM memory_trace GROUP BY user_id) t
WHERE t.user_id = u.user_id AND u.languages = '{}'
"""

TERM_KEY = """
CREATE FUNCTION reverie_term_key(p_term text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
-- What is kept of a word outside the traces that hold it: it leaves no text behind when they are forgotten.
RETURN hashtextextended(p_term, 7)
"""

BM25 = r"""
CREATE FUNCTION reverie_bm25(
    p_users uuid[], p_terms text[], p_kinds smallint[], p_since timestamptz, p_until timestamptz, p_before uuid,
    p_ids uuid[], p_traces bigint, p_words bigint, p_cap integer, p_limit integer,
    p_k1 double precision DEFAULT 1.2, p_b double precision DEFAULT 0.75,
    p_places integer[] DEFAULT NULL, p_phrases tsquery[] DEFAULT NULL, p_weights double precision[] DEFAULT NULL
) RETURNS TABLE (
    user_id uuid, trace_id uuid, score real, idf_mass double precision, matched integer, phrases integer
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = {search_path}
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = on
AS $function$
#variable_conflict use_column
-- BM25 (Robertson and Zaragoza, 2009) over the users' bodies, with the idf that is never negative (ln(1 + ...)).
-- Document frequencies are those of all bodies of the users, so that scores mean the same with filters and without.
-- Terms of one place are one word of the question in several languages. idf_mass is the sum of the idf of all words,
-- also of those that no body has: times k1 + 1, the most a score can be. A phrase adds its weight's share of that most
-- to the bodies that hold it, and as much to idf_mass once one does. matched: how many terms a body has.
DECLARE
    v_space uuid := nullif(current_setting('reverie.space', true), '')::uuid;
    v_users tsquery;
    v_words text[];
    v_terms tsquery[];
    v_places integer[];
    v_hit_users uuid[];
    v_hit_traces uuid[];
    v_hit_weights double precision[];
    v_hit_counts integer[];
    v_bonus double precision := 0;
    v_user record;
    v_keys bigint[];
    v_traces integer[];
    v_counted double precision := 0;
    v_df double precision[];
    v_idf double precision[];
    v_mass double precision;
    v_ids uuid[] := p_ids;
    v_by_id boolean := false;
    v_rarest integer;
    v_budget integer;
    v_query tsquery;
    v_seen tsquery;
    v_whole boolean;
    v_found_users uuid[];
    v_found_traces uuid[];
    v_scores real[];
    v_matched integer[];
    v_phrases integer[];
BEGIN
    SELECT string_agg(reverie_lexeme_query(reverie_user_lexeme(u)), '|')::tsquery INTO v_users
    FROM unnest(p_users) AS u;
    SELECT array_agg(t.term ORDER BY t.n), array_agg(reverie_lexeme_query(t.term)::tsquery ORDER BY t.n),
           array_agg(coalesce(t.place, -t.n) ORDER BY t.n)
    INTO v_words, v_terms, v_places
    FROM (
        -- Of very many terms the longest, which are the rarest as a rule (Zipf's law of abbreviation).
        SELECT g.term, min(g.place) AS place, row_number() OVER (ORDER BY length(g.term) DESC, g.term)::integer AS n
        FROM unnest(p_terms, p_places) AS g (term, place)
        WHERE octet_length(g.term) BETWEEN 1 AND 2046
        GROUP BY g.term
        ORDER BY n LIMIT CASE WHEN p_traces <= 10 * p_cap THEN 64 ELSE 32 END
    ) AS t;
    IF v_terms IS NULL THEN
        RETURN;
    END IF;

    IF cardinality(p_phrases) > 0 THEN
        WITH hit AS MATERIALIZED (
            SELECT f.n, f.weight, b.user_id, b.trace_id
            FROM unnest(p_phrases, p_weights) WITH ORDINALITY AS f (q, weight, n)
            CROSS JOIN LATERAL (
                SELECT b.user_id, b.trace_id FROM memory_body AS b
                WHERE b.lexemes @@ (v_users && f.q) AND {mine} AND {fits}
                LIMIT p_cap
            ) AS b
        )
        SELECT array_agg(h.user_id), array_agg(h.trace_id), array_agg(h.weight), array_agg(h.n),
               coalesce((SELECT sum(d.weight) FROM (SELECT DISTINCT n, weight FROM hit) AS d), 0)
        INTO v_hit_users, v_hit_traces, v_hit_weights, v_hit_counts, v_bonus
        FROM (
            SELECT user_id, trace_id, sum(weight) AS weight, count(*)::integer AS n FROM hit GROUP BY user_id, trace_id
        ) AS h;
    END IF;

    IF p_traces <= 10 * p_cap THEN
        RETURN QUERY
        WITH posting AS MATERIALIZED (
            SELECT t.n, b.user_id, b.trace_id, b.words, b.fits, CASE WHEN b.fits THEN {tf} END AS tf
            FROM unnest(v_terms) WITH ORDINALITY AS t (q, n)
            CROSS JOIN LATERAL (
                SELECT b.user_id, b.trace_id, b.words, b.lexemes, {fits} AS fits
                FROM memory_body AS b
                WHERE b.lexemes @@ (v_users && t.q) AND {mine}
            ) AS b
        ), weight AS MATERIALIZED (
            SELECT f.n, {idf} AS idf
            FROM (
                SELECT t.n, count(p.n) AS df
                FROM generate_subscripts(v_terms, 1) AS t (n) LEFT JOIN posting AS p USING (n)
                GROUP BY t.n
            ) AS f
        ), mass AS MATERIALIZED (
            SELECT sum(m.idf) AS idf
            FROM (SELECT min(w.idf) AS idf FROM weight AS w GROUP BY v_places[w.n]) AS m
        )
        SELECT s.user_id, s.trace_id, (s.score + coalesce(h.weight, 0) * m.idf * (p_k1 + 1))::real AS score,
               m.idf * (1 + v_bonus), s.matched, coalesce(h.n, 0)
        FROM (
            SELECT p.user_id, p.trace_id, sum(w.idf * {saturation}) AS score, count(*)::integer AS matched
            FROM posting AS p JOIN weight AS w USING (n)
            WHERE p.fits
            GROUP BY p.user_id, p.trace_id
        ) AS s
        CROSS JOIN mass AS m
        LEFT JOIN unnest(v_hit_users, v_hit_traces, v_hit_weights, v_hit_counts) AS h (user_id, trace_id, weight, n)
            ON h.user_id = s.user_id AND h.trace_id = s.trace_id
        ORDER BY score DESC, s.trace_id DESC
        LIMIT p_limit;
        RETURN;
    END IF;

    -- A user too large for that. In how many traces a term stands was counted beforehand for all that are not rare, as
    -- of v_counted traces; the others are counted here.
    v_df := array_fill(NULL::double precision, ARRAY[cardinality(v_terms)]);
    FOR v_user IN
        SELECT u.counted, u.terms, u.term_traces FROM memory_user AS u
        WHERE u.user_id = ANY (p_users) AND u.space_id = v_space AND u.counted > 0
    LOOP
        v_counted := v_counted + v_user.counted;
        v_keys := v_user.terms;
        v_traces := v_user.term_traces;
        SELECT array_agg(CASE WHEN v_keys[p.place] = p.key THEN coalesce(v_df[p.n], 0) + v_traces[p.place]
                              ELSE v_df[p.n] END ORDER BY p.n)
        INTO v_df
        FROM (
            SELECT w.n, w.key, width_bucket(w.key, v_keys) AS place
            FROM (SELECT t.n, reverie_term_key(t.word) AS key FROM unnest(v_words) WITH ORDINALITY AS t (word, n)) AS w
        ) AS p;
    END LOOP;
    IF 2 * v_counted >= p_traces THEN
        -- All that are rare in one scan: one for each would go through the users' own list as many times.
        SELECT string_agg(t.q::text, '|')::tsquery INTO v_query
        FROM unnest(v_terms, v_df) AS t (q, df) WHERE t.df IS NULL;
        SELECT array_agg(CASE WHEN t.df IS NULL THEN coalesce(c.df, 0)
                              ELSE least(p_traces, t.df * p_traces / v_counted) END ORDER BY t.n)
        INTO v_df
        FROM unnest(v_df) WITH ORDINALITY AS t (df, n)
        LEFT JOIN (
            SELECT r.n, count(*)::double precision AS df
            FROM (
                SELECT b.lexemes FROM memory_body AS b
                WHERE b.lexemes @@ (v_users && v_query) AND {mine}
                LIMIT 20 * p_cap
            ) AS b
            CROSS JOIN unnest(v_terms, v_df) WITH ORDINALITY AS r (q, df, n)
            WHERE r.df IS NULL AND b.lexemes @@ r.q
            GROUP BY r.n
        ) AS c USING (n);
    ELSE
        SELECT array_agg((
            SELECT count(*) FROM (
                SELECT FROM memory_body AS b WHERE b.lexemes @@ (v_users && t.q) AND {mine} LIMIT 50 * p_cap
            ) AS c
        ) ORDER BY t.n) INTO v_df
        FROM unnest(v_terms) WITH ORDINALITY AS t (q, n);
    END IF;
    SELECT array_agg({idf} ORDER BY f.n) INTO v_idf FROM unnest(v_df) WITH ORDINALITY AS f (df, n);
    SELECT sum(m.idf) INTO v_mass
    FROM (SELECT min(t.idf) AS idf FROM unnest(v_idf, v_places) AS t (idf, place) GROUP BY t.place) AS m;

    -- A filter that leaves few traces: these, by their keys.
    IF v_ids IS NULL AND (p_since IS NOT NULL OR p_until IS NOT NULL) THEN
        SELECT coalesce(array_agg(w.id), '{}') INTO v_ids
        FROM (
            SELECT t.id FROM memory_trace AS t
            WHERE t.user_id = ANY (p_users) AND t.space_id = v_space
              AND t.happened_at >= coalesce(p_since, '-infinity') AND t.happened_at < coalesce(p_until, 'infinity')
            LIMIT 2 * p_cap + 1
        ) AS w;
    END IF;
    v_by_id := coalesce(cardinality(v_ids) <= 2 * p_cap, false);

    -- Else those whose words weigh most. In round 1: of more than seven words the rarest, as many as stand in half a
    -- cap of traces; of the next seven as many combinations, by the sum of their idf, as are expected to fill a budget
    -- if words stand independently of one another. The budget is such that few words and many take the same time. Where
    -- that brings too few, round 2 has four times the budget; where it brings hardly any, round 3 takes all words.
    SELECT count(*) FILTER (WHERE r.place <= r.words - 7 AND r.upto <= p_cap / 2) INTO v_rarest
    FROM (
        SELECT sum(t.df) OVER w AS upto, row_number() OVER w AS place, count(*) OVER () AS words
        FROM unnest(v_idf, v_df) WITH ORDINALITY AS t (idf, df, n)
        WHERE t.df > 0
        WINDOW w AS (ORDER BY t.idf DESC, t.n ROWS UNBOUNDED PRECEDING)
    ) AS r;
    FOR v_round IN 1..3 LOOP
        v_budget := greatest(p_cap * 8 / (1 + cardinality(v_terms)), p_cap / 4) * CASE v_round WHEN 1 THEN 1 ELSE 4 END;
        WITH ranked AS MATERIALIZED (
            SELECT t.q, t.idf, least(t.df / p_traces, 0.999) AS share,
                   row_number() OVER (ORDER BY t.idf DESC, t.n)::integer - 1 - v_rarest AS bit
            FROM unnest(v_terms, v_idf, v_df) WITH ORDINALITY AS t (q, idf, df, n)
            WHERE t.df > 0
        ), combination AS (
            SELECT c.mask, sum(r.idf) FILTER (WHERE (c.mask >> r.bit) & 1 = 1) AS mass,
                   min(r.idf) FILTER (WHERE (c.mask >> r.bit) & 1 = 1) AS least,
                   string_agg(r.q::text, '&') FILTER (WHERE (c.mask >> r.bit) & 1 = 1) AS q,
                   p_traces * exp(sum(ln(CASE WHEN (c.mask >> r.bit) & 1 = 1 THEN r.share ELSE 1 - r.share END))) AS n
            FROM generate_series(1, (1 << (SELECT count(*) FROM ranked AS k WHERE k.bit BETWEEN 0 AND 6)::integer) - 1)
                AS c (mask)
            CROSS JOIN ranked AS r
            WHERE r.bit BETWEEN 0 AND 6
            GROUP BY c.mask
        ), kept AS (
            SELECT min(o.mass) AS mass
            FROM (
                SELECT c.mass, sum(c.n) OVER w AS upto, row_number() OVER w AS place
                FROM combination AS c WINDOW w AS (ORDER BY c.mass DESC, c.mask ROWS UNBOUNDED PRECEDING)
            ) AS o
            WHERE o.upto <= v_budget OR o.place = 1
        )
        SELECT string_agg(a.q, '|')::tsquery,
               v_round = 3 OR (SELECT min(r.idf) >= min(k.mass) AND max(r.bit) <= 6 FROM ranked AS r, kept AS k)
        INTO v_query, v_whole
        FROM (
            SELECT r.q::text AS q FROM ranked AS r WHERE r.bit < 0 OR v_round = 3
            UNION ALL
            -- Of what contains another combination that is heavy enough, that one says it all.
            SELECT '(' || c.q || ')' FROM combination AS c CROSS JOIN kept AS k
            WHERE c.mass >= k.mass AND c.mass - c.least < k.mass AND v_round < 3
        ) AS a;
        EXIT WHEN v_query IS NULL AND NOT v_by_id;
        IF v_round = 1 AND v_hit_traces IS NOT NULL THEN
            SELECT string_agg(f.q::text, '|')::tsquery || v_query INTO v_query FROM unnest(p_phrases) AS f (q);
        END IF;
        v_query := CASE WHEN v_seen IS NULL THEN v_query ELSE v_query && !!v_seen END;

        SELECT v_found_users || array_agg(a.user_id), v_found_traces || array_agg(a.trace_id),
               v_scores || array_agg(a.score), v_matched || array_agg(a.matched), v_phrases || array_agg(a.n)
        INTO v_found_users, v_found_traces, v_scores, v_matched, v_phrases
        FROM (
            SELECT b.user_id, b.trace_id, s.matched, coalesce(h.n, 0) AS n,
                   (s.score + coalesce(h.weight, 0) * v_mass * (p_k1 + 1))::real AS score
            FROM (
                (SELECT b.user_id, b.trace_id, b.words, b.lexemes
                 FROM memory_body AS b
                 WHERE NOT v_by_id AND b.lexemes @@ (v_users && v_query) AND {mine} AND {fits}
                 LIMIT CASE v_round WHEN 3 THEN 2 * p_cap ELSE 2 * v_budget END)
                UNION ALL
                (SELECT b.user_id, b.trace_id, b.words, b.lexemes
                 FROM unnest(v_ids) AS i (id)
                 CROSS JOIN LATERAL (
                     SELECT b.* FROM memory_body AS b
                     WHERE b.user_id = ANY (p_users) AND b.trace_id = i.id AND b.space_id = v_space
                     LIMIT 1
                 ) AS b
                 WHERE v_by_id AND {fits})
            ) AS b
            CROSS JOIN LATERAL (
                SELECT sum(p.idf * {saturation}) AS score, count(*)::integer AS matched
                FROM (
                    SELECT t.idf, b.words, {tf} AS tf FROM unnest(v_terms, v_idf) AS t (q, idf) WHERE b.lexemes @@ t.q
                ) AS p
            ) AS s
            LEFT JOIN unnest(v_hit_users, v_hit_traces, v_hit_weights, v_hit_counts)
                AS h (user_id, trace_id, weight, n) ON h.user_id = b.user_id AND h.trace_id = b.trace_id
            WHERE s.matched > 0
            ORDER BY score DESC, b.trace_id DESC
            LIMIT p_limit
        ) AS a;
        EXIT WHEN v_whole OR v_by_id OR cardinality(v_scores) >= p_limit / CASE v_round WHEN 1 THEN 1 ELSE 2 END;
        v_seen := v_query;
    END LOOP;

    RETURN QUERY
    SELECT r.user_id, r.trace_id, r.score, v_mass * (1 + v_bonus), r.matched, r.phrases
    FROM unnest(v_found_users, v_found_traces, v_scores, v_matched, v_phrases)
        AS r (user_id, trace_id, score, matched, phrases)
    ORDER BY r.score DESC, r.trace_id DESC
    LIMIT p_limit;
END
$function$
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # The lock that new columns need must not last as long as reading all traces.
        op.execute(COLUMNS)
        op.execute(LANGUAGES)
    op.execute(f"DROP FUNCTION {OLD}")
    op.execute(TERM_KEY)
    _make(NEW, BM25)


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {NEW}")
    op.execute("DROP FUNCTION reverie_term_key(text)")
    _make(OLD, _first().BM25)
    op.execute(
        "ALTER TABLE memory_user DROP COLUMN languages, DROP COLUMN counted, DROP COLUMN terms, DROP COLUMN term_traces"
    )


def _make(signature: str, body: str) -> None:
    schema = str(op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())")))
    op.execute(sa.text(_first().filled(body, schema).replace(":", r"\:")))
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO reverie_app")


def _first() -> Any:
    return context.script.get_revision(FIRST).module
