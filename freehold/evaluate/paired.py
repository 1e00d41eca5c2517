"""Two models on the same rows: the difference of a figure, with a 95 % interval."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from freehold.evaluate.intervals import Measured, z_of
from freehold.evaluate.metrics import Outcome

DRAWS = 2000
SEED = 7
"""Of the bootstrap: the same answers give the same interval."""

Right = NDArray[np.bool_]


def share(first: Right, second: Right) -> Measured:
    """The share of rows the first is right on minus that of the second.

    Score interval of Tango 1998, "Equivalence test and confidence interval for the difference in
    proportions for the paired-sample design": it leaves out 0 exactly when McNemar's test without
    correction is significant. Only rows on which the two differ move it.
    """
    rows, gained, lost = len(first), int((first & ~second).sum()), int((~first & second).sum())
    if not rows:
        return Measured(value=0.0, low=-1.0, high=1.0, method=_TANGO)
    value, z = (gained - lost) / rows, z_of(0.95)
    low = _root(lambda d: _score(gained, lost, rows, d) - z, -1.0, value)
    high = _root(lambda d: _score(gained, lost, rows, d) + z, value, 1.0)
    return Measured(value=value, low=low, high=high, method=_TANGO)


_TANGO = "paired score interval (Tango)"


def _score(gained: int, lost: int, rows: int, difference: float) -> float:
    """Tango's score statistic at a supposed difference; falls as it grows."""
    b = -gained - lost + (2 * rows - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    q = max(0.0, (sqrt(max(0.0, b * b - 8 * rows * c)) - b) / (4 * rows))
    variance = rows * (2 * q + difference * (1 - difference))
    distance = gained - lost - rows * difference
    if variance <= 0:
        return 0.0 if distance == 0 else float(np.copysign(np.inf, distance))
    return distance / sqrt(variance)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, by halving; an end when it does not."""
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def macro_f1(first: Outcome, second: Outcome) -> Measured:
    """Macro-F1 of the first minus that of the second; both over the same classes and rows.

    Paired percentile bootstrap over rows (Efron, Tibshirani 1993, section 13.3), 2,000 draws, fixed seed.
    """
    rows, size = len(first.truth), len(first.classes)
    draw = np.random.Generator(np.random.PCG64(SEED))
    value = _f1(first, size, np.arange(rows)) - _f1(second, size, np.arange(rows))
    drawn = []
    for _ in range(DRAWS):
        places = draw.integers(0, rows, rows)
        drawn.append(_f1(first, size, places) - _f1(second, size, places))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Measured(value=value, low=float(low), high=float(high), method="paired bootstrap, seed 7")


def _f1(outcome: Outcome, size: int, places: NDArray[np.int64]) -> float:
    truth, given = outcome.truth[places], outcome.given[places]
    hits = np.bincount(truth[truth == given], minlength=size)
    marked = np.bincount(truth, minlength=size) + np.bincount(given, minlength=size)
    used = marked > 0
    return float((2 * hits[used] / marked[used]).mean())
