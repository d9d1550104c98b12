"""Commands that work on the store itself, beside the service: the one of DATABASE_URL, or of `reverie up` here."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from reverie.cli.exits import Interrupted, Misused, Nothing, Refused, Unavailable
from reverie.cli.output import show, show_json
from reverie.core.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from reverie.core.config import Settings

T = TypeVar("T")


def settings_of_store(level: str, **given: object) -> "Settings":
    """The settings, with the URL of the store that is meant; logs are told from ``level`` on.

    Raises:
        StartError: there is none.
    """
    from reverie.core.config import load_settings
    from reverie.core.telemetry import configure_logging

    configure_logging(level)
    settings = load_settings(**given)
    if settings.database_url is not None:
        return settings
    from reverie.embedded.found import running_store
    from reverie.embedded.home import Home

    url = running_store(Home(settings.reverie_home))
    if url is None:
        raise StartError(
            f"No store runs in {settings.reverie_home}: start `reverie up` in another terminal, or set DATABASE_URL."
        )
    return settings.model_copy(update={"database_url": url})


def run_on_store(work: "Coroutine[Any, Any, T]", interrupted: str) -> T:
    """What ``work`` returns; its refusals, and a signal, become those of a command."""
    import psycopg

    from reverie.core import errors
    from reverie.core.schema import unreachable
    from reverie.embedded.supervisor import run_until_stopped

    results: list[T] = []

    async def kept() -> None:
        results.append(await work)

    try:
        run_until_stopped(kept())
    except errors.NotFound as error:
        raise Nothing(error.detail) from None
    except errors.Unavailable as error:
        raise Unavailable(error.detail) from None
    except errors.ReverieError as error:
        raise Refused(error.detail, error.status) from None
    except psycopg.OperationalError as error:
        raise Unavailable(unreachable(error)) from None
    if not results:
        raise Interrupted(f"Interrupted. {interrupted}")
    return results[0]


def show_paused(work: "Coroutine[Any, Any, bool]", paused: bool, done: str, before: str, *, as_json: bool) -> None:
    """Pauses runs or lets them go on, as ``work`` does, and says whether that changed anything."""
    changed = run_on_store(work, "It may not have been done.")
    if as_json:
        show_json({"paused": paused, "changed": changed})
    else:
        show(done if changed else before)


def as_of_moment(text: str | None) -> datetime | None:
    """The moment that --as-of names; without an offset in UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Misused(f"--as-of takes an ISO 8601 date such as 2027-01-01, not {text!r}.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def refuse_other_time(settings: "Settings", *, force: bool) -> None:
    """Makes sure that a run over this store may be given another moment than now."""
    from reverie.core.errors import Invalid
    from reverie.tiers import runs

    try:
        runs.refuse_other_time(settings, force=force)
    except Invalid as error:
        raise Misused(error.detail) from None
