"""Every answer of an application against its OpenAPI document: status, media type, headers and body."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jsonschema_rs
from fastapi import FastAPI

from reverie.core.http import CLIENT_CLOSED_REQUEST

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROBLEM = "application/problem+json"
OWN_PAGES = ("/docs", "/openapi.json", "/docs/oauth2-redirect")
"""The framework's pages about the document itself."""


@dataclass(frozen=True, slots=True)
class Given:
    """One answer, and what was asked."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    def __str__(self) -> str:
        return f"{self.method} {self.path[:100]}: {self.status} {self.media_type} {self.body[:300]!r}"


@dataclass(slots=True)
class Documented:
    """What was answered, and what of it the document does not say."""

    document: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    undocumented: int = 0
    """Answers whose very status is not in the document."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Answers by operation (or what else was asked for) and status."""

    _paths: list[tuple[re.Pattern[str], dict[str, Any]]] = field(default_factory=list)
    _validators: dict[str, jsonschema_rs.Draft202012Validator] = field(default_factory=dict)

    def watch(self, app: FastAPI) -> None:
        """Looks at every answer of ``app`` from now on."""
        self.describe(app.openapi())
        inner = app.build_middleware_stack()
        app.middleware_stack = _Watched(inner, self)

    def describe(self, document: dict[str, Any]) -> None:
        """Takes the document that the answers have to follow."""
        self.document = document
        self._paths = [
            (re.compile("(?:/v1)?" + re.sub(r"{\w+}", "[^/]+", path.replace("{user_id}", "(?s:.+)"))), operations)
            for path, operations in document["paths"].items()
        ]

    @property
    def server_errors(self) -> int:
        """Answers of 5xx."""
        return sum(count for (_, status), count in self.statuses.items() if status >= 500)

    def look_at(self, given: Given) -> None:
        """Notes an answer, and what is wrong with it. One for a caller who has gone is nobody's."""
        if given.status == CLIENT_CLOSED_REQUEST:
            return
        operations = next((found for path, found in self._paths if path.fullmatch(given.path)), None)
        if operations is None:
            self.statuses["no such path", given.status] += 1
            if given.path not in OWN_PAGES:
                self._compare(given, self._refusal(404), "a path that is not there")
            return
        operation = operations.get(given.method.lower().replace("head", "get"))
        if operation is None:
            self.statuses["no such method", given.status] += 1
            allowed = {"Allow": {"required": True, "schema": {"type": "string"}}}
            self._compare(given, self._refusal(405, headers=allowed), "another method")
            return
        self.statuses[operation["operationId"], given.status] += 1
        self._compare(given, operation["responses"], operation["operationId"])

    def _refusal(self, status: int, **more: Any) -> dict[str, Any]:
        """What is answered where no operation answers, or before it is looked for."""
        problem = {"content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
        return {str(one): {**problem, **(more if one == status else {})} for one in (status, 413, 414, 431)}

    def _compare(self, given: Given, responses: dict[str, Any], what: str) -> None:
        response = responses.get(str(given.status))
        if response is None:
            self.undocumented += 1
            self.faults.append(f"{what} has no {given.status}: {given}")
            return
        for name, header in response.get("headers", {}).items():
            value = given.headers.get(name.lower())
            if value is None:
                if header.get("required"):
                    self.faults.append(f"{what} lacks {name}: {given}")
            elif not self._valid(_read(value, header["schema"]), header["schema"]):
                self.faults.append(f"{what} has another {name} ({value}): {given}")
        if given.method != "HEAD":
            self._compare_body(given, response.get("content", {}), what)

    def _compare_body(self, given: Given, content: dict[str, Any], what: str) -> None:
        if not content:
            if given.body:
                self.faults.append(f"{what} has a body: {given}")
            return
        media = content.get(given.headers.get("content-type", "")) or content.get(given.media_type)
        if media is None:
            self.faults.append(f"{what} has another media type: {given}")
        elif given.media_type.endswith(("/json", "+json")):
            body = json.loads(given.body)
            if not self._valid(body, media["schema"]):
                error = next(iter(self._validator(media["schema"]).iter_errors(body)))
                self.faults.append(f"{what} has another body ({error.message[:300]}): {given}")

    def _valid(self, value: Any, schema: dict[str, Any]) -> bool:
        return self._validator(schema).is_valid(value)

    def _validator(self, schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
        name = json.dumps(schema)
        if name not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[name] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return self._validators[name]


def _read(value: str, schema: dict[str, Any]) -> Any:
    return int(value) if schema.get("type") == "integer" and value.isdigit() else value


class _Watched:
    """The application, with somebody looking at what it answers."""

    def __init__(self, app: "ASGIApp", documented: Documented) -> None:
        self._app = app
        self._documented = documented

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started: Message = {}
        body = bytearray()

        async def watched(message: "Message") -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if started:
                headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1") for name, value in started["headers"]
                }
                given = Given(scope["method"], scope["path"], started["status"], headers, bytes(body))
                self._documented.look_at(given)
