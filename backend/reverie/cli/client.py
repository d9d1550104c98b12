"""The HTTP of the commands: one client, whose faults are sentences."""

import ipaddress
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import orjson

from reverie.cli.exits import Failure, Misconfigured, Misused, Nothing, Refused, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from reverie.cli.profile_file import Profile

ATTEMPTS = 4
"""How often a request is sent at most while the service is busy (429, 503) or the connection breaks."""

LONGEST_PAUSE = 10.0
"""Seconds that a person waits between two attempts; a service that asks for more (Retry-After) is left alone."""

CONNECTING = 5.0
"""Seconds for a connection."""

PATIENCE = 300.0
"""Seconds for an answer: a batch of long texts is encoded before it comes."""

BY_OPTION = "give one with --key or REVERIE_KEY"


class Away(Unavailable):
    """The service was not reached: nothing of the request has arrived."""


class Broken(Unavailable):
    """The connection broke before the answer had come; the request may have been carried out."""


class Attempts:
    """How often, and for how long, one request is sent again."""

    def __init__(self, persistence: float, told: Callable[[str], None] | None) -> None:
        self.made = 1
        self._persistence = persistence
        self._until = time.monotonic() + persistence
        self._told = told

    def again(self, why: str, asked: float | None = None) -> bool:
        """Waits before another attempt, ``asked`` seconds if the service named them; False when it was enough."""
        pause = min(0.5 * self.made, LONGEST_PAUSE) if asked is None else asked
        patient = self.made < ATTEMPTS and pause <= LONGEST_PAUSE
        if not patient and time.monotonic() + pause > self._until:
            return False
        if self._told is not None and self._persistence and self.made == 1:
            self._told(f"{why} Trying again for up to {self._persistence:g} s …")
        self.made += 1
        time.sleep(pause)
        return True


