"""`reverie profile`: the services that --profile names; with --user what is known of somebody."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from reverie.cli import profile_file
from reverie.cli.client import Client
from reverie.cli.exits import Misused, Nothing
from reverie.cli.options import AsJson, example, profile_names
from reverie.cli.output import remark, rows, show, show_json, table
from reverie.cli.profile_page import page

Name = Annotated[str, typer.Argument(help="What the profile is called.", autocompletion=profile_names)]

commands = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    rich_markup_mode=None,
    epilog=example(
        "reverie profile --user ann",
        "reverie profile --user ann --topic work --as-of 2026-01-01",
        "reverie profile set work --url https://memory.example.org --key -",
    ),
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    commands.callback()(page)
    app.add_typer(commands, name="profile")


@commands.command("list", epilog=example("reverie profile list"))
def list_profiles(as_json: AsJson = False) -> None:
    """List the profiles.

    Their keys are not shown; the one that is meant where none is named is marked.
    """
    known = profile_file.read()
    default = known.used or profile_file.DEFAULT
    found = [
        {"name": one.name, "url": one.url, "has_key": one.key is not None, "default": one.name == default}
        for one in known.known.values()
    ]
    if as_json:
        show_json(found)
    if not found:
        raise Nothing(f"There are no profiles in {known.path}: `reverie profile set NAME --url URL` makes one.")
    if not as_json:
        made = table("", "name", "url", "key")
        marks = [
            ["*" if one["default"] else "", one["name"], one["url"], "yes" if one["has_key"] else ""] for one in found
        ]
        show(rows(made, marks))
    if exposed := known.exposed():
        remark(exposed)


@commands.command(
    "set",
    epilog=example(
        "reverie profile set work --url https://memory.example.org --key rv_1f0c…",
        "pass show reverie | reverie profile set work --key -",
    ),
)
def set_profile(
    name: Name,
    url: Annotated[str | None, typer.Option("--url", help="Where the service is.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The API key; `-` reads it from standard input.")] = None,
) -> None:
    """Make or change a profile.

    What is not given stays as it is; an empty value takes it away.
    """
    if url is None and key is None:
        raise Misused("Say what to keep: --url URL, --key KEY, or both.")
    known = profile_file.read()
    before = known.known.get(profile_file.named(name), profile_file.Profile(name))
    given = sys.stdin.read().strip() if key == "-" else key
    after = replace(
        before,
        url=before.url if url is None else url or None,
        key=before.key if given is None else given or None,
    )
    # The same checks as on the way to a service, so that what is kept can be used.
    Client(after.url or "http://127.0.0.1", after.key, "from --key").close()
    profile_file.write(replace(known, known=known.known | {name: after}))
    show(f"Kept in {known.path}.")


@commands.command("use", epilog=example("reverie profile use work"))
def use_profile(name: Name) -> None:
    """Choose the profile that is meant by default."""
    known = profile_file.read()
    known.chosen(name)
    profile_file.write(replace(known, used=name))
    show(f"{name} is meant from now on.")


@commands.command("remove", epilog=example("reverie profile remove work"))
def remove_profile(name: Name) -> None:
    """Remove a profile."""
    known = profile_file.read()
    known.chosen(name)
    left = {one: profile for one, profile in known.known.items() if one != name}
    profile_file.write(replace(known, known=left, used=None if known.used == name else known.used))
    show(f"{name} is removed.")
