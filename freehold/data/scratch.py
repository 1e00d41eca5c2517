"""Room on disk for a file under way, unreadable there: sealed by a key that lives in memory alone.

An upload and what is made of it can be larger than memory, so they lie in a temporary file that has
no name and is AES-256-CTR ciphertext. When the process ends, however it ends, the key is gone.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from freehold.errors import Unavailable

_BLOCK = 16


class ScratchFull(Unavailable):
    """there is no room for the file while it is read"""


class Scratch(io.RawIOBase):
    """A file written once from its beginning, then read anywhere, as often as wanted."""

    def __init__(self) -> None:
        super().__init__()
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with this object
        self._key = AES256(os.urandom(32))
        # each file has a key of its own and every byte is written once: counting from 0 repeats nothing
        self._sealing = self._cipher_at(0).encryptor()
        self.size = 0
        self._at = 0

    def _cipher_at(self, block: int) -> Cipher[CTR]:
        return Cipher(self._key, CTR(block.to_bytes(_BLOCK, "big")))

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Add to the end. Raises ScratchFull when the disk is."""
        sealed = self._sealing.update(memoryview(data).cast("B"))
        try:
            self._file.seek(self.size)
            written = 0
            while written < len(sealed):
                written += self._file.write(sealed[written:])
        except OSError as error:
            raise _told(error) from error
        self.size += len(sealed)
        return len(sealed)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from where we are; fewer bytes at the end of the file."""
        block, within = divmod(self._at, _BLOCK)
        opening: CipherContext = self._cipher_at(block).decryptor()
        opening.update(bytes(within))
        self._file.seek(self._at)
        plain = opening.update(self._file.read(len(buffer)))
        buffer[: len(plain)] = plain
        self._at += len(plain)
        return len(plain)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _told(error: OSError) -> Unavailable:
    return ScratchFull(
        why=error.strerror or str(error),
        hint=f"make room in {tempfile.gettempdir()}, or point TMPDIR elsewhere and start again"
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else "",
    )


class Tables:
    """Arrow tables put away one by one and read back in the same order; each may have other columns."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._places: list[tuple[int, int]] = []

    def append(self, table: pa.Table) -> None:
        """Put one more away."""
        start = self._scratch.size
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        self._scratch.write(memoryview(sink.getvalue()))
        self._places.append((start, self._scratch.size - start))

    def __iter__(self) -> Iterator[pa.Table]:
        for start, length in self._places:
            self._scratch.seek(start)
            yield pa.ipc.open_stream(self._scratch.read(length)).read_all()

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Give the room back."""
        self._scratch.close()
