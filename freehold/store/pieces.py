"""A body that arrives in pieces, read as a file is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Pieces:
    """What is left of them, and what of the last one was not read yet."""

    pieces: Iterator[bytes]
    held: bytes = b""

    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer at the end only."""
        while len(self.held) < size and (piece := next(self.pieces, None)) is not None:
            self.held += piece  # an empty piece is not the end
        answer, self.held = self.held[:size], self.held[size:]
        return answer
