"""`reverie import`: a file of traces or chat messages, in batches."""

import gzip
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from reverie.cli.client import Client, connect
from reverie.cli.exits import Failure, Interrupted, Misused, Nothing, Refused, Unavailable
from reverie.cli.lines import Fault, Item, Passed, read
from reverie.cli.options import AsJson, Key, Profile, Url, example
from reverie.cli.output import console, remark, show, show_json
from reverie.cli.progress import REFRESH, TOLD_EVERY, every
from reverie.cli.text import count

TEXTS = 100
"""Traces of a batch that the service encodes before it answers."""

UNENCODED = 1000
"""Traces of a batch that need no encoding: they bring their embedding, or are known already."""

BATCH_BYTES = 2 * 1024 * 1024
"""JSON of a batch of texts; one that needs no encoding may have eight times as much."""

HELD = 5000
"""Traces that wait for their batch to fill, over all users of a file."""

PERSISTENCE = 120.0
"""Seconds for which a service that is away, or busy, is asked again."""

WINDOW = 10.0
"""Seconds over which the pace is taken."""

GZIP = b"\x1f\x8b"
"""How a file begins that is packed (RFC 1952)."""

LISTED = 20
"""Rejected lines that are shown; --json lists all."""

ALONE = "None of the traces was accepted: "
"""How the service begins its refusal of a single trace."""

Advance = Callable[[int], None]
"""Takes how many bytes of the file were read so far."""


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

    @property
    def done(self) -> int:
        """Traces that the service has answered for."""
        return self.stored + self.duplicate

    def sentence(self) -> str:
        """The same on one line."""
        parts = [f"{self.stored} stored", f"{self.duplicate} known already", f"{len(self.rejected)} rejected"]
        return ", ".join([*parts, *([f"{self.passed} without text passed over"] if self.passed else [])])


class Batches:
    """Gathers traces by user and sends them; every user's stay in the order of the file.

    Once a user's batch was known already as a whole, the next ones are larger: an import that goes on where it was
    broken off soon passes what is there.
    """

    def __init__(self, client: Client, tally: Tally) -> None:
        self._client = client
        self._tally = tally
        self._waiting: dict[str, list[Item]] = {}
        self._known: set[str] = set()
        self._held = 0

    def add(self, item: Item) -> None:
        """Takes a trace, and sends its user's when they are enough for a batch."""
        batch = self._waiting.setdefault(item.user, [])
        brings = "embedding" in item.trace
        unencoded = brings or item.user in self._known
        most_bytes = BATCH_BYTES * (8 if unencoded else 1)
        if batch and (("embedding" in batch[0].trace) != brings or _bytes(batch) + item.size > most_bytes):
            self._send(item.user)
            batch = self._waiting.setdefault(item.user, [])
        batch.append(item)
        self._held += 1
        if len(batch) >= (UNENCODED if unencoded else TEXTS):
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
        if all(made["status"] == "duplicate" for made in answer["traces"]):
            self._known.add(user)
        else:
            self._known.discard(user)
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


class Source:
    """The lines of a file, packed by gzip or not; ``fault`` says why it could not be read to its end."""

    def __init__(self, name: str, raw: BinaryIO, size: int | None, *, packed: bool) -> None:
        self.size = size
        self.fault: str | None = None
        self._name = name
        self._raw = raw
        self._packed = packed

    def lines(self, advance: Advance) -> Iterator[bytes]:
        """Each line, after saying how far it is."""
        number = read = 0
        try:
            for line in gzip.GzipFile(fileobj=self._raw) if self._packed else self._raw:
                read += len(line)
                number += 1
                advance(self._raw.tell() if self._packed else read)
                yield line
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error).rstrip(".")
            self.fault = f"{self._name} cannot be read beyond line {number} ({reason})."


