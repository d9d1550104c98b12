"""The OpenAPI document (3.1): FastAPI's, with the bodies read by our own hands, and every answer that can come."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from reverie.core.http import PROBLEMS, Problem, ProblemJson, problems
from reverie.core.limits import LIMIT, Limits

DESCRIPTION = """\
The memory of AI agents: remember, recall, forget.

Every path also stands under `/v1`. Send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`. A body is read as
JSON whatever `Content-Type` says, and takes no `Content-Encoding`. Where GET is taken, HEAD is too.

A fault is a problem document (RFC 9457) whose `detail` is one sentence, with the `field` where one is at fault; so is
what no path answers for: 404 where there is nothing, and 405 with `Allow` for another method.
"""

TAGS = {
    "memory": "Traces and their users: remember, read, change.",
    "recall": "Finding what was remembered.",
    "graph": "What is known and how it hangs together: nodes, edges, paths.",
    "forgetting": "Removing traces for good, with a receipt.",
    "dream": "What the night makes of the day: summaries, links, a report.",
    "tiers": "Where memory lies, and bringing back what is cold.",
    "settings": "What a space keeps, and for how long.",
    "operations": "Background work that was accepted.",
    "keys": "The keys of a space.",
    "admin": "Looking after the service.",
    "health": "Whether the service is there; no key is needed.",
}
"""What the routes are grouped by."""

SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key: `rv_…`"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key"},
}

OPEN = ("/health/",)
"""Paths that need no key begin with these."""

OF_ALL = (413, 414, 431, 500)
"""Problems that every route can answer with."""

OF_ALL_WITH_KEY = (401, 403, 408, 422, 429, 503)
"""And every route that needs a key."""

SENTENCES: dict[int, str | tuple[str, str]] = {
    400: "The body takes JSON: unexpected end of data at line 1, column 18.",
    401: "Send a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    403: "This needs a key with the scope write; this key has read.",
    404: "The user has no trace 019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e44.",
    405: "/memory/remember takes POST, not GET.",
    408: "The body did not arrive in time: send it faster, or in smaller requests.",
    409: ("Idempotency-Key", "The first request with this Idempotency-Key still runs."),
    413: "The body takes at most 33554432 bytes.",
    414: "A query string takes at most 1000 parameters.",
    415: "The body takes JSON as it is, without Content-Encoding gzip.",
    422: ("colour", "colour is not a field of the query string here."),
    429: "Too many requests of this key wait already; send fewer at once.",
    431: "The headers take at most 65536 bytes together.",
    500: "Something went wrong on our side; the log has the details.",
    503: "PostgreSQL cannot be reached or is too busy; try again shortly.",
}
"""What a problem of each status says, for instance; with the field where one is at fault."""

REQUEST_ID: dict[str, Any] = {
    "description": "The request's own id: yours if you sent one, and in the log of the service",
    "schema": {"type": "string", "minLength": 1},
}
OF_CONNECTIONS = (400, 408, 414, 431, 503)
"""What a connection answers of itself when there is no request yet to give an id to, beside what the API answers."""

_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 0}}}

HEADERS: dict[int, dict[str, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "How to send a key", "schema": {"const": "Bearer"}}},
    415: {"Accept-Encoding": {"description": "What is read", "schema": {"const": "identity"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
"""Headers that come with a problem of each status, always."""

EXAMPLE_ID = "019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e44"


def name_of(route: APIRoute) -> str:
    """The operation id: the name of the function, which generated clients take for their methods."""
    return route.name


def document(app: FastAPI, routers: Sequence[APIRouter]) -> dict[str, Any]:
    """The OpenAPI document of ``app``, made once; ``routers`` hold its routes."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=DESCRIPTION,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        )
        _complete(made, {route.name: route for router in routers for route in _routes(router)})
        app.openapi_schema = _limited(made, app.state.limits)
    return app.openapi_schema


def _limited(node: Any, limits: Limits) -> Any:
    """The same with the limits in force."""
    if isinstance(node, dict):
        found = {name: _limited(value, limits) for name, value in node.items() if name != LIMIT}
        return found | ({"maxLength": getattr(limits, node[LIMIT])} if LIMIT in node else {})
    return [_limited(value, limits) for value in node] if isinstance(node, list) else node


def _routes(router: APIRouter) -> Iterator[APIRoute]:
    return (route for route in router.routes if isinstance(route, APIRoute))


def _complete(made: dict[str, Any], routes: dict[str, APIRoute]) -> None:
    components = made.setdefault("components", {})
    components["securitySchemes"] = SECURITY
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for path, operations in made["paths"].items():
        for operation in operations.values():
            _restore_examples(operation, routes[operation["operationId"]])
            _move_schemas(operation, schemas)
            _show_ids(operation)
            with_key = not path.startswith(OPEN)
            if with_key:
                operation["security"] = [{name: []} for name in SECURITY]
            _add_problems(operation, path, with_key=with_key)


def _restore_examples(operation: dict[str, Any], route: APIRoute) -> None:
    """Puts examples back as they were written: FastAPI leaves out what is null in them."""
    for status, response in (route.responses or {}).items():
        for media, content in response.get("content", {}).items():
            if "examples" in content:
                operation["responses"][str(status)]["content"][media]["examples"] = content["examples"]
    body = (route.openapi_extra or {}).get("requestBody", {"content": {}})
    for media, content in body["content"].items():
        operation["requestBody"]["content"][media] = dict(content)


def _move_schemas(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Moves the schema of a body, and those it refers to, where others can refer to them."""
    for content in operation.get("requestBody", {"content": {}})["content"].values():
        schema = dict(content["schema"])
        schemas.update(schema.pop("$defs"))
        content["schema"] = schema


def _show_ids(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "path":
            continue
        if parameter["schema"].get("format") == "uuid":
            parameter["example"] = EXAMPLE_ID
        elif "examples" in parameter:
            parameter["example"] = next(iter(parameter.pop("examples").values()))["value"]


def _add_problems(operation: dict[str, Any], path: str, *, with_key: bool) -> None:
    """Adds what every route can answer, and to each problem its headers and an example."""
    responses = operation["responses"]
    for status, response in problems(*OF_ALL, *(OF_ALL_WITH_KEY if with_key else ())).items():
        responses.setdefault(str(status), response)
    for status, response in responses.items():
        problem = response.get("content", {}).get(ProblemJson.media_type)
        if problem is not None:
            always = {name: {"required": True, **header} for name, header in HEADERS.get(int(status), {}).items()}
            response["headers"] = always | response.get("headers", {})
            problem.setdefault("example", _example(int(status), re.sub(r"{\w+}", EXAMPLE_ID, path)))
        identity = REQUEST_ID | {"required": int(status) not in OF_CONNECTIONS}
        response["headers"] = {"X-Request-ID": identity, **response.get("headers", {})}
    operation["responses"] = dict(sorted(responses.items()))


def _example(status: int, path: str) -> dict[str, Any]:
    sentence = SENTENCES[status]
    field, detail = sentence if isinstance(sentence, tuple) else (None, sentence)
    shown = PROBLEMS[status](detail).problem(path)
    return shown if field is None else shown | {"field": field}
