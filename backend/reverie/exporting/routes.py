"""Exports over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter
from starlette.convertors import Convertor, register_url_convertor

from reverie.auth.dependencies import Admin
from reverie.core.http import described, named, problems, query_of, validated
from reverie.exporting import examples
from reverie.exporting.schemas import ExportPath, ExportQuery
from reverie.exporting.service import ExportService
from reverie.text.fields import Identifier

router = APIRouter(prefix="/memory/users", tags=["forgetting"])

LINES = "application/x-ndjson"


class _Anything(Convertor[str]):
    """A part of a path with slashes and ends of lines in it: a caller's own name of a user."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())
_PATH = TypeAdapter(ExportPath)


class Lines(StreamingResponse):
    """JSON objects, one a line."""

    media_type = LINES


async def export_service(request: Request) -> ExportService:
    """The service of this process."""
    service: ExportService = request.app.state.exporting
    return service


@router.get(
    "/{user_id:anything}/export",
    response_class=Lines,
    responses={
        200: {
            "description": "All that is held, a JSON object a line",
            "content": {LINES: {"schema": {"type": "string"}, "examples": {"lines": {"value": examples.LINES}}}},
        },
        **problems(404, 422),
    },
    openapi_extra=described(query=ExportQuery),
)
async def export_user(
    principal: Admin,
    user_id: Annotated[Identifier, Path(openapi_examples=named(name=examples.USER))],
    query: Annotated[ExportQuery, Depends(query_of(ExportQuery))],
    exporting: Annotated[ExportService, Depends(export_service)],
    request: Request,
) -> Lines:
    """Everything held about a user, as lines of JSON: traces with their text, links, receipts, work that was accepted.

    `record` says what a line is. The last one has `record` end and counts the others; without it the export is not
    whole. `reverie import` reads it back.
    """
    whose = validated(_PATH, {"user_id": user_id}, request).user_id
    lines = await exporting.export(principal.space_id, whose, vectors=query.vectors)
    return Lines(lines, headers={"Content-Disposition": 'attachment; filename="export.jsonl"'})
