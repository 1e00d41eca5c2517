"""Cells of one column before and after its type is settled.

Five types, in the words users see: `text`, `integer` (64 bits), `number` (64-bit float), `boolean`,
`json` (a nested value, kept as its text). A CSV file has only written words, which may fit several
types; JSON and Parquet say themselves what a value is. Nothing is converted that would lose something:
a whole number beyond 2^53 is no `number`, `007` and `+49…` are text, `yes` is text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

Word = Literal["text", "integer", "number", "boolean", "json"]

ARROW: Mapping[Word, Any] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "json": pa.string(),
}
TYPED: tuple[Word, ...] = ("boolean", "integer", "number", "json")
"""What is tried before `text`, narrowest first."""
ALMOST_ALL = 0.95
"""A column has a type when this share of its filled cells fits; the others are broken rows."""

_INTEGER = "^(?:-?[1-9][0-9]{0,18}|0)$"
_NUMBER = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?$"
_WHOLE_AND_LONG = "^-?[0-9]{16,}$"
_BOOLEAN = "^(?i:true|false)$"
EXACT = 2**53
"""Up to here a 64-bit float holds every whole number."""


class Cells(Protocol):
    """A stretch of one column whose type is not settled yet."""

    def filled(self) -> int:
        """How many cells hold something."""

    def fits(self) -> dict[Word, int]:
        """How many cells would fit each type."""

    def read(self, word: Word) -> Any:
        """The cells as an Arrow array of that type; what does not fit is null there."""

    def texts(self) -> Any:
        """The cells as text, whatever they are."""

    def holds(self) -> Any:
        """Which cells hold something, as a boolean array."""

    def parts(self) -> dict[str, Any]:
        """The arrays it is made of, for putting away."""


@dataclass(frozen=True, slots=True)
class Written:
    """Words from a CSV file; an empty cell is null."""

    raw: Any

    def filled(self) -> int:
        return _filled(self._trimmed())

    def _trimmed(self) -> Any:
        trimmed = pc.ascii_trim_whitespace(self.raw)
        return pc.if_else(pc.equal(pc.binary_length(trimmed), 0), None, trimmed)

    def fits(self) -> dict[Word, int]:
        typed = self._trimmed()
        count: dict[Word, int] = {w: _filled(_READ[w](typed)) for w in ("boolean", "integer", "number")}
        return count | {"text": _filled(typed), "json": 0}

    def read(self, word: Word) -> Any:
        return self.raw if word in ("text", "json") else _READ[word](self._trimmed())

    def texts(self) -> Any:
        return self.raw

    def holds(self) -> Any:
        return pc.is_valid(self._trimmed())

    def parts(self) -> dict[str, Any]:
        return {"raw": self.raw}


@dataclass(frozen=True, slots=True)
class Told:
    """Values that say what they are: one sparse array per type, at most one filled in each place."""

    kinds: Mapping[Word, Any]
    length: int

    def filled(self) -> int:
        return sum(_filled(array) for array in self.kinds.values())

    def fits(self) -> dict[Word, int]:
        return {word: _filled(self.read(word)) for word in ARROW}

    def read(self, word: Word) -> Any:
        known = self._of(word)
        if word == "number" and "integer" in self.kinds:
            known = pc.coalesce(known, _exact(self.kinds["integer"]))
        return known

    def _of(self, word: Word) -> Any:
        array = self.kinds.get(word)
        return pa.nulls(self.length, ARROW[word]) if array is None else array

    def texts(self) -> Any:
        found = self._of("text")
        for array in self.kinds.values():
            found = pc.coalesce(found, array.cast(pa.string()))
        return found

    def holds(self) -> Any:
        return pc.is_valid(self.texts())

    def parts(self) -> dict[str, Any]:
        return {str(word): array for word, array in self.kinds.items()}


def cells_from(parts: Mapping[str, Any], length: int) -> Cells:
    """The cells that `parts()` took apart."""
    if "raw" in parts:
        return Written(parts["raw"])
    return Told({word: parts[word] for word in ARROW if word in parts}, length)


def told(values: list[Any]) -> Told:
    """Cells from Python values as a JSON parser gives them."""
    types = set(map(type, values)) - {type(None)}
    if len(types) == 1 and (plain := _PLAIN.get(types.pop())):
        try:
            return Told({plain: pa.array(values, ARROW[plain])}, len(values))
        except OverflowError:
            pass  # a whole number beyond 64 bits: sort them one by one
    kinds = [_kind(value) for value in values]
    found = dict.fromkeys(kind for kind in kinds if kind)
    return Told({kind: _only(values, kinds, kind) for kind in found}, len(values))


_PLAIN: dict[type, Word] = {str: "text", int: "integer", bool: "boolean"}


def _kind(value: Any) -> Word | None:
    """What a value is; numbers that no type of ours holds stay as written, as `json`."""
    if value is None:
        return None
    if type(value) is int:
        return "integer" if -(2**63) <= value < 2**63 else "json"
    if type(value) is float:
        return "number" if math.isfinite(value) else "json"
    return _PLAIN.get(type(value), "json")


def _only(values: list[Any], kinds: list[Word | None], kind: Word) -> Any:
    chosen = [v if k == kind else None for v, k in zip(values, kinds, strict=True)]
    if kind == "json":
        chosen = [None if v is None else as_json(v) for v in chosen]
    return pa.array(chosen, ARROW[kind])


def as_json(value: Any) -> str:
    """A nested value as text: no blanks, nothing sorted, nothing escaped that need not be."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def decide(fits: Mapping[Word, int], filled: int) -> Word:
    """The type of a column from how many of its `filled` cells fit each.

    The narrowest that all fit; else one that almost all fit, so that a slip of the pen is reported and
    does not turn a column of numbers into text; else what most are.
    """
    if filled == 0:
        return "text"
    for word in TYPED:
        if fits.get(word, 0) == filled:
            return word
    best = max(TYPED, key=lambda word: fits.get(word, 0))
    if fits.get(best, 0) >= ALMOST_ALL * filled:
        return best
    return max(("text", *TYPED), key=lambda word: fits.get(word, 0))


