"""Entities: who and what traces are about, by which names, and what is stated of them.

An entity has one trace, and may have several names. Each `mentions` edge says in ``meta`` what the text calls it
(``as``) and which kind that speaks for (``type``); the entity's own name, its ``aliases`` and its ``type`` are made of
these alone (:func:`settle`), so that a name goes with the last text that has it. By which other names it is found is
told by rows of ``entity_name``, keyed hashes; what a person said there (``by_hand``) stays. A triple is an edge from
one entity to another whose ``meta`` names its ``sources``, and goes with the last of them.

Whoever writes here has locked the user.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from reverie.core.arrays import Uuids
from reverie.core.database import Database, ReadSession, Row, WriteSession
from reverie.core.errors import Invalid, NotFound
from reverie.core.ids import uuid7s
from reverie.core.kinds import KINDS, RECALLED_KINDS
from reverie.core.queries import Queries
from reverie.memories.identity import digest, entity_identity
from reverie.text.entities import entities, name_key
from reverie.text.naming import Kind, decide, kind_in

SQL = Queries("reverie.memories", "entities.sql")

MENTIONS: Final = "mentions"
SALIENCE: Final = 0.5

READ_CHARS: Final = 20_000
"""So much of a text is read for names."""

MOST_BEFORE: Final = 64
"""Other traces that a night looks at for a name which has no entity yet."""

MOST_ALIASES: Final = 32
"""Other names of an entity that are shown, those that stand in most texts first."""

_LINKED_KINDS: Final = [KINDS[kind] for kind in RECALLED_KINDS]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose entities are written, and when; ``key`` is that of the space's hashes, ``run_id`` a night's.

    ``migrated``: by a migration, whose mentions no night takes away: that they are true the source says, not the text.
    """

    space_id: UUID
    user_id: UUID
    key: bytes
    now: datetime
    run_id: UUID | None = None
    migrated: bool = False

    @property
    def by(self) -> dict[str, Any]:
        """What edges of a night say of who made them; those made shortly after writing say nothing."""
        if self.migrated:
            return {"by": "migration"}
        return {} if self.run_id is None else {"by": "dream", "run": str(self.run_id)}

    @property
    def provenance(self) -> dict[str, Any]:
        return {"by": "links"} if self.run_id is None else self.by

    def identity(self, name: str) -> bytes:
        """By which the entity of a name is found."""
        return entity_identity(self.key, name)


class Text(NamedTuple):
    """A text in which names are looked for.

    ``speakers`` are those of its conversation; one that does not show (``shows``) that something is a name, such as an
    assistant's list of advice, mentions names that are known from elsewhere.
    """

    id: UUID
    language: str
    text: str
    speakers: tuple[str, ...] = ()
    shows: bool = True


class Spelling(NamedTuple):
    """How a text writes a name, and which kind it speaks for."""

    name: str
    kind: Kind | None


@dataclass(slots=True)
class Names:
    """In which traces a name stands, and how it is written; ``sure`` when one of them shows that it is one."""

    name: str
    language: str
    traces: dict[UUID, Spelling] = field(default_factory=dict)
    sure: bool = False


class Mention(NamedTuple):
    """That a trace mentions an entity, by these names."""

    trace_id: UUID
    entity_id: UUID
    names: tuple[str, ...]
    kind: Kind | None


class Stated(NamedTuple):
    """A triple of entities, as a trace has it."""

    src: UUID
    type: str
    dst: UUID
    source: UUID


class Gone(NamedTuple):
    """What lost a mention: an entity, and what the text called it."""

    entity_id: UUID
    names: tuple[str, ...]


@dataclass(slots=True)
class Settled:
    """What became of entities: how many say something else, and which are gone."""

    changed: int = 0
    removed: list[UUID] = field(default_factory=list)


def names_in(texts: Sequence[Text]) -> dict[str, Names]:
    """Key → in which of the texts a name stands; what is found in one does not depend on the others. Pure."""
    found: dict[str, Names] = {}
    for text in texts:
        english = text.language == "english"
        speakers = {name_key(name) for name in text.speakers}
        small: set[str] | None = None
        for one in entities(text.text, language=text.language, known=text.speakers):
            if one.key.isalpha() and one.key not in speakers and not one.name.isupper():
                small = set(text.text.split()) if small is None else small
                if one.key in small:
                    # A word: a title, or the start of a sentence, has the capital.
                    continue
            names = found.setdefault(one.key, Names(one.name, text.language))
            if one.sure and text.shows and not names.sure:
                names.name, names.language, names.sure = one.name, text.language, True
            names.traces[text.id] = Spelling(one.name, kind_in(text.text, one.name) if english else None)
    return found


