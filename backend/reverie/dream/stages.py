"""The stages of a night, in their order. How one is written: :mod:`reverie.dream.protocol`."""

from collections.abc import Sequence
from dataclasses import dataclass

from reverie.core.config import Settings
from reverie.dream.extract import Extracting
from reverie.dream.extractors import extractor_of
from reverie.dream.group import Grouping
from reverie.dream.link import Linking
from reverie.dream.protocol import DayStage, StoreStage
from reverie.dream.salience import Weighing
from reverie.dream.summarise import Summarising
from reverie.dream.supersede import Superseding
from reverie.dream.tiers import Pruning, Tiering
from reverie.retention.pruning import Pruner
from reverie.tiers.runs import TierRuns


@dataclass(frozen=True, slots=True)
class Stages:
    """Those of each day, and then those of the store."""

    days: Sequence[DayStage]
    store: Sequence[StoreStage]

    @property
    def names(self) -> list[str]:
        return [stage.name for stage in self.days] + [stage.name for stage in self.store]


def stages_of(settings: Settings, tiers: TierRuns, pruner: Pruner) -> Stages:
    """All stages of a night."""
    return Stages(day_stages(settings), [Tiering(tiers), Pruning(pruner)])


def day_stages(settings: Settings) -> list[DayStage]:
    """The stages of a day; each finds what those before it have written."""
    return [
        Grouping(),
        Summarising(),
        Extracting(extractor_of(settings.dream_extractor)),
        Linking(),
        Superseding(),
        Weighing(),
    ]
