"""A body that arrives in pieces, read as a file is; and a file that is sent in pieces, and then gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tempfile
    from pathlib import Path

PIECE = 1 << 20


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


def sent_once(path: Path, folder: tempfile.TemporaryDirectory[str]) -> Iterator[bytes]:
    """The file piece by piece; its folder is gone when the last one is sent, or the caller hangs up."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
    finally:
        folder.cleanup()
