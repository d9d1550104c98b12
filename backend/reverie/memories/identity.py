"""When two traces are the same. Pure functions over keyed hashes: what is kept of a forgotten text says nothing.

Two traces are the same if they have the same (user, external_id). Without an external_id a note, fact or chunk is the
same by its content, kind, role, speaker and conversation; an entity by its name alone, however it is written; a turn
only if its ``occurred_at`` is given and equal too, for a second genuine "Yes." is another turn.
"""

import hashlib
from collections.abc import Iterable
from datetime import date, datetime

from reverie.text.entities import name_key

SIZE = 16
"""Bytes of a hash: 128 bits, so that two of 2^32 traces collide with a chance of 2^-65."""


def digest(key: bytes, content: str) -> bytes:
    """The keyed hash of a content alone (BLAKE2b, RFC 7693)."""
    return _hash(key, "content", content)


def identity(
    key: bytes,
    *,
    content: str,
    kind: str,
    role: str | None,
    speaker: str | None,
    conversation_id: str | None,
    external_id: str | None,
    occurred_at: datetime | None,
) -> bytes | None:
    """The keyed hash by which a trace of a user is recognised; None for one that is never a duplicate."""
    if external_id is not None:
        return external_identity(key, external_id)
    if kind == "entity":
        return entity_identity(key, content)
    if kind != "turn":
        return _hash(key, "text", content, kind, role, speaker, conversation_id)
    if occurred_at is not None:
        return _hash(key, "turn", content, kind, role, speaker, conversation_id, occurred_at.isoformat())
    return None


def external_identity(key: bytes, external_id: str) -> bytes:
    """The keyed hash by which a trace of this external_id is recognised."""
    return _hash(key, "external", external_id)


def entity_identity(key: bytes, name: str) -> bytes:
    """The keyed hash by which the entity of a name is recognised."""
    return _hash(key, "entity", name_key(name) or name)


def summary_identity(key: bytes, scope: str, day: date, group: str | None) -> bytes:
    """The keyed hash by which the summary of a day, or of a conversation in it (``group``), is recognised."""
    return _hash(key, "summary", scope, day.isoformat(), group)


def made_of(key: bytes, how: str, parts: Iterable[str | None]) -> str:
    """The keyed hash by which it is recognised that a text was made of the same in the same way."""
    return _hash(key, "made", how, *parts).hex()


def _hash(key: bytes, *parts: str | None) -> bytes:
    hashed = hashlib.blake2b(key=key, digest_size=SIZE)
    for part in parts:
        # Length before content, so that ("ab", "c") and ("a", "bc") differ; None differs from "".
        raw = b"" if part is None else part.encode()
        hashed.update((-1 if part is None else len(raw)).to_bytes(8, "big", signed=True))
        hashed.update(raw)
    return hashed.digest()
