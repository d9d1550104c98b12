"""An index of the edges that lead to a trace, but for mentions.

Somebody who is mentioned in tens of thousands of texts has few edges of other types. By the index of all edges these
are found only by reading the mentions too, and where so many are read at most, not at all.
"""

from alembic import op

from reverie.core.migrations import build_index, drop_index

revision = "20261122_edges_apart"
down_revision = "20261122_suggestions"
branch_labels = None
depends_on = None

ROOM = {"memory_edge": 0.25}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        build_index("memory_edge_apart", "memory_edge (user_id, dst) WHERE type <> 'mentions'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        drop_index("memory_edge_apart")
