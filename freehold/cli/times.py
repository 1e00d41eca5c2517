"""Times as people read them."""

from __future__ import annotations

import datetime as dt


def moment(micros: int | None) -> str:
    """Microseconds UTC as `2026-11-03 14:05:09Z`; nothing as `–`."""
    if micros is None:
        return "–"
    at = dt.datetime.fromtimestamp(micros / 1_000_000, dt.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}Z"
