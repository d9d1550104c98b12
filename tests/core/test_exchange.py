"""What is said of an endpoint that does not answer, and the other addresses of one that does not."""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reverie.core import addresses, clock
from reverie.core.exchange import AsyncExchange, TooSlow, unreached


async def trouble_of(url: str) -> str:
    exchange = AsyncExchange(httpx.URL(url), None, "KEY")
    try:
        with pytest.raises(httpx.TransportError) as caught:
            await exchange.post(b"{}", 5.0)
    finally:
        await exchange.close()
    return unreached(caught.value)


@asynccontextmanager
async def speaking(said: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback that says one thing to everybody; its port."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def own_certificate(folder: Path) -> ssl.SSLContext:
    """A certificate of 127.0.0.1 that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "own.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_where_nothing_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        assert await trouble_of(f"http://127.0.0.1:{port}/") == "cannot be reached: nothing listens there"


async def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert await trouble_of("http://nowhere.example/") == ("cannot be reached: nobody here knows the name of its host")


async def test_what_speaks_no_tls() -> None:
    async with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "does not speak TLS as it should" in await trouble_of(f"https://127.0.0.1:{port}/")


async def test_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    async with speaking(b"", own_certificate(tmp_path)) as port:
        assert "its certificate is not trusted here" in await trouble_of(f"https://127.0.0.1:{port}/")


async def test_what_speaks_something_else() -> None:
    async with speaking(b"220 mail.example ESMTP\r\n\r\n") as port:
        assert await trouble_of(f"http://127.0.0.1:{port}/") == "broke off, or did not keep to HTTP"


def test_of_several_addresses_each_is_looked_at() -> None:
    several = OSError("All connection attempts failed")
    several.__cause__ = ExceptionGroup("several", [TimeoutError(), ConnectionRefusedError()])
    error = httpx.ConnectError("All connection attempts failed")
    error.__cause__ = several
    assert unreached(error) == "cannot be reached: nothing listens there"
    assert unreached(httpx.ReadError("")) == "cannot be reached"


@contextmanager
def dropping(address: str, port: int) -> Iterator[None]:
    """An address that neither takes a connection nor refuses it: its queue is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((address, port))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        time.sleep(0.05)
        yield


def several(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """Every name is that of these addresses, which count as public."""

    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        # httpx resolves what it connects to, an address by now.
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ((host,) if host[0] == "1" else found)
        ]

    monkeypatch.setattr(addresses, "is_private", lambda _: False)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(("seconds", "most"), [(20.0, 3.0), (2.0, 1.0)])
async def test_an_address_that_drops_what_is_sent_is_left_for_the_next(
    monkeypatch: pytest.MonkeyPatch, seconds: float, most: float
) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    async with speaking(said) as port:
        several(monkeypatch, "127.0.0.2", "127.0.0.1")
        exchange = AsyncExchange(httpx.URL(f"http://models.example.com:{port}/"), None, "KEY", public_only=True)
        took = []
        with dropping("127.0.0.2", port):
            for _ in range(2):
                began = time.monotonic()
                status, _, body = await exchange.post(b"{}", seconds)
                took.append(time.monotonic() - began)
                assert (status, body) == (200, b"{}")
        await exchange.close()
    assert most <= took[0] < most + 0.9
    # What answered is asked first from then on.
    assert took[1] < most


async def test_where_no_address_answers_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(b"") as port:
        several(monkeypatch, "127.0.0.2", "127.0.0.3")
        exchange = AsyncExchange(httpx.URL(f"http://models.example.com:{port}/"), None, "KEY", public_only=True)
        with dropping("127.0.0.2", port), dropping("127.0.0.3", port), pytest.raises(TooSlow):
            await exchange.post(b"{}", 0.6)
        await exchange.close()
