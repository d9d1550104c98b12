"""`reverie reembed`: another embedding model for a store that goes on serving."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from reverie.cli.exits import Misused
from reverie.cli.importing import Pace
from reverie.cli.options import example
from reverie.cli.output import console, remark, show
from reverie.cli.progress import TOLD_EVERY
from reverie.cli.store import run_on_store, settings_of_store
from reverie.cli.text import count

if TYPE_CHECKING:
    from reverie.core.config import Settings
    from reverie.memories.model import Model
    from reverie.reembedding.service import Outcome, Progress, ReembeddingService

Tell = Callable[["Progress"], None]
T = TypeVar("T")

PASSES = {
    "filling": "Making the vectors",
    "catching up": "Those of what was written meanwhile",
    "closing": "The last ones",
    "dropping": "Removing vectors",
}
"""What is done in each state, for a person."""


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        epilog=example(
            "reverie reembed --model all-MiniLM-L6-v2",
            "reverie reembed --model /data/app/my-model --dim 512 --precision fp32",
            "reverie reembed --drop-old",
        )
    )(reembed)


def reembed(
    model: Annotated[str | None, typer.Option(help="The new model, as EMBEDDING_MODEL takes it.")] = None,
    dim: Annotated[int | None, typer.Option(min=1, max=4000, help="Components of a vector (EMBEDDING_DIM).")] = None,
    precision: Annotated[
        Literal["fp16", "fp32"] | None, typer.Option(help="How vectors are kept (EMBEDDING_PRECISION).")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--embedding-url", help="The endpoint of the new model (EMBEDDING_URL).")
    ] = None,
    abort: Annotated[bool, typer.Option("--abort", help="Remove what was made, and stay with the old model.")] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Remove the vectors of former models, once nothing serves with them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before vectors are removed.")] = False,
) -> None:
    """Change the embedding model of a store that goes on serving.

    It works on the store of DATABASE_URL, or on the one that `reverie up` runs here. The vectors of the new model are
    made beside the old ones, then the store goes over, then the API and the worker are to be restarted with the
    settings that this prints. What is not said is taken from the settings. Broken off at any moment, the same command
    goes on from there.
    """
    wanted = {
        "embedding_model": model,
        "embedding_dim": dim,
        "embedding_precision": precision,
        "embedding_url": endpoint,
    }
    named = any(value is not None for value in wanted.values())
    if abort + drop_old + named > 1:
        raise Misused(
            "Say one thing: a new model (--model, --dim, --precision, --embedding-url), --abort, or --drop-old."
        )
    settings = settings_of_store("warning", **(wanted if named else {}))
    if abort or drop_old:
        _remove(settings, abort=abort, yes=yes)
    else:
        _change(settings)


def _change(settings: "Settings") -> None:
    began = time.monotonic()
    with _progress() as tell:
        outcome = run_on_store(_filled(settings, tell), "The same command goes on from there; --abort ends the change.")
    for line in _told(settings, outcome, time.monotonic() - began):
        show(line)


async def _filled(settings: "Settings", tell: Tell) -> "Outcome":
    from reverie.core.schema import check
    from reverie.embedding.encoder import Encoder
    from reverie.embedding.priority import giving_way
    from reverie.embedding.registry import build_embedder, model_identity

    await asyncio.to_thread(check, str(settings.database_url))
    # Whoever is served by this machine goes first.
    embedder = await asyncio.to_thread(giving_way, lambda: build_embedder(settings))
    name, dim, precision = await asyncio.to_thread(model_identity, settings, embedder)
    encoder = Encoder(embedder, dim).start()
    try:
        return await _service(settings).run(encoder, name, dim, precision, tell)
    finally:
        await encoder.close()


def _told(settings: "Settings", outcome: "Outcome", seconds: float) -> Iterator[str]:
    """What is to be done next."""
    if outcome.before is None:
        yield f"The store has {outcome.model} already: there is nothing to do."
        return
    refused = f", {count(outcome.refused, 'text')} refused by the model" if outcome.refused else ""
    yield (
        f"The store has gone over from {outcome.before} to {outcome.model}: {count(outcome.made, 'trace')} in "
        f"{seconds:.0f} s{refused}."
    )
    yield f"Now restart the API and the worker with {' '.join(_settings_for(settings, outcome.model))}"
    yield f"They go on with {outcome.before.name} until then. When none is left: reverie reembed --drop-old"


def _settings_for(settings: "Settings", model: "Model") -> Iterator[str]:
    """The settings with which a process serves a model, as one would set them."""
    yield f"EMBEDDING_MODEL={settings.embedding_model}"
    if settings.embedding_dim is not None:
        yield f"EMBEDDING_DIM={model.dim}"
    if settings.embedding_precision != "fp16":
        yield f"EMBEDDING_PRECISION={model.precision}"
    if settings.embedding_url is not None:
        yield "and EMBEDDING_URL as here"


def _remove(settings: "Settings", *, abort: bool, yes: bool) -> None:
    if not yes:
        if not sys.stdin.isatty():
            raise Misused("Nobody is there to be asked: add --yes to remove vectors.")
        what = "what was made for the new model" if abort else "the vectors of former models"
        typer.confirm(f"Remove {what}, for good?", abort=True, err=True)
    again = "The same command goes on from there."
    with _progress() as tell:
        if abort:
            gone = [run_on_store(_removed(settings, lambda service: service.abort(tell)), again)]
        else:
            gone = run_on_store(_removed(settings, lambda service: service.drop_old(tell)), again)
    for model in gone:
        show(f"The vectors of {model} are gone.")


async def _removed(settings: "Settings", remove: "Callable[[ReembeddingService], Coroutine[Any, Any, T]]") -> T:
    from reverie.core.schema import check

    await asyncio.to_thread(check, str(settings.database_url))
    return await remove(_service(settings))


def _service(settings: "Settings") -> "ReembeddingService":
    from reverie.core.database import Database
    from reverie.reembedding.service import ReembeddingService
    from reverie.tiers.service import TierService

    database = Database(settings)
    return ReembeddingService(database, TierService(database, settings.memory_hnsw), settings.heads)


class _Watch:
    """What was last told, and how quickly traces go by."""

    def __init__(self) -> None:
        self.state = ""
        self.waits: str | None = None
        self._pace = Pace(time.monotonic())
        self._first = 0

    def sentence(self, now: "Progress") -> str:
        """A line about it."""
        if now.waits:
            return now.waits
        if now.state != self.state:
            self.state, self._first = now.state, now.traces
            self._pace = Pace(time.monotonic())
        rate = self._pace.rate(time.monotonic(), now.traces - self._first)
        if now.state == "dropping":
            return f"{PASSES[now.state]}: {count(now.made)} gone"
        return f"{PASSES[now.state]}: {count(now.traces)} of {count(now.total, 'trace')}, {rate:.0f}/s"


@contextmanager
def _progress() -> Iterator[Tell]:
    """On a terminal a bar for each pass; elsewhere a line every ten seconds. Both on standard error."""
    watch, last = _Watch(), 0.0
    if not sys.stderr.isatty():

        def tell(now: "Progress") -> None:
            nonlocal last
            line, new = watch.sentence(now), now.waits != watch.waits
            watch.waits = now.waits
            if new or (not now.waits and time.monotonic() - last >= TOLD_EVERY):
                last = time.monotonic()
                remark(f"{line} …", style="dim")

        yield tell
        return
    from rich import progress

    columns = (
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.description}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console(stderr=True), transient=True) as bars:
        task = bars.add_task("Loading the model", total=None)

        def draw(now: "Progress") -> None:
            begins = now.state != watch.state and not now.waits
            line = watch.sentence(now)
            if begins:
                bars.reset(task)
            if now.waits:
                bars.update(task, description=line)
            else:
                bars.update(task, completed=now.traces, total=max(now.total, now.traces), description=line)

        yield draw
