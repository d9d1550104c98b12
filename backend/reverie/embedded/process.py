"""Child processes that never outlive us: each in a session of its own, ended by a signal when we are killed."""

import asyncio
import ctypes
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import Signals

from reverie.embedded.account import Account, acting

LOG_BYTES = 5 * 1024 * 1024
"""A log that grew to this size becomes NAME.1, in place of an older one."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class LogFile:
    """A file that servers' output is appended to, never longer than LOG_BYTES, with one older file beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tail: deque[bytes] = deque(maxlen=40)
        """The last lines, to tell why a server did not start."""
        self._file = path.open("ab")
        self._rest = b""

    def append(self, data: bytes) -> None:
        """Writes ``data``, as it comes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-10_000:]
        self.tail.extend(lines)
        if self._file.tell() + len(data) > LOG_BYTES:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = self.path.open("ab")
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Process:
    """A running child."""

    def __init__(self, process: asyncio.subprocess.Process, log: LogFile | None) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log
        self._swept = False
        self._pump = asyncio.create_task(_pump(process.stdout, log)) if process.stdout and log else None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        on_our_death: Signals = Signals.SIGTERM,
        folder: Path | None = None,
        account: Account | None = None,
        log: Path | None = None,
        feed: bytes | None = None,
    ) -> "Process":
        """Starts ``command``.

        Must be called in the thread that lives as long as the child shall: Linux sends the death signal when the thread
        that started the child ends, not only when the process does.

        Args:
            command: the program and its arguments.
            environment: the whole environment of the child.
            on_our_death: the signal that the child gets when we die (Linux only).
            folder: where it runs; ours by default.
            account: who runs it; ourselves by default.
            log: the file for what it prints; without one that goes where our own output goes.
            feed: what it reads on standard input.
        """
        file = LogFile(log) if log is not None else None
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL if feed is None else asyncio.subprocess.PIPE,
            stdout=None if file is None else asyncio.subprocess.PIPE,
            stderr=None if file is None else asyncio.subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            preexec_fn=_die_with_parent(on_our_death),
            **acting(account),
        )
        if feed is not None and process.stdin is not None:
            process.stdin.write(feed)
            process.stdin.close()
        return cls(process, file)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def last_words(self) -> str:
        """The last line that tells of a failure, from its log; else the last line of all."""
        lines = [line.decode(errors="replace").strip() for line in self._log.tail] if self._log else []
        telling = [line for line in lines if re.search("fatal|panic|error", line, re.IGNORECASE)]
        return (telling or [line for line in lines if line] or ["it said nothing"])[-1]

    async def wait(self) -> int:
        """Waits for its end and for the last of its output; the exit code, or minus the signal that ended it."""
        code = await self._process.wait()
        self._sweep()
        if self._pump is not None and self._log is not None:
            # A grandchild may hold the pipe open for longer than the child lived.
            await asyncio.wait([self._pump], timeout=1)
            self._pump.cancel()
            self._log.close()
        return code

    async def end(self, *steps: tuple[Signals, float]) -> None:
        """Sends each signal in turn, waiting for the seconds given with it, and at last kills it."""
        for number, seconds in (*steps, (Signals.SIGKILL, 5.0)):
            if self.running:
                try:
                    self._process.send_signal(number)
                    async with asyncio.timeout(seconds):
                        await self._process.wait()
                except (ProcessLookupError, TimeoutError):
                    continue
        await self.wait()

    def _sweep(self) -> None:
        """Kills what is left of its group, once: later the number may be another's."""
        if not self._swept:
            self._swept = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, Signals.SIGKILL)


async def end_lingering(folder: Path, number: Signals, seconds: float = 30.0) -> None:
    """Ends the processes that still work in ``folder``, left by a supervisor that was killed a moment ago.

    Those that are no other's child get ``number`` and the time to end well; after ``seconds`` all are killed.
    """
    lingering = set(processes_in(folder))
    for pid in lingering:
        if _parent(pid) not in lingering:
            _send(pid, number)
    deadline = time.monotonic() + seconds
    while lingering := set(processes_in(folder)):
        if time.monotonic() > deadline:
            for pid in lingering:
                _send(pid, Signals.SIGKILL)
        await asyncio.sleep(0.05)


def processes_in(folder: Path) -> list[int]:
    """The ids of the processes whose working directory is ``folder`` (Linux; elsewhere none is known)."""
    wanted = os.path.realpath(folder)
    found = []
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208 - the names are wanted
        with suppress(OSError):
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == wanted:  # noqa: PTH115
                found.append(int(entry))
    return found


def _parent(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))


def _send(pid: int, number: Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _die_with_parent(number: Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def prepare() -> None:
        # Runs after setuid, which would clear it; the parent may have died before it is set.
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


async def _pump(stream: asyncio.StreamReader, log: LogFile) -> None:
    while data := await stream.read(65536):
        log.append(data)
