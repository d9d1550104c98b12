"""The settings of the models over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Admin
from reverie.auth.principal import Principal
from reverie.core.http import Json, answered, body_of, described, problems, query_of
from reverie.core.idempotency import Idempotency, idempotency
from reverie.operations.examples import LINK
from reverie.settings import examples
from reverie.settings.schemas import (
    AiSettingsChanged,
    AiSettingsIn,
    AiSettingsOut,
    AiTested,
    AiTestIn,
    EmbeddingIn,
    HistoryPage,
    HistoryQuery,
    LanguageModelIn,
    RerankerIn,
    RestoreIn,
)
from reverie.settings.service import AiSettingsService, status_of

router = APIRouter(prefix="/settings/ai", tags=["settings"])


async def ai_settings_service(request: Request) -> AiSettingsService:
    """The service of this process."""
    service: AiSettingsService = request.app.state.ai_settings
    return service


AiSettings = Annotated[AiSettingsService, Depends(ai_settings_service)]


async def _admit(principal: Admin, settings: AiSettings) -> Principal:
    """Admits the admins of the store itself."""
    await settings.refuse_others(principal)
    return principal


Keeper = Annotated[Principal, Depends(_admit)]

_PARTS = (LanguageModelIn, EmbeddingIn, RerankerIn)
_GOES_OVER = answered(
    "Saved; an operation brings the store over to another embedding model",
    links={"operation": LINK | {"description": "How far it is"}},
    accepted=examples.ACCEPTED,
)
_CHANGED: dict[int | str, dict[str, Any]] = {
    200: {"model": AiSettingsChanged, **answered("Saved", saved=examples.CHANGED)},
    202: {"model": AiSettingsChanged, **_GOES_OVER},
}


@router.get(
    "",
    dependencies=[Depends(_admit)],
    response_model=AiSettingsOut,
    responses={200: answered("What is saved, and what is in force", settings=examples.SHOWN), **problems(422)},
)
async def get_ai_settings(settings: AiSettings) -> Json:
    """The models of the store: what is saved, what is in force and where that comes from; keys are never shown."""
    return Json((await settings.show()).model_dump())


@router.put(
    "",
    response_model=AiSettingsChanged,
    responses={**_CHANGED, **problems(400, 409, 415, 422)},
    openapi_extra=described(
        body=AiSettingsIn,
        parts=_PARTS,
        a_language_model=examples.A_LANGUAGE_MODEL,
        another_embedding_model=examples.ANOTHER_EMBEDDING_MODEL,
    ),
)
async def put_ai_settings(
    principal: Keeper, body: Annotated[AiSettingsIn, Depends(body_of(AiSettingsIn))], settings: AiSettings
) -> Json:
    """Sets the models of the store; the processes that run go over to them within seconds.

    `version` is the one that was read: where another was saved meanwhile, this is refused (409). Another embedding
    model is the target of an operation (202); recall goes on with the former one until all vectors are made.
    """
    out = await settings.save(principal, body)
    return Json(out.model_dump(), status_of(out))


@router.post(
    "/test",
    dependencies=[Depends(_admit)],
    response_model=AiTested,
    responses={200: answered("What became of it", tested=examples.TESTED), **problems(400, 415, 422)},
    openapi_extra=described(body=AiTestIn, parts=_PARTS, all=examples.ALL_OF_IT, a_reranker=examples.A_RERANKER),
)
async def test_ai_settings(body: Annotated[AiTestIn, Depends(body_of(AiTestIn))], settings: AiSettings) -> Json:
    """Asks the models that are given, or those that are saved: whether they answer, how fast, and what is wrong."""
    return Json((await settings.test(body)).model_dump())


_NEXT = {"next": {"operationId": "list_ai_settings", "parameters": {"cursor": "$response.body#/next_cursor"}}}


@router.get(
    "/history",
    dependencies=[Depends(_admit)],
    response_model=HistoryPage,
    responses={200: answered("A page of versions", links=_NEXT, page=examples.HISTORY), **problems(422)},
    openapi_extra=described(query=HistoryQuery),
)
async def list_ai_settings(
    page: Annotated[HistoryQuery, Depends(query_of(HistoryQuery))], settings: AiSettings
) -> Json:
    """Every version that was saved, newest first: when, by whom, and what it changed."""
    return Json((await settings.history(page)).model_dump())


@router.post(
    "/restore",
    response_model=AiSettingsChanged,
    responses={**_CHANGED, **problems(400, 404, 409, 415, 422)},
    openapi_extra=described(body=RestoreIn, once=True, back=examples.BACK),
)
async def restore_ai_settings(
    principal: Keeper,
    body: Annotated[RestoreIn, Depends(body_of(RestoreIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    settings: AiSettings,
) -> Json:
    """Saves an earlier version again, its keys included.

    Where `newest` names the version that was read, and another was saved meanwhile, this is refused (409).
    """
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        out = await settings.restore(principal, body, claim)
    return Json(out.model_dump(), status_of(out))
