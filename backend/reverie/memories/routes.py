"""Traces over HTTP: remember, read, change."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Reader, Writer
from reverie.core.errors import Invalid
from reverie.core.http import Json, body_of, described, problems, query_of
from reverie.core.idempotency import Idempotency, idempotency
from reverie.core.paging import PageQuery
from reverie.memories.schemas import (
    RememberIn,
    RememberOut,
    RememberQuery,
    TraceOut,
    TracePage,
    TracePatch,
    TraceQuery,
    TracesQuery,
    UserPage,
)
from reverie.memories.service import MemoryService

router = APIRouter(prefix="/memory", tags=["memory"])


async def memory_service(request: Request) -> MemoryService:
    """The service of this process."""
    service: MemoryService = request.app.state.memories
    return service


Memories = Annotated[MemoryService, Depends(memory_service)]


@router.post(
    "/remember",
    status_code=201,
    response_model=RememberOut,
    responses={
        202: {"model": RememberOut, "description": "Accepted: vectors follow"},
        **problems(400, 403, 409, 413, 422),
    },
    openapi_extra=described(body=RememberIn, query=RememberQuery),
)
async def remember(
    principal: Writer,
    query: Annotated[RememberQuery, Depends(query_of(RememberQuery))],
    body: Annotated[RememberIn, Depends(body_of(RememberIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    memories: Memories,
) -> Json:
    """Remembers up to 1000 traces of a user; each is judged by itself, and what is accepted is durable.

    With `wait=true` up to 100 texts are encoded before the answer (201); more are accepted at once (202) and encoded
    in the background. Traces that bring their own `embedding` are never encoded.
    """
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        status, content = await memories.remember(principal, body, wait=query.wait, claim=claim)
    return Json(content, status)


@router.get(
    "/traces", response_model=TracePage, responses=problems(403, 422), openapi_extra=described(query=TracesQuery)
)
async def list_traces(
    principal: Reader, query: Annotated[TracesQuery, Depends(query_of(TracesQuery))], memories: Memories
) -> Json:
    """The traces of a user, newest first."""
    return Json((await memories.page(principal, query)).model_dump())


@router.get(
    "/traces/{trace_id}",
    response_model=TraceOut,
    responses=problems(403, 404, 422),
    openapi_extra=described(query=TraceQuery),
)
async def get_trace(
    principal: Reader,
    trace_id: UUID,
    query: Annotated[TraceQuery, Depends(query_of(TraceQuery))],
    memories: Memories,
) -> Json:
    """A trace of a user."""
    return Json((await memories.get(principal, query.user_id, trace_id)).model_dump())


@router.patch(
    "/traces/{trace_id}",
    response_model=TraceOut,
    responses=problems(400, 403, 404, 409, 413, 422),
    openapi_extra=described(body=TracePatch, query=TraceQuery),
)
async def patch_trace(
    principal: Writer,
    trace_id: UUID,
    query: Annotated[TraceQuery, Depends(query_of(TraceQuery))],
    body: Annotated[TracePatch, Depends(body_of(TracePatch))],
    memories: Memories,
) -> Json:
    """Changes a trace: its identity is computed anew, and what it says is encoded again if it changed."""
    return Json((await memories.patch(principal, query.user_id, trace_id, body)).model_dump())


@router.get("/users", response_model=UserPage, responses=problems(403, 422), openapi_extra=described(query=PageQuery))
async def list_users(
    principal: Reader, query: Annotated[PageQuery, Depends(query_of(PageQuery))], memories: Memories
) -> Json:
    """The users of the caller's space, newest first."""
    return Json((await memories.users(principal, _user_cursor(query.cursor), query.limit)).model_dump())


def _user_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        moment, user_id = cursor.split(",")
        parsed = datetime.fromisoformat(moment)
        if parsed.tzinfo is None:
            raise ValueError(moment)  # noqa: TRY301 - one refusal for every malformed cursor
        return parsed, UUID(user_id)
    except ValueError:
        raise Invalid("cursor takes the next_cursor of the page before.", field="cursor") from None
