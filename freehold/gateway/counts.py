"""What was used lately: a small file per scope that every gateway of a serving folder maps into memory.

A scope is a service, a key, a project, a key or a person at a service. Its file holds the requests and
tokens of the last minute by the second, the money of the day, and how many run at once, by process. All
of it is read and changed under one lock, held for microseconds, so that what is allowed together is
allowed exactly once, however many processes ask. A process that dies gives its places back (the lock of
its seat goes with it, and whoever sits there next is somebody else) and nothing else.

Memory that is mapped survives a process, not the machine: money is therefore also written through to
the disk, in blocks that shrink as a limit comes near. After a power cut a begun block counts as spent.
The disk is asked beside the event loop and without the lock: one that does not answer holds up nobody else.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import mmap
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from freehold.errors import Unavailable
from freehold.gateway.elapsed import boot
from freehold.store.ballast import reserve
from freehold.store.home import sync_folder

SECONDS = 64
"""Seconds of the ring: the last sixty, and the one that runs."""
SEATS = 64
"""Gateway processes on one serving folder at most."""
MAPPED = 4096
"""Scopes that a process keeps at hand."""
OLD = 2 * 86_400
"""Seconds after which nobody asks any more what a scope used."""
_BOOT, _DAY, _SPENT, _SURE, _KEPT, _RING = 0, 1, 2, 3, 4, 5
_TOP = 2**62
"""More than any limit: a provider may claim to have used whatever it likes."""
_SEATED = _RING + 3 * SECONDS
_WHO = _SEATED + SEATS
WORDS = _WHO + SEATS
"""Whole numbers of 8 bytes in a file."""


Kept = tuple[int, int]
"""A day, and what the disk has as spent on it."""


class CountsUnusable(Unavailable):
    """what was used lately cannot be read or written, so nothing more is used"""

    denies = True


class SeatsTaken(Unavailable):
    """{most} gateways serve from this folder already"""


class Row:
    """One scope's numbers. Only to be touched under the lock."""

    __slots__ = ("_map", "_seat", "_who", "_words")

    def __init__(self, mapped: mmap.mmap, seat: int, who: int) -> None:
        self._map, self._seat, self._who = mapped, seat, who
        self._words = memoryview(mapped).cast("q")

    def used(self, second: int) -> tuple[int, int]:
        """Requests and tokens of the minute that ends with `second`.

        A whole second counts as long as any of it does: at most a second too long, never too short.
        """
        words = self._words
        requests = tokens = 0
        for place in range(_RING, _RING + 3 * SECONDS, 3):
            if second - 60 <= words[place] <= second:
                requests += words[place + 1]
                tokens += words[place + 2]
        return requests, tokens

    def frees(self, second: int, kind: int, need: int) -> int:
        """In how many seconds `need` of `kind` (1 requests, 2 tokens) will be a minute old."""
        words, gone = self._words, 0
        for age in range(60, -1, -1):
            place = _RING + 3 * ((second - age) % SECONDS)
            if words[place] == second - age:
                gone += words[place + kind]
                if gone >= need:
                    return 61 - age
        return 61

    def add(self, second: int, requests: int, tokens: int) -> None:
        """Count what begins in `second`, which is the one that runs."""
        words, place = self._words, _RING + 3 * (second % SECONDS)
        if words[place] != second:
            words[place], words[place + 1], words[place + 2] = second, 0, 0
        words[place + 1] += requests
        words[place + 2] += tokens

    def correct(self, second: int, tokens: int) -> None:
        """More or fewer tokens than were counted in `second`, as long as that is still in the ring."""
        words, place = self._words, _RING + 3 * (second % SECONDS)
        if words[place] == second:
            words[place + 2] = max(0, words[place + 2] + tokens)

    def spent(self, day: int) -> int:
        """Billionths of the currency spent on this day."""
        return self._words[_SPENT] if self._words[_DAY] in (day, day + 1) else 0

    def spend(self, day: int, amount: int, block: int = 0) -> None:
        """Add to the day's sum, or give back; what comes back after midnight has nowhere to go.

        A request from before midnight that spends after it spends of the new day: going back to the old
        one would forget what the new one has spent. What goes beyond what the disk is to have as spent
        raises that, with `block` more: see `unkept`.
        """
        words = self._words
        if words[_DAY] != day:
            if amount < 0:
                return
            if words[_DAY] != day + 1:
                words[_DAY], words[_SPENT], words[_SURE], words[_KEPT] = day, 0, 0, 0
        words[_SPENT] = min(_TOP, max(0, words[_SPENT] + amount))
        if words[_SPENT] > words[_SURE]:
            words[_SURE] = min(_TOP, words[_SPENT] + block)

    def unkept(self) -> Kept | None:
        """What the disk has to have before any of what was added is spent; None when it has it."""
        words = self._words
        return (words[_DAY], words[_SURE]) if words[_SPENT] > words[_KEPT] else None

    def kept(self, kept: Kept) -> None:
        """The disk has it."""
        day, sure = kept
        if self._words[_DAY] == day:
            self._words[_KEPT] = max(self._words[_KEPT], sure)

    def lacks(self, kept: Kept) -> bool:
        """Whether the disk still has to have it; what is of an earlier day, nobody asks for any more."""
        day, sure = kept
        return self._words[_DAY] == day and self._words[_KEPT] < sure

    def after_a_cut(self, start: int) -> None:
        """The machine was off since: what was written through counts as spent, and nothing runs.

        Its seconds began anew: those of before would lie in a future that no request reaches.
        """
        words = self._words
        if words[_BOOT] != start:
            words[_SPENT] = words[_KEPT] = words[_SURE]
            for place in range(_RING, WORDS):
                words[place] = 0
            words[_BOOT] = start

    def running(self) -> int:
        """How many run at this moment, in all processes."""
        return sum(self._words[_SEATED : _SEATED + SEATS])

    def begin(self, change: int) -> None:
        """One more runs here, or one less."""
        words, seat = self._words, self._seat
        if words[_WHO + seat] != self._who:  # of somebody who sat here before
            words[_WHO + seat], words[_SEATED + seat] = self._who, 0
        words[_SEATED + seat] = max(0, words[_SEATED + seat] + change)

    def leave(self, sits: Callable[[int], int]) -> None:
        """Give back the places of everybody who is gone; `sits` says who sits on a seat, 0 for nobody."""
        words = self._words
        for seat in range(SEATS):
            if words[_SEATED + seat] and words[_WHO + seat] != sits(seat):
                words[_SEATED + seat] = 0

    def close(self) -> None:
        """Let the file go."""
        self._words.release()
        self._map.close()


