"""What the notes of one request connect to: found while they are encoded, linked as they are written.

Whatever MEMORY_LINKS says of other traces, a note for which suggestions are wanted gets its edges at once.
The edges are those that would be made a little later, or by a night: `mentions` and `similar` are the same rows, so
that whoever comes after finds them as they should be. `same_topic` leads from a note to older traces that have many of
its words.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from reverie.core.database import WriteSession
from reverie.core.errors import Invalid
from reverie.embedding.protocol import FloatArray
from reverie.memories import entities
from reverie.memories.entities import Mention, Names, Scope
from reverie.memories.likeness import LEAST_COSINE, MOST_TRACES, NEAREST
from reverie.memories.links import SAME_TOPIC, SIMILAR, Link, mentions_in, write_links
from reverie.memories.schemas import Suggestion
from reverie.memories.suggesting import Note
from reverie.relating import weighing
from reverie.relating.looking import DISMISSED, Looker
from reverie.relating.shown import suggestion
from reverie.relating.types import Around, Asked, Entity, Seen
from reverie.relating.weighing import SEEDS, Ties, Weighed

MOST_NOTES: Final = 20
"""Notes of one request that get suggestions: each is looked for by itself."""

LEAST_SHARE: Final = 0.15
"""Of what the words of a note can give, what a trace has that gets a `same_topic` edge; smaller ones are suggested."""

LEAST_SHARED: Final = 2
"""Words or phrases that both have."""

MOST_TOPIC_LINKS: Final = 3


@dataclass(slots=True)
class Found:
    """What one note connects to."""

    note: Note
    seen: Seen = field(default_factory=Seen)
    cosines: dict[UUID, tuple[float, bool]] = field(default_factory=dict)
    ties: dict[UUID, Ties] = field(default_factory=dict)
    around: Around = field(default_factory=Around)
    best: list[Weighed] = field(default_factory=list)


class Onway:
    """:class:`~reverie.memories.suggesting.Suggesting`, for one request."""

    def __init__(self, looker: Looker, asked: Asked, k: int) -> None:
        self._looker = looker
        self._asked = asked
        self._k = k
        self._found: list[Found] = []
        self._missed: list[str] = []
        self._instead: dict[UUID, UUID | None] = {}

    @property
    def degraded(self) -> bool:
        return bool(self._missed)

    def take(self, notes: Sequence[Note]) -> None:
        if len(notes) > MOST_NOTES:
            raise Invalid(
                f"suggest takes requests of at most {MOST_NOTES} notes, not {len(notes)}: send fewer at a time.",
                field="suggest",
            )
        self._found = [Found(note) for note in notes]

    async def look(self) -> None:
        for one in self._found:
            one.seen = await self._looker.look(self._asked, one.note)
            self._missed += one.seen.missed

    async def compare(self, vectors: Mapping[UUID, FloatArray]) -> None:
        for one in self._found:
            vector = vectors.get(one.note.id)
            if vector is None and one.note.known:
                vector = await self._looker.own_vector(self._asked, one.note.id, self._missed)
            await connect(self._looker, self._asked, one, vector, self._k + 1, self._missed)

    async def link(self, session: WriteSession, stored: Collection[UUID], now: datetime) -> None:
        mine = [one for one in self._found if one.note.id in stored]
        if not mine:
            return
        scope = Scope(self._asked.space_id, self._asked.user_id, self._asked.key, now)
        made = await self._make(session, scope, [each for one in mine for each in one.seen.entities if each.new])
        # Of an earlier text that several notes have found, one mention.
        mentions = {each[:2]: each for one in mine for each in _mentions(one, made)}.values()
        # Whoever links these notes next, shortly after or at night, settles what the entities are called.
        await entities.mention_unsettled(session, scope, mentions)
        links = [each for one in mine for each in [*similar(one), *same_topic(one)]]
        await write_links(session, scope.space_id, scope.user_id, links, now)

    async def _make(self, session: WriteSession, scope: Scope, wanted: Sequence[Entity]) -> dict[str, UUID]:
        """Key → id of the entities of new names, made where nobody has made them meanwhile."""
        if not wanted:
            return {}
        new = {one.new: one for one in wanted if one.new is not None}
        hashes = {scope.identity(key): key for key in new}
        known = {hashes[one]: its for one, its in (await entities.known(session, scope.user_id, list(hashes))).items()}
        missing = [one for key, one in new.items() if key not in known]
        language = {key: one.seen.names[key].language for one in self._found for key in new if key in one.seen.names}
        names = [(one.name or "", language[one.new or ""]) for one in missing]
        await entities.make(session, scope, names, [one.id for one in missing])
        made = {key: known.get(key, one.id) for key, one in new.items()}
        self._instead = {one.id: made[one.new] for one in wanted if one.new is not None}
        return made

    def of(self, trace_id: UUID, note_id: UUID) -> list[Suggestion]:
        found = next((one for one in self._found if one.note.id == note_id), None)
        if found is None:
            return []
        # Of a note that was not stored after all, no entity was made.
        unmade = {one.id: None for one in found.seen.entities if one.new is not None and one.id not in self._instead}
        best = [one for one in found.best if one.row.id != trace_id and one.row.id not in unmade]
        return [suggestion(one, self._instead | unmade) for one in best[: self._k]]


async def connect(
    looker: Looker, asked: Asked, found: Found, vector: FloatArray | None, k: int, missed: list[str]
) -> None:
    """Looks for what is like a trace, and one edge further; the ``k`` best of all that was found."""
    note, seen = found.note, found.seen
    if DISMISSED in seen.missed:
        return
    if vector is not None:
        found.cosines = await looker.alike(asked, vector, missed)
        found.cosines.pop(note.id, None)
    cosines = {one: cosine for one, (cosine, _) in found.cosines.items()}
    found.ties = weighing.gathered(seen, cosines)
    found.ties.pop(note.id, None)
    about = weighing.as_entities(seen)
    first = weighing.seeds(found.ties, max(SEEDS, k))
    own = note.id if note.known else None
    wanted = [*first, *about, *([note.id] if own else [])]
    if wanted:
        found.around = await looker.around(asked, wanted, own, missed)
    found.around.rows |= weighing.rows_of_new(seen, note.language, asked.now)
    found.ties |= about
    weighing.follow(found.ties, found.around, note.id, seen.dismissed)
    found.best = weighing.weighed(note.text, note.language, found.ties, found.around, note.id, k)


def _mentions(found: Found, made: Mapping[str, UUID]) -> list[Mention]:
    """What a note mentions, and what earlier texts mention that is an entity now."""
    ids = {key: one.id for one in found.seen.entities if one.new is None for key in one.keys} | dict(made)
    names: dict[str, Names] = {key: one for key, one in found.seen.names.items() if key in ids}
    return mentions_in(names, ids, lambda _: True)


def similar(found: Found) -> list[Link]:
    """`similar` edges to the older traces that say nearly the same, as they are made of every trace. Pure."""
    if found.seen.traces > MOST_TRACES:
        return []
    near = [(cosine, one) for one, (cosine, begins) in found.cosines.items() if begins and cosine >= LEAST_COSINE]
    best = sorted(near, key=lambda one: (-one[0], one[1].int))[:NEAREST]
    return [Link(found.note.id, one, SIMILAR, cosine) for cosine, one in best]


def same_topic(found: Found) -> list[Link]:
    """`same_topic` edges to older traces that share most of a note's words. Pure."""
    shares = sorted(found.seen.words.items(), key=lambda one: (-one[1], one[0].int))
    said, links = weighing.said(found.note.text, found.note.language), list[Link]()
    for trace_id, share in shares:
        row = found.around.rows.get(trace_id)
        if share < LEAST_SHARE or len(links) == MOST_TOPIC_LINKS:
            break
        if row is None or row.kind == "entity":
            continue
        if len(weighing.shared_words(said, row)) >= LEAST_SHARED:
            links.append(Link(found.note.id, trace_id, SAME_TOPIC, round(min(1.0, share), 4)))
    return links
