"""A night in a process of its own that is killed at a place: ``python -m tests.dream.killed PLACE DATABASE HOME``.

A place is a function and how often it was entered or left when the process dies.
"""

import asyncio
import sys
from typing import Any

from tests.dream.days import NIGHT
from tests.tiers.killed import deadly

from reverie.core.config import load_settings
from reverie.dream import extract, repository, runs, summarise, supersede
from reverie.dream.extract import Extracting
from reverie.dream.link import Linking
from reverie.dream.salience import Weighing
from reverie.dream.summarise import Summarising
from reverie.dream.supersede import Superseding
from reverie.dream.tiers import Pruning, Tiering
from reverie.memories import derived, deriving, entities
from reverie.runtime import open_dreams

PLACES: dict[str, tuple[Any, str]] = {
    "begin": (repository, "begin"),
    "read": (runs._Run, "_read"),
    "day": (repository, "begin_day"),
    "summarise": (Summarising, "prepare"),
    "summaries": (summarise, "settle_day"),
    "extract": (Extracting, "prepare"),
    "entities": (extract, "_write"),
    "names": (entities, "find_before"),
    "founding": (entities, "make"),
    "mentions": (entities, "mention"),
    "triples": (entities, "state"),
    "settling": (entities, "settle"),
    "link": (Linking, "prepare"),
    "supersede": (Superseding, "prepare"),
    "statements": (supersede, "told_in"),
    "updates": (supersede, "edges_of"),
    "outdated": (derived, "note_changed"),
    "salience": (Weighing, "prepare"),
    "edges": (deriving, "write_edges"),
    "checkpoint": (repository, "checkpoint"),
    "write": (runs._Run, "_write"),
    "end_day": (runs._Run, "_end_day"),
    "through": (runs._Run, "_through"),
    "tiers": (Tiering, "run"),
    "prune": (Pruning, "run"),
    "end": (repository, "end"),
}


async def main(place: str, url: str, home: str) -> None:
    """A night."""
    name, when, times = place.split(":")
    deadly(*PLACES[name], after=when == "after", times=int(times))
    async with open_dreams(load_settings(database_url=url, reverie_home=home, database_pool_size=2)) as dreams:
        await dreams.run(as_of=NIGHT)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3]))
