"""`reverie export`: everything that is held about a user, as a file."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

import orjson
import typer

from reverie.cli.client import Broken, connect
from reverie.cli.exits import Interrupted, Misused, Nothing, Unavailable
from reverie.cli.options import AsJson, Key, Profile, Url, User, example
from reverie.cli.output import console, remark, show, show_json
from reverie.cli.progress import REFRESH, TOLD_EVERY, every
from reverie.cli.status import size
from reverie.cli.text import count

INCOMPLETE = "The export is not whole"

Advance = Callable[[], None]


@dataclass
class Tally:
    """What has come so far: lines by record, bytes, how many traces the user has, and the last line."""

    counts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    traces: int | None = None
    end: dict[str, Any] | None = None

    def sentence(self) -> str:
        """The same on one line."""
        return f"{count(self.counts['trace'], 'trace')}, {count(self.counts['edge'], 'link')}, {size(self.bytes)}"


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        epilog=example("reverie export --user ann --output ann.jsonl", "reverie export --user ann | gzip > ann.gz")
    )(export)


def export(
    user: User,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; `-` is standard output.")
    ] = "-",
    vectors: Annotated[bool, typer.Option("--vectors", help="Also the vectors of the traces.")] = False,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Write down everything that is held about a user.

    A JSON object a line: the traces with their text, the links between them, receipts, and work that was accepted.
    `reverie import` reads it back, into this service or another. It needs an admin key.

    A file is there only when it is whole, and takes the place of one of the same name. On standard output an export is
    whole if its last line has the record "end"; the exit code says so too.
    """
    if as_json and output == "-":
        raise Misused("--json sums up an export to a file: name one with --output.")
    tally = Tally()
    # Also a dot is quoted: a user may be called "..".
    path = f"/memory/users/{quote(user, safe='').replace('.', '%2E')}/export"
    with connect(url, key, profile) as client, _written(output) as out:
        try:
            with client.lines(path, {"vectors": "true"} if vectors else None) as lines, _progress(tally) as advance:
                _take(lines, out, tally, advance)
        except KeyboardInterrupt:
            raise Interrupted(f"Interrupted. {INCOMPLETE}: {tally.sentence()} had come.") from None
        except Broken as broken:
            raise Unavailable(f"{INCOMPLETE}: {broken}") from None
        end = _end(tally)
    if as_json:
        show_json({"user_id": user, "bytes": tally.bytes, **end})
    else:
        told = f"{tally.sentence()} of {user}"
        if output == "-":
            remark(told, style="dim")
        else:
            show(f"{told} in {output}")
    if end["unreadable"]:
        raise Nothing(
            f"The text of {count(end['unreadable'], 'trace')} could not be read from object storage: "
            "`reverie tiers status` says why."
        )


def _take(lines: Iterable[bytes], out: BinaryIO, tally: Tally, advance: Advance) -> None:
    for line in lines:
        out.write(line)
        tally.bytes += len(line)
        # The beginning says what a line is; most of them need not be read.
        record = line[len(b'{"record":"') : 32].partition(b'"')[0].decode("ascii", "replace")
        if record == "user":
            tally.traces = orjson.loads(line)["traces"]
        elif record == "fault":
            raise Unavailable(f"{INCOMPLETE}: {orjson.loads(line)['detail']}")
        if record == "end" and line.endswith(b"\n"):
            tally.end = orjson.loads(line)
        elif record != "export":
            tally.counts[record] += 1
        advance()


def _end(tally: Tally) -> dict[str, Any]:
    """The last line; all of what it counts has come."""
    if tally.end is None:
        raise Unavailable(f"{INCOMPLETE}: it ended after {tally.sentence()}. Try again.")
    if tally.end["counts"] != dict(tally.counts):
        raise Unavailable(f"{INCOMPLETE}: its last line counts other lines than had come. Try again.")
    return tally.end


@contextmanager
def _written(output: str) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well, readable by its owner alone; or standard output."""
    if output == "-":
        yield sys.stdout.buffer
        return
    part = Path(f"{output}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise Misused(f"{part} cannot be written ({error.strerror}): name another file with --output.") from None
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(output)
    except OSError as error:
        raise Misused(f"{output} cannot be written ({error.strerror}): make room, or name another file.") from None
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def _progress(tally: Tally) -> Iterator[Advance]:
    """On a terminal a bar over the traces; elsewhere a line every ten seconds. Both on standard error."""
    if not sys.stderr.isatty():
        yield every(TOLD_EVERY, lambda: remark(f"{tally.sentence()} …", style="dim"))
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(tally.sentence(), total=None)
        yield every(
            REFRESH,
            lambda: bar.update(task, completed=tally.counts["trace"], total=tally.traces, description=tally.sentence()),
        )
