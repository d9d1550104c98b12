"""`reverie import`: a file of traces or chat messages, in batches."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from reverie.cli.client import Client, connect
from reverie.cli.exits import Failure, Misused, Nothing, Refused
from reverie.cli.lines import Fault, Item, Passed, read
from reverie.cli.options import AsJson, Key, Url, example
from reverie.cli.output import console, remark, show, show_json
from reverie.cli.text import count

TEXTS = 100
"""Traces of a batch that the service encodes before it answers."""

VECTORS = 1000
"""Traces of a batch that all bring their embedding."""

BATCH_BYTES = 2 * 1024 * 1024
"""JSON of a batch of texts; one with embeddings may have eight times as much."""

HELD = 5000
"""Traces that wait for their batch to fill, over all users of a file."""

LISTED = 20
"""Rejected lines that are shown; --json lists all."""

ALONE = "None of the traces was accepted: "
"""How the service begins its refusal of a single trace."""

Advance = Callable[[int], None]


@dataclass
class Tally:
    """What became of a file so far."""

    stored: int = 0
    duplicate: int = 0
    passed: int = 0
    pending: int = 0
    rejected: list[Fault] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "stored": self.stored,
            "duplicate": self.duplicate,
            "rejected": len(self.rejected),
            "without_text": self.passed,
            "vectors_pending": self.pending,
            "operations": self.operations,
            "rejections": [{"line": fault.line, "error": fault.reason} for fault in self.rejected],
        }

    def sentence(self) -> str:
        """The same for people."""
        parts = [f"{self.stored} stored", f"{self.duplicate} known already", f"{len(self.rejected)} rejected"]
        return ", ".join([*parts, *([f"{self.passed} without text passed over"] if self.passed else [])])


class Batches:
    """Gathers traces by user and sends them; every user's stay in the order of the file."""

    def __init__(self, client: Client, tally: Tally) -> None:
        self._client = client
        self._tally = tally
        self._waiting: dict[str, list[Item]] = {}
        self._held = 0

    def add(self, item: Item) -> None:
        """Takes a trace, and sends its user's when they are enough for a batch."""
        batch = self._waiting.setdefault(item.user, [])
        brings = "embedding" in item.trace
        if batch and (("embedding" in batch[0].trace) != brings or _bytes(batch) + item.size > _most_bytes(brings)):
            self._send(item.user)
            batch = self._waiting.setdefault(item.user, [])
        batch.append(item)
        self._held += 1
        if len(batch) >= (VECTORS if brings else TEXTS):
            self._send(item.user)
        elif self._held >= HELD:
            self.flush()

    def flush(self) -> None:
        """Sends all that waits."""
        for user in list(self._waiting):
            self._send(user)

    def _send(self, user: str) -> None:
        batch = self._waiting.pop(user, [])
        self._held -= len(batch)
        self._remember(user, batch)

    def _remember(self, user: str, batch: list[Item]) -> None:
        try:
            answer = self._client.post("/memory/remember", {"user_id": user, "traces": [item.trace for item in batch]})
        except Refused as refused:
            self._refused(user, batch, refused)
            return
        if answer["operation_id"]:
            self._tally.operations.append(answer["operation_id"])
        for item, made in zip(batch, answer["traces"], strict=True):
            match made["status"]:
                case "stored":
                    self._tally.stored += 1
                    self._tally.pending += made["vectors"] == "pending"
                case "duplicate":
                    self._tally.duplicate += 1
                case _:
                    self._tally.rejected.append(Fault(item.line, made["error"]))

    def _refused(self, user: str, batch: list[Item], refused: Refused) -> None:
        """Finds out why each trace was refused: a batch with nothing acceptable in it is refused as a whole."""
        if refused.status not in (400, 413, 422):
            raise refused
        if len(batch) == 1 or (refused.field or "").startswith("user_id"):
            reason = str(refused).removeprefix(ALONE)
            self._tally.rejected.extend(Fault(item.line, reason) for item in batch)
            return
        for item in batch:
            self._remember(user, [item])


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        "import",
        epilog=example(
            "reverie import chat.jsonl --user ann",
            'echo \'{"role": "user", "content": "Hello"}\' | reverie import - --user ann --conversation c1',
        ),
    )(import_file)


def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="The file; `-` is standard input.")],
    user: Annotated[str | None, typer.Option("--user", "-u", help="Whose memory, where a line has no user_id.")] = None,
    conversation: Annotated[
        str | None, typer.Option(help="Which conversation, where a line has no conversation_id.")
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Remember a file of traces or chat messages.

    The file holds one JSON object a line: a trace as the API takes it, a chat message with role and content, or a
    conversation {"messages": […]}. Importing a file again, also one that has grown, doubles nothing; an import that
    broke off goes on in that way.
    """
    tally = Tally()
    with connect(url, key) as client, _opened(file) as source:
        batches = Batches(client, tally)
        try:
            with _progress(source, tally) as advance:
                for found in read(_counted(source, advance), user, conversation):
                    if isinstance(found, Item):
                        batches.add(found)
                    elif isinstance(found, Passed):
                        tally.passed += 1
                    else:
                        tally.rejected.append(found)
                batches.flush()
        except Failure as failure:
            raise type(failure)(f"{failure} So far {tally.sentence()}; the same command goes on from there.") from None
    tally.rejected.sort(key=lambda fault: fault.line)
    if as_json:
        show_json(tally.document())
    else:
        _tell(tally)
    if tally.rejected:
        raise Nothing(f"{count(len(tally.rejected), 'trace was', 'traces were')} rejected.")
    if not tally.stored and not tally.duplicate:
        raise Nothing(f"There is nothing to remember in {file}.")


def _tell(tally: Tally) -> None:
    show(tally.sentence() + ".")
    if tally.pending:
        show(f"{count(tally.pending, 'vector')} follow in the background (reverie operation {tally.operations[-1]}).")
    remark(*(f"line {fault.line}: {fault.reason}" for fault in tally.rejected[:LISTED]))
    if len(tally.rejected) > LISTED:
        remark(f"… and {len(tally.rejected) - LISTED} more; --json lists all.")


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        source = Path(file).open("rb")  # noqa: SIM115 - closed below
        # A folder can be opened on some systems; what fails is the first read.
        source.peek(1)
    except OSError as error:
        raise Misused(f"{file} cannot be read ({error.strerror}).") from None
    with source:
        yield source


def _counted(source: BinaryIO, advance: Advance) -> Iterator[bytes]:
    for line in source:
        advance(len(line))
        yield line


@contextmanager
def _progress(source: BinaryIO, tally: Tally) -> Iterator[Advance]:
    """On a terminal a bar over the bytes of the file; elsewhere a line every ten seconds. Both on standard error."""
    if not sys.stderr.isatty():
        yield _told_now_and_then(tally)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    size = Path(source.name).stat().st_size if source is not sys.stdin.buffer else None
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=size)

        def advance(amount: int) -> None:
            bar.update(task, advance=amount, description=tally.sentence())

        yield advance


def _told_now_and_then(tally: Tally) -> Advance:
    last = time.monotonic()

    def advance(_amount: int) -> None:
        nonlocal last
        if time.monotonic() - last > 10:
            last = time.monotonic()
            remark(f"{tally.sentence()} …", style="dim")

    return advance


def _bytes(batch: list[Item]) -> int:
    return sum(item.size for item in batch)


def _most_bytes(brings_embedding: bool) -> int:
    return BATCH_BYTES * (8 if brings_embedding else 1)
