"""The canonical bytes of a row: what a commitment is made to.

Column by column in the schema's order, each cell is 0x00 when empty, else 0x01 and

- `text`, `json`: the length of the UTF-8 in 8 bytes, then the UTF-8, not normalized in any way;
- `integer`: 8 bytes, two's complement;
- `number`: 8 bytes, IEEE 754 binary64 (0.0 and -0.0 differ; there is one NaN, 0x7ff8000000000000);
- `boolean`: one byte, 0 or 1;

all most significant byte first. Names and types are not in it: the version's digest covers the schema
beside the rows. Every cell says how long it is, so two different rows never have the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.data.cells import Word

_FILLED, _EMPTY = b"\x01", b"\x00"


def rows(table: Any, types: Sequence[Word]) -> list[bytes]:
    """The canonical bytes of every row of an Arrow table whose columns have `types`."""
    if not len(table):
        return []
    cells = [_cells(column, word) for column, word in zip(table.columns, types, strict=True)]
    joined = pc.binary_join_element_wise(*cells, b"")
    written: list[bytes] = joined.to_pylist()
    return written


def _cells(column: Any, word: Word) -> Any:
    """One column as Arrow binary."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    filled = pc.binary_join_element_wise(_FILLED, *_ENCODE[word](array), b"")
    return pc.fill_null(pc.if_else(pc.is_valid(array), filled, None), _EMPTY)


def _text(array: Any) -> tuple[Any, ...]:
    plain = pc.fill_null(array, "").cast(pa.binary())
    return _fixed(pc.binary_length(plain).to_numpy(zero_copy_only=False), ">i8"), plain


def _integer(array: Any) -> tuple[Any, ...]:
    return (_fixed(pc.fill_null(array, 0).to_numpy(zero_copy_only=False), ">i8"),)


def _number(array: Any) -> tuple[Any, ...]:
    values = pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False)
    return (_fixed(np.where(np.isnan(values), np.nan, values), ">f8"),)


def _boolean(array: Any) -> tuple[Any, ...]:
    return (_fixed(pc.fill_null(array, False).to_numpy(zero_copy_only=False), ">u1"),)


def _fixed(values: Any, layout: str) -> Any:
    """Numbers as Arrow binary of their big-endian bytes."""
    packed = np.ascontiguousarray(values.astype(layout))
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(packed.itemsize), len(packed), [None, pa.py_buffer(packed)]
    )
    return fixed.cast(pa.binary())


_ENCODE = {"text": _text, "json": _text, "integer": _integer, "number": _number, "boolean": _boolean}
