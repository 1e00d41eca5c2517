"""How the values of each column spread, told so that nobody is seen: no bin has fewer than five rows.

Columns that name a person, hold consent or look personal are not told at all. Text is told by its
length; by its values only where there are few of them and each stands in many rows. Ends of a scale are
open and round, for the smallest and the largest value are somebody's.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.data import chunks
from freehold.data.versions import DataColumn, DataVersion
from freehold.store.ground import Ground

FEWEST = 5
"""Rows in the smallest bin that is told."""
ROWS = 200_000
"""Of larger versions the first so many are looked at, and that is said."""
VALUES = 24
"""A column with more different values is told by length, not by value."""
BINS = 12
KEPT = 64
"""Versions whose shapes are kept in memory."""

Bin = tuple[str, int]
"""(what it holds, how many rows)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one column spreads."""

    column: str
    by: Literal["value", "length", "range", "hidden"]
    bins: tuple[Bin, ...] = ()
    left_out: int = 0
    """Rows in no bin, because too few stand together."""
    because: str = ""
    """Why it is hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Every column of a version."""

    rows: int
    """How many rows were looked at."""
    columns: tuple[Shape, ...]


_kept: OrderedDict[tuple[str, str], Shapes] = OrderedDict()
_lock = threading.Lock()


def shapes(ground: Ground, version: DataVersion) -> Shapes:
    """The shapes of all columns; kept per version and layout, so a forgotten row is not in them any more.

    Raises KeyDestroyed, BlobChanged, ChunkBroken.
    """
    with ground.db.read() as conn:
        layout = chunks.layout_of(conn, version.id)
    place = (version.id + version.digest, layout.as_json())
    with _lock:
        if place in _kept:
            _kept.move_to_end(place)
            return _kept[place]
    made = _made(ground, version, layout)
    with _lock:
        _kept[place] = made
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return made


def _made(ground: Ground, version: DataVersion, layout: chunks.Layout) -> Shapes:
    hidden = {column.name: why for column in version.columns if (why := _hidden(version, column))}
    told = [column for column in version.columns if column.name not in hidden]
    tables = list(_first(ground, layout, [column.name for column in told]))
    table = pa.concat_tables(tables).slice(0, ROWS) if tables else None
    found = []
    for column in version.columns:
        if column.name in hidden or table is None:
            found.append(Shape(column=column.name, by="hidden", because=hidden.get(column.name, "no rows")))
        else:
            found.append(_shape(column, table[column.name].combine_chunks()))
    return Shapes(rows=len(table) if table is not None else 0, columns=tuple(found))


def _first(ground: Ground, layout: chunks.Layout, names: Sequence[str]) -> Iterator[Any]:
    rows = 0
    for table in chunks.read(ground, layout, names):
        yield table
        rows += len(table)
        if rows >= ROWS:
            return


def _hidden(version: DataVersion, column: DataColumn) -> str:
    if column.name in version.subject_columns:
        return "it names the person"
    if column.name == version.consent_column:
        return "it holds consent"
    return "it looks personal" if column.looks else ""


def _shape(column: DataColumn, values: Any) -> Shape:
    values = values.drop_null()
    if column.type in ("integer", "number"):
        return _ranges(column.name, "range", values.to_numpy(zero_copy_only=False).astype(float))
    counts = {str(pair["values"]): int(pair["counts"]) for pair in pc.value_counts(values).to_pylist()[:5000]}
    many = pc.count_distinct(values).as_py() > VALUES
    if column.type == "json" or (column.type == "text" and many):
        return _ranges(column.name, "length", pc.utf8_length(values).to_numpy(zero_copy_only=False))
    return _values(column.name, counts)


def _values(name: str, counts: dict[str, int]) -> Shape:
    """Values that stand in enough rows, the most frequent first; the rest together, where it is enough."""
    told = sorted(((v, n) for v, n in counts.items() if n >= FEWEST), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(counts.values()) - sum(n for _, n in told)
    if rest >= FEWEST:
        return Shape(column=name, by="value", bins=(*told, ("others", rest)))
    return Shape(column=name, by="value", bins=tuple(told), left_out=rest)


def _ranges(name: str, by: Literal["length", "range"], values: Any) -> Shape:
    """Round ranges with open ends; a range with too few rows goes to its neighbour."""
    values = values[np.isfinite(values)]
    if len(values) < FEWEST:
        return Shape(column=name, by=by, left_out=len(values))
    edges = _edges(float(np.quantile(values, 0.02)), float(np.quantile(values, 0.98)))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()
    cuts, rows = _merged(edges, counts)
    return Shape(column=name, by=by, bins=tuple(zip(_words(cuts), rows, strict=True)))


def _edges(low: float, high: float) -> list[float]:
    """Round figures between two ends: 1, 2, 5 times a power of ten apart."""
    if high <= low:
        return [_round(low)]
    rough = (high - low) / BINS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [_round(n * step) for n in range(first, last + 1)]


def _round(value: float) -> float:
    return float(f"{value:.2g}") if abs(value) < 1e-9 else float(f"{value:.6g}")


def _merged(edges: Sequence[float], counts: Sequence[int]) -> tuple[list[float], list[int]]:
    """Ranges from below, each closed only once it has enough rows; a rest goes to the last."""
    cuts: list[float] = []
    rows: list[int] = []
    now = 0
    for number, count in enumerate(counts):
        now += count
        if now >= FEWEST and number < len(edges):
            cuts.append(edges[number])
            rows.append(now)
            now = 0
    if now >= FEWEST or not rows:
        return cuts, [*rows, now]
    return cuts[:-1], [*rows[:-1], rows[-1] + now]


def _words(cuts: Sequence[float]) -> list[str]:
    if not cuts:
        return ["all"]
    between = [f"{low:g} to {high:g}" for low, high in pairwise(cuts)]
    return [f"below {cuts[0]:g}", *between, f"from {cuts[-1]:g}"]
