"""Profiles: services by name, each with its URL and key, in one file of the person's own. No network here.

The file is TOML, a table a profile; ``use`` names the one that is meant where none is named, else it is ``default``::

    use = "work"

    [default]
    url = "http://127.0.0.1:8000"

    [work]
    url = "https://memory.example.org"
    key = "rv_…"
"""

import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from reverie.cli.exits import Misconfigured, Misused

DEFAULT = "default"
USE = "use"
FIELDS = ("url", "key")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,50}")


@dataclass(frozen=True, slots=True)
class Profile:
    """A service by name; what is None is looked for elsewhere."""

    name: str
    url: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Profiles:
    """What the file holds; ``used`` is the name after ``use``, None where the file does not say."""

    path: Path
    known: dict[str, Profile]
    used: str | None = None

    def chosen(self, name: str | None) -> Profile | None:
        """The profile of that name; without one the default, None where there is no default.

        Raises:
            Misconfigured: there is none of that name; the sentence lists those there are.
        """
        wanted = (self.used or DEFAULT) if name is None else name
        if wanted in self.known:
            return self.known[wanted]
        if name is None and self.used is None:
            return None
        there = f"there are {_listed(self.known)}" if self.known else "there are none yet"
        raise Misconfigured(
            f"There is no profile {wanted!r} in {self.path}: {there}; "
            f"`reverie profile set {wanted if _NAME.fullmatch(wanted) else 'NAME'} --url URL` makes one."
        )

    def exposed(self) -> str | None:
        """A sentence, where the file holds keys and others than its owner may read it."""
        if os.name != "posix" or not any(profile.key for profile in self.known.values()):
            return None
        mode = self.path.stat().st_mode & 0o777
        return f"Others can read the keys in {self.path}: chmod 600 {self.path}." if mode & 0o077 else None


def file() -> Path:
    """Where the profiles are (XDG Base Directory Specification 0.8)."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "reverie" / "profiles.toml"


def read() -> Profiles:
    """The profiles there are; none without a file.

    Raises:
        Misconfigured: the file cannot be read or holds something else; the sentence says where.
    """
    path = file()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Profiles(path, {})
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misconfigured(f"The profiles in {path} cannot be read ({reason}).") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"The profiles in {path} are no TOML: {error}.") from None
    used = content.pop(USE, None)
    if used is not None and not isinstance(used, str):
        raise Misconfigured(f"{path}: {USE} takes the name of a profile.")
    return Profiles(path, {name: _profile(path, name, table) for name, table in content.items()}, used)


def _profile(path: Path, name: str, table: object) -> Profile:
    if not isinstance(table, dict):
        raise Misconfigured(f'{path}: {name} takes a table, such as [{name}] and below it url = "http://…".')
    for field, value in table.items():
        if field not in FIELDS:
            raise Misconfigured(f"{path}: {field} of [{name}] is neither url nor key.")
        if not isinstance(value, str):
            raise Misconfigured(f"{path}: {field} of [{name}] takes text in quotes.")
    return Profile(name, table.get("url"), table.get("key"))


def named(name: str) -> str:
    """``name``, if a profile may be called so.

    Raises:
        Misused: it may not.
    """
    if name == USE or not _NAME.fullmatch(name):
        raise Misused(f"A profile takes a name of letters, digits, - and _ (and not {USE!r}), not {name!r}.")
    return name


def write(profiles: Profiles) -> None:
    """Writes the file anew, readable for its owner alone (0600); comments in it do not stay.

    Raises:
        Misconfigured: it cannot be written.
    """
    from reverie.embedded.home import write_private

    try:
        profiles.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(profiles.path, rendered(profiles))
    except OSError as error:
        raise Misconfigured(f"The profiles in {profiles.path} cannot be written ({error.strerror}).") from None


def rendered(profiles: Profiles) -> str:
    """The TOML of these profiles."""
    parts = [f"{USE} = {_quoted(profiles.used)}"] if profiles.used else []
    for profile in profiles.known.values():
        given = [(field, getattr(profile, field)) for field in FIELDS]
        name = profile.name if _NAME.fullmatch(profile.name) else _quoted(profile.name)
        parts.append("\n".join([f"[{name}]", *(f"{field} = {_quoted(v)}" for field, v in given if v)]))
    return "\n\n".join(parts)


def _quoted(text: str) -> str:
    # A JSON string is a basic string of TOML, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _listed(known: dict[str, Profile]) -> str:
    return ", ".join(repr(name) for name in sorted(known))
