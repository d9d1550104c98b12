"""How much a trace matters at a moment: what it is made of, and that SQL says the same."""

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from tests.memories.helpers import owner

from reverie.core.config import Settings
from reverie.core.ids import lower_bound, uuid7s
from reverie.core.kinds import KINDS
from reverie.core.queries import Queries
from reverie.memories.strength import HALF_LIVES, HALFWAY, PARTS, parts_at
from reverie.recall.strengths import Sheet, Strengths
from reverie.recall.traits import Traits
from reverie.recall.types import Candidate, key_of

NOW = datetime(2026, 11, 22, 6, 30, 15, 123_456, tzinfo=UTC)
DAY = timedelta(days=1)
USER = UUID(int=7)


def told(
    salience: float, kind: str, created_at: datetime, moment: datetime = NOW, *, updated_at: datetime | None = None,
    recalls: int = 0, last_at: datetime | None = None, pinned: bool = False,
    half_lives: dict[str, float] | None = None,
) -> float:  # fmt: skip
    """The effective salience of a row."""
    one = Candidate(
        key_of(USER, lower_bound(created_at)),
        None,
        None,
        1,
        kind,
        created_at,
        salience,
        True,
        pinned,
        updated_at,
        False,
        None,
    )
    counted = {one.key[16:]: (recalls, last_at.timestamp())} if last_at is not None else {}
    [found] = Strengths({USER.bytes: Sheet({**HALF_LIVES, **(half_lives or {})}, counted)}, moment.timestamp()).of(
        [one.key], Traits.of([one])
    )
    return float(found)


def turn(salience: float = 0.6, **more: Any) -> float:
    """Of a turn of a year ago."""
    return told(salience, "turn", NOW - 365 * DAY, **more)


def test_half_is_left_after_a_half_life_of_its_kind() -> None:
    for kind, days in HALF_LIVES.items():
        assert told(0.8, kind, NOW - days * DAY) == pytest.approx(0.4)
        assert told(0.8, kind, NOW - 2 * days * DAY) == pytest.approx(0.2)
    for kind in KINDS.keys() - HALF_LIVES.keys():
        assert told(0.8, kind, NOW - 10_000 * DAY) == 0.8
    assert turn(half_lives={"turn": 365.0}) == pytest.approx(0.3)
    assert turn(half_lives={"note": 1.0}) == turn()
    assert told(0.8, "chunk", NOW - 10 * DAY, half_lives={"chunk": 10}) == pytest.approx(0.4)


def test_recalls_strengthen_and_begin_the_time_anew() -> None:
    assert turn(0.6, recalls=HALFWAY, last_at=NOW) == pytest.approx(0.8)
    few, many = (turn(0.6, recalls=n, last_at=NOW) for n in (1, 1000))
    assert 0.6 < few < many < 1
    assert turn(0.6, recalls=1, last_at=NOW - HALF_LIVES["turn"] * DAY) == pytest.approx(few / 2)
    # Of what is as of a moment before them nothing is known.
    moment = NOW - 10 * DAY
    assert turn(moment=moment, recalls=5, last_at=NOW) == turn(moment=moment)


def test_what_was_changed_is_new() -> None:
    assert turn(updated_at=NOW) == pytest.approx(0.6)
    assert turn(updated_at=NOW - 10 * DAY, recalls=1, last_at=NOW - 20 * DAY) > turn(recalls=1, last_at=NOW - 20 * DAY)


def test_what_is_pinned_never_weakens() -> None:
    assert turn(pinned=True) == 0.6
    assert turn(pinned=True, recalls=HALFWAY, last_at=NOW - 300 * DAY) == pytest.approx(0.8)


def test_what_is_to_come_is_not_stronger_than_what_is_now() -> None:
    assert told(0.7, "turn", NOW + DAY) == 0.7
    assert 0 < told(0.7, "turn", datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)) < 1e-15


@given(
    st.floats(0, 1),
    st.sampled_from(sorted(KINDS)),
    st.timedeltas(timedelta(), 20_000 * DAY),
    st.integers(0, 10**9),
    st.timedeltas(-DAY, 20_000 * DAY),
    st.booleans(),
)
def test_it_lies_between_nothing_and_certain(
    salience: float, kind: str, age: timedelta, recalls: int, last: timedelta, pinned: bool
) -> None:
    found = told(salience, kind, NOW - age, recalls=recalls, last_at=NOW - last, pinned=pinned)
    assert 0 <= found <= 1
    assert told(salience, kind, NOW - age, NOW + DAY, recalls=recalls, last_at=NOW - last, pinned=pinned) <= found


