"""Who is asking: the key behind a request, the space it belongs to, and what it may do."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from reverie.core.errors import Forbidden

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. ``identity_key`` keys the hashes by which traces of its space are told apart."""

    key_id: UUID
    space_id: UUID
    scopes: frozenset[str]
    identity_key: bytes

    def needs(self, scope: Scope) -> None:
        """Raises Forbidden unless the key has ``scope``; admin has all."""
        if scope not in self.scopes and "admin" not in self.scopes:
            raise Forbidden(f"This needs a key with the scope {scope}; this key has {', '.join(sorted(self.scopes))}.")
