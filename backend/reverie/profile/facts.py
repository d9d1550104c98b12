"""What is known, as it is put together: rows of what nights have made, and what newer texts state. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from reverie.core.ids import USER_NAMESPACE
from reverie.dream.extract import ME
from reverie.dream.supersede import Told, edges_of
from reverie.profile.topics import BY_PREDICATE, OTHER, SINGLE, in_words, topic_of
from reverie.text.names import is_name
from reverie.text.sentences import sentences
from reverie.text.statements import Statement, statements
from reverie.text.triples import Triple, triples
from reverie.text.updates import update_of
from reverie.text.values import content

READ_CHARS: Final = 4000
"""So much of a text is read for what it states."""

MOST_CHARS: Final = 500
"""Of a text that is shown; the rest of a longer one is `GET /memory/traces/{id}`."""

MOST_SOURCES: Final = 20
_SECONDS_A_DAY: Final = 86_400.0
_KEPT: Final = 4096
"""Texts of which it is kept what they state, some megabytes, until :func:`drop_texts`."""


class Position(NamedTuple):
    """Where a fact stands in a profile; the newest comes first."""

    happened_at: datetime
    key: UUID


class Text(NamedTuple):
    """A trace as it is read: ``text`` its beginning, ``heard`` whether what it states is somebody's own word."""

    id: UUID
    speaker: str | None
    created_at: datetime
    happened_at: datetime
    text: str | None
    heard: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """A fact: a triple where it has a ``predicate``, else what its one source says.

    ``partner`` is the trace that it takes the place of, or that takes its.
    """

    at: Position
    topic: str
    sources: tuple[UUID, ...]
    superseded_by: UUID | None = None
    partner: UUID | None = None
    subject: str | None = None
    predicate: str | None = None
    object: str | None = None
    src: UUID | None = None
    dst: UUID | None = None
    told: int = 1

    @property
    def says(self) -> tuple[str, str, str] | None:
        """What two triples have in common that say the same."""
        if self.predicate is None:
            return None
        return (self.subject or "").casefold(), self.predicate, (self.object or "").casefold()


@lru_cache(_KEPT)
def states(text: str, speaker: str | None) -> tuple[Statement, ...]:
    """What a text states; kept, since a profile is asked for again."""
    return tuple(statements(text, speaker))


@lru_cache(_KEPT)
def tells(text: str, speaker: str | None) -> tuple[Triple, ...]:
    """The triples of a text; "I" is its speaker."""
    me = speaker if speaker and is_name(speaker) else ME
    return tuple(triples(text, speaker=me))


def drop_texts() -> None:
    """Keeps nothing of any text any more."""
    states.cache_clear()
    tells.cache_clear()


def told_by(texts: Iterable[Text]) -> list[Told]:
    """Those of some texts that state something."""
    found = []
    for one in texts:
        if one.text and one.heard:
            stated = states(one.text[:READ_CHARS], one.speaker)
            if stated:
                found.append(Told(one.id, one.speaker, one.created_at, one.happened_at, stated))
    return found


def stated_by(texts: Iterable[Text]) -> list[Known]:
    """The triples that texts state, each once, with all of the texts that do."""
    found: dict[tuple[str, str, str], list[tuple[Text, Triple]]] = {}
    for one in texts:
        for triple in tells((one.text or "")[:READ_CHARS], one.speaker):
            here = (triple.subject.casefold(), str(triple.predicate), triple.object.casefold())
            found.setdefault(here, []).append((one, triple))
    made = []
    for said, those in found.items():
        those.sort(key=lambda pair: (pair[0].happened_at, pair[0].id), reverse=True)
        newest, triple = those[0]
        key = uuid5(USER_NAMESPACE, "\x1f".join((str(newest.id), *said)))
        sources = tuple(dict.fromkeys(text.id for text, _ in those))
        made.append(
            Known(
                Position(newest.happened_at, key), BY_PREDICATE.get(triple.predicate, OTHER), sources,
                subject=triple.subject, predicate=triple.predicate, object=triple.object, told=len(sources),
            )
        )  # fmt: skip
    return made


