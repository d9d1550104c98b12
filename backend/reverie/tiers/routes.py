"""Tiers over HTTP: bringing back what is cold, and where everything lies."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Admin, Writer
from reverie.core.http import Json, answered, body_of, described, problems
from reverie.core.idempotency import Idempotency, idempotency
from reverie.operations.examples import LINK
from reverie.tiers import examples
from reverie.tiers.overview import TierOverview
from reverie.tiers.schemas import ThawIn, ThawOut, Tiers
from reverie.tiers.thaw import ThawService

router = APIRouter(tags=["tiers"])


@router.post(
    "/memory/thaw",
    status_code=202,
    response_model=ThawOut,
    responses={
        202: answered(
            "Accepted; the operation says how far it is",
            links={"operation": LINK},
            accepted=examples.ACCEPTED,
        ),
        **problems(400, 404, 409, 415, 422),
    },
    openapi_extra=described(
        body=ThawIn,
        once=True,
        one_trace=examples.ONE,
        a_month=examples.SPAN,
        a_conversation=examples.CONVERSATION,
        everything=examples.EVERYTHING,
    ),
)
async def thaw(
    principal: Writer,
    body: Annotated[ThawIn, Depends(body_of(ThawIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    request: Request,
) -> Json:
    """Brings cold traces back into the database for some days, after which they cool again."""
    thaws: ThawService = request.app.state.thaws
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        return Json(await thaws.accept(principal, body, claim), 202)


@router.get(
    "/tiers",
    response_model=Tiers,
    responses={200: answered("The tiers", tiers=examples.TIERS), **problems(422)},
)
async def get_tiers(principal: Admin, request: Request) -> Json:
    """Where the memory of the whole store lies, what moves next and how the last run went.

    Thaws and damaged files are those of the caller's space.
    """
    overview: TierOverview = request.app.state.tiers
    return Json((await overview.look(space_id=principal.space_id)).model_dump())
