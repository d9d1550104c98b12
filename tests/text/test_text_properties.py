"""Whatever the text: names, languages, limits, and JSON that PostgreSQL shall hold."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.memories.helpers import rows

from reverie.core.config import Settings
from reverie.core.limits import Limits
from reverie.text.fields import NOT_BLANK, STORABLE, Content, Identifier, JsonObject, Question, Text, storable_text
from reverie.text.languages import CONFIGURATIONS, SIMPLE, configuration
from reverie.text.names import ROLE_WORDS, is_name, name_words

anything = st.text(st.characters(exclude_categories=[]))
LIMITS = Limits(content_chars=12, question_chars=9, id_chars=5, meta_levels=3)


@given(anything)
def test_any_text_is_a_language_or_refused(text: str) -> None:
    found, said = SIMPLE, "takes an ISO 639-1 code"
    try:
        found = configuration(text)
    except ValueError as error:
        said = str(error)
    assert found in {*CONFIGURATIONS.values(), SIMPLE}
    assert said.startswith("takes an ISO 639-1 code")
    assert configuration(found) == found


@given(st.sampled_from([*CONFIGURATIONS]), st.sampled_from("-_"), anything)
def test_what_follows_a_code_does_not_matter(code: str, sign: str, rest: str) -> None:
    assert configuration(f" {code.upper()}{sign}{rest}") == CONFIGURATIONS[code]


@given(anything)
def test_the_words_of_any_text_are_words_in_lower_case(text: str) -> None:
    words = name_words(text)
    assert all(re.fullmatch(r"\w+", word) for word in words)
    assert is_name(text) == bool(words - ROLE_WORDS)
    assert name_words(" ".join(words)) <= words | {word.removesuffix("s") for word in words}


@given(anything, anything)
def test_words_of_two_texts_are_those_of_both(one: str, two: str) -> None:
    assert name_words(f"{one} . {two}") == name_words(one) | name_words(two)


@pytest.mark.parametrize(
    ("kind", "most", "blank"), [(Text, 5, True), (Identifier, 5, False), (Content, 12, False), (Question, 9, False)]
)
@given(text=anything)
@example(text="\u2003")
@example(text="\ufeff")
@example(text="\x1c")
def test_a_field_takes_what_its_description_says(kind: Any, most: int, blank: bool, text: str) -> None:
    taken = True
    try:
        assert TypeAdapter(kind).validate_python(text, context=LIMITS) == text
    except ValidationError:
        taken = False
    storable = re.search(STORABLE, text) is not None and not re.search("[\ud800-\udfff]", text)
    wanted = storable and len(text) <= most and (blank or re.search(NOT_BLANK, text) is not None)
    assert taken == wanted


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)


def levels(value: object) -> int:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max((levels(one) for one in inner), default=0)
    return 0


def storable(value: object) -> bool:
    """Whether jsonb can hold a value."""
    if isinstance(value, dict):
        return all(storable(key) and storable(one) for key, one in value.items())
    if isinstance(value, list):
        return all(storable(one) for one in value)
    if isinstance(value, str):
        return storable_text_or_none(value) is not None
    return not isinstance(value, int) or -(2**63) <= value < 2**64


def storable_text_or_none(text: str) -> str | None:
    try:
        return storable_text(text)
    except ValueError:
        return None


@given(values)
def test_meta_takes_what_can_be_stored(value: object) -> None:
    taken, said = True, "takes "
    try:
        assert TypeAdapter(JsonObject).validate_python(value, context=LIMITS) is not None
    except ValidationError as error:
        taken, said = False, error.errors()[0]["msg"].removeprefix("Value error, ")
    assert said.startswith("takes ")
    assert taken == (isinstance(value, dict) and levels(value) <= LIMITS.meta_levels and storable(value))


async def test_what_meta_takes_postgresql_holds(settings: Settings) -> None:
    taken: list[str] = []

    @given(st.dictionaries(anything, values, max_size=4))
    def collect(value: dict[str, Any]) -> None:
        text = json.dumps(value)
        # Whatever came in as JSON holds neither NaN nor infinity.
        if levels(value) <= LIMITS.meta_levels and storable(value) and not re.search("NaN|Infinity", text):
            taken.append(text)

    collect()
    assert len(taken) > 20
    found = await rows(settings, "SELECT count(t::jsonb) FROM unnest(%s::text[]) t", (taken,))
    assert found == [(len(taken),)]