def _filled(array: Any) -> int:
    count: int = len(array) - array.null_count
    return count


def _matching(text: Any, pattern: str) -> Any:
    """`text` where it matches, null elsewhere."""
    return pc.if_else(pc.fill_null(pc.match_substring_regex(text, pattern), False), text, None)


def _where(text: Any, pattern: str, bad: Any) -> Any:
    """`text` without the few cells that match `pattern` and are `bad`."""
    suspects = pc.fill_null(pc.match_substring_regex(text, pattern), False)
    if not pc.any(suspects).as_py():
        return text
    return pa.array(
        [None if t is None or (s and bad(t)) else t for t, s in _both(text, suspects)], pa.string()
    )


def _both(left: Any, right: Any) -> Any:
    return zip(left.to_pylist(), right.to_pylist(), strict=True)


def _read_integer(text: Any) -> Any:
    fitting = _where(_matching(text, _INTEGER), "^-?[0-9]{19}$", lambda t: not -(2**63) <= int(t) < 2**63)
    return fitting.cast(pa.int64())


def _read_number(text: Any) -> Any:
    fitting = _where(_matching(text, _NUMBER), _WHOLE_AND_LONG, lambda t: len(t) > 17 or abs(int(t)) > EXACT)
    values = fitting.cast(pa.float64())
    return pc.if_else(pc.is_finite(values), values, None)


def _read_boolean(text: Any) -> Any:
    return pc.utf8_lower(_matching(text, _BOOLEAN)).cast(pa.bool_())


_READ: dict[Word, Any] = {"integer": _read_integer, "number": _read_number, "boolean": _read_boolean}


def _exact(integers: Any) -> Any:
    """Whole numbers as floats, those that a float holds exactly."""
    small = pc.and_(pc.less_equal(integers, EXACT), pc.greater_equal(integers, -EXACT))
    return pc.if_else(small, integers, None).cast(pa.float64())
