"""Questions to a model behind an HTTP endpoint: JSON there, bytes back, bounded in time and size."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import httpx

from reverie.core.addresses import PrivateAddress, PublicOnly
from reverie.core.errors import SettingsError

MOST_ANSWER_BYTES: Final = 64 * 1024 * 1024

PRIVATE: Final = "is at a private address, where an endpoint is asked only if AI_PRIVATE_ENDPOINTS is `allow`"
"""What is said of an endpoint that was not asked (:class:`Private`)."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class ExchangeError(Exception):
    """There is no answer."""


class TooSlow(ExchangeError):  # noqa: N818 - named as it is said
    """The answer was not there, or not all of it, when the deadline passed."""


class TooLong(ExchangeError):  # noqa: N818
    """The answer is longer than what is taken."""


class Closed(ExchangeError):  # noqa: N818
    """The exchange was closed."""


class Private(ExchangeError):  # noqa: N818
    """The endpoint is at a private address, where nobody allowed it to be."""


class AsyncExchange:
    """Posts to one URL, from one event loop; a request that is cancelled is broken off at once."""

    def __init__(
        self,
        url: httpx.URL,
        api_key: str | None,
        setting: str,
        most_bytes: int = MOST_ANSWER_BYTES,
        *,
        public_only: bool = False,
    ) -> None:
        """Prepares the connections.

        Args:
            url: as :func:`endpoint_url` gives it; its user and password are sent as basic authentication.
            api_key: sent as a bearer token.
            setting: the name of the setting that holds the key.
            most_bytes: the most of an answer's body.
            public_only: no private address is connected to, and no proxy.

        Raises:
            SettingsError: the key cannot be a header.
        """
        self._url = _without_user(url)
        self._client = httpx.AsyncClient(
            headers=_headers(api_key, setting),
            auth=_user_of(url),
            timeout=None,  # noqa: S113 - the time of all of a request is what is bounded, see `post`
            transport=PublicOnly() if public_only else None,
        )
        self._most_bytes = most_bytes

    async def post(self, content: bytes, seconds: float) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body, all of it within ``seconds``.

        Raises:
            ExchangeError: there is none.
            httpx.TransportError: the endpoint cannot be reached, or broke off.
        """
        if self._client.is_closed:
            raise Closed
        sent = self._client.stream("POST", self._url, content=content, extensions={"seconds": seconds})
        try:
            async with asyncio.timeout(seconds), sent as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > self._most_bytes:
                        raise TooLong
                return response.status_code, response.headers, bytes(body)
        except TimeoutError:
            raise TooSlow from None
        except PrivateAddress:
            raise Private from None
        except httpx.DecodingError as error:
            raise httpx.RemoteProtocolError(str(error)) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


class Exchange:
    """:class:`AsyncExchange` for several threads.

    It runs in a loop of its own: only there can all of a request be left when its time is over, looking up the name
    and each line of the answer's head included. Nothing breaks off a look-up that hangs: it goes on in a thread of the
    loop, and a process that ends waits for it, for as long as the resolver of the system tries.
    """

    def __init__(self, url: httpx.URL, api_key: str | None, setting: str, *, public_only: bool = False) -> None:
        """As :class:`AsyncExchange`; the loop begins with the first request."""
        self._exchange = AsyncExchange(url, api_key, setting, public_only=public_only)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._closing = threading.Event()
        self._running = 0
        self._lock = threading.Lock()

    def post(self, content: bytes, deadline: float) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body, all of it before ``deadline`` (of ``time.monotonic``).

        Raises:
            ExchangeError: there is none.
            httpx.TransportError: the endpoint cannot be reached, or broke off.
        """
        with self._in_use() as loop:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TooSlow
            return asyncio.run_coroutine_threadsafe(self._exchange.post(content, left), loop).result()

    def pause(self, seconds: float, deadline: float) -> bool:
        """Waits, unless that would pass the deadline or this is being closed; whether it did."""
        return time.monotonic() + seconds < deadline and not self._closing.wait(seconds)

    def close(self) -> None:
        """Ends pauses; the connections are closed when no request is under way any more."""
        self._closing.set()
        with self._lock:
            self._end_if_idle()

    @contextmanager
    def _in_use(self) -> Iterator[asyncio.AbstractEventLoop]:
        with self._lock:
            if self._closing.is_set():
                raise Closed
            if self._loop is None:
                self._loop = self._begun()
            loop = self._loop
            self._running += 1
        try:
            yield loop
        finally:
            with self._lock:
                self._running -= 1
                self._end_if_idle()

    def _begun(self) -> asyncio.AbstractEventLoop:
        begun = Future[asyncio.AbstractEventLoop]()

        async def serve() -> None:
            begun.set_result(asyncio.get_running_loop())
            await self._end.wait()
            await self._exchange.close()

        threading.Thread(target=lambda: asyncio.run(serve()), name="exchange", daemon=True).start()
        return begun.result()

    def _end_if_idle(self) -> None:
        if self._loop is not None and self._running == 0 and self._closing.is_set():
            self._loop.call_soon_threadsafe(self._end.set)
            self._loop = None


def endpoint_url(url: str, path: str, setting: str) -> httpx.URL:
    """The URL that is asked: ``url`` with ``path`` behind it, unless that is its end already.

    Raises:
        SettingsError: it is no URL of HTTP.
    """
    wrong = SettingsError(f"{setting}: takes a URL that begins with http:// or https://.")
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        raise wrong from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise wrong
    given = parsed.path.rstrip("/")
    return parsed.copy_with(path=given if given.endswith(path) else f"{given}{path}")


def other_answer(status: int, body: bytes) -> str | None:
    """What an answer is instead of one of a model, in words after "answered"; None where it may be one."""
    if status in _REDIRECTS:
        said = f"{status} {HTTPStatus(status).phrase}"
        return f"{said}, a redirect, and redirects are not followed: name the address that it leads to"
    if status == HTTPStatus.OK and body.lstrip()[:1] == b"<":
        return "with a page for people (HTML) instead of JSON"
    return None


def unreached(error: httpx.TransportError) -> str:
    """Why an endpoint did not answer, in words after its name. Neither its address nor its user is in them."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return "cannot be reached: nobody here knows the name of its host"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "cannot be reached: its certificate is not trusted here, or is that of another host"
        if isinstance(cause, ssl.SSLError):
            return "cannot be reached: it does not speak TLS as it should, or is behind http:// instead of https://"
        if isinstance(cause, ConnectionRefusedError):
            return "cannot be reached: nothing listens there"
    if isinstance(error, httpx.RemoteProtocolError):
        return "broke off, or did not keep to HTTP"
    return "cannot be reached"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that led to it, the nearest first; of several addresses that were tried, each."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _causes(one)
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from _causes(cause)


def _without_user(url: httpx.URL) -> httpx.URL:
    """The URL without user and password, which httpx would write into its log with the address."""
    return url.copy_with(userinfo=b"")


def _user_of(url: httpx.URL) -> tuple[str, str] | None:
    return (url.username, url.password) if url.userinfo else None


def _headers(api_key: str | None, setting: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if api_key is not None:
        if not api_key.isascii() or not api_key.isprintable():
            raise SettingsError(f"{setting}: takes printable ASCII characters.")
        headers["Authorization"] = f"Bearer {api_key}"
    return headers
