"""Recall over HTTP."""

from fastapi import APIRouter, Request

from reverie.auth.dependencies import asked_by
from reverie.auth.principal import Principal
from reverie.core.http import Direct, Json, answered, body_of, described, problems, query_of
from reverie.recall import examples
from reverie.recall.pipeline import RecallService
from reverie.recall.schemas import RecallIn, RecallOut, RecallQuery

router = APIRouter(prefix="/memory", tags=["recall"], route_class=Direct)


_reader = asked_by("read")
_query = query_of(RecallQuery)
_body = body_of(RecallIn)


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
async def recall_get(request: Request) -> Json:
    """The traces that answer a question best."""
    principal = await _reader(request)
    return await _answer(request, principal, await _query(request))


@router.post(
    "/recall",
    response_model=RecallOut,
    responses={200: _FOUND, **problems(400, 415, 422)},
    openapi_extra=described(body=RecallIn, question=examples.PLAIN, filtered=examples.FILTERED),
)
async def recall_post(request: Request) -> Json:
    """The same with a filter over `meta`, a question of up to 100 000 characters, or the caller's own vector of it."""
    principal = await _reader(request)
    return await _answer(request, principal, await _body(request))


async def _answer(request: Request, principal: Principal, asked: RecallQuery) -> Json:
    service: RecallService = request.app.state.recall
    return Json(await service.recall(principal, asked))
