"""What an admin sets while the service runs: the models, in versions that are added and never changed."""

from alembic import op

revision = "20261122_ai_settings"
down_revision = "20261122_dream"
branch_labels = None
depends_on = None

ROOM: dict[str, float] = {}

TABLE = """
CREATE TABLE ai_settings (
    version integer NOT NULL,
    saved_at timestamptz NOT NULL,
    saved_by uuid,
    changed text[] NOT NULL,
    restored integer,
    operation_id uuid,
    language_model_url text,
    language_model text,
    language_model_api_key bytea,
    language_model_max_tokens_per_night integer,
    embedding_model text,
    embedding_dim integer,
    embedding_precision text,
    embedding_url text,
    embedding_api_key bytea,
    rerank_model text,
    rerank_url text,
    rerank_api_key bytea,
    CONSTRAINT ai_settings_pkey PRIMARY KEY (version),
    CONSTRAINT ai_settings_version_check CHECK (version >= 1),
    CONSTRAINT ai_settings_precision_check CHECK (embedding_precision IN ('fp16', 'fp32'))
)
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("GRANT SELECT, INSERT ON ai_settings TO reverie_app")


def downgrade() -> None:
    op.execute("DROP TABLE ai_settings")
