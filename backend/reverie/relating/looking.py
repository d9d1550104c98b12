"""Looking for what a text connects to: by its names and words, by its vector, and along edges.

What needs no vector is looked for at the same time on two connections, beside the encoder: words on the one, on the
other what was dismissed, then names. Then come the vector, and the edges with the rows that are shown: one round trip
each. A search that fails or is late leaves it to the others; only where it is not known what was dismissed, nothing is
suggested.
"""

import asyncio
import re
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Final, TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from reverie.core.database import Database
from reverie.core.ids import uuid7
from reverie.core.kinds import HEADS, KINDS, RECALLED_KINDS
from reverie.core.telemetry import reason
from reverie.embedding.protocol import FloatArray
from reverie.memories import entities
from reverie.memories.entities import READ_CHARS, Names, names_in
from reverie.memories.entities import Text as Written
from reverie.memories.identity import entity_identity
from reverie.memories.links import MOST_BEFORE
from reverie.memories.model import Model
from reverie.memories.suggesting import Note
from reverie.recall import lexical, vectors
from reverie.recall.arms import HEAD_START
from reverie.recall.indexes import Indexes
from reverie.recall.types import Bounds, Found, Question, trace_of
from reverie.relating import repository
from reverie.relating.types import Around, Asked, Entity, Seen
from reverie.text.sentences import content_words

DEPTH: Final = 24
"""Traces that each search finds at most."""

WORDS_READ: Final = 2000
"""Characters of a text in which its words are looked for."""

MOST_WORDS: Final = 16
"""Words of a text that are looked for, the longest first: they are rarer."""

MOST_NEW_NAMES: Final = 8
"""Names of a text that have no entity yet and are looked for in other texts."""

LONG: Final = 2000
"""Characters of a text in which names are found beside the event loop."""

ENTITIES, WORDS, MEANING, EDGES, DISMISSED = "entities", "lexical", "semantic", "edges", "dismissed"

T = TypeVar("T")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
log = structlog.get_logger(__name__)


