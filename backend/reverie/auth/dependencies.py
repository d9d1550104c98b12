"""The dependencies by which every route learns who is asking."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request

from reverie.auth.principal import Principal, Scope
from reverie.auth.service import KeyService
from reverie.core.http import refuse_unknown_parameters


async def key_service(request: Request) -> KeyService:
    """The service of this process. Async like all such dependencies: others would each cost a hop to a thread."""
    service: KeyService = request.app.state.keys
    return service


def asked_by(scope: Scope) -> Callable[[Request], Coroutine[Any, Any, Principal]]:
    """A dependency that admits callers whose key has ``scope``."""

    async def admit(request: Request) -> Principal:
        keys = await key_service(request)
        principal = await keys.authenticate(presented_key(request))
        principal.needs(scope)
        refuse_unknown_parameters(request)
        return principal

    return admit


def presented_key(request: Request) -> str | None:
    """The key of a request: a bearer token, or X-API-Key."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key")


Reader = Annotated[Principal, Depends(asked_by("read"))]
Writer = Annotated[Principal, Depends(asked_by("write"))]
Admin = Annotated[Principal, Depends(asked_by("admin"))]
Keys = Annotated[KeyService, Depends(key_service)]
