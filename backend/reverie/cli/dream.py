"""`reverie dream`: what the night makes of the day, and its reports."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from reverie.cli.client import Client, connect
from reverie.cli.exits import Misused, Nothing, Refused, Unavailable
from reverie.cli.options import AsJson, Cursor, Key, Limit, Profile, Url, example
from reverie.cli.output import console, remark, rows, show, show_json, show_page, table
from reverie.cli.progress import TOLD_EVERY, every
from reverie.cli.status import size, span
from reverie.cli.store import as_of_moment, refuse_other_time, run_on_store, settings_of_store, show_paused
from reverie.cli.text import count, moment, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reverie.dream.nights import Plan
    from reverie.dream.repository import Asked, Watched
    from reverie.dream.runs import DreamRuns, Outcome, Progress

Tell = Callable[["Progress"], None]

STAGES = {
    "group": "Looking at the day",
    "summarise": "Summaries",
    "extract": "Who and what",
    "link": "Links",
    "supersede": "What has changed",
    "salience": "What matters",
    "tiers": "Tiers",
    "prune": "Retention",
}
"""The stages of a night, for a person."""

LOOKED_AGAIN = 2.0
"""Seconds between two looks at a run of somebody else's."""

WAITED = 600.0
"""Seconds that `undo` waits for its operation."""

MOST_USERS, MOST_SUMMARIES = 5, 5
"""Users of whom a report shows summaries, and how many of each."""

dream = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    epilog=example("reverie dream", "reverie dream --day 2026-08-05 --user ann", "reverie dream --dry-run"),
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    dream.callback()(begin)
    dream.command("show", epilog=example("reverie dream show"))(show_dream)
    dream.command("list", epilog=example("reverie dream list"))(list_dreams)
    dream.command(epilog=example("reverie dream undo 019ab5d0-0c11-7d2e-9a40-6b1f8e02c5d7"))(undo)
    dream.command(epilog=example("reverie dream pause"))(pause)
    dream.command(epilog=example("reverie dream resume"))(resume)
    dream.command(epilog=example("reverie dream cancel"))(cancel)
    app.add_typer(dream, name="dream")


def begin(
    context: typer.Context,
    day: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only this day, be it dreamt or not; by default all that are due."),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Only this user's days.")] = None,
    space: Annotated[str, typer.Option(help="The space of --user.")] = "default",
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="DATE",
            help="Dream what would be due then (ISO 8601); only where the service listens on this machine alone.",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Only follow the run that goes on elsewhere.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is due.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Another time, though others reach the service.")] = False,
    as_json: AsJson = False,
) -> None:
    """Dream what is due, as a worker does every night.

    It reads the days that are over, writes their summaries, finds who and what they were about and links them, notices
    what has changed, and goes through the tiers. It works on the store of DATABASE_URL, or on the one that
    `reverie up` runs here, while the service goes on. Broken off at any moment, the next run goes on from there.
    """
    if context.invoked_subcommand is not None:
        return
    asked = _Wanted(_day(day), user, space, as_of_moment(as_of))
    settings = settings_of_store("error")
    if asked.as_of is not None:
        refuse_other_time(settings, force=force)
    if watch:
        _follow(settings, as_json=as_json)
        return

    async def look(runs: "DreamRuns") -> "Plan":
        return await runs.due(await asked.inner(runs), asked.as_of)

    async def work(runs: "DreamRuns", tell: Tell) -> "Outcome":
        return await runs.run(await asked.inner(runs), asked.as_of, tell)

    if dry_run:
        _show_plan(run_on_store(_opened(settings, look), "Nothing was done."), as_json=as_json)
        return
    with _progress() as tell:
        outcome = run_on_store(
            _opened(settings, lambda runs: work(runs, tell)), "The next run goes on from there."
        )  # fmt: skip
    told = _told(outcome, asked)
    if as_json:
        show_json(told)
    else:
        show(*_page(told))
    if outcome.error:
        raise Unavailable("A part could not be done; the next run tries again.")


