"""The operation that brings a store over to the embedding model of its newest settings.

It is done by what is wanted when it runs, not by what was wanted when it was accepted: so one that was killed, or whose
settings were changed meanwhile, goes on or back, whichever is right by then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog

from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.endings import to_its_end
from reverie.core.errors import Conflict, SettingsError, StartError
from reverie.core.outages import PASSING
from reverie.embedding.encoder import Encoder
from reverie.embedding.priority import giving_way
from reverie.embedding.protocol import Embedder
from reverie.embedding.registry import build_embedder, model_identity
from reverie.operations import repository as operations
from reverie.operations.repository import Leased
from reverie.operations.service import TryLater
from reverie.reembedding import repository
from reverie.reembedding.service import BrokenOff, Progress, ReembeddingService
from reverie.settings import repository as saved
from reverie.settings.force import refuse_fewer
from reverie.settings.overlay import Version, overlaid
from reverie.settings.sealing import Sealing

SLICE_SECONDS: Final = 1200.0
"""How long one attempt works: far below what an operation may take. The next goes on there."""

LOOK_SECONDS: Final = 1.0
"""How often it is told how far it has come, and looked whether anything else is wanted."""

log = structlog.get_logger(__name__)


class _Outdated(Exception):  # noqa: N818 - says what has happened
    """Another embedding model is wanted by now."""


class Reembedder:
    """Brings a store over to the model of its newest settings."""

    def __init__(self, base: Settings, database: Database, service: ReembeddingService, sealing: Sealing) -> None:
        """``base``: the settings of the environment."""
        self._base = base
        self._database = database
        self._service = service
        self._sealing = sealing

    async def reembed(self, held: Leased) -> dict[str, Any]:
        """Does a part of the work; the operation is done when the store has the model that is wanted.

        Raises:
            TryLater: there is more to do, or somebody else does it.
            Conflict: the model cannot be loaded, or is none.
        """
        version = await self._newest()
        settings = overlaid(self._base, version, self._sealing)
        embedder = await _loaded(settings)
        try:
            identity = await _identity(settings, embedder)
        except BaseException:
            embedder.close()
            raise
        encoder = Encoder(embedder, identity[1]).start()
        told: dict[str, Any] = {"version": version.version, "model": identity[0], "dim": identity[1],
                                "precision": identity[2], "state": "beginning"}  # fmt: skip
        try:
            async with asyncio.timeout(SLICE_SECONDS), self._watching(held, version, told):
                await self._end_others(identity)
                await self._service.run(encoder, *identity, lambda now: _tell(told, now))
        except TimeoutError:
            await self._note(held, told)
            raise TryLater(f"The vectors of {identity[0]} are being made.") from None
        except _Outdated:
            return told | {"state": "superseded"}
        except BrokenOff:
            # By the command, or by the operation of newer settings.
            return told | {"state": "superseded" if await self._is_outdated(version) else "broken off"}
        except Conflict as error:
            raise TryLater(error.detail) from None
        finally:
            await to_its_end(encoder.close())
        return told | {"state": "done"}

    async def _end_others(self, identity: tuple[str, int, str]) -> None:
        """Ends a change to another model, and finishes the removal of vectors that was begun."""
        async with self._database.maintenance() as connection:
            known = await repository.changes(connection)
        under_way = next((one for one in known if one.state is not None), None)
        if under_way is None:
            return
        model = under_way.model
        if (model.name, model.dim, model.precision) != identity or under_way.state == "dropping":
            log.info("change of the model ended", model=str(model))
            await self._service.abort()

    @asynccontextmanager
    async def _watching(self, held: Leased, version: Version, told: dict[str, Any]) -> AsyncIterator[None]:
        """Notes meanwhile how far it has come; ends the block when another embedding model is wanted.

        Raises:
            _Outdated: that happened.
        """
        work = asyncio.current_task()
        assert work is not None  # noqa: S101 - an operation runs in a task
        outdated = False

        async def watch() -> None:
            nonlocal outdated
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                with suppress(*PASSING):
                    await self._note(held, told)
                    outdated = outdated or await self._is_outdated(version)
                if outdated:
                    # Again and again: Python 3.11 loses one that comes in the moment in which what is awaited comes.
                    work.cancel()

        watcher = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not outdated:
                raise
            raise _Outdated from None
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
            while outdated and work.uncancel():
                continue

    async def _note(self, held: Leased, told: dict[str, Any]) -> None:
        async with self._database.writing(None) as session:
            await operations.note(session, held, dict(told))

    async def _newest(self) -> Version:
        async with self._database.reading(None) as session:
            return await saved.newest(session)

    async def _is_outdated(self, version: Version) -> bool:
        return (await self._newest()).of("embedding") != version.of("embedding")


async def _loaded(settings: Settings) -> Embedder:
    """The embedder of settings, whose threads let whoever is served go first."""
    try:
        return await asyncio.to_thread(giving_way, lambda: build_embedder(settings))
    except (SettingsError, StartError) as error:
        raise Conflict(str(error)) from None


async def _identity(settings: Settings, embedder: Embedder) -> tuple[str, int, str]:
    def asked() -> tuple[str, int, str]:
        refuse_fewer(settings, embedder.dim)
        return model_identity(settings, embedder)

    try:
        return await asyncio.to_thread(asked)
    except SettingsError as error:
        raise Conflict(str(error)) from None


def _tell(told: dict[str, Any], now: Progress) -> None:
    if now.waits is not None:
        told["waits"] = now.waits
        return
    told.pop("waits", None)
    told |= {"state": now.state, "traces": now.traces, "total": now.total, "made": now.made, "refused": now.refused}
