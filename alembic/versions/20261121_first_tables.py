"""The tables of spaces, users, traces, their bodies, embeddings and edges; the walls around them; the lexical arm."""

import time
from itertools import pairwise

import psycopg
import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError, InternalError

from reverie.core.errors import StartError

revision = "20261121_first_tables"
down_revision = None
branch_labels = None
depends_on = None

LOCK_TIMEOUT = "SET LOCAL lock_timeout = '1s'"

CREATE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reverie_app') THEN
        CREATE ROLE reverie_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
EXCEPTION
    -- Another database of the cluster made it at the same moment.
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$
"""

TABLES = """
CREATE TABLE space (
    id uuid NOT NULL,
    name text NOT NULL,
    identity_key bytea NOT NULL DEFAULT (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    created_at timestamptz NOT NULL,
    CONSTRAINT space_pkey PRIMARY KEY (id),
    CONSTRAINT space_name_key UNIQUE (name)
);

CREATE TABLE api_key (
    id uuid NOT NULL,
    space_id uuid NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT api_key_pkey PRIMARY KEY (id),
    CONSTRAINT api_key_hash_key UNIQUE (hash),
    CONSTRAINT api_key_scopes_check CHECK (scopes <@ ARRAY['read', 'write', 'admin']::text[]),
    CONSTRAINT api_key_space_id_fkey FOREIGN KEY (space_id) REFERENCES space (id) ON DELETE CASCADE
);
CREATE INDEX api_key_space_id ON api_key (space_id);

CREATE TABLE memory_user (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    external_id text NOT NULL,
    kind text NOT NULL DEFAULT 'person',
    version bigint NOT NULL DEFAULT 0,
    traces bigint NOT NULL DEFAULT 0,
    words bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT memory_user_pkey PRIMARY KEY (user_id),
    CONSTRAINT memory_user_space_id_external_id_user_id_key UNIQUE (space_id, external_id, user_id),
    CONSTRAINT memory_user_kind_check CHECK (kind IN ('person', 'agent', 'fleet', 'knowledge')),
    CONSTRAINT memory_user_space_id_fkey FOREIGN KEY (space_id) REFERENCES space (id) ON DELETE CASCADE
);
CREATE INDEX memory_user_created ON memory_user (space_id, created_at, user_id);

CREATE TABLE model (
    id smallint NOT NULL GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    dim integer NOT NULL,
    precision text NOT NULL,
    active boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    CONSTRAINT model_pkey PRIMARY KEY (id),
    CONSTRAINT model_name_dim_precision_key UNIQUE (name, dim, precision),
    CONSTRAINT model_precision_check CHECK (precision IN ('fp16', 'fp32')),
    CONSTRAINT model_dim_check CHECK (dim BETWEEN 1 AND 4000)
);
CREATE UNIQUE INDEX model_active ON model (active) WHERE active;

CREATE TABLE memory_trace (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    role text,
    speaker text,
    conversation_id text,
    external_id text,
    language text NOT NULL,
    length integer NOT NULL,
    created_at timestamptz NOT NULL,
    occurred_at timestamptz,
    happened_at timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(occurred_at, created_at)) STORED,
    salience real NOT NULL,
    salience_given boolean NOT NULL,
    pinned boolean NOT NULL DEFAULT false,
    identity bytea,
    digest bytea NOT NULL,
    vectors boolean NOT NULL,
    source jsonb,
    meta jsonb NOT NULL DEFAULT '{}',
    provenance jsonb,
    updated_at timestamptz,
    deleted_at timestamptz,
    CONSTRAINT memory_trace_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT memory_trace_kind_check CHECK (kind IN ('turn', 'note', 'fact', 'chunk', 'summary', 'entity')),
    CONSTRAINT memory_trace_role_check CHECK (role IN ('user', 'assistant', 'system', 'tool'))
);
CREATE UNIQUE INDEX memory_trace_identity ON memory_trace (user_id, identity) WHERE deleted_at IS NULL;
CREATE INDEX memory_trace_created ON memory_trace (user_id, created_at);
CREATE INDEX memory_trace_happened ON memory_trace (user_id, happened_at);
CREATE INDEX memory_trace_salience ON memory_trace (user_id, salience);
CREATE INDEX memory_trace_conversation ON memory_trace (user_id, conversation_id, id)
    WHERE conversation_id IS NOT NULL;
