"""Engines of bases: one process each, told in a small file which models it is to serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from freehold.engines import places
from freehold.store.home import Home
from freehold.supervise.kept import Kept, Part

TAMPERED = 8
"""The exit code of an engine whose base is not what was registered."""


class Generators:
    """The processes of all bases. Owned by the supervisor's main thread."""

    def __init__(self, home: Home, say: Callable[[str], None]) -> None:
        self._home, self._say = home, say
        self._served: dict[str, frozenset[str]] = {}
        self.kept: dict[str, Kept] = {}

    def keep(self, wanted: Mapping[str, frozenset[str]]) -> frozenset[str]:
        """Serve these models (base -> serving digests), and no others; those that are served no longer."""
        left: frozenset[str] = frozenset()
        for base in wanted.keys() | self.kept.keys():
            left |= self._tell(base, wanted.get(base, frozenset()))
        for base in wanted.keys() - self.kept.keys():
            self.kept[base] = self._process(base)
        for base in self.kept.keys() - wanted.keys():
            self._end(base)
        return left

    def _tell(self, base: str, digests: frozenset[str]) -> frozenset[str]:
        before = self._served.get(base)
        if before != digests:
            places.write_wanted(self._home, base, digests)
            self._served[base] = digests
        return (before or frozenset()) - digests

    def _end(self, base: str) -> None:
        kept = self.kept[base]
        if kept.wanted:
            kept.stop()
        elif kept.gone:
            del self.kept[base], self._served[base]
            places.wanted_path(self._home, base).unlink(missing_ok=True)

    def _process(self, base: str) -> Kept:
        short = base.removeprefix("sha256:")[:16]
        log = self._home.log / f"engine-base-{short}.log"

        def told(state: str, because: str) -> None:
            """What its models say for themselves while it runs is not to be written over."""
            if state == "running":
                return
            refused = state == "failed" and because.startswith("refused: ")
            for digest in self._served.get(base, ()):
                places.socket_path(self._home, digest).unlink(missing_ok=True)  # nobody is behind it
                places.write_state(
                    self._home,
                    digest,
                    "refused" if refused else state,
                    because.removeprefix("refused: "),
                )
            if state == "failed":
                said = because if refused else f"died: {because}"
                self._say(f"  {time.strftime('%H:%M:%S')}  engine of base {short[:8]} {said}")

        return Kept(
            Part(
                name=f"engine of base {short[:8]}",
                command=("generator", "--home", str(self._home.root), "--", "--base", base),
                log=log,
                folder=self._home.run,
                drains=15.0,
                told=told,
                word=lambda code: f"refused: {last_words(log)}" if code == TAMPERED else "",
            )
        )


def last_words(log: Path) -> str:
    """The `why` of the failure that an engine told last."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-6:]
    except OSError:
        return "see its log"
    why = [line.partition("why:")[2].strip() for line in lines if "why:" in line]
    return why[-1] if why else "see its log"
