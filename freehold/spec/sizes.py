"""Sizes of memory as users write them."""

from __future__ import annotations

import re

from freehold.errors import BadInput

_SIZE = re.compile(r"^(\d{1,6})\s*(MB|GB)$")
_BYTES = {"MB": 1_000_000, "GB": 1_000_000_000}


class BadSize(BadInput):
    """`{text}` is not an amount of memory"""


def memory_bytes(text: str) -> int:
    """`512 MB` or `4 GB` in bytes (powers of ten). Raises BadSize."""
    found = _SIZE.match(text.strip())
    if not found or not int(found[1]):
        raise BadSize(
            text=text[:40], why="it is a whole number with its unit", hint="write it as `512 MB` or `4 GB`"
        )
    return int(found[1]) * _BYTES[found[2]]
