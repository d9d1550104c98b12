"""Extracting: who and what a day was about, and what was stated of them.

A name becomes an entity once it stands in a second trace, or once something is stated of what it names: most names
never do, and the store does not fill with them. Names of one thing are one entity's: by how they are spelled, or by
the conversation in which both stand (:mod:`reverie.text.naming`). Both look at the texts alone, and a name that was
given to an entity stays with it, so that a day that is dreamt again gives the same.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from reverie.core import clock
from reverie.core.database import WriteSession
from reverie.core.ids import moment_of
from reverie.core.secret import Secret
from reverie.dream.extractors import Extraction, Extractor, Material
from reverie.dream.protocol import Day, Did, Group, Night, Trace, Write
from reverie.memories import entities
from reverie.memories.entities import Mention, Names, Scope, Spelling, Stated
from reverie.memories.tombstones import Tombstones
from reverie.text.entities import name_key
from reverie.text.names import is_name
from reverie.text.naming import Here, Kind, decide, folded, same_here, spelled_alike, typo_keys

ME: Final = "User"
"""The entity of whoever the memory is about, where nobody has named them."""

MOST_NEW_NAMES: Final = 128
"""Names that are looked for in other days at a time."""


class Fact(NamedTuple):
    """A triple of names, by their keys, and the trace that states it."""

    subject: str
    predicate: str
    object: str
    source: UUID


@dataclass(slots=True)
class Plan:
    """What a day holds: names by key, which are other names of which, what is stated; pure of what is there."""

    names: dict[str, Names]
    same: dict[str, str] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    stated: set[str] = field(default_factory=set)
    """Names of which something is stated, or that are stated of something."""

    def of(self, key: str) -> str:
        """The name that another stands for."""
        return self.same.get(key, key)


class Extracting:
    """The stage ``extract``."""

    name = "extract"

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    async def prepare(self, day: Day, night: Night) -> Did | Write:
        traces = [trace for trace in day.traces if trace.id not in day.aside]
        if not traces:
            return Did()
        speakers = {group.conversation_id: _speakers(group) for group in day.groups}
        materials = [material(trace, speakers.get(trace.conversation_id, ())) for trace in traces]
        model = night.language_model(day.space_id)
        extraction = await self._extractor.extract(materials, model)
        plan = await asyncio.to_thread(planned, day.groups, materials, extraction)
        scope = Scope(day.space_id, day.user_id, day.key, clock.now(), night.run_id)
        async with night.database.reading(day.space_id) as session:
            known = await entities.known(session, day.user_id, [scope.identity(key) for key in plan.names])
        may_be = {key for key, one in plan.names.items() if one.sure} | plan.stated
        new = sorted(key for key in may_be if scope.identity(key) not in known)
        for start in range(0, len(new), MOST_NEW_NAMES):
            part = new[start : start + MOST_NEW_NAMES]
            await entities.find_before(
                night.database, day.space_id, day.user_id, plan.names, part, most=entities.MOST_BEFORE, beside=day.ids
            )
        forgotten = _Forgotten(night, scope)
        await forgotten.look(plan, new)
        did = Did(saw=len(traces), skipped=extraction.skipped, model=extraction.model, tokens=extraction.tokens)
        ids = [trace.id for trace in traces]
        return partial(_write, scope=scope, plan=plan, ids=ids, did=did)


def _speakers(group: Group) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.speaker for one in group.traces if one.speaker and is_name(one.speaker)))


def material(trace: Trace, speakers: Sequence[str]) -> Material:
    """A trace as extractors read it."""
    me: str | None = None
    if trace.speaker and is_name(trace.speaker):
        me = trace.speaker
    elif trace.kind != "chunk" and trace.role in (None, "user"):
        me = ME
    states = trace.role in (None, "user") or me is not None
    return Material(trace.id, trace.text, trace.language, me, states, tuple(speakers))


def planned(groups: Sequence[Group], materials: Sequence[Material], extraction: Extraction) -> Plan:
    """What is to be done with what was found. Pure."""
    plan = Plan(extraction.names)
    languages = {one.id: one.language for one in materials}
    speaking = {name_key(name) for one in materials for name in one.speakers}
    for key in speaking & plan.names.keys():
        # Whoever speaks is somebody.
        plan.names[key].traces = {
            trace_id: Spelling(one.name, "person") for trace_id, one in plan.names[key].traces.items()
        }
    for group in groups:
        plan.same |= {short: long for short, long in _same(group, plan.names).items() if short not in plan.same}
    plan.same = _ended(_misspelled(plan.names) | plan.same)
    for trace_id, triple in extraction.triples:
        ends = (triple.subject, triple.of), (triple.object, triple.kind)
        keys = [_stand(plan, trace_id, languages.get(trace_id, "english"), name, kind) for name, kind in ends]
        if all(keys) and plan.of(keys[0]) != plan.of(keys[1]):
            plan.facts.append(Fact(keys[0], triple.predicate, keys[1], trace_id))
            plan.stated.update(keys)
    return plan


def _same(group: Group, names: Mapping[str, Names]) -> dict[str, str]:
    """Which names of a conversation stand for which."""
    places = {trace.id: place for place, trace in enumerate(group.traces)}
    here = []
    for key, one in names.items():
        traces = [trace_id for trace_id in one.traces if trace_id in places]
        if traces:
            votes = Counter[str](kind for trace_id in traces if (kind := one.traces[trace_id].kind))
            places_of = frozenset(places[trace_id] for trace_id in traces)
            here.append(Here(key, one.name, decide(one.name, votes), places_of))
    speakers = {name_key(name) for name in _speakers(group)}
    return {short: long for short, long in same_here(here, speakers).items() if long in names or long in speakers}


def _misspelled(names: Mapping[str, Names]) -> dict[str, str]:
    """Which names of a day are other spellings of which: the rarer of the more frequent."""
    order = sorted((key for key, one in names.items() if one.sure), key=lambda key: (-len(names[key].traces), key))
    alike, found = _Alike(()), dict[str, str]()
    for key in order:
        _, other = alike.find(key)
        if other is None:
            alike.add(key, None)
        else:
            found[key] = other
    return found


def _ended(same: Mapping[str, str]) -> dict[str, str]:
    """The same, each to its end: what stands for what stands for something else."""
    found = {}
    for short in same:
        end, seen = same[short], {short}
        while end in same and end not in seen:
            seen.add(end)
            end = same[end]
        if end != short:
            found[short] = end
    return found


def _stand(plan: Plan, trace_id: UUID, language: str, name: str, kind: Kind | None) -> str:
    """The key of an end of a triple, which its trace mentions then, however it is written there."""
    key = name_key(name)
    if len(key) < 2:
        return ""
    one = plan.names.setdefault(key, Names(name, language))
    if kind == "topic" and not one.sure:
        one.name = name
    there = one.traces.get(trace_id)
    if there is None or there.kind is None or kind == "topic":
        one.traces[trace_id] = Spelling(there.name if there else name, kind)
    return key


class _Forgotten:
    """Names that a person has forgotten are made entities again by later texts alone."""

    def __init__(self, night: Night, scope: Scope) -> None:
        self._night = night
        self._scope = scope
        self._tombstones = Tombstones(Secret.of(night.settings))

    async def look(self, plan: Plan, new: Sequence[str]) -> None:
        """Takes out of a plan what was there when a name that it would make an entity was forgotten."""
        scope = self._scope
        refusing = self._tombstones.refusing(scope.key, scope.user_id)
        hashes = {one: key for key in new for one in refusing.of(scope.identity(key), b"", (), 0)}
        if not hashes:
            return
        async with self._night.database.reading(scope.space_id) as session:
            rows = await session.fetch(entities.SQL["forgotten_names"], (scope.user_id, list(hashes)))
        for row in rows:
            _without(plan, hashes[bytes(row[0])], row[1])


def _without(plan: Plan, key: str, until: datetime) -> None:
    """Leaves out of a plan what was remembered of a name until a moment."""
    names = plan.names[key]
    names.traces = {one: spelling for one, spelling in names.traces.items() if moment_of(one) > until}
    plan.facts = [
        fact for fact in plan.facts if key not in (fact.subject, fact.object) or moment_of(fact.source) > until
    ]
    if not names.traces:
        plan.stated.discard(key)


class _Resolved:
    """Which entity each name of a plan is of, while it is written."""

    def __init__(self, scope: Scope, plan: Plan, known: Mapping[bytes, UUID]) -> None:
        self.scope = scope
        self.plan = plan
        self.ids = {key: known[h] for key in plan.names if (h := scope.identity(key)) in known}
        for long in set(plan.same.values()) - plan.names.keys():
            if (identity := scope.identity(long)) in known:
                self.ids[long] = known[identity]

    def of(self, key: str) -> UUID | None:
        return self.ids.get(key) or self.ids.get(self.plan.of(key))

    def instead(self, gone: UUID, now: UUID) -> None:
        self.ids = {key: now if one == gone else one for key, one in self.ids.items()}


async def _write(session: WriteSession, *, scope: Scope, plan: Plan, ids: Sequence[UUID], did: Did) -> Did:
    hashes = [scope.identity(key) for key in {*plan.names, *plan.same.values()}]
    resolved = _Resolved(scope, plan, await entities.known(session, scope.user_id, hashes))
    merged = await _join(session, resolved)
    made = await _found(session, resolved)
    mentions = _mentions(resolved)
    lost = await entities.unmention(session, scope.user_id, ids, ((one.trace_id, one.entity_id) for one in mentions))
    touched = await entities.mention(session, scope, mentions)
    facts = {
        Stated(src, fact.predicate, dst, fact.source) for fact in plan.facts
        if (src := resolved.of(fact.subject)) and (dst := resolved.of(fact.object)) and src != dst
    }  # fmt: skip
    told, untold = await entities.state(session, scope, sorted(facts), ids)
    # All of them: what was mentioned as a note came is not new here, and not settled yet.
    settled = await entities.settle(session, scope, [one.entity_id for one in mentions], lost)
    return Did(
        saw=did.saw, made=made + len(touched) + told, removed=len(lost) + untold + len(settled.removed) + merged,
        changed=settled.changed, skipped=did.skipped, model=did.model, tokens=did.tokens,
    )  # fmt: skip


async def _join(session: WriteSession, resolved: _Resolved) -> int:
    """Makes one of entities that the day shows to be one, unless a person has said otherwise; how many went."""
    scope, plan, count = resolved.scope, resolved.plan, 0
    for short, long in sorted(plan.same.items()):
        one, other = resolved.ids.get(short), resolved.ids.get(long)
        if one is None or one == other:
            continue
        ends = [one] if other is None else [one, other]
        if not await entities.is_called(session, scope, one, short) or await entities.by_hand(
            session, scope.user_id, ends
        ):
            continue
        if other is None:
            resolved.ids[long] = one
        else:
            await entities.merge(session, scope, one, other, hand=False)
            resolved.instead(one, other)
            count += 1
    return count


async def _found(session: WriteSession, resolved: _Resolved) -> int:
    """Makes the entities that are missing, or gives their names to those that are spelled alike; how many it made."""
    plan, scope = resolved.plan, resolved.scope
    together: dict[str, set[UUID]] = {}
    sure: set[str] = set()
    for key, one in plan.names.items():
        if resolved.of(key) is None:
            leader = plan.of(key)
            together.setdefault(leader, set()).update(one.traces)
            if one.sure:
                sure.add(leader)
            if key in plan.stated and one.traces:
                plan.stated.add(leader)
    missing = sorted(
        key for key, traces in together.items()
        if (key in plan.stated and traces) or (key in sure and len(traces) > 1)
    )  # fmt: skip
    if not missing:
        return 0
    alike = _Alike(await session.fetch(entities.SQL["all_names"], (scope.user_id,)))
    new: dict[str, tuple[str, str]] = {}
    for key in missing:
        known, other = alike.find(key)
        if known is not None:
            resolved.ids[key] = known
        elif other is not None:
            plan.same[key] = other
        else:
            name = plan.names.get(key) or next(one for short, one in plan.names.items() if plan.of(short) == key)
            new[key] = (name.name if key in plan.names else key.title(), name.language)
            alike.add(key, None)
    made = await entities.make(session, scope, list(new.values()))
    resolved.ids |= {key: made[name] for key, (name, _) in new.items()}
    return len(made)


class _Alike:
    """Names by their spelling."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._folded: dict[str, tuple[UUID | None, str]] = {}
        self._typos: dict[str, list[tuple[UUID | None, str]]] = {}
        for entity_id, name, aliases in rows:
            for one in (name, *(aliases if isinstance(aliases, list) else ())):
                if isinstance(one, str):
                    self.add(name_key(one), entity_id)

    def add(self, key: str, entity_id: UUID | None) -> None:
        """Adds a name; one without an entity is about to get it."""
        if folded(key):
            self._folded.setdefault(folded(key), (entity_id, key))
        if (bucket := typo_keys(key)) is not None:
            self._typos.setdefault(bucket, []).append((entity_id, key))

    def find(self, key: str) -> tuple[UUID | None, str | None]:
        """The entity that has a name spelled like this, or the name about to get one."""
        if (there := self._folded.get(folded(key))) is not None:
            return there
        for one in self._typos.get(typo_keys(key) or "", ()):
            if spelled_alike(key, one[1]):
                return one
        return None, None


def _mentions(resolved: _Resolved) -> list[Mention]:
    """What each trace mentions, by which names."""
    found: dict[tuple[UUID, UUID], tuple[set[str], list[Kind]]] = {}
    for key, one in resolved.plan.names.items():
        entity_id = resolved.of(key)
        for trace_id, spelling in one.traces.items() if entity_id is not None else ():
            names, kinds = found.setdefault((trace_id, entity_id or UUID(int=0)), (set(), []))
            names.add(spelling.name)
            if spelling.kind is not None:
                kinds.append(spelling.kind)
    return [
        Mention(trace_id, entity_id, tuple(sorted(names)), min(kinds, default=None))
        for (trace_id, entity_id), (names, kinds) in sorted(found.items())
    ]