class Counts:
    """The folder. Each process has one of these, and a seat."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._start = int.from_bytes(hashlib.sha256(boot().encode()).digest()[:7])
        with _on_disk(folder):
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            self._who = int.from_bytes(os.urandom(7)) or 1
            self._seat, self._seat_file = self._sit()

    @contextmanager
    def rows(self, names: tuple[str, ...]) -> Iterator[tuple[Row, ...]]:
        """The numbers of some scopes, nobody else's hand in them meanwhile. Raises CountsUnusable."""
        with _on_disk(self._folder), self._locked():
            yield tuple(self._row(name) for name in names)

    def keep(self, names: Iterable[str]) -> None:
        """Have the disk keep these scopes' files; takes as long as the disk does, and no lock is held."""
        with _on_disk(self._folder):
            for name in names:
                file = os.open(self._path(name), os.O_RDWR)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
            sync_folder(self._folder)  # one of them may be new

    def sits(self, seat: int) -> int:
        """Who sits there, by the number each process draws for itself; 0 when nobody does.

        To be asked under the lock: then nobody who sits down meanwhile can have begun anything.
        """
        if seat == self._seat:
            return self._who
        try:
            file = os.open(self._folder / f"seat-{seat}", os.O_RDWR)
        except FileNotFoundError:
            return 0
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int.from_bytes(os.pread(file, 8, 0))
        finally:
            os.close(file)
        return 0

    def let_go(self) -> None:
        """Let go of every file at hand, so that none is counted on in which is removed."""
        for row in self._rows.values():
            row.close()
        self._rows.clear()

    def sweep(self, now: float) -> int:
        """Remove what nobody asked for in two days; how many. Runs beside everything else.

        Each file is looked at again under the lock, which is held for that one alone: there may be a
        hundred thousand of them.
        """
        gone = 0
        with _on_disk(self._folder):
            lock = os.open(self._folder / "lock", os.O_RDWR)  # threads would share the other
            try:
                for entry in os.scandir(self._folder):
                    if len(entry.name) == 64 and _touched(entry) < now - OLD:
                        gone += _remove(entry.path, lock, now)
            finally:
                os.close(lock)
        return gone

    def close(self) -> None:
        """Leave the seat."""
        self.let_go()
        os.close(self._seat_file)
        os.close(self._lock)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _row(self, name: str) -> Row:
        row = self._rows.get(name)
        if row is not None:
            self._rows.move_to_end(name)
            return row
        if len(self._rows) >= MAPPED:
            self._rows.popitem(last=False)[1].close()
        row = self._rows[name] = Row(self._mapped(name), self._seat, self._who)
        row.after_a_cut(self._start)
        return row

    def _mapped(self, name: str) -> mmap.mmap:
        """A scope's file."""
        file = os.open(self._path(name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(file).st_size < WORDS * 8:
                reserve(file, WORDS * 8)  # a hole that finds no room later would kill us
            return mmap.mmap(file, WORDS * 8)
        finally:
            os.close(file)

    def _path(self, name: str) -> Path:
        """Its name says nothing of whose it is."""
        return self._folder / hashlib.sha256(name.encode()).hexdigest()

    def _sit(self) -> tuple[int, int]:
        for seat in range(SEATS):
            file = os.open(self._folder / f"seat-{seat}", os.O_RDWR | os.O_CREAT, 0o600)
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.pwrite(file, self._who.to_bytes(8), 0)
                return seat, file
            os.close(file)
        raise SeatsTaken(most=SEATS, hint="stop some of them")


def _touched(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _remove(path: str, lock: int, now: float) -> int:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        if os.stat(path).st_mtime >= now - OLD:
            return 0
        os.unlink(path)
        return 1
    except FileNotFoundError:
        return 0  # another gateway sweeps, too
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"the disk says: {error.strerror}"
        raise CountsUnusable(why=why, hint=f"see the folder {folder.name}") from error
