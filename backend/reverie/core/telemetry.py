"""Logs: structured, one line an event, never content or keys; and what each request leaves of itself.

Whatever writes to the standard library's loggers (uvicorn, arq, psycopg, redis) comes out in the same shape.
"""

import json
import logging
import re
import secrets
import sys
import time
import traceback
from typing import Any, Final

import orjson
import psycopg
import structlog
from structlog.contextvars import bind_contextvars, merge_contextvars, unbind_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from reverie.core.errors import ReverieError, SettingsError, StartError
from reverie.core.metrics import Metrics

QUIET: Final = frozenset(("/health/live", "/health/ready", "/metrics"))
"""Routes that machines ask all day long: logged at debug alone."""

NO_ROUTE: Final = "none"
"""What stands for the route where a request came to none: paths are as many as callers like."""

CLIENT_LEFT: Final = 499
"""The status that is logged where nobody was left to be answered (as nginx has it)."""

MOST_FRAMES: Final = 16
"""How much of the way to a failure is logged, innermost last."""

_ID = re.compile(rb"(?!rv_)[!#-\[\]-~]{1,128}")
"""A request id that is taken over: printable ASCII without blanks, quotes and backslashes; and no key of ours."""

_TELLING = (
    ReverieError, SettingsError, StartError, psycopg.Error, OSError, ImportError, AttributeError, NameError, TypeError,
    RuntimeError, AssertionError,
)  # fmt: skip
"""Errors whose message is ours or names code. What others say may quote what was remembered."""

_QUOTING = ("22", "42601")
"""SQLSTATEs whose first line quotes a value: data exceptions, and syntax, which a jsonpath or tsquery may have."""

log = structlog.get_logger(__name__)


def configure_logging(level: str) -> None:
    """Sets up the logs of this process: readable lines on a terminal, JSON elsewhere; to standard error.

    ``level`` is that of our own lines; other libraries are heard from ``warning`` on.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer = _renderer()
    structlog.configure(
        processors=[*PROCESSORS, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(_Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *PROCESSORS],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    _adopt(formatter, number)
    logging.getLogger().setLevel(max(number, logging.WARNING))
    logging.getLogger("reverie").setLevel(number)


def _renderer() -> Processor:
    if sys.stderr.isatty():
        # Without the locals of each frame, which rich would show.
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(serializer=_json)


def _json(event: Any, **_options: Any) -> str:
    ordered = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event} | event
    try:
        return orjson.dumps(ordered, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # A lone surrogate, which UTF-8 has no bytes for.
        return json.dumps(ordered, default=str, skipkeys=True)


def _adopt(formatter: logging.Formatter, level: int) -> None:
    """Puts our handler on the root logger, in the place of one that stood there before."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(handler)
    handler = _Handler(_Stderr())
    handler.setFormatter(formatter)
    # Some libraries give their own loggers a level, which the root's does not touch.
    handler.setLevel(level)
    root.addHandler(handler)


class _Handler(logging.StreamHandler[Any]):
    """The handler of :func:`configure_logging`, to be told from those of others."""


class _Stderr:
    """Standard error as it is at the moment of writing: whoever captures it may have put another in its place."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _describe_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What ``exc_info`` stands for, as :func:`described`."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given is True else given
    if isinstance(error, BaseException):
        event["exception"] = described(error)
    return event


def described(error: BaseException) -> str:
    """An error, what it came from, and the way there: never a value, a local variable or what a message may quote."""
    lines: list[str] = []
    for one in _chain(error):
        said = reason(one)
        after = ["which led to", *lines] if lines else []
        lines = [*way_to(one), type(one).__name__ + (f": {said}" if said else ""), *after]
        if isinstance(one, BaseExceptionGroup):
            lines += [f"{number}. {described(part)}" for number, part in enumerate(one.exceptions, 1)]
    return "\n".join(lines)


def way_to(error: BaseException) -> list[str]:
    """The frames that an error came through, each as file, line and function; the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _chain(error: BaseException) -> "list[BaseException]":
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and len(found) < MOST_FRAMES:
        found.append(following)
        context = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or context
    return found


def reason(error: BaseException) -> str | None:
    """The first line of what an error says, where that quotes nothing that was remembered; else None."""
    quotes = isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_QUOTING)
    if quotes or not isinstance(error, _TELLING):
        return None
    return (str(error).splitlines() or [""])[0].strip() or None


PROCESSORS: Final[tuple[Processor, ...]] = (
    merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _describe_error,
)
"""What every line goes through before it is written."""


class Requests:
    """ASGI middleware, the outermost: a request has an id, is measured, and leaves one line in the log.

    The id is the caller's ``X-Request-ID`` where that is a sane one; it comes back in the answer and stands in every
    line that the request causes.
    """

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        identity = request_id(scope["headers"])
        status, ended = 0, False

        async def answer(message: Any) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", identity)]
                message = {**message, "headers": headers}
            elif message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            await send(message)

        bind_contextvars(request_id=identity.decode())
        self._metrics.running += 1
        try:
            await self.app(scope, receive, answer)
        except Exception:
            # What was answered with 500 was logged as well; the server would log it again, with what it quotes.
            status = status or 500
            if not ended:
                raise
        finally:
            self._metrics.running -= 1
            self._tell(scope, status or CLIENT_LEFT, time.perf_counter() - began)
            unbind_contextvars("request_id", "space")

    def _tell(self, scope: Any, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = route_of(scope)
        self._metrics.request(method, route, status, seconds)
        tell = log.debug if route in QUIET else log.info
        tell("request", method=method, route=route, status=status, ms=round(seconds * 1000, 2))


_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""What is told apart: a caller may send any."""


def request_id(headers: Any) -> bytes:
    """The caller's X-Request-ID if it is sane, else one of our own."""
    for name, value in headers:
        if name == b"x-request-id":
            if _ID.fullmatch(value):
                return bytes(value)
            break
    return secrets.token_hex(8).encode()


def route_of(scope: Any) -> str:
    """The template of the route that answered, such as ``/memory/traces/{trace_id}``; the same under ``/v1``."""
    return getattr(scope.get("route"), "path", NO_ROUTE)


def bind_space(space_id: object) -> None:
    """Names the space in every line that the request causes from here on."""
    bind_contextvars(space=str(space_id))
