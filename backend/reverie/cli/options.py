"""What the commands share: how the service is reached, the example in every help, the options of a list."""

from typing import Annotated, Any
from uuid import UUID

import typer


def profile_names(incomplete: str) -> list[str]:
    """For the shell: the profiles whose names begin so."""
    from reverie.cli import profile_file
    from reverie.cli.exits import Failure

    try:
        known = profile_file.read().known
    except Failure:
        return []
    return [name for name in known if name.startswith(incomplete)]


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="REVERIE_URL",
        help="Where the service is; by default the profile's, else on this machine at REVERIE_PORT.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="REVERIE_KEY",
        help="The API key; by default the profile's, else the one in the file `key` of REVERIE_HOME.",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        envvar="REVERIE_PROFILE",
        help="A service that `reverie profile` keeps, for what --url and --key do not say.",
        autocompletion=profile_names,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
User = Annotated[str, typer.Option("--user", "-u", help="Whose memory it is.")]
TraceIds = Annotated[list[UUID] | None, typer.Option("--trace", help="The id of a trace; repeat it for several.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many to show.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Go on where the list before ended.")]


def scope_of(traces: list[UUID] | None, *, everything: bool, **named: str | None) -> dict[str, Any] | None:
    """The traces that are meant, as the API takes it; None where that is not said in exactly one way.

    ``named``: what else the API's scope has, of which since and until together are one way.
    """
    scope: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if traces:
        scope |= {"trace_id": str(traces[0])} if len(traces) == 1 else {"trace_ids": [str(one) for one in traces]}
    if everything:
        scope["all"] = True
    ways = {"time" if name in ("since", "until") else name for name in scope}
    return scope if len(ways) == 1 else None


def example(*commands: str) -> str:
    """The end of a command's help: what one would type."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)
