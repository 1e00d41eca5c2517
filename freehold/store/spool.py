"""What a gateway keeps until control has taken it in: a folder of segments, written frame after frame.

One process at a time owns a spool (a lock that the kernel drops when it dies). A batch of records is
one write and one fdatasync; only then are they acknowledged. Reopening recognises a torn tail and
cuts it off, refuses a spool in which durable bytes changed, and tells which matters were begun and
never ended. Segments are removed once control has acknowledged them and nothing in them is open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from freehold.errors import Tampered, Unavailable
from freehold.spec.ids import new_id
from freehold.store.frames import NO_MATTER, Frame, Mark, Scan, genesis, head_of, pass_one, scan
from freehold.store.home import sync_folder

SEGMENT = 4 << 20
"""Bytes after which a new segment begins."""
_UNNAMED, _LEAVING = "new-", "."
"""Before the name of a spool that is being made, or removed."""


class SpoolInUse(Unavailable):
    """the spool `{name}` belongs to another process"""


class SpoolDamaged(Tampered):
    """the spool `{name}` is damaged in `{segment}` at byte {offset}"""


class SpoolUnwritable(Unavailable):
    """nothing can be recorded, so nothing is answered"""

    recorded = True
    """False where there was nothing to record either: it did not begin."""
    full = False
    """Whether the disk has no room, rather than a fault."""


class Note(msgspec.Struct, frozen=True):
    """What to append: bytes, and which matter they begin or end, if any."""

    payload: bytes
    mark: Mark = Mark.NOTE
    matter: bytes = NO_MATTER


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    last: int
    """The last sequence in it; `first - 1` while it is empty."""
    size: int
    """Bytes that are durable."""


class Spool:
    """An open spool. `commit` belongs to one thread; the rest may be called from any."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder = folder
        self._lock_file = lock
        self._guard = threading.Lock()
        self._segments: list[_Segment] = []
        self._head = genesis(folder.name)
        self._durable = 0
        self._acknowledged = 0
        self._open: dict[bytes, Frame] = {}
        self._file = -1
        self._broken = False
        self._place: tuple[_Segment, int, int] | None = None
        self.syncs = 0
        """How often the disk was asked to keep something: at most two for each answer."""
        self.torn = 0
        """Bytes cut off at reopening: the last, unacknowledged write of whoever had it before."""

    # -- opening ------------------------------------------------------------------------------------

    @classmethod
    def create(cls, parent: Path) -> Spool:
        """A new spool in a folder of its own below `parent`.

        It gets its name when it is ours: another gateway that looks for what was left behind would take it.
        """
        while True:
            name = new_id("spl")
            unnamed = parent / f"{_UNNAMED}{name}"
            unnamed.mkdir(mode=0o700)
            try:
                folder, lock = _named(unnamed, parent / name)
            except (SpoolInUse, FileNotFoundError):  # `sweep` was quicker than our lock: make another one
                continue
            sync_folder(parent)
            return cls._taken(folder, lock)

    @classmethod
    def open(cls, folder: Path) -> Spool:
        """Take the spool, check every frame, cut off a torn tail, and make what is left durable.

        Raises SpoolInUse, or SpoolDamaged when bytes that had been durable are not what they were.
        """
        return cls._taken(folder, _locked(folder))

    @classmethod
    def _taken(cls, folder: Path, lock: int) -> Spool:
        spool = cls(folder, lock)
        try:
            with spool._disk():
                spool._recover()
        except BaseException:
            spool.close()
            raise
        return spool

    def _recover(self) -> None:
        paths = sorted(self._folder.glob("*.frames"))
        head: bytes | None = genesis(self.id) if not paths or _first(paths[0]) == 1 else None
        for path in paths:
            found = scan(path.read_bytes(), sequence=_first(path), head=head)
            self._check(path, found, is_last=path == paths[-1])
            self._take(path, found)
            head = found.head
        self._head = head or self._head
        self._acknowledged = self._segments[0].first - 1 if self._segments else 0
        if self._segments:
            self._file = os.open(self._segments[-1].path, os.O_RDWR)
            self._cut()

    def _check(self, path: Path, found: Scan, *, is_last: bool) -> None:
        trouble = found.trouble
        lost_anchor = found.head is None  # nothing readable, and nothing before it to go on from
        if trouble is None and not lost_anchor:
            return
        if trouble is None or trouble.damaged or lost_anchor or not is_last:
            raise SpoolDamaged(
                name=self.id,
                segment=path.name,
                offset=found.length,
                why=f"{trouble.why if trouble else 'it is empty'}, though it had been written durably",
                hint="keep its folder as evidence; what control acknowledged is safe there",
            )
        self.torn = path.stat().st_size - found.length

    def _take(self, path: Path, found: Scan) -> None:
        first = _first(path)
        last = found.frames[-1].sequence if found.frames else first - 1
        if self._segments and first != self._segments[-1].last + 1:
            raise SpoolDamaged(
                name=self.id, segment=path.name, offset=0, why="a segment before it is missing"
            )
        self._segments.append(_Segment(path, first, last, found.length))
        self._durable = last
        for frame in found.frames:
            self._follow(frame)

    def _follow(self, frame: Frame) -> None:
        if frame.mark is Mark.BEGINS:
            self._open[frame.matter] = frame
        elif frame.mark is Mark.ENDS:
            self._open.pop(frame.matter, None)

    # -- what it is ---------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._folder

    @property
    def id(self) -> str:
        """Its folder's name, unique everywhere."""
        return self._folder.name

    @property
    def durable(self) -> int:
        """The last sequence that is on disk; 0 when there is none."""
        return self._durable

    @property
    def acknowledged(self) -> int:
        """The last sequence control has taken in, as far as we know."""
        return self._acknowledged

    @property
    def size(self) -> int:
        """Bytes on disk that are not trimmed yet."""
        with self._guard:
            return sum(segment.size for segment in self._segments)

    @property
    def unfinished(self) -> tuple[Frame, ...]:
        """Beginnings without an end."""
        with self._guard:
            return tuple(self._open.values())

    # -- writing ------------------------------------------------------------------------------------

    def commit(self, notes: Sequence[Note]) -> int:
        """Append all of `notes` with one write and one fdatasync; return the last sequence.

        Raises SpoolUnwritable when the disk refuses; then none of them is there, and the next call
        tries again: it recovers when the disk does.
        """
        frames, encoded = self._frames(notes)
        with self._disk():
            if not self._segments or self._segments[-1].size >= SEGMENT:
                self._new_segment()
            self._write(b"".join(encoded))
        with self._guard:
            self._head = head_of(encoded[-1])
            self._durable = self._segments[-1].last = frames[-1].sequence
            self._segments[-1].size += sum(map(len, encoded))
            for frame in frames:
                self._follow(frame)
        return self._durable

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Clean up after an earlier failure first, and remember a new one."""
        try:
            if self._broken:
                self._cut()
            yield
        except OSError as error:
            self._broken = True
            failure = SpoolUnwritable(
                why=f"the spool's disk says: {error.strerror or error}",
                hint="free space or repair the disk; it goes on by itself",
            )
            failure.full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise failure from error

    def _frames(self, notes: Sequence[Note]) -> tuple[list[Frame], list[bytes]]:
        frames: list[Frame] = []
        encoded: list[bytes] = []
        head, durable = self._head, self._durable
        for sequence, note in enumerate(notes, durable + 1):
            frame = Frame(sequence, durable + 1, note.mark, note.matter, head, note.payload)
            frames.append(frame)
            encoded.append(frame.encode())
            head = head_of(encoded[-1])
        return frames, encoded

    def _write(self, data: bytes) -> None:
        offset = self._segments[-1].size
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, offset)
            offset, view = offset + written, view[written:]
        self.syncs += 1
        _sync(self._file)

    def _new_segment(self) -> None:
        first = self._durable + 1
        path = self._folder / f"{first:020d}.frames"
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        previous, self._file = self._file, file
        if previous >= 0:
            os.close(previous)
        with self._guard:
            self._segments.append(_Segment(path, first, first - 1, 0))
        sync_folder(self._folder)

    def _cut(self) -> None:
        """Drop whatever a failed or torn write left behind, durably, before anything follows it."""
        if self._segments:
            os.ftruncate(self._file, self._segments[-1].size)
            os.fsync(self._file)
            sync_folder(self._folder)
        self._broken = False

    # -- shipping and trimming ----------------------------------------------------------------------

    def read(self, after: int, limit: int = 1 << 20) -> bytes:
        """Whole durable frames after sequence `after`, `limit` bytes or one frame."""
        with self._guard:
            segment = next((s for s in self._segments if s.last > after), None)
            place = self._place
        if segment is None:
            return b""
        offset, sequence = 0, segment.first - 1
        if place is not None and place[0] is segment and place[2] <= after:
            _, offset, sequence = place
        data, end = self._frames_from(segment, offset, sequence, after, limit)
        if data:
            self._place = (segment, *end)
        return data

    def _frames_from(
        self, segment: _Segment, offset: int, sequence: int, after: int, limit: int
    ) -> tuple[bytes, tuple[int, int]]:
        with segment.path.open("rb") as file:
            file.seek(offset)
            data = file.read(segment.size - offset)
        start = at = 0
        while at < len(data) and (sequence < after or at - start < limit):
            read = pass_one(data, at)
            if isinstance(read, str):
                raise SpoolDamaged(name=self.id, segment=segment.path.name, offset=offset + at, why=read)
            found, end = read
            if at > start and end - start > limit:
                break
            sequence, at = found, end
            if sequence <= after:
                start = at
        return data[start:at], (offset + at, sequence)

    def acknowledge(self, sequence: int) -> None:
        """Control has taken in everything up to `sequence`: remove the segments nothing needs any more.

        A segment stays while a matter that began in it is open, and the last durable frame stays
        always, because the chain goes on from it.
        """
        with self._guard:
            self._acknowledged = max(self._acknowledged, min(sequence, self._durable))
            keep_from = min((frame.sequence for frame in self._open.values()), default=self._durable + 1)
            bar = min(self._acknowledged + 1, keep_from)
            gone: list[_Segment] = []
            while len(self._segments) > 1 and self._segments[0].last < bar and self._segments[1].size:
                gone.append(self._segments.pop(0))
        for segment in gone:
            segment.path.unlink(missing_ok=True)

    def turn_over(self) -> None:
        """Begin a new segment although the old one is not full, so that the old one can be trimmed.

        Sealed words should not lie here longer than control needs to take them in.
        """
        if not self._segments or not self._segments[-1].size:
            return
        with contextlib.suppress(SpoolUnwritable):  # it is tidying up: the old segment does as well
            with self._disk():
                self._new_segment()
            self.commit([Note(b"")])

    def remove(self) -> None:
        """Delete the spool: everything in it was acknowledged and nothing is open."""
        leaving = self._folder.with_name(f"{_LEAVING}{self.id}")
        self._folder.rename(leaving)  # at once, so that nobody opens what is half removed
        sync_folder(leaving.parent)
        shutil.rmtree(leaving, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Give the spool back; the next owner may open it."""
        for descriptor in (self._file, self._lock_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock_file = -1


def _sync(file: int) -> None:
    """What was written is on the disk when this returns; macOS has another word for it."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(file)
    else:
        fcntl.fcntl(file, getattr(fcntl, "F_FULLFSYNC", fcntl.F_GETFD))
        os.fsync(file)


def _first(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _locked(folder: Path) -> int:
    """The lock of a spool, held: a file descriptor. Raises SpoolInUse."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SpoolInUse(name=folder.name, why="its process is alive") from None
    return lock


def _named(unnamed: Path, folder: Path) -> tuple[Path, int]:
    """A spool that was made gets its name, under its lock; both. Raises SpoolInUse, FileNotFoundError."""
    lock = _locked(unnamed)
    try:
        return unnamed.rename(folder), lock
    except BaseException:
        os.close(lock)
        raise


def sweep(parent: Path) -> int:
    """Delete what a killed process left half made or half removed: nothing in it is needed; how many."""
    gone = 0
    for path in [*parent.glob(f"{_UNNAMED}spl_*"), *parent.glob(f"{_LEAVING}spl_*")]:
        try:
            lock = _locked(path)
        except (SpoolInUse, OSError):  # somebody is at it, or the disk is full: there is a next time
            continue
        try:
            shutil.rmtree(path, ignore_errors=True)  # under the lock: whoever makes it cannot name it now
        finally:
            os.close(lock)
        gone += 1
    return gone


def left_behind(parent: Path) -> list[Path]:
    """The folders of spools below `parent`, ours and those of dead and living others."""
    return sorted(path for path in parent.iterdir() if path.is_dir() and path.name.startswith("spl_"))
