"""Changing the embedding model: whose vectors every write is to have, and how far a change has come."""

from alembic import op

revision = "20261121_reembed"
down_revision = "20261121_heads"
branch_labels = None
depends_on = None

ROOM = {"model": 1.0}

REEMBEDDING = """
CREATE TABLE reembedding (
    model_id smallint NOT NULL,
    state text NOT NULL,
    traces bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    made bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    after_user uuid,
    after_trace uuid,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT reembedding_pkey PRIMARY KEY (model_id),
    CONSTRAINT reembedding_state_check CHECK (state IN ('filling', 'catching up', 'closing', 'dropping')),
    CONSTRAINT reembedding_model_id_fkey FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
)
"""


def upgrade() -> None:
    op.execute("ALTER TABLE model ADD COLUMN wanted boolean NOT NULL DEFAULT false")
    op.execute("UPDATE model SET wanted = active")
    op.execute(REEMBEDDING)
    op.execute("GRANT SELECT ON reembedding TO reverie_app")


def downgrade() -> None:
    op.execute("DROP TABLE reembedding")
    op.execute("ALTER TABLE model DROP COLUMN wanted")
