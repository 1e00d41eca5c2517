"""How near to the roofline a device comes while it writes, by how many requests it answers at a time.

The more rows, the farther from it: what was published of two models and two devices is a curve over rows
(`serve.decode_efficiency.8`, `.32`, …), and what was measured of a device (`device.NAME.decode_efficiency.8`)
moves that curve to where the device was seen.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate, pairwise

from freehold.sizing.facts import Facts

Points = tuple[tuple[int, float], ...]
"""(rows, share), by rows."""


def decode_efficiency(facts: Facts, device: str, rows: float) -> float:
    """Share of the roofline that a step of so many rows reaches.

    As measured of the device by rows; else as said of it for any rows; else as published.
    """
    own = f"device.{device}.decode_efficiency"
    measured = facts.at_numbers(own)
    if not measured and (said := facts.get(own)) is not None:
        return said
    return _at(_curve(_published(facts), measured), rows)


def _published(facts: Facts) -> Points:
    points = facts.at_numbers("serve.decode_efficiency")
    return points or ((1, facts("serve.decode_efficiency")),)


@lru_cache(maxsize=1024)
def _curve(published: Points, measured: Points) -> Points:
    """The published one, times what was measured over it: between two as from one to the other.

    It never rises with rows, or a larger batch would be planned to take less time than a smaller one.
    """
    times = tuple((rows, share / _at(published, rows)) for rows, share in measured) or ((1, 1.0),)
    every = sorted({rows for rows, _ in (*published, *measured)})
    shares = (min(1.0, _at(published, rows) * _at(times, rows)) for rows in every)
    return tuple(zip(every, accumulate(shares, min), strict=True))


def _at(points: Points, rows: float) -> float:
    """Between two points in the logarithm of rows; beyond the last ones as at them."""
    if rows <= points[0][0]:
        return points[0][1]
    for (few, first), (many, last) in pairwise(points):
        if rows <= many:
            return first + (last - first) * math.log(rows / few) / math.log(many / few)
    return points[-1][1]
