"""Time zones by their names (IANA Time Zone Database)."""

from zoneinfo import ZoneInfo


def is_time_zone(name: str) -> bool:
    """Whether a name such as ``Europe/Berlin`` is that of a time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # None of that name, no name at all, or that of a folder.
        return False
    return True