class Pace:
    """How many traces a second, over the last WINDOW seconds or since it was last asked, whichever is longer."""

    def __init__(self, began: float) -> None:
        self._seen = deque([(began, 0)])

    def rate(self, now: float, done: int) -> float:
        """Traces a second, given the time and how many are done."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()
        then, before = self._seen[0]
        return (done - before) / (now - then) if now > then else 0.0


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        "import",
        epilog=example(
            "reverie import chat.jsonl --user ann",
            "reverie import everything.jsonl.gz --strict --profile work",
            'echo \'{"role": "user", "content": "Hello"}\' | reverie import - --user ann --conversation c1',
        ),
    )(import_file)


def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="The file, also packed; `-` is standard input.")],
    user: Annotated[str | None, typer.Option("--user", "-u", help="Whose memory, where a line has no user_id.")] = None,
    conversation: Annotated[
        str | None, typer.Option(help="Which conversation, where a line has no conversation_id.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first line that is rejected.")] = False,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Remember a file of traces or chat messages.

    The file holds one JSON object a line: a trace as the API takes it, a chat message with role and content, or a
    conversation {"messages": […]}; or it is what `reverie export` wrote. It may be packed by gzip.

    An import that was broken off, by Ctrl-C, by a kill or by a service that stayed away, goes on with the same
    command and stores nothing twice: the store itself knows what is there, and nothing is kept beside it. A line
    that names neither external_id nor occurred_at is known by all lines up to it, so a file may grow between two
    imports; lines changed further up make those below them new. What was forgotten meanwhile is refused.

    Lines that are rejected are listed with their numbers, and the others are stored; the exit code is then 3.
    Correct them in a file of their own. With --strict nothing is read after the first of them.
    """
    tally, began = Tally(), time.monotonic()
    with connect(url, key, profile, persistence=PERSISTENCE, told=remark) as client, _opened(file) as source:
        batches = Batches(client, tally)
        try:
            with _progress(source, tally) as advance:
                for found in read(source.lines(advance), user, conversation):
                    if isinstance(found, Item):
                        batches.add(found)
                    elif isinstance(found, Passed):
                        tally.passed += 1
                    else:
                        tally.rejected.append(found)
                    if strict and tally.rejected:
                        break
                batches.flush()
        except KeyboardInterrupt:
            raise Interrupted(f"Interrupted. {_so_far(tally)}") from None
        except Unavailable as away:
            raise Unavailable(f"{away} {_so_far(tally)}") from None
        except Failure as failure:
            raise type(failure)(f"{failure} So far {tally.sentence()}.") from None
    tally.rejected.sort(key=lambda fault: fault.line)
    if as_json:
        show_json(tally.document())
    else:
        _tell(tally, time.monotonic() - began)
    if source.fault:
        raise Misused(source.fault)
    if tally.rejected:
        end = "; nothing was read after the first" if strict else ""
        raise Nothing(f"{count(len(tally.rejected), 'trace was', 'traces were')} rejected{end}.")
    if not tally.done:
        raise Nothing(f"There is nothing to remember in {file}.")


def _so_far(tally: Tally) -> str:
    return f"So far {tally.sentence()}; the same command goes on from there."


def _tell(tally: Tally, seconds: float) -> None:
    figures = {
        "stored": count(tally.stored),
        "known already": count(tally.duplicate),
        "rejected": count(len(tally.rejected)),
        "without text": count(tally.passed),
        "seconds": f"{seconds:.1f}",
        "traces a second": count(round(tally.done / seconds)),
    }
    show(*(f"{name:<15} {figure:>11}" for name, figure in figures.items()))
    if tally.pending:
        show(f"{count(tally.pending, 'vector')} follow in the background (reverie operation {tally.operations[-1]}).")
    remark(*(f"line {fault.line}: {fault.reason}" for fault in tally.rejected[:LISTED]))
    if len(tally.rejected) > LISTED:
        remark(f"… and {len(tally.rejected) - LISTED} more; --json lists all.")


@contextmanager
def _opened(file: str) -> Iterator[Source]:
    if file == "-":
        yield Source("Standard input", sys.stdin.buffer, None, packed=False)
        return
    try:
        raw = Path(file).open("rb")  # noqa: SIM115 - closed below
        # A folder can be opened on some systems; what fails is the first read.
        begins = raw.peek(2)
    except OSError as error:
        raise Misused(
            f"{file} cannot be read ({error.strerror}): name a file of your own, or - for standard input."
        ) from None
    with raw:
        size = Path(file).stat().st_size
        yield Source(file, raw, size or None, packed=begins.startswith(GZIP))


@contextmanager
def _progress(source: Source, tally: Tally) -> Iterator[Advance]:
    """On a terminal a bar over the bytes of the file; elsewhere a line every ten seconds. Both on standard error."""
    pace = Pace(time.monotonic())
    if not sys.stderr.isatty():

        def tell(read: int) -> None:
            share = f", {100 * read / source.size:.0f} % read" if source.size else ""
            remark(f"{_paced(tally, pace)}{share} …", style="dim")

        yield every(TOLD_EVERY, tell)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(tally.sentence(), total=source.size)

        def draw(read: int) -> None:
            bar.update(task, completed=read, description=_paced(tally, pace))

        draw(0)
        yield every(REFRESH, draw)


def _paced(tally: Tally, pace: Pace) -> str:
    return f"{tally.sentence()}, {pace.rate(time.monotonic(), tally.done):.0f}/s"


def _bytes(batch: list[Item]) -> int:
    return sum(item.size for item in batch)
