"""Traces over HTTP: remember, read, change."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request
from pydantic import TypeAdapter

from reverie.auth.dependencies import Reader, Writer
from reverie.core.http import Json, answered, body_of, described, named, problems, query_of, validated
from reverie.core.idempotency import Idempotency, idempotency
from reverie.core.paging import not_a_cursor
from reverie.memories import examples
from reverie.memories.merging import MergeService
from reverie.memories.pins import PinService
from reverie.memories.schemas import (
    EntityOut,
    HalfLives,
    MergeIn,
    MessageIn,
    RememberIn,
    RememberOut,
    RememberQuery,
    SplitIn,
    TraceIn,
    TraceOut,
    TracePage,
    TracePatch,
    TraceQuery,
    TracesQuery,
    UserPage,
    UserPatch,
    UserPath,
    UserSettings,
    UsersQuery,
)
from reverie.memories.service import MemoryService
from reverie.memories.suggesting import Suggester
from reverie.memories.users import UserService
from reverie.operations.examples import LINK
from reverie.text.fields import Identifier

router = APIRouter(prefix="/memory", tags=["memory"])


async def memory_service(request: Request) -> MemoryService:
    """The service of this process."""
    service: MemoryService = request.app.state.memories
    return service


Memories = Annotated[MemoryService, Depends(memory_service)]


async def suggester(request: Request) -> Suggester:
    """What finds suggestions in this process."""
    service: Suggester = request.app.state.relating
    return service


Suggests = Annotated[Suggester, Depends(suggester)]

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
    suggester: Suggests,
) -> Json:
    """Remembers up to 1000 traces of a user; each is judged by itself, and what is accepted is durable.

    With `wait=true` up to 100 texts are encoded before the answer (201); more are accepted at once (202) and encoded
    in the background. Traces that bring their own `embedding` are never encoded. With `suggest=5` up to 20 notes are
    answered with what each connects to, and are linked to it.
    """
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        suggesting = suggester.onway(principal, body.user_id, query.suggest)
        status, content = await memories.remember(principal, body, wait=query.wait, claim=claim, suggesting=suggesting)
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


async def pin_service(request: Request) -> PinService:
    """The service of this process."""
    service: PinService = request.app.state.pins
    return service


Pins = Annotated[PinService, Depends(pin_service)]


@router.post(
    "/traces/{trace_id}/pin",
    response_model=TraceOut,
    responses={200: answered("The trace as it is now", trace=examples.PINNED), **problems(404, 422)},
    openapi_extra=described(query=TraceQuery),
)
async def pin_trace(
    principal: Writer,
    trace_id: UUID,
    query: Annotated[TraceQuery, Depends(query_of(TraceQuery))],
    pins: Pins,
) -> Json:
    """Pins a trace: it does not weaken with time, no rule of retention takes it, and no night writes over it."""
    return Json((await pins.set(principal, query.user_id, trace_id, pinned=True)).model_dump())


@router.delete(
    "/traces/{trace_id}/pin",
    response_model=TraceOut,
    responses={200: answered("The trace as it is now", trace=examples.TRACE), **problems(404, 422)},
    openapi_extra=described(query=TraceQuery),
)
async def unpin_trace(
    principal: Writer,
    trace_id: UUID,
    query: Annotated[TraceQuery, Depends(query_of(TraceQuery))],
    pins: Pins,
) -> Json:
    """Takes the pin off a trace."""
    return Json((await pins.set(principal, query.user_id, trace_id, pinned=False)).model_dump())


async def merge_service(request: Request) -> MergeService:
    """The service of this process."""
    service: MergeService = request.app.state.merges
    return service


Merges = Annotated[MergeService, Depends(merge_service)]
_STAYS = {
    "read": {
        "operationId": "get_trace",
        "parameters": {"trace_id": "$response.body#/trace_id", "user_id": "$response.body#/user_id"},
        "description": "The entity",
    },
}


@router.post(
    "/entities/{entity_id}/merge",
    response_model=EntityOut,
    responses={
        200: answered("The entity that stays", links=_STAYS, entity=examples.ENTITY),
        **problems(400, 404, 409, 415, 422),
    },
    openapi_extra=described(body=MergeIn, once=True, merge=examples.MERGE),
)
async def merge_entity(
    principal: Writer,
    entity_id: UUID,
    body: Annotated[MergeIn, Depends(body_of(MergeIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    merges: Merges,
) -> Json:
    """Makes one entity of two: this one goes into the other, with all that is known of it. No night undoes it."""
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        return Json(await merges.merge(principal, entity_id, body, claim))


@router.post(
    "/entities/{entity_id}/split",
    response_model=EntityOut,
    responses={
        200: answered("The entity of these names", links=_STAYS, entity=examples.ENTITY),
        **problems(400, 404, 409, 415, 422),
    },
    openapi_extra=described(body=SplitIn, once=True, split=examples.SPLIT),
)
async def split_entity(
    principal: Writer,
    entity_id: UUID,
    body: Annotated[SplitIn, Depends(body_of(SplitIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    merges: Merges,
) -> Json:
    """Makes an entity of its own of some names of another, with what goes by these. No night undoes it."""
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        return Json(await merges.split(principal, entity_id, body, claim))


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


async def user_service(request: Request) -> UserService:
    """The service of this process."""
    service: UserService = request.app.state.users
    return service


Users = Annotated[UserService, Depends(user_service)]
_Named = Annotated[Identifier, Path(openapi_examples=named(name=examples.USER))]
_PATH = TypeAdapter(UserPath)


def _named(user_id: str, request: Request) -> str:
    return validated(_PATH, {"user_id": user_id}, request).user_id


@router.get(
    "/users/{user_id:user}",
    response_model=UserSettings,
    responses={200: answered("The user", user=examples.USER_SETTINGS), **problems(404, 422)},
)
async def get_user(principal: Reader, user_id: _Named, users: Users, request: Request) -> Json:
    """A user with what it has set: its time zone and language, how fast its memory fades, whether it dreams."""
    return Json((await users.get(principal, _named(user_id, request))).model_dump())


@router.patch(
    "/users/{user_id:user}",
    response_model=UserSettings,
    responses={
        200: answered("The user as it is now", user=examples.USER_SETTINGS),
        **problems(400, 404, 415, 422),
    },
    openapi_extra=described(
        body=UserPatch, parts=(HalfLives,), change=examples.USER_CHANGE, no_dream=examples.NO_DREAM
    ),
)
async def patch_user(
    principal: Writer,
    user_id: _Named,
    body: Annotated[UserPatch, Depends(body_of(UserPatch))],
    users: Users,
    request: Request,
) -> Json:
    """Changes what a user has set; its days are looked at again in the next night."""
    return Json((await users.patch(principal, _named(user_id, request), body)).model_dump())


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
