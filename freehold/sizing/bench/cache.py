"""The kernel's page cache: emptying it of our files, and looking whether that worked."""

from __future__ import annotations

import ctypes
import ctypes.util
import mmap
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

COLD = 0.01
"""At most this share of a file may still be in memory for a read to count as one from the disk."""


def drop(path: Path) -> None:
    """Ask the kernel to forget what it holds of a file; what is not written yet is written first."""
    if not hasattr(os, "posix_fadvise"):  # macOS
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # a page that waits to be written cannot be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def resident(path: Path) -> float:
    """The share of a file's pages that are in memory, by mincore(2). Raises OSError where nobody tells."""
    size = path.stat().st_size
    if size == 0:
        return 0.0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # private and writable, though nothing is written: ctypes gives the address of writable memory only
        with mmap.mmap(descriptor, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
            first = ctypes.c_char.from_buffer(mapped)
            try:
                return _asked(ctypes.addressof(first), size)
            finally:
                del first  # or the mapping cannot be closed
    finally:
        os.close(descriptor)


def _asked(address: int, size: int) -> float:
    pages = -(-size // mmap.PAGESIZE)
    held = (ctypes.c_ubyte * pages)()
    if _libc().mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), held):
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(byte & 1 for byte in bytes(held)) / pages


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def make_cold(paths: Iterable[Path]) -> float:
    """Drop them all; returns the share of their bytes that is still in memory, 1 where nobody can tell."""
    found = list(paths)
    for path in found:
        drop(path)
    try:
        held = sum(resident(path) * path.stat().st_size for path in found)
    except OSError:
        return 1.0
    return held / max(1, sum(path.stat().st_size for path in found))
