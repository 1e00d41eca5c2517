"""Is a row like those a tabular model was trained on? The domain is learned here, and rows are held to it.

What is learned follows from the rows alone, whatever their order: without somebody's rows it is what it would
have been had they never been there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from freehold.screen.rules import find
from freehold.spec.domain import LEAST, ColumnDomain, Domain
from freehold.spec.snapshot import Column

MARGIN = 0.5
"""A number's bounds lie so much of their distance further out than what was seen."""
RARE = 0.05
"""A category of which a larger share of rows has values that few share is open."""
MOST_VALUES = 256
"""A category with more is open: a list that long is no domain, and travels with every route."""
MOST_CHARACTERS = 64
"""A longer text is no category."""

Cells = Sequence[Any]


def learn(inputs: Sequence[Column], columns: Mapping[str, Cells]) -> Domain:
    """The domain of these rows, one column for each input."""
    return tuple(_learned(column, columns[column.name]) for column in inputs)


def _learned(column: Column, cells: Cells) -> ColumnDomain:
    if column.datatype == "BYTES":
        return _category(column.name, ["" if cell is None else str(cell) for cell in cells], missing=False)
    known = [cell for cell in cells if _is_known(cell)]
    missing = len(cells) - len(known) >= LEAST
    if column.datatype == "BOOL":
        return _category(column.name, [_word(cell) for cell in known], missing=missing)
    return _number(column.name, known, missing=missing)


def _number(name: str, known: Cells, *, missing: bool) -> ColumnDomain:
    """Between the values beyond which fewer than `LEAST` rows lie, a margin further, rounded outwards.

    Rounded, because a bound is otherwise somebody's own number; open where no number can say the bounds.
    """
    numbers = sorted(float(cell) + 0.0 for cell in known if math.isfinite(cell))  # + 0.0: there is one zero
    bounds = _bounds(numbers[LEAST - 1], numbers[-LEAST]) if len(numbers) >= 2 * LEAST else None
    if bounds is None:
        return ColumnDomain(name=name, kind="open", missing=missing)
    low, high = bounds
    return ColumnDomain(name=name, kind="number", low=repr(low), high=repr(high), missing=missing)


def _bounds(low: float, high: float) -> tuple[float, float] | None:
    """A margin further out, and rounded; None at the ends of what a float can say."""
    span = high - low
    if span == 0:
        return low, high
    step = 10.0 ** (math.floor(math.log10(span)) - 1) if math.isfinite(span) else 0.0
    if step == 0:
        return None
    lowest, highest = (low - span * MARGIN) / step, (high + span * MARGIN) / step
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return None
    low, high = math.floor(lowest) * step, math.ceil(highest) * step
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _category(name: str, words: Sequence[str], *, missing: bool) -> ColumnDomain:
    """The values that enough rows share and that say nothing of a person, as far as rules can see."""
    shared = Counter(words)
    values = tuple(sorted(word for word, count in shared.items() if count >= LEAST and _is_harmless(word)))
    rare = len(words) - sum(shared[word] for word in values)
    if not values or len(values) > MOST_VALUES or rare > RARE * len(words):
        return ColumnDomain(name=name, kind="open", missing=missing)
    return ColumnDomain(name=name, kind="category", values=values, missing=missing)


def _is_harmless(word: str) -> bool:
    return len(word) <= MOST_CHARACTERS and not find(word)


def outside(domain: Domain, columns: Mapping[str, Cells]) -> dict[str, int]:
    """How many rows are outside, by column; columns where none is are left out."""
    counted = {column.name: _count(column, columns[column.name]) for column in domain}
    return {name: count for name, count in counted.items() if count}


def _count(column: ColumnDomain, cells: Cells) -> int:
    if column.kind == "open":
        return 0
    unknown = sum(1 for cell in cells if not _is_known(cell))
    known = [cell for cell in cells if _is_known(cell)]
    if column.kind == "number":
        low, high = float(column.low), float(column.high)
        beyond = sum(1 for cell in known if not low <= cell <= high)
    else:
        values = frozenset(column.values)
        beyond = sum(1 for cell in known if _word(cell) not in values)
    return beyond + (0 if column.missing else unknown)


def _is_known(cell: Any) -> bool:
    return cell is not None and not (isinstance(cell, float) and math.isnan(cell))


def _word(cell: Any) -> str:
    """A category's value: of a truth value `true` or `false`."""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
