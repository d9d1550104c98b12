"""Commands that work on the store itself, beside the service: the one of DATABASE_URL, or of `reverie up` here."""

from typing import TYPE_CHECKING, Any, TypeVar

from reverie.cli.exits import Interrupted, Nothing, Refused, Unavailable
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