class _Row(NamedTuple):
    salience: float
    kind: str
    created_at: datetime
    recalls: int
    last_at: datetime | None
    pinned: bool
    updated_at: datetime | None


_AGES = (timedelta(), timedelta(seconds=1), DAY, 45 * DAY, 400 * DAY, 9000 * DAY, -DAY)
_RECALLS = ((0, None), (1, NOW - DAY / 24), (37, NOW - 80 * DAY), (2**31 - 1, NOW - 700 * DAY), (3, NOW + DAY))
_ROWS = [
    _Row(salience, kind, NOW - age, recalls, last_at, pinned, updated_at)
    for salience, kind, age in zip(itertools.cycle((0.0, 1e-6, 0.31, 0.5, 1.0)), itertools.cycle(KINDS), _AGES * 6)
    for recalls, last_at in _RECALLS
    for pinned in (False, True)
    for updated_at in (None, NOW - 30 * DAY)
]


def _expected(one: _Row, half_lives: dict[str, float] | None) -> float:
    return told(
        one.salience, one.kind, one.created_at, updated_at=one.updated_at, recalls=one.recalls,
        last_at=one.last_at, pinned=one.pinned, half_lives=half_lives,
    )  # fmt: skip


@pytest.mark.parametrize("half_lives", [None, {"turn": 7.5, "chunk": 3650, "note": 0.25}], ids=["usual", "set"])
async def test_sql_says_the_same(settings: Settings, half_lives: dict[str, float] | None) -> None:
    """As recall asks, of users that are named, and as the tiers do, of those of the rows."""
    assert len(_ROWS) > 500
    space, user, *ids = uuid7s(NOW, 2 + len(_ROWS))
    expected = dict(zip(ids, (_expected(row, half_lives) for row in _ROWS), strict=True))
    moment = PARTS["moment"].replace("%b", "%s")
    asked = f"SELECT t.id, {PARTS['effective']} FROM {moment} CROSS JOIN memory_trace t"  # noqa: S608
    at = parts_at(NOW)
    looked = f"SELECT t.id, {at['effective']} FROM memory_trace t CROSS JOIN {at['moment']}"  # noqa: S608
    async with (
        owner(settings) as connection,
        connection.transaction(force_rollback=True),
        connection.cursor() as cursor,
    ):
        await cursor.execute(
            "INSERT INTO space (id, name, identity_key, created_at) VALUES (%s, %s, '', now())", (space, str(space))
        )
        await cursor.execute(
            "INSERT INTO memory_user (space_id, user_id, external_id, created_at, updated_at, half_lives)"
            " VALUES (%s, %s, 'u', now(), now(), %s)",
            (space, user, None if half_lives is None else Jsonb(half_lives)),
        )
        await cursor.executemany(
            "INSERT INTO memory_trace (space_id, user_id, id, kind, language, length, created_at, updated_at, salience,"
            " salience_given, pinned, digest, vectors)"
            " VALUES (%s, %s, %s, %s, 'english', 1, %s, %s, %s, true, %s, '', true)",
            [
                (space, user, trace_id, one.kind, one.created_at, one.updated_at, one.salience, one.pinned)
                for trace_id, one in zip(ids, _ROWS, strict=True)
            ],
        )
        await cursor.executemany(
            "INSERT INTO memory_access VALUES (%s, %s, %s, %s, %s)",
            [
                (space, user, trace_id, one.recalls, one.last_at)
                for trace_id, one in zip(ids, _ROWS, strict=True)
                if one.last_at is not None
            ],
        )
        for query, parameters in ((asked, (NOW, [user])), (looked, ())):
            await cursor.execute(f"{query} {PARTS['recalled']} WHERE t.user_id = %s", (*parameters, user))
            found = dict(await cursor.fetchall())
            assert found.keys() == expected.keys()
            for trace_id, value in found.items():
                assert math.isclose(value, expected[trace_id], rel_tol=1e-6, abs_tol=1e-30)


def test_every_part_is_one_of_the_file() -> None:
    file = Queries("reverie.memories", "strength.sql")
    assert PARTS["recalled"] == file["recalled"].decode()
    assert "{" not in "".join([*PARTS.values(), *parts_at(NOW).values()])
