import os
from pathlib import Path

import pytest

from reverie.embedded.process import LOG_BYTES, LogFile, Process, processes_in
from reverie.embedded.supervisor import describe

ENVIRONMENT = {"PATH": os.defpath}


def test_a_log_keeps_its_size_and_one_older_file(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    for number in range(3):
        log.append(f"{number}\n".encode() + b"x" * (LOG_BYTES - 10))
    log.append(b"\nlast\n")
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert (tmp_path / "log.1").read_bytes()[:1] == b"1"
    assert (tmp_path / "log").read_bytes()[:1] == b"2"
    assert all(path.stat().st_size <= LOG_BYTES for path in tmp_path.iterdir())
    assert log.tail[-1] == b"last"


@pytest.mark.parametrize(
    ("output", "words"),
    [("one; FATAL: two; three", "FATAL: two"), ("one; two; ", "two"), ("", "it said nothing")],
)
async def test_the_last_words_tell_of_the_failure(tmp_path: Path, output: str, words: str) -> None:
    script = f"printf '{output}' | tr ';' '\\n'; exit 4"
    process = await Process.start(["/bin/sh", "-c", script], environment=ENVIRONMENT, log=tmp_path / "log")
    assert await process.wait() == 4
    assert process.last_words == words


async def test_a_child_reads_what_it_is_fed_where_it_shall_work(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "pwd; cat; cat"]
    log = tmp_path / "log"
    process = await Process.start(command, environment=ENVIRONMENT, folder=tmp_path, log=log, feed=b"food\n")
    assert await process.wait() == 0
    assert log.read_text() == f"{tmp_path}\nfood\n"


async def test_processes_are_found_by_where_they_work(tmp_path: Path) -> None:
    process = await Process.start(["/bin/sleep", "60"], environment=ENVIRONMENT, folder=tmp_path)
    assert processes_in(tmp_path) == [process.pid]
    await process.end()
    assert processes_in(tmp_path) == []
    assert not process.running


@pytest.mark.parametrize(("code", "words"), [(3, "code 3"), (-9, "SIGKILL"), (-99, "signal 99")])
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert describe(code) == words
