"""Lists page by cursor: newest first, ``{items, next_cursor}``."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from reverie.core.errors import Invalid
from reverie.core.http import Schema

Limit = Annotated[int, Field(ge=1, le=100)]


def cursor_field(example: str) -> Any:
    """What a list says of its cursor, with one that it would give out."""
    return Field(max_length=100, description="The next_cursor of the page before.", examples=[example])


def not_a_cursor() -> Invalid:
    """The refusal of a cursor that no list gave out."""
    return Invalid("cursor takes the next_cursor of the page before.", field="cursor")


class PageQuery(Schema):
    """The query string of a list."""

    limit: Annotated[Limit, Field(description="How many the page holds.", examples=[20])] = 50
    cursor: Annotated[str | None, cursor_field("019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e44")] = None

    def before(self) -> UUID | None:
        """The id before which the page begins.

        Raises:
            Invalid: the cursor is none that a list gave out.
        """
        if self.cursor is None:
            return None
        try:
            return UUID(self.cursor)
        except ValueError:
            raise not_a_cursor() from None


def next_cursor(ids: list[UUID], limit: int) -> str | None:
    """The cursor after a page of these ids, None after the last page."""
    return str(ids[-1]) if len(ids) == limit else None
