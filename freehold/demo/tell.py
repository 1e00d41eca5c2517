"""How the demo speaks: acts, commentary, what was typed by whom, what came back, and the time."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO


class Teller:
    """Writes to a terminal in colour, to a file plainly."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._colour = self._out.isatty()
        self._width = min(100, shutil.get_terminal_size().columns)
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def act(self, title: str) -> None:
        """A new act, with the time so far on the right."""
        clock = f"{self.elapsed // 60:.0f}:{self.elapsed % 60:04.1f}"
        self._line()
        self._line(self._in("1", f"{title:<{self._width - len(clock) - 1}} {clock}"))
        self._line(self._in("2", "─" * self._width))

    def say(self, text: str) -> None:
        """A paragraph of commentary."""
        self._line()
        self._line(
            textwrap.fill(" ".join(text.split()), self._width, break_on_hyphens=False, break_long_words=False)
        )

    def typed(self, who: str, words: Sequence[str]) -> None:
        """A command, as its author would type it; a long one goes on in the next line."""
        lines = [""]
        for word in map(shlex.quote, words):
            full = len(who) + len(lines[-1]) + len(word) > self._width - 6
            if full and word.startswith("-"):
                lines.append("    " + word)
            else:
                lines[-1] += f" {word}" if lines[-1] else word
        self._line()
        command = "$ " + " \\\n".join(lines)
        self._line(f"{self._in('2', who)} {self._in('36', command)}")

    def shown(self, output: str, most: int = 24, *, top: bool = False) -> None:
        """What a command printed; of a long one the middle is left out, or the end, and that is said."""
        lines = output.rstrip().splitlines()
        if len(lines) > most:
            first, last = (most, 0) if top else (most // 2, most // 2)
            left_out = f"… {len(lines) - first - last} more lines"
            lines = [*lines[:first], left_out, *lines[len(lines) - last :]]
        for line in lines:
            self._line(f"  {line}")

    def paste(self, lines: list[str]) -> None:
        """Lines to copy, with nothing before or after them."""
        self._line()
        for line in lines:
            self._line(line)

    def good(self, text: str) -> None:
        """Something that was checked just now and holds."""
        self._line(f"  {self._in('32', '✓')} {text}")

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Say what is waited for, and afterwards how long it took."""
        began = time.monotonic()
        if self._colour:
            self._out.write(f"  … {what}\r")
            self._out.flush()
        yield
        self._line(self._in("2", f"  … {what}: {time.monotonic() - began:.1f} s"))

    def _line(self, text: str = "") -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def _in(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text
