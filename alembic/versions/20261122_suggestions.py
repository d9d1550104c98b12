"""Suggestions that a person has dismissed: pairs of traces that are never suggested to one another again."""

from alembic import op

revision = "20261122_suggestions"
down_revision = "20261122_profile"
branch_labels = None
depends_on = None

ROOM: dict[str, float] = {}

CURRENT_SPACE = "(SELECT nullif(current_setting('reverie.space', true), '')::uuid)"

TABLE = """
CREATE TABLE memory_dismissal (
    space_id uuid NOT NULL,
    user_id uuid NOT NULL,
    trace_id uuid NOT NULL,
    other_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT memory_dismissal_pkey PRIMARY KEY (user_id, trace_id, other_id),
    CONSTRAINT memory_dismissal_ordered_check CHECK (trace_id < other_id),
    CONSTRAINT memory_dismissal_user_id_trace_id_fkey FOREIGN KEY (user_id, trace_id)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE,
    CONSTRAINT memory_dismissal_user_id_other_id_fkey FOREIGN KEY (user_id, other_id)
        REFERENCES memory_trace (user_id, id) ON DELETE CASCADE
)
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("CREATE INDEX memory_dismissal_other ON memory_dismissal (user_id, other_id)")
    op.execute("ALTER TABLE memory_dismissal ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY memory_dismissal_space ON memory_dismissal USING (space_id = {CURRENT_SPACE}) "
        f"WITH CHECK (space_id = {CURRENT_SPACE})"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON memory_dismissal TO reverie_app")


def downgrade() -> None:
    op.execute("DROP TABLE memory_dismissal")