def marked(facts: Sequence[Known], fresh: Sequence[Told], others: Iterable[Told]) -> list[Known]:
    """The same, with what the fresh texts take the place of."""
    told = {one.id: one for one in (*others, *fresh)}
    edges: dict[UUID, list[tuple[Told, str | None]]] = {}
    for edge in edges_of(fresh, told.values()):
        edges.setdefault(edge.dst, []).append((told[edge.src], topic_of(str(edge.meta["about"]))))
    return [_marked(one, edges, told) for one in facts]


def _marked(one: Known, edges: Mapping[UUID, Sequence[tuple[Told, str | None]]], told: Mapping[UUID, Told]) -> Known:
    """A fact all of whose sources are said otherwise now."""
    newest: Told | None = None
    for source in one.sources:
        newer = [
            by for by, topic in edges.get(source, ())
            if topic == one.topic or one.predicate is None
            if source not in told or is_meant(one, by, told[source])
        ]  # fmt: skip
        if not newer or one.told > len(one.sources):
            return one
        latest = max(newer, key=lambda by: by.order)
        newest = latest if newest is None or latest.order > newest.order else newest
    return one if newest is None else replace(one, superseded_by=newest.id, partner=newest.id)


def is_meant(fact: Known, newer: Told, older: Told) -> bool:
    """Whether what takes the place of a source of a triple is about the object of that triple."""
    if fact.predicate is None or fact.predicate in SINGLE or fact.object is None:
        return True
    update = update_of(newer.stated, older.stated, _days(newer, older))
    if update is None or not update.older.value.words:
        return True
    return bool(content(fact.object) & (update.older.value.words | update.older.subject.words))


def passage(text: Text, other: Text | None, *, newer: bool) -> str:
    """The sentence of a text that takes the place of what another says, or whose place that takes; else the text."""
    if other is not None and other.text and text.text:
        there = states(other.text[:READ_CHARS], other.speaker)
        for sentence in sentences(text.text[:READ_CHARS], "english"):
            here = states(sentence, text.speaker)
            pair = (here, there) if newer else (there, here)
            if here and there and update_of(*pair, _apart(text, other)) is not None:
                return clipped(sentence)
    return clipped(text.text or "")


def clipped(text: str) -> str:
    """At most MOST_CHARS of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARS else line[: MOST_CHARS - 1].rstrip() + "…"


def sentence_of(fact: Known) -> str | None:
    """A triple in words; None where a name of it cannot be read."""
    if fact.predicate is None or fact.subject is None or fact.object is None:
        return None
    return in_words(fact.subject, fact.predicate, fact.object)


def joined(page: Sequence[Known]) -> list[Known]:
    """A page on which what is said twice stands once: by night and by day, or by a fact and by what was read in it."""
    whole = {one.sources[0]: one for one in page if one.predicate is None}
    read = {one.sources[0]: one.topic for one in page if one.src is None and one.predicate is not None}
    found: dict[object, Known] = {}
    for one in page:
        if one.predicate is None and one.topic == OTHER and one.sources[0] in read:
            found[one.at] = replace(one, topic=read[one.sources[0]])
            continue
        if one.predicate is not None and one.src is None and one.sources[0] in whole and one.told == 1:
            continue
        says = one.says or one.at
        if says not in found:
            found[says] = one
            continue
        first = found[says]
        sources = tuple(dict.fromkeys((*first.sources, *one.sources)))
        told = len(sources) if len(sources) < MOST_SOURCES else max(first.told, one.told)
        found[says] = replace(first, sources=sources[:MOST_SOURCES], told=told)
    return list(found.values())


def _days(newer: Told, older: Told) -> float:
    return (newer.happened_at - older.happened_at).total_seconds() / _SECONDS_A_DAY


def _apart(one: Text, other: Text) -> float:
    return abs((one.happened_at - other.happened_at).total_seconds()) / _SECONDS_A_DAY