-- Every search reads what is pending in a GIN index: 4 MB of it, the default, take 9 ms.
CREATE INDEX memory_trace_meta ON memory_trace USING gin (meta jsonb_path_ops) WITH (gin_pending_list_limit = 128);
-- Statistics taken when every user had a trace or two would make all indexes that begin with the user look alike, and a
-- look-up by (user_id, id) read all of a user's traces for each of them.
ALTER TABLE memory_trace ALTER COLUMN user_id SET (n_distinct = 100);

CREATE TABLE memory_body (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    happened_at timestamptz NOT NULL,
    words integer NOT NULL,
    kind smallint NOT NULL,
    content text NOT NULL,
    lexemes tsvector NOT NULL,
    CONSTRAINT memory_body_pkey PRIMARY KEY (user_id, trace_id),
    CONSTRAINT memory_body_user_id_trace_id_fkey FOREIGN KEY (user_id, trace_id)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE
) PARTITION BY RANGE (trace_id);

CREATE TABLE memory_embedding (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    happened_at timestamptz NOT NULL,
    piece integer NOT NULL,
    head smallint NOT NULL,
    model_id smallint NOT NULL,
    kind smallint NOT NULL,
    vec halfvec STORAGE PLAIN,
    vec_fp32 vector STORAGE PLAIN,
    CONSTRAINT memory_embedding_pkey PRIMARY KEY (user_id, trace_id, head, model_id, piece),
    CONSTRAINT memory_embedding_one_vector_check CHECK (num_nonnulls(vec, vec_fp32) = 1),
    CONSTRAINT memory_embedding_user_id_trace_id_fkey FOREIGN KEY (user_id, trace_id)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE
) PARTITION BY RANGE (trace_id);

CREATE TABLE memory_partition (
    table_name text NOT NULL,
    parent text NOT NULL,
    lower uuid NOT NULL,
    upper uuid NOT NULL,
    tier text NOT NULL DEFAULT 'hot',
    CONSTRAINT memory_partition_pkey PRIMARY KEY (table_name),
    CONSTRAINT memory_partition_tier_check CHECK (tier IN ('hot', 'warm', 'cold')),
    CONSTRAINT memory_partition_range_check CHECK (lower < upper)
);
CREATE UNIQUE INDEX memory_partition_range ON memory_partition (parent, lower);

CREATE TABLE memory_edge (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    src uuid NOT NULL,
    dst uuid NOT NULL,
    type text NOT NULL,
    weight real NOT NULL DEFAULT 1,
    ts timestamptz NOT NULL,
    meta jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT memory_edge_pkey PRIMARY KEY (user_id, src, dst, type),
    CONSTRAINT memory_edge_user_id_src_fkey FOREIGN KEY (user_id, src)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE,
    CONSTRAINT memory_edge_user_id_dst_fkey FOREIGN KEY (user_id, dst)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE
);
CREATE INDEX memory_edge_dst ON memory_edge (user_id, dst);

