"""Training the ranker: LambdaMART (Burges, 2010; LightGBM) over gathered questions, as an ONNX file with its scale."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bench.gather import Floats, Gathered, Judged, reranked
from bench.made import MADE
from bench.report import CannotMeasure
from reverie.recall.features import ALL_GROUPS, NIGHT_GROUPS
from reverie.recall.ranker import INPUT, NAMES_KEY, OF_THE_NIGHT, OFFSET_KEY, SLOPE_KEY

TREES: Final = 300
PARAMETERS: Final[dict[str, Any]] = {
    "objective": "lambdarank",
    "num_leaves": 7,
    "learning_rate": 0.05,
    "min_data_in_leaf": 50,
    "lambdarank_truncation_level": 12,
    "label_gain": [0, 1],
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "verbose": -1,
}
"""Few leaves and many trees: 15 leaves found as much where they were trained and less elsewhere."""

RISING: Final = frozenset(
    name for group in ("semantic", "lexical", "both", "summaries", "rerank") for name in ALL_GROUPS[group]
) | {"near", "named"}  # fmt: skip
"""Features of which more never lowers a score: what a few hundred questions say otherwise is chance."""

FOLDS: Final = 5
FEWEST: Final = 2
"""Conversations: each is weighed by what the others have taught."""


MADE_WEIGHT: Final = 0.3
"""What a question made by program counts beside one that people asked."""

NEWTON_STEPS: Final = 25


@dataclass(frozen=True, slots=True)
class Trained:
    """A ranker: LightGBM's booster, and what makes a probability of its raw score."""

    booster: Any
    slope: float
    offset: float

    def scores(self, one: Gathered) -> Floats:
        """What the service would make of the candidates of a question."""
        return np.asarray(1 / (1 + np.exp(-(self.slope * _raw(self.booster, one) + self.offset))))


def lightgbm() -> Any:
    """The library, which is among the developers' tools.

    Raises:
        CannotMeasure: it is not installed.
    """
    try:
        import lightgbm as library
    except ImportError:
        raise CannotMeasure("Training needs LightGBM: run `scripts/setup --dev` first.") from None
    return library


def train(rows: Sequence[Gathered]) -> Trained:
    """A ranker of all questions, whose scores are probabilities for those that people asked, if there are any."""
    return train_and_hold(rows)[0]


def train_and_hold(rows: Sequence[Gathered]) -> tuple[Trained, list[tuple[Gathered, Floats]]]:
    """:func:`train` and :func:`likely`, which share most of their work."""
    held = _held_out(rows)
    slope, offset = _scale(held)
    return Trained(_fit(rows), slope, offset), _likely(held, slope, offset)


def likely(rows: Sequence[Gathered]) -> list[tuple[Gathered, Floats]]:
    """Every question with the scores of its candidates by a ranker that has not seen its conversation."""
    held = _held_out(rows)
    return _likely(held, *_scale(held))


def _likely(held: Sequence[tuple[Gathered, Floats]], slope: float, offset: float) -> list[tuple[Gathered, Floats]]:
    return [(row, 1 / (1 + np.exp(-(slope * raw + offset)))) for row, raw in held]


def folds(rows: Sequence[Gathered], most: int | None = None) -> Iterator[tuple[list[Gathered], list[Gathered]]]:
    """(the questions of conversations that people had, all others), until all of these were left out once.

    Args:
        rows: the questions.
        most: of folds; each conversation is one of its own, if not given.
    """
    conversations = list(dict.fromkeys(row.question[:2] for row in rows if not row.collection.startswith(MADE)))
    count = min(most or len(conversations), len(conversations))
    for fold in range(count):
        left = set(conversations[fold::count])
        yield (
            [row for row in rows if row.question[:2] in left],
            [row for row in rows if row.question[:2] not in left],
        )


def train_both(rows: Sequence[Gathered], judged: Judged, most: int) -> dict[str, Trained]:
    """The rankers of ``balanced`` and ``thorough``, the latter of what was judged; of the ``night`` where the rows have
    what it says among their features."""
    names = [f"{recipe}{OF_THE_NIGHT if _of_the_night(rows[0]) else ''}" for recipe in ("balanced", "thorough")]
    balanced, held = train_and_hold(rows)
    seen = [reranked(row, scores, judged, most) for row, scores in held if row.question in judged]
    return dict(zip(names, [balanced, *([train(seen)] if seen else [])], strict=False))


