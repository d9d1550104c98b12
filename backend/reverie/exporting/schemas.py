"""What goes over the wire about exports."""

from typing import Annotated

from pydantic import Field

from reverie.core.http import Schema


class ExportQuery(Schema):
    """The query string of an export."""

    vectors: Annotated[bool, Field(description="Whether traces come with their vectors.", examples=[False])] = False
