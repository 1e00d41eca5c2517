"""Reading a file piece by piece: what every format has in common, and what stops a file as a whole."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from freehold.data.cells import Cells
from freehold.errors import BadInput

FORMATS = ("csv", "jsonl", "parquet")
ROWS = 16_384
"""A piece has at most so many rows …"""
BYTES = 8 * 2**20
"""… and about so much text: both bound what is in memory at once."""
MAX_LINE = 16 * 2**20
"""No line is longer; a file without line ends is not read into memory."""
MAX_COLUMNS = 2_000
MAX_HEADER = 120
RESERVED = ("_row", "_key")
"""Columns that Freehold adds for a job."""


class FileUnreadable(BadInput):
    """the file cannot be read as {format}"""


class BadColumns(BadInput):
    """the columns of the file cannot be used"""


class NoRows(BadInput):
    """there is no row to add"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken row: where it begins in the file, and what is wrong, without its words."""

    line: int
    why: str


@dataclass(slots=True)
class Faults:
    """All broken rows of a file: counted, the first ones told."""

    count: int = 0
    first: list[Fault] = field(default_factory=list)
    unfit: dict[str, int] = field(default_factory=dict)
    """Columns with cells that do not fit their type, and how many."""

    TOLD = 20

    def add(self, line: int, why: str) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < self.TOLD:
            self.first.append(Fault(line, why))

    def told(self, lines: str) -> str:
        """The first ones in one line of text; `lines` is what the format counts by."""
        ordered = sorted(self.first, key=lambda fault: fault.line)
        words = "; ".join(f"{lines} {fault.line}: {fault.why}" for fault in ordered)
        more = self.count - len(ordered)
        return f"{words}; and {more} more" if more else words


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a file. A column that is missing here is empty in all of them."""

    lines: Any
    """Where each row begins: an Arrow array of whole numbers."""
    cells: Mapping[str, Cells]


class Reader(Protocol):
    """A file of one format."""

    counts_by: str
    """`line`, or `row` where a file has no lines."""

    @property
    def columns(self) -> list[str]:
        """In order. JSON lines may still bring more while they are read."""

    def pieces(self, faults: Faults) -> Iterator[Piece]:
        """The rows in order; broken ones go to `faults`."""


def open_reader(source: BinaryIO, format: str, missing: frozenset[str] = frozenset()) -> Reader:
    """The reader for `format`; `missing` are words that stand for an empty cell in a CSV file.

    Raises FileUnreadable and BadColumns for what no row is to blame for.
    """
    _refuse_other_formats(source, format)
    if format == "csv":
        from freehold.data.read_csv import CsvReader

        return CsvReader(source, missing)
    if format == "jsonl":
        from freehold.data.read_jsonl import JsonLinesReader

        return JsonLinesReader(source)
    if format == "parquet":
        from freehold.data.read_parquet import ParquetReader

        return ParquetReader(source)
    raise FileUnreadable(format=f"`{format[:40]}`", why=f"formats are {', '.join(FORMATS)}")


_MAGIC: dict[bytes, tuple[str, str]] = {
    b"PAR1": ("parquet", "a Parquet file"),
    b"PK\x03\x04": ("", "a zip archive, as spreadsheets are"),
    b"\x1f\x8b": ("", "compressed with gzip"),
    b"\x28\xb5\x2f\xfd": ("", "compressed with zstd"),
    b"\xff\xfe": ("", "UTF-16 text"),
    b"\xfe\xff": ("", "UTF-16 text"),
}


def _refuse_other_formats(source: BinaryIO, format: str) -> None:
    source.seek(0)
    head = source.read(4)
    source.seek(0)
    if not head:
        raise NoRows(why="the file is empty")
    for magic, (its_format, words) in _MAGIC.items():
        if head.startswith(magic) and its_format != format:
            hint = f"add it with `--format {its_format}`" if its_format else "save it as CSV in UTF-8"
            raise FileUnreadable(format=format, why=f"it is {words}", hint=hint)


def check_columns(columns: list[str]) -> None:
    """Refuse names that are empty, twice there, too long, or taken. Raises BadColumns."""
    if len(columns) > MAX_COLUMNS:
        raise BadColumns(why=f"there are {len(columns)}, and {MAX_COLUMNS} are the most")
    seen: set[str] = set()
    for place, name in enumerate(columns, start=1):
        if problem := _column_problem(name, seen):
            raise BadColumns(why=f"column {place} {problem}", hint="rename it in the file")
        seen.add(name)


def _column_problem(name: str, seen: set[str]) -> str:
    shown = f"`{name[:40]}`"
    if not name.strip():
        return "has no name"
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "has a name that is not plain text"
    if len(name) > MAX_HEADER:
        return f"{shown} … is longer than {MAX_HEADER} characters"
    if name in RESERVED:
        return f"{shown} has a name that Freehold gives to a column of its own"
    return f"{shown} is there twice" if name in seen else ""


def need_column(columns: list[str], name: str, option: str) -> None:
    """Refuse an option that names a column the file does not have. Raises BadColumns."""
    if name not in columns:
        near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
        raise BadColumns(
            why=f"{option} names `{name[:80]}`, and the file has: {', '.join(columns[:20])}",
            hint=f"did you mean `{near[0]}`?" if near else "",
        )
