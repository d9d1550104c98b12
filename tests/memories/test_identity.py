from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reverie.memories.identity import SIZE, digest, identity

KEY = b"k" * 32
texts = st.text(st.sampled_from("ab \x01/|"), max_size=4)
optional = texts | st.none()
times = st.sampled_from([datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)]) | st.none()
traces = st.fixed_dictionaries(
    {
        "content": texts,
        "kind": st.sampled_from(["turn", "note", "fact"]),
        "role": st.sampled_from(["user", "assistant", None]),
        "speaker": optional,
        "conversation_id": optional,
        "external_id": optional,
        "occurred_at": times,
    }
)


def meaning(trace: dict[str, Any]) -> tuple[Any, ...] | None:
    """What the design says makes a trace the same."""
    if trace["external_id"] is not None:
        return ("external", trace["external_id"])
    same = tuple(trace[name] for name in ("content", "kind", "role", "speaker", "conversation_id"))
    if trace["kind"] != "turn":
        return ("text", *same)
    return ("turn", *same, trace["occurred_at"]) if trace["occurred_at"] is not None else None


@given(traces, traces)
def test_two_traces_are_the_same_exactly_if_they_mean_the_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    first, second = identity(KEY, **one), identity(KEY, **two)
    assert (first is None) == (meaning(one) is None)
    if first is not None:
        assert len(first) == SIZE
        assert (first == second) == (meaning(one) == meaning(two))


@given(texts, texts)
def test_parts_do_not_run_into_each_other(one: str, two: str) -> None:
    common = {"kind": "note", "role": None, "conversation_id": None, "external_id": None, "occurred_at": None}
    left = identity(KEY, content=one, speaker=two, **common)  # type: ignore[arg-type]
    right = identity(KEY, content=one + two, speaker="", **common)  # type: ignore[arg-type]
    none = identity(KEY, content=one + two, speaker=None, **common)  # type: ignore[arg-type]
    assert (left == right) == (two == "")
    assert left != none
    assert right != none


def test_hashes_are_keyed_and_of_their_purpose() -> None:
    assert digest(KEY, "a") == digest(KEY, "a")
    assert digest(KEY, "a") != digest(b"other", "a")
    assert digest(KEY, "a") != digest(KEY, "b")
    common = {"kind": "note", "role": None, "speaker": None, "conversation_id": None, "occurred_at": None}
    external = identity(KEY, content="x", external_id="a", **common)  # type: ignore[arg-type]
    assert external != digest(KEY, "a")
    assert external != identity(b"other", content="x", external_id="a", **common)  # type: ignore[arg-type]