class Looker:
    """The searches of one process. ``seconds``: that each may take."""

    def __init__(self, database: Database, model: Model, indexes: Indexes, seconds: float) -> None:
        self._database = database
        self._model = model
        self._indexes = indexes
        self._seconds = seconds

    async def look(self, asked: Asked, note: Note) -> Seen:
        """What needs no vector. The encoder, beside which this is done, has a head start."""
        seen = Seen()
        await asyncio.sleep(HEAD_START)
        words, _ = await asyncio.gather(
            self._whole(WORDS, self._words(asked, note), seen.missed), self._known(asked, note, seen)
        )
        seen.words = words or {}
        return seen

    async def _known(self, asked: Asked, note: Note, seen: Seen) -> None:
        """What was dismissed, then the names, in turn: beside the words, admission reckons with one connection more.

        Not in one transaction: names that are late would take what was dismissed with them, without which nothing is
        suggested.
        """
        gone = await self._whole(DISMISSED, self._dismissed(asked, note), seen.missed)
        if gone is not None:
            seen.dismissed = gone
            seen.entities = await self._whole(ENTITIES, self._names(asked, note, seen), seen.missed) or []

    async def alike(self, asked: Asked, vector: FloatArray, missed: list[str]) -> dict[UUID, tuple[float, bool]]:
        """Trace → cosine of its best piece, and whether that is its beginning."""
        found = await self._whole(MEANING, self._nearest(asked, vector), missed)
        if found is None:
            return {}
        return {trace_of(key): (score, found.pieces[key][1] == 0) for key, score in found.scores.items()}

    async def around(
        self, asked: Asked, trace_ids: Sequence[UUID], own: UUID | None, missed: list[str]
    ) -> Around:  # fmt: skip
        """The rows of traces, with what stands one edge from them."""

        async def read() -> Around:
            async with self._database.reading(asked.space_id, seconds=self._seconds) as session:
                return await repository.around(session, asked.user_id, trace_ids, own, asked.now)

        return await self._whole(EDGES, read(), missed) or Around()

    async def own_vector(self, asked: Asked, trace_id: UUID, missed: list[str]) -> FloatArray | None:
        """The vector of a trace that stands, where there is one in PostgreSQL."""

        async def read() -> FloatArray | None:
            async with self._database.reading_vectors(asked.space_id, seconds=self._seconds) as session:
                return await repository.own_vector(session, asked.user_id, trace_id, self._model)

        return await self._whole(MEANING, read(), missed)

    async def _whole(self, name: str, search: Awaitable[T], missed: list[str]) -> T | None:
        """What a search finds; None where it fails or is late, which ``missed`` says then."""
        try:
            async with asyncio.timeout(self._seconds):
                return await search
        except (psycopg.Error, PoolTimeout, TimeoutError) as error:
            log.warning("not looked for what is related", by=name, error=type(error).__name__, reason=reason(error))
            missed.append(name)
            return None

    async def _names(self, asked: Asked, note: Note, seen: Seen) -> list[Entity]:
        text = Written(note.id, note.language, note.text[:READ_CHARS])
        long = len(text.text) > LONG
        seen.names = await asyncio.to_thread(names_in, [text]) if long else names_in([text])
        keys = {entity_identity(asked.key, key): key for key in seen.names}
        async with self._database.reading(asked.space_id, seconds=self._seconds) as session:
            size = await repository.send_size(session, asked.user_id)
            found = await repository.send_entities(session, asked.user_id, keys, note.id if note.known else None)
        seen.traces = next((row[0] for row in await size.fetchall()), 0)
        known = [
            Entity(row[0], row[2], frozenset(keys[bytes(one)] for one in row[1] or ()), _ids(row[3]) - {note.id.bytes})
            for row in await found.fetchall() if row[0] != note.id
        ]  # fmt: skip
        return known + await self._new(asked, note, seen.names, {key for one in known for key in one.keys})

    async def _dismissed(self, asked: Asked, note: Note) -> set[UUID]:
        if not note.known:
            return set()
        async with self._database.reading(asked.space_id, seconds=self._seconds) as session:
            return await repository.dismissed(session, asked.user_id, note.id)

    async def _new(self, asked: Asked, note: Note, names: Mapping[str, Names], known: Collection[str]) -> list[Entity]:
        """Sure names that have no entity yet and stand in another trace: they are about to get one."""
        new = [key for key, one in names.items() if one.sure and key not in known][:MOST_NEW_NAMES]
        if not new or note.known:
            return []
        await entities.find_before(
            self._database, asked.space_id, asked.user_id, names, new, most=MOST_BEFORE, beside=[note.id]
        )
        return [
            Entity(uuid7(asked.now), names[key].name, frozenset([key]), traces, new=key)
            for key in new if (traces := frozenset(one.bytes for one in names[key].traces) - {note.id.bytes})
        ]  # fmt: skip

    async def _words(self, asked: Asked, note: Note) -> dict[UUID, float]:
        """Trace → the share that it has of what the words of a text could give."""
        words = sought(note.text, note.language)
        if not words:
            return {}
        question = Question(" ".join(words), note.language, self._bounds(asked), DEPTH, asked.now)
        found = await lexical.search(self._database, self._database, asked.space_id, question, DEPTH + 1, self._seconds)
        most = max(found.most + found.bonus, 1e-9)
        shares = {trace_of(key): score / most for key, score in found.scores.items()}
        shares.pop(note.id, None)
        return shares

    async def _nearest(self, asked: Asked, vector: FloatArray) -> Found:
        return await vectors.search(
            self._database, asked.space_id, self._bounds(asked), vector, self._model, self._indexes, DEPTH + 1,
            self._seconds,
        )  # fmt: skip

    def _bounds(self, asked: Asked) -> Bounds:
        kinds = [KINDS[kind] for kind in RECALLED_KINDS]
        return Bounds(user_ids=[asked.user_id], kinds=kinds, heads=[HEADS["semantic"]])


def _ids(packed: bytes) -> frozenset[bytes]:
    return frozenset(packed[at : at + 16] for at in range(0, len(packed), 16))


def sought(text: str, language: str) -> list[str]:
    """The words of a text by which others are looked for: those that say something, the longest first. Pure.

    In small letters: what stands in a row here was no name there.
    """
    words = dict.fromkeys(_WORD.findall(text[:WORDS_READ].casefold()))
    saying = [word for word in words if content_words(word, language)]
    return sorted(saying, key=len, reverse=True)[:MOST_WORDS]
