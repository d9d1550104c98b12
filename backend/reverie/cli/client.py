"""The HTTP of the commands: one client, whose faults are sentences."""

import ipaddress
import time
import uuid
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import orjson

from reverie.cli.exits import Misconfigured, Misused, Nothing, Refused, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

ATTEMPTS = 4
"""How often a request is sent while the service answers 503 or 429."""

LONGEST_PAUSE = 10.0
"""Seconds that are waited at most between two attempts, whatever Retry-After says."""

PATIENCE = 300.0
"""Seconds for an answer: a batch of long texts is encoded before it comes."""


class Client:
    """Talks to one service. Made by :func:`connect`; used as a context manager."""

    def __init__(self, url: str, key: str | None, key_from: str = "") -> None:
        """Describes the service; nothing is sent yet.

        Args:
            url: its root, with http:// or https://.
            key: the API key; None for health alone.
            key_from: where the key was found, for the sentence that says it is wrong.

        Raises:
            Misused: the URL is none.
            Misconfigured: the key cannot be one.
        """
        import httpx

        if key and not (key.isascii() and key.isprintable()):
            raise Misconfigured(f"The key that came {key_from} holds a sign that no key has.")
        self.url = url.rstrip("/")
        self._key_from = key_from
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            host = urlsplit(self.url).hostname
            self._http = httpx.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(PATIENCE, connect=5.0),
                # A proxy of the environment cannot reach this machine's loopback.
                trust_env=not _is_loopback(host),
            )
        except (httpx.InvalidURL, ValueError):
            host = None
        if not host or not self.url.startswith(("http://", "https://")):
            raise Misused(f"--url takes a URL such as http://127.0.0.1:8000, not {url!r}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, parameters: Mapping[str, Any] | None = None, *, also: Collection[int] = ()) -> Any:
        """The answer to a GET as JSON. Statuses in ``also`` are answers too, not faults."""
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        return self._answer("GET", path, parameters=given, also=also)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a POST as JSON. Fields that are None are left out.

        Sent again only with the same Idempotency-Key, so what it does is done once.
        """
        given = {name: value for name, value in body.items() if value is not None}
        return self._answer("POST", path, content=_encoded(given), once=str(uuid.uuid4()))

    def delete(self, path: str) -> None:
        """A DELETE that is answered with nothing."""
        self._answer("DELETE", path)

    def _answer(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        once: str | None = None,
        also: Collection[int] = (),
    ) -> Any:
        headers = {"Content-Type": "application/json", "Idempotency-Key": once} if once else {}
        for attempt in range(1, ATTEMPTS + 1):
            response = self._send(method, path, params=parameters, content=content, headers=headers)
            if response.status_code not in (429, 503) or response.status_code in also or attempt == ATTEMPTS:
                break
            time.sleep(_pause(response, attempt))
        return self._read(response, also)

    def _send(self, method: str, path: str, **request: Any) -> "httpx.Response":
        import httpx

        try:
            return self._http.request(method, path, **request)
        except httpx.TimeoutException as error:
            waited = "5 s" if isinstance(error, httpx.ConnectTimeout) else f"{PATIENCE:g} s"
            raise Unavailable(f"{self.url} did not answer within {waited}.") from None
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            raise Unavailable(f"Reverie does not answer at {self.url} ({_reason(error)}): {self._advice()}.") from None
        except httpx.TransportError as error:
            raise Unavailable(f"The connection to {self.url} broke ({_reason(error)}): try again.") from None

    def _advice(self) -> str:
        elsewhere = "name another with --url or REVERIE_URL"
        if _is_loopback(urlsplit(self.url).hostname):
            return f"`reverie up` starts one on this machine, or {elsewhere}"
        return elsewhere

    def _read(self, response: "httpx.Response", also: Collection[int]) -> Any:
        try:
            document = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            document = None
        if response.is_success or response.status_code in also:
            if document is None and response.status_code != 204:
                raise self._stranger(response)
            return document
        if not isinstance(document, dict) or not isinstance(document.get("detail"), str):
            raise self._stranger(response)
        sentence = document["detail"]
        match response.status_code:
            case 401:
                raise Refused(
                    f"{sentence.rstrip('.')} (it came {self._key_from}): give one with --key or REVERIE_KEY.", 401
                )
            case 404:
                raise Nothing(sentence)
            case 429 | 503:
                raise Unavailable(sentence)
            case _:
                raise Refused(sentence, response.status_code, document.get("field"))

    def _stranger(self, response: "httpx.Response") -> Unavailable:
        return Unavailable(
            f"What answers at {self.url} (with status {response.status_code}) is not Reverie: name another service "
            "with --url or REVERIE_URL."
        )


def connect(url: str | None, key: str | None, *, needs_key: bool = True) -> Client:
    """A client of the service that is meant: as given, or else the one of this machine's settings.

    Raises:
        Misused: the URL is none.
        Misconfigured: there is no key.
        SettingsError: a setting is wrong.
    """
    if url and (key or not needs_key):
        return Client(url, key, "from --key or REVERIE_KEY")
    from reverie.core.config import load_settings

    settings = load_settings()
    address = url or local_url(settings.reverie_host, settings.reverie_port)
    if key or not needs_key:
        return Client(address, key, "from --key or REVERIE_KEY")
    path = settings.reverie_home.expanduser() / "key"
    return Client(address, read_key(path), f"from {path}")


def read_key(path: "Path") -> str:
    """The key that ``reverie up`` keeps in a file.

    Raises:
        Misconfigured: it cannot be read.
    """
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misconfigured(
            f"The key in {path} cannot be read ({reason}): give one with --key or REVERIE_KEY."
        ) from None
    if not text:
        raise Misconfigured(
            f"There is no key: give one with --key or REVERIE_KEY, or let `reverie up` make one, kept in {path}."
        )
    return text


def local_url(host: str, port: int) -> str:
    """The URL by which this machine reaches a service that listens on ``host``."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - only compared
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _pause(response: "httpx.Response", attempt: int) -> float:
    asked = response.headers.get("retry-after", "")
    return min(float(asked) if asked.isdigit() else 0.5 * attempt, LONGEST_PAUSE)


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # Bytes of the command line that are no text; the service says which field they stand in.
        raise Misused("The text holds bytes that are not UTF-8.") from None


def _reason(error: Exception) -> str:
    reason = str(error).strip().rstrip(".")
    return reason.partition("] ")[2] if reason.startswith("[Errno") else reason or type(error).__name__
