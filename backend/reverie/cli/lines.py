"""Reading a file of traces or of chat messages, one JSON object a line. Pure functions over an iterable of lines.

A line is a trace as ``POST /memory/remember`` takes it, with a ``user_id`` of its own if it likes; or a message as chat
APIs write it (``role``, ``content``, ``name``, …); or a whole conversation of these: ``{"messages": […]}``. Of an
export the traces are read back, with the times and ids that they had; links and names are made anew, and what else
belongs to a store, such as receipts, is passed over.

A turn without ``external_id`` and ``occurred_at`` is a new turn each time it is remembered. So that a file can be
imported again, each such line gets an ``external_id`` made of everything in the file up to it: the same file, also one
that has grown since, is known again, while a second "Yes." further down stays a turn of its own.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

CHAT_FIELDS = frozenset(
    {"name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "annotations", "id", "type", "status"}
)
"""What chat APIs write beside role and content; of these only the name is remembered."""

RECORD = "record"
"""What every line of an export begins with, and nothing else has."""

EXPORT_FORMAT = 1

RESTORED = (
    "content", "kind", "role", "speaker", "conversation_id", "external_id", "language", "occurred_at", "expires_at",
    "salience", "source", "meta",
)  # fmt: skip
"""What of an exported trace is remembered again."""

ROLES = {"developer": "system", "function": "tool"}
"""Roles of chat APIs by the name that they have here."""


@dataclass(frozen=True, slots=True)
class Item:
    """One trace to remember, and the line it stands in. ``size`` is that of its JSON in bytes."""

    line: int
    user: str
    trace: dict[str, Any]
    size: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A line, or a trace of it, that is not remembered, and why; the reason is a sentence."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Passed:
    """A message without text, such as one that only calls a tool."""

    line: int


def read(
    lines: Iterable[bytes], user: str | None = None, conversation: str | None = None
) -> Iterator[Item | Fault | Passed]:
    """What stands in a file, in its order; ``user`` and ``conversation`` are meant where a line names none."""
    so_far = hashlib.sha256()
    export_ends, number = True, 0
    for number, raw in enumerate(lines, 1):
        text = raw.strip()
        if not text:
            continue
        so_far.update(text + b"\n")
        digest = so_far.hexdigest()[:32]
        try:
            value = _object(text)
            if RECORD in value:
                export_ends = value[RECORD] != "export" and (export_ends or value[RECORD] == "end")
                yield from _exported(number, value, user, len(text))
            else:
                yield from _line(number, value, digest, user, conversation, len(text))
        except ValueError as error:
            yield Fault(number, str(error))
    if not export_ends:
        yield Fault(number, "the export ends here, before its last line: it was cut off.")


_MADE_ANEW = ("links", "dream")
"""By whom what is made of other traces was made: with these, it is made again."""


def _exported(number: int, value: dict[str, Any], user: str | None, size: int) -> Iterator[Item]:
    """A trace of an export; nothing of other lines.

    Without ``occurred_at`` it happened when it was learned, which is no more when it is remembered again.
    """
    if value[RECORD] == "export" and value.get("format") != EXPORT_FORMAT:
        raise ValueError("the export is of another format: it takes another version of this command.")
    if value[RECORD] == "fault":
        raise ValueError(f"the export broke off here: {value.get('detail')}")
    provenance = value.get("provenance")
    if value[RECORD] != "trace" or (isinstance(provenance, dict) and provenance.get("by") in _MADE_ANEW):
        return
    if value.get("content") is None:
        raise ValueError("its text could not be read when it was exported.")
    trace = {name: value[name] for name in RESTORED if value.get(name) is not None}
    trace.setdefault("occurred_at", value.get("happened_at"))
    if value.get("supplied"):
        # The caller's own, which nothing here can make again.
        own = (one for one in value.get("embeddings") or () if (one.get("head"), one.get("piece")) == ("semantic", 0))
        first = next(own, None)
        trace |= {"embedding": first.get("vector")} if first else {}
    yield Item(number, _owner(value.get("user_id", user)), trace, size)


def _owner(given: object) -> str:
    if given is None:
        raise ValueError("user_id is required: in the line, or for all of them by --user.")
    if not isinstance(given, str):
        raise ValueError("user_id takes a string.")
    return given


def _line(
    number: int, value: dict[str, Any], digest: str, user: str | None, conversation: str | None, size: int
) -> Iterator[Item | Passed]:
    owner = _owner(value.pop("user_id", user))
    if "messages" not in value:
        yield _item(number, owner, value, conversation, digest, size)
        return
    conversation = value.pop("conversation_id", None) or conversation or f"import-{digest}"
    messages = value.pop("messages")
    if value:
        raise ValueError(f"{next(iter(value))} is not a field beside messages.")
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise ValueError("messages takes a list of JSON objects.")
    for index, message in enumerate(messages):
        yield _item(number, owner, message, conversation, f"{digest}-{index}", size // len(messages))


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at column {error.colno}.") from None
    if isinstance(value, list):
        raise ValueError("it is a JSON array: write one object a line.")
    if not isinstance(value, dict):
        raise ValueError("it takes a JSON object.")
    return value


def _item(
    number: int, user: str, value: dict[str, Any], conversation: str | None, digest: str, size: int
) -> Item | Passed:
    trace = _from_message(value) if _is_message(value) else dict(value)
    if trace is None:
        return Passed(number)
    if conversation is not None and trace.get("conversation_id") is None:
        trace["conversation_id"] = conversation
    if is_turn(trace) and trace.get("external_id") is None and trace.get("occurred_at") is None:
        trace["external_id"] = f"import-{digest}"
    return Item(number, user, trace, size)


def is_turn(trace: dict[str, Any]) -> bool:
    """Whether the service takes it for a turn, which is no other's duplicate without a time or an id."""
    kind = trace.get("kind")
    return kind == "turn" or (kind is None and bool(trace.get("role") or trace.get("conversation_id")))


def _is_message(value: dict[str, Any]) -> bool:
    return "role" in value and (
        not CHAT_FIELDS.isdisjoint(value)
        or _known_role(value["role"]) != value["role"]
        or isinstance(value.get("content"), list)
    )


def _from_message(value: dict[str, Any]) -> dict[str, Any] | None:
    """The trace that a message is; None without text. Fields of neither kind are left for the service to refuse."""
    trace = {name: given for name, given in value.items() if name not in CHAT_FIELDS}
    content = value.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    if not content:
        return None
    speaker = value.get("speaker") or value.get("name")
    trace |= {"content": content, "role": _known_role(value["role"])}
    return trace | ({"speaker": speaker} if speaker is not None else {})


def _known_role(role: object) -> object:
    return ROLES.get(role, role) if isinstance(role, str) else role
