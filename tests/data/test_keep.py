"""How long data is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from freehold.data.keep import BadDuration, duration, end


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("3y", "P3Y"),
        ("18m", "P18M"),
        ("90d", "P90D"),
        ("1y6m", "P1Y6M"),
        ("6W", "P6W"),
        ("P1Y2M3D", "P1Y2M3D"),
    ],
)
def test_short_forms_are_stored_as_iso_8601(text: str, iso: str) -> None:
    assert duration(text) == iso


@pytest.mark.parametrize("text", ["", "3", "0d", "y", "-1y", "forever", "PT5M", "P", "1d1y"])
def test_what_does_not_say_how_long_is_refused(text: str) -> None:
    with pytest.raises(BadDuration):
        duration(text)


@pytest.mark.parametrize(
    ("kept", "begun", "ended"),
    [
        ("P3Y", "2024-02-29", "2027-02-28"),
        ("P1M", "2026-01-31", "2026-02-28"),
        ("P18M", "2026-09-15", "2028-03-15"),
        ("P90D", "2026-01-01", "2026-04-01"),
        ("P2W", "2026-12-25", "2027-01-08"),
    ],
)
def test_the_end_follows_the_calendar(kept: str, begun: str, ended: str) -> None:
    at = {
        day: int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**6
        for day in (begun, ended)
    }
    assert end(kept, at[begun]) == at[ended]


def test_a_very_long_time_is_no_error() -> None:
    assert end("P999Y9999M", 1_800_000_000_000_000) > 1_800_000_000_000_000
    assert end("P999Y99999D", 251_000_000_000_000_000) > 0
