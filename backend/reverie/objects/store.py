"""Object storage by URL, through obstore: a folder, S3, Google Cloud Storage, Azure, or memory for tests.

Everything here blocks, and belongs in a thread. No call waits for ever: each has a time limit and few retries. An
object is written in one request, never in parts: a torn upload leaves nothing that could be read, or that nobody would
find again when it has to be forgotten.
"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, MemoryStore, from_url

from reverie.core.config import Settings
from reverie.core.errors import SettingsError

if TYPE_CHECKING:
    import mmap

    from obstore.store import ClientConfig, ObjectStore, RetryConfig

Content: TypeAlias = "bytes | memoryview | mmap.mmap"

CHUNK: Final = 4 * 2**20
"""Bytes of what is read from beginning to end, at a time."""

_APART: Final = 2**20
"""Ranges that lie no further apart are read as one."""

_FULL = ("No space left", "StorageFull", "Disk quota", "QuotaExceeded", "507 Insufficient")
_READ_ONLY = ("Read-only file system", "ReadOnlyFilesystem")
_LATE = ("TimedOut", "timed out", "Timeout")
_AWAY = ("error sending request", "dns error", "Connection refused")


class StorageTrouble(Exception):  # noqa: N818 - what is in the way, whoever is at fault
    """Object storage does not do what it is asked for now; the message is one sentence without secrets."""


class Missing(StorageTrouble):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long object storage may take, in seconds: to be reached, to answer what is read, to take what is written.

    ``retries`` come on top, as long as no more than the same time has passed.
    """

    connect: float = 3.0
    read: float = 20.0
    write: float = 300.0
    retries: int = 3


class Objects:
    """Objects by their path, in a place that obstore reaches. For any number of threads."""

    def __init__(self, name: str, reads: "Callable[[], ObjectStore]", writes: "Callable[[], ObjectStore]") -> None:
        self.name = name
        """The place as messages name it: without user and password."""
        self._reading = reads
        self._writing = writes

    def prepare(self) -> None:
        """Makes the place where it can be made.

        Raises:
            StorageTrouble
        """

    def put(self, path: str, content: Content) -> None:
        """Writes an object, whole or not at all.

        Raises:
            StorageTrouble: it was not written, or nobody knows whether it was.
        """
        with self._troubles("write", absent="has no such bucket or container"):
            obstore.put(self._writing(), path, content, mode="overwrite", use_multipart=False)

    def get(self, path: str) -> bytes:
        """An object of moderate size.

        Raises:
            Missing, StorageTrouble
        """
        return b"".join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        """An object from beginning to end, in chunks.

        Raises:
            Missing, StorageTrouble: also while it is read; what came until then is not the object.
        """
        size = self.size(path)
        if size is None:
            raise Missing(f"Object storage ({self.name}) has no such object.")
        # In parts, each with a time limit of its own, so that a slow line is no trouble.
        for begin in range(0, size, CHUNK):
            yield self.ranges(path, [(begin, min(begin + CHUNK, size))])[0]

    def ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of an object, each from a first byte to the byte after its last.

        Raises:
            Missing, StorageTrouble: also where the object is shorter than that.
        """
        if not ranges:
            return []
        with self._troubles("read"):
            parts = obstore.get_ranges(
                self._reading(), path, starts=[begin for begin, _ in ranges], ends=[end for _, end in ranges]
            )
        found = [bytes(part) for part in parts]
        if any(len(part) != end - begin for part, (begin, end) in zip(found, ranges, strict=True)):
            raise StorageTrouble(f"Object storage ({self.name}) ended its answer too early.")
        return found

    def open(self, path: str) -> io.RawIOBase:
        """An object as a file in which any place can be read.

        Raises:
            Missing, StorageTrouble
        """
        size = self.size(path)
        if size is None:
            raise Missing(f"Object storage ({self.name}) has no {path}.")
        return RangedFile(self, path, size)

    def size(self, path: str) -> int | None:
        """Bytes of an object; None: there is none.

        Raises:
            StorageTrouble
        """
        try:
            with self._troubles("read"):
                return int(obstore.head(self._reading(), path)["size"])
        except Missing:
            return None

    def delete(self, path: str) -> None:
        """Deletes an object, if there is one.

        Raises:
            StorageTrouble
        """
        with suppress(Missing), self._troubles("delete"):
            obstore.delete(self._reading(), path)

    def paths(self, prefix: str | None = None) -> Iterator[tuple[str, int]]:
        """The paths below a prefix (whole parts of a path) and their sizes, in no order.

        Raises:
            StorageTrouble: also on the way.
        """
        with suppress(Missing), self._troubles("list"):
            for some in obstore.list(self._reading(), prefix, chunk_size=1000):
                yield from ((str(one["path"]), int(one["size"])) for one in some)

    @contextmanager
    def _troubles(self, doing: str, absent: str = "") -> Iterator[None]:
        """What goes wrong, as one sentence. What obstore says itself may quote a URL, a header or a key."""
        try:
            yield
        except FileNotFoundError:
            if absent:
                raise StorageTrouble(f"Object storage ({self.name}) {absent}.") from None
            raise Missing(f"Object storage ({self.name}) has no such object.") from None
        except (BaseError, OSError, ValueError) as error:
            raise StorageTrouble(f"Object storage ({self.name}) {_what(error)}: it cannot {doing}.") from None


class Memory(Objects):
    """Objects in the memory of this process: for tests."""

    def __init__(self) -> None:
        memory = MemoryStore()
        super().__init__("memory", lambda: memory, lambda: memory)

    def put(self, path: str, content: Content) -> None:
        """Keeps a copy."""
        super().put(path, bytes(content))


class Folder(Objects):
    """Objects as files below a folder, which is made when something is written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), self._there, self._there)
        self._folder = folder

    def _there(self) -> "ObjectStore":
        # Each time, for the folder may come and go. A disk that is not mounted is no folder from which all is missing.
        if not self._folder.is_dir():
            raise StorageTrouble(f"Object storage ({self.name}) is not there.")
        return LocalStore(self._folder)

    def prepare(self) -> None:
        """Makes the folder.

        Raises:
            StorageTrouble
        """
        with self._troubles("write"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, path: str, content: Content) -> None:
        """Writes an object; when this returns, it is on the disk.

        Raises:
            StorageTrouble
        """
        self.prepare()
        super().put(path, content)
        with self._troubles("write"):
            place = self._folder / path
            _sync(place)
            while place != self._folder.parent:
                place = place.parent
                _sync(place)

    def open(self, path: str) -> io.RawIOBase:
        """An object as a file.

        Raises:
            Missing, StorageTrouble
        """
        with self._troubles("read"):
            self._there()
            return (self._folder / path).open("rb", buffering=0)

    def delete(self, path: str) -> None:
        """Deletes an object, and what a write of it may have left that was killed.

        Raises:
            StorageTrouble
        """
        super().delete(path)
        with self._troubles("delete"):
            place = self._folder / path
            if place.parent.is_dir():
                # obstore writes beside, under the name with a number, and renames.
                for left in list(place.parent.glob(f"{_literal(place.name)}#*")):
                    left.unlink(missing_ok=True)


