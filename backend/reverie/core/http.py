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
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from reverie.core.errors import (
    BadRequest,
    BodyTooLarge,
    Conflict,
    Forbidden,
    HeadersTooLarge,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    ReverieError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnreadableEncoding,
    UrlTooLong,
)
from reverie.core.outages import PASSING, refusal
from reverie.core.telemetry import reason

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


def given(name: str, kind: str) -> dict[str, Any]:
    """JSON Schema of an object in which a field that may be null is not: its type is ``kind``."""
    return {"required": [name], "properties": {name: {"type": kind}}}


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
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, RequestTimeout, Conflict, BodyTooLarge,
        UrlTooLong, UnreadableEncoding, Invalid, TooManyRequests, HeadersTooLarge, ReverieError, Unavailable,
    )
}  # fmt: skip


class Direct(APIRoute):
    """A route whose endpoint takes the request and nothing else, and answers with a response.

    It is called at once: what FastAPI does for dependencies, bodies and response models took a twentieth of a recall.
    """

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request that came to this route."""
        if scope["method"] not in (self.methods or ()):
            # One of another method, which FastAPI refuses.
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


class _Anything(Convertor[str]):
    """A part of a path with slashes and ends of lines in it: a caller's own name of a user."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _User(_Anything):
    """The same at the end of a path, where another route of a user's goes on with a word of its own."""

    regex = "(?s:.+)(?<!/export)(?<!/profile)"


register_url_convertor("anything", _Anything())
register_url_convertor("user", _User())


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that can answer with these problems.

    What every route can answer with is added when the API's description is made (:mod:`reverie.core.openapi`).
    """
    return {
        status: {
            "description": PROBLEMS[status].title(),
            "content": {ProblemJson.media_type: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(statuses)
    }


def answered(
    description: str, *, links: dict[str, dict[str, Any]] | None = None, **examples: dict[str, Any]
) -> dict[str, Any]:
    """One of the ``responses`` of a route: what it means, named examples of its body, where it leads (OpenAPI links).

    A name's underscores are shown as spaces.
    """
    content = {Json.media_type: {"examples": named(**examples)}} if examples else {}
    return {
        "description": description,
        **({"content": content} if content else {}),
        **({"links": links} if links else {}),
    }


def named(**examples: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Examples as OpenAPI names them."""
    return {name: {"summary": name.replace("_", " "), "value": value} for name, value in examples.items()}


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
    path = [
        part for place, part in enumerate(problem["loc"]) if place or part not in ("body", "query", "path", "header")
    ]
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
    """A dependency that reads the body as ``model``; placed after the principal: strangers are refused first.

    It is read as JSON whatever Content-Type says, for ``curl -d`` calls everything a form.
    """
    adapter = TypeAdapter(model)

    async def read(request: Request) -> M:
        coding = request.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            raise UnreadableEncoding(
                f"The body takes JSON as it is: send it without Content-Encoding {_short(coding)}."
            )
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
                raise Invalid(f"{_short(name)} takes one value, and was given twice.", field=_short(name))
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
    known = {parameter["name"] for parameter in extra.get("parameters", ()) if parameter["in"] == "query"}
    for name in request.query_params:
        if name not in known:
            raise Invalid(f"{_short(name)} is not a field of the query string here.", field=_short(name))


def described(
    *,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    parts: tuple[type[BaseModel], ...] = (),
    once: bool = False,
    **examples: dict[str, Any],
) -> dict[str, Any]:
    """``openapi_extra`` of a route whose body or query string is read by :func:`body_of` or :func:`query_of`.

    Args:
        parts: models that the schema of the body refers to by name.
        once: whether the route heeds Idempotency-Key.
        examples: bodies, by name.
    """
    extra: dict[str, Any] = {"parameters": []}
    if body is not None:
        _, made = models_json_schema([(model, "validation") for model in (body, *parts)], ref_template=REFERENCE)
        content = {"schema": {"$ref": REFERENCE.format(model=body.__name__), **made}, "examples": named(**examples)}
        extra["requestBody"] = {"required": True, "content": {Json.media_type: content}}
    if query is not None:
        extra["parameters"] += _query_parameters(query)
    if once:
        extra["parameters"].append(IDEMPOTENCY_KEY)
    return extra


