from hypothesis import given
from hypothesis import strategies as st

from reverie.embedding.batches import by_length

LENGTHS = st.lists(st.integers(1, 600), max_size=80)


@given(LENGTHS)
def test_every_text_is_in_one_batch_within_the_limits(lengths: list[int]) -> None:
    batches = by_length(lengths, 16, 1_500)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= 16
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= 1_500


@given(LENGTHS)
def test_batches_go_from_short_to_long(lengths: list[int]) -> None:
    ordered = [lengths[index] for batch in by_length(lengths, 16, 1_500) for index in batch]
    assert ordered == sorted(lengths)


def test_a_text_longer_than_the_budget_goes_alone() -> None:
    assert by_length([5_000, 10, 5_000], 16, 1_500) == [[1], [0], [2]]
