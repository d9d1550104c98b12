"""The learned ranker: gradient-boosted trees (LambdaMART; Burges, 2010) as an ONNX tree ensemble.

`bench/train` makes the file. Its metadata name the features in the order of the columns and the two numbers that turn
its raw score into a probability (Platt, 1999), so that scores can be compared between questions.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reverie.core.config import Settings
from reverie.core.errors import SettingsError
from reverie.recall import features

CARRIED: Final = Path(__file__).parent / "rankers"
"""The rankers that come with Reverie."""

NONE: Final = "none"
"""In place of a folder: candidates are weighed by fixed weights."""

INPUT: Final = "features"
NAMES_KEY, SLOPE_KEY, OFFSET_KEY = "names", "slope", "offset"
"""The metadata of a ranker's file."""


OF_THE_NIGHT: Final = "-night"
"""Behind the name of a recipe: its ranker for users of whose memory nights have made something."""

MADE_FOR: Final = {
    "balanced": features.NAMES,
    "thorough": features.RERANK_NAMES,
    f"balanced{OF_THE_NIGHT}": features.NIGHT_NAMES,
    f"thorough{OF_THE_NIGHT}": features.NIGHT_RERANK_NAMES,
}
"""The rankers and their features, by their recipes."""

OPTIONAL: Final = MADE_FOR.keys() - {"balanced"}
"""Without its file the recipe weighs what the reranker says by fixed weights; what nights have made says nothing."""


class Ranker:
    """A ranker in memory. :meth:`scores` takes well under a millisecond for a hundred candidates."""

    def __init__(self, session: Any, names: tuple[str, ...], slope: float, offset: float):
        self._session = session
        self.names = names
        self._slope = slope
        self._offset = offset

    def scores(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The probability that each row answers the question: ``[n]``, each from 0 to 1.

        ``features`` is float32 ``[n, len(names)]``.
        """
        raw = self._session.run(None, {INPUT: features})[0].reshape(-1).astype(np.float64)
        return np.asarray(1 / (1 + np.exp(-(self._slope * raw + self._offset))))


def load_rankers(settings: Settings) -> dict[str, Ranker]:
    """The rankers that the settings name, by the recipes that have one.

    Raises:
        SettingsError: a file cannot be read, or was made for other features.
    """
    if settings.memory_ranker == NONE:
        return {}
    folder = CARRIED if settings.memory_ranker is None else Path(settings.memory_ranker).expanduser()
    files = {name: folder / f"{name}.onnx" for name in MADE_FOR}
    return {
        name: load_ranker(path, MADE_FOR[name]) for name, path in files.items() if name not in OPTIONAL or path.exists()
    }


def load_ranker(path: Path, names: Sequence[str]) -> Ranker:
    """The ranker of a file, if it was made for the features ``names``.

    Raises:
        SettingsError: the file cannot be read, or was made for others.
    """
    # Not at import: it takes a second.
    from reverie.embedding.silent_ort import ort

    options = ort.SessionOptions()
    # A hundred rows are too few to be worth a second thread, and one that spins takes a core from the encoder.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        told = session.get_modelmeta().custom_metadata_map
        made_for = tuple(json.loads(told[NAMES_KEY]))
        slope, offset = float(told[SLOPE_KEY]), float(told[OFFSET_KEY])
    except OSError as error:
        raise SettingsError(f"MEMORY_RANKER: {path} cannot be read ({error.strerror}).") from None
    except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own, which are not exported
        raise SettingsError(
            f"MEMORY_RANKER: {path} is no ranker made by `bench/train` ({type(error).__name__})."
        ) from None
    if made_for != tuple(names):
        raise SettingsError(
            f"MEMORY_RANKER: {path} was made for other features than this version has; make it anew by `bench/train`."
        )
    return Ranker(session, made_for, slope, offset)


def shares(ranker: Ranker, rows: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float64]]:
    """What makes the scores of candidates, by group of features; the sum is the score.

    ``baseline`` is the score of the average candidate of the question; then the groups become, one after the other,
    what they are for the candidate, and each is told by how much the score changed.
    """
    seen = np.repeat(rows.mean(axis=0, keepdims=True), len(rows), axis=0)
    before = ranker.scores(seen)
    found = {"baseline": before}
    for group, names in features.ALL_GROUPS.items():
        at = [ranker.names.index(name) for name in names if name in ranker.names]
        if not at:
            continue
        seen[:, at] = rows[:, at]
        after = ranker.scores(seen)
        found[group], before = after - before, after
    return found
