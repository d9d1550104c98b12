import math
import struct
import time
from base64 import b64encode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.embedding.fit import fit, supplied

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
WANTED = "takes a list of 3 finite numbers, or the base64 of 3 float32"


def packed(*numbers: float) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_cut_and_normalised_again() -> None:
    vectors = np.array([[3.0, 4.0, 12.0], [0.0, 1.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(fit(vectors, 2), [[0.6, 0.8], [0.0, 1.0]], atol=1e-6)


def test_padded_with_zeros() -> None:
    fitted = fit(np.array([[3.0, 4.0]], dtype=np.float32), 4)
    np.testing.assert_allclose(fitted, [[0.6, 0.8, 0.0, 0.0]], atol=1e-6)
    assert fitted.dtype == np.float32


def test_what_is_given_stays_as_it_is() -> None:
    vectors = np.array([[3.0, 4.0]], dtype=np.float32)
    fit(vectors, 2)
    np.testing.assert_array_equal(vectors, [[3.0, 4.0]])


def test_no_rows_stay_no_rows() -> None:
    assert fit(np.empty((0, 3), dtype=np.float32), 5).shape == (0, 5)


@pytest.mark.parametrize("row", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [0.0, 0.0, 1.0]])
def test_a_row_that_cannot_be_normalised_is_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="zero or not finite"):
        fit(np.array([row], dtype=np.float32), 2)


def test_a_supplied_vector_is_normalised() -> None:
    vector = supplied([3, 4.0, 0], 3)
    np.testing.assert_allclose(vector, [0.6, 0.8, 0.0], atol=1e-7)
    assert vector.dtype == np.float32


@pytest.mark.parametrize(
    "raw",
    [
        [1e308, 1e308, -1e308],
        [1e-320, 1e-320, -1e-320],
        [1e-200, 1e-200, -1e-200],
        [10**300, 10**300, -(10**300)],
        [70_000.0, 70_000.0, -70_000.0],
    ],
)
def test_components_of_any_size_are_normalised(raw: list[float]) -> None:
    third = 1 / math.sqrt(3)
    np.testing.assert_allclose(supplied(raw, 3), [third, third, -third], rtol=1e-3)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([1.0, 2.0, 3.0, 4.0], "takes 3 finite numbers, not 4"),
        ([], "takes 3 finite numbers, not 0"),
        ([1.0, math.nan, 2.0], "takes 3 finite numbers, not NaN at position 1"),
        ([1.0, 2.0, -math.inf], "takes 3 finite numbers, not infinity at position 2"),
        ([0, 0.0, -0.0], "takes a vector that is not all zeros"),
        ([1.0, "2", 3.0], "takes 3 finite numbers, not text at position 1"),
        ([True, 2.0, 3.0], "takes 3 finite numbers, not a boolean at position 0"),
        ([1.0, None, 3.0], "takes 3 finite numbers, not null at position 1"),
        ([1.0, [2.0], 3.0], "takes 3 finite numbers, not a list at position 1"),
        ([1.0, {}, 3.0], "takes 3 finite numbers, not an object at position 1"),
        ([1.0, 10**400, 3.0], "takes 3 finite numbers; one is too large"),
        ("1,2,3", WANTED),
        ("é", WANTED),
        ("AACAPwAAgD8AAIA/ ", WANTED),
        ("AACAPwAAgD8AAIA", WANTED),
        ({"0": 1.0}, WANTED),
        (None, WANTED),
        (3, WANTED),
        ("", "takes the base64 of 3 float32, 12 bytes, not 0"),
        (packed(1, 2), "takes the base64 of 3 float32, 12 bytes, not 8"),
        (packed(1, math.nan, 2), "takes 3 finite numbers, not NaN at position 1"),
        (b64encode(b"\x01\x00\x80\x7f" * 3).decode(), "takes 3 finite numbers, not NaN at position 0"),
        (packed(1, 2, -math.inf), "takes 3 finite numbers, not infinity at position 2"),
        (packed(0, 0, -0.0), "takes a vector that is not all zeros"),
    ],
)
def test_a_wrong_vector_is_refused_in_words(raw: object, message: str) -> None:
    with pytest.raises(ValueError, match="takes") as caught:
        supplied(raw, 3)
    assert str(caught.value) == message


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40).filter(any))
def test_base64_says_what_the_numbers_say(raw: list[float]) -> None:
    assert supplied(packed(*raw), len(raw)).tobytes() == supplied(raw, len(raw)).tobytes()


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_every_finite_vector_but_zero_becomes_one_of_unit_length(raw: list[float]) -> None:
    if any(raw):
        vector = supplied(raw, len(raw))
        assert np.isfinite(vector).all()
        assert math.isclose(float(np.linalg.norm(vector)), 1.0, abs_tol=1e-5)
        assert (np.sign(vector.astype(np.float16)) * np.sign(raw) >= 0).all()
    else:
        with pytest.raises(ValueError, match="not all zeros"):
            supplied(raw, len(raw))


def test_a_thousand_vectors_are_checked_at_once() -> None:
    raw = np.random.default_rng(1).normal(size=384).tolist()

    def seconds() -> float:
        begun = time.perf_counter()
        for _ in range(1_000):
            supplied(raw, 384)
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(5)) < 0.1
