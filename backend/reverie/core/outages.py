"""What is the matter with PostgreSQL, in words: for callers, who come again, and for those who look after it."""

from dataclasses import dataclass

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout, TooManyRequests

from reverie.core.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why PostgreSQL does not serve: the beginning of a sentence, and what its owner can do."""

    what: str
    look: str


GONE = Trouble("PostgreSQL cannot be reached", "look at DATABASE_URL and at its log")
CHANGING = Trouble("PostgreSQL is starting up or shutting down", "look at its log if that takes long")
CROWDED = Trouble(
    "PostgreSQL has no connection left for Reverie",
    "look at its max_connections, the limits of the role and DATABASE_POOL_SIZE",
)
AILING = Trouble("PostgreSQL cannot do its work at the moment", "look at its log")
NO_ROOM = Trouble("PostgreSQL has no room left on its disk", "nothing is stored until there is some; recall goes on")
READ_ONLY = Trouble("PostgreSQL takes no writes", "is it a replica, or set to read only? Recall goes on")

_SIGNS = (
    (CROWDED, ("too many", "remaining connection slots")),
    (CHANGING, ("starting up", "shutting down", "not yet accepting", "not accepting", "recovery")),
)
"""What the errors of connecting say; they come without an SQLSTATE."""


class Unreachable(psycopg.OperationalError):
    """PostgreSQL serves nobody now, which is known without asking it again."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble


def trouble_of(error: BaseException) -> Trouble:
    """What an error says of PostgreSQL."""
    if isinstance(error, Unreachable):
        return error.trouble
    for trouble, kinds in _KINDS:
        if isinstance(error, kinds):
            return trouble
    if getattr(error, "sqlstate", None):
        # It was asked, and answered.
        return AILING
    said = str(error)
    return next((trouble for trouble, signs in _SIGNS if any(sign in said for sign in signs)), GONE)


_KINDS: tuple[tuple[Trouble, tuple[type[psycopg.Error], ...]], ...] = (
    (NO_ROOM, (errors.DiskFull,)),
    (READ_ONLY, (errors.ReadOnlySqlTransaction,)),
    (CROWDED, (errors.TooManyConnections,)),
    (CHANGING, (errors.CannotConnectNow, errors.AdminShutdown, errors.CrashShutdown)),
)

PASSING: tuple[type[psycopg.Error], ...] = (
    psycopg.OperationalError,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
    errors.TransactionTimeout,
)
"""What is nobody's fault and passes: answered with 503 and Retry-After."""

REFUSED_WRITES = (errors.DiskFull, errors.ReadOnlySqlTransaction)
"""What a write meets, and a read does not."""

IN_THE_WAY = (errors.DeadlockDetected, errors.SerializationFailure)
"""What another transaction can do to one; PostgreSQL has taken it back, and it may be done again."""


def refusal(error: BaseException) -> Unavailable:
    """What a caller hears of one of :data:`PASSING`."""
    if isinstance(error, (*IN_THE_WAY, errors.LockNotAvailable)):
        return Unavailable("Another request was in the way; try again.", retry_after=1)
    if isinstance(error, errors.QueryCanceled):
        return Unavailable("PostgreSQL took too long; try again shortly.")
    if isinstance(error, PoolTimeout | TooManyRequests):
        return Unavailable("Every connection to PostgreSQL is in use; try again shortly.")
    trouble = trouble_of(error)
    if trouble in (NO_ROOM, READ_ONLY):
        return Unavailable(f"{trouble.what}, and nothing was stored; try again later.", retry_after=10)
    return Unavailable(f"{trouble.what}; try again shortly.")