CREATE TABLE operation (
    id uuid NOT NULL,
    space_id uuid NOT NULL,
    user_id uuid,
    kind text NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    payload jsonb,
    trace_ids uuid[] NOT NULL DEFAULT '{}',
    result jsonb,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT operation_pkey PRIMARY KEY (id),
    CONSTRAINT operation_state_check CHECK (state IN ('pending', 'running', 'done', 'failed')),
    CONSTRAINT operation_space_id_fkey FOREIGN KEY (space_id) REFERENCES space (id) ON DELETE CASCADE
);
CREATE INDEX operation_space_id ON operation (space_id);
CREATE INDEX operation_open ON operation (created_at) WHERE state IN ('pending', 'running');
CREATE INDEX operation_finished ON operation (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE idempotency_key (
    space_id uuid NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status integer,
    response bytea,
    locked_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_key_pkey PRIMARY KEY (space_id, key)
);
CREATE INDEX idempotency_key_created ON idempotency_key (created_at);

CREATE TABLE forget_receipt (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    scope text NOT NULL,
    reason text,
    counts jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT forget_receipt_pkey PRIMARY KEY (user_id, id)
);
"""

WALLED = (
    "memory_user",
    "memory_trace",
    "memory_body",
    "memory_embedding",
    "memory_edge",
    "idempotency_key",
    "forget_receipt",
)
CURRENT_SPACE = "(SELECT nullif(current_setting('reverie.space', true), '')::uuid)"
"""As a scalar sub-select it is computed once a query, bare once a row: 20 000 rows in 9.4 ms instead of 15.1."""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON
    api_key, memory_user, memory_trace, memory_body, memory_embedding, memory_edge, operation, idempotency_key,
    forget_receipt
    TO reverie_app;
GRANT SELECT, INSERT ON space TO reverie_app;
GRANT SELECT ON model, memory_partition TO reverie_app;
"""

USER_LEXEME = r"""
CREATE FUNCTION reverie_user_lexeme(p_user uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
-- No parser of text search yields a control character, so no word can be taken for a user.
RETURN chr(1) || rtrim(encode(uuid_send(p_user), 'base64'), '=')
"""

LEXEME_QUERY = r"""
CREATE FUNCTION reverie_lexeme_query(p_lexeme text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '''' || replace(replace(p_lexeme, '\', '\\'), '''', '''''') || ''''
"""

BM25 = r"""
CREATE FUNCTION reverie_bm25(
    p_users uuid[], p_terms text[], p_kinds smallint[], p_since timestamptz, p_until timestamptz, p_before uuid,
    p_ids uuid[], p_traces bigint, p_words bigint, p_cap integer, p_limit integer,
    p_k1 double precision DEFAULT 1.2, p_b double precision DEFAULT 0.75
) RETURNS TABLE (user_id uuid, trace_id uuid, score real, idf_mass double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = {search_path}
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = on
AS $function$
#variable_conflict use_column
-- BM25 (Robertson and Zaragoza, 2009) over the users' bodies, with the idf that is never negative (ln(1 + ...)).
-- idf_mass is the sum of the idf of all terms, also of those that no body has: times k1 + 1, the most a score can be.
-- Document frequencies are those of all bodies of the users, so that scores mean the same with filters and without.
DECLARE
    v_space uuid := nullif(current_setting('reverie.space', true), '')::uuid;
    v_users tsquery;
    v_terms tsquery[];
    v_idf double precision[];
    v_query tsquery;
BEGIN
    SELECT string_agg(reverie_lexeme_query(reverie_user_lexeme(u)), '|')::tsquery INTO v_users
    FROM unnest(p_users) AS u;
    SELECT array_agg(reverie_lexeme_query(t.term)::tsquery) INTO v_terms FROM (
        -- Of very many terms the longest, which are the rarest as a rule (Zipf's law of abbreviation).
        SELECT DISTINCT term, length(term) FROM unnest(p_terms) AS term WHERE octet_length(term) BETWEEN 1 AND 2046
        ORDER BY length(term) DESC, term LIMIT 64
    ) AS t;

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
        )
        SELECT p.user_id, p.trace_id, sum(w.idf * {saturation})::real AS score,
               (SELECT sum(m.idf) FROM weight AS m)
        FROM posting AS p JOIN weight AS w USING (n)
        WHERE p.fits
        GROUP BY p.user_id, p.trace_id
        ORDER BY score DESC, p.trace_id DESC
        LIMIT p_limit;
        RETURN;
    END IF;

    -- A user too large for that: count first, take the candidates from the rarest terms up to the cap (beyond it while
    -- they are few beside the limit), score these by all terms. No term is counted beyond fifty caps of bodies.
    SELECT array_agg({idf} ORDER BY f.n),
           string_agg(f.q::text, '|') FILTER (
               WHERE f.before + f.hits <= p_cap OR f.before = 0 OR (f.before < 4 * p_limit AND f.hits < 50 * p_cap)
           )
    INTO v_idf, v_query
    FROM (
        SELECT t.n, t.q, c.df, c.hits, coalesce(sum(c.hits) OVER rarer, 0) AS before
        FROM unnest(v_terms) WITH ORDINALITY AS t (q, n)
        CROSS JOIN LATERAL (
            SELECT count(*) AS df, count(*) FILTER (WHERE b.fits) AS hits FROM (
                SELECT {fits} AS fits
                FROM memory_body AS b
                WHERE b.lexemes @@ (v_users && t.q) AND {mine}
                LIMIT 50 * p_cap
            ) AS b
        ) AS c
        WINDOW rarer AS (ORDER BY c.df, t.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) AS f;

    RETURN QUERY
    SELECT p.user_id, p.trace_id, p.score::real, (SELECT sum(m.idf) FROM unnest(v_idf) AS m (idf))
    FROM (
        SELECT b.user_id, b.trace_id, (
            SELECT sum(p.idf * {saturation})
            FROM (
                SELECT t.idf, b.words, {tf} AS tf FROM unnest(v_terms, v_idf) AS t (q, idf) WHERE b.lexemes @@ t.q
            ) AS p
        ) AS score
        FROM memory_body AS b
        WHERE b.lexemes @@ (v_users && v_query) AND {mine} AND {fits}
        LIMIT 50 * p_cap
    ) AS p
    ORDER BY p.score DESC, p.trace_id DESC
    LIMIT p_limit;
END
$function$
"""

MINE = "(b.user_id = ANY (p_users)) IS TRUE AND b.space_id = v_space"
"""The wall inside the function. IS TRUE keeps the planner from reading the primary key beside the GIN index, whose own
entry of the user says the same: that costs as much again."""

FITS = """(
                    (p_kinds IS NULL OR b.kind = ANY (p_kinds))
                    AND (p_since IS NULL OR b.happened_at >= p_since)
                    AND (p_until IS NULL OR b.happened_at < p_until)
                    AND (p_before IS NULL OR b.trace_id < p_before)
                    AND (p_ids IS NULL OR b.trace_id IN (SELECT unnest(p_ids)))
                )"""

TF = "width_bucket(ts_rank('{{1,1,1,1}}', b.lexemes, t.q)::float8, '{{{ranks}}}'::float8[])::float8"
"""How often a term stands in a body. Of one term with all weights 1, ts_rank is (1 + 1/4 + ... + 1/n^2) / 1.64493406685
for n positions, of which a tsvector keeps at most 255: twice as fast to turn around as reading unnest(lexemes)."""

IDF = "ln(1 + (greatest(p_traces, f.df) - f.df + 0.5::float8) / (f.df + 0.5::float8))"
SATURATION = """p.tf * (p_k1 + 1)
            / (p.tf + p_k1 * (1 - p_b + p_b * p.words * p_traces / greatest(p_words, 1)))"""

META_IDS = r"""
CREATE FUNCTION reverie_meta_ids(p_users uuid[], p_path jsonpath) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = {search_path}
-- What the GIN index can do for a path shows only when the path is known.
SET plan_cache_mode = force_custom_plan
AS $function$
DECLARE
    v_space uuid := nullif(current_setting('reverie.space', true), '')::uuid;
BEGIN
    RETURN QUERY
    SELECT t.id FROM memory_trace AS t
    WHERE t.user_id = ANY (p_users) AND t.space_id = v_space AND t.deleted_at IS NULL
      AND t.meta @@ p_path;
END
$function$
"""

LEXEMES = """
CREATE FUNCTION reverie_lexemes(p_language regconfig, p_content text, p_happened_at timestamptz) RETURNS tsvector
LANGUAGE sql STABLE PARALLEL SAFE
-- A tsvector holds 1 MB. 100 000 characters stay below it, four bytes each and in words with hyphens, which are kept
-- whole and in parts.
RETURN to_tsvector(
    p_language, left(p_content, 100000) || ' ' || to_char(p_happened_at AT TIME ZONE 'UTC', 'FMDD FMMonth YYYY')
)
"""

FUNCTIONS = {
    "reverie_lexemes(regconfig, text, timestamptz)": LEXEMES,
    "reverie_bm25(uuid[], text[], smallint[], timestamptz, timestamptz, uuid, uuid[], bigint, bigint, integer, integer,"
    " double precision, double precision)": BM25,
    "reverie_meta_ids(uuid[], jsonpath)": META_IDS,
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # In a transaction of its own: the role belongs to the cluster, and other databases' migrations wait for it.
        make_role()
    op.execute(LOCK_TIMEOUT)
    make_extension()
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    for table in WALLED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_space ON {table} USING (space_id = {CURRENT_SPACE}) "
            f"WITH CHECK (space_id = {CURRENT_SPACE})"
        )
    make_functions()
    for statement in GRANTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute(LOCK_TIMEOUT)
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("DROP FUNCTION reverie_lexeme_query(text), reverie_user_lexeme(uuid)")
    op.execute(
        "DROP TABLE forget_receipt, memory_edge, memory_embedding, memory_body, memory_partition, memory_trace, "
        "memory_user, model, operation, idempotency_key, api_key, space"
    )
    # The role stays: other databases of the cluster may use it. So does the extension.


def make_role() -> None:
    connection = op.get_bind()
    try:
        connection.execute(sa.text(CREATE_ROLE))
    except DBAPIError as error:
        raise _denied(
            error, "CREATE ROLE reverie_app NOLOGIN; GRANT reverie_app TO {user} WITH SET TRUE", "create roles"
        ) from error
    if connection.scalar(sa.text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'reverie_app'")):
        raise StartError(
            "The role reverie_app would pass through row-level security: run "
            "ALTER ROLE reverie_app NOSUPERUSER NOBYPASSRLS as a superuser and start again."
        )
    for attempt in range(1, 51):
        if connection.scalar(sa.text("SELECT pg_has_role(current_user, 'reverie_app', 'SET')")):
            return
        try:
            connection.execute(sa.text("GRANT reverie_app TO CURRENT_USER WITH SET TRUE, INHERIT FALSE"))
        except InternalError:
            # "tuple concurrently updated": another database of the cluster grants at the same moment.
            if attempt == 50:
                raise
            time.sleep(0.02 * attempt)
        except DBAPIError as error:
            raise _denied(error, "GRANT reverie_app TO {user} WITH SET TRUE", "grant the role reverie_app") from error


def make_extension() -> None:
    try:
        op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except DBAPIError as error:
        raise _denied(error, "CREATE EXTENSION vector in the database {database}", "create extensions") from error


def make_functions() -> None:
    schema = str(op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())")))
    op.execute(USER_LEXEME)
    op.execute(LEXEME_QUERY)
    for signature, body in FUNCTIONS.items():
        op.execute(sa.text(filled(body, schema).replace(":", r"\:")))
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO reverie_app")
    op.execute(f"GRANT USAGE ON SCHEMA {schema} TO reverie_app")


def filled(body: str, schema: str) -> str:
    parts = {
        "{search_path}": f"pg_catalog, {schema}, pg_temp",
        "{mine}": MINE,
        "{fits}": FITS,
        "{tf}": TF.format(ranks=",".join(f"{bound:.9g}" for bound in rank_bounds())),
        "{idf}": IDF,
        "{saturation}": SATURATION,
    }
    for name, part in parts.items():
        body = body.replace(name, part)
    return body


def rank_bounds() -> list[float]:
    """The bounds between what ts_rank gives for n - 1 and for n positions, n from 1 to 255."""
    ranks = [0.0]
    for n in range(1, 256):
        ranks.append(ranks[-1] + 1 / (n * n * 1.64493406685))
    return [(low + high) / 2 for low, high in pairwise(ranks)]


def _denied(error: DBAPIError, command: str, what: str) -> Exception:
    if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
        return error
    url = op.get_bind().engine
    with url.connect() as connection:
        user, database = connection.execute(sa.text("SELECT quote_ident(current_user), current_database()")).one()
    return StartError(
        f"The user {user} of DATABASE_URL may not {what}: run {command.format(user=user, database=database)} "
        "as a superuser and start again."
    )
