"""JSON lines: one object per line, UTF-8, as RFC 8259 has it; a field that is missing is empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa

from freehold.data.cells import told
from freehold.data.reading import (
    BYTES,
    MAX_COLUMNS,
    MAX_LINE,
    ROWS,
    Faults,
    FileUnreadable,
    Piece,
    check_columns,
)

_BOM = b"\xef\xbb\xbf"


class _Broken(Exception):
    """Why a line is no row."""


class JsonLinesReader:
    """A file of JSON lines. Its columns are all fields it has, in the order in which they first appear."""

    counts_by = "line"

    def __init__(self, source: BinaryIO) -> None:
        source.seek(0)
        self._source = source
        self._seen: dict[str, None] = {}

    @property
    def columns(self) -> list[str]:
        """So far; all of them once every piece was read."""
        return list(self._seen)

    def pieces(self, faults: Faults) -> Iterator[Piece]:
        rows: list[dict[str, Any]] = []
        lines: list[int] = []
        size = 0
        for line, text in self._lines():
            try:
                rows.append(_row(text))
            except _Broken as broken:
                faults.add(line, str(broken))
                continue
            lines.append(line)
            size += len(text)
            if len(rows) == ROWS or size > BYTES:
                yield self._piece(rows, lines)
                rows, lines, size = [], [], 0
        if rows:
            yield self._piece(rows, lines)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        line = 0
        while text := self._source.readline(MAX_LINE):
            line += 1
            if len(text) >= MAX_LINE:
                raise FileUnreadable(
                    format="JSON lines",
                    why=f"line {line} has more than {MAX_LINE:,} bytes",
                    hint="write one object per line, not one list of all",
                )
            text = text.removeprefix(_BOM) if line == 1 else text
            if text.strip():
                yield line, text

    def _piece(self, rows: list[dict[str, Any]], lines: list[int]) -> Piece:
        new = dict.fromkeys(name for row in rows for name in row if name not in self._seen)
        if new:
            self._seen |= new
            check_columns(self.columns)
        cells = {name: told([row.get(name) for row in rows]) for name in self.columns}
        return Piece(pa.array(lines, pa.int64()), cells)


def _row(text: bytes) -> dict[str, Any]:
    """The object on a line. Raises _Broken."""
    try:
        value = json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _Broken("bytes that are no UTF-8") from None
    except json.JSONDecodeError as error:
        raise _Broken(f"no JSON: {error.msg.lower()} at column {error.colno}") from None
    except RecursionError:
        raise _Broken("nested too deeply") from None
    except ValueError:
        raise _Broken("a number with too many digits") from None
    if not isinstance(value, dict):
        raise _Broken("no JSON object")
    if len(value) > MAX_COLUMNS:
        raise _Broken(f"{len(value)} fields, and {MAX_COLUMNS} are the most")
    if b"\\u" in text:
        _refuse_half_characters(value)
    return value


def _refuse_half_characters(row: dict[str, Any]) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _Broken("half of a surrogate pair, which is no character") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Broken("a field that is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _Broken(f"`{name}`, which JSON does not have")
