"""Rows as episodes: dates of every form, names out of whatever holds them, and what no trace can be made of."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.migrating.links import Book
from reverie.migrating.rows import Faulty, Reading, Row, episode, moment, names


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024-05-01 10:00:00+00", "2024-05-01T10:00:00+00:00"),
        ("2024-05-01 10:00:00.25", "2024-05-01T08:00:00.250000+00:00"),
        ("2024-05-01", "2024-04-30T22:00:00+00:00"),
        ("20240501", "2024-04-30T22:00:00+00:00"),
        ("1714557600", "2024-05-01T10:00:00+00:00"),
        ("1714557600000", "2024-05-01T10:00:00+00:00"),
        ("Wed, 01 May 2024 10:00:00 +0000", "2024-05-01T10:00:00+00:00"),
    ],
)
def test_a_date_is_read(text: str, wanted: str) -> None:
    found = moment(text, ZoneInfo("Europe/Berlin"))
    assert found is not None
    assert found.isoformat() == wanted


@pytest.mark.parametrize(
    "text",
    [
        "2024-13-45", "2024", "202405", "0", "19844.5", "soon", "infinity", "0044-03-15 BC", "12000-01-01", "9" * 16,
        "-1e9",
    ],
)  # fmt: skip
def test_what_is_no_date_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Faulty, match="is none"):
        moment(text)


def test_no_date_is_none() -> None:
    assert moment(None) is None
    assert moment(" ") is None


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_none(text: str) -> None:
    try:
        found = moment(text)
    except Faulty:
        return
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (["Ada", " ada ", "Bruno  Costa", None, ""], ("Ada", "Bruno Costa")),
        ("Ada, Bruno; Carla", ("Ada", "Bruno", "Carla")),
        ('["Ada", {"name": "Bruno"}]', ("Ada", "Bruno")),
        ([{"full_name": "Ada Berg", "age": 4}, {"id": 7}], ("Ada Berg", "7")),
        ({"people": ["Ada"], "n": 2}, ("Ada",)),
        ([["Ada"], '["Bruno"]'], ("Ada", "Bruno")),
        ("[not json", ("[not json",)),
        (["x" * 101], ()),
        (7, ("7",)),
        (None, ()),
    ],
)
def test_names_are_found_in_whatever_holds_them(value: Any, wanted: tuple[str, ...]) -> None:
    assert names(value) == wanted


HOW = Reading("episodes", "ann")


def row(**fields: str | None) -> Row:
    given: dict[str, str | None] = {"id": "7", "content": "A text.", **fields}
    several = {"topics": ['["garden"]'], "participants": ['"Ada"']}
    return Row("(0,1)", given, several, {"mood": '"calm"', "note": None, "tide": "null", "extra": '{"mood": 7}'})


def test_a_row_becomes_a_trace() -> None:
    found = episode(row(happened_at="2024-05-01", role="Human", salience="0.5", conversation="c", speaker=""), HOW)
    assert found is not None
    assert found.trace == {
        "content": "A text.", "external_id": "7", "occurred_at": datetime(2024, 5, 1, tzinfo=UTC), "role": "user",
        "salience": 0.5, "conversation_id": "c", "source": {"table": "episodes", "id": "7"},
        "meta": {"mood": "calm", "extra": {"mood": 7}, "participants": ["Ada"], "topics": ["garden"]},
    }  # fmt: skip
    assert (found.user, found.participants, found.topics) == ("ann", ("Ada",), ("garden",))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [('{"mood": 7}', {"mood": 7}), ("[1]", {"mood": "calm", "extra": [1]}), (None, {"mood": "calm"})],
)
def test_members_of_the_column_that_is_meta_go_before_other_columns(given: str | None, wanted: dict[str, Any]) -> None:
    found = episode(Row("", {"id": "7", "content": "A text."}, {}, {"mood": '"calm"', "extra": given}, "extra"), HOW)
    assert found is not None
    assert found.trace["meta"] == wanted


def test_names_in_a_text_are_told_apart_and_those_of_a_table_are_whole() -> None:
    several = {"participants": [json.dumps("Ada, Bruno"), json.dumps(["Costa, Carla", "ada"])]}
    found = episode(Row("", {"id": "7", "content": "A text."}, several, {}), HOW)
    assert found is not None
    assert found.participants == ("Ada", "Bruno", "Costa, Carla")


@pytest.mark.parametrize("text", ['{"a"', "1e400", "[" * 100_000, "9" * 5_000])
def test_json_that_cannot_be_read_is_a_fault_of_its_row(text: str) -> None:
    with pytest.raises(Faulty, match="the JSON of its mood cannot be read"):
        episode(Row("", {"id": "7", "content": "A text."}, {}, {"mood": text}), HOW)
    with pytest.raises(Faulty, match="the JSON of its topics cannot be read"):
        episode(Row("", {"id": "7", "content": "A text."}, {"topics": [text]}, {}), HOW)


def test_names_at_too_many_levels_are_a_fault_of_their_row() -> None:
    text = json.dumps("[" * 900 + "]" * 900)
    with pytest.raises(Faulty, match="the JSON of its topics has too many levels"):
        episode(Row("", {"id": "7", "content": "A text."}, {"topics": [text]}, {}), HOW)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id": None}, "id is null"),
        ({"content": None}, "content is null"),
        ({"happened_at": None}, "date is null"),
        ({"happened_at": "soon"}, "'soon' is none"),
        ({"user": None}, "not whose memory"),
    ],
)
def test_what_cannot_be_remembered_says_why(fields: dict[str, str | None], says: str) -> None:
    with pytest.raises(Faulty, match=says):
        episode(row(**fields), HOW)


def test_a_row_without_an_id_is_told_by_its_place() -> None:
    assert row(id=None).id == "at (0,1)"


def test_edges_lead_to_the_day_and_to_the_latest_of_the_same_topics() -> None:
    ids = [UUID(int=n) for n in range(40)]
    book, first, second = Book(), datetime(2024, 5, 1).date(), datetime(2024, 5, 2).date()  # noqa: DTZ001 - days
    assert book.add(ids[0], first, ["a", "b"]) == []
    assert [(one.dst, one.type) for one in book.add(ids[1], first, [])] == [(ids[0], "follows")]
    found = book.add(ids[2], second, ["A", "b"])
    assert [(one.dst, one.type, one.weight) for one in found] == [(ids[0], "same_topic", 1.0)]
    for n in range(3, 40):
        found = book.add(ids[n], None, ["a", "b"])
    assert [one.dst for one in found] == [ids[38], ids[37], ids[36]]
    assert book.add(UUID(int=99), None, [f"t{n}" for n in range(9)] + ["a"]) == []
