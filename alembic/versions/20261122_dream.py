"""The dream: which days were dreamt, what each run did, other names of entities, how often a trace was recalled, and
what users set for theirs."""

from alembic import op

from reverie.core.migrations import build_index, drop_index

revision = "20261122_dream"
down_revision = "20261122_expiry"
branch_labels = None
depends_on = None

ROOM: dict[str, float] = {}

CURRENT_SPACE = "(SELECT nullif(current_setting('reverie.space', true), '')::uuid)"
WALLED = ("dream_run", "dream_stage", "dream_user", "dream_day", "dream_aside", "memory_access", "entity_name")
OPEN = ("dream_night", "dream_control")

TABLES = """
CREATE TABLE dream_night (
    id uuid NOT NULL,
    state text NOT NULL,
    asked jsonb NOT NULL DEFAULT '{}'::jsonb,
    as_of timestamptz NOT NULL,
    whole boolean NOT NULL,
    cancelled boolean NOT NULL DEFAULT false,
    capped boolean NOT NULL DEFAULT false,
    days integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    finished_at timestamptz,
    error text,
    CONSTRAINT dream_night_pkey PRIMARY KEY (id),
    CONSTRAINT dream_night_state_check CHECK (state IN ('running', 'paused', 'done', 'failed', 'cancelled'))
);

CREATE INDEX dream_night_started ON dream_night (started_at);

CREATE TABLE dream_control (
    id boolean NOT NULL DEFAULT true,
    paused boolean NOT NULL DEFAULT false,
    CONSTRAINT dream_control_pkey PRIMARY KEY (id),
    CONSTRAINT dream_control_id_check CHECK (id)
);

CREATE TABLE dream_run (
    space_id uuid NOT NULL,
    id uuid NOT NULL,
    state text NOT NULL,
    asked jsonb NOT NULL DEFAULT '{}'::jsonb,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    finished_at timestamptz,
    report jsonb NOT NULL DEFAULT '{}'::jsonb,
    error text,
    CONSTRAINT dream_run_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT dream_run_state_check
        CHECK (state IN ('running', 'paused', 'done', 'failed', 'cancelled', 'undone')),
    CONSTRAINT dream_run_space_id_fkey FOREIGN KEY (space_id) REFERENCES space (id) ON DELETE CASCADE
);

CREATE TABLE dream_stage (
    space_id uuid NOT NULL,
    run_id uuid NOT NULL,
    stage text NOT NULL,
    place smallint NOT NULL,
    state text NOT NULL,
    saw bigint NOT NULL DEFAULT 0,
    made bigint NOT NULL DEFAULT 0,
    moved bigint NOT NULL DEFAULT 0,
    removed bigint NOT NULL DEFAULT 0,
    skipped jsonb NOT NULL DEFAULT '{}'::jsonb,
    seconds real NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    model text,
    tokens bigint NOT NULL DEFAULT 0,
    error text,
    CONSTRAINT dream_stage_pkey PRIMARY KEY (space_id, run_id, stage),
    CONSTRAINT dream_stage_state_check CHECK (state IN ('running', 'done', 'failed')),
    CONSTRAINT dream_stage_space_id_run_id_fkey FOREIGN KEY (space_id, run_id)
        REFERENCES dream_run (space_id, id) ON DELETE CASCADE
);

CREATE TABLE dream_user (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    run_id uuid NOT NULL,
    days integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    first_day date,
    last_day date,
    CONSTRAINT dream_user_pkey PRIMARY KEY (user_id, run_id),
    CONSTRAINT dream_user_user_id_fkey FOREIGN KEY (user_id) REFERENCES memory_user (user_id) ON DELETE CASCADE,
    CONSTRAINT dream_user_space_id_run_id_fkey FOREIGN KEY (space_id, run_id)
        REFERENCES dream_run (space_id, id) ON DELETE CASCADE
);

CREATE INDEX dream_user_run ON dream_user (space_id, run_id);

CREATE TABLE dream_day (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    day date NOT NULL,
    fingerprint bytea,
    state text NOT NULL,
    stage text,
    run_id uuid,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    dreamt_at timestamptz,
    CONSTRAINT dream_day_pkey PRIMARY KEY (user_id, day),
    CONSTRAINT dream_day_state_check CHECK (state IN ('pending', 'done', 'failed')),
    CONSTRAINT dream_day_user_id_fkey FOREIGN KEY (user_id) REFERENCES memory_user (user_id) ON DELETE CASCADE
);

CREATE TABLE dream_aside (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    stage text NOT NULL,
    changed_at timestamptz,
    error text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT dream_aside_pkey PRIMARY KEY (user_id, trace_id, stage),
    CONSTRAINT dream_aside_user_id_trace_id_fkey FOREIGN KEY (user_id, trace_id)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE
);

CREATE TABLE memory_access (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    recalls integer NOT NULL,
    last_at timestamptz NOT NULL,
    CONSTRAINT memory_access_pkey PRIMARY KEY (user_id, trace_id),
    CONSTRAINT memory_access_user_id_trace_id_fkey FOREIGN KEY (user_id, trace_id)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE
);

CREATE TABLE entity_name (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    hash bytea NOT NULL,
    entity_id uuid NOT NULL,
    by_hand boolean NOT NULL DEFAULT false,
    CONSTRAINT entity_name_pkey PRIMARY KEY (user_id, hash),
    CONSTRAINT entity_name_user_id_entity_id_fkey FOREIGN KEY (user_id, entity_id)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE
);

CREATE INDEX entity_name_entity ON entity_name (user_id, entity_id);
"""

INDEXES = {
    # Triples, by which those of a source are found.
    "memory_edge_sourced": "memory_edge (user_id, src) WHERE meta ? 'sources'",
    "memory_edge_superseded": "memory_edge (user_id, dst) INCLUDE (src) WHERE type = 'supersedes'",
    "memory_trace_entity": "memory_trace (user_id, id) WHERE kind = 'entity'",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            build_index(name, definition)
    op.execute(
        "ALTER TABLE memory_user ADD COLUMN time_zone text, ADD COLUMN language text, ADD COLUMN half_lives jsonb,"
        " ADD COLUMN dream boolean NOT NULL DEFAULT true, ADD COLUMN dreamt_version bigint"
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
    op.execute("GRANT SELECT ON dream_night, dream_control TO reverie_app")
    op.execute("INSERT INTO dream_control DEFAULT VALUES")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            drop_index(name)
    op.execute(f"DROP TABLE {', '.join((*WALLED, *OPEN))}")
    op.execute(
        "ALTER TABLE memory_user DROP COLUMN time_zone, DROP COLUMN language, DROP COLUMN half_lives,"
        " DROP COLUMN dream, DROP COLUMN dreamt_version"
    )
