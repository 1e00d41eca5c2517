"""The framing of chunked bodies, read a second time and more strictly than the parser does.

The parser skips what RFC 9112 lets a server skip: extensions of a chunk, trailers. Another reader in
front may have taken them for something else, so here they end the connection.
"""

from __future__ import annotations

_LONGEST = 8
"""Hexadecimal digits of a size: 4 GB, beyond any body that is read."""
_DIGITS = frozenset(b"0123456789abcdefABCDEF")


class Chunks:
    """One body's framing: `strict` takes the raw bytes as they come."""

    def __init__(self) -> None:
        self._line = b""
        self._left = 0
        """Bytes of the chunk that runs, its line end included."""
        self._last = False
        self.done = False

    def strict(self, data: bytes) -> bool:
        """Whether it is sizes, bytes and line ends and nothing else, so far."""
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                take = min(self._left, len(data) - at)
                self._left -= take
                at += take
                continue
            end = data.find(b"\n", at)
            self._line += data[at : end + 1 if end >= 0 else len(data)]
            if len(self._line) > _LONGEST + 2:
                return False
            if end < 0:
                return True
            at = end + 1
            if not self._size():
                return False
        return True

    def _size(self) -> bool:
        """Read a line that is complete."""
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            return False
        digits = line[:-2]
        if self._last:
            self.done = True
            return not digits  # a trailer would stand here
        if not digits or not set(digits) <= _DIGITS:
            return False
        size = int(digits, 16)
        self._last = size == 0
        self._left = size + 2 if size else 0
        return True
