"""A disk of a few megabytes that is really full, really broken, or really stands still.

A file with an ext4 in it, mounted through a loop device. It is filled by a file beside the others, broken
by taking its device's end away (the kernel then answers EIO), and stands still while it is frozen.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SIZE = 64 << 20
KEPT = 1 << 20
"""Bytes that a broken one still has: its superblock, and hardly anything else."""
FREEZE, THAW = 0xC0045877, 0xC0045878


class SmallDisk:
    """Mounted at `place` while the block runs. Its owner may write there, as on any disk."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image, self.place = image, place
        self._device = ""

    def __enter__(self) -> SmallDisk:
        needed = ("mkfs.ext4", "losetup", "mount")
        if missing := [name for name in needed if shutil.which(name, path=_PATH) is None]:
            pytest.skip(f"this machine has no {missing[0]}: no loop disk to break")
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(self.image))
        try:
            self._device = _run("losetup", "--find", "--show", str(self.image))
            self.mount()
        except subprocess.CalledProcessError as error:
            self._detach()
            pytest.skip(f"this machine lets nobody mount a loop disk: {error.stderr.strip()[-80:]}")
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", str(self.place))  # where a test failed, somebody may still be in it
        self._detach()

    def mount(self) -> None:
        _run("mount", "-o", "errors=continue", self._device, str(self.place))
        self.place.chmod(0o700)

    def unmount(self) -> None:
        """What is not on it by now is lost: nothing of it stays in memory."""
        _run("umount", str(self.place))

    def _detach(self) -> None:
        if self._device:
            _run("losetup", "--detach", self._device)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is free."""
        other = self.place / "somebody-elses"
        with other.open("wb") as file:
            piece = 1 << 20
            while piece:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2
        try:
            yield
        finally:
            other.unlink()

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Whatever is written to it is answered with an input/output error."""
        with self.image.open("r+b") as file:
            file.seek(KEPT)
            rest = file.read()
            file.truncate(KEPT)
        _run("losetup", "--set-capacity", self._device)
        try:
            yield
        finally:
            with self.image.open("r+b") as file:
                file.seek(KEPT)
                file.write(rest)
            _run("losetup", "--set-capacity", self._device)

    @contextmanager
    def still(self) -> Iterator[None]:
        """It answers nothing that is written, until it goes on."""
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, FREEZE, 0)
            yield
        finally:
            with suppress(OSError):
                fcntl.ioctl(folder, THAW, 0)
            os.close(folder)


_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def _run(program: str, *words: str) -> str:
    found = shutil.which(program, path=_PATH) or program
    done = subprocess.run([found, *words], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
