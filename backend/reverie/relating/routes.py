"""What traces are related to, over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from reverie.auth.dependencies import Reader, Writer
from reverie.core.http import Json, answered, body_of, described, problems, query_of
from reverie.core.idempotency import Idempotency, idempotency
from reverie.relating import examples
from reverie.relating.edges import EdgeService
from reverie.relating.schemas import (
    EdgeIn,
    EdgeOut,
    EdgePage,
    EdgeQuery,
    EdgesQuery,
    OtherQuery,
    RelatedOut,
    RelatedQuery,
)
from reverie.relating.service import RelatingService

router = APIRouter(prefix="/memory", tags=["memory"])


async def relating_service(request: Request) -> RelatingService:
    """The service of this process."""
    service: RelatingService = request.app.state.relating
    return service


async def edge_service(request: Request) -> EdgeService:
    """The service of this process."""
    service: EdgeService = request.app.state.edges
    return service


Relating = Annotated[RelatingService, Depends(relating_service)]
Edges = Annotated[EdgeService, Depends(edge_service)]

_OTHER = {
    "trace_id": "$response.body#/trace_id",
    "other_id": "$response.body#/related/0/trace_id",
    "user_id": "$response.body#/user_id",
}
_LEADS = {
    "dismiss": {"operationId": "dismiss_related", "parameters": _OTHER, "description": "Not the first one again"},
    "take back": {"operationId": "restore_related", "parameters": _OTHER, "description": "The first one after all"},
}


@router.get(
    "/traces/{trace_id}/related",
    response_model=RelatedOut,
    responses={
        200: answered("What it is related to, best first", links=_LEADS, related=examples.RELATED),
        **problems(404, 422),
    },
    openapi_extra=described(query=RelatedQuery),
)
async def get_related(
    principal: Reader,
    trace_id: UUID,
    query: Annotated[RelatedQuery, Depends(query_of(RelatedQuery))],
    relating: Relating,
) -> Json:
    """The traces and entities that a trace connects to, with the reasons, without those that were dismissed."""
    return Json((await relating.related(principal, query.user_id, trace_id, query.k)).model_dump())


@router.delete(
    "/traces/{trace_id}/related",
    status_code=204,
    response_class=Response,
    responses=problems(404, 422),
    openapi_extra=described(query=OtherQuery),
)
async def dismiss_related(
    principal: Writer,
    trace_id: UUID,
    query: Annotated[OtherQuery, Depends(query_of(OtherQuery))],
    relating: Relating,
) -> Response:
    """Dismisses a suggestion: the two are never suggested to one another again."""
    await relating.dismiss(principal, query.user_id, trace_id, query.other_id)
    return Response(status_code=204)


@router.post(
    "/traces/{trace_id}/related",
    status_code=204,
    response_class=Response,
    responses=problems(404, 422),
    openapi_extra=described(query=OtherQuery),
)
async def restore_related(
    principal: Writer,
    trace_id: UUID,
    query: Annotated[OtherQuery, Depends(query_of(OtherQuery))],
    relating: Relating,
) -> Response:
    """Takes a dismissal back: the two may be suggested to one another again."""
    await relating.take_back(principal, query.user_id, trace_id, query.other_id)
    return Response(status_code=204)


_NAMED = {
    "user_id": "$request.body#/user_id",
    "src": "$response.body#/src",
    "dst": "$response.body#/dst",
    "type": "$response.body#/type",
}
_MADE = {
    "remove": {"operationId": "delete_edge", "parameters": _NAMED, "description": "The edge"},
    "list": {
        "operationId": "list_edges",
        "parameters": {"user_id": _NAMED["user_id"], "trace_id": _NAMED["src"]},
        "description": "What leads from and to the same trace",
    },
}


@router.post(
    "/edges",
    status_code=201,
    response_model=EdgeOut,
    responses={
        201: answered("The edge", links=_MADE, edge=examples.EDGE),
        **problems(400, 404, 409, 415, 422),
    },
    openapi_extra=described(body=EdgeIn, once=True, link=examples.LINK, supersedes=examples.SUPERSEDES),
)
async def put_edge(
    principal: Writer,
    body: Annotated[EdgeIn, Depends(body_of(EdgeIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    edges: Edges,
) -> Json:
    """Makes an edge by hand, or makes one that is there a person's: no night changes or removes it.

    `supersedes` marks the older trace (`dst`) as no longer so.
    """
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        return Json(await edges.put(principal, body, claim), 201)


@router.delete(
    "/edges",
    status_code=204,
    response_class=Response,
    responses=problems(404, 422),
    openapi_extra=described(query=EdgeQuery),
)
async def delete_edge(
    principal: Writer, query: Annotated[EdgeQuery, Depends(query_of(EdgeQuery))], edges: Edges
) -> Response:
    """Removes an edge. What the store makes of texts by itself, it may make again."""
    await edges.remove(principal, query)
    return Response(status_code=204)


_PAGED = {
    "next": {
        "operationId": "list_edges",
        "parameters": {"user_id": "$request.query.user_id", "cursor": "$response.body#/next_cursor"},
        "description": "The next page",
    },
    "read": {
        "operationId": "get_trace",
        "parameters": {"trace_id": "$response.body#/items/0/src", "user_id": "$response.body#/items/0/user_id"},
        "description": "Where the first one leads from",
    },
}


@router.get(
    "/edges",
    response_model=EdgePage,
    responses={200: answered("A page of edges", links=_PAGED, page=examples.EDGES_PAGE), **problems(422)},
    openapi_extra=described(query=EdgesQuery),
)
async def list_edges(
    principal: Reader, query: Annotated[EdgesQuery, Depends(query_of(EdgesQuery))], edges: Edges
) -> Json:
    """The edges of a user, those from the newest traces first."""
    return Json((await edges.page(principal, query)).model_dump())
