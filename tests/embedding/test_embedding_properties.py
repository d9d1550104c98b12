"""Vectors, prefixes and texts of any kind."""

from contextlib import suppress

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from reverie.embedding.fit import fit, supplied
from reverie.embedding.heads import semantic_text
from reverie.embedding.prefixes import prefixes_of
from reverie.text.names import is_name

texts = st.text(st.characters(exclude_categories=[]))
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 5e-324, 1.7e308])
raws = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=6,
)


@given(raws | st.lists(numbers, max_size=4), st.integers(1, 4))
def test_anything_is_a_vector_of_unit_length_or_refused(raw: object, dim: int) -> None:
    vector, said = np.eye(1, dim, dtype=np.float32)[0], "takes "
    try:
        vector = supplied(raw, dim)
    except ValueError as error:
        said = str(error)
    assert said.startswith("takes ")
    assert "\n" not in said
    assert vector.shape == (dim,)
    assert vector.dtype == np.float32
    assert np.isclose(np.linalg.norm(vector), 1.0, atol=1e-5)


floats = st.floats(width=32)
rows = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=floats)


@given(rows, st.integers(1, 8))
def test_rows_are_brought_to_their_length_or_refused(vectors: npt.NDArray[np.float32], dim: int) -> None:
    kept = vectors[:, :dim].astype(np.float64)
    before = vectors.copy()
    good = bool(np.isfinite(kept).all() and (np.abs(kept).max(axis=1) > 0).all())
    fitted = None
    with suppress(ValueError):
        fitted = fit(vectors, dim)
    assert (fitted is not None) == good
    if fitted is not None:
        assert fitted.shape == (len(vectors), dim)
        assert np.allclose(np.linalg.norm(fitted, axis=1), 1.0, atol=1e-4)
        assert (np.sign(fitted[:, : kept.shape[1]]) * np.sign(kept) >= 0).all()
        assert (fitted[:, kept.shape[1] :] == 0).all()
    np.testing.assert_array_equal(vectors, before)


@given(texts, st.none() | texts)
def test_what_is_encoded_ends_with_what_was_said(content: str, speaker: str | None) -> None:
    encoded = semantic_text(content, speaker)
    assert encoded.endswith(content)
    assert encoded.removesuffix(content) == (f"{speaker}: " if is_name(speaker) else "")


@given(texts)
def test_any_name_of_a_model_has_prefixes(name: str) -> None:
    found = prefixes_of(name)
    assert prefixes_of(f"organisation/{name}") == found
    assert prefixes_of(f"{name}:latest") == found
    assert all(prefix == "" or prefix.endswith(" ") for prefix in found)
