"""How much a trace matters at a moment: its salience, strengthened by recalls, weakened by the time since the last.

It is computed when it is read, so nothing rewrites rows for it. Time counts from the last recall or change, and else
from ``created_at``: the past that is imported today is news. A half-life is of a kind, and a user may set others; what
is pinned never weakens.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from reverie.core.queries import Queries

HALF_LIVES: Final[Mapping[str, float]] = MappingProxyType({"turn": 180, "note": 365, "fact": 730, "summary": 365})
"""Days after which half is left. Other kinds do not fade: nobody says when a document is out of date, and an entity
lives as long as it is mentioned."""

HALFWAY: Final = 10
"""After so many recalls a trace is halfway from its own salience to 1."""

FADED: Final = 64
"""After so many half-lives nothing is left that could be told from nothing."""


Column: TypeAlias = npt.NDArray[np.float64]


def effective(salience: Column, half_lives: Column, days: Column, recalls: Column) -> Column:
    """The effective salience of traces, each from 0 to 1.

    Args:
        salience: their own.
        half_lives: in days; infinite for what does not weaken: what is pinned, and kinds that do not fade.
        days: since the last recall or change, or since it was remembered.
        recalls: how often.
    """
    strengthened = salience + (1 - salience) * recalls / (recalls + HALFWAY)
    return np.asarray(strengthened * 0.5 ** np.minimum(FADED, np.maximum(0.0, days) / half_lives))


def full_hour(now: datetime) -> datetime:
    """The end of the hour: for everything that is asked within it, so that equal questions have equal answers."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _default() -> str:
    cases = " ".join(f"WHEN '{kind}' THEN {days}" for kind, days in HALF_LIVES.items())
    return f"CASE t.kind {cases} END"


_SQL: Final = Queries("reverie.memories", "strength.sql")
_STRENGTH: Final = MappingProxyType(
    {
        "recalled": _SQL.text("recalled").decode(),
        "effective": _SQL.text("effective", halfway=HALFWAY, faded=FADED, half_life=_default()).decode(),
    }
)

PARTS: Final = MappingProxyType({"moment": _SQL.text("moment").decode(), **_STRENGTH})
"""The same in SQL: ``{effective}``, ``{recalled}`` and ``{moment}`` of queries that have the row of a trace as ``t``.

``{moment}`` is one more row source, which takes two parameters: the moment, and the ids of the users.
"""


def parts_at(moment: datetime) -> dict[str, str]:
    """As :data:`PARTS`, of the users of the rows; there ``{moment}`` stands behind ``t``, and takes no parameters."""
    return {"moment": _SQL.text("each_moment", at=moment.isoformat()).decode(), **_STRENGTH}
