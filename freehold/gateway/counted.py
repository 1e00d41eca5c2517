"""What the gateway processes at one address count, told by whichever of them is asked.

Who reads `/metrics` reaches one of several processes by chance. So each writes what it counts into a file
beside the others', once a second, and who is asked tells its own counts of this moment and those files. The
label `gateway` keeps the series of one process apart from those of the others, and from the next process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

STALE = 10.0
"""Seconds without a sign of life, after which a process that could not say goodbye is told of no more."""
Sample = tuple[str, str, int | float]
"""A metric's name, its labels as Prometheus writes them, its value."""


class Counted:
    """The counts of this process, and the way to those of the others."""

    def __init__(self, folder: Path, gateway: str, before: Path | None = None) -> None:
        """`before` is where an earlier release wrote them."""
        self._folder, self._gateway = folder, gateway
        self._own = folder / f"{gateway}.counts"
        self._kept = ""
        for place in (folder, before) if before else (folder,):
            _clear(place)

    def keep(self, samples: Sequence[Sample]) -> None:
        """Write them down for the others. A disk that takes nothing is told elsewhere."""
        text = self._text(samples)
        with suppress(OSError):
            if text == self._kept and self._own.exists():
                os.utime(self._own)
                return
            new = self._own.with_suffix(".new")
            new.write_text(text)
            os.replace(new, self._own)
            self._kept = text

    def everybody(self, samples: Sequence[Sample], heads: Sequence[str] = ()) -> bytes:
        """All of it in Prometheus's text, the lines of one metric together; `heads` say what a metric is."""
        texts = (self._text(samples), *self._others())
        lines = [*heads, *(line for text in texts for line in text.splitlines())]
        return "".join(f"{line}\n" for line in sorted(lines, key=_name)).encode()

    def leave(self) -> None:
        """This process counts no more."""
        with suppress(OSError):
            self._own.unlink(missing_ok=True)

    def _text(self, samples: Sequence[Sample]) -> str:
        gateway = f'gateway="{self._gateway}"'
        return "".join(
            f"freehold_gateway_{name}{{{f'{labels},' if labels else ''}{gateway}}} {value}\n"
            for name, labels, value in samples
        )

    def _others(self) -> Iterator[str]:
        for path in self._files():
            with suppress(OSError):
                if path != self._own and _lives(path):
                    yield path.read_text()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.counts"))


def _clear(folder: Path) -> None:
    """Remove what processes left that died, half written or whole."""
    for path in (*folder.glob("spl_*.counts"), *folder.glob("spl_*.new")):
        if not _lives(path):
            with suppress(OSError):
                path.unlink()


def _lives(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < STALE
    except OSError:
        return False


def _name(line: str) -> str:
    """A metric's; of a head the one it speaks of, whose lines are called longer."""
    return line.split(" ", 3)[2] if line.startswith("#") else line.partition("{")[0]
