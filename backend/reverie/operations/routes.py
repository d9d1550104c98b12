"""Operations over HTTP."""

from uuid import UUID

from fastapi import APIRouter, Request

from reverie.auth.dependencies import Reader
from reverie.core.http import Json, answered, problems
from reverie.operations import examples
from reverie.operations.schemas import OperationOut
from reverie.operations.service import OperationService

router = APIRouter(prefix="/operations", tags=["operations"])


@router.get(
    "/{operation_id}",
    response_model=OperationOut,
    responses={
        200: answered("The operation", pending=examples.PENDING, done=examples.DONE, failed=examples.FAILED),
        **problems(404, 422),
    },
)
async def get_operation(principal: Reader, operation_id: UUID, request: Request) -> Json:
    """How far an accepted piece of background work has come. Finished ones are kept 30 days."""
    operations: OperationService = request.app.state.operations
    return Json((await operations.get(principal.space_id, operation_id)).model_dump())
