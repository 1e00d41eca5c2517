"""A text that comes in pieces: nothing leaves while it may be the beginning of something to be masked.

How much is held back depends on what stands at the end: a word until it ends, a number until what
follows cannot change what it is, a quoted value until its quote closes; never more than `CAP` characters.
What is longer than that (a private key, a token) is masked when it is recognised, and the rest of it is
swallowed as it comes. For everything bounded the pieces add up to what masking the whole text gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from freehold.screen.found import Found, Group, masked, without
from freehold.screen.normal import readings
from freehold.screen.rules import find
from freehold.screen.secrets import IS, PRIVATE_KEY, SECRET_NAMES

CAP = 256
"""The most characters held back."""
LEFT = 192
"""Characters that have left and are still read, for the words before a value."""
_AFTER_NUMBER = 26
"""Characters after a number in which a word may still say what it is (`screen.rule.RIGHT`)."""

_BREAK = re.compile(r"[\s⺀-鿿가-힯豈-﫿]")
"""Where a word ends, or may."""
_NUMBER = re.compile(r"[+(]{0,2}\d(?:[ ().\-/]{0,3}\d){5,}(?: ?(?:x|ext\.? ?|# ?)\d{0,6})?", re.ASCII)
_DIGIT = re.compile(r"\d")
_OPEN = (
    # each behind a cheap sign of it: mostly there is none
    (
        _DIGIT,
        (
            # a number that may go on
            re.compile(r"[+(]{0,2}\d[\d ().\-/x#]{0,60}\Z"),
            # an account number in groups
            re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}[A-Za-z0-9 \-]{0,44}\Z"),
            # a date with its month in letters
            re.compile(
                r"\d{1,2}(?:st|nd|rd|th|\.)? (?:of )?[A-Za-z]{0,9}\.?,? ?\d{0,4}[ ,.;:]?[^\n\d]{0,26}\Z"
            ),
            re.compile(r"(?<![A-Za-z])[A-Za-z]{3,9}\.? \d{1,2}(?:st|nd|rd|th)?,? ?\d{0,4}[^\n\d]{0,26}\Z"),
        ),
    ),
    # an id with letters before its digits
    (
        re.compile(r"[A-Z][ \-/]"),
        (re.compile(r"(?<![A-Za-z0-9])[A-Z]{1,4}[ \-/](?:\d{0,2} ?){0,4}\Z"),),
    ),
    # a secret in quotes
    (
        re.compile(r"[\"'`](?<=[\s:=>].)[^\"'`\n]{0,240}\Z"),
        (
            re.compile(
                r"(?:" + SECRET_NAMES + r")[A-Za-z0-9_\-]{0,13}[\"'`]?" + IS + r"[\"'`][^\"'`\n]{0,240}\Z",
                re.IGNORECASE,
            ),
        ),
    ),
    # the head of a private key
    (re.compile("BEGIN"), (re.compile(r"-{2,5}BEGIN[A-Z0-9 ]{0,50}-{0,5}\Z"),)),
)
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_HEAD = 80
"""Characters of a key's end that may come in two pieces."""
_RUN_ENDS = re.compile(r"\s|\\*[\"'<>`]")
"""In JSON the backslashes before a quote are the quote's."""


@dataclass(slots=True)
class Held:
    """One text on its way out."""

    groups: frozenset[Group]
    """What is taken out."""
    word: Callable[[Found, str], str] = masked
    """What stands in the place of something found."""
    find: Callable[[str, frozenset[Group]], tuple[Found, ...]] = find
    found: list[Found] = field(default_factory=list)
    """Everything taken out so far. Its places are of no use: the text has left."""
    _left: str = ""
    _held: str = ""
    _until: re.Pattern[str] | None = None
    """What is dropped goes on until there."""

    def feed(self, piece: str) -> str:
        """What may leave now that `piece` has come."""
        self._held += piece
        return self._released(end=False)

    def finish(self) -> str:
        """Everything that is left: nothing follows."""
        return self._released(end=True)

    @property
    def waiting(self) -> int:
        """How many characters are held back."""
        return len(self._held)

    def _released(self, *, end: bool) -> str:
        if not self._held or self._drops():
            return ""
        text, begin = self._left + self._held, len(self._left)
        found = [one for one in self.find(text, self.groups) if one.end > begin]
        cut = len(text) if end else max(begin, len(text) - CAP, _open_from(text))
        endless = None
        for one in reversed(found if not end else ()):
            if one.end == len(text) and len(text) - one.start > CAP:
                endless, cut = one, len(text)
            elif one.end == len(text) or one.start < cut < one.end:
                cut = min(cut, max(begin, one.start))
        out = self._let_go(text, begin, cut, [one for one in found if one.end <= cut])
        if endless is not None:
            self._until, self._left = _KEY_ENDS if endless.kind == PRIVATE_KEY else _RUN_ENDS, ""
        return out

    def _let_go(self, text: str, begin: int, cut: int, gone: list[Found]) -> str:
        self.found += gone
        here = [replace(one, start=max(0, one.start - begin), end=one.end - begin) for one in gone]
        self._left, self._held = text[max(0, cut - LEFT) : cut], text[cut:]
        return without(text[begin:cut], here, self.word)

    def _drops(self) -> bool:
        """Drop what belongs to something already masked; whether that goes on."""
        if self._until is None:
            return False
        ends = self._until.search(self._held)
        if ends is None:
            inner = -_HEAD if self._until is _KEY_ENDS else len(self._held.rstrip("\\"))
            self._held = self._held[inner:]
            return True
        self._held = self._held[ends.end() if self._until is _KEY_ENDS else ends.start() :]
        self._until = None
        return not self._held


def _open_from(text: str) -> int:
    """Where the part of `text` begins that what follows could still change."""
    opened = len(text)
    for reading in readings(text):
        tail = reading.text[-CAP:]
        first = len(reading.text) - len(tail)
        if starts := _starts(tail):
            opened = min(opened, reading.origin(first + min(starts), len(reading.text))[0])
    return opened


def _starts(tail: str) -> list[int]:
    """Where in the end of a text something begins that is not over."""
    broken = _BREAK.search(tail[::-1])
    run = broken.start() if broken else len(tail)
    starts = [len(tail) - run] if run else []
    for sign, patterns in _OPEN:
        if sign.search(tail):
            starts += [found.start() for pattern in patterns if (found := pattern.search(tail))]
    if _DIGIT.search(tail):
        starts += [
            found.start() for found in _NUMBER.finditer(tail) if found.end() + _AFTER_NUMBER > len(tail)
        ]
    return starts
