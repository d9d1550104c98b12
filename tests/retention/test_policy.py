"""What the rules of retention mean."""

from datetime import UTC, datetime, timedelta

from reverie.retention.policy import Own, Policy

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_what_a_space_sets_goes_before_the_service_also_where_it_is_nothing() -> None:
    service = Policy(ttl_days=90, max_traces_per_user=1000, salience_floor=0.2)
    assert Own().over(service) == service
    assert Own(ttl_days=0).over(service) == Policy(0, 1000, 0.2)
    assert Own(30, 10, 0.0).over(service) == Policy(30, 10, 0.0)


def test_by_default_nothing_goes() -> None:
    assert not Policy().active
    assert Policy().aged(NOW) is None
    for one in (Policy(ttl_days=1), Policy(max_traces_per_user=1), Policy(salience_floor=0.1)):
        assert one.active


def test_age_is_counted_back_from_now() -> None:
    assert Policy(ttl_days=3).aged(NOW) == NOW - timedelta(days=3)


def test_a_receipt_says_why() -> None:
    policy = Policy(ttl_days=90, max_traces_per_user=1000, salience_floor=0.25)
    assert policy.reason({"ttl_days": 2, "salience_floor": 0, "max_traces_per_user": 1}) == (
        "retention: 2 older than 90 days (ttl_days), 1 more than 1000 traces (max_traces_per_user)"
    )
    assert policy.reason({"salience_floor": 7}) == "retention: 7 salience below 0.25 (salience_floor)"
    assert policy.reason({"expires_at": 7}) == "retention: 7 expires_at has passed"