class Client:
    """Talks to one service. Made by :func:`connect`; used as a context manager."""

    def __init__(
        self,
        url: str,
        key: str | None,
        key_from: str = "",
        *,
        remedy: str = BY_OPTION,
        persistence: float = 0.0,
        told: Callable[[str], None] | None = None,
    ) -> None:
        """Describes the service; nothing is sent yet.

        Args:
            url: its root, with http:// or https://.
            key: the API key; None for health alone.
            key_from: where the key was found, for the sentence that says it is wrong.
            remedy: what to do about a wrong key, for the same sentence.
            persistence: seconds for which a service that is away is asked again, beyond ATTEMPTS.
            told: hears, once for each absence, that it is being asked again.

        Raises:
            Misused: the URL is none.
            Misconfigured: the key cannot be one, or SSL_CERT_FILE or SSL_CERT_DIR cannot be read.
        """
        import httpx

        if key and not (key.isascii() and key.isprintable()):
            raise Misconfigured(f"The key that came {key_from} holds a sign that no key has: {remedy}.")
        self.url = url.rstrip("/")
        self._key_from = key_from
        self._remedy = remedy
        self._persistence = persistence
        self._told = told
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            host = urlsplit(self.url).hostname
            self._http = httpx.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(PATIENCE, connect=min(CONNECTING, PATIENCE)),
                verify=httpx.create_ssl_context() if self.url.startswith("https://") else False,
                # A proxy of the environment cannot reach this machine's loopback.
                trust_env=not _is_loopback(host),
            )
        except (httpx.InvalidURL, ValueError):
            host = None
        except OSError as error:
            raise Misconfigured(
                f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read ({_reason(error)})."
            ) from None
        if not host or not self.url.startswith(("http://", "https://")):
            raise Misused(f"--url takes a URL such as http://127.0.0.1:8000, not {url!r}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
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

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a PUT as JSON. Fields that are None are sent as null."""
        return self._answer("PUT", path, content=_encoded(body))

    @contextmanager
    def lines(self, path: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Iterator[bytes]]:
        """The lines of an answer to a GET, each as it comes, with its end. A connection that breaks raises Broken."""
        with self._faults(), self._http.stream("GET", path, params=dict(parameters or {})) as response:
            if not response.is_success or "x-request-id" not in response.headers:
                response.read()
                self._read(response, ())
                raise self._stranger(response)
            yield _lines_of(response.iter_bytes())

    def delete(self, path: str) -> Any:
        """The answer to a DELETE as JSON, None where it is answered with nothing."""
        return self._answer("DELETE", path)

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
        attempts = Attempts(self._persistence, self._told)
        while True:
            try:
                response = self._send(method, path, params=parameters, content=content, headers=headers)
            except (Away, Broken) as failed:
                # A DELETE that arrived would find nothing the second time; without persistence nobody is waited for.
                hopeless = method == "DELETE" or (isinstance(failed, Away) and not self._persistence)
                if hopeless or not attempts.again(str(failed)):
                    raise
                continue
            if response.status_code in also or not _is_busy(response, attempts.made):
                return self._read(response, also)
            if not attempts.again(f"{self.url} is busy ({response.status_code}).", _asked_pause(response)):
                return self._read(response, also)

    def _send(self, method: str, path: str, **request: Any) -> "httpx.Response":
        with self._faults():
            return self._http.request(method, path, **request)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What goes wrong on the way, in our words."""
        import httpx

        try:
            yield
        except httpx.ConnectTimeout:
            raise Away(f"{self.url} cannot be reached within {CONNECTING:g} s: {self._advice()}.") from None
        except httpx.TimeoutException:
            raise Unavailable(
                f"{self.url} did not answer within {PATIENCE:g} s: `reverie health` says what is down; then try again."
            ) from None
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            raise self._unreached(error) from None
        except httpx.TransportError as error:
            raise Broken(f"The connection to {self.url} broke ({_reason(error)}): try again.") from None

    def _unreached(self, error: Exception) -> Unavailable:
        reason = _reason(error)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Unavailable(
                f"The certificate of {self.url} is not trusted ({reason}): name its authority's file with "
                "SSL_CERT_FILE, or the host as the certificate names it."
            )
        if "SSL" in str(error):
            return Unavailable(
                f"{self.url} does not speak TLS as expected ({reason}): if it speaks HTTP, name it with http://."
            )
        return Away(f"Reverie does not answer at {self.url} ({reason}): {self._advice()}.")

    def _advice(self) -> str:
        elsewhere = "name another with --url, REVERIE_URL or --profile"
        if _is_loopback(urlsplit(self.url).hostname):
            return f"`reverie up` starts one on this machine, or {elsewhere}"
        return elsewhere

    def _read(self, response: "httpx.Response", also: Collection[int]) -> Any:
        document = _json(response)
        if response.is_success or response.status_code in also:
            if not _is_ours(response, document):
                raise self._stranger(response)
            return document
        if not isinstance(document, dict) or not isinstance(document.get("detail"), str):
            raise self._stranger(response)
        raise self._refusal(response, document)

    def _refusal(self, response: "httpx.Response", problem: dict[str, Any]) -> Failure:
        """What a problem document says, with what to do next."""
        sentence, status = str(problem["detail"]), response.status_code
        start = sentence.rstrip(".")
        match status:
            case 401:
                return Refused(f"{start} (it came {self._key_from}): {self._remedy}.", status)
            case 403:
                return Refused(f"{start}: `reverie key create` makes one, with an admin key.", status)
            case 404:
                return Nothing(sentence)
            case 413:
                return Refused(f"{start}: send less, or raise REVERIE_MAX_BODY_BYTES of the service.", status)
            case 429 | 503:
                asked = _asked_pause(response)
                return Unavailable(f"{start}: try again in {max(asked or 0, 1):.0f} s; `reverie health` says more.")
            case _:
                return Refused(sentence, status, problem.get("field"))

    def _stranger(self, response: "httpx.Response") -> Unavailable:
        return Unavailable(
            f"What answers at {self.url} (with status {response.status_code}) is not Reverie: name another service "
            "with --url, REVERIE_URL or --profile."
        )


def connect(
    url: str | None,
    key: str | None,
    profile: str | None = None,
    *,
    needs_key: bool = True,
    persistence: float = 0.0,
    told: Callable[[str], None] | None = None,
) -> Client:
    """A client of the service that is meant.

    What is not given is found in this order: the profile (the default one only where no URL was given, so that its
    key is sent to no other service), this machine's settings with the key file of REVERIE_HOME, whose key is sent to
    this machine alone.

    Raises:
        Misused: the URL is none.
        Misconfigured: there is no key, or no profile of that name.
        SettingsError: a setting is wrong.
    """
    key_from, remedy = "from --key or REVERIE_KEY", BY_OPTION
    if not (url and (key or not needs_key)) and (profile or not url):
        found = _profile(profile or None)
        url = url or found.url
        if found.key and not key:
            key, key_from = found.key, f"from the profile {found.name!r}"
            remedy = f"`reverie profile set {found.name} --key KEY` changes it"
    if not url or (needs_key and not key):
        from reverie.core.config import load_settings

        settings = load_settings()
        url = url or local_url(settings.reverie_host, settings.reverie_port)
        if needs_key and not key:
            host = urlsplit(url).hostname
            if not _is_loopback(host) and host != settings.reverie_host:
                raise Misconfigured(
                    f"There is no key for {url}, and the one in REVERIE_HOME is for the service of this machine: give "
                    "one with --key, REVERIE_KEY or a profile."
                )
            path = settings.reverie_home.expanduser() / "key"
            key, key_from = read_key(path), f"from {path}"
    return Client(url, key, key_from, remedy=remedy, persistence=persistence, told=told)


def _profile(name: str | None) -> "Profile":
    """The profile that is meant, an empty one where there is none; says so when others can read its key."""
    from reverie.cli import profile_file
    from reverie.cli.output import remark

    known = profile_file.read()
    found = known.chosen(name)
    if found is not None and found.key and (exposed := known.exposed()):
        remark(exposed)
    return found or profile_file.Profile(profile_file.DEFAULT)


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
            "There is no key: give one with --key, REVERIE_KEY or a profile, or let `reverie up` make one, kept in "
            f"{path}."
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


def _is_busy(response: "httpx.Response", attempt: int) -> bool:
    """Whether the same request may be answered later."""
    if response.status_code in (429, 503):
        return True
    # What we sent before the connection broke is still being carried out.
    document = _json(response) if response.status_code == 409 and attempt > 1 else None
    return isinstance(document, dict) and document.get("field") == "Idempotency-Key"


def _asked_pause(response: "httpx.Response") -> float | None:
    """Seconds of Retry-After (RFC 9110, 10.2.3: a number, or a date); None without one that can be read."""
    asked = response.headers.get("retry-after", "").strip()
    if asked.isdecimal() and asked.isascii():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    known = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (known - datetime.now(UTC)).total_seconds())


def _is_ours(response: "httpx.Response", document: Any) -> bool:
    """Whether Reverie gave an answer that is not a refusal: many a server answers with JSON."""
    if response.is_success:
        return "x-request-id" in response.headers and (document is not None or response.status_code == 204)
    return isinstance(document, dict) and ("parts" in document or isinstance(document.get("detail"), str))


def _lines_of(parts: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def _json(response: "httpx.Response") -> Any:
    """The document of an answer, None where it holds none."""
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # Bytes of the command line that are no text; the service says which field they stand in.
        raise Misused("The text holds bytes that are not UTF-8.") from None


def _reason(error: Exception) -> str:
    """What the system says of a failure, without its numbers and places."""
    reason = str(error).strip()
    if reason.startswith("["):
        reason = reason.partition("] ")[2] or reason
    reason = reason.removeprefix("certificate verify failed: ").partition(" (_ssl.c")[0].rstrip(".")
    return reason or type(error).__name__
