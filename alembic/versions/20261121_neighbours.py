"""What recall weighs hundreds of traces by, beside each: the trace before it in its conversation, and whether it asks.

The `next` edges say the former too; a look-up of one for each candidate would cost as much as all the rest of an arm.
"""

from alembic import op

revision = "20261121_neighbours"
down_revision = "20261121_users_by_key"
branch_labels = None
depends_on = None

ROOM = {"memory_trace": 2.5}


def upgrade() -> None:
    op.execute("ALTER TABLE memory_trace ADD COLUMN follows uuid, ADD COLUMN asks boolean NOT NULL DEFAULT false")
    op.execute(
        "UPDATE memory_trace t SET follows = e.src FROM memory_edge e "
        "WHERE e.user_id = t.user_id AND e.dst = t.id AND e.type = 'next'"
    )
    op.execute(
        "UPDATE memory_trace t SET asks = true FROM memory_body b "
        "WHERE b.user_id = t.user_id AND b.trace_id = t.id AND b.content ~ '[?？؟]'"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE memory_trace DROP COLUMN follows, DROP COLUMN asks")