async def find_before(
    database: Database, space_id: UUID, user_id: UUID, names: Mapping[str, Names], new: Sequence[str], *,
    most: int, beside: Collection[UUID] = (),
) -> None:  # fmt: skip
    """Adds to names other traces in which they stand, by the index over words.

    Args:
        names: key → where it stands so far; it is added to.
        new: keys of those that are looked for.
        most: traces of each that are looked at.
        beside: traces that were read already.
    """
    if not new:
        return
    looked = [names[key] for key in new]
    # At the start of a sentence a common noun has a capital, too.
    others = [one.name[:1].upper() + one.name[1:] for one in looked]
    written = ([one.language for one in looked], [one.name for one in looked], others)
    parameters = (READ_CHARS, user_id, *written, _LINKED_KINDS, most, list(beside))
    async with database.reading(space_id) as session:
        rows = await session.fetch(SQL["named_before"], parameters)
    texts = {row[1]: Text(row[1], row[2], row[3]) for row in rows}
    found = await asyncio.to_thread(names_in, list(texts.values()))
    for place, trace_id, *_ in rows:
        key = new[place - 1]
        if key in found and trace_id in found[key].traces:
            names[key].traces.setdefault(trace_id, found[key].traces[trace_id])


async def known(session: ReadSession, user_id: UUID, hashes: Collection[bytes]) -> dict[bytes, UUID]:
    """The entities that the user has of these names, by whichever of their names."""
    if not hashes:
        return {}
    given = list(hashes)
    rows = await session.fetch(SQL["known"], (user_id, given, user_id, given))
    return {bytes(row[0]): row[1] for row in rows}


async def make(
    session: WriteSession, scope: Scope, names: Sequence[tuple[str, str]], ids: Sequence[UUID] | None = None
) -> dict[str, UUID]:
    """Makes the entities of names (name, language) that the user has none of; name → id. ``ids`` they get, if given."""
    if not names:
        return {}
    ids = uuid7s(scope.now, len(names)) if ids is None else list(ids)
    written = [name for name, _ in names]
    parameters = (
        scope.space_id, scope.user_id, scope.now, ids, written, [language for _, language in names],
        [scope.identity(name) for name in written], [digest(scope.key, name) for name in written], SALIENCE,
        Jsonb(scope.provenance), KINDS["entity"], scope.user_id,
    )  # fmt: skip
    await session.execute(SQL["write_entities"], parameters)
    return dict(zip(written, ids, strict=True))


async def mention(session: WriteSession, scope: Scope, mentions: Iterable[Mention]) -> list[UUID]:
    """Writes mentions; the entities of those that are new or say something else."""
    given = _mentions(scope, mentions)
    return [row[0] for row in await session.fetch(SQL["write_mentions"], given)] if given else []


async def mention_unsettled(session: WriteSession, scope: Scope, mentions: Iterable[Mention]) -> None:
    """Writes mentions without a look at what is new. Whoever calls has the entities settled later."""
    given = _mentions(scope, mentions)
    if given:
        await session.execute(SQL["write_mentions"], given)


def _mentions(scope: Scope, mentions: Iterable[Mention]) -> tuple[Any, ...]:
    """The parameters by which mentions are written; none where there are none."""
    rows = [
        (
            one.trace_id,
            one.entity_id,
            Jsonb({"as": list(one.names)} | ({"type": one.kind} if one.kind else {}) | scope.by),
        )
        for one in mentions
    ]
    return (scope.space_id, scope.now, *map(list, zip(*rows, strict=True)), scope.user_id) if rows else ()


async def unmention(
    session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID], wanted: Iterable[tuple[UUID, UUID]] = ()
) -> list[Gone]:
    """Takes away what traces mention, but for what is wanted (trace, entity); the mentions that are gone."""
    if not trace_ids:
        return []
    pairs = list(wanted)
    ends = ([one for one, _ in pairs], [one for _, one in pairs])
    rows = await session.fetch(SQL["drop_mentions"], (user_id, list(trace_ids), *ends))
    return [Gone(row[0], tuple(row[1] or ())) for row in rows]


