import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reverie.core.config import LEAST_SECRET, load_settings
from reverie.core.errors import StartError
from reverie.core.secret import Secret
from reverie.embedded.home import FORMAT, SECRETS, Home

HOLD = """
import sys
from pathlib import Path
from reverie.embedded.home import Home
with Home(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_makes_itself_and_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "b")
    with home.locked():
        assert home.ours
        assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
        assert json.loads((home.path / "home.json").read_text()) == {"format": FORMAT}


def test_a_folder_with_other_things_in_it_is_used_but_not_ours(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("")
    home = Home(tmp_path)
    with home.locked():
        assert not home.ours


def test_secrets_stay_the_same_and_are_private(tmp_path: Path) -> None:
    first = Home(tmp_path)
    assert not first.has_secrets
    known = [first.secret(name) for name in SECRETS]
    assert len(set(known)) == len(SECRETS)
    assert [Home(tmp_path).secret(name) for name in SECRETS] == known
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_the_secret_of_tombstones_is_made_once_and_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.locked():
        home.keep_secret()
        made = home.secret_key.read_text()
        home.keep_secret()
    assert home.secret_key.read_text() == made
    assert len(made) > LEAST_SECRET
    assert stat.S_IMODE(home.secret_key.stat().st_mode) == 0o600
    settings = load_settings(reverie_home=tmp_path)
    assert Secret.of(settings) == Secret.of_texts([made])
    named = load_settings(reverie_home=tmp_path, reverie_secret_key="one of our own choice")
    assert Secret.of(named) == Secret.of_texts(["one of our own choice"])


def test_damaged_secrets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"owner": 3}')
    with pytest.raises(StartError, match=r"secrets\.json is damaged: restore it"):
        Home(tmp_path).secret("owner")


def test_a_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # noqa: S603
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(StartError, match=rf"already runs on {tmp_path} \(process {holder.pid}\)"),
            Home(tmp_path).locked(),
        ):
            pass
        holder.kill()
    with Home(tmp_path).locked():
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("place", ["file/home", "/proc/home"])
def test_an_unwritable_place_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StartError, match=r"cannot be written \(.+\): name a folder of your own"),
        Home(tmp_path / place).locked(),
    ):
        pass


def test_a_store_of_a_newer_reverie_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(StartError, match=r"written by a newer Reverie .*: update Reverie"), Home(tmp_path).locked():
        pass


@pytest.mark.parametrize("content", ["", "[]", '{"format": "x"}', "{}"])
def test_a_damaged_format_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "home.json").write_text(content)
    with pytest.raises(StartError, match=r"home\.json is damaged"), Home(tmp_path).locked():
        pass
