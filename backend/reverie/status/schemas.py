"""What goes over the wire about the service itself."""

from typing import Literal

from reverie.core.http import Answer


class Live(Answer):
    """The process answers."""

    status: Literal["live"]
    version: str


class Part(Answer):
    """One part of the service; ``detail`` says in words what is wrong."""

    status: Literal["up", "down"]
    needed: bool
    detail: str | None = None


class Ready(Answer):
    """Whether requests can be served: every part that is needed is up."""

    status: Literal["ready", "degraded", "unready"]
    parts: dict[str, Part]
