"""How sure a figure is: 95 % intervals by formula, so that the same answers give the same card."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure with its interval and the method that gave it."""

    value: float
    low: float
    high: float
    method: str

    def as_card(self) -> dict[str, str]:
        """Decimals as text, six places: enough, and the same on every machine."""
        return {
            "value": decimal(self.value),
            "low": decimal(self.low),
            "high": decimal(self.high),
            "method": self.method,
        }


def decimal(value: float) -> str:
    """Six decimal places; never `-0.000000`."""
    return f"{value + 0.0:.6f}"


def z_of(confidence: float) -> float:
    """The two-sided normal quantile: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(share: float, rows: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval of a share of `rows` (Wilson 1927; Brown, Cai, DasGupta 2001, section 3.1.1).

    With no rows nothing is known: 0 to 1.
    """
    if rows <= 0:
        return 0.0, 1.0
    z = z_of(confidence)
    centre = share + z * z / (2 * rows)
    spread = z * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    below = 1 + z * z / rows
    return max(0.0, (centre - spread) / below), min(1.0, (centre + spread) / below)


def proportion(right: int, rows: int) -> Measured:
    """A share of rows with its score interval."""
    low, high = wilson(right / rows, rows)
    return Measured(value=right / rows, low=low, high=high, method="Wilson score")


def difference(
    first: tuple[float, float], second: tuple[float, float], confidence: float
) -> tuple[float, float, float]:
    """First share minus second, each given as (right, rows): value, low, high.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10:
    the two score intervals combined.
    """
    p1, p2 = first[0] / first[1], second[0] / second[1]
    l1, u1 = wilson(p1, first[1], confidence)
    l2, u2 = wilson(p2, second[1], confidence)
    gap = p1 - p2
    return gap, gap - sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2), gap + sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2)
