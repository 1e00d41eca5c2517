"""Random bytes from the kernel, fetched many at a time: where a request needs five, five calls are too many.

One call cost 80 µs on a machine that watches its processes' calls, and most of that is the call, not the
bytes. For ids, salts and nonces; a key that stays is drawn by itself.
"""

from __future__ import annotations

import os
import threading

BLOCK = 4096


class Drawn:
    """A block of bytes, each given out once: not to two threads, and not to two processes after a fork."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._block, self._at = b"", 0

    def __call__(self, size: int) -> bytes:
        """`size` bytes that nobody was given before."""
        with self._turn:
            begins, self._at = self._at, self._at + size
            if self._at > len(self._block):
                self._block, begins, self._at = os.urandom(max(BLOCK, size)), 0, size
            return self._block[begins : self._at]

    def forget(self) -> None:
        """In a child of a fork: what is left of the block is its parent's."""
        self.__init__()  # type: ignore[misc]  # the lock, too: another thread may have held it


draw = Drawn()
os.register_at_fork(after_in_child=draw.forget)
