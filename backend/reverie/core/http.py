"""JSON over HTTP: bodies read strictly, answers written fast, every fault a problem document (RFC 9457)."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import orjson
import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from reverie.core.errors import (
    BadRequest,
    BodyTooLarge,
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    ReverieError,
    Unauthorized,
    Unavailable,
)

CLIENT_CLOSED_REQUEST = 499
"""For nobody: the caller went away before the request was read."""

M = TypeVar("M", bound=BaseModel)
log = structlog.get_logger(__name__)


class Schema(BaseModel):
    """What comes in: unknown fields are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What goes out."""

    model_config = ConfigDict(frozen=True)


class Problem(Answer):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    field: str | None = None


class Json(Response):
    """A body written by orjson: uuid, datetime and numpy numbers included."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z)


class ProblemJson(Json):
    media_type = "application/problem+json"


PROBLEMS: dict[int, type[ReverieError]] = {
    error.status: error
    for error in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, Conflict, BodyTooLarge, Invalid, Unavailable
    )
}  # fmt: skip


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that can answer with these problems."""
    return {
        status: {
            "description": PROBLEMS[status].title(),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, 401, 503})
    }


def parse_json(raw: bytes) -> Any:
    """A JSON document (RFC 8259). Lone surrogates are let through, to be refused in the trace that holds them.

    Raises:
        BadRequest: not JSON, not UTF-8, a NaN or infinite number, or nested deeper than a parser can follow.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        first = error
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse_number, parse_float=_finite, parse_int=_whole)
    except UnicodeDecodeError:
        raise BadRequest("The body takes UTF-8 text.") from None
    except RecursionError:
        raise BadRequest("The body takes JSON that is nested less deeply.") from None
    except ValueError:
        raise BadRequest(f"The body takes JSON: {first.msg} at line {first.lineno}, column {first.colno}.") from None


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(text)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def _whole(text: str) -> int | float:
    """As orjson reads it: a double beyond 64 bits. One beyond doubles stays, to be refused in the trace that has it."""
    value = int(text)
    return value if -(2**63) <= value < 2**64 or abs(value) >= 10**308 else float(value)


_TAKES = {
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
    "dict_type": "a JSON object",
    "list_type": "a list",
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}, not {actual_length}",
    "string_type": "text",
    "string_too_short": "at least {min_length} character",
    "string_too_long": "at most {max_length} characters",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than_equal": "a number of at most {le:g}",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "uuid_type": "a UUID",
    "uuid_parsing": "a UUID",
    "literal_error": "{expected}",
}
"""What a field takes, in our words, by pydantic's kind of error and with its context."""


def complaint(error: ValidationError | RequestValidationError, whole: str = "The body") -> tuple[str | None, str]:
    """The first problem of a validation as (field, one sentence that names the field and what it takes).

    ``whole`` is what the sentence is about where no single field is at fault.
    """
    problem = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else error.errors()[0]
    kind, context = problem["type"], problem.get("ctx", {})
    path = [part for part in problem["loc"] if part not in ("body", "query", "path", "header")]
    path.append(getattr(context.get("error"), "field", 0))
    # Without the place in a list: its value is shown, and a lone value of a list came without one.
    field = ".".join(_short(part) for part in path if isinstance(part, str)) or None
    name = field or whole
    if kind == "missing":
        return field, f"{name} is required."
    if kind == "extra_forbidden":
        return field, f"{name} is not a field here."
    if kind in ("value_error", "assertion_error"):
        return field, f"{name} {context['error']}."
    takes = (
        _TAKES[kind].format_map(context).replace("'", "").replace("True", "true") if kind in _TAKES else "another value"
    )
    return field, f"{name} takes {takes}{_shown(problem.get('input'), kind)}."


def _short(part: str) -> str:
    """A part of a field's name as it can be shown: a caller may send any."""
    return part if part and len(part) <= 60 and part.isprintable() else ascii(part[:60])


def _shown(value: object, kind: str) -> str:
    if isinstance(value, str) and len(value) <= 60 and value.isprintable():
        return f", not {value if kind.endswith('_equal') else repr(value)}"
    if isinstance(value, bool | int | float | None) and abs(value or 0) < 10**60:
        return f", not {json.dumps(value)}"
    return ""


def validated(adapter: TypeAdapter[M], value: Any, request: Request) -> M:
    """``value`` as the adapter's model, within the limits of the service.

    Raises:
        Invalid: one sentence that names the field and what it takes.
    """
    try:
        return adapter.validate_python(value, context=request.app.state.limits)
    except ValidationError as error:
        field, sentence = complaint(error)
        raise Invalid(sentence, field=field) from None


def body_of(model: type[M]) -> Callable[[Request], Coroutine[Any, Any, M]]:
    """A dependency that reads the body as ``model``; placed after the principal: strangers are refused first."""
    adapter = TypeAdapter(model)

    async def read(request: Request) -> M:
        raw = await request.body()
        if not raw.strip():
            raise BadRequest("The body takes JSON, and there was none.")
        return validated(adapter, parse_json(raw), request)

    return read


