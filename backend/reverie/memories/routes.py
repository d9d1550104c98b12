"""Traces over HTTP: remember, read, change."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Reader, Writer
from reverie.core.http import Json, answered, body_of, described, problems, query_of
from reverie.core.idempotency import Idempotency, idempotency
from reverie.core.paging import not_a_cursor
from reverie.memories import examples
from reverie.memories.schemas import (
    MessageIn,
    RememberIn,
    RememberOut,
    RememberQuery,
    TraceIn,
    TraceOut,
    TracePage,
    TracePatch,
    TraceQuery,
    TracesQuery,
    UserPage,
    UsersQuery,
)
from reverie.memories.service import MemoryService
from reverie.operations.examples import LINK

router = APIRouter(prefix="/memory", tags=["memory"])


async def memory_service(request: Request) -> MemoryService:
    """The service of this process."""
    service: MemoryService = request.app.state.memories
    return service


Memories = Annotated[MemoryService, Depends(memory_service)]


_NAMED = {"trace_id": "$response.body#/traces/0/trace_id", "user_id": "$request.body#/user_id"}
_LEADS = {
    "read": {"operationId": "get_trace", "parameters": _NAMED, "description": "The first trace"},
    "change": {"operationId": "patch_trace", "parameters": _NAMED, "description": "The first trace"},
    "delete": {"operationId": "delete_trace", "parameters": _NAMED, "description": "The first trace"},
    "forget": {
        "operationId": "forget",
        "requestBody": {"user_id": _NAMED["user_id"], "scope": {"trace_id": _NAMED["trace_id"]}},
        "description": "The first trace",
    },
    "list": {"operationId": "list_traces", "parameters": {"user_id": _NAMED["user_id"]}},
    "recall": {
        "operationId": "recall_get",
        "parameters": {"user_id": _NAMED["user_id"], "q": "$request.body#/traces/0/content"},
        "description": "What is like the first trace",
    },
}
_OPERATION = {"operation": LINK | {"description": "How far the vectors are"}}


@router.post(
    "/remember",
    status_code=201,
    response_model=RememberOut,
    responses={
        201: answered("Remembered", links=_LEADS, some_of_everything=examples.STORED),
        202: {
            "model": RememberOut,
            **answered("Remembered; vectors follow", links=_LEADS | _OPERATION, pending=examples.ACCEPTED),
        },
        **problems(400, 409, 415, 422),
    },
    openapi_extra=described(
        body=RememberIn,
        query=RememberQuery,
        parts=(TraceIn, MessageIn),
        once=True,
        traces=examples.TRACES,
        messages_of_a_chat=examples.MESSAGES,
    ),
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


_PAGED = {
    "next": {
        "operationId": "list_traces",
        "parameters": {"user_id": "$request.query.user_id", "cursor": "$response.body#/next_cursor"},
        "description": "The next page",
    },
    "read": {
        "operationId": "get_trace",
        "parameters": {"trace_id": "$response.body#/items/0/trace_id", "user_id": "$response.body#/items/0/user_id"},
        "description": "The newest trace",
    },
}


@router.get(
    "/traces",
    response_model=TracePage,
    responses={200: answered("A page of traces", links=_PAGED, page=examples.TRACES_PAGE), **problems(422)},
    openapi_extra=described(query=TracesQuery),
)
async def list_traces(
    principal: Reader, query: Annotated[TracesQuery, Depends(query_of(TracesQuery))], memories: Memories
) -> Json:
    """The traces of a user, newest first."""
    return Json((await memories.page(principal, query)).model_dump())


@router.get(
    "/traces/{trace_id}",
    response_model=TraceOut,
    responses={200: answered("The trace", trace=examples.TRACE), **problems(404, 422)},
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
    responses={
        200: answered("The trace as it is now", trace=examples.CHANGED),
        **problems(400, 404, 409, 415, 422),
    },
    openapi_extra=described(body=TracePatch, query=TraceQuery, change=examples.CHANGE),
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


_USERS = {
    "next": {
        "operationId": "list_users",
        "parameters": {"cursor": "$response.body#/next_cursor"},
        "description": "The next page",
    },
    "traces": {
        "operationId": "list_traces",
        "parameters": {"user_id": "$response.body#/items/0/user_id"},
        "description": "The traces of the newest user",
    },
}


@router.get(
    "/users",
    response_model=UserPage,
    responses={200: answered("A page of users", links=_USERS, page=examples.USERS_PAGE), **problems(422)},
    openapi_extra=described(query=UsersQuery),
)
async def list_users(
    principal: Reader, query: Annotated[UsersQuery, Depends(query_of(UsersQuery))], memories: Memories
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
        raise not_a_cursor() from None
