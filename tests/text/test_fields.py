from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from reverie.core.limits import Limits
from reverie.text.fields import Content, Identifier, JsonObject, moment, storable_text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.text(st.characters(exclude_categories=[])))
def test_what_passes_can_be_stored(text: str) -> None:
    if "\x00" in text or any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        with pytest.raises(ValueError, match=r"^takes text without "):
            storable_text(text)
    else:
        assert storable_text(text) == text


@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_every_time_is_read_as_utc_or_refused(value: datetime) -> None:
    if value.year in (1, 9999):
        return
    read = moment(value.isoformat())
    assert read.tzinfo is UTC
    assert read == (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


@given(st.text() | st.from_regex(r"[0-9W:.+-]{1,30}", fullmatch=True) | st.integers() | st.none())
def test_any_text_is_a_time_or_refused(value: object) -> None:
    read, said = EPOCH, "takes "
    try:
        read = moment(value)
    except ValueError as error:
        said = str(error)
    assert said.startswith("takes ")
    assert datetime(1, 1, 2, tzinfo=UTC) <= read <= datetime(9999, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T23:30:00+02:00", datetime(2024, 2, 29, 21, 30, tzinfo=UTC)),
        (" 2024-02-29 23:30 ", datetime(2024, 2, 29, 23, 30, tzinfo=UTC)),
        ("2024-02-29T23:30:00.123456Z", datetime(2024, 2, 29, 23, 30, 0, 123456, tzinfo=UTC)),
    ],
)
def test_times_in_iso_8601(text: str, wanted: datetime) -> None:
    assert moment(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2023-02-29", "0000-01-01", "0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^takes "):
        moment(text)


def deep(levels: int, kind: str) -> Any:
    value: Any = 1
    for n in range(levels - 1):
        value = [value] if kind == "list" or (kind == "both" and n % 2) else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("kind", ["list", "dict", "both"])
def test_meta_has_so_many_levels(kind: str) -> None:
    adapter = TypeAdapter(JsonObject)
    limits = Limits(meta_levels=5)
    assert adapter.validate_python(deep(5, kind), context=limits) == deep(5, kind)
    with pytest.raises(ValidationError, match="takes JSON of at most 5 levels"):
        adapter.validate_python(deep(6, kind), context=limits)
    with pytest.raises(ValidationError, match="at most 5 levels"):
        adapter.validate_python(deep(900, kind), context=limits)


@pytest.mark.parametrize(
    "value",
    [
        {"a": "\x00"},
        {"\x00": 1},
        {"a": ["\ud800"]},
        {"a": {"b": {"\udfff": 1}}},
        {"a": 2**64},
        {"a": -(2**63) - 1},
        [],
        "x",
    ],
)  # fmt: skip
def test_meta_that_cannot_be_stored_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(JsonObject).validate_python(value, context=Limits())


def test_lengths_are_characters() -> None:
    limits = Limits(content_chars=3, id_chars=2)
    assert TypeAdapter(Content).validate_python("é🍎x", context=limits) == "é🍎x"
    assert TypeAdapter(Identifier).validate_python("🍎🍎", context=limits) == "🍎🍎"
    for kind, text in ((Content, "é🍎xy"), (Identifier, "🍎🍎🍎"), (Content, " \n\t\u2003"), (Identifier, "")):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(text, context=limits)
