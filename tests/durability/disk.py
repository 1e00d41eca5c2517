"""What a power cut leaves of the files that a process wrote: worked out from the record of what it did.

A disk that keeps what it was told to sync and nothing else for sure, as POSIX has it and no stronger:

- of a file, what was written since its last sync may be there page by page (4096 bytes, each as it was
  after any of its writes, some torn between two of them at a sector of 512), and its length may be any
  it had since;
- of a folder, what changed in it since its last sync may be there up to any moment, in its order. To
  sync a file does not sync its name;
- a rename within one folder is there or not; one between two folders is two changes.

File systems keep more than that (ext4 writes a new file's name when the file is synced); what survives
here survives there.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PAGE, SECTOR = 4096, 512
_LINE = struct.Struct("<ciqII")

Outcome = Literal["lost", "kept", "mixed"]
"""Of everything unsynced: nothing, everything, or whatever chance leaves."""


@dataclass(frozen=True, slots=True)
class Event:
    """One call that was recorded."""

    op: str
    """Open, Close, Write, Truncate, Sync, G (sync of everything), Rename, Unlink, M (folder made), X (folder
    removed), A (somebody was told)."""
    fd: int
    offset: int
    path: str
    data: bytes

    @property
    def writes(self) -> bool:
        """Whether it changes what is, or may come to be, on the disk."""
        return self.op in "WTRUMXSG" or (self.op == "O" and bool(self.offset & (os.O_CREAT | os.O_TRUNC)))


def events(record: Path) -> Iterator[Event]:
    """Everything that was recorded, in order."""
    data = record.read_bytes()
    at = 0
    while at < len(data):
        op, fd, offset, path_length, length = _LINE.unpack_from(data, at)
        at += _LINE.size
        path = data[at : at + path_length].decode()
        at += path_length
        yield Event(op.decode(), fd, offset, path, data[at : at + length])
        at += length


@dataclass(slots=True, eq=False)
class File:
    """What is durable of it, and what was done since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data) of a write; (size, None) of a truncation."""

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, *change)
        self.pending.clear()

    def after(self, outcome: Outcome, draw: random.Random) -> bytes:
        """Its bytes after the cut."""
        if outcome == "lost" or not self.pending:
            return bytes(self.durable)
        now = bytearray(self.durable)
        if outcome == "kept":
            for change in self.pending:
                _apply(now, *change)
            return bytes(now)
        return self._mixed(now, draw)

    def _mixed(self, now: bytearray, draw: random.Random) -> bytes:
        sizes, pages = [len(now)], dict[int, list[bytes]]()
        for change in self.pending:
            touched = _touched(now, *change)
            for page in touched:
                pages.setdefault(page, [_page(now, page)])
            _apply(now, *change)
            sizes.append(len(now))
            for page in touched:
                pages[page].append(_page(now, page))
        size = draw.choice(sizes)
        left = bytearray(self.durable[:size].ljust(size, b"\0"))
        for page, versions in pages.items():
            if page * PAGE < size:
                left[page * PAGE : (page + 1) * PAGE] = _torn(versions, draw)
        del left[size:]
        return bytes(left)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(max(0, offset - len(content))))
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _touched(content: bytearray, offset: int, data: bytes | None) -> range:
    end = len(content) if data is None else offset + len(data)
    return range(offset // PAGE, -(-end // PAGE))


def _page(content: bytearray, number: int) -> bytes:
    return bytes(content[number * PAGE : (number + 1) * PAGE]).ljust(PAGE, b"\0")


def _torn(versions: list[bytes], draw: random.Random) -> bytes:
    """The page as it was at some moment; now and then torn between two of them."""
    at = draw.randrange(len(versions))
    if at == 0 or draw.random() > 0.25:
        return versions[at]
    cut = SECTOR * draw.randrange(1, PAGE // SECTOR)
    ends = [versions[at][:cut] + versions[at - 1][cut:], versions[at - 1][:cut] + versions[at][cut:]]
    return draw.choice(ends)


@dataclass(slots=True, eq=False)
class Folder:
    """Names that are durable, names as they are, and what was done between."""

    durable: dict[str, File | Folder] = field(default_factory=dict)
    now: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[tuple[tuple[str, File | Folder | None], ...]] = field(default_factory=list)
    """Each change is one or two names with what they stand for then; none for a name that is gone."""

    def change(self, *names: tuple[str, File | Folder | None]) -> None:
        self.pending.append(names)
        _name(self.now, names)

    def sync(self) -> None:
        for names in self.pending:
            _name(self.durable, names)
        self.pending.clear()

    def after(self, outcome: Outcome, draw: random.Random) -> dict[str, File | Folder]:
        """Its names after the cut."""
        if outcome == "kept":
            return self.now
        left = dict(self.durable)
        kept = 0 if outcome == "lost" else draw.randint(0, len(self.pending))
        for names in self.pending[:kept]:
            _name(left, names)
        return left


def _name(there: dict[str, File | Folder], names: tuple[tuple[str, File | Folder | None], ...]) -> None:
    for name, node in names:
        if node is None:
            there.pop(name, None)
        else:
            there[name] = node


class Disk:
    """The files below one folder, as a record says they came to be. What was there before is durable."""

    def __init__(self, root: Path, before: Path) -> None:
        """`root` is the folder as the record names it, `before` one that holds what it held at first."""
        self._root = str(root)
        self.top = _read(before)
        """The folder, with what was not synced in it."""
        self._open: dict[int, File | Folder] = {}

    def apply(self, event: Event) -> None:
        """The next thing that was done."""
        match event.op:
            case "O":
                self._opened(event)
            case "C":
                self._open.pop(event.fd, None)
            case "W":
                self._file(event).pending.append((event.offset, event.data))
            case "T":
                self._file(event).pending.append((event.offset, None))
            case "S":
                self._open[event.fd].sync()
            case "G":
                _sync(self.top)
            case "R":
                self._rename(event.path, event.data.decode())
            case "U" | "X":
                folder, name = self._place(event.path)
                folder.change((name, None))
            case "M":
                folder, name = self._place(event.path)
                folder.change((name, Folder()))

    @contextmanager
    def torn(self, event: Event) -> Iterator[None]:
        """As it is when the first half of a write was done, and no more."""
        pending = self._file(event).pending
        pending.append((event.offset, event.data[: len(event.data) // 2]))
        yield
        pending.pop()

    def leave(self, folder: Path, outcome: Outcome, draw: random.Random | None = None) -> None:
        """Write what a cut at this moment leaves into the new folder `folder`."""
        _write(self.top, folder, outcome, draw or random.Random(0))

    def _opened(self, event: Event) -> None:
        if event.path == self._root:
            self._open[event.fd] = self.top
            return
        folder, name = self._place(event.path)
        node = folder.now.get(name)
        if node is None:
            node = File()
            folder.change((name, node))
        elif event.offset & os.O_TRUNC and isinstance(node, File):
            node.pending.append((0, None))
        self._open[event.fd] = node

    def _file(self, event: Event) -> File:
        node = self._open[event.fd]
        assert isinstance(node, File)
        return node

    def _rename(self, old: str, new: str) -> None:
        source, old_name = self._place(old)
        target, new_name = self._place(new)
        node = source.now[old_name]
        if source is target:
            source.change((old_name, None), (new_name, node))
        else:
            target.change((new_name, node))
            source.change((old_name, None))

    def _place(self, path: str) -> tuple[Folder, str]:
        *folders, name = path.removeprefix(self._root).strip("/").split("/")
        at = self.top
        for step in folders:
            found = at.now[step]
            assert isinstance(found, Folder)
            at = found
        return at, name


def _sync(node: File | Folder) -> None:
    node.sync()
    for below in node.now.values() if isinstance(node, Folder) else ():
        _sync(below)


def _read(path: Path) -> Folder:
    there: dict[str, File | Folder] = {
        each.name: _read(each) if each.is_dir() else File(bytearray(each.read_bytes()))
        for each in path.iterdir()
        if each.is_dir() or each.is_file()
    }
    return Folder(durable=dict(there), now=there)


def _write(node: Folder, path: Path, outcome: Outcome, draw: random.Random) -> None:
    path.mkdir(mode=0o700)
    for name, below in sorted(node.after(outcome, draw).items()):
        if isinstance(below, Folder):
            _write(below, path / name, outcome, draw)
        else:
            (path / name).write_bytes(below.after(outcome, draw))
