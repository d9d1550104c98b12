"""What goes over the wire about keys."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from reverie.auth.principal import Scope
from reverie.core.http import Answer, Schema
from reverie.text.fields import STORABLE, storable_text


class KeyIn(Schema):
    """A key to make."""

    name: Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"pattern": STORABLE})]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3, default_factory=lambda: ["read", "write"])]

    @field_validator("name")
    @classmethod
    def _storable(cls, value: str) -> str:
        return storable_text(value)


class KeyOut(Answer):
    """A key, without its text."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None


class NewKeyOut(KeyOut):
    """A key just made: ``key`` is shown this once (null when the answer is a repetition)."""

    key: str | None


class KeyPage(Answer):
    """A page of keys."""

    items: list[KeyOut]
    next_cursor: str | None
