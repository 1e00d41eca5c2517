"""What a screen found, and how it is taken out of a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

Group = Literal["pii", "secrets"]


@dataclass(frozen=True, slots=True)
class Found:
    """A part of a text that says something it should not."""

    start: int
    end: int
    kind: str
    """In a user's words: `iban`, `e-mail`, `private key`."""
    group: Group
    rank: int = 0
    """Which of two that overlap gives the name: the lower one."""
    beside: tuple[tuple[Group, str], ...] = ()
    """What else stands in the same place for another guard to see: its group and kind."""

    @property
    def said(self) -> tuple[tuple[Group, str], ...]:
        """Every group that has to judge it, its own first, with the kind it is there."""
        return ((self.group, self.kind), *self.beside)


def settled(found: Iterable[Found]) -> tuple[Found, ...]:
    """In the order of the text; what overlaps is one, as long as both, by the name of the better rule."""
    whole: list[Found] = []
    for one in sorted(found, key=lambda f: (f.start, -f.end)):
        if whole and one.start < whole[-1].end:
            whole[-1] = _joined(whole[-1], one)
        else:
            whole.append(one)
    return tuple(whole)


def _joined(one: Found, other: Found) -> Found:
    better = min(one, other, key=lambda f: (f.rank, f.start - f.end))
    beside = tuple(sorted({said for said in (*one.said, *other.said) if said[0] != better.group}))
    return replace(better, start=min(one.start, other.start), end=max(one.end, other.end), beside=beside)


def without(text: str, found: Iterable[Found], word: Callable[[Found, str], str]) -> str:
    """`text` with `word(found, value)` in the place of everything found, which is settled."""
    pieces: list[str] = []
    done = 0
    for one in found:
        pieces += (text[done : one.start], word(one, text[one.start : one.end]))
        done = one.end
    return "".join((*pieces, text[done:]))


def masked(one: Found, _value: str = "") -> str:
    """What stands there instead: the kind, for a reader and for a model."""
    return f"[{one.kind}]"
