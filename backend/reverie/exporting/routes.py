"""Exports over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from reverie.auth.dependencies import Admin
from reverie.core.http import described, named, problems, query_of, validated
from reverie.exporting import examples
from reverie.exporting.schemas import ExportQuery
from reverie.exporting.service import ExportService
from reverie.memories.schemas import UserPath
from reverie.text.fields import Identifier

router = APIRouter(prefix="/memory/users", tags=["forgetting"])

LINES = "application/x-ndjson"


_PATH = TypeAdapter(UserPath)


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
