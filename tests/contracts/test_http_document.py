"""docs/http.md: every command of it is run by a shell against a running service, and answers what stands there.

Ids, times, scores and keys differ from run to run. An id of the document stands for the one that came in its place,
also in the commands that follow; the others need to be of their kind. All other values have to be equal.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.cli.listening import Service, listening
from tests.contracts.house import ROUTES

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

DOCUMENT = Path(__file__).parents[2] / "docs/http.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")

SHELL = 'curl() { command curl -sS --max-time 60 -w "\\n%{http_code}" "$@"; }\n'
"""Before each command: nothing but the answer is printed, and its status below."""

ELIDED = "…"
"""A name in an object, or the last item of a list, that stands for others."""

TIMES = {
    "created_at", "updated_at", "started_at", "finished_at", "revoked_at", "verified_at", "since", "until", "next_at",
    "saved_at", "ts",
}  # fmt: skip
MEASURED = {
    "score", "scores", "shares", "took_ms", "milliseconds", "uptime_seconds", "rows", "bytes", "scans", "open", "idle",
    "oldest_pending_seconds", "effective",
}  # fmt: skip
OPAQUE = {"key", "prefix", "next_cursor", "version", "table"}

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_STATUS = re.compile(r"\n\n`(\d{3})`")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_NUMBER = re.compile(r"(?<=[ \"])\d[\d.e+-]*")


@dataclass(frozen=True)
class Example:
    """A command of the document and what it answers."""

    line: int
    command: str
    status: int
    language: str
    answer: str


def examples(text: str) -> list[Example]:
    """The commands of a document in their order, each with the status below it and the answer below that."""
    fences = list(_FENCE.finditer(text))
    found = []
    for fence, after in zip(fences, [*fences[1:], None], strict=True):
        if fence[1] != "sh" or not fence[2].startswith("curl "):
            continue
        below = text[fence.end() : after.start() if after else len(text)]
        status = _STATUS.match(below)
        line = text.count("\n", 0, fence.start()) + 2
        assert status, f"line {line}: the status is missing below the command"
        follows = after is not None and after[1] != "sh" and below.strip().count("\n\n") == 0
        language, answer = (after[1], after[2]) if after is not None and follows else ("", "")
        found.append(Example(line, fence[2], int(status[1]), language, answer))
    return found


@dataclass
class Comparison:
    """What an answer has in common with the document; ``ids`` are those of this run by those of the document."""

    ids: dict[str, str] = field(default_factory=dict)

    def here(self, command: str) -> str:
        """A command of the document with the ids of this run."""
        return _UUID.sub(lambda found: self.ids[found[0]], command)

    def faults(self, wanted: Any, got: Any, name: str = "", path: str = "answer") -> list[str]:
        """Where an answer differs from the document."""
        if isinstance(wanted, dict) and isinstance(got, dict):
            return self._of_object(wanted, got, name, path)
        if isinstance(wanted, list) and isinstance(got, list):
            return self._of_list(wanted, got, name, path)
        return [] if self._alike(wanted, got, name) else [f"{path}: {wanted!r} is {got!r}"]

    def _of_object(self, wanted: dict[str, Any], got: dict[str, Any], name: str, path: str) -> list[str]:
        wanted = {self.ids.get(key, key): value for key, value in wanted.items()}
        shown = {key for key in wanted if key != ELIDED}
        missing = [f"{path}.{key} is not there" for key in sorted(shown - set(got))]
        more = [] if ELIDED in wanted else [f"{path}.{key} is not documented" for key in sorted(set(got) - shown)]
        inside = [
            fault
            for key in wanted
            if key in got
            for fault in self.faults(wanted[key], got[key], self._kind(wanted, key, name), f"{path}.{key}")
        ]
        return missing + more + inside

    @staticmethod
    def _kind(wanted: dict[str, Any], key: str, name: str) -> str:
        """The name by which a value is compared: figures of a group are named by the group."""
        if name in MEASURED:
            return name
        return "created_at" if key == "happened_at" and wanted.get("occurred_at") is None else key

    def _of_list(self, wanted: list[Any], got: list[Any], name: str, path: str) -> list[str]:
        shown = wanted[:-1] if wanted and wanted[-1] == ELIDED else wanted
        if len(got) < len(shown) or (shown is wanted and len(got) != len(shown)):
            return [f"{path}: {len(shown)} items are {len(got)}"]
        pairs = enumerate(zip(shown, got, strict=False))
        return [fault for place, (a, b) in pairs for fault in self.faults(a, b, name, f"{path}[{place}]")]

    def _alike(self, wanted: Any, got: Any, name: str) -> bool:
        if wanted is None or got is None or type(wanted) is not type(got):
            both = isinstance(wanted, int | float) and isinstance(got, int | float)
            return wanted == got or (name in MEASURED and both)
        if name in MEASURED:
            return not name.startswith("score") or 0 <= got <= 1
        if isinstance(wanted, str) and _UUID.fullmatch(wanted):
            return bool(_UUID.fullmatch(got)) and self._same_id(wanted, got)
        if name in TIMES:
            return datetime.fromisoformat(wanted).tzinfo is not None and datetime.fromisoformat(got).tzinfo is not None
        if isinstance(wanted, str):
            # A sentence may name an id.
            return name in OPAQUE or _UUID.sub("", wanted) == _UUID.sub("", got)
        return bool(wanted == got)

    def _same_id(self, wanted: str, got: str) -> bool:
        if wanted not in self.ids and got in self.ids.values():
            return False
        return self.ids.setdefault(wanted, got) == got


@pytest.fixture(scope="module")
def service(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service over an empty store, as somebody has who reads the document."""
    with listening(postgres, template, redis_url, tmp_path_factory.mktemp("document"), "document") as running:
        yield running


