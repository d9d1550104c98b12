"""Who runs the servers. PostgreSQL refuses to run as root, so under root an unprivileged account does.

That account must be able to enter the folder of its data and the folder of its programs. The rights of folders that are
not Reverie's are never changed for it: where they are closed, data and programs go to a folder of their own.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverie.core.errors import StartError
from reverie.embedded.home import Home, write_private

ELSEWHERE = Path("/var/lib/reverie")
"""Where the servers' folders go when their account cannot enter the home (Filesystem Hierarchy Standard 3.0, 5.8)."""


@dataclass(frozen=True)
class Account:
    """A user of the system other than our own."""

    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Gives a file or folder to the account."""
        os.chown(path, self.uid, self.gid)


@dataclass(frozen=True)
class Place:
    """Where and how the servers of one store run.

    Attributes:
        folder: an existing folder of the account's, for data and sockets.
        log: the folder of the logs, which are ours.
        account: who runs the servers; None is ourselves.
        say: hears, line by line, what a person should know.
        durable: False gives up what keeps data safe from a crash, for tests.
    """

    folder: Path
    log: Path
    account: Account | None = None
    say: Callable[[str], None] = lambda _: None
    durable: bool = True

    def subfolder(self, name: str) -> Path:
        """A folder below, made if it is missing, that only the account enters."""
        path = self.folder / name
        path.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None:
            self.account.own(path)
        return path


def acting(account: Account | None) -> dict[str, Any]:
    """The arguments with which subprocess starts a program as ``account``; None is ourselves."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": [account.gid]}


def account_for(home: Home) -> Account | None:
    """The account that runs the servers of ``home``: None unless we are root, then the owner of its data.

    Raises:
        StartError: we are root and the home is another user's, or the system has no account to use.
    """
    if os.geteuid() != 0:
        return None
    owner = home.path.stat().st_uid
    if owner != 0:
        raise StartError(
            f"The home {home.path} belongs to {_name(owner)}: start Reverie as that user, or name another home with "
            "--home or REVERIE_HOME."
        )
    if home.servers.exists():
        found = home.servers.stat()
        if found.st_uid != 0:
            return Account(_name(found.st_uid), found.st_uid, found.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise StartError(
        "PostgreSQL does not run as root, and no user postgres or nobody exists: start Reverie as another user."
    )


def servers_folder(home: Home, account: Account | None, say: Callable[[str], None]) -> Path:
    """The folder in which ``account`` keeps the servers' data, made on the first call; ``say`` hears of a far one.

    Raises:
        StartError: it is gone, or no folder can be found that the account may enter.
    """
    if home.servers.is_symlink():
        folder = home.servers.readlink()
        if not folder.is_dir():
            raise StartError(
                f"The data of the store in {home.path} lay in {folder}, which is gone: bring it back from a backup, or "
                "name another home with --home or REVERIE_HOME."
            )
        return folder
    if account is None:
        home.servers.mkdir(mode=0o700, exist_ok=True)
        return home.servers
    new = not home.servers.exists()
    if new:
        if home.ours:
            _let_through(home.path, account)
        home.servers.mkdir(mode=0o700)
    if home.servers.stat().st_uid == 0:
        account.own(home.servers)
    if enters(account, home.servers):
        return home.servers
    if not new:
        raise StartError(
            f"The user {account.name}, who runs PostgreSQL for root, cannot enter {home.servers} any more: open the "
            "folders above it to that user, as they were."
        )
    home.servers.rmdir()
    return _elsewhere(home, account, say)


def enters(account: Account | None, folder: Path) -> bool:
    """Whether the account may enter and write ``folder``; the system is asked, so that every kind of right counts."""
    test = ["/bin/sh", "-c", 'cd -- "$1" && [ -w . ]', "sh", str(folder)]
    return subprocess.run(test, **acting(account), cwd="/", capture_output=True, check=False).returncode == 0  # noqa: S603


def runs(account: Account | None, program: Path) -> bool:
    """Whether the account can run ``program``."""
    try:
        done = subprocess.run([program, "--version"], **acting(account), cwd="/", capture_output=True, check=False)  # noqa: S603
    except OSError:
        return False
    return done.returncode == 0


def reachable(account: Account | None, base: Path, parts: Sequence[str], program: str, servers: Path) -> Path:
    """``base``, or a copy of its ``parts`` below ``servers`` when the account cannot run the program where it is.

    Args:
        account: who shall run it; nothing is copied for ourselves.
        base: the folder that holds all the parts.
        parts: the files and folders that the program needs, itself among them, relative to ``base``.
        program: the program, relative to ``base``.
        servers: a folder that the account may enter.

    Raises:
        StartError: the account cannot run the copy either.
    """
    if account is None or runs(account, base / program):
        return base
    copy = servers / "programs" / f"{Path(program).name}-{int((base / program).stat().st_mtime)}"
    if not copy.exists():
        _copy_parts(base, parts, copy)
    if not runs(account, copy / program):
        raise StartError(f"The user {account.name}, who runs the servers for root, cannot run {copy / program}.")
    return copy


def _copy_parts(base: Path, parts: Sequence[str], copy: Path) -> None:
    copy.parent.mkdir(exist_ok=True)
    for older in copy.parent.glob(copy.name.rpartition("-")[0] + "-*"):
        shutil.rmtree(older)
    draft = copy.with_name(copy.name + ".new")
    draft.mkdir()
    for part in parts:
        (draft / part).parent.mkdir(parents=True, exist_ok=True)
        if (base / part).is_dir():
            shutil.copytree(base / part, draft / part, ignore=shutil.ignore_patterns("include", "*.a"))
        else:
            shutil.copy(base / part, draft / part)
    for folder in (copy.parent, draft, *(path for path in draft.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    draft.rename(copy)


def _let_through(folder: Path, account: Account) -> None:
    """Lets the account pass through Reverie's own folder, to what it knows the name of; it cannot list it."""
    os.chown(folder, -1, account.gid)
    folder.chmod(folder.stat().st_mode & 0o777 | 0o010)


def _elsewhere(home: Home, account: Account, say: Callable[[str], None]) -> Path:
    try:
        ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=ELSEWHERE, prefix=""))
        write_private(folder / "home", str(home.path))
        account.own(folder)
    except OSError as error:
        raise StartError(
            f"The user {account.name}, who runs PostgreSQL for root, cannot enter {home.path}, and {ELSEWHERE} cannot "
            f"be written ({error.strerror}): name an open folder with --home or REVERIE_HOME."
        ) from None
    if not enters(account, folder):
        shutil.rmtree(folder)
        raise StartError(
            f"The user {account.name}, who runs PostgreSQL for root, can enter neither {home.path} nor {ELSEWHERE}: "
            "name an open folder with --home or REVERIE_HOME."
        )
    home.servers.symlink_to(folder)
    say(f"The user {account.name}, who runs PostgreSQL for root, cannot enter {home.path}: its data lies in {folder}")
    return folder


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
