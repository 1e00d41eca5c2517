"""Every write, lost or done without its answer or torn: what is left opens, and is whole.

Each point of the record is a moment at which the process may die: everything before it is on the disk,
then the write is not there (lost), is there and nobody was told (persisted), or is there by half (torn).
The same with nothing unsynced on the disk.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from postgres_server import embedded

from tests.durability.cuts import Cut, Record, cut_off

SOME = 16
"""Points looked at in the short form, evenly over the record."""


def cuts(record: Record, every: int) -> list[Cut]:
    found = []
    for at in record.points[::every]:
        # after everything that was told before the next write: persisted, and nobody was told
        found += [Cut(at=at, outcome="kept"), Cut(at=at + 1, outcome="kept"), Cut(at=at, outcome="lost")]
        if record.events[at].op == "W":
            found.append(Cut(at=at, outcome="kept", torn=True))
    return found


def look(record: Record, every: int, scratch: Path) -> None:
    bad = [str(left) for left in cut_off(record, cuts(record, every), scratch) if not left.found.well]
    assert not bad, "\n".join(bad)


@embedded
def test_some_points_of_all_kinds(little: Record, tmp_path: Path) -> None:
    look(little, max(1, len(little.points) // SOME), tmp_path)


@embedded
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_point(little: Record, tmp_path: Path) -> None:
    look(little, 1, tmp_path)
