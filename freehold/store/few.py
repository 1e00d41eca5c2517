"""Long lists of names, as many at a time as one query takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

AT_ONCE = 500
"""Names in one query: SQLite's oldest limit is 999 parameters."""

T = TypeVar("T")


def few(names: Sequence[T], most: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """All of them in their order, `most` at a time."""
    return (names[at : at + most] for at in range(0, len(names), most))
