"""Reading lines: pure functions, whatever the bytes."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from reverie.cli.lines import Fault, Item, Passed, is_turn, read

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.binary()))
def test_any_bytes_are_read_or_refused_by_line(lines: list[bytes]) -> None:
    for found in read(lines, "ann"):
        assert 1 <= found.line <= len(lines)
        assert lines[found.line - 1].strip()
        if isinstance(found, Fault):
            assert found.reason.endswith(".")


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content", "messages", "name"]), inner)
            ),
        )
    )
)
def test_any_json_is_read_or_refused_by_line(values: list[object]) -> None:
    lines = [orjson.dumps(value) for value in values]
    for found in read(lines, "ann"):
        assert isinstance(found, Item | Fault | Passed)
        if isinstance(found, Item):
            assert not is_turn(found.trace) or found.trace.get("external_id") or found.trace.get("occurred_at")


@given(st.lists(TEXTS, min_size=1, max_size=8), st.lists(TEXTS, max_size=3))
def test_ids_stay_when_a_file_grows_and_differ_within_it(texts: list[str], more: list[str]) -> None:
    lines = [orjson.dumps({"role": "user", "content": text}) for text in texts + more]
    whole = [item.trace["external_id"] for item in read(lines, "ann") if isinstance(item, Item)]
    before = [item.trace["external_id"] for item in read(lines[: len(texts)], "ann") if isinstance(item, Item)]
    assert whole[: len(before)] == before
    assert len(set(whole)) == len(texts + more)


def test_what_has_an_identity_keeps_it() -> None:
    lines = [
        b'{"role": "user", "content": "x", "external_id": "e1"}',
        b'{"role": "user", "content": "x", "occurred_at": "2026-01-01"}',
        b'{"content": "a note"}',
    ]
    ids = [item.trace.get("external_id") for item in read(lines, "ann") if isinstance(item, Item)]
    assert ids == ["e1", None, None]


def test_a_conversation_on_one_line_is_one_conversation() -> None:
    line = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}'
    items = [item for item in read([line, line], "ann") if isinstance(item, Item)]
    assert [item.line for item in items] == [1, 1, 2, 2]
    conversations = [item.trace["conversation_id"] for item in items]
    assert conversations[0] == conversations[1] != conversations[2] == conversations[3]
