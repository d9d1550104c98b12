"""What a run over the tiers is made of, in its order: first what a kill has left, last what takes longest."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from reverie.cold.service import ColdService
from reverie.core.config import Settings
from reverie.tiers import downshift, export, moving, repository, thaw
from reverie.tiers.downshift import Downshifter
from reverie.tiers.export import Exporter
from reverie.tiers.runs import Run, Step, Trouble
from reverie.tiers.thaw import Cooler

FILES: Final = "files"

CHECKED: Final = 2000
"""Files at which a run looks."""


def steps_of(settings: Settings, cold: ColdService) -> Sequence[Step]:
    """The steps of a run over the store of these settings."""
    exporter = Exporter(cold, settings.memory_warm_days)
    house = _House(cold)
    downshifter = Downshifter(settings.memory_hot_days, settings.memory_low_salience)
    return (
        Step("tables", house.sweep, always=True),
        Step("unfinished", exporter.finish, always=True),
        Step(FILES, house.purge, always=True),
        Step("check", house.check, always=True),
        Step(thaw.STEP, Cooler(cold).step, always=True),
        Step(downshift.STEP, downshifter.step),
        Step(export.STEP, exporter.step),
        # Again, or what was forgotten or changed while its file was made would stand in it until the next run.
        Step(FILES, house.purge, always=True),
    )


class _House:
    """Steps that are short."""

    def __init__(self, cold: ColdService) -> None:
        self._cold = cold

    async def sweep(self, run: Run) -> None:
        """Tables that a move which was killed has left."""
        gone = await moving.sweep(run.database)
        if gone:
            run.did("tables", dropped=len(gone))

    async def purge(self, run: Run) -> None:
        """Files without what was forgotten or changed, and objects that nothing names."""
        done = await self._cold.purge(run.connection, stop=partial(repository.paused, run.connection))
        if done.rewritten or done.dropped or done.deleted:
            run.did(FILES, rewritten=done.rewritten, dropped=done.dropped, traces=done.traces, deleted=done.deleted)
        troubles = list(done.unreached)
        if done.broken:
            # Without their paths, which name spaces: everybody's status shows this.
            troubles.append(f"Files of cold memory that are missing or damaged and not rewritten: {len(done.broken)}.")
        if troubles:
            raise Trouble(troubles)

    async def check(self, run: Run) -> None:
        """Whether files are there, whole as far as their ends tell: some in each run, those first that wait longest."""
        stop = partial(repository.paused, run.connection)
        found = await self._cold.check(run.connection, most=CHECKED, stop=stop)
        if found.damaged:
            run.did("check", files=found.segments, damaged=len(found.damaged))
