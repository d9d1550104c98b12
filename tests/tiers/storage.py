"""Object storage that fails on demand: a folder, and what the tests put in its way."""

import io
import time
from collections.abc import Iterator
from pathlib import Path

from reverie.objects.store import Content, Folder, StorageTrouble


class Fickle(Folder):
    """A folder. ``troubles`` are what it does about the next writes, one each; ``down``: it answers nothing.

    A trouble is ``fine``, ``down`` (nothing is written), ``half`` (half of it is written, and nothing said), ``lost``
    (all is written, and no answer comes) or ``slow``.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.troubles: list[str] = []
        self.down = False
        self.puts = 0

    def _ask(self) -> None:
        if self.down:
            raise StorageTrouble("Object storage (there) did not answer in time.")

    def put(self, path: str, content: Content) -> None:
        """Writes, or does not."""
        self._ask()
        self.puts += 1
        trouble = self.troubles.pop(0) if self.troubles else "fine"
        if trouble == "down":
            raise StorageTrouble("Object storage (there) is full: it cannot write.")
        if trouble == "slow":
            time.sleep(0.3)
        raw = bytes(content)
        super().put(path, raw[: len(raw) // 2] if trouble == "half" else raw)
        if trouble == "lost":
            raise StorageTrouble("Object storage (there) did not answer in time: it cannot write.")

    def size(self, path: str) -> int | None:
        """As a folder."""
        self._ask()
        return super().size(path)

    def chunks(self, path: str) -> Iterator[bytes]:
        """As a folder."""
        self._ask()
        return super().chunks(path)

    def paths(self, prefix: str | None = None) -> Iterator[tuple[str, int]]:
        """As a folder."""
        self._ask()
        return super().paths(prefix)

    def open(self, path: str) -> io.RawIOBase:
        """As a folder."""
        self._ask()
        return super().open(path)
