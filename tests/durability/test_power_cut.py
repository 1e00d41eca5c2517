"""The power fails: what was acknowledged is there, and everything that is there is whole.

`benchmarks/power_cuts.py` does the same at length: 250 cuts, a million records.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from postgres_server import embedded

from freehold.store.home import Home
from tests.durability.cuts import Asked, Cut, Left, Record, cut_off, recorded

CUTS = 20
pytestmark = embedded


def some(record: Record, count: int, seed: int) -> list[Cut]:
    """Moments anywhere in it, each with its own chance of what is left; some torn."""
    chance = random.Random(seed)
    points = chance.sample(record.points, count)
    return [
        Cut(at=at, seed=number, outcome="mixed" if number % 4 else "lost") for number, at in enumerate(points)
    ]


def test_nothing_acknowledged_is_lost_and_nothing_is_broken(work: Record, tmp_path: Path) -> None:
    left = list(cut_off(work, some(work, CUTS, seed=1), tmp_path))
    bad = [str(one) for one in left if not one.found.well]
    assert not bad, "\n".join(bad)
    assert max(one.records for one in left) > 2_000


@pytest.mark.parametrize("wrong", ["without-sync", "normal"])
def test_work_that_does_not_sync_loses_what_it_acknowledged(
    recorder: Path, template: Home, tmp_path: Path, wrong: str
) -> None:
    """The positive controls: were nothing found here, nothing could be found above."""
    record = recorded(recorder, template, tmp_path / "it", Asked(answers=300, batch=30, wrong=(wrong,)))
    left: list[Left] = []
    for one in cut_off(record, some(record, 6, seed=2), tmp_path):
        left.append(one)
    assert sum(not one.found.well for one in left) > len(left) // 2, [str(one) for one in left]
    assert any(one.found.lost for one in left)
