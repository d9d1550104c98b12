"""Summarising: each conversation of a day, and the day where it has several, in three lengths.

In the words of those who spoke (:mod:`reverie.text.summaries`), or in those of a language model where one is configured
and what it says passes the checks (:mod:`reverie.dream.abstractive`).
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, Final
from uuid import UUID

from reverie.core import clock
from reverie.core.database import WriteSession
from reverie.dream import abstractive, repository
from reverie.dream.protocol import Day, Did, Night, Trace, Write
from reverie.memories.deriving import Derived, Mark, settle_day
from reverie.memories.identity import made_of, summary_identity
from reverie.text.summaries import WORDS, Read, Turn, WordCounts, summarise
from reverie.text.topics import topics

SUMMARY: Final = "summary"
CONVERSATION: Final = "conversation"
DAY: Final = "day"

KNOWN_TRACES: Final = 2000
"""Earlier traces by which it is said which words are rare."""

KNOWN_CHARS: Final = 1000
"""Characters that are read of each of them."""

METHOD: Final = "extract 1"
"""How summaries are made without a language model; where it changes, a day that is dreamt again gets others."""

Wanted = tuple[Derived, Sequence[Trace]]


class Summarising:
    """The stage ``summarise``."""

    name = "summarise"

    async def prepare(self, day: Day, night: Night) -> Did | Write:
        did = Did(saw=len(day.traces))
        async with night.database.reading(day.space_id) as session:
            earlier = await repository.earlier_texts(session, day, KNOWN_TRACES, KNOWN_CHARS) if day.traces else []
            before = await abstractive.told(session, day)
        pairs = await asyncio.to_thread(summaries_of, day, earlier, did)
        wanted = [derived for derived, _ in pairs]
        model = night.language_model(day.space_id)
        if model is not None:
            wanted = await abstractive.retold(model, day, pairs, before, WORDS, did)
        mark = Mark(day.space_id, day.user_id, day.key, night.run_id, clock.now())
        return partial(_write, mark=mark, day=day, wanted=wanted, did=did)


async def _write(session: WriteSession, *, mark: Mark, day: Day, wanted: Sequence[Derived], did: Did) -> Did:
    written = await settle_day(session, mark, SUMMARY, day.day, wanted)
    done = Did(
        saw=did.saw, made=written.made + written.edges, removed=written.removed, skipped=Counter(did.skipped),
        model=did.model, tokens=did.tokens, operations=[written.operation_id] if written.operation_id else [],
    )  # fmt: skip
    if written.kept:
        done.skipped["changed or pinned by hand"] += written.kept
    return done


def summaries_of(day: Day, earlier: Sequence[Sequence[Turn[UUID]]], did: Did) -> list[Wanted]:
    """The summaries that a day should have, with what each is about. Pure but for what it counts in ``did``.

    Args:
        day: with its groups.
        earlier: conversations of earlier days.
        did: where groups are counted of which there is nothing to say.
    """
    known = WordCounts()
    for turns in earlier:
        known.add(turns)
    conversations = [group for group in day.groups if group.conversation_id is not None]
    about = [(CONVERSATION, group.conversation_id, group.traces) for group in conversations]
    # What stands in no conversation, and a day of several, has the day's own.
    if len(day.groups) > 1 or len(conversations) < len(day.groups):
        about.append((DAY, None, day.traces))
    read: Read = {}
    found = [_derived(day, scope, conversation, traces, known, read) for scope, conversation, traces in about]
    made = [one for one in found if one is not None]
    if len(made) < len(found):
        did.skipped["nothing to say"] += len(found) - len(made)
    return made


def _derived(
    day: Day, scope: str, conversation_id: str | None, traces: Sequence[Trace], known: WordCounts, read: Read
) -> Wanted | None:  # fmt: skip
    turns = [Turn(trace.id, trace.speaker or trace.role, trace.text, trace.language) for trace in traces]
    said = summarise(turns, WORDS, known=known, read=read)
    if not said.text:
        return None
    language = day.language or _most(traces)
    speakers = {trace.speaker for trace in traces if trace.speaker}
    meta: dict[str, Any] = {
        "day": day.day.isoformat(),
        "scope": scope,
        "sentence": said.sentence,
        "short": said.short,
        "topics": topics([trace.text for trace in traces], language, speakers=speakers),
    }
    derived = Derived(
        kind=SUMMARY,
        identity=summary_identity(day.key, scope, day.day, conversation_id),
        content=said.text,
        language=language,
        sources=said.sources,
        day=day.day,
        occurred_at=traces[-1].happened_at,
        conversation_id=conversation_id,
        meta=meta,
        asked=_asked(day, language, traces),
    )
    return derived, traces


def _asked(day: Day, language: str, traces: Sequence[Trace]) -> str:
    """Of what a summary is made: which words are rare changes, as other days are remembered, forgotten, or cold."""
    of_traces = ((one.speaker or one.role, one.language, one.happened_at.isoformat(), one.text) for one in traces)
    return made_of(day.key, METHOD, [language, *chain.from_iterable(of_traces)])


def _most(traces: Sequence[Trace]) -> str:
    """The language that most of it is written in."""
    characters = Counter[str]()
    for trace in traces:
        characters[trace.language] += len(trace.text)
    return max(sorted(characters), key=lambda one: characters[one])
