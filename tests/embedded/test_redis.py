from pathlib import Path

import pytest
import redis
import redis.exceptions
from tests.embedded.helpers import place_in

from reverie.embedded.account import Place
from reverie.embedded.redis import Redis


async def test_keeps_what_it_was_given(open_folder: Path) -> None:
    place = place_in(open_folder)
    place = Place(place.folder, place.log, place.account)
    server = Redis(place, password="secret", max_memory="64mb")
    await server.start()
    with redis.Redis.from_url(server.url(3)) as client:
        client.set("bell", "rung")
        assert client.config_get("maxmemory*")["maxmemory-policy"] == "allkeys-lfu"
        assert client.config_get("maxmemory")["maxmemory"] == str(64 * 1024 * 1024)
    with (
        pytest.raises(redis.exceptions.AuthenticationError),
        redis.Redis.from_url(server.url().replace("secret", "x")) as client,
    ):
        client.ping()
    await server.stop()
    await server.start()
    try:
        with redis.Redis.from_url(server.url(3)) as client:
            assert client.get("bell") == b"rung"
    finally:
        await server.stop()


async def test_begins_anew_when_it_cannot_read_what_it_kept(open_folder: Path) -> None:
    said: list[str] = []
    place = place_in(open_folder)
    place = Place(place.folder, place.log, place.account, said.append)
    (place.subfolder("redis") / "appendonly.aof").write_text("not an append-only file\n" * 10)
    server = Redis(place, password="secret")
    await server.start()
    try:
        with redis.Redis.from_url(server.url()) as client:
            assert client.ping()
    finally:
        await server.stop()
    assert len(said) == 1
    assert "Redis could not read what it had kept" in said[0]


async def test_a_path_too_long_for_a_socket_means_loopback(open_folder: Path) -> None:
    server = Redis(place_in(open_folder / ("long" * 25)), password="secret")
    await server.start()
    try:
        assert server.url(2).startswith("redis://:secret@127.0.0.1:")
        with redis.Redis.from_url(server.url(2)) as client:
            assert client.ping()
    finally:
        await server.stop()
