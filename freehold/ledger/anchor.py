"""A second place for checkpoints: who rewrites the ledger here has to rewrite them there, too.

What is anchored is the signed checkpoint alone, some 200 bytes. The second place should be another
machine, account or medium, which takes and does not give back: a file that can only be appended to, a
bucket that keeps every version. Nothing is anchored that does not continue what was anchored before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeVar

from freehold.errors import Failure, Tampered, Unavailable
from freehold.ledger.tiles import TileFolder
from freehold.spec.merkle import Node, root
from freehold.spec.notes import Checkpoint, NoteWrong, VerifierKey, read_checkpoint
from freehold.spec.s3 import SCHEME, Place
from freehold.spec.s3 import place as s3_place
from freehold.store import s3
from freehold.store.home import sync_folder

NEWEST = "checkpoint"
KEPT = "checkpoints"
T = TypeVar("T")
LATEST = 1000
"""How many checkpoints of a bucket are read: each is a request of its own."""
_TAIL = 1 << 16
"""Bytes at the end of a file in which the last checkpoint is looked for: some hundred of them fit."""


class AnchorAway(Unavailable):
    """checkpoints cannot be kept in `{place}`"""


class AnchorBroken(Tampered):
    """this ledger does not continue what is anchored in `{place}`"""


class Anchor(Protocol):
    """A place for checkpoints."""

    place: str
    """As people name it."""

    def newest(self) -> str | None:
        """The signed note kept last, or none. Raises AnchorAway."""

    def every(self) -> Iterator[str]:
        """The signed notes that were kept, in their order. Raises AnchorAway."""

    def keep(self, note: str) -> None:
        """Keep one more; durable when this returns. Raises AnchorAway."""


class FileAnchor:
    """A file that only grows: one JSON object a line, `{"checkpoint": …}`.

    It can lie on another host's disk, and be made append-only there (`chattr +a`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = str(path)

    def newest(self) -> str | None:
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._away(error) from error
        return next((note for line in reversed(lines) if (note := _note_in(line)) is not None), None)

    def every(self) -> Iterator[str]:
        try:
            with self._path.open("rb") as file:
                yield from (note for line in file if (note := _note_in(line)) is not None)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._away(error) from error

    def keep(self, note: str) -> None:
        line = json.dumps({"checkpoint": note}).encode() + b"\n"
        try:
            fresh = not self._path.exists()
            with open(os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644), "rb+") as file:
                if _is_torn(file.fileno()):
                    line = b"\n" + line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if fresh:
                sync_folder(self._path.parent)
        except OSError as error:
            raise self._away(error) from error

    def _away(self, error: OSError) -> AnchorAway:
        return AnchorAway(
            place=self.place,
            why=error.strerror or str(error),
            hint="it goes on by itself when the place can be written again",
        )


class S3Anchor:
    """Objects in a bucket: each checkpoint under a name of its own, and the newest one under `checkpoint`.

    A bucket that keeps versions, or locks its objects, gives none of them back.
    """

    def __init__(self, at: Place) -> None:
        self._at = at
        self.place = str(at)

    def newest(self) -> str | None:
        data = self._asked(lambda: s3.get(self._at, NEWEST))
        return data.decode(errors="replace") if data is not None else None

    def every(self) -> Iterator[str]:
        for name in self._asked(lambda: s3.names(self._at, KEPT))[-LATEST:]:
            data = self._asked(lambda name=name: s3.get(self._at, f"{KEPT}/{name}"))  # type: ignore[misc]
            if data is not None:
                yield data.decode(errors="replace")

    def keep(self, note: str) -> None:
        data = note.encode()
        size = note.split("\n", 2)[1].zfill(20)
        self._asked(lambda: s3.put(self._at, f"{KEPT}/{size}", data))
        self._asked(lambda: s3.put(self._at, NEWEST, data))

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except Failure as failure:
            raise AnchorAway(
                place=self.place, why=f"{failure.what}: {failure.why}", hint=failure.hint
            ) from failure


def _is_torn(file: int) -> bool:
    """Whether the last line was cut off by a crash: it has no line feed."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


def _note_in(line: bytes) -> str | None:
    try:
        note = json.loads(line)["checkpoint"]
    except (ValueError, KeyError, TypeError):
        return None
    return note if isinstance(note, str) else None


def check(anchored: str, now: Checkpoint, key: VerifierKey, tiles: TileFolder, place: str) -> Checkpoint:
    """The anchored checkpoint, once it is shown that `now` continues it. Raises AnchorBroken."""
    return _checked(anchored, now, key, tiles.nodes(now.size), place)


def check_every(anchor: Anchor, newest: Callable[[], str | None], key: VerifierKey, tiles: TileFolder) -> int:
    """See that the newest checkpoint here continues each one that is kept there; how many these are.

    Each, not only the last: whoever took the ledger's key can add a checkpoint of a rewritten ledger to a
    place that only grows. What they cannot do is take away those from before. Raises AnchorAway,
    AnchorBroken, NoteWrong.
    """
    count, now = 0, None
    for note in anchor.every():
        if now is None or _size(note) > now.size:  # control goes on anchoring meanwhile
            now = read_checkpoint(newest() or "", key)
            node = lru_cache(1 << 16)(tiles.nodes(now.size))
        _checked(note, now, key, node, anchor.place)
        count += 1
    return count


def _size(note: str) -> int:
    """How many entries a note says it covers, whoever wrote it."""
    said = note.split("\n")[1:2]
    return int(said[0]) if said and said[0].isdecimal() and len(said[0]) < 20 else 0


def _checked(anchored: str, now: Checkpoint, key: VerifierKey, node: Node, place: str) -> Checkpoint:
    hint = "keep both as they are; when you restored a backup yourself, move the anchor aside and keep it"
    try:
        before = read_checkpoint(anchored, key)
    except NoteWrong as error:
        raise AnchorBroken(place=place, why=f"{error.what}: {error.why}", hint=hint) from error
    if before.size > now.size:
        why = f"{before.size} entries are anchored, it has {now.size}"
        raise AnchorBroken(place=place, why=why, hint=hint)
    if root(before.size, node) != before.root:
        why = f"its first {before.size} entries are not the ones that are anchored"
        raise AnchorBroken(place=place, why=why, hint=hint)
    return before


def anchor_of(place: str) -> Anchor:
    """The anchor that `freehold.yaml` names: a file's path, or `s3://BUCKET/PREFIX?…`."""
    return S3Anchor(s3_place(place)) if place.startswith(SCHEME) else FileAnchor(Path(place))
