"""`reverie key`: making, listing and ending API keys, straight in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.table import Table

from reverie.auth.principal import SCOPES
from reverie.auth.service import DEFAULT_SPACE, KeyService
from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.core.errors import NotFound

T = TypeVar("T")
Space = Annotated[str, typer.Option(help="The space whose keys are meant.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

commands = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.add_typer(commands, name="key")


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    space: Space = DEFAULT_SPACE,
    scope: Annotated[list[str] | None, typer.Option(help="read, write or admin; repeat it for several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown this once. The space is made if there is none of that name."""
    scopes = scope or ["read", "write"]
    if wrong := [one for one in scopes if one not in SCOPES]:
        raise typer.BadParameter(f"--scope takes read, write or admin, not {wrong[0]!r}.")

    async def make(keys: KeyService) -> tuple[str, str, str]:
        made = await keys.create(await keys.ensure_space(space), name, scopes)
        return str(made.id), made.prefix, made.key or ""

    key_id, _, text = _run(make)
    if as_json:
        _print_json({"id": key_id, "name": name, "scopes": scopes, "key": text})
    else:
        Console(soft_wrap=True).print(text, highlight=False, markup=False)


@commands.command("list")
def list_keys(space: Space = DEFAULT_SPACE, as_json: AsJson = False) -> None:
    """List the keys of a space, newest first."""

    async def fetch(keys: KeyService) -> list[dict[str, object]]:
        return [key.model_dump() for key in await keys.page(await keys.ensure_space(space), None, 100)]

    found = _run(fetch)
    if as_json:
        _print_json(found)
        return
    table = Table("id", "name", "prefix", "scopes", "created", "revoked")
    for key in found:
        scopes = key["scopes"] if isinstance(key["scopes"], list) else []
        table.add_row(
            str(key["id"]), str(key["name"]), str(key["prefix"]), " ".join(scopes), f"{key['created_at']:%Y-%m-%d %H:%M}",
            f"{key['revoked_at']:%Y-%m-%d %H:%M}" if key["revoked_at"] else "",
        )  # fmt: skip
    Console().print(table)


@commands.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(help="The id that `reverie key list` shows.")], space: Space = DEFAULT_SPACE
) -> None:
    """End a key."""

    async def end(keys: KeyService) -> None:
        await keys.revoke(await keys.ensure_space(space), key_id)

    try:
        _run(end)
    except NotFound as error:
        raise typer.BadParameter(error.detail) from None
    Console().print(f"{key_id} is revoked.")


def _run(action: Callable[[KeyService], Awaitable[T]]) -> T:
    async def run() -> T:
        database = Database(load_settings())
        await database.open()
        try:
            return await action(KeyService(database))
        finally:
            await database.close()

    return asyncio.run(run())


def _print_json(value: object) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
