"""A user is unique by its key alone.

The inner id is made of the space and the caller's string, so a second unique constraint over all three adds nothing.
But it was no arbiter of ON CONFLICT (user_id): of callers who wrote for a new user at the same moment, some failed on
it with a unique violation instead of waiting for the first. tests/migrations/test_users_by_key.py shows that.
"""

from alembic import op

from reverie.core.migrations import build_index

revision = "20261121_users_by_key"
down_revision = "20261121_queue_indexes"
branch_labels = None
depends_on = None

ROOM: dict[str, float] = {}

NAME = "memory_user_space_id_external_id_user_id_key"


def upgrade() -> None:
    op.execute(f"ALTER TABLE memory_user DROP CONSTRAINT {NAME}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        build_index(NAME, "memory_user (space_id, external_id, user_id)", unique=True)
    op.execute(f"ALTER TABLE memory_user ADD CONSTRAINT {NAME} UNIQUE USING INDEX {NAME}")
