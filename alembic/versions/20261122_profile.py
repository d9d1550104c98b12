"""Indexes for profiles: the newest facts of a user, and what was changed last.

Both would be looked for among all traces of the user. Few traces are facts, and few are ever changed.
"""

from alembic import op

from reverie.core.migrations import build_index, drop_index

revision = "20261122_profile"
down_revision = "20261122_ai_settings"
branch_labels = None
depends_on = None

ROOM = {"memory_trace": 0.1}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        build_index("memory_trace_fact", "memory_trace (user_id, happened_at) WHERE kind = 'fact'")
        build_index("memory_trace_changed", "memory_trace (user_id, updated_at) WHERE updated_at IS NOT NULL")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        drop_index("memory_trace_changed")
        drop_index("memory_trace_fact")
