"""${message}."""

from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# What is written at most, as a share of what each table takes now, with its indexes and partitions.
ROOM: dict[str, float] = {}

# Statements wait for locks only briefly: env.py sees to that. Indexes on tables that hold rows are made by
# reverie.core.migrations.build_index within op.get_context().autocommit_block(), before all that needs a transaction:
# the block commits what came before it, and a migration that is killed must be able to begin again.


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
