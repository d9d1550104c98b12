"""Where a piece begins and ends in its trace, which vectors are the caller's own, what heads a store is filled with.

Without the places whoever shows the matched piece of a long trace would have to read and cut the whole text again.
"""

from alembic import op

revision = "20261121_heads"
down_revision = "20261121_lexical"
branch_labels = None
depends_on = None

ROOM: dict[str, float] = {}


def upgrade() -> None:
    op.execute("ALTER TABLE memory_embedding ADD COLUMN begins integer, ADD COLUMN ends integer")
    op.execute("ALTER TABLE memory_trace ADD COLUMN supplied boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE model ADD COLUMN heads text[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    # Further pieces and heads stay: they are vectors of the same trace, found by it as before.
    op.execute("ALTER TABLE model DROP COLUMN heads")
    op.execute("ALTER TABLE memory_trace DROP COLUMN supplied")
    op.execute("ALTER TABLE memory_embedding DROP COLUMN begins, DROP COLUMN ends")
