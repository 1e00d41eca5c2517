"""Shares with intervals: exact ones, and by resampling where cases are near-twins of each other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from freehold.screen.calibrate import upper_bound

RESAMPLED = 2_000


def exact(right: int, of: int) -> dict[str, float]:
    """`right` of `of`, with the exact 95 % interval of Clopper and Pearson (Biometrika 26, 1934)."""
    low = 1 - upper_bound(of - right, of, 0.975)
    return _told(of, right / of, low, upper_bound(right, of, 0.975))


def grouped(hits: Sequence[bool], groups: Sequence[Hashable]) -> dict[str, float]:
    """The share of `hits`, with a 95 % interval from resampling whole groups.

    Where all cases are alike there is nothing to resample: the exact interval of so many groups then.
    """
    if len(set(hits)) < 2:
        count = len(set(groups))
        ends = exact(count if hits[0] else 0, count)
        return _told(len(hits), float(hits[0]), ends["low"], ends["high"])
    low, high = _resampled(np.array(hits, dtype=float), groups)
    return _told(len(hits), sum(hits) / len(hits), low, high)


def difference(after: Sequence[bool], before: Sequence[bool], groups: Sequence[Hashable]) -> dict[str, float]:
    """How many points more of the same cases hit afterwards, with a 95 % interval from resampling groups."""
    changes = np.array(after, dtype=float) - np.array(before, dtype=float)
    low, high = _resampled(changes, groups) if changes.any() else (0.0, 0.0)
    points = {"points": changes.mean(), "low": low, "high": high}
    return {name: round(100 * float(value), 1) for name, value in points.items()}


def _resampled(values: np.ndarray[Any, Any], groups: Sequence[Hashable]) -> tuple[float, float]:
    """The middle 95 % of the mean over groups that are drawn again and again."""
    numbers = {group: n for n, group in enumerate(dict.fromkeys(groups))}
    of = np.array([numbers[group] for group in groups])
    sums = np.bincount(of, weights=values)
    sizes = np.bincount(of)
    drawn = np.random.default_rng(7).integers(len(sums), size=(RESAMPLED, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _told(n: int, share: float, low: float, high: float) -> dict[str, float]:
    return {"n": n, "share": round(share, 3), "low": round(low, 3), "high": round(high, 3)}