async def mentioned_by(session: ReadSession, user_id: UUID, trace_ids: Collection[UUID]) -> list[Gone]:
    """What traces mention, before they go."""
    rows = await session.fetch(SQL["mentioned_by"], (user_id, Uuids(one.bytes for one in trace_ids)))
    return [Gone(row[0], tuple(row[1] or ())) for row in rows]


async def only_mentioned_by(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> list[UUID]:
    """The entities that the store made of names which stand in these traces alone: they are forgotten with them."""
    ids = list(trace_ids)
    rows = await session.fetch(SQL["only_mentioned_by"], (user_id, ids, user_id, ids))
    return [row[0] for row in rows]


class _As(NamedTuple):
    """An entity, what texts call it, and which kinds they speak for."""

    id: UUID
    identity: bytes
    language: str
    meta: dict[str, Any]
    ours: bool
    mentioned: bool
    names: dict[str, int] | None
    kinds: dict[str, int] | None


class _Name(NamedTuple):
    entity_id: UUID
    hash: bytes
    by_hand: bool


async def settle(session: WriteSession, scope: Scope, entity_ids: Iterable[UUID], gone: Iterable[Gone] = ()) -> Settled:
    """Makes the names and kinds of entities what the texts say that mention them; those without a mention go.

    What a person made, changed or pinned is left as it is, but for other names that stand nowhere any more.

    Args:
        entity_ids: that gained or lost a mention.
        gone: mentions that were lost, with what those texts called them.
    """
    lost = list(gone)
    ids = list(dict.fromkeys([*entity_ids, *(one.entity_id for one in lost)]))
    if not ids:
        return Settled()
    rows = [
        _As(row[0], bytes(row[1] or b""), *row[2:])
        for row in await session.fetch(SQL["as_named"], (scope.user_id, ids))
    ]
    listed = await session.fetch(SQL["names_of"], (scope.user_id, ids))
    by_entity: dict[UUID, list[_Name]] = {}
    for row in listed:
        by_entity.setdefault(row[0], []).append(_Name(row[0], bytes(row[1]), row[2]))
    settled = Settled(removed=[one.id for one in rows if one.ours and not one.mentioned])
    await drop(session, scope.user_id, settled.removed)
    standing = [one for one in rows if one.mentioned or not one.ours]
    names = {one.id: _by_key(one.names or {}) for one in standing}
    best = await _best(session, scope, standing, names, by_entity)
    await _rename(session, scope, [(one, best[one.id]) for one in standing if one.id in best])
    settled.changed += len(best)
    metas: list[tuple[UUID, Jsonb]] = []
    for one in standing:
        identity = scope.identity(best[one.id]) if one.id in best else one.identity
        meta = _meta(
            scope, one, names[one.id], identity, {name for g in lost if g.entity_id == one.id for name in g.names}
        )
        if meta != one.meta:
            metas.append((one.id, Jsonb(meta)))
        await _set_names(session, scope, one.id, names[one.id], identity, by_entity.get(one.id, []))
    if metas:
        await session.execute(SQL["set_meta"], ([one for one, _ in metas], [meta for _, meta in metas], scope.user_id))
        settled.changed += sum(one not in best for one, _ in metas)
    return settled


def _by_key(names: Mapping[str, int]) -> dict[str, tuple[str, int]]:
    """Key → (the name as it is mostly written, in how many texts), the most frequent first."""
    found: dict[str, Counter[str]] = {}
    for name, count in names.items():
        if key := name_key(name):
            found.setdefault(key, Counter())[name] += count
    best = {key: (min(forms, key=lambda name: (-forms[name], name)), forms.total()) for key, forms in found.items()}
    return dict(sorted(best.items(), key=lambda item: (-item[1][1], -len(item[0]), item[0])))


async def _best(
    session: WriteSession, scope: Scope, rows: Sequence[_As], names: Mapping[UUID, Mapping[str, tuple[str, int]]],
    by_entity: Mapping[UUID, Sequence[_Name]],
) -> dict[UUID, str]:  # fmt: skip
    """Entity → its new name, of those that are mostly called otherwise than their name."""
    wanted: dict[UUID, str] = {}
    for one in rows:
        if not one.ours or not names[one.id]:
            continue
        fixed = {row.hash for row in by_entity.get(one.id, ()) if row.by_hand}
        name = next(iter(names[one.id].values()))[0]
        stands = any(scope.identity(key) == one.identity for key in names[one.id])
        if scope.identity(name) != one.identity and not (one.identity in fixed and stands):
            wanted[one.id] = name
    if wanted:
        hashes = [scope.identity(name) for name in wanted.values()]
        taken = {bytes(row[0]) for row in await session.fetch(SQL["taken"], (scope.user_id, hashes))}
        wanted = {one: name for one, name in wanted.items() if scope.identity(name) not in taken}
    return wanted


async def _rename(session: WriteSession, scope: Scope, wanted: Sequence[tuple[_As, str]]) -> None:
    if not wanted:
        return
    given = (
        [one.id for one, _ in wanted], [name for _, name in wanted], [scope.identity(name) for _, name in wanted],
        [digest(scope.key, name) for _, name in wanted],
    )  # fmt: skip
    user_id = scope.user_id
    await session.execute(SQL["rename"], (*given, user_id, user_id, user_id, user_id, KINDS["entity"], user_id))


def _meta(
    scope: Scope, one: _As, names: Mapping[str, tuple[str, int]], identity: bytes, lost: Collection[str]
) -> dict[str, Any]:
    """What an entity says of itself."""
    if not one.ours:
        said = one.meta.get("aliases")
        if not isinstance(said, list):
            return one.meta
        outdated = {name_key(name) for name in lost} - names.keys()
        return one.meta | {"aliases": [n for n in said if not (isinstance(n, str) and name_key(n) in outdated)]}
    others = [name for key, (name, _) in names.items() if scope.identity(key) != identity][:MOST_ALIASES]
    own = next((name for key, (name, _) in names.items() if scope.identity(key) == identity), None)
    votes = one.kinds or {}
    # Only what stands in small letters is stated as a topic.
    kind = "topic" if votes.get("topic") else decide(own or (others[0] if others else ""), votes)
    rest = {name: value for name, value in one.meta.items() if name not in ("aliases", "type")}
    return rest | ({"type": kind} if kind else {}) | ({"aliases": others} if others else {})


async def _set_names(
    session: WriteSession, scope: Scope, entity_id: UUID, names: Mapping[str, tuple[str, int]], identity: bytes,
    there: Sequence[_Name],
) -> None:  # fmt: skip
    wanted = {scope.identity(key) for key in names} - {identity}
    outdated = [row.hash for row in there if not row.by_hand and row.hash not in wanted]
    if outdated:
        await session.execute(SQL["drop_names"], (scope.user_id, outdated))
    new = sorted(wanted - {row.hash for row in there})
    if new:
        await _write_names(session, scope, entity_id, new, by_hand=False)


async def _write_names(
    session: WriteSession, scope: Scope, entity_id: UUID, hashes: Sequence[bytes], *, by_hand: bool
) -> None:
    columns = (list(hashes), [entity_id] * len(hashes), [by_hand] * len(hashes))
    await session.execute(SQL["write_names"], (scope.space_id, scope.user_id, *columns))


async def drop(session: WriteSession, user_id: UUID, entity_ids: Sequence[UUID]) -> None:
    """Removes entities with all edges from and to them."""
    if entity_ids:
        ids = list(entity_ids)
        await session.execute(SQL["drop_entities"], (ids, user_id, user_id, user_id, ids, user_id))


async def state(
    session: WriteSession, scope: Scope, wanted: Collection[Stated], trace_ids: Sequence[UUID]
) -> tuple[int, int]:
    """Makes the triples that these traces are sources of what they should be; (made, removed)."""
    ids = {str(one) for one in trace_ids}
    there = await _stated_by(session, scope.user_id, trace_ids)
    kept = {(one.src, one.type, one.dst, str(one.source)) for one in wanted}
    outdated = [
        (src, dst, type_, [s for s in meta["sources"] if s not in ids or (src, type_, dst, s) in kept], meta["sources"])
        for src, dst, type_, meta in there
    ]
    removed = await _set_sources(session, scope.user_id, [one for one in outdated if one[3] != one[4]])
    edges: dict[tuple[UUID, UUID, str], set[str]] = {}
    for one in wanted:
        edges.setdefault((one.src, one.dst, one.type), set()).add(str(one.source))
    if not edges:
        return 0, removed
    columns = (
        [src for src, _, _ in edges], [dst for _, dst, _ in edges], [type_ for _, _, type_ in edges],
        [Jsonb({"sources": sorted(sources)} | scope.by) for sources in edges.values()],
    )  # fmt: skip
    rows = await session.fetch(SQL["write_triples"], (scope.space_id, scope.now, *columns, scope.user_id))
    return len(rows), removed


async def unsource(session: WriteSession, user_id: UUID, trace_ids: Collection[UUID]) -> int:
    """Takes traces out of what triples are told by; how many triples lost their last source, and went."""
    ids = {str(one) for one in trace_ids}
    left = [
        (src, dst, type_, [one for one in meta["sources"] if one not in ids], meta["sources"])
        for src, dst, type_, meta in await _stated_by(session, user_id, trace_ids)
    ]
    return await _set_sources(session, user_id, left)


async def _stated_by(session: WriteSession, user_id: UUID, trace_ids: Collection[UUID]) -> list[Row]:
    packed = Uuids(one.bytes for one in trace_ids)
    return await session.fetch(SQL["stated_by"], (user_id, packed)) if trace_ids else []


async def _set_sources(
    session: WriteSession, user_id: UUID, left: Sequence[tuple[UUID, UUID, str, list[str], Any]]
) -> int:
    gone = [one for one in left if not one[3]]
    if gone:
        columns = [[one[place] for one in gone] for place in range(3)]
        await session.execute(SQL["drop_triples"], (*columns, user_id))
        await session.execute(SQL["leave_triples"], (*columns, user_id))
    rest = [one for one in left if one[3]]
    if rest:
        columns = [[one[place] for one in rest] for place in range(3)]
        await session.execute(SQL["set_sources"], (*columns, [Jsonb(one[3]) for one in rest], user_id))
    return len(gone)


async def by_hand(session: ReadSession, user_id: UUID, entity_ids: Sequence[UUID]) -> set[UUID]:
    """Those of which a person has said by which names they go."""
    rows = await session.fetch(SQL["names_of"], (user_id, list(entity_ids)))
    return {row[0] for row in rows if row[2]}


async def is_called(session: ReadSession, scope: Scope, entity_id: UUID, name: str) -> bool:
    """Whether this is the own name of an entity, not another one of it."""
    row = await session.fetch_one(SQL["entity"], (scope.user_id, entity_id))
    return row is not None and bytes(row[0]) == scope.identity(name)


async def merge(session: WriteSession, scope: Scope, entity_id: UUID, into: UUID, *, hand: bool) -> Settled:
    """Makes one entity of two: the one goes, with all its names, into the other.

    Args:
        hand: a person wants it, and no night is to undo it.

    Raises:
        NotFound: the user has no such entity.
        Invalid: they are the same.
    """
    if entity_id == into:
        raise Invalid("into takes another entity than the one that is merged.", field="into")
    one, other = await _entity(session, scope, entity_id), await _entity(session, scope, into)
    user_id = scope.user_id
    for this, its_id in ((one, entity_id), (other, into)):
        if this[2] is not None:
            await session.execute(SQL["name_mentions"], (this[2], user_id, its_id))
    await session.execute(SQL["move_mentions"], (user_id, entity_id, into))
    await session.execute(SQL["move_edges"], (user_id, entity_id, entity_id, entity_id, into, entity_id, into))
    listed = [bytes(row[1]) for row in await session.fetch(SQL["names_of"], (user_id, [entity_id]))]
    await drop(session, user_id, [entity_id])
    if hand:
        await _write_names(session, scope, into, [*{bytes(one[0]), bytes(other[0]), *listed}], by_hand=True)
    settled = await settle(session, scope, [into])
    settled.removed.append(entity_id)
    return settled


async def split(session: WriteSession, scope: Scope, entity_id: UUID, names: Sequence[str]) -> UUID:
    """Makes another entity of some names of one, with what goes by these; its id.

    Raises:
        NotFound: the user has no such entity.
        Invalid: they are no names of it, or all.
    """
    _, language, content, _ = one = await _entity(session, scope, entity_id)
    user_id = scope.user_id
    if content is not None:
        await session.execute(SQL["name_mentions"], (content, user_id, entity_id))
    rows = await session.fetch(SQL["mentions_of"], (user_id, entity_id))
    counted = _by_key(Counter(name for row in rows for name in row[2].get("as", ())))
    keys = {name_key(name) for name in names}
    if not keys <= counted.keys():
        raise Invalid("names takes names that the entity has: its own, or of its aliases.", field="names")
    if keys == counted.keys():
        raise Invalid("names takes some of the entity's names, not all of them.", field="names")
    name = next(written for key, (written, _) in counted.items() if key in keys)
    taken = await session.fetch(SQL["taken"], (user_id, [scope.identity(name)]))
    other = next((row[1] for row in taken if row[1] != entity_id), None)
    if other is None:
        if bytes(one[0]) == scope.identity(name):
            # The name goes: what stays gets the one that it is mostly called besides.
            left = next(written for key, (written, _) in counted.items() if key not in keys)
            await _rename_to(session, scope, entity_id, left)
        other = (await make(session, scope, [(name, language)]))[name]
    moved = await _move_named(session, scope, entity_id, other, rows, keys)
    await _move_stated(session, scope, entity_id, other, moved)
    hashes = [scope.identity(key) for key in keys]
    await _write_names(session, scope, other, hashes, by_hand=True)
    kept = (await _entity(session, scope, entity_id))[0]
    await _write_names(session, scope, entity_id, [bytes(kept)], by_hand=True)
    await settle(session, scope, [entity_id, other])
    return other


async def _entity(session: WriteSession, scope: Scope, entity_id: UUID) -> Any:
    row = await session.fetch_one(SQL["entity"], (scope.user_id, entity_id))
    if row is None:
        raise NotFound(f"The user has no entity {entity_id}.")
    return row


async def _rename_to(session: WriteSession, scope: Scope, entity_id: UUID, name: str) -> None:
    row = _As(entity_id, b"", "", {}, ours=True, mentioned=True, names=None, kinds=None)
    await _rename(session, scope, [(row, name)])


async def _move_named(
    session: WriteSession, scope: Scope, entity_id: UUID, other: UUID, rows: Sequence[Any], keys: Collection[str]
) -> set[str]:
    """Moves mentions by these names; the traces that mention the one no more."""
    user_id, moved, whole = scope.user_id, list[Mention](), list[UUID]()
    stay = list[tuple[UUID, Jsonb]]()
    for src, _, meta in rows:
        called = meta.get("as", ())
        theirs = tuple(name for name in called if name_key(name) in keys)
        rest = [name for name in called if name_key(name) not in keys]
        if not theirs:
            continue
        moved.append(Mention(src, other, theirs, meta.get("type")))
        if rest:
            stay.append((src, Jsonb(meta | {"as": rest})))
        else:
            whole.append(src)
    await mention(session, scope, moved)
    if stay:
        given = ([one for one, _ in stay], [meta for _, meta in stay], user_id, entity_id)
        await session.execute(SQL["replace_mentions"], given)
    if whole:
        await session.execute(SQL["remove_mentions"], (user_id, whole, entity_id))
    return {str(one) for one in whole}


async def _move_stated(
    session: WriteSession, scope: Scope, entity_id: UUID, other: UUID, traces: Collection[str]
) -> None:
    """What is stated of the one by traces that mention the other instead."""
    rows = await session.fetch(SQL["stated_of"], (scope.user_id, entity_id, entity_id))
    left, wanted = [], list[Stated]()
    for src, dst, type_, meta in rows:
        theirs = [one for one in meta["sources"] if one in traces]
        if theirs:
            left.append((src, dst, type_, [one for one in meta["sources"] if one not in traces], meta["sources"]))
            ends = (other if src == entity_id else src, other if dst == entity_id else dst)
            wanted += [Stated(ends[0], type_, ends[1], UUID(one)) for one in theirs]
    await _set_sources(session, scope.user_id, left)
    await state(session, scope, wanted, ())
