"""MLflow's search language, the part of it that is kept here: comparisons joined by AND.

::

    filter     = comparison { AND comparison }
    comparison = name op value | name [NOT] IN ( value , … ) | name IS [NOT] NULL
    name       = [ kind . ] key         kind: attributes, metrics, params, tags; keys may be quoted
    op         = = != < <= > >= LIKE ILIKE

What is not in here (OR, parentheses around comparisons, functions) is refused by name, never ignored.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from freehold.errors import BadInput

Kind = Literal["attribute", "metric", "param", "tag"]
WORDLESS: tuple[Kind, ...] = ("attribute",)
"""The kinds of what has no metrics, params and tags to order by."""
Value = str | float | tuple[str, ...] | None

LONGEST = 10_000
MOST = 50
"""Characters and comparisons of one filter."""

KINDS: Mapping[str, Kind] = {
    "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
    "metric": "metric", "metrics": "metric",
    "param": "param", "params": "param", "parameter": "param", "parameters": "param",
    "tag": "tag", "tags": "tag",
}  # fmt: skip

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<quoted>"(?:[^"\\]|\\.)*"|`[^`]*`)
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<op><=|>=|!=|<>|==|=|<|>)
    | (?P<mark>[().,])
    | (?P<word>[A-Za-z_][\w\-/:]*)
    )""",
    re.VERBOSE,
)
_NUMBERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_TEXTS = frozenset({"=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"})


