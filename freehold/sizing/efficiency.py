"""How near to the roofline a device comes while it writes, by how many requests it answers at a time.

What was published of two models and two devices is a curve over rows (`serve.decode_efficiency.8`, `.32`, …):
the more rows, the farther from it. What was measured of a device (`device.NAME.decode_efficiency.8`) moves
that curve to where the device was seen, and there a share may rise with the rows: a step has a time of its
own beside what it reads. What may not be is that a larger batch takes less time than a smaller one: who looks
for the most rows that are quick enough (`serve`) halves the way to them, and who is promised a token's time
with all rows taken (`serving`, `queueing`) is promised it with fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

from freehold.sizing.facts import Facts

Points = tuple[tuple[int, float], ...]
"""(rows, share), by rows."""
Roof = Callable[[float], float]
"""Seconds that a step of so many rows takes by the roofline alone: more rows, no less time."""
_ROUNDING = 1e-9


def step_seconds(facts: Facts, device: str, rows: float, roof: Roof) -> float:
    """The roofline over the share that a step of so many rows reaches, and no less than fewer rows take."""
    points = _points(facts, device)
    share = _at(points, rows)
    lower = [(few, its) for few, its in points if few < rows and its < share]
    if not lower:  # who has no lower share takes no longer either
        return roof(rows) / share
    longest = max(roof(few) / its for few, its in lower)
    (last, its), after = _around(points, rows)
    if after is None or after[1] <= its:
        return max(longest, roof(rows) / share)
    return _between(roof, rows, (last, longest), (after[0], roof(after[0]) / after[1]))


def _between(roof: Roof, rows: float, before: tuple[int, float], after: tuple[int, float]) -> float:
    """(rows, seconds) to (rows, seconds), as the roofline goes: a share that rises says that of a step a part
    is the same for any rows."""
    (few, since), (many, until) = before, after
    if until <= since:
        return since
    return since + (until - since) * (roof(rows) - roof(few)) / (roof(many) - roof(few))


def held(facts: Facts, device: str, roof: Roof) -> tuple[int, ...]:
    """Rows whose step would take less time, as measured, than one of fewer: it is planned to take as long."""
    longest, found = 0.0, []
    for rows, share in _points(facts, device):
        seconds = roof(rows) / share
        if seconds < longest * (1 - _ROUNDING):
            found.append(rows)
        longest = max(longest, seconds)
    return tuple(found)


def decode_efficiency(facts: Facts, device: str, rows: float) -> float:
    """Share of the roofline that a step of so many rows reaches.

    As measured of the device by rows; else as said of it for any rows; else as published.
    """
    return _at(_points(facts, device), rows)


def _points(facts: Facts, device: str) -> Points:
    own = f"device.{device}.decode_efficiency"
    measured = facts.at_numbers(own)
    if not measured and (said := facts.get(own)) is not None:
        return ((1, said),)
    return _curve(_published(facts), measured)


def _published(facts: Facts) -> Points:
    points = facts.at_numbers("serve.decode_efficiency")
    return points or ((1, facts("serve.decode_efficiency")),)


@lru_cache(maxsize=1024)
def _curve(published: Points, measured: Points) -> Points:
    """The published one, times what was measured over it: between two as from one to the other."""
    times = tuple((rows, share / _at(published, rows)) for rows, share in measured) or ((1, 1.0),)
    every = sorted({rows for rows, _ in (*published, *measured)})
    return tuple((rows, min(1.0, _at(published, rows) * _at(times, rows))) for rows in every)


def _around(points: Points, rows: float) -> tuple[tuple[int, float], tuple[int, float] | None]:
    """The last point before `rows`, and the first that is not; rows lie behind one of them."""
    after = next((number for number, (at, _) in enumerate(points) if at >= rows), len(points))
    return points[after - 1], points[after] if after < len(points) else None


def _at(points: Points, rows: float) -> float:
    """Between two points in the logarithm of rows; beyond the last ones as at them."""
    if rows <= points[0][0]:
        return points[0][1]
    for (few, first), (many, last) in pairwise(points):
        if rows <= many:
            return first + (last - first) * math.log(rows / few) / math.log(many / few)
    return points[-1][1]
