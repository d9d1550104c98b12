"""API keys as text: ``rv_<prefix>_<secret>``. Pure functions."""

import hashlib
import secrets
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. ``text`` is shown once; only ``digest`` is stored, and ``prefix`` to tell keys apart."""

    text: str
    prefix: str
    digest: bytes


def make_key() -> NewKey:
    """A key of 256 random bits."""
    prefix = secrets.token_hex(4)
    text = f"rv_{prefix}_{secrets.token_hex(32)}"
    return NewKey(text, prefix, digest(text))


def digest(text: str) -> bytes:
    """SHA-256 of a key. 256 random bits need no slow hash: there is nothing to guess."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
