"""What remembering has to know of suggestions: whoever finds them looks while the notes are encoded and written."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from reverie.auth.principal import Principal
from reverie.core.database import WriteSession
from reverie.embedding.protocol import FloatArray
from reverie.memories.schemas import Suggestion


class Note(NamedTuple):
    """A note of a request: the id that it has or is about to get. ``known``: it was remembered before."""

    id: UUID
    text: str
    language: str
    speaker: str | None
    known: bool


class Suggesting(Protocol):
    """Finds what the notes of one request connect to. What cannot be looked at is said in :attr:`degraded`."""

    @property
    def degraded(self) -> bool:
        """Whether something was not looked at, so that there may be more to suggest."""

    def take(self, notes: Sequence[Note]) -> None:
        """Which notes there are.

        Raises:
            Invalid: there are too many.
        """

    async def look(self) -> None:
        """Looks by names and words; beside the encoder."""

    async def compare(self, vectors: Mapping[UUID, FloatArray]) -> None:
        """Looks by meaning, and one edge further; after :meth:`look`. ``vectors``: of notes that are new."""

    async def link(self, session: WriteSession, stored: Collection[UUID], now: datetime) -> None:
        """Writes the edges of notes in the transaction that writes them; the user is locked. It may be done again."""

    def of(self, trace_id: UUID, note_id: UUID) -> list[Suggestion]:
        """What is suggested for a note that stands as ``trace_id``, best first; ``note_id`` as it was taken."""


class Suggester(Protocol):
    """Whoever finds suggestions."""

    def onway(self, principal: Principal, user: str, k: int) -> Suggesting | None:
        """What finds ``k`` for each note of a request; None where none are wanted."""
