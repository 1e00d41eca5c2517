"""What a service has to keep, in a service file's words: `99.5% answered`, `95% within 2s over 7d`.

A share of what was asked, over the last days. What is left of it is the error budget (Beyer et al., Site
Reliability Engineering, 2016, chapter 3; the pace is chapter 5's burn rate in The Site Reliability Workbook,
2018): how much more may go wrong before the share is missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor
from typing import Any

from freehold.errors import BadInput

MOST = 6
"""Objectives of one service."""
SPAN = 30 * 86_400
"""Seconds that count where nothing is said."""
LONGEST = 90 * 86_400
SLOWEST = 3_600_000_000
"""Microseconds."""

_FORM = re.compile(
    r"(?P<share>\d{1,3}(?:\.\d{1,4})?) ?% +"
    r"(?:answered|within +(?P<bound>\d{1,7}) ?(?P<unit>ms|s|m))"
    r"(?: +over +(?P<span>\d{1,5}) ?(?P<of>h|d))?",
    re.ASCII,
)
_SECONDS = {"h": 3_600, "d": 86_400}
_MICROS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000}
_HINT = "write it as `99.5% answered`, `95% within 2s` or `99% answered over 7d`"


class BadObjective(BadInput):
    """`{text}` is not an objective"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A share of what is asked of a service, to be kept over a span of time."""

    share: Decimal
    """Of one, between both ends: `0.995`."""
    within: int | None = None
    """Microseconds in which that share of the answers is given; None: that share is answered at all."""
    span: int = SPAN
    """Seconds, whole hours of them, up to now."""

    def __str__(self) -> str:
        percent = f"{(self.share * 100).normalize():f}%"
        what = "answered" if self.within is None else f"within {_bound(self.within)}"
        return f"{percent} {what} over {_days(self.span)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was asked in some time, as far as it counts for an objective."""

    all: int = 0
    bad: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How an objective is kept."""

    objective: Objective
    span: Counted
    """Over its whole span."""
    hour: Counted
    """In the last hour."""

    @property
    def reached(self) -> float | None:
        """The share that was kept; None where nothing counts, of which nothing can be said."""
        return 1 - self.span.bad / self.span.all if self.span.all else None

    @property
    def left(self) -> float | None:
        """What is left of the error budget: 1 all of it, 0 nothing, below that overspent."""
        return float(1 - self.span.bad / self._allowed(self.span)) if self.span.all else None

    @property
    def pace(self) -> float | None:
        """How fast the last hour spends it: at 1 it lasts just for the span."""
        return float(self.hour.bad / self._allowed(self.hour)) if self.hour.all else None

    @property
    def holds(self) -> bool | None:
        """Whether it is kept, exactly."""
        return self.span.bad <= self._allowed(self.span) if self.span.all else None

    def _allowed(self, counted: Counted) -> Decimal:
        return (1 - self.objective.share) * counted.all

    @property
    def state(self) -> str:
        """In a word."""
        return {True: "kept", False: "missed", None: "no verdict"}[self.holds]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        figures = {name: getattr(self, name) for name in ("reached", "left", "pace")}
        return {
            "objective": str(self.objective),
            "share": f"{self.objective.share:f}",
            "within_micros": self.objective.within,
            "over_seconds": self.objective.span,
            "counted": self.span.all,
            "bad": self.span.bad,
            **{name: value if value is None else round(value, 6) for name, value in figures.items()},
            "state": self.state,
        }


def read(text: str) -> Objective:
    """One objective. Raises BadObjective."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise BadObjective(text=text[:60], why="it is a share and what it is of", hint=_HINT)
    share = Decimal(found["share"]) / 100
    if not 0 < share < 1:
        why = "a share of nothing asks for nothing" if not share else "who may never fail has no error budget"
        raise BadObjective(text=text[:60], why=why, hint="write a share between 0% and 100%, such as `99.9%`")
    return Objective(share=share, within=_within(text, found), span=_span(text, found))


def read_all(texts: Iterable[str]) -> tuple[Objective, ...]:
    """All of a service's. Raises BadObjective."""
    found: list[Objective] = []
    for text in texts:
        one = read(text)
        if any((one.within, one.span) == (other.within, other.span) for other in found):
            raise BadObjective(text=text[:60], why="of this, over this time, there is one already")
        found.append(one)
    if len(found) > MOST:
        why = f"a service has {MOST} at most: nobody watches more"
        raise BadObjective(text=str(found[MOST]), why=why, hint="leave some out")
    return tuple(found)


def _within(text: str, found: re.Match[str]) -> int | None:
    if found["bound"] is None:
        return None
    bound = int(found["bound"]) * _MICROS[found["unit"]]
    if not 0 < bound <= SLOWEST:
        raise BadObjective(text=text[:60], why="an answer takes more than nothing and less than an hour")
    return bound


def _span(text: str, found: re.Match[str]) -> int:
    span = int(found["span"]) * _SECONDS[found["of"]] if found["span"] else SPAN
    if not 0 < span <= LONGEST:
        why = f"it counts over an hour at least and {LONGEST // 86_400} days at most"
        raise BadObjective(text=text[:60], why=why, hint="write `over 7d`, or leave it out for 30 days")
    return span


def _bound(micros: int) -> str:
    unit = next(unit for unit in ("m", "s", "ms") if not micros % _MICROS[unit])
    return f"{micros // _MICROS[unit]}{unit}"


def _days(span: int) -> str:
    unit = next(unit for unit in ("d", "h") if not span % _SECONDS[unit])
    return f"{span // _SECONDS[unit]}{unit}"


# -- in words ---------------------------------------------------------------------------------------

COLUMNS = ("objective", "state", "reached", "counted", "budget left", "pace")
PACE = "pace: how fast the last hour spends the budget; at 1 it lasts for just its time"


def row(told: Mapping[str, Any]) -> dict[str, str]:
    """What `Kept.as_json` says, for people, in COLUMNS."""
    return {
        "objective": told["objective"],
        "state": told["state"],
        "reached": _percent(told["reached"]),
        "counted": f"{told['counted']:,}",
        "budget left": _left(told["left"]),
        "pace": "–" if told["pace"] is None else f"{told['pace']:.2g}",
    }


def _percent(share: float | None) -> str:
    """Rounded down: what is missed by little does not look as if it were kept."""
    return "–" if share is None else f"{floor(share * 100_000 + 1e-6) / 1000:g} %"


def _left(left: float | None) -> str:
    """Rounded up where it is overspent, for the same reason."""
    if left is None:
        return "–"
    return f"{left:.0%}".replace("%", " %") if left >= 0 else f"overspent by {ceil(-left * 100 - 1e-6):,} %"
