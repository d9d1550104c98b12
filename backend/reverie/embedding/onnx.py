"""Models as ONNX files with a ``tokenizer.json``, run by onnxruntime on the processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

from reverie.embedding.batches import by_length
from reverie.embedding.carried import content_name
from reverie.embedding.fit import fit
from reverie.embedding.onnxfiles import (
    DEFAULT_TOKENS,
    json_object,
    model_file,
    open_session,
    open_tokenizer,
    window,
)
from reverie.embedding.prefixes import NO_PREFIXES, Prefixes, prefixes_of
from reverie.embedding.priority import giving_way
from reverie.embedding.protocol import (
    CHARS_PER_TOKEN,
    LOCAL_LIMITS,
    EmbeddingError,
    FloatArray,
    Limits,
)
from reverie.embedding.silent_ort import ort

_SETTING: Final = "EMBEDDING_MODEL"
_CONFIGURATION: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
"""The files of a folder, beside the model, that decide what its vectors are."""
_BATCH_TOKENS: Final = 1_536
"""Padded tokens of one run if it holds more than one text: what :data:`LOCAL_LIMITS` lets through, in tokens."""


class Pooling(StrEnum):
    """How the vectors of a text's tokens become one."""

    FIRST = "first"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """Where a model lies and how it is used."""

    name: str
    folder: Path
    model_file: str = "model.onnx"
    pooling: Pooling = Pooling.FIRST
    prefixes: Prefixes = NO_PREFIXES
    max_tokens: int = DEFAULT_TOKENS

    @classmethod
    def read(cls, folder: Path) -> Self:
        """A folder as the hub lays it out, named by :func:`~reverie.embedding.carried.content_name`.

        The file is ``model.onnx`` or ``onnx/model.onnx``. Pooling comes from ``1_Pooling/config.json``, else it is
        the first token's vector; the window from ``sentence_bert_config.json`` or ``tokenizer_config.json``, at most
        512 tokens; prefixes from ``prompts`` in ``config_sentence_transformers.json``, else by the folder's name.

        Raises:
            SettingsError: the folder holds no such model.
        """
        file = model_file(folder, _SETTING)
        name = content_name(folder, (folder / part for part in (file, f"{file}_data", *_CONFIGURATION)))
        return cls(name, folder, file, _pooling(folder), _prefixes(folder), window(folder, _SETTING))


class OnnxEmbedder:
    """An :class:`~reverie.embedding.protocol.Embedder` over onnxruntime.

    An int8 model quantises its activations over the whole batch, so a text's vector depends a little on its
    neighbours: the cosine between a text alone and in company is 0.997 in the median and 0.98 or more.

    Questions have a session of their own with one thread: for some ten tokens a second thread gains nothing and takes
    a core from PostgreSQL, which works on the words of the question meanwhile; and a question does not wait for the
    batch of documents that is just running.
    """

    limits: Limits = LOCAL_LIMITS
    concurrent: bool = True

    def __init__(self, model: OnnxModel, threads: int = 0) -> None:
        """Loads the model; ``threads`` 0 takes :func:`default_threads`.

        Raises:
            SettingsError: a file cannot be read as what it should be.
        """
        self.name: str = model.name
        self.max_tokens: int = model.max_tokens
        self._model = model
        self._tokenizer = open_tokenizer(model.folder / "tokenizer.json", model.max_tokens, _SETTING)
        path = model.folder / model.model_file
        self._documents = giving_way(lambda: open_session(path, threads, _SETTING))
        self._questions = open_session(path, 1, _SETTING)
        self._inputs = frozenset(node.name for node in self._documents.get_inputs())
        self._output = _output_name(self._documents)
        self.dim: int = self._run(self._questions, self._tokenizer.encode_batch_fast([""])).shape[1]

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        return self._encode(self._documents, texts, self._model.prefixes.document)

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        return self._encode(self._questions, texts, self._model.prefixes.question)

    def close(self) -> None:
        """Nothing to end: memory is freed with the object, and a running call is over within a batch."""

    def _encode(self, session: ort.InferenceSession, texts: Sequence[str], prefix: str) -> FloatArray:
        encodings = self._tokenize(texts, prefix)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for batch in by_length([len(encoding) for encoding in encodings], self.limits.texts, _BATCH_TOKENS):
            vectors[batch] = self._run(session, [encodings[index] for index in batch])
        try:
            return fit(vectors, self.dim)
        except ValueError as error:
            raise EmbeddingError(
                f"The model {self.name} cannot embed this text: {error}.", text_at_fault=True
            ) from None

    def _tokenize(self, texts: Sequence[str], prefix: str) -> list[Encoding]:
        most = self.max_tokens * CHARS_PER_TOKEN
        try:
            return self._tokenizer.encode_batch_fast([prefix + text[:most] for text in texts])
        except (TypeError, UnicodeEncodeError):  # a lone surrogate
            raise EmbeddingError("The text is not valid Unicode.", text_at_fault=True) from None

    def _run(self, session: ort.InferenceSession, encodings: Sequence[Encoding]) -> FloatArray:
        """One run of the model over ``[batch, longest]`` tokens; ``[batch, dim]``, not normalised."""
        width = max(len(encoding) for encoding in encodings)
        ids = np.zeros((len(encodings), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            length = len(encoding)
            ids[row, :length] = encoding.ids
            mask[row, :length] = 1
        feed: dict[str, npt.NDArray[np.int64]] = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(ids)
        hidden = session.run([self._output], feed)[0]
        return _pooled(hidden, mask, self._model.pooling)


def _pooled(hidden: FloatArray, mask: npt.NDArray[np.int64], pooling: Pooling) -> FloatArray:
    if hidden.ndim == 2:
        return hidden
    if pooling is Pooling.FIRST:
        return hidden[:, 0]
    weights = mask.astype(np.float32)[:, :, None]
    mean: FloatArray = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    return mean


def _output_name(session: ort.InferenceSession) -> str:
    names = [node.name for node in session.get_outputs()]
    return next((name for name in ("sentence_embedding", "last_hidden_state") if name in names), names[0])


def _pooling(folder: Path) -> Pooling:
    config = json_object(folder / "1_Pooling" / "config.json", _SETTING)
    return Pooling.MEAN if config.get("pooling_mode_mean_tokens") else Pooling.FIRST


def _prefixes(folder: Path) -> Prefixes:
    prompts = json_object(folder / "config_sentence_transformers.json", _SETTING).get("prompts") or {}
    if prompts.get("query") or prompts.get("document"):
        return Prefixes(prompts.get("query") or "", prompts.get("document") or "")
    return prefixes_of(folder.name)
