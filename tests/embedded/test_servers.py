"""The servers that the tests share end with the run, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.embedded.helpers import alive

ROOT = Path(__file__).parents[2]

RUN = """
import sys, time
import redis

def test_uses_redis(shared_servers):
    with redis.Redis.from_url(shared_servers.redis(1)) as client:
        print("PID", client.info("server")["process_id"], file=sys.__stderr__, flush=True)
    if {waits}:
        time.sleep(60)
    assert {passes}
"""


def start(folder: Path, *, waits: bool, passes: bool) -> "subprocess.Popen[str]":
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.servers"]\n')
    (folder / "test_run.py").write_text(RUN.format(waits=waits, passes=passes))
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", os.devnull, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "REVERIE_TEST_STACK": "embedded"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize("end", ["fails", "is killed"])
def test_nothing_is_left_of_a_run_that(end: str, open_folder: Path) -> None:
    with start(open_folder, waits=end == "is killed", passes=False) as run:
        assert run.stderr is not None
        pid = int(next(line for line in run.stderr if line.startswith("PID")).split()[1])
        if end == "is killed":
            assert alive(pid)
            run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid) or list(open_folder.glob("reverie-tests-*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
