"""Vectors brought to EMBEDDING_DIM and unit length, and the check of those that a caller supplies. Pure."""

import math
import struct
from binascii import a2b_base64
from typing import Final

import numpy as np
import numpy.typing as npt

from reverie.embedding.protocol import FloatArray

_NUMBERS: Final = frozenset((float, int))
_SAFE_SQUARE: Final = (1e-200, 1e200)
"""Between these, the sum of squares has neither overflowed nor lost its digits."""

_JSON_NAMES: Final = {
    str: "text",
    bool: "a boolean",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}


def fit(vectors: npt.NDArray[np.floating], dim: int) -> FloatArray:
    """Rows of unit length and ``dim`` components: cut and normalised again, or padded with zeros.

    Args:
        vectors: ``[n, native]``.
        dim: the components wanted.

    Raises:
        ValueError: a row holds NaN or infinity, or is zero in its first ``dim`` components.
    """
    kept = vectors[:, :dim]
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", kept, kept, dtype=np.float64))
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise ValueError("a vector is zero or not finite")
    fitted = np.zeros((len(vectors), dim), dtype=np.float32)
    fitted[:, : kept.shape[1]] = kept / norms[:, None]
    return fitted


def supplied(raw: object, dim: int) -> FloatArray:
    """The vector that a caller supplied, checked and normalised: float32 ``[dim]``.

    It is normalised in float64 first, so that components too large or too small for float16 are no matter.

    Args:
        raw: ``dim`` numbers, or the base64 (RFC 4648) of as many float32, little-endian, as OpenAI's endpoints give it
            for ``encoding_format: base64``.
        dim: the components wanted.

    Raises:
        ValueError: the message is the end of a sentence about the field, such as "takes 384 finite numbers, not 3".
    """
    if isinstance(raw, str):
        vector = _decoded(raw, dim)
    elif isinstance(raw, list | tuple):
        vector = _listed(raw, dim)
    else:
        raise ValueError(_wanted(dim))
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(vector.dot(vector))
    if _SAFE_SQUARE[0] < square < _SAFE_SQUARE[1]:
        return (vector / math.sqrt(square)).astype(np.float32)
    return _normalised_extreme(vector, dim)


def _listed(raw: list[object] | tuple[object, ...], dim: int) -> npt.NDArray[np.float64]:
    if len(raw) != dim:
        raise ValueError(f"takes {dim} finite numbers, not {len(raw)}")
    if not _NUMBERS.issuperset(map(type, raw)):
        raise ValueError(_not_a_number(raw, dim))
    try:
        return np.frombuffer(struct.pack(f"{dim}d", *raw), dtype=np.float64)
    except (OverflowError, struct.error):  # a whole number beyond the range of float64
        raise ValueError(f"takes {dim} finite numbers; one is too large") from None


def _decoded(raw: str, dim: int) -> npt.NDArray[np.float64]:
    try:
        packed = a2b_base64(raw, strict_mode=True)
    except ValueError:
        raise ValueError(_wanted(dim)) from None
    if len(packed) != 4 * dim:
        raise ValueError(f"takes the base64 of {dim} float32, {4 * dim} bytes, not {len(packed)}")
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return np.frombuffer(packed, dtype="<f4").astype(np.float64)


def _wanted(dim: int) -> str:
    return f"takes a list of {dim} finite numbers, or the base64 of {dim} float32"


def _normalised_extreme(vector: npt.NDArray[np.float64], dim: int) -> FloatArray:
    finite = np.isfinite(vector)
    if not finite.all():
        position = int(np.argmin(finite))
        kind = "NaN" if math.isnan(vector[position]) else "infinity"
        raise ValueError(f"takes {dim} finite numbers, not {kind} at position {position}")
    largest = float(np.abs(vector).max())
    if largest == 0:
        raise ValueError("takes a vector that is not all zeros")
    scaled = vector / largest
    return (scaled / math.sqrt(float(scaled.dot(scaled)))).astype(np.float32)


def _not_a_number(raw: list[object] | tuple[object, ...], dim: int) -> str:
    position, kind = next((i, type(value)) for i, value in enumerate(raw) if type(value) not in _NUMBERS)
    return f"takes {dim} finite numbers, not {_JSON_NAMES.get(kind, kind.__name__)} at position {position}"
