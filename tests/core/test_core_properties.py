"""Whatever comes in over HTTP: query strings, cursors, keys, sizes, ids."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

from reverie.auth.schemas import KeyIn
from reverie.auth.secrets import digest, make_key
from reverie.core.config import load_settings
from reverie.core.errors import Invalid, ReverieError, SettingsError, Unauthorized
from reverie.core.http import (
    MOST_HEADER_BYTES,
    MOST_PARAMETERS,
    MOST_SHOWN,
    MOST_URL_BYTES,
    SizeLimit,
    complaint,
    presented_key,
    query_of,
    shown_path,
)
from reverie.core.idempotency import idempotency
from reverie.core.ids import lower_bound, milliseconds, moment_of, user_uuid
from reverie.core.limits import Limits
from reverie.core.paging import PageQuery, next_cursor
from reverie.core.queries import Queries
from reverie.forgetting.schemas import ForgetIn
from reverie.memories.routes import _user_cursor
from reverie.memories.schemas import (
    MessageIn,
    RememberIn,
    RememberQuery,
    TraceIn,
    TracePatch,
    TraceQuery,
    TracesQuery,
    UsersQuery,
)
from reverie.recall.schemas import RecallIn, RecallQuery

anything = st.text(st.characters(exclude_categories=[]))
latin = st.text(st.characters(max_codepoint=255))
ids = st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))
QUERIES: list[type[BaseModel]] = [PageQuery, TraceQuery, TracesQuery, UsersQuery, RememberQuery, RecallQuery]


def request(query: bytes = b"", path: str = "/", headers: dict[str, str] | None = None, **state: Any) -> Request:
    """A request as a server hands it on."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    app = SimpleNamespace(state=SimpleNamespace(limits=Limits(), database=None, **state))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": raw, "app": app}
    return Request(scope, receive)


names = st.sampled_from(sorted({name for model in QUERIES for name in model.model_fields}))
pairs = st.lists(st.tuples(names | anything, anything), max_size=6).map(
    lambda given: "&".join(f"{name}={value}" for name, value in given).encode("utf-8", "surrogatepass")
)


class TestQueryStrings:
    """Bytes after the question mark."""

    async def read(self, model: type[BaseModel], query: bytes) -> None:
        said, field = "x.", None
        try:
            read = await query_of(model)(request(query))
            assert isinstance(read, model)
        except Invalid as error:
            said, field = error.detail, error.field
        assert field is None or field.isprintable()
        assert said.endswith(".")
        assert "\n" not in said
        assert len(said) < 400

    @given(model=st.sampled_from(QUERIES), query=st.binary() | pairs)
    async def test_any_is_read_or_refused_with_a_sentence(self, model: type[BaseModel], query: bytes) -> None:
        await self.read(model, query)


class TestCursors:
    """What stands after ``cursor=``."""

    @given(st.text(max_size=100))
    def test_any_text_is_a_cursor_or_refused(self, text: str) -> None:
        for read in (PageQuery(cursor=text).before, lambda: _user_cursor(text)):
            said = ("cursor", "cursor takes the next_cursor of the page before.")
            refused = said
            try:
                assert read() is not None
            except Invalid as error:
                refused = (str(error.field), error.detail)
            assert refused == said

    @given(st.lists(ids, max_size=5), st.integers(1, 5))
    def test_the_next_page_begins_after_the_last_of_a_full_one(self, found: list[UUID], limit: int) -> None:
        cursor = next_cursor(found[:limit], limit)
        assert PageQuery(cursor=cursor).before() == (found[limit - 1] if len(found) >= limit else None)

    @given(st.datetimes(timezones=st.just(UTC)), ids)
    def test_a_cursor_of_users_says_what_was_put_into_it(self, moment: datetime, user_id: UUID) -> None:
        cursor = f"{moment.isoformat().replace('+00:00', 'Z')},{user_id}"
        assert _user_cursor(cursor) == (moment, user_id)
        assert UsersQuery(cursor=cursor).cursor == cursor


class TestKeys:
    """Keys of the API and of requests."""

    @given(latin)
    def test_a_key_is_found_in_any_header_or_not_at_all(self, text: str) -> None:
        found = presented_key(Headers({"Authorization": text}))
        assert found is None or (found and found in text and text.lower().startswith("bearer"))
        assert presented_key(Headers({"X-API-Key": text})) == text
        assert presented_key(Headers({"Authorization": f"bEaReR  {text}"})) == (text.strip() or None)

    @given(anything, anything)
    def test_digests_tell_any_two_texts_apart(self, one: str, two: str) -> None:
        assert len(digest(one)) == 32
        assert (digest(one) == digest(two)) == (one == two)

    def test_keys_look_alike_and_are_not(self) -> None:
        made = [make_key() for _ in range(100)]
        assert len({key.text for key in made}) == 100
        assert all(re.fullmatch(r"rv_[0-9a-f]{8}_[0-9a-f]{64}", key.text) for key in made)
        assert all(key.digest == digest(key.text) and key.prefix in key.text for key in made)

    @given(latin, st.binary(), anything)
    async def test_any_idempotency_key_is_taken_or_refused(self, key: str, query: bytes, path: str) -> None:
        given = request(query, path, {"Idempotency-Key": key, "Host": key})
        refused: str | None = ""
        try:
            await idempotency(given)
        except Invalid as error:
            refused = error.field
        assert refused in ("", "Idempotency-Key")
        assert (refused == "") == (1 <= len(key) <= 255 and key.isascii() and key.isprintable())


