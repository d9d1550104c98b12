"""An index that names the traces that expire, by when: they are looked for every few minutes, over all users."""

from alembic import op

from reverie.core.migrations import build_index, drop_index

revision = "20261122_expiry"
down_revision = "20261122_tiers"
branch_labels = None
depends_on = None

ROOM: dict[str, float] = {}

NAME = "memory_trace_expires"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        build_index(NAME, "memory_trace (expires_at) WHERE expires_at IS NOT NULL")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        drop_index(NAME)
