"""What stands in a database, as PostgreSQL itself prints it; and Alembic's commands."""

from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql

from reverie.core import schema

Connection = psycopg.Connection[tuple[Any, ...]]
Sums = dict[str, tuple[Any, ...]]

CATALOG = """
    SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
           || a.attgenerated::text || a.attidentity::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT 'constraint', c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid)
    FROM pg_constraint c WHERE c.connamespace = 'public'::regnamespace AND c.contype IN ('p', 'u', 'c', 'f')
    UNION ALL
    SELECT 'index', i.indrelid::regclass::text, i.indexrelid::regclass::text,
           pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'table', c.relname, c.relkind::text, coalesce(pg_get_partkeydef(c.oid), '')
           || coalesce((SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.reloptions) o), '')
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""

COLUMNS = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname <> 'alembic_version'
    GROUP BY c.relname
"""


def catalog(connection: Connection) -> set[tuple[Any, ...]]:
    """Everything that the models say of a database."""
    return {row for row in connection.execute(CATALOG).fetchall() if row[1] != "alembic_version"}


def catalog_of_parents(connection: Connection) -> set[tuple[Any, ...]]:
    """:func:`catalog` without the partitions, which the models do not know."""
    partitions = {row[0] for row in connection.execute("SELECT relname FROM pg_class WHERE relispartition").fetchall()}
    return {row for row in catalog(connection) if row[1] not in partitions}


def invalid_indexes(connection: Connection) -> list[str]:
    """The indexes that a killed build left behind."""
    query = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
    return [row[0] for row in connection.execute(query).fetchall()]


def columns(connection: Connection) -> dict[str, list[str]]:
    """Every table of ours with its columns; partitions are read through their parents."""
    return dict(connection.execute(COLUMNS).fetchall())


def sums(connection: Connection, of: dict[str, list[str]]) -> Sums:
    """How many rows each table has, and a checksum over what stands in these columns of them, in any order."""
    query = "SELECT count(*), sum(hashtextextended(ROW({columns})::text, 0)::numeric) FROM {table}"
    found: Sums = {}
    for table, names in of.items():
        parts = {"columns": sql.SQL(", ").join(map(sql.Identifier, names)), "table": sql.Identifier(table)}
        found[table] = connection.execute(sql.SQL(query).format(**parts)).fetchone() or ()
    return found


def migrate(url: str, revision: str) -> None:
    """Brings a database up to a revision, or down to it (``base`` is none), as ``alembic`` does by hand."""
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))
    config.attributes["url"] = url
    known = [None, *schema.revisions()]
    wanted = None if revision == "base" else revision
    act = command.upgrade if known.index(wanted) > known.index(schema.current(url)) else command.downgrade
    act(config, revision)
