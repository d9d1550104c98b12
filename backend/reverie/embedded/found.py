"""Finding the PostgreSQL that ``reverie up`` runs in a home, for commands that work on the store itself."""

from reverie.embedded.home import Home
from reverie.embedded.postgres import OWNER

_READY = 7
"""The line of a pid file that says how far the server is; before it its port and the folder of its socket
(miscadmin.h)."""
_PORT, _SOCKET = 3, 4


def running_store(home: Home) -> str | None:
    """The URL of a home's PostgreSQL, as the owner of the schema; None where none runs."""
    try:
        lines = (home.servers / "postgres" / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    if not home.has_secrets or len(lines) <= _READY or lines[_READY].strip() != "ready":
        return None
    password, port, socket = home.secret("owner"), lines[_PORT].strip(), lines[_SOCKET].strip()
    if socket:
        return f"postgresql://{OWNER}:{password}@/{OWNER}?host={socket}&port={port}"
    return f"postgresql://{OWNER}:{password}@127.0.0.1:{port}/{OWNER}"
