"""What marks do to recall: the same questions asked with what the night marked as superseded, and without any mark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from bench import options
from bench.client import Client, client_of
from bench.conversations import Conversation
from bench.gather import load, user_of
from bench.service import Service

RUN: Final = "supersede"
FIRST: Final = 10


@dataclass(frozen=True, slots=True)
class Marked:
    """What recall finds with marks and without.

    Attributes:
        marks: edges `supersedes` that the nights made.
        questions: that were asked; ``moved``: of them those whose first ten stand in another order.
        r10: mean share of the evidence among the first ten with marks; ``r10_without``: without.
        lost: (conversation, question, external id) of evidence that is among the first ten without marks alone.
    """

    marks: int
    questions: int
    moved: int
    r10: float
    r10_without: float
    lost: list[tuple[str, str, str]]


def recalled(service: Service, conversations: Sequence[Conversation]) -> Marked:
    """Has a service remember conversations, dream every night of them and answer their questions, and answer them again
    once the marks are taken away.

    Raises:
        CannotMeasure: it does not do so.
    """
    with options.progress() as begin, client_of(service) as client:
        load(client, RUN, conversations, begin("remember", sum(len(one.traces) for one in conversations)))
        advance = begin("dream", len(conversations))
        for conversation in conversations:
            client.dream(user_of(RUN, conversation))
            advance(1)
        questions = sum(len(one.questions) for one in conversations)
        with_marks = _first(client, conversations, begin("ask", questions))
        marks = _take_away(service)
        without = _first(client, conversations, begin("ask without marks", questions))
    return compared(_asked(conversations), with_marks, without, marks)


Asked = tuple[str, str, frozenset[str]]
"""A conversation, a question and the external ids of its evidence."""


def compared(
    asked: Sequence[Asked], with_marks: Sequence[Sequence[str]], without: Sequence[Sequence[str]], marks: int
) -> Marked:
    """What is found with marks against what is found without, by the external ids of the first results. Pure."""
    lost: list[tuple[str, str, str]] = []
    moved, shares = 0, [0.0, 0.0]
    for (name, question, evidence), now, before in zip(asked, with_marks, without, strict=True):
        moved += list(now) != list(before)
        lost += [(name, question, gone) for gone in sorted((set(before) - set(now)) & evidence)]
        for place, found in enumerate((now, before)):
            shares[place] += len(evidence & set(found)) / max(1, len(evidence)) / len(asked)
    return Marked(marks, len(asked), moved, shares[0], shares[1], lost)


def _asked(conversations: Sequence[Conversation]) -> list[Asked]:
    return [(one.name, asked.text, asked.evidence) for one in conversations for asked in one.questions]


def _first(client: Client, conversations: Sequence[Conversation], advance: Callable[[int], Any]) -> list[list[str]]:
    """The external ids of the first results of each question."""
    found = []
    for conversation in conversations:
        for asked in conversation.questions:
            results, _ = client.ask(user_of(RUN, conversation), asked.text, k=FIRST, touch=False)
            found.append([str(one["external_id"]) for one in results])
            advance(1)
    return found


def _take_away(service: Service) -> int:
    """Deletes all marks; how many there were. What was answered before is not answered from what is kept."""
    with psycopg.connect(service.database_url) as owner:
        gone = owner.execute("DELETE FROM memory_edge WHERE type = 'supersedes'").rowcount
        owner.execute("UPDATE memory_user SET version = version + 1")
    return gone
