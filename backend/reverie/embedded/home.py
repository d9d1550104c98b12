"""The home: the one folder in which an embedded store lives, used by one Reverie at a time."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reverie.core.errors import StartError
from reverie.core.secret import secret_file

FORMAT = 1
"""Counts the changes to what lies where in a home; the schema of the database counts for itself, in its migrations."""

SECRETS = ("superuser", "owner", "redis")


class Home:
    """The files of one home. Nothing is read or made before :meth:`locked` is entered.

    Attributes:
        path: the folder itself, absolute, without symbolic links above it.
        key: the file with the first admin key (0600).
        secret_key: the file with the secret of tombstones (0600).
        log: the folder of the servers' logs.
        servers: what PostgreSQL and Redis write: a folder, or a link to one that their account may enter.
        ours: whether the folder was missing or empty when it was locked, so that its rights are Reverie's to set.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would raise on loops of links
        self.key = self.path / "key"
        self.secret_key = secret_file(self.path)
        self.log = self.path / "log"
        self.servers = self.path / "servers"
        self.ours = False
        self._format = self.path / "home.json"
        self._secrets = self.path / "secrets.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder where it is missing and holds it until the block ends; the kernel lets go if we are killed.

        Raises:
            StartError: another Reverie holds it, it cannot be written, or a newer Reverie wrote it.
        """
        try:
            self._make()
            lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise self._unwritable(error) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise StartError(
                    f"Reverie already runs on {self.path} (process {lock.read().strip() or 'unknown'}): use it, stop "
                    "it, or name another home with --home or REVERIE_HOME."
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            try:
                self._check_format()
            except OSError as error:
                raise self._unwritable(error) from None
            yield

    def secret(self, name: str) -> str:
        """The password called ``name`` (one of SECRETS) of this home: URL-safe, made once, in a file of mode 0600."""
        return str(self._known_secrets()[name])

    def keep_secret(self) -> None:
        """Makes the secret that keys what is kept of forgotten texts, once."""
        if not self.secret_key.exists():
            try:
                write_private(self.secret_key, secrets.token_urlsafe(32))
            except OSError as error:
                raise self._unwritable(error) from None

    @property
    def has_secrets(self) -> bool:
        """Whether the passwords were made already."""
        return self._secrets.exists()

    def _make(self) -> None:
        if self.path.is_dir():
            self.ours = not any(self.path.iterdir())
        else:
            self.path.mkdir(mode=0o700, parents=True)
            self.ours = True
        self.log.mkdir(mode=0o700, exist_ok=True)

    def _unwritable(self, error: OSError) -> StartError:
        return StartError(
            f"The home {self.path} cannot be written ({error.strerror}): name a folder of your own with --home or "
            "REVERIE_HOME."
        )

    def _check_format(self) -> None:
        if not self._format.exists():
            write_private(self._format, json.dumps({"format": FORMAT}))
            return
        try:
            written = int(json.loads(self._format.read_text())["format"])
        except (ValueError, KeyError, TypeError):
            raise StartError(f"{self._format} is damaged: restore it from a backup of the home.") from None
        if written > FORMAT:
            raise StartError(
                f"The store in {self.path} was written by a newer Reverie (format {written}, and this one reads up to "
                f"{FORMAT}): update Reverie, or name another home with --home or REVERIE_HOME."
            )

    def _known_secrets(self) -> dict[str, str]:
        if not self._secrets.exists():
            write_private(self._secrets, json.dumps({name: secrets.token_urlsafe(24) for name in SECRETS}))
        try:
            known = json.loads(self._secrets.read_text())
        except ValueError:
            known = None
        if not isinstance(known, dict) or not all(isinstance(known.get(name), str) for name in SECRETS):
            raise StartError(f"{self._secrets} is damaged: restore it from a backup of the home.")
        return known


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner reads (0600), whole or not at all, and safely on the disk when this returns."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Brings the names in a folder safely to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