def show_dream(
    dream_id: Annotated[UUID | None, typer.Argument(metavar="ID", help="The run; by default the last one.")] = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show what a night made of the day.

    What each stage did, what was left out and why, and how the days of up to five users are told.
    """
    with connect(url, key, profile) as client:
        if dream_id is None:
            items = client.get("/dreams", {"limit": 1})["items"]
            if not items:
                raise Nothing("Nobody has dreamt yet: a worker does every night, `reverie dream` does it now.")
            dream_id = UUID(items[0]["dream_id"])
        found = client.get(f"/dreams/{dream_id}")
        summaries = [] if as_json else list(_summaries(client, found))
    if as_json:
        show_json(found)
    else:
        show(*_page(found), *summaries)


def list_dreams(
    limit: Limit = 20,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first."""
    with connect(url, key, profile) as client:
        page = client.get("/dreams", {"limit": limit, "cursor": cursor})
    made = table("id", "began", "state", "days", "users", "took", whole=("id",), right=("days", "users", "took"))
    cells = [
        [one["dream_id"], moment(one["started_at"]), one["state"], one["days"], one["users"], span(one["seconds"])]
        for one in page["items"]
    ]
    if not page["items"] and not as_json:
        raise Nothing("Nobody has dreamt yet.")
    show_page(page, made, cells, as_json=as_json)


def undo(
    dream_id: Annotated[UUID, typer.Argument(metavar="ID", help="The run, as `reverie dream list` shows it.")],
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Take back what a run made, but what a person changed.

    Its days count as dreamt all the same: they are dreamt again when their traces change, or with --day. It needs an
    admin key.
    """
    import time

    with connect(url, key, profile) as client:
        accepted = client.delete(f"/dreams/{dream_id}")
        until = time.monotonic() + WAITED
        while True:
            found = client.get(f"/operations/{accepted['operation_id']}")
            if found["state"] in ("done", "failed") or time.monotonic() > until:
                break
            time.sleep(0.5)
    if as_json:
        show_json(found)
    elif found["state"] == "done":
        did = found["result"]
        kept = f"; {count(did['kept'], 'trace')} stay, for somebody changed or pinned them" if did["kept"] else ""
        show(f"{count(did['traces'], 'trace')} and {count(did['edges'], 'link')} are taken back{kept}.")
    if found["state"] == "failed":
        raise Refused(found["error"] or "It could not be taken back.")
    if found["state"] != "done":
        raise Unavailable(f"It goes on: `reverie operation {accepted['operation_id']}` says how far it is.")


def pause(as_json: AsJson = False) -> None:
    """Let the run that goes on rest, and begin no other.

    Until `reverie dream resume`.
    """
    _control("pause", as_json, "The dream is paused.", "It was paused already.")


def resume(as_json: AsJson = False) -> None:
    """Let runs go on; a worker takes up what rests."""
    _control("resume", as_json, "The dream goes on: what rests is taken up within minutes.", "It was not paused.")


def _control(what: str, as_json: bool, done: str, before: str) -> None:
    settings = settings_of_store("error")

    async def work(runs: "DreamRuns") -> bool:
        return await (runs.pause() if what == "pause" else runs.resume())

    show_paused(_opened(settings, work), what == "pause", done, before, as_json=as_json)


def cancel(as_json: AsJson = False) -> None:
    """End the run that goes on or rests; what it has dreamt stays."""
    settings = settings_of_store("error")
    ended = run_on_store(_opened(settings, lambda runs: runs.cancel()), "It may not have been done.")
    if as_json:
        show_json({"cancelled": [str(one) for one in ended]})
    elif ended:
        show("The run ends before its next stage; the next night goes on with the days that are left.")
    else:
        raise Nothing("Nobody is dreaming.")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for, in the caller's words."""

    day: date | None
    user: str | None
    space: str
    as_of: datetime | None

    async def inner(self, runs: "DreamRuns") -> "Asked":
        """The same by inner ids.

        Raises:
            NotFound: there is no such space, or no such user in it.
            Conflict: the user does not dream.
        """
        from reverie.auth.service import KeyService
        from reverie.core.ids import user_uuid
        from reverie.dream.repository import Asked
        from reverie.dream.service import who_dreams

        if self.user is None:
            return Asked(day=self.day)
        space_id = await KeyService(runs.database).space(self.space)
        user_id = user_uuid(space_id, self.user)
        async with runs.database.reading(space_id) as session:
            await who_dreams(session, user_id, self.user)
        return Asked(space_id, user_id, self.day)


async def _opened(settings: Any, work: Callable[["DreamRuns"], Any]) -> Any:
    from reverie.embedding.priority import give_way
    from reverie.runtime import open_dreams

    # Whoever is served by this machine goes first.
    give_way()
    async with open_dreams(settings) as runs:
        return await work(runs)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    from reverie.dream.schemas import a_day

    try:
        day = a_day(text.strip())
    except ValueError as error:
        raise Misused(f"--day {error}.") from None
    if day > (datetime.now(UTC) + timedelta(hours=14)).date():
        raise Misused(f"--day takes a day that has begun, not {day}.")
    return day


def _follow(settings: Any, *, as_json: bool) -> None:
    """Says how far the run of another process is, until it ends."""

    async def work(runs: "DreamRuns") -> "Watched | None":
        from reverie.dream.runs import Progress

        last: Watched | None = None
        with _progress() as tell:
            while (now := await runs.watch()) is not None and (last is None or now.id == last.id):
                tell(Progress("", f"since {moment(now.started_at.isoformat())}", now.days))
                last = now
                await asyncio.sleep(LOOKED_AGAIN)
        return last

    last = run_on_store(_opened(settings, work), "The run itself goes on.")
    if last is None:
        raise Nothing("Nobody is dreaming; a worker does every night, `reverie dream` does it now.")
    if as_json:
        show_json({"dream_id": str(last.id), "days": last.days, "failed": last.failed})
    else:
        show(f"The run {last.id} has ended; `reverie dream show {last.id}` shows what it did.")


def _show_plan(plan: "Plan", *, as_json: bool) -> None:
    """What is due."""
    by_user: dict[str, list[Any]] = {}
    for due in plan.days:
        by_user.setdefault(due.who.external_id, []).append(due)
    if as_json:
        days = [{"user_id": due.who.external_id, "day": str(due.day), "traces": due.traces} for due in plan.days]
        show_json({"days": days})
        return
    if not plan.days:
        show("Nothing is due.")
        return
    made = table("user", "days", "from", "to", "traces", right=("days", "traces"))
    cells = [
        [user, count(len(days)), str(days[0].day), str(days[-1].day), count(sum(one.traces for one in days))]
        for user, days in sorted(by_user.items())
    ]
    show(rows(made, cells), f"{count(len(plan.days), 'day')} of {count(len(by_user), 'user')} would be dreamt.")


def _told(outcome: "Outcome", asked: _Wanted) -> dict[str, Any]:
    """What a run did here, in the shape in which the API tells it."""
    return {
        "asked": {"day": str(asked.day) if asked.day else None, "user_id": asked.user},
        "dream_id": str(outcome.id), "state": outcome.state, "as_of": outcome.as_of.isoformat(), "days": outcome.days,
        "failed": outcome.failed, "left": outcome.left, "users": outcome.users, "aside": outcome.aside,
        "capped": outcome.capped, "seconds": outcome.seconds, "error": outcome.error,
        "stages": [
            {
                "name": name, "state": total.state, "saw": total.did.saw, "made": total.did.made,
                "moved": total.did.moved, "removed": total.did.removed, "skipped": dict(total.did.skipped),
                "seconds": round(total.seconds, 3), "bytes": total.did.bytes, "model": total.did.model,
                "tokens": total.did.tokens, "error": total.error,
            }
            for name, total in outcome.stages.items()
        ],
    }  # fmt: skip


def _page(found: Mapping[str, Any]) -> "list[RenderableType]":
    """A report, for a person in the morning."""
    return [_headline(found), *([_stages(found)] if found["days"] or _moved(found) else []), *_notes(found)]


def _headline(found: Mapping[str, Any]) -> str:
    began = f"The night of {moment(found['started_at'])}: " if found.get("started_at") else ""
    if not found["days"]:
        day = found["asked"]["day"]
        none = "no day was due" if day is None else f"nothing of {day} is remembered that could be dreamt"
        said = f"{none}, and it took {span(found['seconds'])}."
        return f"{began}{said}" if began else said[0].upper() + said[1:]
    seen = max((one["saw"] for one in found["stages"]), default=0)
    what = f"{count(found['days'], 'day')} of {count(found['users'], 'user')}, {count(seen, 'trace')}"
    return f"{began}{what}, in {span(found['seconds'])}."


def _moved(found: Mapping[str, Any]) -> bool:
    return any(one["moved"] or one["removed"] for one in found["stages"])


def _stages(found: Mapping[str, Any]) -> "RenderableType":
    made = table("stage", "read", "made", "taken away", "moved", "took", "", whole=("stage",),
                 right=("read", "made", "taken away", "moved", "took"))  # fmt: skip
    cells = [
        [
            STAGES.get(one["name"], one["name"]), *(count(one[name]) if one[name] else "" for name in
            ("saw", "made", "removed", "moved")), span(one["seconds"]), _beside(one),
        ]
        for one in found["stages"]
    ]  # fmt: skip
    return rows(made, cells)


def _beside(stage: Mapping[str, Any]) -> str:
    said = [size(stage["bytes"])] if stage["bytes"] else []
    if stage["model"]:
        said.append(f"{stage['model']}, {count(stage['tokens'], 'token')}")
    return ", ".join(said)


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    """What was left out, and why."""
    for stage in found["stages"]:
        for why, number in sorted(stage["skipped"].items()):
            yield f"{STAGES.get(stage['name'], stage['name'])}: {count(number)} left out ({why})."
    for stage in found["stages"]:
        if stage["error"]:
            yield f"{STAGES.get(stage['name'], stage['name'])}: {stage['error']}"
    if found["failed"]:
        yield f"{count(found['failed'], 'day')} could not be dreamt wholly; the next night tries again."
    if found["left"]:
        why = "The time of this run was over (DREAM_MAX_MINUTES)" if found["capped"] else "The run was ended"
        yield f"{why}: {count(found['left'], 'day')} are left for the next night."
    if found["state"] in ("running", "paused", "cancelled", "undone"):
        words = {"running": "goes on", "paused": "is paused", "cancelled": "was cancelled", "undone": "was undone"}
        yield f"This run {words[found['state']]}."


def _summaries(client: Client, found: Mapping[str, Any]) -> "Iterator[RenderableType]":
    """How the days of some users are told: the shortest form of each summary."""
    from rich.text import Text

    for who in found["dreamt"][:MOST_USERS]:
        query = {"user_id": who["user_id"], "kind": "summary", "limit": 100}
        items = client.get("/memory/traces", query)["items"]
        told = [one for one in items if _is_of(one["meta"], who)]
        told.sort(key=lambda one: (one["meta"]["day"], one["happened_at"]), reverse=True)
        if not told:
            continue
        page = Text(f"\n{one_line(who['user_id'])}", style="bold")
        for one in told[:MOST_SUMMARIES]:
            meta = one["meta"]
            page.append(f"\n  {meta['day']}  ", style="dim")
            page.append(one_line(meta.get("short") or one["content"] or ""), style="none")
        if len(told) > MOST_SUMMARIES:
            page.append(f"\n  … and {count(len(told) - MOST_SUMMARIES)} more", style="dim")
        yield page


def _is_of(meta: Mapping[str, Any], who: Mapping[str, Any]) -> bool:
    day = meta.get("day")
    return isinstance(day, str) and str(who["first_day"]) <= day <= str(who["last_day"])


@contextmanager
def _progress() -> Iterator[Tell]:
    """On a terminal a bar; elsewhere a line every ten seconds. Both on standard error."""
    if not sys.stderr.isatty():
        yield every(TOLD_EVERY, lambda now: remark(f"{_sentence(now)} …", style="dim"), at_once=True)
        return
    from rich import progress

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console(stderr=True), transient=True) as bars:
        task = bars.add_task("Dreaming", total=None)

        def tell(now: "Progress") -> None:
            bars.update(task, description=_sentence(now), completed=now.done, total=now.total)

        yield tell


def _sentence(now: "Progress") -> str:
    if now.stage:
        return f"{STAGES.get(now.stage, now.stage)}, {now.what}: {count(now.done)}"
    return f"Dreaming {now.what}: {count(now.done, 'day')}" if now.what else "Dreaming"
