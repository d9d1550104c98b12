"""Asking models, to say whether they answer, how fast, and what is wrong, in words."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final, TypeVar

from reverie.core.config import MAX_DIM, Settings
from reverie.core.errors import SettingsError, StartError
from reverie.embedding.endpoint import EndpointEmbedder
from reverie.embedding.priority import giving_way
from reverie.embedding.protocol import Embedder, EmbeddingError
from reverie.embedding.registry import build_embedder
from reverie.embedding.reranking.protocol import Reranker, RerankError
from reverie.embedding.reranking.registry import choose as choose_reranker
from reverie.language.endpoint import build_model
from reverie.language.protocol import LanguageModelError, Question
from reverie.settings.force import refuse_another, refuse_fewer
from reverie.settings.repository import Active
from reverie.settings.schemas import Tried

SECONDS: Final = 15.0
"""How long an endpoint is waited for here, at most."""

LOAD_SECONDS: Final = 60.0
"""How long the loading of a model that runs here is waited for."""

T = TypeVar("T")

_QUESTION: Final = Question("Answer with the one word: ready.", '{"question": "Are you ready?"}', 64)
_TEXTS: Final = ("The cat is called Miso.", "The ferry leaves at four.")
_ASKED: Final = "What is the cat called?"

_NAMES: Final = {
    "LANGUAGE_MODEL_API_KEY": "language_model.api_key",
    "LANGUAGE_MODEL_URL": "language_model.url",
    "LANGUAGE_MODEL": "language_model.model",
    "EMBEDDING_API_KEY": "embedding.api_key",
    "EMBEDDING_MODEL": "embedding.model",
    "EMBEDDING_DIM": "embedding.dim",
    "EMBEDDING_PRECISION": "embedding.precision",
    "EMBEDDING_URL": "embedding.url",
    "RERANK_API_KEY": "reranker.api_key",
    "RERANK_MODEL": "reranker.model",
    "RERANK_URL": "reranker.url",
}
_TIMES: Final = re.compile(r" \((?:LANGUAGE_MODEL_TIMEOUT_SECONDS|EMBEDDING_TIMEOUT_SECONDS|RERANK_SECONDS)\)")
_SETTING: Final = re.compile("|".join(_NAMES))


def patient(settings: Settings) -> Settings:
    """The settings with which models are asked here: nobody waits for longer than :data:`SECONDS`."""
    return settings.model_copy(
        update={
            "language_model_timeout_seconds": min(settings.language_model_timeout_seconds, SECONDS),
            "embedding_timeout_seconds": min(settings.embedding_timeout_seconds, SECONDS),
            "rerank_seconds": SECONDS,
        }
    )


def in_fields(sentence: str) -> str:
    """A sentence about settings as one about the fields of the API."""
    return _SETTING.sub(lambda found: _NAMES[found[0]], _TIMES.sub("", sentence))


async def try_language_model(settings: Settings) -> Tried:
    """Asks the language model."""
    name = settings.language_model
    began = time.perf_counter()
    try:
        model = build_model(patient(settings))
    except SettingsError as error:
        return _failed(name, began, str(error))
    if model is None:
        return Tried(ok=None, model=None, took_ms=None, detail="There is no language model: nights do without one.")
    try:
        await model.ask(_QUESTION)
    except LanguageModelError as error:
        return _failed(name, began, error.detail)
    finally:
        await model.close()
    return _answered(name, began)


async def try_embedding(settings: Settings, active: Active | None) -> Tried:
    """Has the embedding model make vectors; one that runs here is loaded for that.

    ``active``: the store's model, of which an endpoint of the same name has to have the dimension.
    """
    began = time.perf_counter()
    try:
        embedder = await _loaded(lambda: build_embedder(patient(settings)))
    except (SettingsError, StartError) as error:
        return _failed(settings.embedding_model, began, str(error))
    began = time.perf_counter()
    try:
        await asyncio.to_thread(_embed, settings, embedder, active)
    except (EmbeddingError, SettingsError) as error:
        said = error.detail if isinstance(error, EmbeddingError) else str(error)
        return _failed(settings.embedding_model, began, said)
    finally:
        embedder.close()
    tried = _answered(embedder.name, began)
    return tried.model_copy(
        update={"dim": embedder.dim, "detail": f"{tried.detail[:-1]}, with {embedder.dim} dimensions."}
    )


def _embed(settings: Settings, embedder: Embedder, active: Active | None) -> None:
    """Documents and a question: an endpoint that changes its dimension between two answers is found out."""
    embedder.encode_documents(list(_TEXTS))
    embedder.encode_questions([_ASKED])
    if isinstance(embedder, EndpointEmbedder):
        refuse_fewer(settings, embedder.dim)
        refuse_another(settings, embedder, active.identity if active is not None else None)
    dim, most = settings.embedding_dim or embedder.dim, MAX_DIM[settings.embedding_precision]
    if dim > most:
        raise SettingsError(
            f"EMBEDDING_DIM: {embedder.name} has {dim} dimensions, and at EMBEDDING_PRECISION {most} are taken: set it "
            "to that or less."
        )


async def try_reranker(settings: Settings) -> Tried:
    """Has the reranker judge two texts; one that runs here is loaded for that."""
    began = time.perf_counter()
    reranker: Reranker | None = None
    try:
        choice = choose_reranker(settings)
        reranker = await _loaded(lambda: choice.build(patient(settings)))
        began = time.perf_counter()
        await asyncio.to_thread(reranker.score, _ASKED, list(_TEXTS))
    except (SettingsError, StartError) as error:
        return _failed(settings.rerank_model, began, str(error))
    except RerankError as error:
        return _failed(settings.rerank_model, began, error.detail)
    finally:
        if reranker is not None:
            reranker.close()
    return _answered(settings.rerank_model, began)


async def _loaded(build: Callable[[], T]) -> T:
    """What is loaded, beside whoever is served.

    Raises:
        SettingsError: that takes too long: a model of the hub may be large, or out of reach.
    """
    loading = asyncio.create_task(asyncio.to_thread(giving_way, build))
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            return await asyncio.shield(loading)
    except TimeoutError:
        # What nobody waits for any more ends by itself.
        loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        raise SettingsError(f"The model was not loaded within {LOAD_SECONDS:g} seconds.") from None


def _answered(name: str | None, began: float) -> Tried:
    took = time.perf_counter() - began
    return Tried(ok=True, model=name, took_ms=_ms(took), detail=f"It answers, in {took:.2f} s.")


def _failed(name: str | None, began: float, said: str) -> Tried:
    return Tried(ok=False, model=name, took_ms=_ms(time.perf_counter() - began), detail=in_fields(said))


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
