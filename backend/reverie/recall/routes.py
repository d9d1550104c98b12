"""Recall over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Reader
from reverie.core.http import Json, answered, body_of, described, problems, query_of
from reverie.recall import examples
from reverie.recall.pipeline import RecallService
from reverie.recall.schemas import RecallIn, RecallOut, RecallQuery

router = APIRouter(prefix="/memory", tags=["recall"])


async def recall_service(request: Request) -> RecallService:
    """The service of this process."""
    service: RecallService = request.app.state.recall
    return service


Recall = Annotated[RecallService, Depends(recall_service)]


_FIRST = {
    "read": {
        "operationId": "get_trace",
        "parameters": {
            "trace_id": "$response.body#/results/0/trace_id",
            "user_id": "$response.body#/results/0/user_id",
        },
        "description": "The first result",
    }
}
_FOUND = answered(
    "What was found, best first",
    links=_FIRST,
    found=examples.FOUND,
    explained=examples.EXPLAINED,
    without_the_encoder=examples.WITHOUT_ENCODER,
)


@router.get(
    "/recall",
    response_model=RecallOut,
    responses={200: _FOUND, **problems(422)},
    openapi_extra=described(query=RecallQuery),
)
async def recall_get(
    principal: Reader, asked: Annotated[RecallQuery, Depends(query_of(RecallQuery))], recall: Recall
) -> Json:
    """The traces that answer a question best."""
    return Json((await recall.recall(principal, asked)).model_dump())


@router.post(
    "/recall",
    response_model=RecallOut,
    responses={200: _FOUND, **problems(400, 415, 422)},
    openapi_extra=described(body=RecallIn, question=examples.PLAIN, filtered=examples.FILTERED),
)
async def recall_post(
    principal: Reader, asked: Annotated[RecallIn, Depends(body_of(RecallIn))], recall: Recall
) -> Json:
    """The same with a filter over `meta`, a question of up to 100 000 characters, or the caller's own vector of it."""
    return Json((await recall.recall(principal, asked)).model_dump())
