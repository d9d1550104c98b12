"""Tables of episodes as others have them, made by program, and the script that brings them along."""

import asyncio
import json
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from tests.processes import environment

from reverie.core.config import Settings

SCRIPT = Path(__file__).parents[2] / "scripts" / "migrate_episodes_to_memory.py"

PEOPLE = [
    "Ada Berg", "Bruno Costa", "Carla Diaz", "Dmitri Orlov", "Elif Kaya", "Farid Haddad", "Greta Lund", "Hugo Blanc",
    "Ines Moura", "Jonas Vogel", "Kira Novak", "Luca Ricci",
]  # fmt: skip
TOPICS = ["garden", "budget", "travel", "music", "school", "kitchen", "sailing", "health", "moving", "books", "bikes"]
_ACTS = ["planned", "repaired", "discussed", "painted", "measured", "visited", "postponed", "finished", "ordered"]
_THINGS = ["greenhouse", "invoice", "ferry", "piano", "exam", "stove", "mast", "clinic", "boxes", "novel", "brakes"]
BEGAN = datetime(2024, 1, 1, 8, tzinfo=UTC)

TABLES = """
CREATE TABLE episodes (
    id bigint PRIMARY KEY, content text, occurred_at timestamptz, user_id text, session_id text, mood text,
    embedding bytea
);
CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE episode_participants (
    episode_id bigint NOT NULL REFERENCES episodes (id), person_id int NOT NULL REFERENCES people (id),
    PRIMARY KEY (episode_id, person_id)
);
CREATE TABLE episode_topics (
    episode_id bigint NOT NULL REFERENCES episodes (id), topic text NOT NULL, PRIMARY KEY (episode_id, topic)
);
"""


@dataclass(frozen=True)
class Made:
    """What a table holds: rows, and how many participants and topics they have together."""

    rows: int
    participants: int
    topics: int


def fill(url: str, number: int, users: Sequence[str] = ("ann",)) -> Made:
    """Makes `episodes` of so many rows, with participants and topics in tables of their own."""
    chance = random.Random(7)  # noqa: S311 - no secret
    participants, topics = list[tuple[int, int]](), list[tuple[int, str]]()
    with psycopg.connect(url) as connection:
        connection.execute(TABLES)
        connection.cursor().executemany("INSERT INTO people VALUES (%s, %s)", list(enumerate(PEOPLE)))
        columns = "(id, content, occurred_at, user_id, session_id, mood)"
        with connection.cursor().copy(f"COPY episodes {columns} FROM STDIN") as copy:
            for n in range(number):
                who = sorted(chance.sample(range(len(PEOPLE)), chance.randint(1, 3)))
                about = sorted(chance.sample(TOPICS, chance.randint(1, 3)))
                participants += [(n, one) for one in who]
                topics += [(n, one) for one in about]
                text = (
                    f"{PEOPLE[who[0]]} {chance.choice(_ACTS)} the {chance.choice(_THINGS)} number {n * 7919 % 99991} "
                    f"because of the {about[0]}, and {chance.choice(_ACTS)} another {chance.choice(_THINGS)} then."
                )
                moment = BEGAN + timedelta(minutes=17 * n)
                copy.write_row((n, text, moment, users[n % len(users)], f"s{n // 20}", chance.choice(["calm", "glad"])))
        for table, written in (("episode_participants", participants), ("episode_topics", topics)):
            with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                for row in written:
                    copy.write_row(row)
        connection.execute("ANALYZE")
    return Made(number, len(participants), len(topics))


@dataclass(frozen=True)
class Ended:
    """How a run of the script ended."""

    code: int
    out: str
    err: str


async def begin(settings: Settings, source: str, *options: str, **changes: str) -> Process:
    """The script over the store of the settings, as a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), "--source", source, *options,
        env=environment(settings, **changes), cwd=settings.reverie_home, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def run(settings: Settings, source: str, *options: str, **changes: str) -> Ended:
    """The same until it ends."""
    process = await begin(settings, source, *options, **changes)
    out, err = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Ended(process.returncode, out.decode(), err.decode())


def failures(folder: Path) -> dict[str, str]:
    """Row → why it was not taken."""
    path = folder / "episodes-failures.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {one["row"]: one["reason"] for one in map(json.loads, lines)}


def figure_of(out: str, name: str) -> int:
    """A figure of what the script printed."""
    [line] = [line for line in out.splitlines() if line.startswith(name)]
    digits = line.removeprefix(name).strip().split("  ")[0]
    return int("".join(sign for sign in digits if sign.isdigit()))


def rows(url: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What the owner of a database sees."""
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode(), parameters or None).fetchall()


@contextmanager
def owner(url: str) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """A connection as the owner, in autocommit."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
