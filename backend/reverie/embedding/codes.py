"""Vectors of a warm or cold trace: eight bits a component instead of sixteen or thirty-two. Pure.

Each component is scaled so that the greatest of its vector is 127, and rounded: of the exact top ten by vectors of text
0.987 to 0.99 are found by them. Its sign is kept in ``bits`` (as pgvector's ``binary_quantize`` has them: 1 where a
component is greater than 0), by which warm vectors are searched; its size, 0 to 127, in seven bits of ``codes``, eight
sizes in seven bytes. No scale is kept, for the vectors are of unit length. In files the two are one signed byte, -127
to 127, which any tool reads; most components of a vector are far smaller than its greatest, so the bytes pack well.
"""

from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from reverie.embedding.protocol import FloatArray

Bytes = npt.NDArray[np.uint8]
SignedBytes = npt.NDArray[np.int8]
Bits = npt.NDArray[np.bool_]

LARGEST: Final = 127
"""The size of the greatest component of a vector."""

_GROUP: Final = 8
"""Sizes that are packed together: the eighth stands in the first bits of the seven others, from the lowest up."""

TELLING: Final = (2 / 3, 1 / 3)
"""Shares of the dimensions, of which the smaller count twice."""

_LEAST: Final = np.float32(1e-35)
"""What a greatest component is taken for at least, so that nothing divided by it is too great for a float."""

_SIZE: Final = np.uint8(0x7F)


def code_bytes(dim: int) -> int:
    """Bytes of the codes of a vector."""
    return -(-dim // _GROUP) * (_GROUP - 1)


def bit_bytes(dim: int) -> int:
    """Bytes of the bits of a vector."""
    return -(-dim // 8)


def quantise(vectors: FloatArray) -> SignedBytes:
    """Signed bytes ``[n, dim]`` of vectors ``[n, dim]`` of any length but zero."""
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), _LEAST)
    numbers: SignedBytes = np.rint(vectors * (LARGEST / largest)).astype(np.int8)
    return numbers


def restore(numbers: SignedBytes) -> FloatArray:
    """Vectors of unit length ``[n, dim]`` of signed bytes."""
    vectors = numbers.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    vectors /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return vectors


def pack(numbers: SignedBytes, signs: Bytes) -> Bytes:
    """The codes ``[n, code_bytes(dim)]`` of signed bytes whose signs stand in ``signs`` (:func:`signs_of`)."""
    rows, dim = numbers.shape
    sizes = np.zeros((rows, -(-dim // _GROUP) * _GROUP), dtype=np.uint8)
    sizes[:, :dim] = np.abs(numbers)
    positive = np.unpackbits(signs, axis=1, count=dim).astype(np.bool_)
    # What was rounded across zero has no size: its sign is the one that the bits have.
    sizes[:, :dim][(numbers != 0) & (positive != (numbers > 0))] = 0
    groups = sizes.reshape(rows, -1, _GROUP)
    packed: Bytes = groups[:, :, :-1] | (groups[:, :, -1:] >> np.arange(_GROUP - 1, dtype=np.uint8) & 1) << 7
    return packed.reshape(rows, -1)


def unpack(codes: Bytes, signs: Bytes, dim: int) -> SignedBytes:
    """Signed bytes ``[n, dim]`` of codes ``[n, code_bytes(dim)]`` and signs ``[n, bit_bytes(dim)]``."""
    groups = codes.shape[1] // (_GROUP - 1)
    packed = codes.reshape(len(codes), groups, _GROUP - 1)
    sizes = np.empty((len(codes), groups, _GROUP), dtype=np.uint8)
    np.bitwise_and(packed, _SIZE, out=sizes[:, :, :-1])
    # One after the other: a sum over so short an axis takes ten times as long.
    last = packed[:, :, 0] >> 7
    for place in range(1, _GROUP - 1):
        last |= (packed[:, :, place] >> 7) << place
    sizes[:, :, -1] = last
    numbers = sizes.reshape(len(codes), groups * _GROUP)[:, :dim].view(np.int8)
    negative = np.unpackbits(~signs, axis=1, count=dim).view(np.int8)
    # In two's complement, -n is ~n + 1.
    return (numbers ^ -negative) + negative


def signs_of(vectors: FloatArray) -> Bytes:
    """The bits ``[n, bit_bytes(dim)]`` of vectors: 1 where a component is greater than 0, the first component first."""
    return np.packbits(vectors > 0, axis=1)


def told_by(question: FloatArray) -> list[tuple[Bits, Bits]]:
    """The dimensions in which a sign says much, as masks, each with the question's signs within it.

    Where a sign differs, what counts is how large the question's component is. So by the signs in the two thirds of the
    dimensions where it is largest, and once more in the third, as many of the nearest are found with a fifth of the
    candidates as by all signs alike.
    """
    sizes = np.abs(question)
    order = np.argsort(-sizes, kind="stable")
    masks = []
    for share in TELLING:
        mask = np.zeros(len(question), dtype=np.bool_)
        mask[order[: ceil(share * len(question))]] = True
        masks.append((mask, mask & (question > 0)))
    return masks
