"""Compare the tile files with what the entries say they must be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from freehold.ledger.tiles import ENTRIES, HASH, HEIGHT, WIDTH, Edge, Tile, TileFolder, needed, unbundle
from freehold.spec.merkle import root


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
        self._start = 0
        for path in sorted(self._folder.files()):
            self._list(path)

    def edge(self, size: int) -> Edge:
        """The right edge at `size`, from the files; what is before it is not compared. Raises TileMissing."""
        self._start = size
        edge = self._folder.edge(size)
        edge.look_again()
        return edge

    def root(self, size: int) -> bytes:
        """The root of the first `size` entries, which lie before the start. Raises TileMissing."""
        return root(size, self._folder.nodes(self._start))

    def _list(self, path: Path) -> None:
        name = path.relative_to(self._folder.folder).as_posix()
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            return  # a write that a crash cut off: nobody reads these
        try:
            regular = S_ISREG(path.lstat().st_mode)
        except FileNotFoundError:
            return  # since it was seen a full one took its place
        tile = Tile.parse(name)
        if tile is None or not regular:
            self._note(name, "no ledger has such a file", 1 << 62)
        else:
            self._listed.setdefault((tile.level, tile.number), []).append(tile)

    def compare(self, tile: Tile, data: bytes) -> None:
        """Compare every form of `tile`, full or partial, with the computed bytes."""
        place = (tile.level, tile.number)
        self._compared.add(place)
        listed = self._listed.get(place, [])
        for form in listed:
            self._compare_form(form, tile, data)
        for form in {tile, Tile(*place)} - set(listed):  # written since the files were listed
            self._compare_form(form, tile, data, new=True)

    def _compare_form(self, form: Tile, tile: Tile, data: bytes, *, new: bool = False) -> None:
        try:
            found = (self._folder.folder / form.path).read_bytes()
        except FileNotFoundError:
            return  # a full one may replace it any time; whether one form is there is checked at the end
        self.seen += 1
        if form.width > tile.width and not new:
            self._note(form.path, "it is wider than the ledger is long", _first(tile))
            return
        width = min(form.width, tile.width)
        expected = data if width == tile.width else _prefix(data, tile.level, width)
        if width < form.width:
            found = found[: len(expected)]  # it grew beyond the state of the database that we look at
        if found != expected:
            self._note_difference(form, found, expected)

    def _note_difference(self, form: Tile, found: bytes, expected: bytes) -> None:
        at = _first(form) + (_differs(found, expected, form) << (HEIGHT * max(form.level, 0)))
        self._note(form.path, "it does not hold what the entries say", at)
        if form.level == 0 and (self.first_other_leaf is None or at < self.first_other_leaf):
            self.first_other_leaf = at

    def first_wrong(self, signed: int) -> WrongFile | None:
        """The first finding in the order of entries; `signed` says which tiles must be there."""
        for level, number in sorted(set(self._listed) - self._compared):
            if self._is_before(level, number):
                continue
            tile = self._listed[level, number][0]
            self._note(tile.path, "it lies behind the end of the ledger", _first(tile))
        for tile in needed(signed):
            if not self._is_before(tile.level, tile.number) and not self._is_there(tile):
                self._note(tile.path, "it is not there", _first(tile))
        return min(self._wrong, key=lambda wrong: (wrong.ix, wrong.path), default=None)

    def _is_before(self, level: int, number: int) -> bool:
        """Whether a tile was full, and so whole, before the place where looking began."""
        return (number + 1) * WIDTH << (HEIGHT * max(level, 0)) <= self._start

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
    return tile.number * WIDTH << (HEIGHT * max(tile.level, 0))


def _prefix(data: bytes, level: int, width: int) -> bytes:
    """What a narrower form of a tile holds."""
    if level != ENTRIES:
        return data[: width * HASH]
    return data[: sum(2 + len(body) for body in unbundle(data)[:width])]


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
