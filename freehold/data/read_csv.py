"""CSV as RFC 4180 has it: UTF-8, a header, quotes around what needs them; `,`, `;` or a tab between cells.

Python's own parser is used, because it alone says on which line of the file a row begins when cells
contain line breaks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from freehold.data.cells import Written
from freehold.data.reading import (
    BYTES,
    MAX_LINE,
    ROWS,
    Faults,
    FileUnreadable,
    NoRows,
    Piece,
    check_columns,
)
from freehold.spec.csv_cells import WIDEST

_BLANK = 1_000
_MAX_ROW = 4 * WIDEST
_PROBLEMS = {
    "unexpected end of data": "a quote is opened and never closed",
    "expected after": "a quote is closed in the middle of a cell",
    "field larger": "a cell is too long: is a quote not closed?",
}


class CsvReader:
    """A CSV file."""

    counts_by = "line"

    def __init__(self, source: BinaryIO, missing: frozenset[str]) -> None:
        source.seek(0)
        # what is no UTF-8 becomes lone surrogates here and a broken row later, instead of an end
        text = _Borrowed(source, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._lines = _Lines(text)
        self._missing = pa.array(sorted(missing | {""}), pa.string())
        first = self._lines.peek()
        self._rows = csv.reader(self._lines, delimiter=_delimiter(first), strict=True)
        self.columns = self._header()
        check_columns(self.columns)

    def _header(self) -> list[str]:
        try:
            return next((row for row in self._rows if row), [])
        except csv.Error as error:
            raise FileUnreadable(format="CSV", why=f"the header: {_problem(error)}") from error

    def pieces(self, faults: Faults) -> Iterator[Piece]:
        rows: list[list[str]] = []
        lines: list[int] = []
        for line, row in self._good_rows(faults):
            rows.append(row)
            lines.append(line)
            if len(rows) == ROWS or self._lines.characters > BYTES:
                yield self._piece(rows, lines, faults)
                rows, lines, self._lines.characters = [], [], 0
        if rows:
            yield self._piece(rows, lines, faults)

    def _good_rows(self, faults: Faults) -> Iterator[tuple[int, list[str]]]:
        """Rows with as many cells as there are columns, each with the line it begins on."""
        width = len(self.columns)
        while True:
            line, self._lines.of_this_row = self._rows.line_num + 1, 0
            try:
                row = next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:  # the parser goes on with the next line
                faults.add(line, _problem(error))
                continue
            if len(row) == width:
                yield line, row
            elif row:  # a blank line is no row
                faults.add(line, f"{len(row)} cells instead of {width}")

    def _piece(self, rows: list[list[str]], lines: list[int], faults: Faults) -> Piece:
        try:
            columns = self._columns(rows)
        except UnicodeEncodeError:
            rows, lines = _without_other_bytes(rows, lines, faults)
            columns = self._columns(rows)
        return self._without_nul(Piece(pa.array(lines, pa.int64()), self._cells(columns)), faults)

    def _columns(self, rows: list[list[str]]) -> list[pa.Array]:
        by_column = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        return [pa.array(column, pa.string()) for column in by_column]

    def _cells(self, columns: list[pa.Array]) -> dict[str, Written]:
        empty = [pc.is_in(column, value_set=self._missing) for column in columns]
        emptied = [pc.if_else(none, None, column) for none, column in zip(empty, columns, strict=True)]
        return {name: Written(column) for name, column in zip(self.columns, emptied, strict=True)}

    def _without_nul(self, piece: Piece, faults: Faults) -> Piece:
        """NUL bytes are the sign of a damaged or binary file; no text needs one."""
        if not self._lines.nul:
            return piece
        self._lines.nul = False
        bad = pa.array([False] * len(piece.lines), pa.bool_())
        for cells in piece.cells.values():
            bad = pc.or_(bad, pc.fill_null(pc.match_substring(cells.texts(), "\x00"), False))
        for line in piece.lines.filter(bad).to_pylist():
            faults.add(line, "a NUL byte")
        good = pc.invert(bad)
        kept = {name: Written(cells.texts().filter(good)) for name, cells in piece.cells.items()}
        return Piece(piece.lines.filter(good), kept)


class _Borrowed(io.TextIOWrapper):
    """Text of a file that stays its owner's: it is not closed with us."""

    def close(self) -> None:
        pass


class _Lines:
    """The lines of a text as they stand, measured on the way."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._waiting: list[str] = []
        self.characters = 0
        self.of_this_row = 0
        self.nul = False

    def peek(self) -> str:
        """The first line that holds something, without using it up. Raises NoRows."""
        while (line := self._next()) and len(self._waiting) < _BLANK:
            self._waiting.append(line)
            if line.strip():
                return line
        raise NoRows(why="the file begins with nothing but blank lines")

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._waiting.pop(0) if self._waiting else self._next()
        if not line:
            raise StopIteration
        self.characters += len(line)
        self.of_this_row += len(line)
        if self.of_this_row > _MAX_ROW:
            raise FileUnreadable(format="CSV", why=f"a row has more than {_MAX_ROW:,} characters")
        self.nul = self.nul or "\x00" in line
        return line

    def _next(self) -> str:
        line = self._text.readline(MAX_LINE)
        if len(line) >= MAX_LINE:
            raise FileUnreadable(format="CSV", why=f"a line has more than {MAX_LINE:,} characters")
        return line


def _delimiter(header: str) -> str:
    """What stands most often between the words of the header, quoted parts aside; `,` in doubt."""
    outside = "".join(header.split('"')[::2])
    return max(",;\t", key=outside.count)


def _problem(error: csv.Error) -> str:
    return next((words for sign, words in _PROBLEMS.items() if sign in str(error)), str(error))


def _without_other_bytes(
    rows: list[list[str]], lines: list[int], faults: Faults
) -> tuple[list[list[str]], list[int]]:
    """Only the rows that were UTF-8."""
    kept: tuple[list[list[str]], list[int]] = ([], [])
    for row, line in zip(rows, lines, strict=True):
        try:
            "".join(row).encode()
        except UnicodeEncodeError:
            faults.add(line, "bytes that are no UTF-8")
        else:
            kept[0].append(row)
            kept[1].append(line)
    return kept
