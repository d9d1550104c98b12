"""Bounds and filters, in Python and in PostgreSQL: the same traces are within them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.memories.helpers import owner

from reverie.core.config import Settings
from reverie.core.http import complaint
from reverie.core.kinds import KINDS
from reverie.core.limits import Limits
from reverie.recall.bounds import admissible, clauses, rare_clauses
from reverie.recall.filters import MOST_CHOICES, MOST_CONDITIONS, OPERATORS, jsonpath
from reverie.recall.recipes import RECIPES
from reverie.recall.schemas import RecallIn, RecallQuery
from reverie.recall.types import Bounds, Candidate, key_of, trace_of, user_of

USER = UUID(int=1)
DAY = datetime(2024, 5, 1, tzinfo=UTC)

moments = st.integers(0, 4).map(lambda hours: DAY + timedelta(hours=hours))
ids = st.integers(1, 5).map(lambda number: UUID(int=number))
bounds = st.builds(
    Bounds,
    user_ids=st.just([USER]),
    kinds=st.lists(st.sampled_from([*KINDS.values()]), min_size=1),
    heads=st.just([0]),
    since=st.none() | moments,
    until=st.none() | moments,
    before=st.none() | ids,
    only=st.none() | st.frozensets(ids),
)
candidates = st.builds(
    lambda trace, kind, happened: Candidate(
        key_of(USER, trace), None, None, 1, kind, happened, 0.5, False, False, None, False, None
    ),
    ids,
    st.sampled_from([*KINDS]),
    moments,
)


async def test_what_is_admissible_is_what_the_clauses_let_through(settings: Settings) -> None:
    asked: list[tuple[Bounds, Candidate]] = []

    @given(bounds, candidates)
    def collect(within: Bounds, one: Candidate) -> None:
        asked.append((within, one))

    collect()
    async with owner(settings) as connection:
        for within, one in asked:
            text, parameters = clauses(within)
            row = (KINDS[one.kind], one.happened_at, trace_of(one.key))
            query = (
                "SELECT count(*) FROM (VALUES (%s::smallint, %s::timestamptz, %s::uuid))"  # noqa: S608 - our own clauses
                f" AS e(kind, happened_at, trace_id) WHERE true {text.replace('%b', '%s')}"
            )
            found = await (await connection.execute(query.encode(), [*row, *parameters])).fetchone()
            assert found == (int(admissible(one, within)),), (within, one)
    inside = sum(admissible(one, within) for within, one in asked)
    assert 5 < inside < len(asked)


@given(bounds, st.none() | st.lists(st.text()), st.none() | st.text(), st.none() | st.text())
def test_every_clause_has_its_parameter(
    within: Bounds, roles: list[str] | None, conversation: str | None, path: str | None
) -> None:
    for text, parameters in (clauses(within), rare_clauses(roles, conversation, within.user_ids, path)):
        assert text.count("%b") == len(parameters)
        assert text == "" or text.startswith("AND ")
    assert rare_clauses(None, None, [USER], None) == ("", [])


@given(ids, ids)
def test_a_key_names_its_user_and_its_trace(user: UUID, trace: UUID) -> None:
    assert (user_of(key_of(user, trace)), trace_of(key_of(user, trace))) == (user, trace)


words = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=4)
keys = st.sampled_from(["a", "b", 'quo"te', "back\\slash", "é", " "])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, -0.5, 1e300]) | words
metas = st.dictionaries(keys, scalars | st.lists(scalars, max_size=3), max_size=4)
equal = st.dictionaries(keys, scalars, min_size=1, max_size=2)


def holds(meta: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """What the filter says in words: each key has the value, or a list with it."""
    return all(
        any(
            (type(one) is type(value) and one == value) or _same_number(one, value)
            for one in _values(meta.get(key, ...))
        )
        for key, value in wanted.items()
    )


def _values(found: object) -> list[object]:
    return [] if found is ... else found if isinstance(found, list) else [found]


def _same_number(one: object, two: object) -> bool:
    numbers = isinstance(one, int | float) and isinstance(two, int | float)
    return numbers and not isinstance(one, bool) and not isinstance(two, bool) and one == two


async def test_a_filter_finds_what_it_says(settings: Settings) -> None:
    asked: list[tuple[dict[str, Any], dict[str, Any]]] = []

    @given(metas, equal)
    def collect(meta: dict[str, Any], wanted: dict[str, Any]) -> None:
        asked.append((meta, wanted))
        asked.append((wanted, wanted))

    collect()
    texts = [orjson.dumps(meta).decode() for meta, _ in asked]
    paths = [jsonpath({f"meta.{key}": value for key, value in wanted.items()}) for _, wanted in asked]
    async with owner(settings) as connection:
        query = "SELECT coalesce(m::jsonb @@ p::jsonpath, false) FROM unnest(%s::text[], %s::text[]) AS t(m, p)"
        found = await (await connection.execute(query, (texts, paths))).fetchall()
    for (meta, wanted), (said,) in zip(asked, found, strict=True):
        assert said == holds(meta, wanted), (meta, wanted)
    assert 20 < sum(said for (said,) in found) < len(found)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from([*OPERATORS, "$in"]), inner)
    ),
    max_leaves=6,
)
filters = st.dictionaries(st.text() | st.text().map("meta.{}".format), anything, max_size=3)


@given(filters)
def test_a_request_with_any_filter_is_read_or_refused_for_it(given_filter: dict[str, Any]) -> None:
    field, sentence = "filter", "filter takes x."
    try:
        asked = RecallIn.model_validate({"user_id": "u", "q": "tea", "filter": given_filter}, context=Limits())
        assert asked.filter is not None
        assert jsonpath(asked.filter)
    except ValidationError as error:
        found, sentence = complaint(error)
        field = str(found)
    assert field.startswith("filter")
    assert sentence.startswith("filter takes ")
    assert sentence.endswith(".")


async def test_the_largest_filters_are_taken(settings: Settings) -> None:
    many = {f"meta.{number}": {"$in": list(range(MOST_CHOICES // 10))} for number in range(MOST_CONDITIONS)}
    deep = {"meta" + ".a" * 32: dict.fromkeys(OPERATORS, "x")}
    async with owner(settings) as connection:
        for wanted in (many, deep):
            query = "SELECT '{}'::jsonb @@ %s::jsonpath"
            assert await (await connection.execute(query, (jsonpath(wanted),))).fetchone() == (False,)


times = st.none() | st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
windows = st.none() | st.from_regex(r"[0-9]{0,5}[hdwmy]", fullmatch=True)


@given(times, times, windows, times, st.sampled_from([*RECIPES]))
def test_any_times_are_read_or_refused_for_one_of_them(
    since: str | None, until: str | None, window: str | None, at: str | None, recipe: str
) -> None:
    asked = {"user_id": ["u"], "q": "tea", "since": since, "until": until, "time_window": window, "at": at}
    field = "since"
    try:
        read = TypeAdapter(RecallQuery).validate_python({**asked, "recipe": recipe}, context=Limits())
        assert read.time_window is None or (read.since is None and read.until is None)
        assert read.since is None or read.until is None or read.since <= read.until
    except ValidationError as error:
        field = str(complaint(error)[0])
    assert field in ("since", "until", "time_window", "at")
