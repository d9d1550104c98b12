import asyncio
import os
from pathlib import Path

import psycopg
import pytest
from tests.embedded.helpers import alive, place_in

from reverie.core.errors import StartError
from reverie.embedded.account import Place, acting
from reverie.embedded.postgres import OWNER, SUPERUSER, Postgres, socket_folder


def postgres_in(place: Place) -> Postgres:
    return Postgres(place, superuser_password="above", owner_password="below")


async def test_serves_its_owner_and_keeps_what_it_was_given(open_folder: Path) -> None:
    """Made with what keeps data safe, stopped, and started again."""
    place = place_in(open_folder)
    postgres = postgres_in(Place(place.folder, place.log, place.account))
    await postgres.start()
    try:
        async with await psycopg.AsyncConnection.connect(postgres.url()) as connection:
            role = await (
                await connection.execute("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user")
            ).fetchone()
            assert role == (False, True)
            names = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "listen_addresses", "jit")
            values = [await (await connection.execute(f"SHOW {name}")).fetchone() for name in names]
            assert values == [("on",), ("on",), ("on",), ("on",), ("",), ("off",)]
            await connection.execute("CREATE TABLE kept AS SELECT '[1,2]'::halfvec(2) AS vec")
    finally:
        await postgres.stop()
    assert "database system is shut down" in (place.log / "postgres.log").read_text()

    again = postgres_in(place)
    await again.start()
    try:
        async with await psycopg.AsyncConnection.connect(again.url()) as connection:
            assert await (await connection.execute("SELECT vec::text FROM kept")).fetchone() == ("[1,2]",)
    finally:
        await again.stop()


async def test_recovers_from_a_crash_whose_pid_is_now_anothers(open_folder: Path) -> None:
    place = place_in(open_folder)
    postgres = postgres_in(place)
    await postgres.start()
    pid_file = postgres.data / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), 9)
    assert await postgres.wait() == -9
    (lock_file,) = place.folder.rglob(".s.PGSQL.*.lock")
    # Of the same account: PostgreSQL takes no notice of those of others.
    other = await asyncio.create_subprocess_exec("sleep", "60", **acting(place.account))
    for file in (pid_file, lock_file):
        file.write_text("\n".join([str(other.pid), *file.read_text().splitlines()[1:]]) + "\n")
    try:
        await postgres.start()
        async with await psycopg.AsyncConnection.connect(postgres.url()) as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    finally:
        other.kill()
        await other.wait()
        await postgres.stop()
    assert "database system was not properly shut down" in (place.log / "postgres.log").read_text()


async def test_takes_over_from_one_that_was_left_running(open_folder: Path) -> None:
    place = place_in(open_folder)
    left, successor = postgres_in(place), postgres_in(place)
    await left.start()
    pid = int((left.data / "postmaster.pid").read_text().split()[0])
    await successor.start()
    try:
        assert not alive(pid)
        with psycopg.connect(successor.url(SUPERUSER, OWNER)) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (SUPERUSER,)
    finally:
        await successor.stop()
        await left.stop()


async def test_a_path_too_long_for_a_socket_means_loopback(open_folder: Path) -> None:
    postgres = postgres_in(place_in(open_folder / ("long" * 25)))
    await postgres.start()
    try:
        assert f"postgresql://{OWNER}:below@127.0.0.1:" in postgres.url()
        with psycopg.connect(postgres.url()) as connection:
            assert connection.execute("SELECT host(inet_server_addr())").fetchone() == ("127.0.0.1",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(postgres.url().replace(":below@", ":guess@"))
    finally:
        await postgres.stop()


@pytest.mark.parametrize(
    ("folder", "usable"),
    [("/a/b", True), ("/" + "a" * 88, True), ("/" + "a" * 89, False), ("/a b", False), ("/a,b", False), ("/ä", False)],
)
def test_which_paths_hold_a_socket(folder: str, usable: bool) -> None:
    assert (socket_folder(Path(folder), ".s.PGSQL.5432") is not None) is usable


async def test_a_store_of_another_version_is_refused(open_folder: Path) -> None:
    place = place_in(open_folder)
    (place.folder / "postgres").mkdir()
    (place.folder / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(StartError, match="was written by PostgreSQL 16, and this Reverie brings 18: carry it over"):
        await postgres_in(place).start()


async def test_says_why_it_does_not_start(open_folder: Path) -> None:
    place = place_in(open_folder)
    data = place.subfolder("postgres")
    (data / "PG_VERSION").write_text("18\n")
    with pytest.raises(StartError, match=r"PostgreSQL did not start: .*postgresql\.conf.*; its log is"):
        await postgres_in(place).start()


async def test_a_first_start_that_was_broken_off_begins_again(open_folder: Path) -> None:
    place = place_in(open_folder)
    (place.subfolder("postgres.new") / "PG_VERSION").write_text("18\n")
    (place.folder / "password").write_text("old")
    postgres = postgres_in(place)
    await postgres.start()
    await postgres.stop()
    assert not (place.folder / "postgres.new").exists()
    assert not (place.folder / "password").exists()
