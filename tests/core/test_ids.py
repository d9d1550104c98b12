from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from reverie.core.ids import lower_bound, milliseconds, moment_of, user_uuid, uuid7, uuid7s

NOW = datetime(2026, 11, 21, 12, 30, 15, 123456, tzinfo=UTC)
moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


def test_the_ids_of_a_moment_are_v7_unique_and_ascending() -> None:
    ids = uuid7s(NOW, 10_000)
    assert len(set(ids)) == 10_000
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}
    assert {one.variant for one in ids} == {"specified in RFC 4122"}
    assert moment_of(ids[0]) == moment_of(ids[4095]) == NOW.replace(microsecond=123000)
    assert moment_of(ids[4096]) == NOW.replace(microsecond=124000)
    assert uuid7s(NOW, 0) == []


@given(moments)
def test_an_id_lies_between_the_bounds_of_its_millisecond(moment: datetime) -> None:
    made = uuid7(moment)
    assert lower_bound(moment) <= made < lower_bound(moment + timedelta(milliseconds=1))
    assert milliseconds(moment_of(made)) == milliseconds(moment)
    assert moment_of(lower_bound(moment)) == moment_of(made)


def test_bounds_reach_before_the_epoch() -> None:
    assert lower_bound(datetime(1, 1, 2, tzinfo=UTC)) == UUID(int=0)


def test_milliseconds_are_whole_and_exact() -> None:
    assert milliseconds(datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC)) == 1000
    assert milliseconds(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    assert milliseconds(datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)) == 253402214399999
    assert milliseconds(NOW.astimezone(timezone(timedelta(hours=-7)))) == milliseconds(NOW)


def test_two_spaces_share_no_user() -> None:
    one, two = uuid4(), uuid4()
    ids = {user_uuid(space, name) for space in (one, two) for name in ("a", "b", "a/b", "", "A")}
    assert len(ids) == 10
    assert user_uuid(one, "a") == user_uuid(one, "a")
    assert user_uuid(one, "a").version == 5
