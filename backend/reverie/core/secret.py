"""REVERIE_SECRET_KEY: the secret that keys what is kept of forgotten texts, and never lies in the store itself.

The first of several makes new hashes, and what was made with any of them is recognised: so a secret is changed by
putting a new one in front. A store notes the fingerprints of those that it needs; a process that lacks one does not
start.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reverie.core.errors import StartError
from reverie.core.queries import Queries

if TYPE_CHECKING:
    from reverie.core.config import Settings
    from reverie.core.database import Database

SQL = Queries("reverie.core", "secret.sql")

FILE: Final = "secret_key"
"""The file of a home that holds the secret where the settings name none."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Keys of 32 bytes, one for each secret in the order in which they were given; none where there is no secret."""

    keys: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, settings: "Settings") -> "Secret":
        """The secret of the settings, else the one that lies in the home."""
        given = settings.reverie_secret_key or _kept_in(settings.reverie_home)
        return cls.of_texts(given.split(",")) if given else cls()

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> "Secret":
        """The keys of secrets as they are written."""
        named = [text.strip() for text in texts if text.strip()]
        return cls(tuple(hashlib.blake2b(text.encode(), digest_size=32).digest() for text in named))

    @property
    def fingerprint(self) -> bytes | None:
        """Of the first: by it a store tells whether it is given; it says nothing of the secret."""
        return fingerprint(self.keys[0]) if self.keys else None

    @property
    def fingerprints(self) -> set[bytes]:
        """Of all of them."""
        return {fingerprint(key) for key in self.keys}


def fingerprint(key: bytes) -> bytes:
    """Eight bytes that name a key."""
    return hashlib.blake2b(b"fingerprint", key=key, digest_size=8).digest()


def secret_file(home: Path) -> Path:
    """Where a home keeps its secret."""
    return home.expanduser() / FILE


async def check_secret(database: "Database", secret: Secret, lost: str | None) -> None:
    """Makes sure that every secret that the store needs is given.

    ``lost``: the fingerprints (hexadecimal, comma separated) of those that are gone, and done without from now on.

    Raises:
        StartError: one is not; the sentence says what would be lost without it, and what to do.
    """
    accepted = {one.strip().lower() for one in (lost or "").split(",")} - {""}
    async with database.reading(None) as session:
        needed = {bytes(row[0]) for row in await session.fetch(SQL["fingerprints"])}
    missing = sorted(needed - secret.fingerprints)
    given_up = [one for one in missing if one.hex() in accepted]
    if len(given_up) < len(missing):
        raise StartError(await _refusal(database, [one.hex() for one in missing if one not in given_up]))
    if given_up:
        async with database.maintenance() as connection:
            await connection.execute(SQL["give_up"], (given_up,))


async def _refusal(database: "Database", missing: Sequence[str]) -> str:
    async with database.maintenance() as connection:
        row = await (await connection.execute(SQL["buried"])).fetchone()
    traces = f"up to {row[0]} forgotten traces" if row else "forgotten traces"
    names = ",".join(missing)
    return (
        f"REVERIE_SECRET_KEY lacks the secret of the fingerprint {names}, by which this store recognises {traces}: "
        f"give it back (it stood in the file {FILE} of the home, or in your environment), behind a newer one after a "
        "comma. If it is lost, their texts can be remembered again, by an import of an old file for instance; to go on "
        f"all the same, start once with REVERIE_SECRET_LOST={names}."
    )


def _kept_in(home: Path) -> str | None:
    try:
        return secret_file(home).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
