"""A server that speaks the S3 protocol on loopback, and how callers find it."""

import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from tests.faults.proxy import Proxy

BUCKET = "memories"
KEY, SECRET = "AKIAREVERIETEST", "a-secret-that-is-never-said"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, int]]:
    """Host and port of the server; it has a bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    httpx.put(f"http://{host}:{port}/{BUCKET}").raise_for_status()
    yield host, port
    server.stop()


@pytest.fixture
def s3(s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The server, with what callers of S3 look for in the environment."""
    reach(monkeypatch, *s3_server)
    return s3_server


@pytest.fixture
async def s3_proxy(s3: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """A proxy before the server, through which it is reached."""
    standing = Proxy(*s3)
    await standing.listen()
    reach(monkeypatch, "127.0.0.1", standing.port)
    yield standing
    await standing.stop()


def reach(monkeypatch: pytest.MonkeyPatch, host: str, port: int) -> None:
    """Makes an address the one that callers of S3 go to."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
