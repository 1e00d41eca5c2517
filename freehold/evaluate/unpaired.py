"""Two versions on different people: the difference of a figure, with a 95 % interval that knows of persons.

Whoever is drawn for a version brings all their answers to it, and the answers of one person are alike. So it
is not answers that are compared but those who were drawn: a figure is a ratio of two sums over them (failed
over ended, seconds over answered), and its variance is that of the ratio (Cochran, Sampling Techniques, 3rd
ed., 1977, section 6.3; for tests on line Deng, Knoblich, Lu 2018, "Applying the Delta Method in Metric
Analytics"). Where everybody brings one answer this is Welch's interval for means.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, sqrt
from typing import Literal

from freehold.evaluate.intervals import difference, z_of

CONFIDENCE = 0.95
POWER = 0.80
FEWEST = 20
"""Who was drawn for each version, at least, before anything is said: fewer tell nothing of the others."""
MISMATCH = 0.001
"""Below this chance the shares that were drawn are not those that were asked for. Strict, for it is an error
of ours and no finding (Fabijan et al. 2019, "Diagnosing Sample Ratio Mismatch in Online Controlled
Experiments")."""

Says = Literal["worse", "better", "no difference shown", "too few"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What one version's figure follows from: over all who were drawn for it and have anything to count."""

    units: int
    """Who was drawn: persons, and requests that named none."""
    n: float
    """What is counted of them, all together: answers."""
    y: float
    """What it comes to: failures, seconds."""
    nn: float
    """The sum of each one's n squared; so `ny` and `yy`."""
    ny: float
    yy: float

    def times(self, factor: float) -> Sums:
        """As it would be of so many times as many people like these."""
        parts = {name: getattr(self, name) * factor for name in ("n", "y", "nn", "ny", "yy")}
        return Sums(units=int(self.units * factor), **parts)

    def again(self, factor: float) -> Sums:
        """As it would be of the same people, were each to bring so many times as much."""
        squares = {name: getattr(self, name) * factor**2 for name in ("nn", "ny", "yy")}
        return Sums(units=self.units, n=self.n * factor, y=self.y * factor, **squares)

    def __add__(self, others: Sums) -> Sums:
        """Of these and of others, who are nobody of these."""
        names = ("units", "n", "y", "nn", "ny", "yy")
        return Sums(**{name: getattr(self, name) + getattr(others, name) for name in names})

    @property
    def rate(self) -> float:
        """The figure itself."""
        return self.y / self.n

    @property
    def variance(self) -> float:
        """Of the figure; by the residuals of each who was drawn."""
        residuals = self.yy - 2 * self.rate * self.ny + self.rate**2 * self.nn
        return max(0.0, residuals) * self.units / (self.units - 1) / self.n**2

    @property
    def worth(self) -> float:
        """As how many answers of different people these count, of a share.

        Where all said the same nothing is known of how alike the answers of one person are: then as if
        they were all the same (Kish 1965, Survey Sampling, section 5.4).
        """
        alone, alike = self.rate * (1 - self.rate), self.n**2 / self.nn
        return min(self.n, alone / self.variance) if alone > 0 and self.variance > 0 else alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A candidate's figure minus that of the live version."""

    value: float
    low: float
    high: float
    smallest: float
    """A difference so large would have been seen in four tests of five."""

    @property
    def says(self) -> Says:
        """Of a figure of which less is better."""
        if self.low > 0:
            return "worse"
        return "better" if self.high < 0 else "no difference shown"


def apart(candidate: Sums, live: Sums, *, share: bool) -> Apart | None:
    """The difference of a share, or of a mean; none with fewer than FEWEST in either."""
    if min(candidate.units, live.units) < FEWEST:
        return None
    return _of_shares(candidate, live) if share else _of_means(candidate, live)


def _of_shares(candidate: Sums, live: Sums) -> Apart:
    """Newcombe's interval, on as many answers as these are worth."""
    ours, theirs = ((one.rate * one.worth, one.worth) for one in (candidate, live))
    value, low, high = difference(ours, theirs, CONFIDENCE)
    # with one more of each kind, so that what never happened has a spread, too (Agresti, Caffo 2000)
    spread = sqrt(sum(_spread((y + 1) / (n + 2), n + 2) for y, n in (ours, theirs)))
    return Apart(value=value, low=low, high=high, smallest=(z_of(CONFIDENCE) + _power()) * spread)


def _spread(share: float, rows: float) -> float:
    return share * (1 - share) / rows


def _of_means(candidate: Sums, live: Sums) -> Apart:
    """Welch's interval, on who was drawn."""
    ours, theirs = candidate.variance, live.variance
    value, spread = candidate.rate - live.rate, sqrt(ours + theirs)
    if not spread:
        return Apart(value=value, low=value, high=value, smallest=0.0)
    free = (ours + theirs) ** 2 / (ours**2 / (candidate.units - 1) + theirs**2 / (live.units - 1))
    wide = t_of(CONFIDENCE, free)
    return Apart(
        value=value,
        low=value - wide * spread,
        high=value + wide * spread,
        smallest=(wide + _power()) * spread,
    )


def _power() -> float:
    return z_of(2 * POWER - 1)


def t_of(confidence: float, free: float) -> float:
    """The two-sided quantile of Student's t, by its expansion (Abramowitz, Stegun 26.7.5).

    Right to a thousandth from six degrees of freedom on.
    """
    z = z_of(confidence)
    parts = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(part / free**power for power, part in enumerate(parts, 1))


# -- the shares that were drawn ---------------------------------------------------------------------


def chance_of_split(drawn: int, of: int, share: float) -> float:
    """How likely as unequal a draw is, or a more unequal one: twice the smaller exact binomial tail."""
    if not of:
        return 1.0
    below, above = _tail(drawn, of, share, -1), _tail(drawn, of, share, 1)
    return min(1.0, 2 * min(below, above))


def _tail(drawn: int, of: int, share: float, step: int) -> float:
    """The chance of `drawn` and all beyond it in one direction."""
    total, k = 0.0, drawn
    beyond = (k - of * share) * step > 0  # on the far side of the middle each is smaller than the one before
    while 0 <= k <= of:
        one = exp(_log_chance(k, of, share))
        total += one
        if beyond and one < total * 1e-12:
            break
        k += step
        beyond = beyond or (k - of * share) * step > 0
    return total


def _log_chance(k: int, of: int, share: float) -> float:
    ways = lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1)
    return ways + k * log(share) + (of - k) * log(1 - share)
