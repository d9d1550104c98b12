"""Collections of conversations with questions whose evidence is known, as JSON files.

A file is a list of samples ``{sample_id, conversation, qa}``, the form in which LoCoMo (Maharana et al., 2024) is
published: ``conversation`` has for each session N ``session_N_date_time`` (ISO 8601, or "1:56 pm on 8 May, 2023") and
``session_N``, a list of turns ``{speaker, dia_id, text, blip_caption?}``; ``qa`` is a list of ``{question, evidence,
category}`` with the ``dia_id`` of each turn that answers the question. Category 5, questions that nothing answers, is
left out. ``session_summary``, if there is one, has a paragraph ``session_N_summary`` about each session that a person
would write.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from bench.report import CannotMeasure

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}

_EVIDENCE = re.compile(r"D\s*:?\s*(\d+)\s*:\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Asking:
    """A question, and the external ids of the traces that answer it."""

    text: str
    category: int
    evidence: frozenset[str]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one user remembers, as the API takes it, what is asked, and each ``conversation_id`` in a person's words."""

    name: str
    collection: str
    traces: list[dict[str, Any]]
    questions: list[Asking]
    references: dict[str, str] = field(default_factory=dict)


def read_collection(path: Path) -> list[Conversation]:
    """The conversations of a file.

    Raises:
        CannotMeasure: it cannot be read, or has another form.
    """
    try:
        return [_conversation(sample, path.stem) for sample in orjson.loads(path.read_bytes())]
    except OSError as error:
        raise CannotMeasure(f"{path} cannot be read: {error.strerror}.") from None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CannotMeasure(f"{path} is no collection of conversations ({type(error).__name__}: {error}).") from None


def _conversation(sample: dict[str, Any], collection: str) -> Conversation:
    traces = list(_turns(sample["conversation"]))
    known = {trace["external_id"] for trace in traces}
    questions = []
    for asked in sample["qa"]:
        evidence = _evidence(asked.get("evidence", []), known)
        if asked["category"] in CATEGORIES and evidence:
            questions.append(Asking(asked["question"], asked["category"], evidence))
    told = sample.get("session_summary", {})
    references = {name.removesuffix("_summary"): text for name, text in told.items()}
    return Conversation(str(sample["sample_id"]), collection, traces, questions, references)


def _turns(conversation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    number = 1
    while f"session_{number}_date_time" in conversation:
        began = _moment(conversation[f"session_{number}_date_time"])
        for place, turn in enumerate(conversation.get(f"session_{number}", [])):
            caption = turn.get("blip_caption")
            yield {
                "external_id": turn["dia_id"],
                "content": turn["text"] + (f" [shares {caption}]" if caption else ""),
                "speaker": turn["speaker"],
                "role": "assistant" if turn["speaker"] == "assistant" else "user",
                "conversation_id": f"session_{number}",
                "occurred_at": (began + timedelta(seconds=place)).isoformat(),
            }
        number += 1


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


def _evidence(raw: list[Any], known: set[str]) -> frozenset[str]:
    named = (f"D{int(a)}:{int(b)}" for one in raw for a, b in _EVIDENCE.findall(str(one)))
    return frozenset(one for one in named if one in known)
