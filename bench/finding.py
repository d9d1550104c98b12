"""Searching texts as recall weighs them, in this process: cosine and BM25, with the fixed weights of recall."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reverie.core.config import load_settings
from reverie.embedding.protocol import FloatArray
from reverie.embedding.registry import build_embedder
from reverie.recall.lexical import K1, B
from reverie.recall.pool import LEXICAL
from reverie.text.languages import small_words
from reverie.text.sentences import stem

_AT_ONCE: Final = 16
_WORD = re.compile(r"[^\W_]+")

Scores = npt.NDArray[np.float64]


class Encoded:
    """Vectors of texts by the embedder that the settings name, each made once; to be closed."""

    def __init__(self) -> None:
        self._embedder = build_embedder(load_settings())
        self._known: dict[tuple[bool, str], FloatArray] = {}

    def close(self) -> None:
        self._embedder.close()

    def documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts that are searched: ``[len(texts), dim]``, of unit length."""
        return self._vectors(texts, asked=False)

    def questions(self, texts: Sequence[str]) -> FloatArray:
        """Vectors to search with."""
        return self._vectors(texts, asked=True)

    def _vectors(self, texts: Sequence[str], *, asked: bool) -> FloatArray:
        encode = self._embedder.encode_questions if asked else self._embedder.encode_documents
        missing = sorted({text for text in texts if (asked, text) not in self._known}, key=len)
        for begins in range(0, len(missing), _AT_ONCE):
            batch = missing[begins : begins + _AT_ONCE]
            self._known |= {(asked, text): row for text, row in zip(batch, encode(batch), strict=True)}
        return np.vstack([self._known[asked, text] for text in texts])


class Words:
    """BM25 of some texts: the share of a question's rarity that is found in each."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(_terms(text)) for text in texts]
        lengths = np.array([count.total() for count in self._counts], dtype=np.float64)
        self._saturation = K1 * (1 - B + B * lengths / max(1.0, float(lengths.mean())))
        self._in_texts = Counter(term for count in self._counts for term in count)

    def shares(self, question: str) -> Scores:
        """``[len(texts)]``, of the most that BM25 could give."""
        terms = {term for term in _terms(question) if term in self._in_texts}
        found, most = np.zeros(len(self._counts)), 0.0
        for term in terms:
            number = self._in_texts[term]
            rarity = np.log1p((len(self._counts) - number + 0.5) / (number + 0.5))
            times = np.array([count[term] for count in self._counts], dtype=np.float64)
            found += rarity * times * (K1 + 1) / (times + self._saturation)
            most += rarity * (K1 + 1)
        return found / most if most else found


def best(encoded: Encoded, texts: Sequence[str], questions: Sequence[str], most: int) -> list[list[int]]:
    """The places of the texts that each question finds first, best first."""
    vectors, asked = encoded.documents(texts), encoded.questions(questions)
    by_words = Words(texts)
    found = []
    for question, vector in zip(questions, asked, strict=True):
        like = np.maximum(0.0, (vectors @ vector).astype(np.float64))
        scores = (1 - LEXICAL) * like + LEXICAL * by_words.shares(question)
        found.append((-scores).argsort(kind="stable")[:most].tolist())
    return found


def likeness(encoded: Encoded, ones: Sequence[str], others: Sequence[str]) -> Scores:
    """The cosine of each text and the other of its place."""
    both: Any = encoded.documents(ones) * encoded.documents(others)
    return np.asarray(both.sum(axis=1), dtype=np.float64)


def _terms(text: str) -> list[str]:
    small = small_words("english")
    return [stem(word) for word in _WORD.findall(text.lower()) if word not in small]
