import asyncio

import numpy as np
import pytest

from reverie.embedding import queues
from reverie.embedding.protocol import EmbeddingError, Limits
from reverie.embedding.queues import Documents, Item, Job, Questions

LIMITS = Limits(texts=4, size=100)


def job(*sizes: int) -> Job:
    return Job(
        texts=[f"{size}" for size in sizes],
        sizes=sizes,
        vectors=np.empty((len(sizes), 2), dtype=np.float32),
        future=asyncio.get_running_loop().create_future(),
        missing=len(sizes),
    )


def sizes(batch: list[Item]) -> list[int]:
    return [item.size for item in batch]


@pytest.fixture
def documents() -> Documents:
    return Documents(LIMITS)


async def test_all_waiting_questions_go_together() -> None:
    questions = Questions(LIMITS)
    jobs = [job(10) for _ in range(6)]
    for each in jobs:
        questions.put(each)
    assert [item.job for item in questions.batch()] == jobs[:4]
    assert [item.job for item in questions.batch()] == jobs[4:]
    assert questions.batch() == []


async def test_a_long_question_goes_alone() -> None:
    questions = Questions(LIMITS)
    for size in (10, 500, 10, 10):
        questions.put(job(size))
    assert [sizes(questions.batch()) for _ in range(3)] == [[10], [500], [10, 10]]


async def test_a_question_nobody_waits_for_is_dropped() -> None:
    questions = Questions(LIMITS)
    gone, here = job(10), job(10)
    questions.put(gone)
    questions.put(here)
    gone.future.cancel()
    batch = questions.batch()
    assert [item.job for item in batch] == [here]
    assert questions.length == 1
    questions.done(batch)
    assert questions.length == 0


async def test_documents_of_similar_length_go_together(documents: Documents) -> None:
    documents.put(job(1, 90, 2, 20, 3, 21, 22, 4))
    assert [sizes(documents.batch()) for _ in range(4)] == [[90], [4, 20, 21, 22], [1, 2, 3], []]


async def test_the_size_of_a_batch_is_bounded(documents: Documents) -> None:
    documents.put(job(*[30] * 7, 300))
    taken = []
    while batch := documents.batch():
        taken.append(sizes(batch))
    assert taken == [[300], [30, 30, 30], [30, 30, 30], [30]]


async def test_texts_of_other_callers_fill_a_batch(documents: Documents) -> None:
    one, two = job(10), job(11, 12)
    documents.put(one)
    documents.put(two)
    assert {id(item.job) for item in documents.batch()} == {id(one), id(two)}
    assert documents.batch() == []


async def test_callers_take_turns(documents: Documents) -> None:
    many, one = job(*range(50, 80)), job(1)
    documents.put(many)
    assert all(item.job is many for item in documents.batch())
    documents.put(one)
    second, third = documents.batch(), documents.batch()
    assert all(item.job is many for item in second)
    assert [item.job for item in third] == [one]


async def test_every_text_is_taken_once(documents: Documents) -> None:
    generator = np.random.default_rng(5)
    jobs = [job(*generator.integers(1, 120, size=count).tolist()) for count in (1, 30, 7, 60)]
    for each in jobs[:2]:
        documents.put(each)
    seen: list[tuple[int, int]] = []
    late = jobs[2:]
    while batch := documents.batch():
        assert len(batch) <= 4
        assert len(batch) == 1 or max(sizes(batch)) * len(batch) <= 100
        seen += [(id(item.job), item.index) for item in batch]
        documents.done(batch)
        if late:
            documents.put(late.pop())
    assert sorted(seen) == sorted((id(each), index) for each in jobs for index in range(len(each.texts)))
    assert documents.length == 0


async def test_documents_nobody_waits_for_are_dropped(documents: Documents) -> None:
    gone, here = job(*[50] * 20), job(50)
    documents.put(gone)
    documents.put(here)
    assert documents.length == 21
    documents.done(documents.batch())
    gone.future.cancel()
    batch = documents.batch()
    assert [item.job for item in batch] == [here]
    documents.done(batch)
    assert documents.batch() == []
    assert documents.length == 0


async def test_so_many_questions_may_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MOST_QUESTIONS", 5)
    questions = Questions(LIMITS)
    for _ in range(5):
        questions.put(job(10))
    batch = questions.batch()
    with pytest.raises(EmbeddingError, match="too much to do"):
        questions.put(job(10))
    questions.done(batch)
    for _ in range(4):
        questions.put(job(10))
    with pytest.raises(EmbeddingError, match="too much to do"):
        questions.put(job(10))
    assert questions.length == 5


async def test_so_many_documents_may_wait_and_no_more(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MOST_DOCUMENTS", 10)
    documents.put(job(*[10] * 12))
    for size in (1, 12):
        with pytest.raises(EmbeddingError, match="too much to do"):
            documents.put(job(*[10] * size))
    documents.done(documents.batch())
    documents.put(job(10, 10))
    with pytest.raises(EmbeddingError, match="too much to do"):
        documents.put(job(10))
    assert documents.length == 10


async def test_so_much_text_may_wait_and_no_more(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts of these jobs are their sizes written out: two characters each."""
    monkeypatch.setattr(queues, "MOST_CHARACTERS", 20)
    first, gone = job(*[10] * 8), job(10)
    documents.put(first)
    documents.put(gone)
    with pytest.raises(EmbeddingError, match="too much to do"):
        documents.put(job(10, 10))
    gone.future.cancel()
    while batch := documents.batch():
        documents.done(batch)
    documents.put(job(*[10] * 11))
    with pytest.raises(EmbeddingError, match="too much to do"):
        documents.put(job(10))
