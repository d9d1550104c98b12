"""Which settings a process works with: the saved ones over the environment, and an embedding model that fits the store.

The newest version names the embedding model that is wanted. Until the store has gone over to it, whoever starts works
with the newest version that fits the store's active model, else with the environment; so no version that was saved can
keep a process from starting.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import httpx
import structlog

from reverie.core.addresses import PrivateAddress, looked_up, place_of
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.errors import SettingsError, StartError
from reverie.embedding.endpoint import EndpointEmbedder
from reverie.embedding.protocol import Embedder, EmbeddingError
from reverie.embedding.registry import build_embedder, known_name, model_identity
from reverie.settings import repository
from reverie.settings.overlay import KEYS, SECTIONS, URLS, Section, Version, faults, overlaid
from reverie.settings.repository import Active, Identity, Standing
from reverie.settings.sealing import Sealing

log = structlog.get_logger(__name__)

ENVIRONMENT: Final = Version()

EMBEDDING: Final = (*SECTIONS["embedding"].values(), KEYS["embedding"])
"""The settings of the embedding model."""

LOOK_UP_SECONDS: Final = 3.0
"""How long it is waited for what a host's name resolves to; the connection looks again."""


@dataclass(slots=True)
class InForce:
    """What a process works with.

    Attributes:
        base: the settings of its environment.
        settings: those that it works with.
        version: the newest version when it opened its parts.
        embedding: the version whose embedding model it works with; 0 is the environment.
        active: the number of the model that was active then; None before a store is used.
        faults: what of the saved settings it does without, in sentences.
        refused: why it has not gone over to a newer version, if it could not.
        left_aside: whether a newer version has an embedding model that fits and could not be asked.
    """

    base: Settings
    settings: Settings
    version: Version = ENVIRONMENT
    embedding: Version = ENVIRONMENT
    active: int | None = None
    faults: list[str] = field(default_factory=list)
    refused: str | None = None
    left_aside: bool = False

    @property
    def generation(self) -> tuple[int, int | None]:
        """As :func:`~reverie.settings.repository.generation` gave it when these settings were chosen."""
        return self.version.version, self.active


async def choose(
    base: Settings, database: Database, sealing: Sealing, before: InForce | None = None
) -> tuple[InForce, Embedder | None]:
    """The settings for a process that opens its parts, and the embedder where it was loaded to find that out.

    Args:
        base: the settings of the environment.
        database: the store; its pool need not be open.
        sealing: what decrypts keys.
        before: what a running process works with that goes over: an endpoint that it does not ask yet has to answer.
    """
    async with database.maintenance() as connection:
        standing = await repository.standing(connection)
    active = standing.active
    found = InForce(base, base, standing.newest, active=active.id if active and standing.is_used else None)
    found.faults = faults(base, standing.newest, sealing) + [
        f"{section}.url is at a private address, which is asked only with AI_PRIVATE_ENDPOINTS=allow."
        for section in await private_endpoints(base, standing.newest, sealing)
    ]
    candidates = _candidates(standing)
    for version in candidates:
        settings = overlaid(base, standing.newest.with_embedding_of(version), sealing)
        if not version.of("embedding") and (version is candidates[-1] or _is_surely(settings, standing)):
            # The environment says by itself what is wrong where it does not fit.
            break
        asks = before is not None and _embedding_of(settings) != _embedding_of(before.settings)
        embedder = await _fitting(settings, active, version, found, asks=asks)
        if embedder is not None:
            found.settings, found.embedding = settings, version
            return found, embedder
    found.settings = overlaid(base, standing.newest.with_embedding_of(ENVIRONMENT), sealing)
    return found, None


async def private_endpoints(base: Settings, version: Version, sealing: Sealing) -> list[Section]:
    """The sections of a version whose endpoints are at private addresses, where no operator allows them.

    A name that does not resolve in time counts as public: with every connection it is looked at again.
    """
    settings = overlaid(base, version, sealing)

    async def is_private(section: Section, url: str) -> bool:
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                await looked_up(*place_of(httpx.URL(url)))
        except PrivateAddress:
            return True
        except (OSError, UnicodeError, TimeoutError):
            log.info("endpoint not looked up", field=f"{section}.url")
        return False

    wanted = [
        (section, url)
        for section, name in URLS.items()
        if (url := version.values.get(name)) and settings.public_only(name)
    ]
    found = await asyncio.gather(*(is_private(section, url) for section, url in wanted))
    return [section for (section, _), private in zip(wanted, found, strict=True) if private]


