"""Warm and cold memory, and forgetting that reaches them: codes of vectors, what lies on object storage, tombstones.

Vectors of a warm partition are codes and bits in place of numbers, so a row may have them instead. While a partition
is moved, a trigger that stands on it for so long notes which traces were changed meanwhile.
"""

from alembic import op

from reverie.core.migrations import build_index, drop_index

revision = "20261122_tiers"
down_revision = "20261121_reembed"
branch_labels = None
depends_on = None

ROOM: dict[str, float] = {}

CURRENT_SPACE = "(SELECT nullif(current_setting('reverie.space', true), '')::uuid)"
WALLED = ("memory_digest", "cold_segment", "cold_removal", "tombstone", "rebuild", "retention")
OPEN = ("tier_change", "tier_control", "tier_run", "cold_garbage", "store_secret")

TABLES = """
CREATE TABLE cold_segment (
    space_id uuid NOT NULL,
    id uuid NOT NULL,
    month date NOT NULL,
    model_id smallint NOT NULL,
    state text NOT NULL,
    path text NOT NULL,
    checksum bytea NOT NULL,
    bytes bigint NOT NULL,
    traces bigint NOT NULL,
    rows bigint NOT NULL,
    first_user uuid NOT NULL,
    last_user uuid NOT NULL,
    lower uuid NOT NULL,
    upper uuid NOT NULL,
    created_at timestamptz NOT NULL,
    checked_at timestamptz,
    damage text,
    CONSTRAINT cold_segment_pkey PRIMARY KEY (id),
    CONSTRAINT cold_segment_state_check CHECK (state IN ('written', 'visible')),
    CONSTRAINT cold_segment_range_check CHECK (lower < upper AND first_user <= last_user),
    CONSTRAINT cold_segment_space_id_fkey FOREIGN KEY (space_id) REFERENCES space (id) ON DELETE CASCADE
);

CREATE INDEX cold_segment_space ON cold_segment (space_id, month);

CREATE TABLE memory_digest (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    thawed_until timestamptz,
    sentence text NOT NULL,
    minhash bytea NOT NULL,
    words integer NOT NULL,
    CONSTRAINT memory_digest_pkey PRIMARY KEY (user_id, trace_id),
    CONSTRAINT memory_digest_user_id_trace_id_fkey FOREIGN KEY (user_id, trace_id)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE
);

CREATE INDEX memory_digest_thawed ON memory_digest (thawed_until) WHERE thawed_until IS NOT NULL;

CREATE TABLE cold_removal (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT cold_removal_pkey PRIMARY KEY (user_id, trace_id, segment_id)
);

CREATE INDEX cold_removal_segment ON cold_removal (segment_id);

CREATE TABLE cold_garbage (
    path text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT cold_garbage_pkey PRIMARY KEY (path)
);

CREATE TABLE tier_change (
    table_name text NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL
);

CREATE INDEX tier_change_table ON tier_change (table_name);

CREATE TABLE tier_control (
    id boolean NOT NULL DEFAULT true,
    paused boolean NOT NULL DEFAULT false,
    announced_at timestamptz,
    CONSTRAINT tier_control_pkey PRIMARY KEY (id),
    CONSTRAINT tier_control_id_check CHECK (id)
);

CREATE TABLE tier_run (
    id uuid NOT NULL,
    as_of timestamptz NOT NULL,
    state text NOT NULL,
    report jsonb NOT NULL DEFAULT '{}'::jsonb,
    error text,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT tier_run_pkey PRIMARY KEY (id),
    CONSTRAINT tier_run_state_check CHECK (state IN ('running', 'paused', 'done', 'failed'))
);

CREATE INDEX tier_run_started ON tier_run (started_at);

CREATE TABLE tombstone (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    receipt_id uuid NOT NULL,
    hash bytea,
    created_at timestamptz NOT NULL,
    CONSTRAINT tombstone_pkey PRIMARY KEY (user_id, trace_id)
);

CREATE INDEX tombstone_hash ON tombstone (user_id, hash) WHERE hash IS NOT NULL;
CREATE INDEX tombstone_receipt ON tombstone (user_id, receipt_id, trace_id);

CREATE TABLE rebuild (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    reason text NOT NULL,
    kind text NOT NULL,
    identity bytea,
    sources uuid[] NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT rebuild_pkey PRIMARY KEY (user_id, trace_id),
    CONSTRAINT rebuild_reason_check CHECK (reason IN ('forgotten', 'changed'))
);

CREATE TABLE retention (
    space_id uuid NOT NULL,
    ttl_days integer,
    max_traces_per_user integer,
    salience_floor real,
    updated_at timestamptz NOT NULL,
    CONSTRAINT retention_pkey PRIMARY KEY (space_id),
    CONSTRAINT retention_space_id_fkey FOREIGN KEY (space_id) REFERENCES space (id) ON DELETE CASCADE
);

CREATE TABLE store_secret (
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT store_secret_pkey PRIMARY KEY (fingerprint)
);
"""