REFERENCE = "#/components/schemas/{model}"

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and request get the same answer for 24 hours, however often they are sent.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "example": "order-17",
}


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    found = []
    for name, whole in schema["properties"].items():
        part = _without_null(whole)
        one = {"name": name, "in": "query", "required": name in required, "schema": part}
        one |= {key: part.pop(key) for key in ("description",) if key in part}
        if "examples" in part:
            one["example"] = part.pop("examples")[0]
        found.append(one | ({"style": "form", "explode": True} if part.get("type") == "array" else {}))
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is left out, where JSON would have null: a query string cannot say it."""
    kept = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    choices = [choice for choice in kept.pop("anyOf", []) if choice != {"type": "null"}]
    return {**choices[0], **kept} if len(choices) == 1 else {**kept, **({"anyOf": choices} if choices else {})}


MOST_URL_BYTES = 64 * 1024 - 1
MOST_PARAMETERS = 1000
MOST_HEADER_BYTES = 64 * 1024
"""What a request may be beside its body: reading more would hold up all others."""


class SizeLimit:
    """ASGI middleware: a request that is too large is refused, in its URL (414), its headers (431) or its body (413).

    ``limit`` is that of the body in bytes, whether or not its length was said beforehand.
    """

    def __init__(self, app: Any, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            answer = ProblemJson(refusal.problem(shown_path(scope)), refusal.status, {"Connection": "close"})
            await answer(scope, receive, send)
            return
        seen = 0

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise self._too_large()
            return message

        await self.app(scope, counted, send)

    def _refusal(self, scope: Any) -> ReverieError | None:
        query = scope["query_string"]
        if len(query) + len(scope["path"]) > MOST_URL_BYTES:
            return UrlTooLong(f"A URL takes at most {MOST_URL_BYTES} bytes: send what is long in a body.")
        if query.count(b"&") >= MOST_PARAMETERS:
            return UrlTooLong(f"A query string takes at most {MOST_PARAMETERS} parameters.")
        size, declared = 0, b"0"
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length":
                declared = value
        if size > MOST_HEADER_BYTES:
            return HeadersTooLarge(f"The headers take at most {MOST_HEADER_BYTES} bytes together.")
        return self._too_large() if declared.isdigit() and int(declared[:20]) > self.limit else None

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body takes at most {self.limit} bytes.")


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

        inner = {**scope, "method": "GET"}
        await self.app(inner, receive, without_body)
        # Whoever stands outside tells requests apart by it.
        scope["route"] = inner.get("route")


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


def presented_key(headers: Headers) -> str | None:
    """The key of a request: a bearer token, or X-API-Key."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key")


def shown_path(scope: Any) -> str:
    """The path of a request, cut where it is long: it is shown to whoever asked, and in the log.

    Not ``request.url``: that cannot be made of every Host header.
    """
    path = str(scope["path"])
    return path if len(path) <= MOST_SHOWN else f"{path[:MOST_SHOWN]}…"


MOST_SHOWN = 200


def install_error_handlers(app: FastAPI) -> None:
    """Every fault, ours or the framework's, becomes one problem document."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ReverieError)  # noqa: S101 - narrows the handler's argument
        return ProblemJson(error.problem(shown_path(request.scope)), error.status, error.headers)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        field, sentence = complaint(error)
        return await ours(request, Invalid(sentence, field=field))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == MethodNotAllowed.status:
            allowed = ", ".join(_methods(request))
            sentence = f"{shown_path(request.scope)} takes {allowed}, not {request.method}."
            return await ours(request, MethodNotAllowed(sentence, headers={"Allow": allowed}))
        known = PROBLEMS.get(error.status_code, BadRequest)
        sentence = f"There is nothing at {shown_path(request.scope)}." if known is NotFound else str(error.detail)
        return await ours(request, known(sentence))

    async def database(request: Request, error: Exception) -> Response:
        path = shown_path(request.scope)
        log.warning("postgresql failed", error=type(error).__name__, reason=reason(error), path=path)
        return await ours(request, refusal(error))

    async def too_much(request: Request, error: Exception) -> Response:
        log.warning("postgresql refused", error=type(error).__name__, path=shown_path(request.scope))
        return await ours(request, Invalid("The request is more than PostgreSQL takes in one statement: shorten it."))

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("unexpected error", exc_info=error, path=shown_path(request.scope))
        return await ours(request, ReverieError("Something went wrong on our side; the log has the details."))

    app.add_exception_handler(ReverieError, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(psycopg.errors.StatementTooComplex, too_much)
    app.add_exception_handler(psycopg.errors.ProgramLimitExceeded, too_much)
    for passing in PASSING:
        app.add_exception_handler(passing, database)
    app.add_exception_handler(Exception, unexpected)