def query_of(model: type[M]) -> Callable[[Request], Coroutine[Any, Any, M]]:
    """A dependency that reads the query string as ``model``.

    A field that takes a list is given several times, or with commas unless the model names it in ``UNSPLIT``.
    """
    adapter = TypeAdapter(model)
    lists = {name for name, field in model.model_fields.items() if "list[" in str(field.annotation)}
    whole: frozenset[str] = getattr(model, "UNSPLIT", frozenset())

    async def read(request: Request) -> M:
        given: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in lists:
                given.setdefault(name, []).extend([value] if name in whole else value.split(","))
            elif name in given:
                raise Invalid(f"{name} takes one value, and was given twice.", field=name)
            else:
                given[name] = value
        return validated(adapter, given, request)

    return read


def refuse_unknown_parameters(request: Request) -> None:
    """Refuses what a route does not take in the query string, such as a field that belongs into its body.

    Raises:
        Invalid: it names the first of them.
    """
    extra = request.scope["route"].openapi_extra or {}
    known = {parameter["name"] for parameter in extra.get("parameters", ())}
    for name in request.query_params:
        if name not in known:
            raise Invalid(f"{_short(name)} is not a field of the query string here.", field=_short(name))


def described(*, body: type[BaseModel] | None = None, query: type[BaseModel] | None = None) -> dict[str, Any]:
    """``openapi_extra`` of a route whose body or query string is read by :func:`body_of` or :func:`query_of`."""
    extra: dict[str, Any] = {}
    if body is not None:
        reference = {"$ref": f"#/components/schemas/{body.__name__}"}
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    if query is not None:
        schema = query.model_json_schema()
        required = set(schema.get("required", ()))
        extra["parameters"] = [
            {"name": name, "in": "query", "required": name in required, "schema": part, "explode": True}
            for name, part in schema["properties"].items()
        ]
    return extra


class BodyLimit:
    """ASGI middleware: a body over the limit is refused with 413, whether or not its length was said beforehand."""

    def __init__(self, app: Any, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self.limit:
            await self._refuse(scope, receive, send)
            return
        seen = 0

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise BodyTooLarge(f"The body takes at most {self.limit} bytes.")
            return message

        await self.app(scope, counted, send)

    async def _refuse(self, scope: Any, receive: Any, send: Any) -> None:
        error = BodyTooLarge(f"The body takes at most {self.limit} bytes.")
        headers = {"Connection": "close"}
        await ProblemJson(error.problem(scope["path"]), error.status, headers)(scope, receive, send)


class Heads:
    """ASGI middleware: HEAD is answered as GET is, without the body."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Any) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET"}, receive, without_body)


def _methods(request: Request) -> list[str]:
    """All methods that the path takes; the router knows only those of its first route, and no HEAD (:class:`Heads`)."""
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(
            route.matches({**request.scope, "method": method.replace("HEAD", "GET")})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def install_error_handlers(app: FastAPI) -> None:
    """Every fault, ours or the framework's, becomes one problem document."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ReverieError)  # noqa: S101 - narrows the handler's argument
        return ProblemJson(error.problem(request.url.path), error.status, error.headers)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        field, sentence = complaint(error)
        return await ours(request, Invalid(sentence, field=field))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == MethodNotAllowed.status:
            allowed = ", ".join(_methods(request))
            sentence = f"{request.url.path} takes {allowed}, not {request.method}."
            return await ours(request, MethodNotAllowed(sentence, headers={"Allow": allowed}))
        known = PROBLEMS.get(error.status_code, BadRequest)
        sentence = f"There is nothing at {request.url.path}." if known is NotFound else str(error.detail)
        return await ours(request, known(sentence))

    async def database(request: Request, error: Exception) -> Response:
        log.warning("postgresql failed", error=str(error).split("\n", 1)[0], path=request.url.path)
        return await ours(request, Unavailable("PostgreSQL cannot be reached or is too busy; try again shortly."))

    async def too_much(request: Request, error: Exception) -> Response:
        log.warning("postgresql refused", error=type(error).__name__, path=request.url.path)
        return await ours(request, Invalid("The request is more than PostgreSQL takes in one statement: shorten it."))

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("unexpected error", exc_info=error, path=request.url.path)
        return await ours(request, ReverieError("Something went wrong on our side; the log has the details."))

    app.add_exception_handler(ReverieError, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(psycopg.errors.StatementTooComplex, too_much)
    app.add_exception_handler(psycopg.errors.ProgramLimitExceeded, too_much)
    app.add_exception_handler(psycopg.OperationalError, database)
    app.add_exception_handler(PoolTimeout, database)
    app.add_exception_handler(Exception, unexpected)
