import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis
from tests.embedded.helpers import alive, descendants

from reverie.core.config import load_settings
from reverie.core.errors import StartError
from reverie.embedded.postgres import free_port
from reverie.embedded.supervisor import Program, Supervisor, answers, check_port, running

TREE = Path(__file__).with_name("tree.py")


class Tree:
    """A running process tree, in a process group of its own like a terminal's."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.events = folder / "events"
        self.port = free_port()
        self.said: list[str] = []

    def command(self, port: int) -> list[str]:
        return [sys.executable, str(TREE), str(self.home), str(port), str(self.events)]

    def stop(self, number: signal.Signals) -> None:
        """Signals the whole group, as a terminal does, and checks that all ended when the supervisor did."""
        os.killpg(self.process.pid, number)
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        assert not any(map(alive, self.family))

    def start(self) -> None:
        """Starts it and waits until it says that all runs."""
        self.process = subprocess.Popen(  # noqa: S603
            self.command(self.port), stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.read_until(lambda line: line.startswith("{"))
        self.urls = json.loads(self.said[-1])
        self.family = descendants(self.process.pid)

    def read_until(self, wanted: Callable[[str], object]) -> None:
        """Reads what it says, up to a line that is ``wanted``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if wanted(line):
                return
        pytest.fail(f"ended early: {self.said}")

    def pid_of(self, word: str) -> int:
        """The one child of the supervisor whose command line has ``word``."""
        children = [pid for pid in self.family if word in Path(f"/proc/{pid}/cmdline").read_text()]
        parents = [pid for pid in children if parent(pid) == self.process.pid]
        assert len(parents) == 1
        return parents[0]


@pytest.fixture
def tree(open_folder: Path) -> Iterator[Tree]:
    tree = Tree(open_folder)
    yield tree
    if tree.process.poll() is None:
        tree.process.terminate()
    tree.process.communicate(timeout=30)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("took too long")
        time.sleep(0.02)


def test_ctrl_c_ends_everything_in_order_and_the_data_stays(tree: Tree) -> None:
    tree.start()
    with psycopg.connect(tree.urls["database"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    assert len(tree.family) > 6
    tree.stop(signal.SIGINT)
    ends = {name: datetime.fromisoformat(when) for name, when in map(str.split, tree.events.read_text().splitlines())}
    redis_log = (tree.home / "log" / "redis.log").read_text()
    postgres_log = (tree.home / "log" / "postgres.log").read_text()
    redis_end = re.findall(r"M (\d+ \w+ \d+ [\d:.]+) .*bye bye", redis_log)[-1]
    ends["redis"] = datetime.strptime(redis_end, "%d %b %Y %H:%M:%S.%f").replace(tzinfo=UTC)
    postgres_end = re.findall(r"(.+) UTC .*received fast shutdown request", postgres_log)[-1]
    ends["postgres"] = datetime.fromisoformat(postgres_end).replace(tzinfo=UTC)
    assert sorted(ends, key=lambda name: ends[name]) == ["API", "worker", "redis", "postgres"]

    began = time.monotonic()
    tree.start()
    assert time.monotonic() - began < 5
    with psycopg.connect(tree.urls["database"]) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)
    tree.stop(signal.SIGTERM)


def test_killed_it_leaves_nothing_and_can_start_again_at_once(tree: Tree) -> None:
    tree.start()
    second = subprocess.run(tree.command(free_port()), capture_output=True, text=True, check=False)  # noqa: S603
    assert second.returncode == 1
    assert second.stderr.startswith(f"Reverie already runs on {tree.home} (process {tree.process.pid}): ")
    assert len(second.stderr.splitlines()) == 1
    family = tree.family
    tree.process.kill()
    tree.process.communicate()
    tree.start()
    assert not any(map(alive, family))


def test_what_dies_is_started_again(tree: Tree) -> None:
    tree.start()
    with redis.Redis.from_url(tree.urls["redis"]) as client:
        client.set("bell", "rung")
    dead = {name: tree.pid_of(name) for name in ("redis-server", "bin/postgres", "http.server", "signal.pause")}
    time.sleep(1.1)  # Redis brings to the disk what it has, every second
    for pid in dead.values():
        os.kill(pid, signal.SIGKILL)
    tree.read_until(lambda _: sum("it is started again in 0.5 s" in line for line in tree.said) == len(dead))

    def all_answer() -> bool:
        try:
            with psycopg.connect(tree.urls["database"]), redis.Redis.from_url(tree.urls["redis"]) as client:
                assert client.get("bell") == b"rung"
        except (psycopg.OperationalError, redis.exceptions.ConnectionError):
            return False
        tree.family = descendants(tree.process.pid)
        commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in tree.family if alive(pid)]
        return all(any(name in command for command in commands) for name in dead)

    wait_for(all_answer, 15)
    assert not any(map(alive, dead.values()))


async def test_a_busy_port_is_named_before_anything_starts(open_folder: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        settings = load_settings(reverie_home=open_folder / "home", reverie_port=port)
        with pytest.raises(StartError, match=f"Port {port} on 127.0.0.1 is in use: end what listens there, or choose"):
            async with running(settings):
                pass
    assert not (open_folder / "home" / "servers").exists()


@pytest.mark.parametrize(
    ("host", "sentence"),
    [("no.such.host.invalid", "takes an address of this machine"), ("192.0.2.1", "cannot listen on 192.0.2.1")],
)
def test_a_wrong_host_is_named(host: str, sentence: str) -> None:
    with pytest.raises(StartError, match=sentence):
        check_port(host, 8000)


async def test_servers_that_are_given_are_not_started(open_folder: Path) -> None:
    settings = load_settings(
        reverie_home=open_folder, reverie_port=free_port(), database_url="postgresql://a@b/c", redis_url="redis://d"
    )
    async with running(settings) as servers:
        assert servers.settings == settings
        assert servers.environment()["DATABASE_URL"] == "postgresql://a@b/c"
        assert not (open_folder / "servers").exists()


async def test_a_program_that_ends_before_it_is_ready_is_named(open_folder: Path) -> None:
    settings = load_settings(
        reverie_home=open_folder, reverie_port=free_port(), database_url="postgresql://a@b/c", redis_url="redis://d"
    )
    async with running(settings) as servers:
        program = Program("API", ["/bin/sh", "-c", "exit 3"], {})
        await servers.start(program)
        with pytest.raises(StartError, match="API ended before it was ready"):
            await servers.ready(program, f"http://127.0.0.1:{settings.reverie_port}/health/live")
        assert not await answers("http://127.0.0.1:1/")


async def test_a_program_that_cannot_be_started_is_named() -> None:
    with pytest.raises(StartError, match=r"worker cannot be started \(/no/such/program: No such file"):
        await Supervisor(print).start(Program("worker", ["/no/such/program"], {}))


async def test_stubborn_programs_are_killed_with_their_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f'trap "" TERM; sleep 60 & echo $$ $! > {pids}; wait'
    program = Program("worker", ["/bin/sh", "-c", script], {"PATH": os.defpath}, grace=0.2)
    supervisor = Supervisor(print)
    await supervisor.start(program)
    wait_for(lambda: pids.exists() and pids.read_text().endswith("\n"), 5)
    await supervisor.stop(program)
    wait_for(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()), 5)
