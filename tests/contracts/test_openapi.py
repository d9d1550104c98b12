"""The OpenAPI document: valid, complete, with examples that are true."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from reverie.app import create_app
from reverie.core.config import Settings
from reverie.core.http import PROBLEMS
from tests.contracts.documented import PROBLEM, Documented, Given
from tests.contracts.house import House, Person, furnish_person

OPERATIONS = {
    "GET /health/live": "live",
    "GET /health/ready": "ready",
    "POST /memory/remember": "remember",
    "GET /memory/recall": "recall_get",
    "POST /memory/recall": "recall_post",
    "POST /memory/forget": "forget",
    "GET /memory/receipts": "list_receipts",
    "GET /memory/receipts/{receipt_id}": "get_receipt",
    "POST /memory/receipts/{receipt_id}/verify": "verify_receipt",
    "GET /memory/traces": "list_traces",
    "GET /memory/traces/{trace_id}": "get_trace",
    "PATCH /memory/traces/{trace_id}": "patch_trace",
    "DELETE /memory/traces/{trace_id}": "delete_trace",
    "POST /memory/traces/{trace_id}/pin": "pin_trace",
    "DELETE /memory/traces/{trace_id}/pin": "unpin_trace",
    "GET /memory/traces/{trace_id}/related": "get_related",
    "DELETE /memory/traces/{trace_id}/related": "dismiss_related",
    "POST /memory/traces/{trace_id}/related": "restore_related",
    "GET /memory/edges": "list_edges",
    "POST /memory/edges": "put_edge",
    "DELETE /memory/edges": "delete_edge",
    "POST /memory/entities/{entity_id}/merge": "merge_entity",
    "POST /memory/entities/{entity_id}/split": "split_entity",
    "GET /memory/graph": "get_graph",
    "GET /memory/graph/path": "get_paths",
    "POST /memory/thaw": "thaw",
    "GET /tiers": "get_tiers",
    "GET /memory/users": "list_users",
    "GET /memory/users/{user_id}": "get_user",
    "PATCH /memory/users/{user_id}": "patch_user",
    "GET /memory/users/{user_id}/profile": "get_profile",
    "GET /memory/users/{user_id}/export": "export_user",
    "POST /memory/consolidate": "consolidate",
    "GET /dreams": "list_dreams",
    "GET /dreams/{dream_id}": "get_dream",
    "DELETE /dreams/{dream_id}": "undo_dream",
    "GET /admin/jobs": "admin_jobs",
    "GET /settings/retention": "get_retention",
    "PUT /settings/retention": "put_retention",
    "POST /settings/retention/run": "run_retention",
    "GET /settings/ai": "get_ai_settings",
    "PUT /settings/ai": "put_ai_settings",
    "POST /settings/ai/test": "test_ai_settings",
    "GET /settings/ai/history": "list_ai_settings",
    "POST /settings/ai/restore": "restore_ai_settings",
    "GET /operations/{operation_id}": "get_operation",
    "POST /keys": "create_key",
    "GET /keys": "list_keys",
    "DELETE /keys/{key_id}": "revoke_key",
    "GET /admin/status": "admin_status",
    "GET /metrics": "metrics",
}
"""The names that generated clients have for the routes: they do not change."""


@pytest.fixture
def document(house: House) -> dict[str, Any]:
    return house.api.app.openapi()


@dataclass(frozen=True, slots=True)
class Example:
    """A value in the document, and the schema that it has to follow."""

    where: str
    schema: dict[str, Any]
    value: Any


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def content(where: str, media: dict[str, Any]) -> list[Example]:
    """The examples of one media type."""
    found = [
        Example(f"{where} {name}", media["schema"], one["value"]) for name, one in media.get("examples", {}).items()
    ]
    return [*found, *([Example(where, media["schema"], media["example"])] if "example" in media else [])]


def examples(document: dict[str, Any]) -> Iterator[list[Example]]:
    """For each parameter, body and answer its examples."""
    for name, operation in operations(document):
        for one in operation.get("parameters", []):
            value = [Example(f"{name} {one['name']}", one["schema"], one["example"])] if "example" in one else []
            yield value or [Example(f"{name} {one['name']}", {}, None)]
        for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
            yield content(f"{name} {media_type}", media) or [Example(f"{name} body", {}, None)]
        for status, response in operation["responses"].items():
            for media in response.get("content", {}).values():
                yield content(f"{name} {status}", media) or [Example(f"{name} {status}", {}, None)]


def complaints(document: dict[str, Any], example: Example) -> list[str]:
    whole = {**example.schema, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [error.message for error in validator.iter_errors(example.value)]


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []


def test_operations_have_names_that_stay(document: dict[str, Any]) -> None:
    assert {name: one["operationId"] for name, one in operations(document)} == OPERATIONS


def test_every_tag_is_described_and_used(document: dict[str, Any]) -> None:
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}
    assert {tag["name"] for tag in document["tags"] if tag["description"]} == used
    assert all(len(operation["tags"]) == 1 for _, operation in operations(document))


def test_everything_has_an_example_that_follows_its_schema(document: dict[str, Any]) -> None:
    for several in examples(document):
        for example in several:
            assert example.schema, f"{example.where} has no example"
            assert complaints(document, example) == [], example.where


def test_every_status_is_described_as_what_it_is(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            problem = response.get("content", {}).get(PROBLEM)
            if problem is None:
                assert int(status) < 400 or (name, status) == ("GET /health/ready", "503")
                continue
            error = PROBLEMS[int(status)]
            assert response["description"] == error.title(), name
            assert problem["example"]["type"].endswith(f":{error.code}")
            assert problem["example"]["title"] == error.title()
            assert problem["example"]["status"] == int(status)


def test_every_answer_of_the_api_has_an_id(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            required = response["headers"]["X-Request-ID"]["required"]
            assert required == (int(status) not in (400, 408, 414, 431, 503)), f"{name} {status}"


@pytest.mark.parametrize("status", [413, 414, 431, 500])
def test_what_every_route_can_answer_stands_with_every_route(document: dict[str, Any], status: int) -> None:
    assert all(str(status) in operation["responses"] for _, operation in operations(document))


@pytest.mark.parametrize("status", [401, 403, 408, 422, 429, 503])
def test_what_every_route_with_a_key_can_answer(document: dict[str, Any], status: int) -> None:
    assert all(
        str(status) in operation["responses"] for name, operation in operations(document) if "/health/" not in name
    )


def test_links_lead_to_operations_and_take_what_is_there(document: dict[str, Any]) -> None:
    by_id = {operation["operationId"]: operation for _, operation in operations(document)}
    followed = set()
    for name, operation in operations(document):
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                target = by_id[link["operationId"]]
                followed.add(link["operationId"])
                parameters = {one["name"]: one for one in target.get("parameters", [])}
                required = {key for key, one in parameters.items() if one["required"]}
                given = link.get("parameters", {})
                assert required <= set(given) <= set(parameters), name
                values = [one["value"] for media in response["content"].values() for one in media["examples"].values()]
                for expression in expressions([given, link.get("requestBody", {})]):
                    assert resolves(expression, operation, values), f"{name}: {expression}"
    assert followed >= {
        "get_trace",
        "patch_trace",
        "delete_trace",
        "forget",
        "recall_get",
        "get_operation",
        "revoke_key",
    }


def expressions(node: Any) -> Iterator[str]:
    """The runtime expressions of a link."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for one in node.values() if isinstance(node, dict) else node:
            yield from expressions(one)


