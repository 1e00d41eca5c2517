"""How long data is kept: `3y`, `18m`, `90d` as people write it, ISO 8601 durations as it is stored."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta

from freehold.errors import BadInput

_SHORT = re.compile(r"(?:(\d{1,3})y)?(?:(\d{1,4})m)?(?:(\d{1,4})w)?(?:(\d{1,5})d)?", re.IGNORECASE)
_ISO = re.compile(r"P(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?")


class BadDuration(BadInput):
    """`{text}` does not say how long"""


def duration(text: str) -> str:
    """`3y` or `P3Y` as `P3Y`. Raises BadDuration."""
    found = _ISO.fullmatch(text.strip()) or _SHORT.fullmatch(text.strip())
    parts = [int(part or 0) for part in found.groups()] if found else []
    if not any(parts):
        raise BadDuration(
            text=text[:40],
            why="write years, months, weeks, days: `3y`, `18m`, `6w`, `90d`, `1y6m`",
            hint="how long it may be kept follows from the purpose; when in doubt ask data protection",
        )
    return "P" + "".join(f"{n}{unit}" for n, unit in zip(parts, "YMWD", strict=True) if n)


def end(kept: str, since: int) -> int:
    """When `kept` (ISO 8601) is over for what began at `since`; both in microseconds UTC.

    Months are calendar months; the 31st plus a month is the month's last day.
    """
    found = _ISO.fullmatch(kept)
    years, months, weeks, days = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    begun = datetime.fromtimestamp(since // 1_000_000, UTC)
    month = begun.month - 1 + months + 12 * years
    year, month = begun.year + month // 12, month % 12 + 1
    last = calendar.monthrange(year, month)[1] if year <= 9999 else 28
    if year > 9999:
        return 2**62  # beyond every calendar we could be asked about
    moved = begun.replace(year=year, month=month, day=min(begun.day, last))
    return int((moved + timedelta(weeks=weeks, days=days)).timestamp()) * 1_000_000