class TestSizes:
    """Requests of any size."""

    @given(
        st.integers(0, 2 * MOST_URL_BYTES),
        st.integers(0, 2 * MOST_PARAMETERS),
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, MOST_HEADER_BYTES)), max_size=3),
        st.none() | st.integers(0, 30).map(str) | latin,
    )
    def test_what_is_too_large_is_refused_for_its_size(
        self, path: int, parameters: int, headers: list[tuple[int, int]], length: str | None
    ) -> None:
        raw = [(b"n" * name, b"v" * value) for name, value in headers]
        raw += [(b"content-length", length.encode("latin-1"))] if length is not None else []
        scope = {"path": "p" * path, "query_string": b"&" * parameters, "headers": raw}
        refusal = SizeLimit(None, limit=10)._refusal(scope)
        status = None if refusal is None else refusal.status
        size = sum(len(name) + len(value) for name, value in raw)
        declared = int(length) if length is not None and re.fullmatch("[0-9]+", length) else 0
        if path + parameters > MOST_URL_BYTES or parameters >= MOST_PARAMETERS:
            assert status == 414
        elif size > MOST_HEADER_BYTES:
            assert status == 431
        else:
            assert status == (413 if declared > 10 else None)

    @given(anything)
    def test_a_path_is_shown_as_it_is_or_cut(self, path: str) -> None:
        shown = shown_path({"path": path})
        assert shown == path if len(path) <= MOST_SHOWN else len(shown) == MOST_SHOWN + 1


MODELS: list[type[BaseModel]] = [
    *QUERIES, KeyIn, TraceIn, MessageIn, RememberIn, TracePatch, RecallIn, ForgetIn,
]  # fmt: skip
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner) | st.dictionaries(anything, inner),
    max_leaves=12,
)
fields = sorted(
    {name for model in MODELS for name in model.model_fields} | {"trace_id", "trace_ids", "all", "", "body"}
)
bodies = documents | st.dictionaries(st.sampled_from(fields), documents, max_size=6)


@settings(max_examples=200)
@given(st.sampled_from(MODELS), bodies)
def test_every_fault_is_one_sentence(model: type[BaseModel], value: Any) -> None:
    try:
        TypeAdapter(model).validate_python(value, context=Limits())
    except ValidationError as error:
        field, sentence = complaint(error)
        assert field is None or field
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert len(sentence) < 2000
        assert sentence[0] == sentence[0].upper() or field is not None
        assert sentence.encode()


@given(st.builds(ReverieError, anything, field=st.none() | anything), anything)
def test_a_problem_says_what_the_error_says(error: ReverieError, path: str) -> None:
    problem = error.problem(path)
    assert (problem["detail"], problem["instance"], problem["status"]) == (error.detail, path, 500)
    assert problem.get("field") == error.field
    assert Unauthorized("x").headers == {"WWW-Authenticate": "Bearer"}


class TestIds:
    """Ids and the times in them."""

    @given(ids)
    def test_the_time_in_any_id_is_its_lower_bound_again(self, one: UUID) -> None:
        if one.int >> 80 < milliseconds(datetime(9999, 12, 31, tzinfo=UTC)):
            assert lower_bound(moment_of(one)).int >> 80 == one.int >> 80
            assert lower_bound(moment_of(one)) <= one

    @given(st.datetimes(timezones=st.timezones()), st.timedeltas(timedelta(0), timedelta(days=1000)))
    def test_later_moments_have_no_smaller_bounds(self, moment: datetime, later: timedelta) -> None:
        if 1 < moment.year < 9996:
            assert lower_bound(moment) <= lower_bound(moment + later)

    @given(ids, ids, st.text(), st.text())
    def test_users_are_the_same_in_one_space_by_one_name_alone(
        self, space: UUID, other: UUID, one: str, two: str
    ) -> None:
        try:
            same = user_uuid(space, one) == user_uuid(other, two)
        except UnicodeEncodeError:
            assert re.search("[\ud800-\udfff]", one + two)
            return
        assert same == ((space, one) == (other, two))


def refusal(settings: dict[str, str]) -> str:
    """What is said of settings that are refused, nothing of good ones."""
    try:
        load_settings(**settings)
    except SettingsError as error:
        return str(error)
    return ""


class TestSettings:
    """Whatever stands in a setting, it is taken or refused with a sentence that names it."""

    @pytest.mark.parametrize("name", ["database_url", "redis_url", "memory_language", "embedding_model"])
    @given(text=anything.filter(str.strip))
    def test_any_text(self, name: str, text: str) -> None:
        for given_text in (text, f"postgresql://{text}", f"redis://{text}"):
            said = refusal({name: given_text})
            assert said == "" or (said.startswith(name.upper()) and said.endswith("."))

    @pytest.mark.parametrize("name", ["memory_k", "reverie_port", "database_timeout_seconds", "memory_hnsw"])
    @given(value=st.integers().map(str) | st.floats().map(str) | anything.filter(str.strip))
    def test_any_number(self, name: str, value: str) -> None:
        assert refusal({name: value}) == "" or refusal({name: value}).startswith(name.upper())


@given(st.sampled_from(["nothing", "model"]), st.integers(-(10**9), 10**9))
def test_literals_change_nothing_but_their_place(name: str, number: int) -> None:
    queries = Queries("reverie.memories")
    text, filled = queries["unembedded"], queries.text("unembedded", **{name: number})
    assert filled == text.replace(b"{model}", str(number).encode() if name == "model" else b"{model}")