def resolves(expression: str, operation: dict[str, Any], answers: list[Any]) -> bool:
    """Whether an expression finds something in an example of an answer, or of the body that was sent."""
    source, _, pointer = expression.partition("#")
    if source.startswith("$request.query."):
        return any(one["name"] == source.removeprefix("$request.query.") for one in operation["parameters"])
    if source.startswith("$request.path."):
        return any(one["name"] == source.removeprefix("$request.path.") for one in operation["parameters"])
    if source == "$request.body":
        [media] = operation["requestBody"]["content"].values()
        answers = [one["value"] for one in media["examples"].values()]
    else:
        assert source == "$response.body"
    return any(pointed(value, pointer) is not None for value in answers)


def pointed(value: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


@pytest.fixture
async def person(house: House) -> Person:
    """Somebody whose own space may change."""
    return await furnish_person(house.api, f"exemplary {uuid4()}", "An exemplary password.")


BODIES = [("POST", "/memory/remember"), ("POST", "/memory/recall"), ("POST", "/memory/forget"), ("POST", "/keys"),
          ("PATCH", "/memory/traces/{trace_id}"), ("PUT", "/settings/retention"),
          ("POST", "/settings/retention/run")]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_bodies_do_what_they_say(person: Person, document: dict[str, Any], method: str, path: str) -> None:
    operation = document["paths"][path][method.lower()]
    params = {one["name"]: one["example"] for one in operation["parameters"] if one["in"] == "query"}
    url = path.format(trace_id=person.trace_ids[1])
    for name, one in operation["requestBody"]["content"]["application/json"]["examples"].items():
        answer = await person.client.request(method, url, params=params, json=one["value"])
        # The trace that is to be forgotten is nobody's.
        good = (200, 404) if path == "/memory/forget" else (200, 201, 202)
        assert answer.status_code in good, f"{name}: {answer.text}"


async def test_parameters_do_what_they_say(house: House, person: Person, document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        method, path = name.split()
        if method == "GET" and operation.get("parameters") and "{" not in path:
            together = {"since", "until"} if path == "/memory/recall" else set()
            params = {
                one["name"]: one["example"]
                for one in operation["parameters"]
                if one["in"] == "query" and one["name"] not in together
            }
            # The settings of the whole store are not theirs.
            asking = house.ours if path.startswith("/settings/ai") else person
            answer = await asking.client.get(path, params=params)
            # Nobody has dreamt, so that these are names of nobody.
            good = 404 if path.startswith("/memory/graph") else 200
            assert answer.status_code == good, f"{name}: {answer.text}"


def test_lengths_are_those_of_the_settings(settings: Settings) -> None:
    changed = {"memory_max_content_chars": 12, "memory_max_question_chars": 13, "memory_max_id_chars": 14}
    made = create_app(settings.model_copy(update=changed)).openapi()
    schemas = made["components"]["schemas"]
    assert schemas["TraceIn"]["properties"]["content"]["maxLength"] == 12
    assert schemas["RecallIn"]["properties"]["q"]["maxLength"] == 13
    assert schemas["RememberIn"]["properties"]["user_id"]["maxLength"] == 14
    assert "x-limit" not in str(made)


async def test_the_description_is_served(house: House) -> None:
    client = house.api.client()
    assert (await client.get("/openapi.json")).json() == house.api.app.openapi()
    assert re.search(r"<title>Reverie", (await client.get("/docs")).text)


class TestWatching:
    """Answers that are not as documented are noticed."""

    @pytest.fixture
    def watching(self, document: dict[str, Any]) -> Documented:
        made = Documented()
        made.describe(document)
        return made

    @pytest.mark.parametrize(
        ("method", "path", "status", "headers", "body", "says"),
        [
            ("GET", "/keys", 418, {}, b"", "list_keys has no 418"),
            ("GET", "/v1/keys", 200, {"content-type": "text/html"}, b"<p>", "another media type"),
            ("GET", "/keys", 200, {"content-type": "application/json"}, b'{"items": 1}', "another body"),
            ("GET", "/keys", 401, {"content-type": PROBLEM}, b"{}", "lacks WWW-Authenticate"),
            ("GET", "/keys", 503, {"retry-after": "soon"}, b"{}", "another Retry-After (soon)"),
            ("DELETE", "/keys/1", 204, {}, b"{}", "has a body"),
            ("BREW", "/keys", 200, {}, b"", "another method has no 200"),
            ("GET", "/tea", 200, {}, b"", "not there has no 200"),
        ],
    )
    def test_what_is_not_in_the_document(
        self, watching: Documented, method: str, path: str, status: int, headers: dict[str, str], body: bytes, says: str
    ) -> None:
        watching.look_at(Given(method, path, status, {"x-request-id": "1", **headers}, body))
        assert any(says in fault for fault in watching.faults), watching.faults
        assert watching.undocumented == ("has no" in says)
        assert watching.server_errors == (status >= 500)

    def test_what_is_in_it(self, watching: Documented) -> None:
        watching.look_at(Given("DELETE", f"/keys/{uuid4()}", 204, {"x-request-id": "1"}, b""))
        assert watching.faults == []
