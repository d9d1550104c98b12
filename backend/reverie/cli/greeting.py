"""What `reverie up` says when it is ready: on an empty store a conversation and two questions about it."""

import shlex
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from reverie.cli.text import count, moment, one_line, pattern

if TYPE_CHECKING:
    from rich.text import Text

    from reverie.cli.client import Client

SAMPLE_USER = "sample"
QUESTIONS = ("When is the trip to Skye, and how do they get there?", "What is Tomek allergic to?")

NEAR = 0.8
"""Results that reach this share of the best one's score are shown beside it."""


@dataclass(frozen=True)
class Answered:
    """A question about the sample, and what recall answered."""

    question: str
    results: list[dict[str, Any]]


@dataclass(frozen=True)
class Stock:
    """What is remembered already; ``more`` when there are more users than were counted.

    ``latest`` is the user who came last, None when there is none.
    """

    traces: int
    users: int
    more: bool
    latest: str | None

    def __str__(self) -> str:
        than = "more than " if self.more else ""
        return f"It remembers {than}{count(self.traces, 'trace')} of {than}{count(self.users, 'user')}."


def sample() -> list[dict[str, Any]]:
    """The conversation that an empty store begins with: two friends and their assistant, March to October 2026."""
    text = files("reverie.cli").joinpath("sample.jsonl").read_text(encoding="utf-8")
    return [orjson.loads(line) for line in text.splitlines()]


def remember_sample(client: "Client") -> int:
    """Remembers the sample; how many turns it has."""
    made = client.post("/memory/remember", {"user_id": SAMPLE_USER, "traces": sample()})["traces"]
    return len(made)


def ask(client: "Client", question: str) -> Answered:
    """Asks about the sample."""
    found = client.post("/memory/recall", {"user_id": SAMPLE_USER, "q": question, "k": 3})["results"]
    return Answered(question, [one for one in found if one["score"] >= NEAR * found[0]["score"]])


def told(answered: Answered) -> "list[Text]":
    """A question and its answers, a line each."""
    from rich.text import Text

    found = pattern(answered.question)
    lines = [Text(f"  {answered.question}", style="bold cyan")]
    for one in answered.results:
        said = Text(f"{one_line(one['content'])}")
        if found is not None:
            said.highlight_regex(found, "bold")
        line = Text(f"    {one['score']:.2f}  ", style="dim")
        line.append(f"{one['speaker']}, {moment(one['occurred_at'])[:11].rstrip(',')}: ", style="not dim green")
        lines.append(line.append_text(said))
    return lines


def stock(client: "Client") -> Stock:
    """Counts what is there already, over the 100 newest users."""
    page = client.get("/memory/users", {"limit": 100})
    users = page["items"]
    traces = sum(one["traces"] for one in users)
    return Stock(traces, len(users), page["next_cursor"] is not None, users[0]["user_id"] if users else None)


def curl(url: str, key_file: Path, user: str | None, question: str = "what did I say last?") -> str:
    """A command that works when it is pasted into a shell of this machine; the key is read from its file."""
    header = f'-H "X-API-Key: $(cat {shlex.quote(str(key_file))})"'
    if user is None:
        body = '{"user_id": "me", "traces": [{"content": "I moved to Bristol in March", "speaker": "me"}]}'
        return f"curl -s {header} {url}/memory/remember -d {shlex.quote(body)}"
    query = f"user_id={quote(user, safe='')}&q={quote(question, safe='')}&k=3"
    return f"curl -s {header} {shlex.quote(f'{url}/memory/recall?{query}')}"


def ending(url: str, key_file: Path, command: str, *, key: str | None = None) -> list[str]:
    """The last lines of every greeting: where the service is, where the key is, and a command that works."""
    where = f"{key} (kept in {key_file})" if key else f"in {key_file}"
    return ["", f"URL   {url} ({url}/docs describes it)", f"Key   {where}", f"Try   {command}"]
