"""Tensors of the Open Inference Protocol: JSON or binary in, JSON or binary out.

Binary layout as the protocol's binary data extension has it: little-endian, one tensor after another
behind the JSON; BYTES elements carry their length in four bytes before them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from freehold.errors import BadInput
from freehold.spec.snapshot import Column

_CODES = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP32": "f",
    "FP64": "d",
}
_WHOLE = frozenset(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32"))
_TAKES: Mapping[str, frozenset[str]] = {
    # what a column accepts beside its own datatype: only what loses nothing
    "BYTES": frozenset(("BYTES",)),
    "BOOL": frozenset(("BOOL",)),
    "INT64": _WHOLE,
    "FP64": _WHOLE | {"FP32", "FP64"},
}
MOST_ROWS = 4096


class TensorUnusable(BadInput):
    """the input `{name}` cannot be used"""


def read_inputs(
    tensors: Sequence[Any], binary: bytes, columns: Sequence[Column]
) -> tuple[int, dict[str, list[Any]]]:
    """The number of rows and the values of every column, from JSON or from `binary`.

    Raises TensorUnusable, naming the input and never repeating a value.
    """
    wanted = {column.name: column.datatype for column in columns}
    values: dict[str, list[Any]] = {}
    offset, rows = 0, 0
    for tensor in tensors:
        name, datatype, rows_here = _shape(tensor, wanted, values)
        size = _binary_size(tensor)
        if size is None:
            values[name] = _from_json(name, tensor.get("data"), wanted[name])
        else:
            values[name] = _from_binary(name, datatype, wanted[name], binary[offset : offset + size], size)
            offset += size
        if len(values[name]) != rows_here or (rows and rows != rows_here):
            raise TensorUnusable(
                name=name, why="its number of values is not that of its shape or of the others"
            )
        rows = rows_here
    if missing := [name for name in wanted if name not in values]:
        raise TensorUnusable(
            name=missing[0], why="it is missing", hint="ask the model's metadata for its inputs"
        )
    if offset != len(binary):
        raise TensorUnusable(name="-", why="there are more bytes than the tensors announce")
    return rows, values


def _shape(tensor: Any, wanted: Mapping[str, str], seen: Mapping[str, Any]) -> tuple[str, str, int]:
    if not isinstance(tensor, dict):
        raise TensorUnusable(name="-", why="an input is an object with name, shape, datatype and data")
    name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if not isinstance(name, str) or name not in wanted or name in seen:
        raise TensorUnusable(
            name=str(name)[:80],
            why="the model has no such input, or it came twice",
            hint="its inputs are " + ", ".join(f"`{known}`" for known in wanted),
        )
    if not isinstance(datatype, str) or datatype not in _TAKES[wanted[name]]:
        raise TensorUnusable(name=name, why=f"it takes {wanted[name]}, the request says {str(datatype)[:20]}")
    good = isinstance(shape, list) and all(type(n) is int for n in shape) and 1 <= len(shape) <= 2
    if not isinstance(shape, list) or not good or (len(shape) == 2 and shape[1] != 1):
        raise TensorUnusable(name=name, why="its shape is neither [rows] nor [rows, 1]")
    if not 1 <= shape[0] <= MOST_ROWS:
        raise TensorUnusable(name=name, why=f"1 to {MOST_ROWS} rows can be asked at a time")
    return name, datatype, shape[0]


def _binary_size(tensor: Mapping[str, Any]) -> int | None:
    parameters = tensor.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise TensorUnusable(name=str(tensor.get("name"))[:80], why="`binary_data_size` is not a number")
    return size


def _from_json(name: str, data: Any, datatype: str) -> list[Any]:
    if not isinstance(data, list):
        raise TensorUnusable(name=name, why="it has neither `data` nor `binary_data_size`")
    flat = [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in data]
    if not all(_fits(cell, datatype) for cell in flat):
        raise TensorUnusable(name=name, why=f"a value of it is not {datatype}")
    return flat


def _fits(cell: Any, datatype: str) -> bool:
    """Whether JSON's value is of this datatype; null is a missing value, except for words."""
    if datatype == "BYTES":
        return isinstance(cell, str)
    if cell is None:
        return True
    if datatype == "BOOL":
        return isinstance(cell, bool)
    if isinstance(cell, bool):
        return False
    return isinstance(cell, int) if datatype == "INT64" else isinstance(cell, int | float)


def _from_binary(name: str, datatype: str, wanted: str, data: bytes, size: int) -> list[Any]:
    if len(data) != size:
        raise TensorUnusable(name=name, why="there are fewer bytes than it announces")
    if datatype == "BYTES":
        return _words(name, data)
    code = _CODES[datatype]
    if size % struct.calcsize(code):
        raise TensorUnusable(name=name, why=f"its bytes are no whole number of {datatype} values")
    numbers = [value for (value,) in struct.iter_unpack("<" + code, data)]
    if wanted != "FP64":
        return numbers
    if any(math.isinf(number) for number in numbers):
        raise TensorUnusable(name=name, why="a value of it is infinite")
    return [None if math.isnan(number) else float(number) for number in numbers]


def _words(name: str, data: bytes) -> list[str]:
    words: list[str] = []
    offset = 0
    while offset < len(data):
        (length,) = struct.unpack_from("<I", data, offset) if len(data) - offset >= 4 else (len(data),)
        word = data[offset + 4 : offset + 4 + length]
        if len(word) != length:
            raise TensorUnusable(name=name, why="a text in it is cut short")
        try:
            words.append(word.decode())
        except UnicodeDecodeError:
            raise TensorUnusable(name=name, why="a text in it is not UTF-8") from None
        if b"\0" in word:  # in JSON it is refused before (`asked.ZeroInText`), for the same reason
            raise TensorUnusable(
                name=name,
                why="a text in it holds the character U+0000, which some engines take for its end",
                hint="leave it out: no text needs it",
            )
        offset += 4 + length
    return words


def to_binary(datatype: str, values: Sequence[Any]) -> bytes:
    """An output tensor's bytes."""
    if datatype == "BYTES":
        encoded = [str(value).encode() for value in values]
        return b"".join(struct.pack("<I", len(word)) + word for word in encoded)
    return struct.pack(f"<{len(values)}{_CODES[datatype]}", *values)