class FilterUnusable(BadInput):
    """the search `{text}` cannot be used"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition."""

    kind: Kind
    key: str
    op: str
    value: Value

    def holds(self, found: str | float | None) -> bool:
        """Whether a value (none: there is none) fulfils it."""
        if self.op in ("IS NULL", "IS NOT NULL"):
            return (found is None) == (self.op == "IS NULL")
        if found is None:
            return False
        if isinstance(found, int | float):
            return self._number(found)
        return self._text(found)

    def _number(self, found: float) -> bool:
        if isinstance(self.value, tuple):
            return (str(found) in self.value) == (self.op == "IN")
        return isinstance(self.value, float) and _NUMBERS[self.op](found, self.value)

    def _text(self, found: str) -> bool:
        match self.op:
            case "=":
                return found == self.value
            case "!=":
                return found != self.value
            case "IN" | "NOT IN":
                return isinstance(self.value, tuple) and (found in self.value) == (self.op == "IN")
        flags = re.IGNORECASE if self.op == "ILIKE" else 0
        return re.fullmatch(like(str(self.value)), found, flags | re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Order:
    """One word of `order_by`."""

    kind: Kind
    key: str
    descending: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word of the filter: what it is and what it says."""

    sort: str
    text: str


def like(pattern: str) -> str:
    """SQL's LIKE as a regular expression: `%` any text, `_` any character."""
    return "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)


def parse(
    text: str, *, attributes: Collection[str], numbers: Collection[str] = (), kinds: Collection[Kind]
) -> tuple[Comparison, ...]:
    """Read a filter. `attributes` are the known ones, `numbers` those of them that compare as numbers.

    Raises FilterUnusable, which says what is not supported.
    """
    if len(text) > LONGEST:
        raise _wrong(text, f"{len(text):,} characters, {LONGEST:,} at most")
    pieces = _Pieces(text, list(_pieces(text)))
    found: list[Comparison] = []
    while pieces:
        if found:
            pieces.word("AND")
        found.append(_comparison(pieces, attributes, numbers, kinds))
        if len(found) > MOST:
            raise _wrong(text, f"{MOST} comparisons are the most")
    return tuple(found)


def parse_order(text: str, *, attributes: Collection[str], kinds: Collection[Kind]) -> Order:
    """Read one word of `order_by`: `metrics.accuracy DESC`. Raises FilterUnusable."""
    pieces = _Pieces(text, list(_pieces(text)))
    kind, key = _name(pieces, attributes, kinds)
    descending = False
    if pieces:
        descending = pieces.word("ASC", "DESC") == "DESC"
    if pieces:
        raise _wrong(text, f"`{pieces.next().text}` is too much")
    return Order(kind, key, descending)


def _pieces(text: str) -> Iterator[_Piece]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _wrong(text, f"`{text[at:].strip()[:20]}` is not understood")
        yield _Piece(found.lastgroup, found[found.lastgroup])
        at = found.end()


class _Pieces:
    """The words still to be read."""

    def __init__(self, text: str, pieces: list[_Piece]) -> None:
        self.text = text
        self._pieces = pieces[::-1]

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def next(self) -> _Piece:
        if not self._pieces:
            raise _wrong(self.text, "it ends in the middle")
        return self._pieces.pop()

    def peek(self) -> str:
        return self._pieces[-1].text.upper() if self._pieces else ""

    def word(self, *expected: str) -> str:
        piece = self.next()
        if piece.text.upper() in expected:
            return piece.text.upper()
        raise _wrong(self.text, f"`{piece.text[:40]}` stands where {' or '.join(expected)} is expected")


def _comparison(
    pieces: _Pieces, attributes: Collection[str], numbers: Collection[str], kinds: Collection[Kind]
) -> Comparison:
    kind, key = _name(pieces, attributes, kinds)
    numeric = kind == "metric" or (kind == "attribute" and key in numbers)
    op = _operator(pieces)
    if op in ("IS NULL", "IS NOT NULL"):
        value: Value = None
    elif op in ("IN", "NOT IN"):
        value = _values(pieces)
    else:
        value = _value(pieces, numeric)
    allowed = set(_NUMBERS) if numeric else _TEXTS
    if op not in allowed:
        raise _wrong(pieces.text, f"{op} does not go with `{key}`; possible: {', '.join(sorted(allowed))}")
    return Comparison(kind, key, op, value)


def _name(pieces: _Pieces, attributes: Collection[str], kinds: Collection[Kind]) -> tuple[Kind, str]:
    first = pieces.next()
    if first.text == "(" or first.text.upper() == "NOT":
        raise _wrong(pieces.text, f"`{first.text}` is not supported here: comparisons joined by AND are")
    if first.sort not in ("word", "quoted"):
        raise _wrong(pieces.text, f"`{first.text[:40]}` is no name")
    kind: Kind = "attribute"
    key = _bare(first)
    if first.sort == "word" and pieces.peek() == "." and first.text.lower() in KINDS:
        kind = KINDS[first.text.lower()]
        pieces.next()
        key = _bare(pieces.next())
    while pieces.peek() == ".":
        pieces.next()
        key += "." + _bare(pieces.next())
    if kind not in kinds:
        raise _wrong(pieces.text, f"{kind}s cannot be searched here; possible: {', '.join(sorted(kinds))}")
    if kind == "attribute" and key not in attributes:
        raise _wrong(pieces.text, f"`{key}` is not known; known: {', '.join(sorted(attributes))}")
    return kind, key


def _bare(piece: _Piece) -> str:
    return piece.text[1:-1] if piece.sort == "quoted" else piece.text


def _operator(pieces: _Pieces) -> str:
    piece = pieces.next()
    word = piece.text.upper()
    if piece.sort == "op":
        return {"==": "=", "<>": "!="}.get(word, word)
    if word == "NOT":
        return "NOT " + pieces.word("IN")
    if word == "IS":
        if pieces.word("NULL", "NOT") == "NULL":
            return "IS NULL"
        pieces.word("NULL")
        return "IS NOT NULL"
    if word in ("LIKE", "ILIKE", "IN"):
        return word
    raise _wrong(pieces.text, f"`{piece.text[:40]}` is no comparison")


def _value(pieces: _Pieces, numeric: bool) -> str | float:
    piece = pieces.next()
    if numeric:
        if piece.sort != "number":
            raise _wrong(pieces.text, f"`{piece.text[:40]}` is no number")
        return float(piece.text)
    if piece.sort not in ("string", "quoted"):
        raise _wrong(pieces.text, f"`{piece.text[:40]}` is no text: write it in quotes")
    return re.sub(r"\\(.)", r"\1", piece.text[1:-1])


def _values(pieces: _Pieces) -> tuple[str, ...]:
    pieces.word("(")
    values = [str(_value(pieces, numeric=False))]
    while pieces.word(",", ")") == ",":
        values.append(str(_value(pieces, numeric=False)))
    return tuple(values)


def _wrong(text: str, why: str) -> FilterUnusable:
    return FilterUnusable(
        text=text[:80], why=why, hint="`metrics.accuracy > 0.9 AND params.trainer = 'linear'`"
    )