class RangedFile(io.RawIOBase):
    """An object as a file: each read asks for its part, unless :meth:`fetch` has brought it before."""

    def __init__(self, objects: Objects, path: str, size: int) -> None:
        super().__init__()
        self._objects = objects
        self._path = path
        self._size = size
        self._at = 0
        self._fetched: list[tuple[int, bytes]] = []

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place at which the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """So many bytes from here on; fewer at the end of the object alone.

        Raises:
            Missing, StorageTrouble
        """
        end = self._size if size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        begin, self._at = self._at, end
        for start, part in self._fetched:
            if start <= begin and end <= start + len(part):
                return part[begin - start : end - start]
        return self._objects.ranges(self._path, [(begin, end)])[0]

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Brings parts that are read next, in as few requests as their places allow; those brought before are let go.

        Raises:
            Missing, StorageTrouble
        """
        wanted: list[tuple[int, int]] = []
        for begin, end in sorted(ranges):
            if wanted and begin - wanted[-1][1] <= _APART:
                wanted[-1] = (wanted[-1][0], max(end, wanted[-1][1]))
            else:
                wanted.append((begin, end))
        self._fetched = []
        parts = self._objects.ranges(self._path, [(begin, min(end, self._size)) for begin, end in wanted])
        self._fetched = [(begin, part) for (begin, _), part in zip(wanted, parts, strict=True)]


def open_objects(settings: Settings, patience: Patience | None = None) -> Objects:
    """The storage that OBJECT_STORE_URL names; nothing is asked of it yet.

    Credentials and endpoints come from the environment variables that the tools of each provider read.

    Raises:
        SettingsError: nobody can be asked under that URL.
    """
    url = settings.object_store_url
    if url is None:
        return Folder(settings.reverie_home / "objects")
    return objects_at(url, patience or Patience())


def objects_at(url: str, patience: Patience) -> Objects:
    """The storage at a URL: file:///folder, memory://, s3://bucket/prefix, gs://..., az://container/....

    Raises:
        SettingsError: nobody can be asked under it.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    if parts.scheme == "memory":
        return Memory()
    name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    try:
        reads, writes = (_remote(url, parts.scheme, patience, one) for one in (patience.read, patience.write))
    except (BaseError, ValueError, OSError):
        raise SettingsError(
            f"OBJECT_STORE_URL: {name} is no storage that can be used; see docs/operating.md for what each kind takes."
        ) from None
    return Objects(name, lambda: reads, lambda: writes)


def _remote(url: str, scheme: str, patience: Patience, seconds: float) -> "ObjectStore":
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=patience.connect),
        "timeout": timedelta(seconds=seconds),
    }
    if scheme in {"s3", "s3a"} and _endpoint().startswith("http://"):
        # Whoever names an endpoint without TLS means it.
        client["allow_http"] = True
    retry: RetryConfig = {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=seconds),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }
    return from_url(url, client_options=client, retry_config=retry)


def _endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _what(error: Exception) -> str:
    said = str(error)
    if any(sign in said for sign in _FULL):
        return "is full"
    if any(sign in said for sign in _READ_ONLY):
        return "is read-only"
    if isinstance(error, PermissionError | PermissionDeniedError | UnauthenticatedError) or "os error 13" in said:
        return "refuses us"
    if any(sign in said for sign in _LATE):
        return "did not answer in time"
    if any(sign in said for sign in _AWAY):
        return "cannot be reached"
    return "does not answer as it should"


def _sync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _literal(name: str) -> str:
    """A name in which no character means anything to glob."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)
