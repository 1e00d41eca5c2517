"""Have a whole file read into memory before it is read page by page: a disk is faster in its own order.

SQLite looks at the pages of its file in the order of its trees. With nothing in memory, 3 GB took 88 s that
way and 3 s after they had been read from the beginning to the end (2 s; `benchmarks/lists.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

WORTH = 64 * 1024 * 1024
"""Bytes. Smaller files are read in no time anyway."""

_READ = """
import sys
with open(sys.argv[1], "rb", buffering=0) as file:
    while file.read(4_194_304):
        pass
"""


def read_ahead(path: Path, *, worth: int = WORTH) -> None:
    """Read it once, where it is worth it and fits into half of the memory. Raises nothing: it only helps.

    Another process does it: one that opens a database's file a second time and closes it loses all the locks
    that SQLite holds on it (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(OSError, subprocess.SubprocessError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if worth <= path.stat().st_size <= memory // 2:
            subprocess.run(  # noqa: S603 -- our own text, and a path
                [sys.executable, "-I", "-S", "-c", _READ, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=600,
            )
