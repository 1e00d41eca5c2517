"""A rule: where something may stand, what it looks like there, and what proves that it is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from freehold.screen.found import Found, Group

LEFT, RIGHT = 40, 25
"""Characters before and after a value in which a word may say what it is."""


def always(_value: str) -> bool:
    """Nothing more is asked."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One format. A group named `v` is the value, when the pattern is longer than it."""

    kind: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] = always
    near: re.Pattern[str] | None = None
    """A word that has to stand close by; for formats that many other things have."""
    never_after: re.Pattern[str] | None = None
    """Words before it that say it is something else."""
    rank: int = 0
    cut: Callable[[str], int] | None = None
    """How many characters of the value belong to it, where the pattern alone cannot tell; 0: none."""
    more: re.Pattern[str] | None = None
    """What a value goes on with that is longer than the window it was looked for in."""

    def hits(self, text: str, start: int, end: int, group: Group) -> Iterator[Found]:
        """Every place between `start` and `end` where it holds; it may end behind them."""
        place = start
        while found := self.pattern.search(text, place, end):
            first, last = found.span("v") if "v" in self.pattern.groupindex else found.span()
            place = max(found.end(), found.start() + 1)
            if self.cut is not None:
                last = first + self.cut(text[first:last])
            if first < last and self.holds(text[first:last]) and self._fits(text, first, last):
                if last == end and self.more is not None and (longer := self.more.match(text, last)):
                    last = longer.end()
                yield Found(first, last, self.kind, group, self.rank)
                place = last  # what was cut off may be another one

    def _fits(self, text: str, first: int, last: int) -> bool:
        before = text[max(0, first - LEFT) : first]
        if self.never_after is not None and self.never_after.search(before):
            return False
        if self.near is None:
            return True
        return bool(self.near.search(before) or self.near.search(text[last : last + RIGHT]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Rules that begin with the same sign, and the windows around it in which they are tried."""

    group: Group
    sign: str
    """For RE2: every hit of a rule has it somewhere. All signs are looked for in one pass."""
    spot: re.Pattern[str]
    """Where the sign stands."""
    before: int
    after: int
    """The window: so many characters around each spot."""
    rules: tuple[Rule, ...]

    def hits(self, text: str) -> Iterator[Found]:
        """Everything its rules find; windows that touch are one."""
        for start, end in _joined((m.start(), m.end()) for m in self.spot.finditer(text)):
            for rule in self.rules:
                yield from rule.hits(
                    text, max(0, start - self.before), min(len(text), end + self.after), self.group
                )


def _joined(spots: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spots that are close to one another as one."""
    open_: tuple[int, int] | None = None
    for start, end in spots:
        if open_ is None:
            open_ = (start, end)
        elif start - open_[1] < _CLOSE:
            open_ = (open_[0], max(open_[1], end))
        else:
            yield open_
            open_ = (start, end)
    if open_ is not None:
        yield open_


_CLOSE = 32
