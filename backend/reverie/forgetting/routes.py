"""Forgetting over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Reader, Writer
from reverie.core.http import Json, answered, body_of, described, problems, query_of
from reverie.core.idempotency import Idempotency, idempotency
from reverie.forgetting import examples
from reverie.forgetting.receipts import ReceiptService
from reverie.forgetting.schemas import (
    ForgetIn,
    ForgetOut,
    ReceiptOut,
    ReceiptPage,
    ReceiptQuery,
    ReceiptsQuery,
    Scope,
    VerifyOut,
)
from reverie.forgetting.service import ForgettingService
from reverie.memories.schemas import TraceQuery

router = APIRouter(prefix="/memory", tags=["forgetting"])


async def forgetting_service(request: Request) -> ForgettingService:
    """The service of this process."""
    service: ForgettingService = request.app.state.forgetting
    return service


async def receipt_service(request: Request) -> ReceiptService:
    """The service of this process."""
    service: ReceiptService = request.app.state.receipts
    return service


Forgetting = Annotated[ForgettingService, Depends(forgetting_service)]
Receipts = Annotated[ReceiptService, Depends(receipt_service)]


@router.post(
    "/forget",
    response_model=ForgetOut,
    responses={
        200: answered(
            "Forgotten, or counted", forgotten=examples.FORGOTTEN, much=examples.MUCH, counted=examples.COUNTED
        ),
        **problems(400, 404, 409, 415, 422),
    },
    openapi_extra=described(
        body=ForgetIn,
        once=True,
        one_trace=examples.ONE,
        several=examples.SEVERAL,
        a_conversation=examples.CONVERSATION,
        a_time=examples.TIME,
        a_name=examples.ENTITY,
        what_a_query_finds=examples.QUERY,
        how_much_is_there=examples.EVERYTHING,
    ),
)
async def forget(
    principal: Writer,
    body: Annotated[ForgetIn, Depends(body_of(ForgetIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    forgetting: Forgetting,
) -> Json:
    """Removes traces with all that hangs on them or was made of them, and leaves a receipt; `dry_run` only counts.

    What comes again afterwards is refused (`force` remembers it all the same).
    """
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


@router.get(
    "/receipts",
    response_model=ReceiptPage,
    responses={200: answered("Receipts, newest first", receipts=examples.RECEIPTS), **problems(422)},
    openapi_extra=described(query=ReceiptsQuery),
)
async def list_receipts(
    principal: Reader, query: Annotated[ReceiptsQuery, Depends(query_of(ReceiptsQuery))], receipts: Receipts
) -> Json:
    """What was forgotten of a user, when and why; no content."""
    return Json((await receipts.page(principal, query)).model_dump())


@router.get(
    "/receipts/{receipt_id}",
    response_model=ReceiptOut,
    responses={200: answered("The receipt", receipt=examples.RECEIPT), **problems(404, 422)},
    openapi_extra=described(query=ReceiptQuery),
)
async def get_receipt(
    principal: Reader,
    receipt_id: UUID,
    query: Annotated[ReceiptQuery, Depends(query_of(ReceiptQuery))],
    receipts: Receipts,
) -> Json:
    """One receipt, with what went from each store."""
    return Json((await receipts.get(principal, query.user_id, receipt_id)).model_dump())


@router.post(
    "/receipts/{receipt_id}/verify",
    response_model=VerifyOut,
    responses={200: answered("What was found", gone=examples.VERIFIED), **problems(404, 422)},
    openapi_extra=described(query=ReceiptQuery),
)
async def verify_receipt(
    principal: Reader,
    receipt_id: UUID,
    query: Annotated[ReceiptQuery, Depends(query_of(ReceiptQuery))],
    receipts: Receipts,
) -> Json:
    """Looks again everywhere for what a receipt says is gone, and says until when backups may hold it."""
    return Json((await receipts.verify(principal, query.user_id, receipt_id)).model_dump())
