"""What goes over the wire about exports."""

from typing import Annotated

from pydantic import Field

from reverie.core.http import Schema
from reverie.text.fields import Identifier


class ExportPath(Schema):
    """Whose export it is."""

    user_id: Identifier


class ExportQuery(Schema):
    """The query string of an export."""

    vectors: Annotated[bool, Field(description="Whether traces come with their vectors.", examples=[False])] = False
