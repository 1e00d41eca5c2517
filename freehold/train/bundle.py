"""Files of a folder as one stream, and back: a line of JSON that names them, then their bytes in order.

Whoever unpacks believes nothing: a path that leads elsewhere, a byte too few or too many is refused,
and what was written goes with its folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from freehold.errors import BadInput
from freehold.spec.model import FileEntry

PIECE = 1 << 20
MAX_HEAD = 1_000_000
MAX_FILES = 1000

_PATH = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,119}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,119}){0,3}$")


class BundleUnusable(BadInput):
    """the stream of files cannot be taken"""


def pack(folder: Path, files: Sequence[FileEntry]) -> Iterator[bytes]:
    """The stream of these files of a folder."""
    said = [{"path": entry.path, "bytes": entry.bytes} for entry in files]
    yield json.dumps({"files": said}).encode() + b"\n"
    for entry in files:
        with (folder / entry.path).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


class Unpacking:
    """Takes a stream in pieces of any size and writes its files below `folder`."""

    def __init__(self, folder: Path, *, most: int) -> None:
        self._folder = folder
        self._most = most
        self._head = bytearray()
        self._waiting: list[tuple[str, int]] | None = None
        self._open: BinaryIO | None = None
        self._left = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece. Raises BundleUnusable."""
        view = memoryview(piece)
        if self._waiting is None:
            line, found, rest = bytes(view).partition(b"\n")
            self._head += line
            if len(self._head) > MAX_HEAD:
                raise BundleUnusable(why="it does not begin with a line that names its files")
            if not found:
                return
            self._waiting = self._read_head()
            view = memoryview(rest)
            self._next()
        while len(view):
            if self._open is None:
                raise BundleUnusable(why="it is longer than its files")
            part = view[: self._left]
            self._open.write(part)
            self._left -= len(part)
            view = view[len(part) :]
            self._next()

    def _next(self) -> None:
        """Begin the next file once the last one is whole; empty ones are whole at once."""
        while self._left == 0:
            self.close()
            if not self._waiting:
                return
            path, self._left = self._waiting.pop(0)
            target = self._folder / path
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open = target.open("xb")

    def finish(self) -> None:
        """Say that the stream has ended. Raises BundleUnusable when something is missing."""
        whole = self._waiting == [] and self._open is None
        self.close()
        if not whole:
            raise BundleUnusable(why="it ended before its last file did", hint="send it again")

    def close(self) -> None:
        """Give the open file back; closing twice is fine."""
        if self._open is not None:
            self._open.close()
        self._open = None

    def _read_head(self) -> list[tuple[str, int]]:
        try:
            said = json.loads(bytes(self._head))["files"]
            files = [(one["path"], one["bytes"]) for one in said]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BundleUnusable(why="its first line does not name its files") from error
        for path, size in files:
            fits = isinstance(path, str) and _PATH.fullmatch(path) and type(size) is int and size >= 0
            if not fits:
                raise BundleUnusable(why=f"`{str(path)[:80]}` is no path of a file in it")
        names = {path for path, _ in files}
        if any(str(folder) in names for name in names for folder in PurePosixPath(name).parents):
            raise BundleUnusable(why="one of its files is the folder of another one")
        if not 0 < len(files) <= MAX_FILES or len(names) < len(files):
            raise BundleUnusable(why=f"it holds between 1 and {MAX_FILES} files, each once")
        if sum(size for _, size in files) > self._most:
            raise BundleUnusable(why=f"it holds more than the {self._most:,} bytes that are free here")
        return files
