"""Sealing what is larger than memory: pieces of 1 MiB, each bound to its place, the last one marked.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) with the place in the associated
data: pieces that are left out, moved, repeated or cut off at the end no longer open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from freehold.store.sealed import NONCE, SealBroken, seal, unseal

PIECE = 1 << 20
"""Bytes in clear of every piece but the last."""

_TAG = 16
_SEALED = PIECE + NONCE + _TAG


class Sealing:
    """Takes bytes as they come and gives `write` sealed pieces; nothing in clear leaves memory."""

    def __init__(self, key: bytes, about: bytes, write: Callable[[bytes], object]) -> None:
        self._key = key
        self._about = about
        self._write = write
        self._held = bytearray()
        self._number = 0
        self.bytes = 0
        """Bytes in clear so far."""
        self.head = b""
        """The first bytes in clear, for whoever wants to know what kind of file this is."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes. The newest piece is held back: it may be the last."""
        if len(self.head) < 512:
            self.head = (self.head + data[:512])[:512]
        self.bytes += len(data)
        self._held += data
        while len(self._held) > PIECE:
            self._seal(bytes(self._held[:PIECE]), last=False)
            del self._held[:PIECE]

    def finish(self) -> None:
        """Seal what is left; an empty file is one empty piece."""
        self._seal(bytes(self._held), last=True)
        self._held.clear()

    def _seal(self, piece: bytes, *, last: bool) -> None:
        self._write(seal(self._key, piece, _place(self._about, self._number, last)))
        self._number += 1


def opened(key: bytes, about: bytes, source: BinaryIO) -> Iterator[bytes]:
    """The pieces in clear, one after another. Raises SealBroken."""
    number, sealed = 0, source.read(_SEALED)
    if not sealed:
        raise SealBroken(why="nothing is there: even an empty file has one piece")
    while sealed:
        following = source.read(_SEALED)
        yield unseal(key, sealed, _place(about, number, not following))
        number, sealed = number + 1, following


def _place(about: bytes, number: int, last: bool) -> bytes:
    return b"%s/%d/%s" % (about, number, b"last" if last else b"more")
