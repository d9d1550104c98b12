"""Profiles over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import TypeAdapter

from reverie.auth.dependencies import Reader
from reverie.core.http import Json, answered, described, named, problems, query_of, validated
from reverie.memories.examples import USER
from reverie.memories.schemas import UserPath
from reverie.profile import examples
from reverie.profile.schemas import ProfileOut, ProfileQuery
from reverie.profile.service import ProfileService
from reverie.text.fields import Identifier

router = APIRouter(prefix="/memory/users", tags=["memory"])

_PATH = TypeAdapter(UserPath)
_SOURCE = {"trace_id": "$response.body#/items/0/sources/0", "user_id": "$response.body#/user_id"}
_LEADS = {
    "next": {
        "operationId": "get_profile",
        "parameters": {"user_id": "$response.body#/user_id", "cursor": "$response.body#/next_cursor"},
        "description": "The next page",
    },
    "correct": {"operationId": "patch_trace", "parameters": _SOURCE, "description": "What says the newest fact"},
    "forget": {
        "operationId": "forget",
        "requestBody": {"user_id": _SOURCE["user_id"], "scope": {"trace_id": _SOURCE["trace_id"]}},
        "description": "What says the newest fact",
    },
}


async def profile_service(request: Request) -> ProfileService:
    """The service of this process."""
    service: ProfileService = request.app.state.profiles
    return service


@router.get(
    "/{user_id:anything}/profile",
    response_model=ProfileOut,
    responses={200: answered("What is known", links=_LEADS, profile=examples.PROFILE), **problems(404, 422)},
    openapi_extra=described(query=ProfileQuery),
)
async def get_profile(
    principal: Reader,
    user_id: Annotated[Identifier, Path(openapi_examples=named(name=USER))],
    query: Annotated[ProfileQuery, Depends(query_of(ProfileQuery))],
    profiles: Annotated[ProfileService, Depends(profile_service)],
    request: Request,
) -> Json:
    """What is known of a user: facts with the traces that say so, newest first, and what is no longer so marked.

    `as_of` is what was remembered by then, as `at` of a recall. A fact is corrected by changing its sources
    (`PATCH /memory/traces/{trace_id}`), and goes when they are forgotten (`POST /memory/forget`).
    """
    whose = validated(_PATH, {"user_id": user_id}, request).user_id
    return Json((await profiles.get(principal, whose, query)).model_dump())
