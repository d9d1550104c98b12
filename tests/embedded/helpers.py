"""What the tests of the process tree share."""

import os
import shutil
from pathlib import Path

from reverie.embedded.account import Place, account_for, servers_folder
from reverie.embedded.home import Home


def forget(folder: Path) -> None:
    """Removes a folder of homes, and what these keep elsewhere."""
    for servers in folder.rglob("servers"):
        if servers.is_symlink():
            shutil.rmtree(servers.readlink(), ignore_errors=True)
    shutil.rmtree(folder)


def place_in(path: Path) -> Place:
    """A place for servers in the home ``path``, without the care for crashes, which takes time."""
    home = Home(path)
    with home.locked():
        account = account_for(home)
        return Place(servers_folder(home, account, lambda _: None), home.log, account, durable=False)


def alive(pid: int) -> bool:
    """Whether a process runs (one that ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """The ids of all processes that descend from ``pid``."""
    parents = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = {child for child, above in parents.items() if above == parent} - found
        found |= children
        waiting += children
    return found
