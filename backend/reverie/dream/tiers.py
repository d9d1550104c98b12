"""The last stages of a night: going through the tiers, and forgetting what the rules of each space take."""

import time
from collections.abc import Callable, Sequence
from uuid import UUID

from reverie.core.errors import Conflict
from reverie.dream.protocol import Did, Night
from reverie.retention.pruning import Pruner
from reverie.tiers.runs import Progress, TierRuns, Trouble


class Tiering:
    """The stage ``tiers``: hot to warm to cold, as far as that is due. Its counts are those of the whole store."""

    name = "tiers"

    def __init__(self, runs: TierRuns) -> None:
        self._runs = runs

    async def run(self, night: Night, spaces: Sequence[UUID], tell: Callable[[str, int], None]) -> dict[UUID, Did]:
        def told(progress: Progress) -> None:
            tell(f"{progress.step}, {progress.what}", progress.done)

        try:
            outcome = await self._runs.run(night.as_of, told, max(0.0, night.until - time.monotonic()))
        except Conflict:
            did = Did()
            did.skipped["paused, or gone through by another"] = 1
            return dict.fromkeys(spaces, did)
        if outcome.errors:
            raise Trouble(list(outcome.errors.values()))
        did = Did()
        for amounts in outcome.report.values():
            did.moved += int(amounts.get("exported", amounts.get("traces", 0)))
            did.bytes += int(amounts.get("bytes_after", 0)) + int(amounts.get("file_bytes", 0))
        return dict.fromkeys(spaces, did)


class Pruning:
    """The stage ``prune``."""

    name = "prune"

    def __init__(self, pruner: Pruner) -> None:
        self._pruner = pruner

    async def run(self, night: Night, spaces: Sequence[UUID], tell: Callable[[str, int], None]) -> dict[UUID, Did]:  # noqa: ARG002
        gone = await self._pruner.prune_spaces(spaces)
        if gone is None:
            did = Did()
            did.skipped["another prunes"] = 1
            return dict.fromkeys(spaces, did)
        return {space_id: Did(removed=count) for space_id, count in gone.items()}
