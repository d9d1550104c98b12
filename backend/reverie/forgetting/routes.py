"""Forgetting over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Writer
from reverie.core.http import Json, answered, body_of, described, problems, query_of
from reverie.core.idempotency import Idempotency, idempotency
from reverie.forgetting import examples
from reverie.forgetting.schemas import ForgetIn, ForgetOut, Scope
from reverie.forgetting.service import ForgettingService
from reverie.memories.schemas import TraceQuery

router = APIRouter(prefix="/memory", tags=["forgetting"])


async def forgetting_service(request: Request) -> ForgettingService:
    """The service of this process."""
    service: ForgettingService = request.app.state.forgetting
    return service


Forgetting = Annotated[ForgettingService, Depends(forgetting_service)]


@router.post(
    "/forget",
    response_model=ForgetOut,
    responses={
        200: answered("Forgotten, or counted", forgotten=examples.FORGOTTEN, counted=examples.COUNTED),
        **problems(400, 404, 409, 415, 422),
    },
    openapi_extra=described(
        body=ForgetIn,
        once=True,
        one_trace=examples.ONE,
        several=examples.SEVERAL,
        how_much_is_there=examples.EVERYTHING,
    ),
)
async def forget(
    principal: Writer,
    body: Annotated[ForgetIn, Depends(body_of(ForgetIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    forgetting: Forgetting,
) -> Json:
    """Removes traces with their vectors, edges and focus entries, and leaves a receipt; `dry_run` only counts."""
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        return Json(await forgetting.forget(principal, body, claim))


@router.delete(
    "/traces/{trace_id}",
    response_model=ForgetOut,
    responses={200: answered("Forgotten", forgotten=examples.FORGOTTEN), **problems(404, 409, 422)},
    openapi_extra=described(query=TraceQuery, once=True),
)
async def delete_trace(
    principal: Writer,
    trace_id: UUID,
    query: Annotated[TraceQuery, Depends(query_of(TraceQuery))],
    once: Annotated[Idempotency, Depends(idempotency)],
    forgetting: Forgetting,
) -> Json:
    """Forgets one trace."""
    body = ForgetIn(user_id=query.user_id, scope=Scope(trace_id=trace_id))
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        return Json(await forgetting.forget(principal, body, claim))
