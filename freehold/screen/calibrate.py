"""From which score a text is refused, so that few of your own honest ones are: a bound, not a hope.

What a gate's score means depends on the traffic. Given honest texts of a service, the threshold is the
lowest score at which the share of them that would be refused is at most the wanted one with the wanted
confidence: the upper end of the exact interval of Clopper and Pearson (Biometrika 26, 1934).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from freehold.errors import BadInput


class TooFewTexts(BadInput):
    """{count} texts are too few to promise {share}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A score to refuse from, and what may be said of it."""

    score: float
    texts: int
    above: int
    """How many of the honest texts reach it."""
    bound: float
    """With the wanted confidence at most this share of such texts reaches it."""


def threshold(scores: Sequence[float], *, share: float, confidence: float = 0.95) -> Threshold:
    """The lowest threshold whose bound is at most `share`. Raises TooFewTexts."""
    ordered = sorted(scores, reverse=True)
    count = len(ordered)
    allowed = _allowed(count, share, confidence)
    if allowed is None:
        raise TooFewTexts(
            count=count,
            share=f"{share:.2%}",
            why=f"even if none of them is refused, {upper_bound(0, count, confidence):.2%} may be"
            if count
            else "the file has none",
            hint=f"give at least {needed(share, confidence)}, or ask for less",
        )
    # just above the first honest score that has to pass
    score = min(1.0, math.nextafter(ordered[allowed], 2.0)) if allowed < count else 0.0
    above = sum(one >= score for one in ordered)
    return Threshold(score=score, texts=count, above=above, bound=upper_bound(above, count, confidence))


def _allowed(count: int, share: float, confidence: float) -> int | None:
    """The most of `count` that may be refused, so that the bound holds."""
    # the bound grows with what is refused, and lies above its share: what holds ends before `share * count`
    low, high = -1, min(count, math.floor(share * count) + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if upper_bound(middle, count, confidence) <= share else (low, middle)
    return None if low < 0 else low


def needed(share: float, confidence: float = 0.95) -> int:
    """How many texts are needed to promise `share` when none of them is refused."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - share))


def upper_bound(hits: int, count: int, confidence: float = 0.95) -> float:
    """The upper end of the one-sided exact interval for `hits` of `count`."""
    if hits >= count:
        return 1.0
    low, high = hits / count, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(hits, count, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(hits: int, count: int, share: float) -> float:
    """The probability of `hits` or fewer in `count` draws."""
    if share in (0.0, 1.0):
        return 1.0 - share
    logs = [
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(share)
        + (count - k) * math.log1p(-share)
        for k in range(hits + 1)
    ]
    most = max(logs)
    return math.exp(most) * sum(math.exp(one - most) for one in logs)
