import json
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from structlog.testing import CapturingLogger

from reverie.core import http
from reverie.core.errors import BadRequest
from reverie.core.http import Json, complaint, install_error_handlers, parse_json
from reverie.core.limits import Limits
from reverie.memories.schemas import TraceIn
from reverie.recall.schemas import RecallQuery

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
exact = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
raws = (
    st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | documents.map(repr).map(lambda text: text.encode("utf-8", "surrogatepass"))
)


@given(exact, st.booleans())
def test_what_json_writes_is_read_again(value: Any, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(exact)
def test_a_lone_surrogate_changes_nothing_else(value: Any) -> None:
    assert parse_json(json.dumps([value, "\ud800"]).encode()) == [value, "\ud800"]


@given(raws)
def test_any_bytes_are_read_or_refused_with_a_sentence(raw: bytes) -> None:
    said = "The body takes ."
    try:
        parse_json(raw)
    except BadRequest as error:
        said = error.detail
    assert said.startswith("The body takes ")
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"{'a': 1}", "JSON"),
        (b'{"a": NaN}', "JSON"),
        (b'{"a": -Infinity}', "JSON"),
        (b'{"a": 1e400000}', "JSON"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b"[" * 10_000 + b"]" * 10_000, "nested"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested"),
        (b'["\\ud800", NaN]', "JSON"),
        (b'["\\ud800", 1e999]', "JSON"),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_json(raw)
    assert says in refused.value.detail


def test_a_lone_surrogate_is_left_to_the_trace_that_holds_it() -> None:
    assert parse_json(b'["\\ud800", "ok", 1.5]') == ["\ud800", "ok", 1.5]


@pytest.mark.parametrize(
    ("model", "value", "field", "sentence"),
    [
        (TraceIn, {}, "content", "content is required."),
        (TraceIn, {"content": "x", "colour": 1}, "colour", "colour is not a field here."),
        (TraceIn, {"content": " "}, "content", "content takes text that is not blank."),
        (TraceIn, {"content": "a\x00"}, "content", "content takes text without U+0000."),
        (RecallQuery, {"user_id": "u", "q": "x", "k": 0}, "k", "k takes a number of at least 1, not 0."),
    ],
)
def test_the_sentence_names_the_field_and_what_it_takes(model: Any, value: Any, field: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(model).validate_python(value, context=Limits())
    assert complaint(refused.value) == (field, sentence)


async def test_a_caller_who_goes_away_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = CapturingLogger()
    monkeypatch.setattr(http, "log", logged)
    app = FastAPI()
    install_error_handlers(app)

    @app.post("/read")
    async def read(request: Request) -> None:
        await request.body()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/read", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert logged.calls == []
    assert sent[0]["status"] == 499


@pytest.mark.parametrize("refusal", [psycopg.errors.StatementTooComplex, psycopg.errors.ProgramLimitExceeded])
async def test_what_is_too_much_for_postgresql_is_the_callers_to_shorten(refusal: type[Exception]) -> None:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/ask")
    async def ask() -> None:
        raise refusal("stack depth limit exceeded")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://reverie.test") as client:
        answer = await client.get("/ask")
    assert answer.status_code == 422
    assert "shorten" in answer.json()["detail"]


def test_times_are_written_with_z() -> None:
    assert Json({"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}).body == b'{"at":"2026-01-02T03:04:05Z"}'
