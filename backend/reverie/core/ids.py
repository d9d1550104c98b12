"""Identifiers: uuid v7 for traces, whose first 48 bits are their time, and uuid v5 for users."""

import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid5

USER_NAMESPACE = UUID("6f0c5a4e-51c7-5f7e-9f43-0d6a3b0f8a11")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=4096)
def user_uuid(space_id: UUID, external_id: str) -> UUID:
    """The inner id of a caller's user: the uuid v5 of (space, string), so that no two spaces share one."""
    return uuid5(USER_NAMESPACE, f"{space_id}/{external_id}")


def uuid7s(moment: datetime, count: int) -> list[UUID]:
    """``count`` ids (RFC 9562, section 5.7) of one moment, ascending: 12 bits of rand_a count, then milliseconds carry.

    Ids made at the same millisecond by different processes differ by 62 random bits.
    """
    start = milliseconds(moment)
    made, drawn = [], secrets.token_bytes(8 * count)
    for n in range(count):
        carry, low = divmod(n, 0x1000)
        random = int.from_bytes(drawn[8 * n : 8 * n + 8]) >> 2
        value = (start + carry) << 80 | 0x7 << 76 | low << 64 | 0b10 << 62 | random
        made.append(UUID(int=value))
    return made


def uuid7(moment: datetime) -> UUID:
    """One id of ``moment``."""
    return uuid7s(moment, 1)[0]


def lower_bound(moment: datetime) -> UUID:
    """The smallest uuid that an id of ``moment`` or later can have: bounds of partitions and of ``at=``."""
    return UUID(int=max(0, milliseconds(moment)) << 80)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since the Unix epoch, exactly (no floating point)."""
    return (moment - _EPOCH) // _MILLISECOND


def moment_of(trace_id: UUID) -> datetime:
    """The time in a uuid v7, to the millisecond."""
    return _EPOCH + (trace_id.int >> 80) * _MILLISECOND
