"""Rows as an engine reads them: an Arrow file becomes typed columns, keys and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from freehold.engines.protocol import Columns, Value
from freehold.errors import BadInput
from freehold.spec.snapshot import Column

ROW, KEY = "_row", "_key"
"""Two columns that every Arrow file of a job has: the row's number in its version, and its stable key."""


class ColumnUnusable(BadInput):
    """the column `{column}` cannot be used"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of a data set version, by rising row number."""

    numbers: tuple[int, ...]
    keys: tuple[str, ...]
    columns: Columns
    """The model's inputs."""
    labels: tuple[str | None, ...]
    """The target as a class's name; None where the row has none."""
    groups: dict[str, tuple[str, ...]]
    """Columns by which results are compared, as text."""

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, places: Sequence[int]) -> Rows:
        """The rows at these places."""
        return Rows(
            numbers=tuple(self.numbers[i] for i in places),
            keys=tuple(self.keys[i] for i in places),
            columns={name: [cells[i] for i in places] for name, cells in self.columns.items()},
            labels=tuple(self.labels[i] for i in places),
            groups={name: tuple(cells[i] for i in places) for name, cells in self.groups.items()},
        )


def datatype_of(type_: pa.DataType) -> str | None:
    """The Open Inference Protocol's word for an Arrow type; None when a model cannot read it."""
    if pa.types.is_dictionary(type_):
        return datatype_of(type_.value_type)
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return "BYTES"
    if pa.types.is_boolean(type_):
        return "BOOL"
    if pa.types.is_integer(type_):
        return "INT64"
    if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "FP64"
    return None


def read_rows(
    path: Path, inputs: Sequence[Column], *, target: str | None, groups: Sequence[str] = ()
) -> Rows:
    """Read an Arrow IPC file. Raises ColumnUnusable when a column is missing or of another type."""
    with pa.memory_map(str(path)) as source:
        names = [ROW, KEY, *(c.name for c in inputs), *([target] if target else []), *groups]
        table = _select(pa.ipc.open_file(source), list(dict.fromkeys(names)))
        table = table.sort_by(ROW)
        return Rows(
            numbers=tuple(table.column(ROW).to_pylist()),
            keys=tuple(table.column(KEY).to_pylist()),
            columns={c.name: _cells(table, c) for c in inputs},
            labels=tuple(_label(target, cell) for cell in table.column(target).to_pylist())
            if target
            else (None,) * table.num_rows,
            groups={name: tuple(_group(v) for v in table.column(name).to_pylist()) for name in groups},
        )


def _select(reader: Any, names: list[str]) -> pa.Table:
    have = set(reader.schema.names)
    if missing := [name for name in names if name not in have]:
        raise ColumnUnusable(
            column=missing[0],
            why="the data does not have it",
            hint="it has " + ", ".join(f"`{n}`" for n in reader.schema.names if not n.startswith("_")),
        )
    return reader.read_all().select(names)


def _cells(table: pa.Table, column: Column) -> list[Value]:
    array = table.column(column.name)
    found = datatype_of(array.type)
    whole_for_decimal = found == "INT64" and column.datatype == "FP64"
    if found != column.datatype and not whole_for_decimal:
        raise ColumnUnusable(
            column=column.name, why=f"the model takes {column.datatype}, the data brings `{array.type}`"
        )
    cells: list[Value] = array.to_pylist()
    if pa.types.is_decimal(array.type):
        return [None if cell is None else float(cell) for cell in cells]
    return cells


def _label(target: str | None, cell: Any) -> str | None:
    """A class's name: words as they are, whole numbers as digits, truth values as `true` and `false`."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str | int):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    raise ColumnUnusable(
        column=target,
        why="a class is a word, a whole number or a truth value; this column holds others",
        hint="choose a target with few distinct values, or band the numbers first",
    )


def _group(cell: Any) -> str:
    return "(not given)" if cell is None or cell == "" else str(cell)
