"""The ledger as static files: C2SP tlog-tiles, height 8, with entry bundles.

::

    checkpoint                     the signed size and root
    tile/0/x001/067                hashes of 256 leaves
    tile/1/004.p/12                a tile that is not full yet has its width in its name
    tile/entries/x001/067          the entries themselves, each behind its length in two bytes

Everything here derives from the tables `entries` and `ledger`, and is rebuilt from them when lost.
Owned by the sequencer; everyone else reads.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from freehold.errors import Tampered
from freehold.spec.merkle import EMPTY_ROOT, Node, complete_root, leaf_hash, node_hash
from freehold.store.home import sync_folder, write_atomically

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH = 32

_VERIFY = "run `freehold verify`"
_PATH = re.compile(r"tile/(entries|\d|[1-5]\d|6[0-3])/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?")


class TileMissing(Tampered):
    """`{path}` is not there"""


@dataclass(frozen=True, slots=True)
class Tile:
    """The address of a tile, or of an entry bundle."""

    level: int
    """0 holds leaf hashes; `ENTRIES` is a bundle."""
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Relative to the ledger's folder, as the standard spells it."""
        digits = f"{self.number:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{name}" + (f".p/{self.width}" if self.width < WIDTH else "")

    @classmethod
    def parse(cls, path: str) -> Tile | None:
        """The address that `path` spells, or none: there is one spelling only."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        level = ENTRIES if found[1] == "entries" else int(found[1])
        tile = cls(level, int(found[2].replace("x", "").replace("/", "")), int(found[3] or WIDTH))
        return tile if tile.path == path else None


ENTRIES = -1
"""The level that stands for entry bundles."""


def tile_at(level: int, number: int, size: int) -> Tile:
    """The tile as it is in a tree of `size` leaves: full or partial."""
    held = size >> (HEIGHT * max(level, 0))
    return Tile(level, number, min(WIDTH, held - number * WIDTH))


def needed(size: int) -> list[Tile]:
    """The tiles and bundles that a log of `size` entries serves."""
    tiles = [tile_at(ENTRIES, number, size) for number in range(-(-size // WIDTH))]
    level, held = 0, size
    while held:
        tiles += [tile_at(level, number, size) for number in range(-(-held // WIDTH))]
        level, held = level + 1, held // WIDTH
    return tiles


def bundle(bodies: Sequence[bytes]) -> bytes:
    """Entries one after another, each behind its length in two bytes, big-endian."""
    return b"".join(len(body).to_bytes(2) + body for body in bodies)


def unbundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises ValueError when it is cut."""
    bodies, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2])
        if end > len(data) or at + 2 > len(data):
            raise ValueError("the bundle is cut")
        bodies.append(data[at + 2 : end])
        at = end
    return bodies


