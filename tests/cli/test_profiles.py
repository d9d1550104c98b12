"""Profiles: which service a command means, the file they are kept in, and its faults."""

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.cli import profile_file
from reverie.cli.profile_file import Profile, Profiles
from reverie.embedded.postgres import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Service


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file, in the XDG_CONFIG_HOME of the test."""
    return tmp_path / "config" / "reverie" / "profiles.toml"


@pytest.fixture
def work(alone: "Cli", service: "Service") -> None:
    """A profile ``work`` that names the service of the tests, and one that names nobody."""
    assert alone("profile", "set", "nobody", "--url", f"http://127.0.0.1:{free_port()}").exit_code == 0
    assert alone("profile", "set", "work", "--url", service.url, "--key", "-", stdin=service.key).exit_code == 0


def put(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.mark.usefixtures("work")
def test_a_profile_names_the_service_and_its_key(alone: "Cli", user: str, path: Path) -> None:
    assert alone("remember", "Hello", "--user", user, "--profile", "work").exit_code == 0
    assert alone("traces", "--user", user, REVERIE_PROFILE="work").exit_code == 0
    assert alone("health", "--profile", "work").exit_code == 0
    assert alone("key", "list", "--profile", "work").exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("work")
def test_option_then_environment_then_profile_then_key_file(
    alone: "Cli", service: "Service", user: str, tmp_path: Path
) -> None:
    wrong = alone("traces", "--user", user, "--profile", "work", REVERIE_KEY="rv_environment")
    assert "it came from --key or REVERIE_KEY" in wrong.stderr
    by_option = alone("traces", "--user", user, "--profile", "work", "--key", service.key, REVERIE_KEY="rv_environment")
    assert by_option.exit_code == 3
    elsewhere = alone("health", "--profile", "nobody", REVERIE_URL=service.url)
    assert elsewhere.exit_code == 0
    assert alone("health", "--profile", "work", REVERIE_PROFILE="nobody").exit_code == 0
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text("rv_file\n")
    assert alone("traces", "--user", user, "--profile", "work").exit_code == 3
    assert alone("profile", "set", "work", "--key", "").exit_code == 0
    from_file = alone("traces", "--user", user, "--profile", "work")
    assert f"it came from {tmp_path / 'home' / 'key'}" in from_file.stderr


@pytest.mark.usefixtures("work")
def test_the_default_profile(alone: "Cli", service: "Service", user: str) -> None:
    port = str(free_port())
    assert alone("health", REVERIE_PORT=port).exit_code == 69, "none is called default"
    assert alone("profile", "use", "work").exit_code == 0
    assert alone("health", REVERIE_PORT=port).exit_code == 0
    assert alone("traces", "--user", user).exit_code == 3
    assert alone("profile", "remove", "work").exit_code == 0
    assert alone("health", REVERIE_PORT=port).exit_code == 69
    assert alone("profile", "set", "default", "--url", service.url).exit_code == 0
    assert alone("health", REVERIE_PORT=port).exit_code == 0


@pytest.mark.usefixtures("work")
def test_the_key_of_the_default_profile_goes_to_no_other_service(alone: "Cli", service: "Service", user: str) -> None:
    assert alone("profile", "use", "work").exit_code == 0
    other = alone("traces", "--user", user, "--url", service.url)
    assert other.exit_code == 78
    assert other.stderr.startswith("There is no key")
    assert alone("traces", "--user", user, "--url", service.url, "--profile", "work").exit_code == 3


@pytest.mark.usefixtures("work")
def test_a_wrong_name_is_told_which_there_are(alone: "Cli", path: Path) -> None:
    for command in (("users", "--profile", "wrok"), ("profile", "use", "wrok"), ("profile", "remove", "wrok")):
        wrong = alone(*command)
        assert wrong.exit_code == 78
        assert wrong.stderr == (
            f"There is no profile 'wrok' in {path}: there are 'nobody', 'work'; "
            "`reverie profile set wrok --url URL` makes one.\n"
        )
    put(path, 'use = "gone"\n')
    assert "there are none yet" in alone("users").stderr


@pytest.mark.usefixtures("work")
def test_a_wrong_key_says_how_to_change_it(alone: "Cli") -> None:
    assert alone("profile", "set", "work", "--key", "rv_wrong").exit_code == 0
    wrong = alone("users", "--profile", "work")
    assert wrong.exit_code == 1
    assert wrong.stderr == (
        "The key is not known or was revoked (it came from the profile 'work'): `reverie profile set work --key KEY` "
        "changes it.\n"
    )


@pytest.mark.usefixtures("work")
def test_the_list_shows_no_key(alone: "Cli", service: "Service") -> None:
    alone("profile", "use", "work")
    shown = alone("profile", "list")
    assert [line.split() for line in shown.stdout.splitlines() if service.url in line] == [
        ["*", "work", service.url, "yes"]
    ]
    programs = alone("profile", "list", "--json")
    assert {"name": "work", "url": service.url, "has_key": True, "default": True} in json.loads(programs.stdout)
    assert service.key not in shown.output + programs.output


def test_no_profiles(alone: "Cli", path: Path) -> None:
    empty = alone("profile", "list")
    assert (empty.exit_code, empty.stdout) == (3, "")
    assert empty.stderr.startswith(f"There are no profiles in {path}: `reverie profile set")


@pytest.mark.usefixtures("work")
def test_a_key_that_others_can_read_is_said_once(alone: "Cli", user: str, path: Path) -> None:
    path.chmod(0o640)
    shown = alone("traces", "--user", user, "--profile", "work")
    assert shown.stderr.splitlines()[0] == f"Others can read the keys in {path}: chmod 600 {path}."
    assert shown.stderr.count("chmod") == 1
    assert "chmod" in alone("profile", "list").stderr
    assert "chmod" not in alone("health", "--profile", "nobody").stderr
    path.chmod(0o600)
    assert "chmod" not in alone("traces", "--user", user, "--profile", "work").stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[work\n", "are no TOML: "),
        ("url = 'http://127.0.0.1'\n", "url takes a table, such as [url]"),
        ("[work]\nuri = 'http://127.0.0.1'\n", "uri of [work] is neither url nor key."),
        ("[work]\nkey = 7\n", "key of [work] takes text in quotes."),
        ("use = 7\n", "use takes the name of a profile."),
        (b"\xff".decode("latin-1"), "are no TOML: "),
    ],
)
def test_a_file_that_cannot_be_used(alone: "Cli", path: Path, text: str, sentence: str) -> None:
    put(path, text)
    wrong = alone("users")
    assert wrong.exit_code == 78
    assert sentence in wrong.stderr
    assert wrong.stderr.count("\n") == 1


def test_a_file_that_cannot_be_read_or_written(alone: "Cli", path: Path) -> None:
    path.mkdir(parents=True)
    wrong = alone("users")
    assert (wrong.exit_code, "cannot be read (" in wrong.stderr) == (78, True)
    path.rmdir()
    path.parent.rmdir()
    path.parent.touch()
    wrong = alone("profile", "set", "work", "--url", "http://127.0.0.1")
    assert (wrong.exit_code, "cannot be" in wrong.stderr) == (78, True)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("set", "work"), 2, "Say what to keep"),
        (("set", "use", "--url", "http://127.0.0.1"), 2, "A profile takes a name of letters"),
        (("set", "my work", "--url", "http://127.0.0.1"), 2, "A profile takes a name of letters"),
        (("set", "work", "--url", "127.0.0.1"), 2, "--url takes a URL such as"),
        (("set", "work", "--key", "schlüssel"), 78, "holds a sign that no key has"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    alone: "Cli", path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    wrong = alone("profile", *arguments)
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (code, 1)
    assert sentence in wrong.stderr
    assert not path.exists()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    st.dictionaries(TEXTS.filter(lambda name: name != "use"), st.tuples(st.none() | TEXTS, st.none() | TEXTS)),
    st.none() | TEXTS,
)
def test_what_is_written_is_read_again(known: dict[str, tuple[str | None, str | None]], used: str | None) -> None:
    profiles = {name: Profile(name, url, key) for name, (url, key) in known.items()}
    text = profile_file.rendered(Profiles(Path("profiles.toml"), profiles, used))
    found = tomllib.loads(text)
    assert found.pop("use", None) == used
    assert {name: (table.get("url"), table.get("key")) for name, table in found.items()} == known
