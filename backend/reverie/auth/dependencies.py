"""The dependencies by which every route learns who is asking."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Request

from reverie.auth.principal import Principal, Scope
from reverie.auth.service import KeyService
from reverie.core.errors import Unavailable
from reverie.core.http import presented_key, refuse_unknown_parameters
from reverie.core.telemetry import bind_space

WATCHER_SECONDS = 2.0
"""How long those who look after the service wait to be known: a store that is out must not keep them away."""


async def key_service(request: Request) -> KeyService:
    """The service of this process. Async like all such dependencies: others would each cost a hop to a thread."""
    service: KeyService = request.app.state.keys
    return service


def asked_by(scope: Scope) -> Callable[[Request], Coroutine[Any, Any, Principal]]:
    """A dependency that admits callers whose key has ``scope``."""

    async def admit(request: Request) -> Principal:
        keys = await key_service(request)
        principal = await keys.authenticate(presented_key(request.headers))
        bind_space(principal.space_id)
        principal.needs(scope)
        refuse_unknown_parameters(request)
        return principal

    return admit


async def _admit_watcher(request: Request) -> Principal:
    """Admits admins, also those whom only this process still knows while PostgreSQL does not answer."""
    keys, text = await key_service(request), presented_key(request.headers)
    try:
        async with asyncio.timeout(WATCHER_SECONDS):
            principal = await keys.authenticate(text)
    except (psycopg.Error, TimeoutError) as error:
        known = keys.last_known(text)
        if known is None:
            raise Unavailable("PostgreSQL does not answer, and without it this key is not known here.") from error
        principal = known
    bind_space(principal.space_id)
    principal.needs("admin")
    refuse_unknown_parameters(request)
    return principal


Reader = Annotated[Principal, Depends(asked_by("read"))]
Writer = Annotated[Principal, Depends(asked_by("write"))]
Admin = Annotated[Principal, Depends(asked_by("admin"))]
Watcher = Annotated[Principal, Depends(_admit_watcher)]
Keys = Annotated[KeyService, Depends(key_service)]
