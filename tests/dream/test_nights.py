"""When a night has come, in any time zone and over changes of the clock; and which days are due."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from tests.conftest import Remember
from tests.dream.days import GARDEN, MONDAY, NIGHT, TUESDAY, rows, talk

from reverie.core.config import Settings, load_settings
from reverie.core.database import Connection
from reverie.core.errors import SettingsError
from reverie.dream import nights
from reverie.dream.nights import AGAIN_AFTER, SHORTEST, came, comes, is_due
from reverie.dream.repository import Asked, NightRow

HOUR = timedelta(hours=1)
THREE = datetime(2026, 5, 8, 3, tzinfo=UTC)
AT = time(3)
ZONE = ZoneInfo("UTC")


def night_of(state: str, began: datetime, ended: datetime | None) -> NightRow:
    return NightRow(UUID(int=1), state, {}, began, True, False, 1, 0, began, ended or began, ended, None)


@pytest.mark.parametrize(
    ("now", "last", "due"),
    [
        (THREE - HOUR, None, False),
        (THREE + HOUR, None, True),
        (THREE + HOUR, night_of("done", THREE, THREE + HOUR), False),
        (THREE + HOUR, night_of("done", THREE - 2 * HOUR, THREE - HOUR), True),
        (THREE + 23 * HOUR, night_of("done", THREE, THREE), False),
        (THREE + 25 * HOUR, night_of("done", THREE, THREE), True),
        # A worker that was away for a week does one night, in which all days that were missed are due.
        (THREE + 7 * 24 * HOUR, night_of("done", THREE, THREE), True),
        (THREE + HOUR, night_of("failed", THREE, THREE + HOUR / 2), False),
        (THREE + HOUR / 2 + AGAIN_AFTER, night_of("failed", THREE, THREE + HOUR / 2), True),
        (THREE + SHORTEST, night_of("running", THREE, None), True),
        (THREE + SHORTEST / 2, night_of("running", THREE, None), False),
        (THREE + HOUR, night_of("cancelled", THREE, THREE + HOUR / 2), False),
        # The clock was set back by a year: what was done in that future counts for nothing.
        (THREE + HOUR, night_of("done", THREE + timedelta(days=365), THREE + timedelta(days=365)), True),
    ],
)
def test_when_a_night_has_come(now: datetime, last: NightRow | None, due: bool) -> None:
    assert is_due(now, AT, ZONE, THREE - 2 * HOUR, last) is due


def test_nobody_catches_up_where_nobody_has_ever_dreamt() -> None:
    assert not is_due(THREE + HOUR, AT, ZONE, THREE + HOUR / 2, None)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "at", "moment"),
    [
        # Winter and summer.
        ("2026-01-10T12:00Z", "03:00", "2026-01-10T02:00Z"),
        ("2026-07-10T12:00Z", "03:00", "2026-07-10T01:00Z"),
        # 29 March 2026: at 02:00 the clock goes to 03:00, and 02:30 is there an hour later.
        ("2026-03-29T01:20Z", "02:30", "2026-03-28T01:30Z"),
        ("2026-03-29T01:40Z", "02:30", "2026-03-29T01:30Z"),
        # 25 October 2026: 02:30 comes twice, and the first counts.
        ("2026-10-25T00:40Z", "02:30", "2026-10-25T00:30Z"),
        ("2026-10-25T01:40Z", "02:30", "2026-10-25T00:30Z"),
        ("2026-10-25T00:20Z", "02:30", "2026-10-24T00:30Z"),
    ],
)
def test_a_time_of_the_day_comes_once_a_day(now: str, at: str, moment: str) -> None:
    wanted, then = datetime.fromisoformat(moment), datetime.fromisoformat(now)
    assert came(then, time.fromisoformat(at), BERLIN) == wanted
    assert came(then, time.fromisoformat(at), BERLIN) <= then < comes(then, time.fromisoformat(at), BERLIN)


def test_from_one_night_to_the_next_it_is_a_day_but_for_the_clock() -> None:
    moment, seen = datetime(2026, 1, 1, tzinfo=UTC), set()
    for _ in range(400):
        following = comes(moment, AT, BERLIN)
        seen.add(following - moment)
        assert following.astimezone(BERLIN).time() == AT
        moment = following
    assert {one for one in seen if one > 3 * HOUR} == {23 * HOUR, 24 * HOUR, 25 * HOUR}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dream_at", "25:00"), ("dream_at", "3"), ("dream_at", "03:00:00"), ("dream_time_zone", "Mars/Olympus"),
        ("dream_time_zone", "../../etc/passwd"), ("dream_time_zone", "Europe"), ("dream_max_minutes", 0),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_in_a_sentence(name: str, wrong: object) -> None:
    with pytest.raises(SettingsError, match=f"^{name.upper()}: .+\\.$"):
        load_settings(**{name: wrong})


@pytest.mark.parametrize(("given", "kept"), [("3:05", time(3, 5)), (" 23:59 ", time(23, 59))])
def test_times_are_read_as_people_write_them(given: str, kept: time) -> None:
    assert load_settings(dream_at=given).dream_time == kept


async def due(
    owner: Connection, settings: Settings, moment: datetime = NIGHT, **asked: object
) -> list[tuple[str, str, int]]:
    plan = await nights.plan(owner, Asked(**asked), moment, settings.dream_time_zone)  # type: ignore[arg-type]
    return [(one.who.external_id, one.day.isoformat(), one.traces) for one in plan.days]


async def test_all_days_that_are_over_are_due_oldest_first_over_all_users(
    remember: Remember, owner: Connection, settings: Settings
) -> None:
    await remember("ann", *talk(day=TUESDAY), *talk("c0", "2026-02-10", said=GARDEN))
    await remember("ben", *talk(day=MONDAY))
    await remember("ben", *talk(day="2026-03-04"))
    assert await due(owner, settings) == [("ann", "2026-02-10", 3), ("ben", MONDAY, 5), ("ann", TUESDAY, 5)]
    assert await due(owner, settings, NIGHT - timedelta(days=1)) == [("ann", "2026-02-10", 3), ("ben", MONDAY, 5)]
    # Today may be asked for.
    assert await due(owner, settings, day=date(2026, 3, 4)) == [("ben", "2026-03-04", 5)]
    assert await due(owner, settings, day=date(2026, 3, 5)) == []


async def test_who_does_not_dream_has_no_day(remember: Remember, owner: Connection, settings: Settings) -> None:
    await remember("ann", *talk())
    await owner.execute("UPDATE memory_user SET dream = false")
    assert await due(owner, settings) == []
    assert await due(owner, settings, day=date.fromisoformat(MONDAY)) == []


async def test_a_day_is_one_of_the_users_time_zone(remember: Remember, owner: Connection, settings: Settings) -> None:
    await remember("ann", *talk(hour=23))
    await remember("ben", *talk(hour=23))
    await owner.execute("UPDATE memory_user SET time_zone = 'Pacific/Auckland' WHERE external_id = 'ann'")
    assert await due(owner, settings) == [("ben", MONDAY, 5), ("ann", TUESDAY, 5)]
    # In Auckland Tuesday is over before it is so in UTC.
    assert await due(owner, settings, datetime(2026, 3, 3, 11, 30, tzinfo=UTC)) == [
        ("ben", MONDAY, 5),
        ("ann", TUESDAY, 5),
    ]
    assert await due(owner, settings, datetime(2026, 3, 3, 10, 30, tzinfo=UTC)) == [("ben", MONDAY, 5)]


async def test_a_zone_that_postgresql_does_not_know_is_utc(
    remember: Remember, owner: Connection, settings: Settings
) -> None:
    await remember("ann", *talk(hour=23))
    await owner.execute("UPDATE memory_user SET time_zone = 'Mars/Olympus'")
    assert await due(owner, settings) == [("ann", MONDAY, 5)]


async def test_days_of_23_and_25_hours_hold_each_trace_once(
    remember: Remember, owner: Connection, settings: Settings
) -> None:
    """Also where the clock is set at midnight: a day then begins twice (Havana), or an hour late (Beirut)."""
    for zone, days in (
        ("Europe/Berlin", ("2026-03-29", "2026-10-25")),
        ("America/Havana", ("2026-03-08", "2026-11-01")),
        ("Asia/Beirut", ("2026-03-29", "2026-10-25")),
    ):
        for day in days:
            first = datetime.fromisoformat(f"{day}T00:00Z") - timedelta(days=1)
            hours = [first + timedelta(minutes=30 * n) for n in range(144)]
            note = {"kind": "note", "salience": 0.1}
            traces = [
                note | {"content": f"{zone} {moment:%d %H:%M}", "occurred_at": moment.isoformat()} for moment in hours
            ]
            await remember(f"{zone} {day}", *traces)
        await owner.execute("UPDATE memory_user SET time_zone = %s WHERE external_id LIKE %s", (zone, f"{zone}%"))
    later = datetime(2026, 11, 20, tzinfo=UTC)
    found = await due(owner, settings, later)
    by_user: dict[str, dict[str, int]] = {}
    for user, day, seen in found:
        by_user.setdefault(user, {})[day] = seen
    for user, counts in by_user.items():
        assert sum(counts.values()) == 144, user
    assert {46, 50} <= {seen for counts in by_user.values() for seen in counts.values()}
    for user, day, seen in found:
        zone = user.split()[0]
        local = ZoneInfo(zone)
        begins = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=local)
        ends = (datetime.fromisoformat(f"{day}T00:00") + timedelta(days=1)).replace(tzinfo=local)
        query = (
            "SELECT count(*) FROM memory_trace t JOIN memory_user u USING (user_id) WHERE u.external_id = %s"
            " AND happened_at >= %s AND happened_at < %s"
        )
        [(wanted,)] = await rows(owner, query, user, begins.astimezone(UTC), ends.astimezone(UTC))
        assert seen == wanted, (user, day)
