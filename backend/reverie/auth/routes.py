"""Keys over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from reverie.auth import examples
from reverie.auth.dependencies import Admin, Keys
from reverie.auth.schemas import KeyIn, KeyPage, NewKeyOut
from reverie.core.database import Database
from reverie.core.http import Json, answered, body_of, described, problems, query_of
from reverie.core.idempotency import Idempotency, idempotency
from reverie.core.paging import PageQuery, next_cursor

router = APIRouter(prefix="/keys", tags=["keys"])


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseOf = Annotated[Database, Depends(_database)]


_REVOKE = {"revoke": {"operationId": "revoke_key", "parameters": {"key_id": "$response.body#/id"}}}


@router.post(
    "",
    status_code=201,
    response_model=NewKeyOut,
    responses={
        201: answered("Made", links=_REVOKE, made=examples.MADE, repeated=examples.REPEATED),
        **problems(400, 409, 415, 422),
    },
    openapi_extra=described(body=KeyIn, once=True, key=examples.NEW),
)
async def create_key(
    principal: Admin,
    body: Annotated[KeyIn, Depends(body_of(KeyIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    keys: Keys,
    database: DatabaseOf,
) -> Json:
    """Makes a key of the caller's space. Its text is in this answer alone; a repetition shows `key: null`."""
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        async with database.writing(principal.space_id) as session:
            made = await keys.create_in(session, principal.space_id, body.name, body.scopes)
            await claim.keep(session, 201, made.model_copy(update={"key": None}).model_dump())
    return Json(made.model_dump(), 201)


_NEXT = {"next": {"operationId": "list_keys", "parameters": {"cursor": "$response.body#/next_cursor"}}}


@router.get(
    "",
    response_model=KeyPage,
    responses={200: answered("A page of keys", links=_NEXT, page=examples.PAGE), **problems(422)},
    openapi_extra=described(query=PageQuery),
)
async def list_keys(principal: Admin, page: Annotated[PageQuery, Depends(query_of(PageQuery))], keys: Keys) -> Json:
    """The keys of the caller's space, newest first, without their text."""
    items = await keys.page(principal.space_id, page.before(), page.limit)
    cursor = next_cursor([item.id for item in items], page.limit)
    return Json({"items": [item.model_dump() for item in items], "next_cursor": cursor})


@router.delete("/{key_id}", status_code=204, responses={204: {"description": "Ended"}, **problems(404, 422)})
async def revoke_key(principal: Admin, key_id: UUID, keys: Keys) -> None:
    """Ends a key at once."""
    await keys.revoke(principal.space_id, key_id)
