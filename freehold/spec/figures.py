"""How figures are written: alike on the command line, on a page, and in the ledger's words."""

from __future__ import annotations


def plural(number: int, word: str, words: str = "") -> str:
    """`1 answer`, `2 answers`, `1,204 answers`."""
    return f"{number:,.0f} {one_or(number, word, words)}"


def one_or(number: int, word: str, words: str = "") -> str:
    """The word alone: `answer` of one, `answers` of any other number."""
    return word if number == 1 else words or word + "s"


def in_words(value: str | None, *, share: bool) -> str:
    """`0.50 %` of the decimal 0.005 where it is a share; else `12.35`, and `1,204` from a thousand on.

    `–` where there is none.
    """
    if value is None:
        return "–"
    number = float(value)
    if share:
        return f"{round(number * 100, 2) + 0.0:.2f} %"  # never `-0.00`
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
