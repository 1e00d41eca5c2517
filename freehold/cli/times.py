"""Times as people read them."""

from __future__ import annotations

import datetime as dt

from freehold.errors import BadInput


def moment(micros: int | None) -> str:
    """Microseconds UTC as `2026-11-03 14:05:09Z`; nothing as `–`."""
    if micros is None:
        return "–"
    at = dt.datetime.fromtimestamp(micros / 1_000_000, dt.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def span(seconds: int) -> str:
    """`5 min` of 300 seconds: in the largest unit that says it in a whole number."""
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds and seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


_FIRST, _LAST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(5000, 1, 1, tzinfo=dt.UTC)


def read_moment(text: str) -> int:
    """Microseconds for a date, or a date and time; UTC where no zone is said. Raises BadInput."""
    try:
        said = dt.datetime.fromisoformat(text)
        aware = said if said.tzinfo else said.replace(tzinfo=dt.UTC)
        if not _FIRST <= aware <= _LAST:
            raise ValueError(f"{said.year} is no year that anything was recorded in")
    except ValueError as error:
        raise BadInput(
            what=f"`{text[:40]}` is no time",
            why="a date, or a date and a time, of 1970 or later, as ISO 8601 writes them",
            hint="such as 2026-11-21, 2026-11-21T14:30Z or 2026-11-21T14:30+01:00",
        ) from error
    return round(aware.timestamp() * 1_000_000)
