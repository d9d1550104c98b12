"""Codes of vectors: what is packed comes back, and finds what the vectors find."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.figures import Figure

from reverie.embedding.codes import (
    LARGEST,
    bit_bytes,
    code_bytes,
    pack,
    quantise,
    restore,
    signs_of,
    told_by,
    unpack,
)

Vectors = npt.NDArray[np.float32]

shapes = st.tuples(st.integers(1, 5), st.integers(1, 40))
numbers = st.floats(-1, 1, width=32, allow_nan=False, allow_subnormal=False)


@st.composite
def vectors(draw: st.DrawFn) -> Vectors:
    """Vectors of which none is zero."""
    drawn: Vectors = draw(arrays.arrays(np.float32, shapes, elements=numbers))
    drawn[np.abs(drawn) < 1e-6] = 0
    drawn[~np.abs(drawn).max(axis=1).astype(bool), 0] = 1
    return drawn


@given(vectors())
def test_what_is_packed_comes_back(given: Vectors) -> None:
    quantised, signs = quantise(given), signs_of(given)
    codes = pack(quantised, signs)
    assert codes.shape == (len(given), code_bytes(given.shape[1]))
    assert signs.shape == (len(given), bit_bytes(given.shape[1]))
    assert np.array_equal(unpack(codes, signs, given.shape[1]), quantised)


@given(vectors())
def test_a_component_is_off_by_half_a_step_of_the_greatest_at_most(given: Vectors) -> None:
    quantised = quantise(given)
    largest = np.abs(given).max(axis=1, keepdims=True)
    assert np.array_equal(np.abs(quantised).max(axis=1), np.full(len(given), LARGEST))
    assert np.all(np.abs(quantised / LARGEST - given / largest) <= 0.5 / LARGEST + 1e-6)


@given(vectors())
def test_restored_vectors_are_of_unit_length(given: Vectors) -> None:
    restored = restore(quantise(given))
    assert restored.dtype == np.float32
    assert np.allclose(np.linalg.norm(restored, axis=1), 1, atol=1e-5)


@given(vectors())
def test_signs_are_those_of_pgvector(given: Vectors) -> None:
    """``binary_quantize``: 1 where a component is greater than 0, the first component first."""
    unpacked = np.unpackbits(signs_of(given), axis=1, count=given.shape[1])
    assert np.array_equal(unpacked.astype(bool), given > 0)


@given(arrays.arrays(np.int8, shapes, elements=st.integers(-LARGEST, LARGEST)), st.data())
def test_what_has_the_sign_of_others_has_no_size(given: npt.NDArray[np.int8], data: st.DataObject) -> None:
    """Signs of the numbers before they were rounded: those that disagree were rounded across zero."""
    said = data.draw(arrays.arrays(np.bool_, given.shape))
    signs = np.packbits(said, axis=1)
    found = unpack(pack(given, signs), signs, given.shape[1])
    agree = (given == 0) | (said == (given > 0))
    assert np.array_equal(found, np.where(agree, given, 0))


@pytest.mark.parametrize("dim", [1, 7, 8, 9, 384, 1024])
def test_sizes_in_bytes(dim: int) -> None:
    assert code_bytes(dim) == -(-dim // 8) * 7
    assert bit_bytes(dim) == -(-dim // 8)
    assert quantise(np.ones((2, dim), dtype=np.float32)).dtype == np.int8


def test_a_vector_of_nothing_stays_so() -> None:
    nothing = np.zeros((1, 16), dtype=np.float32)
    signs = signs_of(nothing)
    assert not unpack(pack(quantise(nothing), signs), signs, 16).any()
    assert not np.isnan(restore(quantise(nothing))).any()


def test_codes_find_what_vectors_find(figure: Figure) -> None:
    """The exact top ten among clusters of vectors, whose components have heavy tails as those of texts do."""
    drawn = np.random.default_rng(7)
    scales = np.exp(drawn.normal(0, 0.5, 384)).astype(np.float32)
    centres = drawn.standard_normal((300, 384)).astype(np.float32)
    rows = centres[drawn.integers(0, 300, 20_000)] + 0.7 * drawn.standard_normal((20_000, 384)).astype(np.float32)
    rows = rows * scales
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked = rows[drawn.integers(0, len(rows), 100)]
    asked = asked + drawn.standard_normal(asked.shape).astype(np.float32) * (1.2 / 384**0.5)
    signs = signs_of(rows)
    coded = restore(unpack(pack(quantise(rows), signs), signs, 384))
    exact = np.argsort(-asked @ rows.T, axis=1)[:, :10]
    found = np.argsort(-asked @ coded.T, axis=1)[:, :10]
    share = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(exact, found, strict=True)])
    figure("recall@10 of codes among 20 000 vectors", f"{share:.3f}")
    assert share >= 0.97


@given(vectors())
def test_a_question_is_told_by_where_it_is_large(given: Vectors) -> None:
    question = given[0]
    (wide, wide_signs), (narrow, narrow_signs) = told_by(question)
    assert 0 < narrow.sum() <= wide.sum() <= len(question)
    assert not (narrow & ~wide).any()
    for mask, signs in ((wide, wide_signs), (narrow, narrow_signs)):
        assert (signs == (mask & (question > 0))).all()
        if not mask.all():
            assert np.abs(question[mask]).min() >= np.abs(question[~mask]).max()


def test_no_codes_are_no_vectors() -> None:
    none = np.empty((0, code_bytes(24)), np.uint8), np.empty((0, bit_bytes(24)), np.uint8)
    assert restore(unpack(*none, 24)).shape == (0, 24)


def test_fewer_candidates_hold_the_nearest_where_the_question_is_large() -> None:
    """Of vectors around some centres, with questions apart from them."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((40, 96))
    rows = (centres[random.integers(40, size=4000)] + 0.8 * random.standard_normal((4000, 96))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    signs = rows > 0
    found = {"all": 0, "told": 0}
    for question in (rows[:50] + 0.12 * random.standard_normal((50, 96))).astype(np.float32):
        nearest = set(np.argsort(-(rows @ question))[:10].tolist())
        apart = {
            "all": (signs != (question > 0)).sum(axis=1),
            "told": sum(((signs & mask) != of).sum(axis=1) for mask, of in told_by(question)),
        }
        for name, differing in apart.items():
            found[name] += len(nearest & set(np.argsort(differing, kind="stable")[:60].tolist()))
    assert found["told"] > 1.1 * found["all"]
