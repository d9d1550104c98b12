"""Cross-encoders as ONNX files with a ``tokenizer.json``, run by onnxruntime on the processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

from reverie.core.errors import SettingsError
from reverie.embedding.batches import by_length
from reverie.embedding.carried import content_name
from reverie.embedding.onnxfiles import DEFAULT_TOKENS, model_file, open_session, open_tokenizer, window
from reverie.embedding.protocol import CHARS_PER_TOKEN, FloatArray, Limits
from reverie.embedding.reranking.protocol import RerankError

SETTING: Final = "RERANK_MODEL"

_CONFIGURATION: Final = ("tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json")
"""The files of a folder, beside the model, that decide what its scores are."""
_BATCH_TOKENS: Final = 256
"""Padded tokens of one run if it holds more than one pair. Larger ones gain nothing: 40 turns take 390 ms of a core in
runs of four as in runs of sixteen, and 430 one by one."""


@dataclass(frozen=True, slots=True)
class OnnxPairs:
    """Where a cross-encoder lies; ``max_tokens`` is what it reads of a question and a text together."""

    name: str
    folder: Path
    model_file: str = "model.onnx"
    max_tokens: int = DEFAULT_TOKENS

    @classmethod
    def read(cls, folder: Path) -> Self:
        """A folder as the hub lays it out, named by :func:`~reverie.embedding.carried.content_name`.

        The file is ``model.onnx`` or ``onnx/model.onnx``; the window comes from ``sentence_bert_config.json`` or
        ``tokenizer_config.json``, at most 512 tokens.

        Raises:
            SettingsError: the folder holds no such model.
        """
        file = model_file(folder, SETTING)
        name = content_name(folder, (folder / part for part in (file, f"{file}_data", *_CONFIGURATION)))
        return cls(name, folder, file, window(folder, SETTING))


class OnnxReranker:
    """A :class:`~reverie.embedding.reranking.protocol.Reranker` over onnxruntime.

    An int8 model quantises its activations over the whole batch, so a text's score depends a little on its
    neighbours. Which these are depends on the texts alone, not on the order in which they come.
    """

    limits: Limits = Limits(texts=4, size=1_200)

    def __init__(self, model: OnnxPairs, threads: int = 0) -> None:
        """Loads the model; ``threads`` 0 takes the cores of the process.

        The threads that it starts have the priority of the calling one.

        Raises:
            SettingsError: a file cannot be read as what it should be, or the model gives more than one score.
        """
        self.name: str = model.name
        self.max_tokens: int = model.max_tokens
        self._question_tokens = model.max_tokens // 2 - 2
        self._tokenizer = open_tokenizer(model.folder / "tokenizer.json", model.max_tokens, SETTING)
        self._session = open_session(model.folder / model.model_file, threads, SETTING)
        self._inputs = frozenset(node.name for node in self._session.get_inputs())
        given = self._run(self._tokenizer.encode_batch_fast([("", "")]))
        if given.shape != (1, 1):
            raise SettingsError(f"{SETTING}: {model.folder} holds no reranker, which gives one score for a pair.")

    def score(self, question: str, texts: Sequence[str]) -> FloatArray:
        encodings = self._tokenize(question, texts)
        scores = np.empty(len(texts), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda index: (len(encodings[index]), texts[index]))
        lengths = [len(encodings[index]) for index in order]
        for batch in by_length(lengths, self.limits.texts, _BATCH_TOKENS):
            places = [order[at] for at in batch]
            scores[places] = self._run([encodings[place] for place in places])[:, 0]
        if not np.isfinite(scores).all():
            raise RerankError(f"The reranker {self.name} gave a score that is not finite.")
        return scores

    def close(self) -> None:
        """Nothing to end: memory is freed with the object, and a running call is over within a batch."""

    def _tokenize(self, question: str, texts: Sequence[str]) -> list[Encoding]:
        most = self.max_tokens * CHARS_PER_TOKEN
        try:
            asked = self._cut(question[:most])
            return self._tokenizer.encode_batch_fast([(asked, text[:most]) for text in texts])
        except (TypeError, UnicodeEncodeError):  # a lone surrogate
            raise RerankError("The text is not valid Unicode.") from None

    def _cut(self, question: str) -> str:
        """What leaves half of the window to the text: then only the text is cut, being the longer of the two."""
        if len(question) * 4 <= self._question_tokens:  # no tokenizer makes more than a token of a byte
            return question
        encoding = self._tokenizer.encode(question, add_special_tokens=False)
        if len(encoding) <= self._question_tokens:
            return question
        return question[: encoding.offsets[self._question_tokens - 1][1]]

    def _run(self, encodings: Sequence[Encoding]) -> FloatArray:
        """One run of the model over ``[batch, longest]`` tokens; ``[batch, scores of a pair]``."""
        width = max(len(encoding) for encoding in encodings)
        ids = np.zeros((len(encodings), width), dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            length = len(encoding)
            ids[row, :length] = encoding.ids
            types[row, :length] = encoding.type_ids
            mask[row, :length] = 1
        feed: dict[str, npt.NDArray[np.int64]] = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = types
        given: FloatArray = self._session.run(None, feed)[0]
        return given.reshape(len(encodings), -1)
