"""Compare the tile files with what the entries say they must be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from freehold.ledger.tiles import ENTRIES, HASH, WIDTH, Tile, TileFolder, needed, unbundle


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongFile:
    """A file that is not what it must be."""

    path: str
    why: str
    ix: int
    """The first entry it is wrong about; orders findings."""


class TileComparison:
    """Lists the files when it is made; takes computed tiles one by one; then says what did not fit."""

    def __init__(self, folder: Path) -> None:
        self._folder = TileFolder(folder)
        self._listed: dict[tuple[int, int], list[Tile]] = {}
        self._wrong: list[WrongFile] = []
        self._compared: set[tuple[int, int]] = set()
        self.seen = 0
        """Files compared."""
        self.first_other_leaf: int | None = None
        """The first place where a tile of leaf hashes says something else than the entries."""
        for path in self._folder.files():
            self._list(path)

    def _list(self, path: Path) -> None:
        name = path.relative_to(self._folder.folder).as_posix()
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            return  # a write that a crash cut off: nobody reads these
        tile = Tile.parse(name)
        if tile is None or not path.is_file() or path.is_symlink():
            self._note(name, "no ledger has such a file", 1 << 62)
        else:
            self._listed.setdefault((tile.level, tile.number), []).append(tile)

    def compare(self, tile: Tile, data: bytes) -> None:
        """Compare every listed form of `tile`, full or partial, with the computed bytes."""
        self._compared.add((tile.level, tile.number))
        for listed in self._listed.get((tile.level, tile.number), ()):
            self._compare_file(listed, tile, data)

    def _compare_file(self, listed: Tile, tile: Tile, data: bytes) -> None:
        try:
            found = (self._folder.folder / listed.path).read_bytes()
        except FileNotFoundError:
            return  # the full tile replaced it just now; whether one form is there is checked at the end
        self.seen += 1
        expected = _prefix(data, listed)
        if listed.width > tile.width:
            self._note(listed.path, "it is wider than the ledger is long", _first(tile))
        elif found != expected:
            at = _first(tile) + (_differs(found, expected, listed) << (8 * max(tile.level, 0)))
            self._note(listed.path, "it does not hold what the entries say", at)
            if tile.level == 0 and (self.first_other_leaf is None or at < self.first_other_leaf):
                self.first_other_leaf = at

    def first_wrong(self, signed: int) -> WrongFile | None:
        """The first finding in the order of entries; `signed` says which tiles must be there."""
        for level, number in sorted(set(self._listed) - self._compared):
            tile = self._listed[level, number][0]
            self._note(tile.path, "it lies behind the end of the ledger", _first(tile))
        for tile in needed(signed):
            if not self._is_there(tile):
                self._note(tile.path, "it is not there", _first(tile))
        return min(self._wrong, key=lambda wrong: (wrong.ix, wrong.path), default=None)

    def _is_there(self, tile: Tile) -> bool:
        forms = self._listed.get((tile.level, tile.number), [])
        if any(form.width in (tile.width, WIDTH) for form in forms):
            return True
        full = Tile(tile.level, tile.number)  # it may have become full since the files were listed
        return any((self._folder.folder / form.path).is_file() for form in (tile, full))

    def _note(self, path: str, why: str, ix: int) -> None:
        self._wrong.append(WrongFile(path=path, why=why, ix=ix))


def _first(tile: Tile) -> int:
    """The first entry below a tile."""
    return tile.number * WIDTH << (8 * max(tile.level, 0))


def _prefix(data: bytes, tile: Tile) -> bytes:
    """What a narrower form of a tile holds."""
    if tile.level != ENTRIES:
        return data[: tile.width * HASH]
    end = 0
    for body in unbundle(data)[: tile.width]:
        end += 2 + len(body)
    return data[:end]


def _differs(found: bytes, expected: bytes, tile: Tile) -> int:
    """Which hash or entry of a tile is the first that differs."""
    at = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), None)
    at = min(len(found), len(expected)) if at is None else at
    if tile.level != ENTRIES:
        return min(at // HASH, WIDTH - 1)
    end = 0
    for number, body in enumerate(unbundle(expected)):
        end += 2 + len(body)
        if at < end:
            return number
    return tile.width - 1