class Edge:
    """The right edge of the growing tree: of every level the hashes of the tile that is not full yet."""

    def __init__(self) -> None:
        self.size = 0
        self.hashes: list[list[bytes]] = [[]]
        self.bodies: list[bytes] = []
        self._fresh: set[int] = set()

    def extend(self, bodies: Sequence[bytes], leaves: Sequence[bytes]) -> list[tuple[Tile, bytes]]:
        """Add entries, `leaves` being their hashes; the tiles that became full come back with their bytes."""
        full: list[tuple[Tile, bytes]] = []
        while bodies:
            room = WIDTH - len(self.bodies)
            self._fill(bodies[:room], leaves[:room], full)
            bodies, leaves = bodies[room:], leaves[room:]
        return full

    def _fill(self, bodies: Sequence[bytes], leaves: Sequence[bytes], full: list[tuple[Tile, bytes]]) -> None:
        """Add no more entries than the bundle has room for."""
        number = self.size >> HEIGHT
        self.size += len(bodies)
        self.bodies += bodies
        self._fresh.add(ENTRIES)
        if len(self.bodies) == WIDTH:
            full.append((Tile(ENTRIES, number), bundle(self.bodies)))
            self.bodies = []
            self._fresh.discard(ENTRIES)
        self._add(0, leaves, full)

    def _add(self, level: int, hashes: Sequence[bytes], full: list[tuple[Tile, bytes]]) -> None:
        if level == len(self.hashes):
            self.hashes.append([])
        row = self.hashes[level]
        row += hashes
        self._fresh.add(level)
        if len(row) == WIDTH:
            number = (self.size >> (HEIGHT * (level + 1))) - 1
            full.append((Tile(level, number), b"".join(row)))
            self.hashes[level] = []
            self._fresh.discard(level)
            self._add(level + 1, [complete_root(row)], full)

    def look_again(self) -> None:
        """Count every partial tile as changed, as after reading them from files."""
        self._fresh = {level for level, row in enumerate(self.hashes) if row}
        self._fresh |= {ENTRIES} if self.bodies else set()

    def unfinished(self) -> list[tuple[Tile, bytes]]:
        """The partial tiles that changed since the last call, with their bytes."""
        changed, self._fresh = sorted(self._fresh), set()
        return [(self._partial(level), self._bytes(level)) for level in changed]

    def _partial(self, level: int) -> Tile:
        return tile_at(level, self.size >> (HEIGHT * (max(level, 0) + 1)), self.size)

    def _bytes(self, level: int) -> bytes:
        return bundle(self.bodies) if level == ENTRIES else b"".join(self.hashes[level])

    def root(self) -> bytes:
        """The root of everything so far, folded from the smallest complete subtree to the largest."""
        reached: bytes | None = None
        for row in self.hashes:
            end = len(row)
            while end:
                width = end & -end
                left = complete_root(row[end - width : end])
                reached = left if reached is None else node_hash(left, reached)
                end -= width
        return reached if reached is not None else EMPTY_ROOT


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class TileFolder:
    """The files of one ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fresh: dict[Path, None] = {}
        """Files that were written and may not be on the disk yet, the oldest first."""

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    def write(self, tile: Tile, data: bytes) -> None:
        """Store a tile; a full one makes its partial forms superfluous. Durable after `settle`."""
        path = self.folder / tile.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, data, sync=False)
        self._fresh[path] = None
        if tile.width == WIDTH:
            shutil.rmtree(path.with_name(path.name + ".p"), ignore_errors=True)

    def settle(self) -> None:
        """Everything written is on the disk, names and folders with it: now it may be signed.

        A checkpoint whose tiles a power cut could take would make an honest ledger look tampered with.
        """
        there = [path for path in self._fresh if path.exists()]  # a partial one may have become full
        for path in there:
            _sync(path)
        above = {folder for path in there for folder in path.parents}
        for folder in above.difference(self.folder.parents):
            sync_folder(folder)
        self._fresh.clear()

    def cut_back(self, size: int) -> None:
        """Remove what belongs to a longer ledger than was signed: a crash may have left it by half."""
        for path in list(self.files()):
            tile = Tile.parse(path.relative_to(self.folder).as_posix())
            if tile and tile.number * WIDTH + tile.width > size >> (HEIGHT * max(tile.level, 0)):
                path.unlink(missing_ok=True)

    def read(self, tile: Tile) -> bytes:
        """The bytes of a tile; a partial one is cut from the full one where that has replaced it.

        Raises TileMissing.
        """
        for at in (tile, Tile(tile.level, tile.number)):
            try:
                data = (self.folder / at.path).read_bytes()
            except FileNotFoundError:
                continue
            return _cut(data, tile) if at.width != tile.width else data
        raise TileMissing(path=tile.path, why="the ledger's files are incomplete", hint=_VERIFY)

    def files(self) -> Iterator[Path]:
        """Everything below `tile/` that is no folder, links with it; what goes meanwhile is left out."""
        for folder, folders, names in os.walk(self.folder / "tile"):
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            yield from (Path(folder) / name for name in [*names, *links])

    def nodes(self, size: int) -> Node:
        """The hash of any complete subtree of the tree with `size` leaves, read from its tiles."""

        def node(height: int, number: int) -> bytes:
            level, within = divmod(height, HEIGHT)
            first = number << within
            tile = tile_at(level, first >> HEIGHT, size)
            row = split(self.read(tile))[first % WIDTH : first % WIDTH + (1 << within)]
            if len(row) != 1 << within:
                raise TileMissing(path=tile.path, why="the file is cut", hint=_VERIFY)
            return complete_root(row)

        return node

    def edge(self, size: int) -> Edge:
        """The right edge of the tree with `size` leaves, as the files have it. Raises TileMissing."""
        edge = Edge()
        edge.size = size
        level, held = 0, size
        edge.hashes = []
        while held or level == 0:
            partial = Tile(level, held >> HEIGHT, held % WIDTH)
            edge.hashes.append(split(self.read(partial)) if partial.width else [])
            level, held = level + 1, held >> HEIGHT
        if size % WIDTH:
            edge.bodies = _entries(self.read(Tile(ENTRIES, size >> HEIGHT, size % WIDTH)))
        if [leaf_hash(body) for body in edge.bodies] != edge.hashes[0]:
            raise TileMissing(path="tile/entries", why="it does not fit the hashes beside it", hint=_VERIFY)
        return edge


def split(data: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [data[i : i + HASH] for i in range(0, len(data), HASH)]


def _cut(data: bytes, tile: Tile) -> bytes:
    if tile.level == ENTRIES:
        return bundle(_entries(data)[: tile.width])
    return data[: tile.width * HASH]


def _entries(data: bytes) -> list[bytes]:
    try:
        return unbundle(data)
    except ValueError as error:
        raise TileMissing(path="tile/entries", why=str(error), hint=_VERIFY) from error
