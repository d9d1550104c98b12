import os
import pwd
import stat
from pathlib import Path

import psycopg
import pytest

from reverie.core.config import load_settings
from reverie.core.errors import StartError
from reverie.embedded.account import ELSEWHERE, Account, Place, account_for, enters, servers_folder
from reverie.embedded.home import Home
from reverie.embedded.postgres import Postgres, free_port, postgres_programs
from reverie.embedded.supervisor import running

ROOT = os.geteuid() == 0


def account_and_folder(path: Path, said: list[str]) -> tuple[Account | None, Path]:
    home = Home(path)
    with home.locked():
        account = account_for(home)
        return account, servers_folder(home, account, said.append)


async def test_works_below_folders_that_are_closed_to_postgres(closed_folder: Path) -> None:
    """Under root the data lies elsewhere, and is found again; otherwise it lies in the home."""
    said: list[str] = []
    settings = load_settings(reverie_home=closed_folder / "home", reverie_port=free_port(), redis_url="redis://none")
    for value in (1, 2):
        async with running(settings, said.append) as servers:
            assert servers.settings.database_url is not None
            with psycopg.connect(servers.settings.database_url) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS starts (value int)")
                connection.execute("INSERT INTO starts VALUES (%s)", [value])
                starts = connection.execute("SELECT count(*) FROM starts").fetchone()
                assert starts == (value,)
    check_where(closed_folder, said)


def check_where(closed_folder: Path, said: list[str]) -> None:
    assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700
    servers = closed_folder / "home" / "servers"
    assert servers.is_symlink() is ROOT
    if ROOT:
        assert servers.readlink().parent == ELSEWHERE
        assert (servers / "home").read_text().strip() == str(closed_folder / "home")
        assert sum("its data lies in" in line for line in said) == 1


def test_a_home_of_its_own_opens_to_the_account_and_no_further(open_folder: Path) -> None:
    account, folder = account_and_folder(open_folder / "home", [])
    assert folder == open_folder / "home" / "servers"
    assert enters(account, folder)
    assert stat.S_IMODE((open_folder / "home").stat().st_mode) == (0o710 if ROOT else 0o700)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid != 0


def test_the_rights_of_a_folder_with_other_things_in_it_stay(closed_folder: Path) -> None:
    (closed_folder / "letter").write_text("")
    before = closed_folder.stat()
    account, folder = account_and_folder(closed_folder, [])
    after = closed_folder.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert enters(account, folder)


def test_data_that_is_gone_is_not_made_anew(closed_folder: Path) -> None:
    with Home(closed_folder).locked():
        (closed_folder / "servers").symlink_to(closed_folder / "gone")
    with pytest.raises(StartError, match="which is gone: bring it back from a backup"):
        account_and_folder(closed_folder, [])


async def test_programs_that_the_account_cannot_run_are_copied(open_folder: Path, closed_folder: Path) -> None:
    """Another account than ours is there only under root; we ourselves run what we can enter."""
    account, folder = account_and_folder(open_folder / "home", [])
    (closed_folder / "packages").symlink_to(postgres_programs().parents[1])
    closed = closed_folder / "packages" / postgres_programs().relative_to(postgres_programs().parents[1])
    place = Place(folder, open_folder / "home" / "log", account, durable=False)
    server = Postgres(place, superuser_password="above", owner_password="below", programs=closed)
    await server.start()
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT '[1]'::vector").fetchone() is not None
    await server.stop()
    assert (folder / "programs").exists() is ROOT


def test_another_users_home_is_refused_to_root_and_closed_to_others(open_folder: Path) -> None:
    path = open_folder / "home"
    other = pwd.getpwnam("nobody")
    if ROOT:
        path.mkdir()
        os.chown(path, other.pw_uid, other.pw_gid)
    else:
        path = Path("/")
    with pytest.raises(StartError, match=r"belongs to nobody: start Reverie as that user|cannot be written"):
        account_and_folder(path, [])


def test_a_place_gives_its_folders_to_the_account(open_folder: Path) -> None:
    account, folder = account_and_folder(open_folder / "home", [])
    made = Place(folder, open_folder, account).subfolder("run")
    assert made.stat().st_uid == folder.stat().st_uid
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
