"""The newest rules on disk: the signed snapshot and the pages that it names.

The gateways of one machine share the folder, and are not always at the same rules: one after the other they
keep what is newer than what is there, and clear away what that does not name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from freehold.gateway.pages import Arriving, named
from freehold.spec.ids import digest_bytes
from freehold.spec.snapshot import Snapshot
from freehold.store.home import sync_folder, write_atomically
from freehold.store.lock import turn

PATIENCE = 2.0
"""Seconds to wait for another gateway that keeps something: it may be stopped for ever."""


class Shelf:
    """`current.json`, `pages/` beside it, and the lock for changing them."""

    def __init__(self, folder: Path, read: Callable[[bytes], Snapshot | None]) -> None:
        """`read` opens a signed snapshot; None for what is none."""
        self._current, self._pages, self._lock = folder / "current.json", folder / "pages", folder / "lock"
        self._read = read

    def current(self) -> bytes:
        """The signed snapshot. Raises FileNotFoundError before the first one."""
        return self._current.read_bytes()

    def lay(self, arriving: Arriving) -> None:
        """Take from here what it lacks; what is not here, or damaged, it goes on lacking."""
        for digest in arriving.lacks():
            try:
                text = self._page(digest).read_bytes()
            except OSError:
                continue
            if digest_bytes(text) == digest:
                arriving.take(digest, text)

    def keep(self, arriving: Arriving) -> None:
        """Make it what the next process begins with, unless what is here is newer.

        First its pages, then what names them, then what nobody names any more goes: if we crash between,
        what `current.json` names is there. Only what it names is known to be synced: the rest was left by
        who failed. Raises DiskFull, OSError; TurnTaken while another one that keeps does not go on.
        """
        with turn(self._lock, PATIENCE):
            kept = self._kept()
            if kept and kept.ix > arriving.snapshot.ix:
                return
            self._pages.mkdir(mode=0o700, exist_ok=True)
            pages = {self._page(page.digest): page for page in arriving.pages.values()}
            there = set(self._pages.iterdir())
            synced = there & {self._page(digest) for digest in named(kept)} if kept else set()
            new = {path: p for path, p in pages.items() if path not in synced or p.digest in arriving.fetched}
            for path, page in new.items():
                write_atomically(path, page.text, sync=False)
            _sync(new, self._pages)
            write_atomically(self._current, arriving.envelope)
            for path in there - pages.keys():
                path.unlink(missing_ok=True)

    def _page(self, digest: str) -> Path:
        return self._pages / digest.removeprefix("sha256:")

    def _kept(self) -> Snapshot | None:
        try:
            return self._read(self.current())
        except OSError:
            return None


def _sync(paths: Iterable[Path], folder: Path) -> None:
    """All of them written, then all of them synced: the first sync takes most of the others along."""
    if not (some := list(paths)):
        return
    for path in some:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
