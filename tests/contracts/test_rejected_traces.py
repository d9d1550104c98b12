"""A bad field of one trace rejects that trace with its reason, and stores its neighbours."""

# ruff: noqa: E501 - the tables are read a case a line

import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.contracts.house import DIM, House, assert_problem, axis

LEVELS = 32


def nested(levels: int) -> Any:
    """An object of so many levels."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


REJECTED: dict[str, tuple[object, str]] = {
    "blank content": ({"content": " \n\t\u2003"}, "content takes text that is not blank."),
    "empty content": ({"content": ""}, "content takes text that is not blank."),
    "no content": ({}, "content is required."),
    "content null": ({"content": None}, "content takes text, not null."),
    "content a number": ({"content": 7}, "content takes text, not 7."),
    "content a list": ({"content": ["tea"]}, "content takes text."),
    "content too long": ({"content": "x" * 1_000_001}, "content takes at most 1000000 characters, not 1000001."),
    "U+0000 in content": ({"content": "a\x00b"}, "content takes text without U+0000."),
    "a lone surrogate": ({"content": "a\ud800"}, "content takes text without a lone surrogate (U+D800)."),
    "surrogates the wrong way round": ({"content": "\udc00\ud800"}, "content takes text without a lone surrogate (U+DC00)."),
    "an impossible date": ({"content": "x", "occurred_at": "2026-02-30"}, "occurred_at takes an ISO 8601 time such as"),
    "a date in words": ({"content": "x", "occurred_at": "yesterday"}, "occurred_at takes an ISO 8601 time such as"),
    "a date as a number": ({"content": "x", "occurred_at": 1_700_000_000}, "occurred_at takes an ISO 8601 time such as"),
    "a date before all years": ({"content": "x", "occurred_at": "0001-01-01"}, "occurred_at takes a time within the years"),
    "a date after all years": ({"content": "x", "occurred_at": "9999-12-31T23:59:59-14:00"}, "occurred_at takes a time within"),
    "an impossible salience": ({"content": "x", "salience": 1.01}, "salience takes a number of at most 1, not 1.01."),
    "a negative salience": ({"content": "x", "salience": -0.5}, "salience takes a number of at least 0, not -0.5."),
    "salience in words": ({"content": "x", "salience": "high"}, "salience takes a number, not 'high'."),
    "salience NaN": ({"content": "x", "salience": "nan"}, "salience takes a"),
    "salience true": ({"content": "x", "salience": True}, "salience takes a number, not true."),
    "a short vector": ({"content": "x", "embedding": [1.0]}, f"embedding takes {DIM} finite numbers, not 1."),
    "a long vector": ({"content": "x", "embedding": [1.0] * 385}, f"embedding takes {DIM} finite numbers, not 385."),
    "no vector": ({"content": "x", "embedding": "zebra"}, f"embedding takes a list of {DIM} finite numbers, or the base64 of {DIM} float32."),
    "a zero vector": ({"content": "x", "embedding": [0.0] * DIM}, "embedding takes a vector that is not all zeros."),
    "a vector with null": ({"content": "x", "embedding": [None, *axis(0)[1:]]}, "not null at position 0."),
    "a vector with text": ({"content": "x", "embedding": ["NaN", *axis(0)[1:]]}, "not text at position 0."),
    "a vector with true": ({"content": "x", "embedding": [True, *axis(0)[1:]]}, "not a boolean at position 0."),
    "a huge component": ({"content": "x", "embedding": [10**400, *axis(0)[1:]]}, "finite numbers; one is too large."),
    "meta too deep": ({"content": "x", "meta": nested(LEVELS + 1)}, f"meta takes JSON of at most {LEVELS} levels."),
    "source too deep": ({"content": "x", "source": {"a": [[nested(LEVELS)]]}}, "source takes JSON of at most"),
    "meta a list": ({"content": "x", "meta": []}, "meta takes a JSON object."),
    "U+0000 in a key of meta": ({"content": "x", "meta": {"a": [{"\x00": 1}]}}, "meta takes text without U+0000."),
    "U+0000 in a value of meta": ({"content": "x", "meta": {"a": ["\x00"]}}, "meta takes text without U+0000."),
    "a surrogate in a key of meta": ({"content": "x", "meta": {"\udfff": 1}}, "meta takes text without a lone surrogate"),
    "a surrogate in source": ({"content": "x", "source": {"u": "\ud801"}}, "source takes text without a lone surrogate"),
    "a huge whole number in meta": ({"content": "x", "meta": {"n": 10**400}}, "meta takes whole numbers of at most 64 bits."),
    "a vast whole number in meta": ({"content": "x", "meta": {"n": [-(10**4000)]}}, "meta takes whole numbers"),
    "external_id too long": ({"content": "x", "external_id": "x" * 256}, "external_id takes at most 255 characters, not 256."),
    "a blank external_id": ({"content": "x", "external_id": " "}, "external_id takes text that is not blank."),
    "U+0000 in external_id": ({"content": "x", "external_id": "\x00"}, "external_id takes text without U+0000."),
    "conversation_id too long": ({"content": "x", "conversation_id": "x" * 256}, "conversation_id takes at most 255"),
    "speaker too long": ({"content": "x", "speaker": "x" * 256}, "speaker takes at most 255 characters"),
    "U+0000 in speaker": ({"content": "x", "speaker": "\x00"}, "speaker takes text without U+0000."),
    "an unknown kind": (
        {"content": "x", "kind": "memo"}, "kind takes turn, note, fact, chunk, summary or entity, not 'memo'."
    ),
    "an unknown role": ({"content": "x", "role": "bot"}, "role takes user, assistant, system or tool, not 'bot'."),
    "an unknown language": ({"content": "x", "language": "klingon"}, "language takes an ISO 639-1 code such as en"),
    "an unknown field": ({"content": "x", "importance": 1}, "importance is not a field here."),
    "no object": ("tea", "The trace takes a JSON object, not 'tea'."),
    "null": (None, "The trace takes a JSON object, not null."),
    "a number": (7, "The trace takes a JSON object, not 7."),
    "a list": ([[]], "The trace takes a JSON object."),
}  # fmt: skip


async def remember(client: httpx.AsyncClient, user: str, traces: list[Any]) -> httpx.Response:
    # As json writes it: orjson refuses lone surrogates and huge numbers, other callers do not.
    body = json.dumps({"user_id": user, "traces": traces}).encode()
    return await client.post("/memory/remember", content=body)


@pytest.mark.parametrize("what", REJECTED)
async def test_one_is_rejected_and_its_neighbours_are_stored(house: House, what: str) -> None:
    trace, says = REJECTED[what]
    client, user = house.ours.client, f"rejected {what}"
    neighbours = [{"content": f"{where} {uuid4()}", "embedding": axis(1)} for where in ("before", "after")]
    answer = await remember(client, user, [neighbours[0], trace, neighbours[1]])
    assert answer.status_code == 201, answer.text
    before, rejected, after = answer.json()["traces"]
    assert [before["status"], rejected["status"], after["status"]] == ["stored", "rejected", "stored"]
    assert rejected["trace_id"] is None
    assert rejected["error"].startswith(says) or rejected["error"].endswith(says), rejected["error"]
    assert rejected["error"].endswith(".")
    assert before["error"] is None
    assert len(rejected["error"]) < 400
    listed = (await client.get("/memory/traces", params={"user_id": user})).json()["items"]
    assert {item["content"] for item in listed} == {neighbour["content"] for neighbour in neighbours}


@pytest.mark.parametrize("what", REJECTED)
async def test_alone_it_is_refused(house: House, what: str) -> None:
    trace, _ = REJECTED[what]
    before = house.state()
    answer = await remember(house.ours.client, "refused", [trace])
    assert_problem(answer, 422, "traces")
    assert house.state() == before


async def test_all_of_them_together_leave_nothing(house: House) -> None:
    before = house.state()
    answer = await remember(house.ours.client, "refused", [trace for trace, _ in REJECTED.values()])
    assert f"None of the {len(REJECTED)}" in assert_problem(answer, 422, "traces")
    assert house.state() == before


MESSAGES: dict[str, tuple[object, str]] = {
    "no role": ({"content": "x"}, "role is required."),
    "an unknown role": ({"role": "bot", "content": "x"}, "role takes user, assistant, system or tool, not 'bot'."),
    "no content": ({"role": "user"}, "content is required."),
    "content null": ({"role": "assistant", "content": None, "tool_calls": []}, "content takes text, not null."),
    "parts without text": (
        {"role": "user", "content": [{"type": "image_url"}]},
        "content takes text that is not blank.",
    ),
    "no object": ("hello", "The message takes a JSON object, not 'hello'."),
}


@pytest.mark.parametrize("what", MESSAGES)
async def test_a_message_is_rejected_and_its_neighbour_is_stored(house: House, what: str) -> None:
    message, says = MESSAGES[what]
    body = {"user_id": f"messages {what}", "messages": [message, {"role": "user", "content": "Tea?"}]}
    answer = await house.ours.client.post("/memory/remember", json=body)
    assert answer.status_code == 201, answer.text
    rejected, stored = answer.json()["traces"]
    assert (rejected["status"], stored["status"]) == ("rejected", "stored")
    assert rejected["error"] == says


async def test_an_external_id_stands_twice(house: House) -> None:
    traces = [{"content": text, "external_id": "twin", "embedding": axis(2)} for text in ("one", "two", "one")]
    answered = (await remember(house.ours.client, "twins", traces)).json()["traces"]
    assert [one["status"] for one in answered] == ["stored", "rejected", "duplicate"]
    assert answered[1]["external_id"] == "twin"
    assert answered[1]["error"].startswith("external_id ")


async def test_a_whole_number_beyond_64_bits_is_kept_as_a_double(house: House) -> None:
    """By either parser: the second reads bodies that the first refuses, such as one with a lone surrogate."""
    client, meta = house.ours.client, {"n": [2**64, -(10**40)]}
    for user, neighbour in (("doubles", "x"), ("doubles beside a surrogate", "\ud800")):
        traces = [{"content": "many", "meta": meta, "embedding": axis(0)}, {"content": neighbour, "embedding": axis(0)}]
        stored = (await remember(client, user, traces)).json()["traces"][0]
        assert stored["status"] == "stored"
        kept = (await client.get(f"/memory/traces/{stored['trace_id']}", params={"user_id": user})).json()
        assert kept["meta"] == {"n": [2.0**64, -1e40]}


async def test_what_lies_on_the_limits_is_stored(house: House) -> None:
    traces: list[dict[str, Any]] = [
        {"content": "x" * 1_000_000},
        {"content": "x", "external_id": "x" * 255, "conversation_id": "y" * 255, "speaker": "z" * 255},
        {"content": "deep", "meta": nested(LEVELS)},
        {"content": "large", "meta": {"n": [2**64 - 1, -(2**63), 1.7976931348623157e308, 5e-324]}},
        {"content": "early", "occurred_at": "0001-01-02T00:00:00Z"},
        {"content": "late", "occurred_at": "9999-12-30T00:00:00Z"},
        {"content": "\U0010ffff\u202e\ufffe\x01\x7f", "speaker": "\U0001f469\u200d\U0001f52c"},
        {"content": "tiny", "embedding": [5e-324, *axis(0)[1:-1], 0.0]},
        {"content": "vast", "embedding": [1.7e308] * DIM},
        {"content": "lowest", "salience": 0},
        {"content": "highest", "salience": 1.0},
    ]
    client = house.ours.client
    given = [{"embedding": axis(0)} | trace for trace in traces]
    answer = await remember(client, "limits", given)
    assert [one["status"] for one in answer.json()["traces"]] == ["stored"] * len(traces), answer.text[:2000]
    for answered, trace in zip(answer.json()["traces"], traces, strict=True):
        url = f"/memory/traces/{UUID(answered['trace_id'])}"
        kept = (await client.get(url, params={"user_id": "limits"})).json()
        assert {name: kept[name] for name in trace if name not in ("embedding", "occurred_at")} == {
            name: value for name, value in trace.items() if name not in ("embedding", "occurred_at")
        }
        if "occurred_at" in trace:
            assert kept["occurred_at"] == kept["happened_at"] == trace["occurred_at"]
