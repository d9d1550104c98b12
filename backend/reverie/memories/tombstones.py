"""By what a forgotten trace is recognised when it comes again. Pure functions over keyed hashes.

A tombstone has the hash of the trace's identity. A trace without one (a turn of no time), one that was made of others
(whose identity says what of, not what it says) and one that an import numbered (by all lines above it, which may be
edited) have that of what they say, who and where, if it is long enough: nobody is to be refused a second "Yes, thank
you." because the first was forgotten.

The hashes are keyed by REVERIE_SECRET_KEY, which does not lie in the store: whoever has a dump of it cannot try out
texts. Without that they are keyed by the key of the space's identities, which does.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from reverie.core.secret import Secret

LEAST_LENGTH: Final = 24
"""Characters from which on a text alone is recognised: below it stand lines that are said every day."""

NUMBERED: Final = "import-"
"""What the names begin with that an import makes up, of all lines up to one: other lines above, another name."""

SIZE: Final = 16
"""Bytes of a hash."""


class Buried(NamedTuple):
    """What a tombstone is made of.

    ``derived``: whether the trace was made of others; ``numbered``: whether an import made up its external_id.
    """

    id: UUID
    identity: bytes | None
    digest: bytes
    kind: str
    role: str | None
    speaker: str | None
    conversation_id: str | None
    length: int
    derived: bool
    numbered: bool = False


class Tombstones:
    """Makes and recognises tombstones of one store."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    @property
    def fingerprint(self) -> bytes | None:
        """Of the secret that new hashes are made with; None where they are made without one."""
        return self._secret.fingerprint

    def of(self, identity_key: bytes, user_id: UUID, buried: Sequence[Buried]) -> list[bytes | None]:
        """The hash of each; None for one that is not recognised again."""
        key = _keyed(self._secret.keys[0] if self._secret.keys else identity_key, user_id)
        return [_hash(key, one) for one in buried]

    def refusing(self, identity_key: bytes, user_id: UUID) -> "Refusing":
        """By which traces of a user that come may be recognised, by every secret that hashes were ever made with."""
        return Refusing([_keyed(key, user_id) for key in (*self._secret.keys, identity_key)])


class Refusing:
    """Every hash by which traces of a user may be recognised."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = keys

    def of(self, identity: bytes | None, digest: bytes, said: Sequence[str | None], length: int) -> list[bytes]:
        """Those of one trace. ``said``: kind, role, speaker and conversation."""
        parts = [] if identity is None else [b"i" + identity]
        if length >= LEAST_LENGTH:
            parts.append(_text(digest, said))
        return [hashlib.blake2b(part, key=key, digest_size=SIZE).digest() for part in parts for key in self._keys]


def _hash(key: bytes, one: Buried) -> bytes | None:
    by_identity = one.identity is not None and not one.derived
    if one.length >= LEAST_LENGTH and (one.numbered or not by_identity):
        part = _text(one.digest, (one.kind, one.role, one.speaker, one.conversation_id))
    elif by_identity:
        part = b"i" + (one.identity or b"")
    else:
        return None
    return hashlib.blake2b(part, key=key, digest_size=SIZE).digest()


def _text(digest: bytes, said: Sequence[str | None]) -> bytes:
    # JSON keeps the parts apart, and None from "".
    parts = [NUMBERED if one is not None and one.startswith(NUMBERED) else one for one in said]
    return b"t" + digest + orjson.dumps(parts)


@lru_cache(maxsize=4096)
def _keyed(key: bytes, user_id: UUID) -> bytes:
    """A key of one user's, so that the hashes of two users tell nothing of one another."""
    return hashlib.blake2b(user_id.bytes, key=key, digest_size=32, person=b"tombstone").digest()
