"""How commands end: exit codes, and the one line on standard error that says why."""

from typing import ClassVar

DONE = 0
REFUSED = 1
USAGE = 2
NOTHING = 3
UNAVAILABLE = 69
"""sysexits.h: EX_UNAVAILABLE."""
CONFIGURATION = 78
"""sysexits.h: EX_CONFIG."""
INTERRUPTED = 130
"""What shells report of a command that Ctrl-C ended: 128 and the number of SIGINT."""

MEANINGS = {
    DONE: "done",
    REFUSED: "the service refused, or you said no",
    USAGE: "the command was not understood",
    NOTHING: "nothing was found, or a part was rejected",
    UNAVAILABLE: "the service cannot be reached or is not ready",
    CONFIGURATION: "a setting is wrong, or Reverie cannot start",
    INTERRUPTED: "interrupted by Ctrl-C",
}
"""What each code says, for the help."""


class Failure(Exception):  # noqa: N818 - what happened, as a person reads it
    """A command ends before it is done; the message is one sentence that says what to do next."""

    code: ClassVar[int] = REFUSED


class Refused(Failure):
    """The service refused; the message is its problem document's sentence, ``status`` that of HTTP."""

    def __init__(self, sentence: str, status: int = 0, field: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.field = field


class Misused(Failure):
    """The command was not understood."""

    code = USAGE


class Nothing(Failure):
    """Nothing was found, or a part was rejected."""

    code = NOTHING


class Unavailable(Failure):
    """The service cannot be reached or is not ready."""

    code = UNAVAILABLE


class Misconfigured(Failure):
    """A setting is wrong or missing."""

    code = CONFIGURATION


class Interrupted(Failure):
    """Ctrl-C ended it."""

    code = INTERRUPTED
