"""For whom is it how good: recall by group, and the largest gap between two groups with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freehold.evaluate.intervals import CONFIDENCE, decimal, difference, proportion
from freehold.evaluate.metrics import Outcome

FEWEST = 20
"""A smaller group says nothing; a gate over it does not pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One value of a column."""

    column: str
    name: str
    right: int
    rows: int

    @property
    def recall(self) -> float:
        return self.right / self.rows

    @property
    def enough(self) -> bool:
        """Whether it has rows enough to say something."""
        return self.rows >= FEWEST

    def as_card(self) -> dict[str, Any]:
        """With the interval of this group alone."""
        told: dict[str, Any] = {"column": self.column, "group": self.name, "rows": self.rows}
        told["recall"] = proportion(self.right, self.rows).as_card() if self.rows else None
        told["enough"] = self.enough
        return told


def groups_of(outcome: Outcome, columns: Mapping[str, Sequence[str]], of: str) -> list[Group]:
    """Every group of every column. With `of`, only the rows of that class count: its recall (equal

    opportunity, Hardt, Price, Srebro 2016); without, every row: the share answered right.
    """
    counts = np.ones(len(outcome.truth), dtype=bool)
    if of:
        place = outcome.classes.index(of) if of in outcome.classes else -1
        counts = outcome.truth == place
    found: list[Group] = []
    for column, cells in columns.items():
        names = np.array(cells)
        for name in sorted(set(cells)):
            found.append(_group(column, name, outcome.right, counts & (names == name)))
    return found


def _group(column: str, name: str, right: NDArray[np.bool_], inside: NDArray[np.bool_]) -> Group:
    return Group(column=column, name=name, right=int((right & inside).sum()), rows=int(inside.sum()))


def gap(outcome: Outcome, columns: Mapping[str, Sequence[str]], of: str) -> dict[str, Any]:
    """The largest difference in recall between two groups of one column, over all the columns.

    The interval is simultaneous: each pair's at 1 - 0.05 / pairs (Bonferroni), so that with 95 % no pair
    is outside its own; the largest gap then lies between the largest lower and the largest upper end.
    """
    groups = groups_of(outcome, columns, of)
    pairs = [
        (a, b)
        for a, b in combinations([g for g in groups if g.enough], 2)
        if a.column == b.column
    ]  # fmt: skip
    told: dict[str, Any] = {
        "across": list(columns),
        "of": of,
        "groups": [group.as_card() for group in groups],
        "insufficient": _insufficient(groups, list(columns)),
        "fewest": FEWEST,
    }
    if not pairs:
        return told | {"value": None, "low": None, "high": None, "worst": None, "best": None}
    confidence = 1 - (1 - CONFIDENCE) / len(pairs)
    low = high = 0.0
    for a, b in pairs:
        _, lower, upper = difference((a.right, a.rows), (b.right, b.rows), confidence)
        low, high = max(low, lower, -upper), max(high, upper, -lower)
    best, worst = max(
        (tuple(sorted(pair, key=lambda g: -g.recall)) for pair in pairs),
        key=lambda pair: pair[0].recall - pair[1].recall,
    )
    return told | {
        "value": decimal(best.recall - worst.recall),
        "low": decimal(low),
        "high": decimal(min(high, 1.0)),
        "method": f"Newcombe hybrid score, {len(pairs)} pairs together",
        "worst": {"column": worst.column, "group": worst.name},
        "best": {"column": best.column, "group": best.name},
    }


def _insufficient(groups: Sequence[Group], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Groups that are too small, and columns that have nothing to compare."""
    told: list[dict[str, Any]] = [
        {"column": g.column, "group": g.name, "rows": g.rows} for g in groups if not g.enough
    ]
    for column in columns:
        inside = [g for g in groups if g.column == column]
        if len(inside) < 2:
            told.append({"column": column, "group": None, "rows": sum(g.rows for g in inside)})
    return told
