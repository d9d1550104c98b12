"""Whatever is to be shown in a terminal, or stands in a file to import."""

import re
from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from reverie.cli.lines import Fault, Item, Passed, is_turn, read
from reverie.cli.text import count, degraded, moment, one_line, passage, pattern, plain, stem

texts = st.text(st.characters(exclude_categories=[]))
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@given(texts)
def test_nothing_that_steers_a_terminal_is_shown(text: str) -> None:
    assert not STEERING.search(plain(text))
    assert plain(plain(text)) == plain(text)
    assert not STEERING.search(one_line(text))
    assert "\n" not in one_line(text)


@given(texts, st.integers(1, 40))
def test_a_line_is_as_long_as_it_may_be(text: str, most: int) -> None:
    assert len(one_line(text, most)) <= most
    assert one_line(one_line(text)) == one_line(text)


@given(texts, texts)
def test_any_question_has_a_pattern_or_none(question: str, text: str) -> None:
    found = pattern(question)
    if found is not None:
        assert all(found.search(word) or not word for word in found.findall(text))
        # Its own words stand out, unless something is left of a word that is no letter.
        assert found.search(question.lower()) or not question.isascii()
    assert len(passage(text, found, 20)) <= 24


@given(st.text(st.characters(categories=["Ll"]), min_size=1))
def test_the_forms_of_a_word_have_its_stem_in_common(word: str) -> None:
    assert word.lower().startswith(stem(word))
    assert len(stem(word)) >= min(3, len(word.lower()))


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_of_the_service_is_shown(when: datetime) -> None:
    shown = moment(when.isoformat().replace("+00:00", "Z"))
    assert str(when.year) in shown
    assert ("," in shown) == ((when.hour, when.minute) != (0, 0))


@given(st.integers(0), st.lists(texts, max_size=3))
def test_numbers_and_names_are_put_into_words(number: int, names: list[str]) -> None:
    assert int(count(number).replace(" ", "")) == number
    assert count(number, "trace").endswith("trace" if number == 1 else "traces")
    assert all(sentence.endswith(".") for sentence in degraded(names))


pieces = st.sampled_from(["role", "content", "messages", "name", "user_id", "conversation_id", "external_id",
                          "occurred_at", "kind", "tool_calls"])  # fmt: skip
plain_text = st.text(st.characters(exclude_categories=["Cs"]))
objects = st.dictionaries(
    pieces,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | plain_text | st.sampled_from(["user", "turn"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(pieces, inner, max_size=4),
        max_leaves=8,
    ),
)


@given(st.lists(objects, max_size=6), st.none() | plain_text, st.none() | plain_text)
def test_any_objects_are_traces_faults_or_passed_over(
    given_objects: list[dict[str, object]], user: str | None, conversation: str | None
) -> None:
    lines = [b"\xef\xbb\xbf" + orjson.dumps(one) + b"\r\n" for one in given_objects]
    found = list(read(lines, user, conversation))
    assert {one.line for one in found} <= set(range(1, len(lines) + 1))
    for one in found:
        assert isinstance(one, Item | Fault | Passed)
        if isinstance(one, Fault):
            assert one.reason.endswith(".")
        if isinstance(one, Item):
            assert isinstance(one.user, str)
            assert "messages" not in one.trace
            assert orjson.dumps(one.trace)
            known = one.trace.get("external_id") is not None or one.trace.get("occurred_at") is not None
            assert known or not is_turn(one.trace)
    assert [one.line for one in found] == sorted(one.line for one in found)