def run(service: Service, command: str) -> tuple[int, str]:
    """What a shell prints for a command: (status, answer)."""
    environment = {"PATH": os.environ["PATH"], "REVERIE_URL": service.url, "REVERIE_KEY": service.key}
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", SHELL + command], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    answer, _, status = done.stdout.rpartition("\n")
    return int(status), answer


def test_every_command_answers_what_stands_below_it(service: Service) -> None:
    comparison, faults = Comparison(), list[str]()
    for example in examples(TEXT):
        status, answer = run(service, comparison.here(example.command))
        found = [] if status == example.status else [f"{example.status} is {status}: {answer[:300]}"]
        if example.language == "json" and not found:
            found = comparison.faults(json.loads(example.answer), json.loads(answer))
        elif example.language == "text":
            there = {_NUMBER.sub("0", line) for line in answer.splitlines()}
            lines = example.answer.splitlines()
            found += [f"{line!r} is not there" for line in lines if _NUMBER.sub("0", line) not in there]
        elif not example.language and answer:
            found.append(f"there was a body: {answer[:300]}")
        faults += [f"docs/http.md, line {example.line}: {fault}" for fault in found]
    assert faults == []


def test_there_is_an_example_for_every_route() -> None:
    asked = set()
    for example in examples(TEXT):
        method = re.search(r"-X (\w+)", example.command)
        path = re.search(r'"\$REVERIE_URL([^"?]*)', example.command)
        assert path, example.command
        named = method[1] if method else "POST" if " -d " in example.command else "GET"
        asked.add((named, path[1]))
    for route in ROUTES:
        shape = re.compile(re.sub(r"{\w+}", "[^/]+", route.path))
        assert any(method == route.method and shape.fullmatch(path) for method, path in asked), route.name


def test_no_key_stands_in_the_document() -> None:
    assert set(re.findall(r"\brv_\w*…?", TEXT)) <= {"rv_1f0c…"}


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ([1, 2], [1]),
        ([1], [1, 2]),
        ({"score": 0.5}, {"score": 1.5}),
        ({"score": 0.5}, {"score": None}),
        ({"created_at": "2026-01-01T00:00:00Z"}, {"created_at": None}),
        ({"occurred_at": "2026-01-01T00:00:00Z"}, {"occurred_at": "2026-01-02T00:00:00Z"}),
        ([str(UUID(int=1)), str(UUID(int=1))], [str(UUID(int=2)), str(UUID(int=3))]),
        ([str(UUID(int=1)), str(UUID(int=2))], [str(UUID(int=3)), str(UUID(int=3))]),
    ],
)
def test_a_difference_would_be_found(wanted: Any, got: Any) -> None:
    assert Comparison().faults(wanted, wanted) == []
    assert len(Comparison().faults(wanted, got)) == 1
