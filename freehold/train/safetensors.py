"""The head of a safetensors file, read without any library: names, types, shapes, places.

Format: 8 bytes little-endian length, that many bytes of JSON, then the tensors' bytes without a gap
(https://github.com/huggingface/safetensors, section Format).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_HEAD = 100_000_000
"""Bytes: the limit the format's own library has."""

WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of one element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_head(path: Path) -> dict[str, Tensor]:
    """Every tensor by name. Raises ValueError, whose text says what is wrong with the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEAD, size - 8):
            raise ValueError("its head does not fit into it")
        said = _json(file.read(length))
    said.pop("__metadata__", None)
    found = {name: _tensor(name, entry) for name, entry in said.items()}
    _check_places([places for _, places in found.values()], size - 8 - length)
    return {name: tensor for name, (tensor, _) in found.items()}


def _json(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("its head is no JSON") from error
    if not isinstance(said, dict):
        raise ValueError("its head holds no tensors")
    return said


def _tensor(name: str, said: Any) -> tuple[Tensor, tuple[int, int]]:
    try:
        dtype, shape = str(said["dtype"]), tuple(said["shape"])
        start, end = said["data_offsets"]
        fits = all(type(n) is int and n >= 0 for n in (*shape, start, end))
        fits = fits and end - start == math.prod(shape) * WIDTHS[dtype]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the tensor `{name[:80]}` is not described as it should be") from error
    if not fits:
        raise ValueError(f"the tensor `{name[:80]}` has another size than its shape says")
    return Tensor(dtype=dtype, shape=shape), (start, end)


def _check_places(places: list[tuple[int, int]], size: int) -> None:
    """Without a gap and without an overlap, to the last byte: nothing can hide between tensors."""
    at = 0
    for start, end in sorted(places):
        if start != at:
            raise ValueError("its tensors overlap, or leave a gap")
        at = end
    if at != size:
        raise ValueError("it is longer or shorter than its tensors")


def check_index(index: Mapping[str, Any], heads: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Whether an index says of each tensor the file it is in, and of nothing else. Raises ValueError.

    `heads` are the shards by file name.
    """
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
        raise ValueError("it has no `weight_map`")
    held = {(name, shard) for shard, tensors in heads.items() for name in tensors}
    said = set(places.items())
    if missing := sorted(said - held):
        name, shard = missing[0]
        raise ValueError(f"it says `{name[:80]}` is in `{shard[:80]}`, and it is not")
    if extra := sorted(held - said):
        name, shard = extra[0]
        raise ValueError(f"it does not name `{name[:80]}` of `{shard[:80]}`")