def _candidates(standing: Standing) -> list[Version]:
    """The versions whose embedding models come into question, the newest first; the environment is among them."""
    found = list(standing.embeddings)
    return found if any(not version.of("embedding") for version in found) else [*found, ENVIRONMENT]


def _is_surely(settings: Settings, standing: Standing) -> bool:
    """Whether the environment's model fits the store, as far as that shows without loading it."""
    if standing.active is None:
        return True
    try:
        return known_name(settings) is not None and _may_be(settings, standing.active)
    except SettingsError:
        return False


def _may_be(settings: Settings, active: Active) -> bool:
    name, dim, precision = active.identity
    return (
        known_name(settings) in (None, name)
        and settings.embedding_precision == precision
        and settings.embedding_dim in (None, dim)
    )


async def _fitting(
    settings: Settings, active: Active | None, version: Version, found: InForce, *, asks: bool
) -> Embedder | None:
    """The embedder of a version, if its vectors are those that the store has; what is wrong with it is added.

    One that cannot be it is not loaded: that may take minutes, or be in vain.
    """
    embedder: Embedder | None = None
    try:
        if active is None or not _may_be(settings, active):
            return None
        embedder = await asyncio.to_thread(build_embedder, settings)
        if await asyncio.to_thread(_identity, settings, embedder, active.identity, asks) == active.identity:
            return embedder
    except (SettingsError, StartError, EmbeddingError) as error:
        log.warning("embedding model left aside", version=version.version, reason=reason_of(error))
        found.faults.append(f"The embedding model of version {version.version} is not worked with: {reason_of(error)}")
        found.left_aside = True
    if embedder is not None:
        embedder.close()
    return None


def _identity(settings: Settings, embedder: Embedder, wanted: Identity, asks: bool) -> Identity:
    """What the vectors of an embedder are marked with.

    An endpoint whose dimension the store knows is asked for it by who goes over to it, and by no start: it may be out.
    """
    if isinstance(embedder, EndpointEmbedder) and settings.embedding_dim is None:
        if asks:
            refuse_another(settings, embedder, wanted)
        embedder.expect(wanted[1])
    elif isinstance(embedder, EndpointEmbedder) and asks:
        refuse_fewer(settings, embedder.dim)
    return model_identity(settings, embedder)


def refuse_fewer(settings: Settings, own: int) -> None:
    """Makes sure that a model has as many dimensions as the settings say: vectors can be cut, but nothing be added.

    Raises:
        SettingsError: it has fewer.
    """
    if settings.embedding_dim is not None and own < settings.embedding_dim:
        raise SettingsError(
            f"EMBEDDING_DIM: is {settings.embedding_dim}, and the vectors of {settings.embedding_model} have {own}."
        )


def refuse_another(settings: Settings, embedder: Embedder, wanted: Identity | None) -> None:
    """Makes sure that a model of the name and precision of the store's has the dimension of the store's.

    Raises:
        SettingsError: it has another one: it is another model.
    """
    if wanted is None or settings.embedding_dim is not None or embedder.dim == wanted[1]:
        return
    if (embedder.name, settings.embedding_precision) == (wanted[0], wanted[2]):
        raise SettingsError(
            f"EMBEDDING_URL: answers with {embedder.dim} dimensions, and the vectors that this store has of "
            f"{embedder.name} have {wanted[1]}: it is another model under the same name."
        )


def reason_of(error: Exception) -> str:
    """What went wrong, as the end of a sentence."""
    return error.detail if isinstance(error, EmbeddingError) else str(error)


def _embedding_of(settings: Settings) -> tuple[object, ...]:
    return tuple(getattr(settings, name) for name in EMBEDDING)
