"""What makes numbers of different questions comparable. Pure."""

import math
from typing import Final

import numpy as np

from reverie.recall.traits import Column

RANKS: Final = 10
"""The rank at which a reciprocal rank is one half: 1 / (1 + rank / RANKS)."""


def mean(values: Column) -> float:
    """The mean; of nothing 0."""
    return float(values.sum()) / len(values) if len(values) else 0.0


def standardised(values: Column, among: Column) -> Column:
    """How many standard deviations each value lies above the mean of ``among``."""
    if not len(among):
        return values
    middle = mean(among)
    off = among - middle
    return (values - middle) / (math.sqrt(float(off @ off) / len(among)) + 1e-9)


def rank(values: Column, halfway: int = RANKS) -> Column:
    """1 for the greatest value, one half where ``halfway`` are greater; equal values have equal ranks."""
    greater = np.searchsorted(np.sort(-values), -values, side="left")
    return np.asarray(1 / (1 + greater / halfway))
