"""Reading a table of episodes in a PostgreSQL of somebody else's, in which nothing is written."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from reverie.core.queries import Queries
from reverie.core.schema import first_line
from reverie.migrating.columns import SEVERAL, Column, Key, Plan, Related, WrongMap, planned
from reverie.migrating.rows import Row

SQL = Queries("reverie.migrating", "source.sql")

AT_ONCE: Final = 1000
"""Rows that are fetched together."""

CONNECTING: Final = 10
"""Seconds for a connection."""

_MOMENTS: Final = {"timestamp with time zone": True, "timestamp without time zone": False, "date": False}
"""Types of columns that are compared there → whether they know their offset."""

_OPTIONS: Final = (
    "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO -c extra_float_digits=1"
    # One cursor is read for as long as the other side takes to write.
    " -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c cursor_tuple_fraction=1.0"
)


class Unreadable(Exception):  # noqa: N818 - what happened
    """The source does not give what it is asked for; the message says how it put it."""


class SourceAway(Unreadable):
    """It cannot be reached, or went away, and may come back."""


def url_of(given: str) -> str:
    """A PostgreSQL URL, as SQLAlchemy writes it or not.

    Raises:
        WrongMap: it is none.
    """
    plain = given
    for driver in ("psycopg", "psycopg2", "asyncpg"):
        plain = plain.replace(f"postgresql+{driver}://", "postgresql://", 1)
    try:
        conninfo_to_dict(plain)
    except psycopg.ProgrammingError:
        raise WrongMap("--source takes the URL of a PostgreSQL: postgresql://user:password@host/name.") from None
    return plain


class Source:
    """A table of episodes."""

    def __init__(self, url: str, table: str) -> None:
        self._url = url
        self.table = table

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """A connection in one transaction that only reads.

        Raises:
            SourceAway: it cannot be reached, or broke.
            Unreadable: it refuses what it is asked for, such as a table that its user may not read.
        """
        try:
            options = f"{conninfo_to_dict(self._url).get('options') or ''} {_OPTIONS}".strip()
            conninfo = make_conninfo(
                self._url, options=options, connect_timeout=CONNECTING, application_name="reverie-migration",
                keepalives_idle=30,
            )  # fmt: skip
            connection = await AsyncConnection.connect(conninfo)
            try:
                await connection.set_read_only(True)
                await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
                yield connection
            finally:
                await connection.close()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise SourceAway(first_line(error)) from error
        except psycopg.Error as error:
            raise Unreadable(first_line(error)) from error

    async def plan(self, mapped: Mapping[str, str]) -> Plan:
        """What is brought along.

        Raises:
            WrongMap: there is no such table, or the map does not fit it.
            SourceAway: the source cannot be reached.
        """
        async with self.connected() as connection:
            written = _quoted(self.table)
            row = await _one(connection, SQL["table"], (written, written.lower()))
            if row is None:
                others = [name for (name,) in await _all(connection, SQL["tables"])]
                raise WrongMap(
                    f"--table {self.table}: the source has no such table; it has {', '.join(others) or 'none'}."
                )
            table = str(row[0])
            columns = await _columns(connection, table)
            keys = [Key(*one) for one in await _all(connection, SQL["keys"], (table, table))]
            around = {one.table for one in keys} | {one.to_table for one in keys}
            tables = {name: await _columns(connection, name) for name in around}
            unique = [name for (name,) in await _all(connection, SQL["unique"], (table,))]
        return planned(table, columns, keys, tables, mapped, unique, placed=row[1])

    async def count(self, plan: Plan, since: datetime | None) -> int:
        """How many rows there are to read; ``since`` is in the time zone of dates without an offset.

        Raises:
            SourceAway: the source cannot be reached.
        """
        async with self.connected() as connection:
            query = sql.SQL("SELECT count(*) FROM {} e").format(_table(plan.table)) + _where(plan, since)
            row = await (await connection.execute(query)).fetchone()
        return int(row[0]) if row else 0

    async def repeated(self, plan: Plan) -> set[str]:
        """Ids that more than one row has.

        Raises:
            SourceAway: the source cannot be reached.
        """
        if plan.unique:
            return set()
        key = sql.Identifier(plan.fields["id"])
        query = sql.SQL("SELECT {}::text FROM {} WHERE {} IS NOT NULL GROUP BY 1 HAVING count(*) > 1").format(
            key, _table(plan.table), key
        )
        async with self.connected() as connection:
            return {row[0] for row in await (await connection.execute(query)).fetchall()}

    async def rows(self, plan: Plan, since: datetime | None) -> AsyncGenerator[list[Row], None]:
        """All rows in the order of their time, some at once; the next are fetched while these are worked on.

        ``since`` is in the time zone of dates without an offset.

        Raises:
            SourceAway: the source cannot be reached, or went away.
        """
        async with self.connected() as connection, connection.cursor(name="episodes") as cursor:
            await cursor.execute(_select(plan, since))
            fetching = asyncio.ensure_future(cursor.fetchmany(AT_ONCE))
            try:
                while read := await fetching:
                    fetching = asyncio.ensure_future(cursor.fetchmany(AT_ONCE))
                    yield [_row(plan, one) for one in read]
            finally:
                if not fetching.done():
                    fetching.cancel()
                await asyncio.gather(fetching, return_exceptions=True)


def _row(plan: Plan, read: Sequence[Any]) -> Row:
    values = iter(read[1:])
    fields = {name: next(values) for name in plan.fields if name not in (*SEVERAL, "meta")}
    several = {
        name: [next(values) for _ in range((name in plan.fields) + len(plan.related.get(name, ())))] for name in SEVERAL
    }
    rest = {column: next(values) for column in _rest(plan)}
    return Row(read[0], fields, several, rest, plan.fields.get("meta", ""))


def _select(plan: Plan, since: datetime | None) -> sql.Composed:
    chosen: list[sql.Composable] = [sql.SQL("e.ctid::text") if plan.placed else sql.SQL("''::text")]
    joins: list[sql.Composable] = []
    for name, column in plan.fields.items():
        if name not in (*SEVERAL, "meta"):
            chosen.append(sql.SQL("e.{}::text").format(sql.Identifier(column)))
    for name in SEVERAL:
        if name in plan.fields:
            chosen.append(_json(plan.fields[name]))
        for related in plan.related.get(name, ()):
            alias = sql.Identifier(f"r{len(joins)}")
            joins.append(_joined(plan, related, alias))
            chosen.append(sql.SQL("{}.names::text").format(alias))
    chosen += [_json(column) for column in _rest(plan)]
    order: list[sql.Composable] = [
        sql.SQL("e.{} NULLS LAST").format(sql.Identifier(plan.fields[name]))
        for name in ("happened_at", "id") if name in plan.fields
    ]  # fmt: skip
    return sql.SQL("SELECT {} FROM {} e{}{} ORDER BY {}").format(
        sql.SQL(", ").join(chosen), _table(plan.table), sql.SQL("").join(joins), _where(plan, since),
        sql.SQL(", ").join([*order, sql.SQL("1")]),
    )  # fmt: skip


def _rest(plan: Plan) -> list[str]:
    """The columns that go into ``meta``; the members of an object go before columns of the same name."""
    return [*plan.rest, *([plan.fields["meta"]] if "meta" in plan.fields else [])]


def _json(column: str) -> sql.Composed:
    # Not to_jsonb: a U+0000 that a column of json holds would end the reading of all rows.
    return sql.SQL("to_json(e.{})::text").format(sql.Identifier(column))


def _joined(plan: Plan, related: Related, alias: sql.Identifier) -> sql.Composed:
    """The names of each episode, gathered at once: the table that holds them may have no index by episode."""
    other: sql.Composable = sql.SQL("")
    name = sql.SQL("j.{}").format(sql.Identifier(related.of))
    if related.through is not None:
        to = related.through
        other = sql.SQL(" JOIN {} n ON n.{} = j.{}").format(
            _table(to.to_table), sql.Identifier(to.to_column), sql.Identifier(to.column)
        )
        name = sql.SQL("n.{}").format(sql.Identifier(related.named))
    return sql.SQL(
        " LEFT JOIN (SELECT j.{key} AS key, jsonb_agg(DISTINCT {name}) AS names FROM {table} j{other}"
        " WHERE {name} IS NOT NULL GROUP BY 1) {alias} ON {alias}.key = e.{id}"
    ).format(
        key=sql.Identifier(related.key), name=name, table=_table(related.table), other=other, alias=alias,
        id=sql.Identifier(plan.fields["id"]),
    )  # fmt: skip


def _where(plan: Plan, since: datetime | None) -> sql.Composable:
    """What happened since then, where the source knows; a date that is a text is read here."""
    column = plan.type_of("happened_at")
    if since is None or column is None or column.type not in _MOMENTS:
        return sql.SQL("")
    # PostgreSQL ignores the offset of what it compares with a column that has none.
    begins = since if _MOMENTS[column.type] else since.replace(tzinfo=None)
    # Rows without a date are told of.
    return sql.SQL(" WHERE (e.{} >= {}) IS NOT FALSE").format(
        sql.Identifier(column.name), sql.Literal(begins.isoformat())
    )


def _quoted(name: str) -> str:
    """A table as it was given, with its schema or without, as an identifier."""
    parts = (part.strip('"').replace('"', '""') for part in name.split("."))
    return ".".join(f'"{part}"' for part in parts)


def _table(name: str) -> sql.Composable:
    """A table as PostgreSQL itself has written it (``regclass``): quoted where that is needed."""
    return sql.SQL(name)


async def _columns(connection: AsyncConnection[tuple[Any, ...]], table: str) -> list[Column]:
    return [Column(*one) for one in await _all(connection, SQL["columns"], (table,))]


async def _one(
    connection: AsyncConnection[tuple[Any, ...]], query: bytes, parameters: Sequence[Any] = ()
) -> tuple[Any, ...] | None:
    return await (await connection.execute(query, parameters)).fetchone()


async def _all(
    connection: AsyncConnection[tuple[Any, ...]], query: bytes, parameters: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query, parameters)).fetchall()
