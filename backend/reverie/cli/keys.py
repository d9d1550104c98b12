"""`reverie key`: making, listing and ending API keys, straight in the database or with an admin key over HTTP."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar
from uuid import UUID

import typer

from reverie.auth.principal import SCOPES
from reverie.cli.exits import Misused, Nothing, Unavailable
from reverie.cli.options import AsJson, Key, Profile, Url, example
from reverie.cli.output import rows, show, show_json, table
from reverie.cli.text import moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reverie.auth.service import KeyService
    from reverie.cli.client import Client
    from reverie.core.config import Settings

T = TypeVar("T")
Space = Annotated[
    str | None,
    typer.Option(help="The space whose keys are meant: with DATABASE_URL `default` if not given, over HTTP the key's."),
]

commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list and revoke API keys.\n\nIn the database of DATABASE_URL, else with an admin key over HTTP.",
    epilog=example('reverie key create "the chat bot"', "reverie key list"),
)


class Keys(Protocol):
    """The keys of one space; a key is a dictionary as the API answers it."""

    def create(self, name: str, scopes: list[str]) -> dict[str, Any]: ...

    def newest(self) -> list[dict[str, Any]]: ...

    def revoke(self, key_id: UUID) -> None: ...


class InDatabase:
    """Keys made where nobody has one yet: by whoever may open the database."""

    def __init__(self, settings: "Settings", space: str) -> None:
        self._settings = settings
        self._space = space

    def create(self, name: str, scopes: list[str]) -> dict[str, Any]:
        async def make(keys: "KeyService") -> dict[str, Any]:
            made = await keys.create(await keys.ensure_space(self._space), name, scopes)
            return made.model_dump(mode="json")

        return self._run(make)

    def newest(self) -> list[dict[str, Any]]:
        async def fetch(keys: "KeyService") -> list[dict[str, Any]]:
            page = await keys.page(await keys.space(self._space), None, 100)
            return [key.model_dump(mode="json") for key in page]

        return self._run(fetch)

    def revoke(self, key_id: UUID) -> None:
        async def end(keys: "KeyService") -> None:
            await keys.revoke(await keys.space(self._space), key_id)

        self._run(end)

    def _run(self, action: "Callable[[KeyService], Awaitable[T]]") -> T:
        from reverie.auth.service import KeyService
        from reverie.core.database import Database
        from reverie.core.errors import NotFound

        async def run() -> T:
            database = Database(self._settings)
            await database.open()
            try:
                return await action(KeyService(database))
            finally:
                await database.close()

        try:
            return asyncio.run(run())
        except NotFound as error:
            raise Nothing(error.detail) from None


class OverHttp:
    """Keys of the space to which our own admin key belongs."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def create(self, name: str, scopes: list[str]) -> dict[str, Any]:
        with self._client as client:
            made: dict[str, Any] = client.post("/keys", {"name": name, "scopes": scopes})
        if made["key"] is None:
            # The answer with its text was lost on the way, and no repetition shows it.
            raise Unavailable(
                "The connection broke while the key was made, and its text is lost: "
                f"`reverie key revoke {made['id']}`, then make another."
            )
        return made

    def newest(self) -> list[dict[str, Any]]:
        with self._client as client:
            items: list[dict[str, Any]] = client.get("/keys", {"limit": 100})["items"]
        return items

    def revoke(self, key_id: UUID) -> None:
        with self._client as client:
            client.delete(f"/keys/{key_id}")


def keys_of(space: str | None, url: str | None, key: str | None, profile: str | None) -> Keys:
    """The way to the keys that are meant.

    Raises:
        Misused: a space was named, and there is no database to find it in.
    """
    from reverie.cli.client import connect
    from reverie.core.config import load_settings

    settings = load_settings()
    if url is None and profile is None and settings.database_url is not None:
        return InDatabase(settings, space or "default")
    if space is not None:
        raise Misused("--space needs DATABASE_URL; over HTTP the keys of your own key's space are meant.")
    return OverHttp(connect(url, key, profile))


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.add_typer(commands, name="key")


@commands.command(epilog=example('reverie key create "the chat bot" --scope read --scope write'))
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="read, write or admin; repeat it for several.")] = None,
    space: Space = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, by default to read and write; it is shown this once. A space that is new is made as well."""
    scopes = scope or ["read", "write"]
    if wrong := [one for one in scopes if one not in SCOPES]:
        raise Misused(f"--scope takes read, write or admin, not {wrong[0]!r}.")
    made = keys_of(space, url, key, profile).create(name, scopes)
    if as_json:
        show_json(made)
    else:
        show(made["key"])


@commands.command("list", epilog=example("reverie key list"))
def list_keys(
    space: Space = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List the newest 100 keys of a space, without their text."""
    found = keys_of(space, url, key, profile).newest()
    if as_json:
        show_json(found)
        return
    made = table("id", "name", "scopes", "state", whole=("id",))
    show(rows(made, [_cells(one) for one in found]))


@commands.command(epilog=example("reverie key revoke 01a1fddb-3908-7000-9a7b-8cdc70eccf43"))
def revoke(
    key_id: Annotated[UUID, typer.Argument(help="The id that `reverie key list` shows.")],
    space: Space = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
) -> None:
    """End a key."""
    keys_of(space, url, key, profile).revoke(key_id)
    show(f"{key_id} is revoked.")


def _cells(one: dict[str, Any]) -> list[str]:
    state = f"revoked {moment(one['revoked_at'])}" if one["revoked_at"] else f"made {moment(one['created_at'])}"
    return [one["id"], one["name"], " ".join(one["scopes"]), state]