def to_onnx(ranker: Trained, names: Sequence[str]) -> bytes:
    """The file that the service reads.

    Raises:
        CannotMeasure: the converter is not installed.
    """
    try:
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType
    except ImportError:
        raise CannotMeasure("Training needs onnxmltools: run `scripts/setup --dev` first.") from None
    shape = [(INPUT, FloatTensorType([None, len(names)]))]
    model = convert_lightgbm(ranker.booster, initial_types=shape, zipmap=False)
    told = {NAMES_KEY: json.dumps(list(names)), SLOPE_KEY: repr(ranker.slope), OFFSET_KEY: repr(ranker.offset)}
    for key, value in told.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return bytes(model.SerializeToString())


def unseen(rows: Sequence[Gathered], count: int = FOLDS) -> dict[tuple[str, str], Trained]:
    """For each conversation a ranker that has not seen it, nor the others of its fold, of ``count``."""
    found = list(_folded(rows, count))
    slope, offset = _scale([(row, _raw(booster, row)) for booster, held in found for row in held])
    return {row.question[:2]: Trained(booster, slope, offset) for booster, held in found for row in held}


def _held_out(rows: Sequence[Gathered]) -> list[tuple[Gathered, Floats]]:
    """Every question with the raw scores of its candidates by trees that have not seen its conversation."""
    return [(row, _raw(booster, row)) for booster, held in _folded(rows) for row in held]


def held_out(rows: Sequence[Gathered], seed: int, count: int | None = FOLDS) -> Iterator[tuple[Gathered, Floats]]:
    """Every question that people asked with the raw scores of its candidates by trees that have not seen its
    conversation.

    Args:
        rows: the questions.
        seed: of the features and questions that each tree is grown of.
        count: of folds, as in :func:`folds`.
    """
    for held, others in folds(rows, count):
        booster = _fit(others, seed)
        yield from ((row, _raw(booster, row)) for row in held)


def _folded(rows: Sequence[Gathered], count: int = FOLDS) -> Iterator[tuple[Any, list[Gathered]]]:
    """(trees that have seen all but some conversations, the questions of these), until all were held out once."""
    conversations = list(dict.fromkeys(row.question[:2] for row in rows))
    if len(conversations) < FEWEST:
        raise CannotMeasure(f"A ranker is learned from at least {FEWEST} conversations: name more of them by --data.")
    for fold in range(min(count, len(conversations))):
        held = set(conversations[fold::count])
        booster = _fit([row for row in rows if row.question[:2] not in held])
        yield booster, [row for row in rows if row.question[:2] in held]


def _raw(booster: Any, row: Gathered) -> Floats:
    return np.asarray(booster.predict(row.features, num_threads=1), dtype=np.float64)


def _fit(rows: Sequence[Gathered], seed: int = 0) -> Any:
    library = lightgbm()
    # A question whose evidence no arm found has no order to learn.
    useful = [row for row in rows if row.evidence.any()]
    data = library.Dataset(
        np.concatenate([row.features for row in useful]),
        np.concatenate([row.evidence for row in useful]).astype(np.int32),
        group=[len(row.evidence) for row in useful],
        weight=np.concatenate([np.full(len(row.evidence), _weight(row)) for row in useful]),
    )
    rising = {"monotone_constraints": [int(name in RISING) for name in rows[0].columns]}
    return library.train(PARAMETERS | rising | {"seed": seed}, data, TREES)


def _of_the_night(row: Gathered) -> bool:
    return set(NIGHT_GROUPS["summaries"]) <= set(row.columns)


def _weight(row: Gathered) -> float:
    return MADE_WEIGHT if row.collection.startswith(MADE) else 1.0


def _scale(held: Sequence[tuple[Gathered, Floats]]) -> tuple[float, float]:
    """The slope and offset that make probabilities of raw scores: logistic regression by Newton's method."""
    asked = [one for one in held if not one[0].collection.startswith(MADE)] or held
    if _of_the_night(held[0][0]):
        # No other questions are put to a ranker of the night.
        asked = [one for one in asked if one[0].told] or asked
    raw = np.concatenate([scores for _, scores in asked])
    evidence = np.concatenate([row.evidence for row, _ in asked]).astype(np.float64)
    design = np.stack([raw, np.ones_like(raw)], axis=1)
    found = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        likely = 1 / (1 + np.exp(-design @ found))
        curvature = design.T @ (design * (likely * (1 - likely))[:, None]) + 1e-6 * np.eye(2)
        found = found + np.linalg.solve(curvature, design.T @ (evidence - likely))
    return float(found[0]), float(found[1])
