"""What changed from one version to another: columns, and rows by number, never their words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from freehold.data import canonical, chunks, versions
from freehold.data.cells import Word
from freehold.data.versions import DataVersion
from freehold.errors import BadInput
from freehold.store.ground import Ground

SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """A column that is in one version only, or has another type."""

    name: str
    before: Word | None
    after: Word | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """A row of the first version that stands in the second with other cells."""

    before: int
    """Its number in the first."""
    after: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """The difference; rows are compared over the columns that both have with the same type."""

    before: str
    after: str
    rows_before: int
    rows_after: int
    columns: tuple[ColumnChange, ...]
    changed: int
    added: int
    removed: int
    only_order: bool
    """The same rows, in another order: that is another version too."""
    first_changed: tuple[RowChange, ...]
    first_added: tuple[int, ...]
    first_removed: tuple[int, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.columns or self.changed or self.added or self.removed or self.only_order)


def compare(ground: Ground, project: str, a: str, b: str) -> Diff:
    """Compare two versions of a project. Raises NoSuchVersion, BadInput when they share no column."""
    with ground.db.read() as conn:
        one, two = versions.find(conn, project, a), versions.find(conn, project, b)
    shared = [(c.name, c.type) for c in one.columns if two.type_of(c.name) == c.type]
    if not shared:
        raise BadInput(what=f"`{a}` and `{b}` have no column in common", hint="are they the same data set?")
    left, right = _Rows(ground, one, shared, two), _Rows(ground, two, shared, one)
    gone, come = left.not_in(right), right.not_in(left)
    pairs = _pairs(left, gone, right, come)
    paired_left, paired_right = {p for p, _ in pairs}, {q for _, q in pairs}
    return Diff(
        before=a,
        after=b,
        rows_before=one.rows,
        rows_after=two.rows,
        columns=_columns(one, two),
        changed=len(pairs),
        added=len(come) - len(pairs),
        removed=len(gone) - len(pairs),
        only_order=not len(gone) and not len(come) and not np.array_equal(left.hashes, right.hashes),
        first_changed=tuple(_change(left, p, right, q) for p, q in pairs[:SHOWN]),
        first_added=right.numbers_of([q for q in come if q not in paired_right][:SHOWN]),
        first_removed=left.numbers_of([p for p in gone if p not in paired_left][:SHOWN]),
    )


def _columns(one: DataVersion, two: DataVersion) -> tuple[ColumnChange, ...]:
    names = dict.fromkeys([c.name for c in one.columns] + [c.name for c in two.columns])
    found = (ColumnChange(name=n, before=one.type_of(n), after=two.type_of(n)) for n in names)
    return tuple(change for change in found if change.before != change.after)


class _Rows:
    """The rows of one version as numbers: what stands in the shared columns, and whom it is about."""

    def __init__(
        self, ground: Ground, version: DataVersion, shared: list[tuple[str, Word]], other: DataVersion
    ) -> None:
        self._ground, self._version = ground, version
        self.names, self._types = [name for name, _ in shared], [word for _, word in shared]
        with ground.db.read() as conn:
            self._layout = chunks.layout_of(conn, version.id)
        # pairing by person makes sense only where both say in the same columns who it is
        both = version.subject_columns == other.subject_columns
        self._persons = [name for name in version.subject_columns if both and name in self.names]
        self._read()

    def _read(self) -> None:
        hashes, numbers, people = [], [], []
        for table in chunks.read(self._ground, self._layout, self.names):
            words = canonical.rows(table.select(self.names), self._types)
            hashes.append(np.fromiter(map(hash, words), np.int64, len(words)))
            numbers.append(table[chunks.ROW].to_numpy())
            people.append(self._who(table))
        self.hashes, self.numbers = np.concatenate(hashes), np.concatenate(numbers)
        self.people = np.concatenate(people)

    def _who(self, table: Any) -> Any:
        """A number for the person of each row; the row's own number where it is about nobody."""
        if not self._persons:
            return table[chunks.ROW].to_numpy()
        names = zip(*(table[name].to_pylist() for name in self._persons), strict=True)
        return np.fromiter(map(hash, names), np.int64, len(table))

    def not_in(self, other: _Rows) -> Any:
        """Places of rows that `other` has not, or not as often."""
        return np.flatnonzero(~np.isin(_numbered(self.hashes), _numbered(other.hashes)))

    def numbers_of(self, places: list[int]) -> tuple[int, ...]:
        return tuple(int(self.numbers[place]) for place in places)

    def cells(self, place: int) -> list[bytes]:
        """The canonical bytes of each shared cell of one row."""
        row = chunks.read_row(self._ground, self._layout, int(self.numbers[place]))
        assert row is not None  # its number came from there
        shared = zip(self.names, self._types, strict=True)
        return [canonical.rows(row.select([name]), [word])[0] for name, word in shared]


def _numbered(hashes: Any) -> Any:
    """Each hash with how often it was there before, as one number: so equal rows are matched one by one."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.concatenate([starts, [len(ordered)]]))
    before = np.arange(len(ordered)) - np.repeat(starts, counts)
    numbered = np.empty(len(hashes), np.uint64)
    numbered[order] = ordered.view(np.uint64) + before.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return numbered


def _pairs(left: _Rows, gone: Any, right: _Rows, come: Any) -> list[tuple[int, int]]:
    """Rows that went and rows that came about the same person (else: at the same place), in order."""
    waiting: dict[int, list[int]] = defaultdict(list)
    for place in come.tolist():
        waiting[int(right.people[place])].append(place)
    pairs = []
    for place in gone.tolist():
        if partners := waiting.get(int(left.people[place])):
            pairs.append((place, partners.pop(0)))
    return pairs


def _change(left: _Rows, before: int, right: _Rows, after: int) -> RowChange:
    cells = zip(left.names, left.cells(before), right.cells(after), strict=True)
    columns = tuple(name for name, was, now in cells if was != now)
    return RowChange(before=int(left.numbers[before]), after=int(right.numbers[after]), columns=columns)
