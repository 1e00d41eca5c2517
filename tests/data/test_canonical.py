"""Canonical bytes: two different rows never have the same."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.data import canonical
from freehold.data.cells import ARROW, Word

_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6)
_CELL: dict[Word, Any] = {
    "text": _TEXT,
    "json": _TEXT,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(),
    "boolean": st.booleans(),
}


def _bytes(types: tuple[Word, ...], rows: list[tuple[Any, ...]]) -> list[bytes]:
    columns = [pa.array([row[i] for row in rows], ARROW[word]) for i, word in enumerate(types)]
    return canonical.rows(pa.table(columns, names=[str(i) for i in range(len(types))]), types)


def _same_cell(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (a != a and b != b) or struct.pack(">d", a) == struct.pack(">d", b)
    return type(a) is type(b) and a == b


@given(st.data())
def test_bytes_are_equal_exactly_when_rows_are(data: st.DataObject) -> None:
    types = tuple(data.draw(st.lists(st.sampled_from(list(ARROW)), min_size=1, max_size=4)))
    row = st.tuples(*(st.one_of(st.none(), _CELL[word]) for word in types))
    one, two = data.draw(row), data.draw(row)
    first, second = _bytes(types, [one, two])
    assert (first == second) == all(_same_cell(a, b) for a, b in zip(one, two, strict=True))


@given(st.lists(st.tuples(st.one_of(st.none(), _TEXT), st.one_of(st.none(), _TEXT)), min_size=2, max_size=2))
def test_moving_a_border_between_cells_is_seen(rows: list[tuple[Any, ...]]) -> None:
    first, second = _bytes(("text", "text"), rows)
    assert (first == second) == (rows[0] == rows[1])


@given(st.data())
def test_a_row_has_the_same_bytes_whatever_stands_beside_it(data: st.DataObject) -> None:
    types: tuple[Word, ...] = ("text", "integer", "number", "boolean", "json")
    row = st.tuples(*(st.one_of(st.none(), _CELL[word]) for word in types))
    rows = data.draw(st.lists(row, min_size=1, max_size=8))
    assert _bytes(types, rows) == [_bytes(types, [each])[0] for each in rows]


@pytest.mark.parametrize(
    ("word", "cell", "written"),
    [
        ("text", "é", b"\x01" + (2).to_bytes(8, "big") + b"\xc3\xa9"),
        ("text", "", b"\x01" + bytes(8)),
        ("text", None, b"\x00"),
        ("integer", -2, b"\x01" + b"\xff" * 7 + b"\xfe"),
        ("number", 1.5, b"\x01\x3f\xf8" + bytes(6)),
        ("number", float("nan"), b"\x01\x7f\xf8" + bytes(6)),
        ("boolean", True, b"\x01\x01"),
        ("boolean", None, b"\x00"),
    ],
)
def test_the_bytes_are_those_the_manual_says(word: Word, cell: Any, written: bytes) -> None:
    assert _bytes((word,), [(cell,)]) == [written]


def test_no_rows_have_no_bytes() -> None:
    assert canonical.rows(pa.table({"a": pa.array([], pa.string())}), ["text"]) == []
