"""The signs of each vector, the covering indexes in the order of ids, and what is known of the indexes of large users.

``bits`` stays null where a row was written before: the rows of a partition get theirs in the background, once an index
over them pays there. With the id in its key, the covering index finds the rows of a span of time, and those of given
ids, without reading all of their user.
"""

from alembic import op
from sqlalchemy import text

from reverie.core.migrations import build_index

revision = "20261121_bits"
down_revision = "20261121_neighbours"
branch_labels = None
depends_on = None

ROOM = {"memory_embedding": 0.5}

BY_USER = "(user_id, head) INCLUDE (space_id, trace_id, piece, kind, happened_at"
BY_ID = "(user_id, head, trace_id) INCLUDE (space_id, piece, kind, happened_at"

COVERING = text("""
    SELECT c.relname, i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid)
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_inherits h ON h.inhrelid = i.indrelid
    WHERE h.inhparent = 'memory_embedding'::regclass AND c.relname LIKE '%\\_exact' AND i.indisvalid
    ORDER BY 1
""")

MEMORY_INDEX = """
CREATE TABLE memory_index (
    user_id uuid NOT NULL,
    table_name text NOT NULL,
    model_id smallint NOT NULL,
    head smallint NOT NULL,
    method text NOT NULL,
    lower uuid NOT NULL,
    upper uuid NOT NULL,
    index_name text NOT NULL,
    rows bigint NOT NULL,
    looks integer NOT NULL,
    recall real NOT NULL,
    kinds bigint[] NOT NULL,
    moments timestamptz[] NOT NULL,
    built_at timestamptz NOT NULL,
    CONSTRAINT memory_index_pkey PRIMARY KEY (user_id, table_name, model_id, head, method, lower),
    CONSTRAINT memory_index_method_check CHECK (method IN ('bits', 'hnsw')),
    CONSTRAINT memory_index_range_check CHECK (lower < upper),
    CONSTRAINT memory_index_table_name_fkey FOREIGN KEY (table_name)
        REFERENCES memory_partition (table_name) ON DELETE CASCADE,
    CONSTRAINT memory_index_model_id_fkey FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
)
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        rebuild(BY_USER, BY_ID)
    take_over(BY_USER)
    op.execute("ALTER TABLE memory_embedding ADD COLUMN bits bit varying")
    op.execute(MEMORY_INDEX)
    op.execute("GRANT SELECT ON memory_index TO reverie_app")


def downgrade() -> None:
    drop_indexes_of_users()
    with op.get_context().autocommit_block():
        rebuild(BY_ID, BY_USER)
    take_over(BY_ID)
    op.execute("DROP TABLE memory_index")
    op.execute("ALTER TABLE memory_embedding DROP COLUMN bits")


def rebuild(old: str, new: str) -> None:
    """Builds the covering indexes anew beside those that stand."""
    for name, table, definition in op.get_bind().execute(COVERING).all():
        _, found, tail = definition.partition(f" USING btree {old}")
        if found:
            build_index(f"{name}_new", f"{table} {new}{tail}")


def take_over(old: str) -> None:
    """Puts the new ones in the place of those that stand."""
    for name, _, definition in op.get_bind().execute(COVERING).all():
        if f" USING btree {old}" in definition:
            op.execute(f"DROP INDEX {name}")
            op.execute(f"ALTER INDEX {name}_new RENAME TO {name}")


def drop_indexes_of_users() -> None:
    """Drops the HNSW indexes that hold one user's vectors; those over bits go with their column."""
    for (name,) in op.get_bind().execute(text("SELECT index_name FROM memory_index WHERE method = 'hnsw'")).all():
        op.execute(f"DROP INDEX IF EXISTS {name}")
