"""One process at a time: locks that the kernel drops when their holder dies, however it dies.

On Postgres several controls may run on one folder: each shares its lock, and one of them leads.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from freehold.errors import Unavailable

SAYS = 1.0
"""Seconds after which whoever leads says again that it is there."""
PATIENCE = 10.0
"""Seconds of silence after which it does not lead any more."""


_LOOK_EVERY = 0.02


class AlreadyRunning(Unavailable):
    """Freehold runs on `{folder}` already"""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` while the block runs: control's for as long as it lives.

    The lock is on an open file, so a crash or `kill -9` leaves nothing to clean up; the number in the
    file only says whom to look for. Raises AlreadyRunning.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


class TurnTaken(Unavailable):
    """another process has its turn at `{path}` and does not end it"""


@contextmanager
def turn(path: Path, patience: float | None = None) -> Iterator[None]:
    """One after the other, of threads and of processes: wait for the lock on `path`, hold it in the block.

    `patience` is how many seconds are waited at most; then TurnTaken is raised.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if patience is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            _take_within(descriptor, path, patience)
        yield
    finally:
        os.close(descriptor)


def _take_within(descriptor: int, path: Path, patience: float) -> None:
    until = time.monotonic() + patience
    while not _is_free(descriptor):
        if time.monotonic() >= until:
            raise TurnTaken(path=path.name, why="it may be stopped", hint="end it, or let it go on")
        time.sleep(_LOOK_EVERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place among those that hold a folder's lock together."""

    first: bool
    """Whether nobody else was there; then nobody comes before `share`."""
    share: Callable[[], None]


@contextmanager
def together(folder: Path) -> Iterator[Place]:
    """Hold the lock of `folder` together with others, once whoever came first has shared it.

    What must be alone (`freehold recover`, `upgrade`) is kept out meanwhile. Raises AlreadyRunning.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        first = _is_free(descriptor)
        if not first:
            _take(descriptor, folder, fcntl.LOCK_SH)
        yield Place(first=first, share=lambda: fcntl.flock(descriptor, fcntl.LOCK_SH))
    finally:
        os.close(descriptor)


class Lead:
    """Who of several controls gives entries their places, moves journeys and sends notices.

    The lock lies beside the files that only one may write; every change in the database has a fence of
    its own beside it. Whoever leads does so until it ends; then the next one to look takes over. It also
    says every second that it is there: the lock of a process that was stopped, or whose machine stands
    still, would stay for ever. Who has said nothing for `patience` seconds loses the lead, and notices
    it before it does anything else.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        self._path = folder / "lead"
        self._patience = patience
        self._descriptor: int | None = None
        self._turn = threading.Lock()
        self._heard: tuple[object, float] | None = None
        """What the one that leads said last, and when it was new to us."""
        self._left = threading.Event()

    def held(self) -> bool:
        """Whether this process leads; it takes the lead when nobody has it."""
        with self._turn:
            if self._descriptor is None:
                return self._try()
            if not self._is_in_place(self._descriptor):  # we were silent, and another one took over
                self._let_go()
            return self._descriptor is not None

    def leave(self) -> None:
        """Let the next one lead."""
        with self._turn:
            self._let_go()

    def _try(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _is_free(descriptor):
            if self._is_in_place(descriptor):
                self._begin(descriptor)
                return True
        elif self._is_silent(descriptor):
            os.close(descriptor)
            return self._take_over()
        os.close(descriptor)
        return False

    def _is_silent(self, descriptor: int) -> bool:
        """Whether whoever leads has said nothing new for long, by our own count of time."""
        said = os.fstat(descriptor).st_ino, os.pread(descriptor, 64, 0)
        if self._heard is None or self._heard[0] != said:
            self._heard = said, time.monotonic()
        return time.monotonic() - self._heard[1] > self._patience

    def _take_over(self) -> bool:
        """A file of our own in the place of the silent one's: its lock means nothing from then on.

        One at a time; who comes second hears the first one.
        """
        with open(self._path.with_name("lead.next"), "ab") as after_another:
            if not _is_free(after_another.fileno()) or not self._is_silent_still():
                return False
            ours = self._path.with_name(f"lead.{secrets.token_hex(4)}")
            descriptor = os.open(ours, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.rename(ours, self._path)
            self._begin(descriptor)
        return True

    def _is_silent_still(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            return self._is_silent(descriptor)
        finally:
            os.close(descriptor)

    def _is_in_place(self, descriptor: int) -> bool:
        """Whether a lock on this file is the one that counts."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _begin(self, descriptor: int) -> None:
        self._descriptor, self._left = descriptor, threading.Event()
        says = threading.Thread(target=self._say, args=(descriptor, self._left), name="lead", daemon=True)
        says.start()

    def _say(self, descriptor: int, left: threading.Event) -> None:
        """Again and again: we are there. While we are stopped, this is, too."""
        for count in itertools.count():
            with self._turn:
                if left.is_set():
                    return
                with suppress(OSError):  # a disk that takes nothing: another one may do better
                    os.pwrite(descriptor, f"{os.getpid()} {count}\n".encode(), 0)
            left.wait(SAYS)

    def _let_go(self) -> None:
        if self._descriptor is not None:
            self._left.set()
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def marked(path: Path) -> Iterator[None]:
    """Whoever wrote this file lives while the block runs, for `is_marked` of others."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_marked(path: Path) -> bool:
    """Whether somebody lives who marked this file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_free(descriptor: int) -> bool:
    """Take the lock alone, if nobody holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(descriptor: int, folder: Path, how: int = fcntl.LOCK_EX) -> None:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        raise AlreadyRunning(
            folder=folder,
            why=f"process {holder} holds its lock" if holder else "another process holds its lock",
            hint="stop it first, or choose another folder with FREEHOLD_HOME",
        ) from None
