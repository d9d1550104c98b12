"""How Alembic reaches the database: by DATABASE_URL, or by the URL that ``reverie.core.migrations`` hands over."""

import os
from collections.abc import Iterable
from logging.config import fileConfig
from typing import TYPE_CHECKING

from alembic import context
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from reverie.core.clock import now
from reverie.core.errors import StartError
from reverie.core.migrations import engine, prepare
from reverie.models import Base

if TYPE_CHECKING:
    from sqlalchemy.sql.schema import SchemaItem


def include_object(_item: "SchemaItem", name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    """Partitions come and go at run time; the models know only their parents."""
    return not (kind == "table" and name in partitions)


def name_revision(
    _context: MigrationContext, _revision: str | Iterable[str | None] | None, directives: list[MigrationScript]
) -> None:
    """``<date>_<what>``, so that the files sort in the order they were written (Alembic keeps 32 characters)."""
    for script in directives:
        words = (script.message or "change").lower().split()
        script.rev_id = f"{now():%Y%m%d}_{'_'.join(words)}"[:32]


def run() -> None:
    """Brings one database to the revision that was asked for."""
    url = context.config.attributes.get("url") or os.environ.get("DATABASE_URL")
    if not url:
        raise StartError("DATABASE_URL is not set: name a PostgreSQL database (postgresql://user:password@host/name).")
    with engine(url).connect() as connection:
        partitions.update(prepare(connection))
        begin = context.config.attributes.get("begin")
        if begin is not None:
            begin(connection)
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            compare_server_default=True,
            include_object=include_object,
            process_revision_directives=name_revision,
        )
        with context.begin_transaction():
            context.run_migrations()


partitions: set[str] = set()
if context.is_offline_mode():
    raise CommandError("Reverie's migrations look at the database they change: run them without --sql.")
by_command = context.config.cmd_opts is not None
if by_command and context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)
try:
    run()
except StartError as error:
    if by_command:
        raise CommandError(str(error)) from error
    raise
