"""Parquet: types are the file's own. Dates, times and decimals become text, nested values JSON text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from freehold.data.cells import Told, as_json
from freehold.data.reading import ROWS, BadColumns, Faults, FileUnreadable, Piece, check_columns


class ParquetReader:
    """A Parquet file. It has no lines: rows are counted from 1."""

    counts_by = "row"

    def __init__(self, source: BinaryIO) -> None:
        source.seek(0)
        try:
            self._file = pq.ParquetFile(source, pre_buffer=False)
            self.columns = list(self._file.schema_arrow.names)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(error) from error
        check_columns(self.columns)
        for field in self._file.schema_arrow:
            _refuse_type(field)

    def pieces(self, faults: Faults) -> Iterator[Piece]:
        row = 1
        for batch in self._batches():
            lines = pa.array(range(row, row + len(batch)), pa.int64())
            row += len(batch)
            good = self._texts_hold(batch, lines, faults)
            if good is not None:
                batch, lines = batch.filter(good), lines.filter(good)
            columns = zip(self.columns, batch.columns, strict=True)
            yield Piece(lines, {name: _readable(array) for name, array in columns})

    def _batches(self) -> Iterator[Any]:
        try:
            yield from self._file.iter_batches(batch_size=ROWS, use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(error) from error

    def _texts_hold(self, batch: Any, lines: Any, faults: Faults) -> Any:
        """Which rows are text where they should be; None when all are, which Arrow checks at once."""
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid:
            good = pa.array([_is_valid(batch.slice(i, 1)) for i in range(len(batch))])
            for line in lines.filter(pc.invert(good)).to_pylist():
                faults.add(line, "bytes that are no UTF-8")
            return good
        return None


def _is_valid(row: Any) -> bool:
    try:
        row.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _unreadable(error: Exception) -> FileUnreadable:
    return FileUnreadable(format="Parquet", why=str(error).splitlines()[0][:200])


def _refuse_type(field: Any) -> None:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if any(holds(kind) for holds in _UNKEPT):
        raise BadColumns(
            why=f"`{field.name[:40]}` has the type `{field.type}`, which a data set cannot keep",
            hint="write it as text, or leave it out",
        )


_UNKEPT = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
    pa.types.is_duration,
    pa.types.is_interval,
    pa.types.is_union,
)


def _readable(array: Any) -> Told:
    """Raises FileUnreadable for moments that are none, such as of a time zone whose name is no text."""
    try:
        return _told(array)
    except (pa.ArrowException, LookupError, OverflowError, ValueError) as error:
        raise _unreadable(error) from error


def _told(array: Any) -> Told:
    """An Arrow array as cells that say what they are."""
    kind, size = array.type, len(array)
    if pa.types.is_dictionary(kind):
        return _told(array.dictionary_decode())
    if pa.types.is_null(kind):
        return Told({}, size)
    if pa.types.is_boolean(kind):
        return Told({"boolean": array}, size)
    if pa.types.is_integer(kind):
        return _integers(array)
    if pa.types.is_floating(kind):
        return Told({"number": _one_nan(array.cast(pa.float64()))}, size)
    if pa.types.is_nested(kind):
        nested = [None if value is None else as_json(value) for value in array.to_pylist()]
        return Told({"json": pa.array(nested, pa.string())}, size)
    if pa.types.is_timestamp(kind) and kind.tz:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))  # the same moment, readable everywhere
    return Told({"text": array.cast(pa.string())}, size)


def _integers(array: Any) -> Told:
    if not pa.types.is_uint64(array.type):
        return Told({"integer": array.cast(pa.int64())}, len(array))
    fitting = pc.less_equal(array, pa.scalar(2**63 - 1, pa.uint64()))
    beyond = pc.if_else(fitting, None, array).cast(pa.string())
    return Told({"integer": pc.if_else(fitting, array, None).cast(pa.int64()), "json": beyond}, len(array))


def _one_nan(numbers: Any) -> Any:
    """There are many bit patterns that are no number; a data set keeps one."""
    return pc.if_else(pc.is_nan(numbers), float("nan"), numbers)
