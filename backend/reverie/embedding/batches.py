"""How texts are put together into batches. Pure."""

from collections.abc import Sequence


def by_length(lengths: Sequence[int], most: int, budget: int) -> list[list[int]]:
    """Indices in batches of similar length: shortest first, at most ``most`` each.

    A batch of more than one stays within ``budget``, counted as it will be padded: its longest times its number.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == most or lengths[index] * (len(batch) + 1) > budget):
            batches.append(batch)
            batch = []
        batch.append(index)
    if batch:
        batches.append(batch)
    return batches
