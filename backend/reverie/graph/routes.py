"""The graph over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Reader
from reverie.core.http import Json, answered, described, problems, query_of
from reverie.graph import examples
from reverie.graph.schemas import GraphOut, GraphQuery, PathQuery, PathsOut
from reverie.graph.service import GraphService

router = APIRouter(prefix="/memory/graph", tags=["graph"])


async def graph_service(request: Request) -> GraphService:
    """The service of this process."""
    service: GraphService = request.app.state.graph
    return service


Graph = Annotated[GraphService, Depends(graph_service)]

_STRONGEST = {
    "read": {
        "operationId": "get_trace",
        "parameters": {"trace_id": "$response.body#/nodes/0/trace_id", "user_id": "$response.body#/user_id"},
        "description": "The strongest node",
    },
    "around": {
        "operationId": "get_graph",
        "parameters": {"user_id": "$response.body#/user_id", "around": "$response.body#/nodes/0/trace_id"},
        "description": "What is around it",
    },
}


@router.get(
    "",
    response_model=GraphOut,
    responses={
        200: answered("A part of the graph", links=_STRONGEST, whole=examples.WHOLE, around=examples.AROUND),
        **problems(404, 422),
    },
    openapi_extra=described(query=GraphQuery),
)
async def get_graph(
    principal: Reader, query: Annotated[GraphQuery, Depends(query_of(GraphQuery))], graph: Graph
) -> Json:
    """What is known of a user and how it hangs together, for drawing: the strongest nodes first, and their edges.

    Without `around` these are the entities that are mentioned most.
    """
    return Json(await graph.around(principal, query))


@router.get(
    "/path",
    response_model=PathsOut,
    responses={200: answered("The paths; none where none was found", paths=examples.PATHS), **problems(404, 422)},
    openapi_extra=described(query=PathQuery),
)
async def get_paths(principal: Reader, query: Annotated[PathQuery, Depends(query_of(PathQuery))], graph: Graph) -> Json:
    """The strongest paths between two traces or entities, best first."""
    return Json(await graph.paths(principal, query))
