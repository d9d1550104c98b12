"""The dream over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Admin, Reader
from reverie.core.http import Json, answered, body_of, described, problems, query_of
from reverie.core.idempotency import Idempotency, idempotency
from reverie.dream import examples
from reverie.dream.schemas import ConsolidateIn, ConsolidateOut, DreamOut, DreamPage, DreamsQuery, Jobs, UndoOut
from reverie.dream.service import DreamService
from reverie.operations.examples import LINK

router = APIRouter(tags=["dream"])


async def dream_service(request: Request) -> DreamService:
    """The service of this process."""
    service: DreamService = request.app.state.dreams
    return service


Dreams = Annotated[DreamService, Depends(dream_service)]

_OPERATION = {"operation": LINK | {"description": "How far it is"}}


@router.post(
    "/memory/consolidate",
    status_code=202,
    response_model=ConsolidateOut,
    responses={
        202: answered("Accepted; the operation dreams", links=_OPERATION, accepted=examples.ACCEPTED),
        **problems(400, 404, 409, 415, 422),
    },
    openapi_extra=described(
        body=ConsolidateIn,
        once=True,
        what_is_due=examples.ALL,
        a_day=examples.A_DAY,
        a_day_of_a_user=examples.A_DAY_OF_A_USER,
    ),
)
async def consolidate(
    principal: Admin,
    body: Annotated[ConsolidateIn, Depends(body_of(ConsolidateIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    dreams: Dreams,
) -> Json:
    """Has the dream go over the space now, as it does by itself every night.

    Without `day` that is yesterday and every day that is not dreamt as it is now; without `user_id` all users.
    """
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        return Json(await dreams.consolidate(principal, body, claim), 202)


_PAGED = {
    "next": {
        "operationId": "list_dreams",
        "parameters": {"cursor": "$response.body#/next_cursor"},
        "description": "The next page",
    },
    "read": {
        "operationId": "get_dream",
        "parameters": {"dream_id": "$response.body#/items/0/dream_id"},
        "description": "The last run",
    },
}


@router.get(
    "/dreams",
    response_model=DreamPage,
    responses={200: answered("A page of runs", links=_PAGED, page=examples.PAGE), **problems(422)},
    openapi_extra=described(query=DreamsQuery),
)
async def list_dreams(
    principal: Reader, query: Annotated[DreamsQuery, Depends(query_of(DreamsQuery))], dreams: Dreams
) -> Json:
    """The runs of the dream, newest first: how many days of how many users each has dreamt."""
    return Json((await dreams.page(principal, query.before(), query.limit)).model_dump())


@router.get(
    "/dreams/{dream_id}",
    response_model=DreamOut,
    responses={200: answered("The run", dream=examples.DREAM), **problems(404, 422)},
)
async def get_dream(principal: Reader, dream_id: UUID, dreams: Dreams) -> Json:
    """A run of the dream: what each stage saw, made, moved and left out, and why. Ids and counts, no text."""
    return Json((await dreams.get(principal, dream_id)).model_dump())


@router.delete(
    "/dreams/{dream_id}",
    status_code=202,
    response_model=UndoOut,
    responses={
        202: answered("Accepted; the operation takes it back", links=_OPERATION, accepted=examples.UNDOING),
        **problems(404, 409, 422),
    },
    openapi_extra=described(once=True),
)
async def undo_dream(
    principal: Admin, dream_id: UUID, once: Annotated[Idempotency, Depends(idempotency)], dreams: Dreams
) -> Json:
    """Takes back what a run made of the space: derived traces and edges, but what a person changed or pinned.

    Its days count as dreamt all the same, until their traces change or somebody asks for them.
    """
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        return Json(await dreams.accept_undo(principal, dream_id, claim), 202)


@router.get(
    "/admin/jobs",
    response_model=Jobs,
    responses={200: answered("The night", night=examples.JOBS), **problems(422)},
)
async def admin_jobs(principal: Admin, dreams: Dreams) -> Json:
    """The night's jobs: whether they go on, when they come next, and how each went last for the space."""
    return Json((await dreams.jobs(principal)).model_dump())
