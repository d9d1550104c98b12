"""`reverie retention`: what is forgotten by itself."""

from typing import Annotated, Any

import typer

from reverie.cli.client import connect
from reverie.cli.exits import Misused
from reverie.cli.options import AsJson, Key, Profile, Url, example
from reverie.cli.output import rows, show, show_json, table
from reverie.cli.text import count

PATH = "/settings/retention"

RULES = {
    "ttl_days": "days after which a trace goes",
    "max_traces_per_user": "traces that a user may have",
    "salience_floor": "salience below which a trace goes",
}
"""The rules, in words."""

BY_RULE = {
    "expires_at": "have expired",
    "ttl_days": "are too old",
    "salience_floor": "have too little salience",
    "max_traces_per_user": "are too many",
}

SERVICE = "service"

commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What is forgotten by itself: look, set, run.\n\nIt needs an admin key.",
    epilog=example("reverie retention show", "reverie retention set --ttl-days 730 --dry-run"),
)

Own = Annotated[str | None, typer.Option(metavar="N", help="0 is off; `service` leaves it to the service's settings.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.add_typer(commands, name="retention")


@commands.command("show", epilog=example("reverie retention show"))
def show_retention(url: Url = None, key: Key = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show what the space forgets by itself, and who has set it. It needs an admin key."""
    with connect(url, key, profile) as client:
        found = client.get(PATH)
    if as_json:
        show_json(found)
    else:
        show(_rules(found))


@commands.command(
    "set", epilog=example("reverie retention set --ttl-days 730 --dry-run", "reverie retention set --ttl-days service")
)
def set_retention(
    ttl_days: Own = None,
    max_traces_per_user: Own = None,
    salience_floor: Own = None,
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Also what takes nearly everything at once.")] = False,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Set what the space forgets by itself, from the next run on.

    What is not named stays as it is.

    Traces go when they are older than --ttl-days, counted from when they were learned; when a user has more than
    --max-traces-per-user, the least salient first, of these the oldest; when their salience is below --salience-floor
    and they are a week old. Pinned traces stay. It needs an admin key.
    """
    given = {"ttl_days": ttl_days, "max_traces_per_user": max_traces_per_user, "salience_floor": salience_floor}
    named = {name: _number(name, text) for name, text in given.items() if text is not None}
    if not named:
        raise Misused("Say what to set: --ttl-days, --max-traces-per-user or --salience-floor.")
    with connect(url, key, profile) as client:
        before = client.get(PATH)
        kept = {name: before[name] for name in RULES}
        changed = client.put(PATH, kept | named | {"dry_run": dry_run, "force": force})
    if as_json:
        show_json(changed)
        return
    show(_rules(changed), _due(changed["due"], "would go now" if dry_run else "go at the next run"))


@commands.command("run", epilog=example("reverie retention run --dry-run", "reverie retention run"))
def run_retention(
    dry_run: DryRun = False, url: Url = None, key: Key = None, profile: Profile = None, as_json: AsJson = False
) -> None:
    """Have what is due forgotten now; a worker does so every hour by itself. It needs an admin key."""
    with connect(url, key, profile) as client:
        answer = client.post(f"{PATH}/run", {"dry_run": dry_run})
    if as_json:
        show_json(answer)
        return
    show(_due(answer["due"], "would go now" if dry_run else "go now"))
    if answer["operation_id"]:
        show(f"reverie operation {answer['operation_id']} says how far it is.")


def _number(name: str, text: str) -> float | int | None:
    option = f"--{name.replace('_', '-')}"
    if text == SERVICE:
        return None
    try:
        return float(text) if name == "salience_floor" else int(text)
    except ValueError:
        raise Misused(f"{option} takes a number or `{SERVICE}`, not {text!r}.") from None


def _rules(found: dict[str, Any]) -> Any:
    made = table("rule", "in force", "set by", "what it is", right=("in force",), whole=("rule",))
    cells = []
    for name, words in RULES.items():
        one = found["in_force"][name]
        value = "off" if not one["value"] else f"{one['value']:g}" if name == "salience_floor" else count(one["value"])
        cells.append([name, value, f"the {one['set_by']}", words])
    return rows(made, cells)


def _due(due: dict[str, Any], when: str) -> str:
    if not due["due"]:
        return f"None of {count(due['traces'], 'trace')} {'goes' if when.startswith('go') else 'would go'}."
    parts = [f"{count(n)} {BY_RULE[rule]}" for rule, n in due["by_rule"].items() if n]
    of = f"{count(due['due'])} of {count(due['traces'], 'trace')}, of {count(due['users'], 'user')}"
    return f"{of}, {when}: {', '.join(parts)}."
