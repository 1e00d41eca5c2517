"""From the rows of a file to the rows of a version: types settled, broken rows told, consent asked.

Two readings. The first goes through the file and learns what types would fit, and who withdrew; the
second goes through what the first put away, and keeps the rows that may be kept. In memory at once are
one piece of the file, about 60 bytes per row and 1 KB per person: hashes, numbers and keys, no words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.data import canonical, consent
from freehold.data.cells import ARROW, Cells, Word, cells_from, decide
from freehold.data.declare import Declared, Intake
from freehold.data.naming import hmacs
from freehold.data.reading import BadColumns, Faults, NoRows, Piece, Reader, check_columns, need_column
from freehold.data.scratch import Tables
from freehold.data.suppression import FORGOTTEN, Suppression
from freehold.data.versions import DataColumn
from freehold.errors import BadInput
from freehold.screen.columns import Survey
from freehold.spec.figures import plural

ASKABLE: tuple[Word, ...] = ("text", "integer", "number", "boolean")


class BrokenRows(BadInput):
    """the file has {rows}"""


@dataclass(slots=True)
class FirstReading:
    """What the file says, put away piece by piece, and what was learnt from it."""

    columns: tuple[str, ...] = ()
    pieces: Tables = field(default_factory=Tables)
    fits: dict[str, Counter[Word]] = field(default_factory=dict)
    filled: Counter[str] = field(default_factory=Counter)
    withdrew: set[bytes] = field(default_factory=set)
    """Persons whom any row of the file calls withdrawn: all their rows are left out."""
    faults: Faults = field(default_factory=Faults)
    counts_by: str = "line"

    def close(self) -> None:
        """Give the room back."""
        self.pieces.close()


def read(reader: Reader, declared: Declared, lookup: bytes) -> FirstReading:
    """Go through the file once. Raises BadColumns, FileUnreadable, NoRows."""
    first = FirstReading(counts_by=reader.counts_by)
    try:
        if reader.columns:
            _need_columns(reader.columns, declared)
        for piece in reader.pieces(first.faults):
            _learn(first, piece, declared, lookup)
        first.columns = tuple(reader.columns)
        _check_whole(first, declared)
    except BaseException:
        first.close()
        raise
    return first


def _check_whole(first: FirstReading, declared: Declared) -> None:
    if not first.columns:
        raise NoRows(why="no row has a single field")
    check_columns(list(first.columns))
    _need_columns(list(first.columns), declared)
    if not len(first.pieces) and not first.faults.count:
        raise NoRows(why="the file has a header and no rows")


def _need_columns(columns: list[str], declared: Declared) -> None:
    for option, names in _special(declared).items():
        for name in names:
            need_column(columns, name, option)
    if declared.target and declared.target in declared.text_columns:
        raise BadColumns(
            why=f"`{declared.target[:40]}` is the target and something else too",
            hint="what is to be predicted can be neither the person, nor the consent, nor the text",
        )


def _special(declared: Declared) -> dict[str, tuple[str, ...]]:
    return {
        "--subject": declared.subject_columns,
        "--consent-from": (declared.consent_column,) if declared.consent_column else (),
        "--target": (declared.target,) if declared.target else (),
        "--text": (declared.text,) if declared.text else (),
    }


def _learn(first: FirstReading, piece: Piece, declared: Declared, lookup: bytes) -> None:
    if not len(piece.lines):
        return
    first.pieces.append(_packed(piece))
    for name, cells in piece.cells.items():
        first.fits.setdefault(name, Counter()).update(cells.fits())
        first.filled[name] += cells.filled()
    if declared.consent_column and declared.subject_columns:
        first.withdrew |= _withdrew(piece, declared, lookup)


def _withdrew(piece: Piece, declared: Declared, lookup: bytes) -> set[bytes]:
    cells = piece.cells.get(declared.consent_column or "")
    if cells is None:
        return set()
    said = cells.texts()
    no = pc.equal(pc.utf8_lower(pc.utf8_trim_whitespace(said)), consent.WITHDRAWN)
    named = [piece.cells[name].texts().filter(no) for name in declared.subject_columns if name in piece.cells]
    return {person for column in named for person in hmacs(column, lookup).to_pylist() if person}


def settle_types(
    first: FirstReading, declared: Declared, asked: Intake, before: Mapping[str, Word]
) -> dict[str, Word]:
    """The type of each column: as asked, else as in the version before, else what fits.

    So a new file cannot change a column's type by accident. Raises BadColumns for an unknown column or
    type.
    """
    for name, word in asked.types.items():
        need_column(list(first.columns), name, "--type")
        if word not in ASKABLE:
            raise BadColumns(why=f"`{word[:40]}` is no type", hint=f"types are {', '.join(ASKABLE)}")
    return {name: _type(name, first, declared, asked, before) for name in first.columns}


def _type(
    name: str, first: FirstReading, declared: Declared, asked: Intake, before: Mapping[str, Word]
) -> Word:
    if name in declared.text_columns:
        return "text"
    for word in ASKABLE:
        if asked.types.get(name) == word:
            return word
    return before.get(name) or decide(first.fits.get(name, {}), first.filled[name])


@dataclass(slots=True)
class Sifted:
    """The rows that are kept, typed and put away, and what was counted on the way."""

    types: dict[str, Word]
    tables: Tables = field(default_factory=Tables)
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    empty: Counter[str] = field(default_factory=Counter)
    surveys: dict[str, Survey] = field(default_factory=dict)
    row_hashes: list[Any] = field(default_factory=list)
    """64 bits of each row in this process: equal rows have equal ones."""
    persons: list[list[Any]] = field(default_factory=list)
    """Per subject column, the persons' HMACs of each table as Arrow binary."""

    def close(self) -> None:
        """Give the room back."""
        self.tables.close()

    def columns(self) -> tuple[DataColumn, ...]:
        """The schema with what was found about each column."""
        return tuple(
            DataColumn(name=name, type=word, empty=self.empty[name], looks=self.surveys[name].found())
            for name, word in self.types.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """By what rows are kept."""

    types: Mapping[str, Word]
    forced: frozenset[str]
    """Columns that are text whatever stands in them."""
    declared: Declared
    withdrew_here: Any
    """HMACs, as Arrow binary, of persons whom this file calls withdrawn …"""
    withdrew_earlier: Any
    """… and of persons whose withdrawal somebody recorded."""
    forgotten: Suppression
    """Knows who was forgotten."""
    lookup: bytes


def sift(first: FirstReading, rules: Rules) -> Sifted:
    """The second reading; broken rows are added to those of the first."""
    sifted = Sifted(types=dict(rules.types))
    sifted.surveys = {name: Survey(name) for name in rules.types}
    sifted.persons = [[] for _ in rules.declared.subject_columns]
    try:
        for table in first.pieces:
            _sift_piece(sifted, _unpacked(table, first.columns), rules, first.faults)
    except BaseException:
        sifted.close()
        raise
    return sifted


def _sift_piece(sifted: Sifted, piece: Piece, rules: Rules, faults: Faults) -> None:
    table, problems = _typed(piece, rules, faults)
    persons = [hmacs(table[name], rules.lookup) for name in rules.declared.subject_columns]
    reasons = _reasons(table, persons, rules, problems)
    for row, why in sorted(problems.items()):
        faults.add(piece.lines[row].as_py(), "; ".join(why))
    keep = np.array([reason == "" for reason in reasons], bool)
    keep[list(problems)] = False
    sifted.left_out.update(r for row, r in enumerate(reasons) if r and row not in problems)
    _put_away(sifted, table.filter(pa.array(keep)), [p.filter(pa.array(keep)) for p in persons], rules)


def _typed(piece: Piece, rules: Rules, faults: Faults) -> tuple[Any, dict[int, list[str]]]:
    """The piece as a table of the settled types, and what does not fit, by row of the piece."""
    size, problems = len(piece.lines), dict[int, list[str]]()
    columns = []
    for name, word in rules.types.items():
        cells = piece.cells.get(name)
        if cells is None:
            columns.append(pa.nulls(size, ARROW[word]))
            continue
        values = cells.texts() if name in rules.forced else cells.read(word)
        if name not in rules.forced and values.null_count:
            unfit = pc.and_(cells.holds(), pc.is_null(values))
            for row in pc.indices_nonzero(unfit).to_pylist():
                faults.unfit[name] = faults.unfit.get(name, 0) + 1
                problems.setdefault(row, []).append(f"`{name}` is no {word}")
        columns.append(values)
    return pa.table(columns, names=list(rules.types)), problems


def _reasons(table: Any, persons: list[Any], rules: Rules, problems: dict[int, list[str]]) -> list[str]:
    """Why each row is left out, `""` for those that are not; unclear consents go to `problems`."""
    reasons = _consents(table, rules.declared, problems)
    for withdrew, reason in (
        (rules.withdrew_earlier, consent.WITHDRAWN_EARLIER),
        (rules.withdrew_here, consent.CONSENT_WITHDRAWN),
    ):
        for column in persons if len(withdrew) else ():
            for row in pc.indices_nonzero(pc.is_in(column, value_set=withdrew)).to_pylist():
                reasons[row] = reason
    for column in persons if rules.forgotten else ():
        for row, person in enumerate(column.to_pylist()):
            if person is not None and rules.forgotten.holds(person.hex()):
                reasons[row] = FORGOTTEN
    return reasons


def _consents(table: Any, declared: Declared, problems: dict[int, list[str]]) -> list[str]:
    if not declared.consent_column:
        return [""] * len(table)
    coded = table[declared.consent_column].combine_chunks().dictionary_encode()
    said = [consent.left_out_because(cell, declared.purposes) for cell in coded.dictionary.to_pylist()]
    nothing = consent.left_out_because(None, declared.purposes) or ""
    reasons = [nothing if code is None else said[code] for code in coded.indices.to_pylist()]
    for row, reason in enumerate(reasons):
        if reason is None:
            problems.setdefault(row, []).append(
                f"`{declared.consent_column}` is none of yes, no, given, withdrawn or a list of purposes"
            )
    return [reason or "" for reason in reasons]


def _put_away(sifted: Sifted, kept: Any, persons: list[Any], rules: Rules) -> None:
    if not len(kept):
        return
    sifted.tables.append(kept)
    sifted.rows += len(kept)
    for name in rules.types:
        column = kept[name].combine_chunks()
        sifted.empty[name] += column.null_count
        sifted.surveys[name].look(column)
    rows = canonical.rows(kept, list(rules.types.values()))
    sifted.row_hashes.append(np.fromiter(map(hash, rows), np.int64, len(rows)))
    for whole, part in zip(sifted.persons, persons, strict=True):
        whole.append(part)


def _packed(piece: Piece) -> Any:
    """A piece as one Arrow table: `line`, then every part of every column under its own label."""
    parts = {"line": piece.lines}
    for name, cells in piece.cells.items():
        parts |= {f"{kind}:{name}": array for kind, array in cells.parts().items()}
    return pa.table(parts)


def _unpacked(table: Any, columns: Sequence[str]) -> Piece:
    parts: dict[str, dict[str, Any]] = {}
    for label in table.column_names[1:]:
        kind, _, name = label.partition(":")
        parts.setdefault(name, {})[kind] = table[label].combine_chunks()
    cells: dict[str, Cells] = {name: cells_from(parts.get(name, {}), len(table)) for name in columns}
    return Piece(table["line"].combine_chunks(), cells)


def refuse_broken(faults: Faults, counts_by: str, allowed: int) -> None:
    """Raise BrokenRows when there are more than were allowed for."""
    if faults.count > allowed:
        ways = ["mend them", f"leave them out with `--allow-bad-rows {faults.count}`"]
        ways += [f"say `--type {name}=text` if it is meant to be text" for name in list(faults.unfit)[:2]]
        raise BrokenRows(
            rows=plural(faults.count, "broken row"),
            why=faults.told(counts_by),
            hint=", or ".join(ways),
        )