NOTE_CHANGE = """
CREATE FUNCTION reverie_note_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, {schema}, pg_temp
AS $function$
-- On a partition while it is moved: which traces have to be copied again. On a table beside, the trigger names the
-- partition. The serving role has no right on tier_change.
DECLARE
    moved text := coalesce(TG_ARGV[0], TG_TABLE_NAME);
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO tier_change (table_name, user_id, trace_id) VALUES (moved, OLD.user_id, OLD.trace_id);
    ELSE
        INSERT INTO tier_change (table_name, user_id, trace_id) VALUES (moved, NEW.user_id, NEW.trace_id);
    END IF;
    RETURN NULL;
END
$function$
"""

NOTE_REMOVAL = """
CREATE FUNCTION reverie_note_removal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, {schema}, pg_temp
AS $function$
-- Whatever takes a digest away, and be it by a cascade that waited for the file to be named: the file is written anew
-- without the trace.
BEGIN
    INSERT INTO cold_removal (space_id, user_id, trace_id, segment_id, created_at)
    VALUES (OLD.space_id, OLD.user_id, OLD.trace_id, OLD.segment_id, now())
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$function$
"""


def upgrade() -> None:
    schema = str(op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar())
    op.execute("ALTER TABLE memory_embedding ADD COLUMN codes bytea")
    op.execute("ALTER TABLE memory_embedding ALTER COLUMN codes SET STORAGE PLAIN")
    # NOT VALID, so that the lock does not last as long as reading all rows; validating needs a lesser one.
    op.execute("ALTER TABLE memory_embedding DROP CONSTRAINT memory_embedding_one_vector_check")
    op.execute(
        "ALTER TABLE memory_embedding ADD CONSTRAINT memory_embedding_one_vector_check"
        " CHECK (num_nonnulls(vec, vec_fp32, codes) = 1) NOT VALID"
    )
    op.execute("ALTER TABLE memory_trace ADD COLUMN expires_at timestamptz")
    op.execute("ALTER TABLE idempotency_key ADD COLUMN user_id uuid")
    op.execute(
        "ALTER TABLE forget_receipt ADD COLUMN state text NOT NULL DEFAULT 'done',"
        " ADD COLUMN finished_at timestamptz, ADD COLUMN wal bigint,"
        " ADD CONSTRAINT forget_receipt_state_check CHECK (state IN ('running', 'done'))"
    )
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    for table in WALLED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_space ON {table} USING (space_id = {CURRENT_SPACE}) "
            f"WITH CHECK (space_id = {CURRENT_SPACE})"
        )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(WALLED)} TO reverie_app")
    op.execute("GRANT SELECT ON tier_control, tier_run TO reverie_app")
    op.execute("GRANT SELECT, INSERT ON store_secret TO reverie_app")
    op.execute("INSERT INTO tier_control DEFAULT VALUES")
    op.execute(NOTE_CHANGE.format(schema=schema))
    op.execute("REVOKE ALL ON FUNCTION reverie_note_change() FROM PUBLIC")
    op.execute(NOTE_REMOVAL.format(schema=schema))
    op.execute("REVOKE ALL ON FUNCTION reverie_note_removal() FROM PUBLIC")
    op.execute(
        "CREATE TRIGGER reverie_removed AFTER DELETE ON memory_digest"
        " FOR EACH ROW EXECUTE FUNCTION reverie_note_removal()"
    )
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE memory_embedding VALIDATE CONSTRAINT memory_embedding_one_vector_check")
        # By which what is forgotten is found: what was made of it, work that names it, answers that do.
        build_index("memory_trace_derived", "memory_trace (user_id, id) WHERE provenance ? 'sources'")
        build_index("operation_user", "operation (user_id) WHERE user_id IS NOT NULL")
        build_index("idempotency_key_user", "idempotency_key (user_id) WHERE user_id IS NOT NULL")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in ("memory_trace_derived", "operation_user", "idempotency_key_user"):
            drop_index(name)
    op.execute("ALTER TABLE idempotency_key DROP COLUMN user_id")
    op.execute("DROP FUNCTION reverie_note_change() CASCADE")
    op.execute(f"DROP TABLE {', '.join((*WALLED, *OPEN))}")
    op.execute("DROP FUNCTION reverie_note_removal()")
    op.execute("ALTER TABLE forget_receipt DROP COLUMN state, DROP COLUMN finished_at, DROP COLUMN wal")
    op.execute("ALTER TABLE memory_trace DROP COLUMN expires_at")
    op.execute("ALTER TABLE memory_embedding DROP CONSTRAINT memory_embedding_one_vector_check")
    # What is warm has no vector that the older schema could hold: it is found by its words.
    op.execute("DELETE FROM memory_embedding WHERE codes IS NOT NULL")
    op.execute("ALTER TABLE memory_embedding DROP COLUMN codes")
    op.execute(
        "ALTER TABLE memory_embedding ADD CONSTRAINT memory_embedding_one_vector_check"
        " CHECK (num_nonnulls(vec, vec_fp32) = 1)"
    )
