"""Indexes for those who look after operations: what runs, by its lease; what failed, by space; vacuumed more often.

To find those whose worker died, the sweeper read every operation of a backlog, each two seconds; and among a million
that are done, nobody found the last that failed without reading them all. What was finished leaves dead entries in the
index of open operations, which the sweeper passes every time, until a vacuum: by default not before a fifth of the
table is dead. tests/migrations/test_queue_indexes.py shows the plans.
"""

from alembic import op

from reverie.core.migrations import build_index, drop_index

revision = "20261121_queue_indexes"
down_revision = "20261121_first_tables"
branch_labels = None
depends_on = None

ROOM = {"operation": 0.25}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        build_index("operation_running", "operation (lease_until) WHERE state = 'running'")
        build_index("operation_failed", "operation (space_id, finished_at) WHERE state = 'failed'")
    op.execute("ALTER TABLE operation SET (autovacuum_vacuum_scale_factor = 0.02)")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        drop_index("operation_failed")
        drop_index("operation_running")
    op.execute("ALTER TABLE operation RESET (autovacuum_vacuum_scale_factor)")
