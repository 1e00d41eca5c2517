"""What a text says when it is read another way: decoded, reversed, its letters put back.

Every view costs a second reading, so each is made only where a cheap sign of it stands in the text;
an honest text has none of them. Views are for judging what a text asks, and for what is hidden in an
encoded run; they are never sent on.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import re2

CODED = r"[A-Za-z0-9+/_\-]{24}|(?:[0-9A-Fa-f]{2}[ :,]?){12}"
"""For RE2: the sign that something may be encoded."""
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,}={0,2}(?![A-Za-z0-9+/_=-])")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?(?:[0-9A-Fa-f]{2}[ :,]?){12,}(?![0-9A-Za-z])")
_SPACED = re.compile(r"(?<!\S)(?:\S[ ]{1,3}){7,}\S(?!\S)")
_JOINED = re.compile(r"(?<![^\W_])(?:[^\W_]([-_.*|·•+~]))(?:[^\W_]\1){6,}[^\W_](?![^\W_])")
_LEET = re.compile(r"[A-Za-z013457@$|](?:[A-Za-z013457@$|!]*[A-Za-z013457@$|])?")
"""A `!` behind a word is none of its letters."""
_LEET_LETTERS = str.maketrans("013457@$!|", "oieastasil")
# the commonest words of English, and of what is tried on models
_COMMON = frozenset(
    (
        "the",
        "and",
        "you",
        "your",
        "are",
        "all",
        "with",
        "for",
        "not",
        "this",
        "that",
        "from",
        "will",
        "must",
        "have",
        "what",
        "how",
        "can",
        "ignore",
        "previous",
        "instructions",
        "prompt",
        "system",
        "now",
        "respond",
        "answer",
    )
)
_TURNED_WORDS = "|".join(codecs.encode(word, "rot13") for word in _COMMON)
_BACKWARD_WORDS = "|".join(word[::-1] for word in _COMMON)
_TURNED = re.compile(rf"\b(?:{_TURNED_WORDS})\b", re.IGNORECASE)
_BACKWARDS = re.compile(rf"\b(?:{_BACKWARD_WORDS})\b", re.IGNORECASE)


def _signs() -> re2.Set:
    signs = re2.Set.SearchSet()
    for sign in (
        CODED,
        rf"(?i)\b(?:{_TURNED_WORDS})\b",
        rf"(?i)\b(?:{_BACKWARD_WORDS})\b",
        r"(?:[^\s] {1,3}){7}[^\s](?:\s|$)",
        r"(?:[0-9A-Za-z][-_.*|+~]){7}[0-9A-Za-z]",
        r"[A-Za-z][013457@$!|]+[A-Za-z]",
    ):
        signs.Add(sign)
    signs.Compile()
    return signs


_SIGNS_OF = _signs()
_SIGNS = 2
"""Words that have to stand there before a text is turned or reversed: one may be a name."""
PART, _OVERLAP = 64 << 10, 8 << 10
"""A long text is read in parts, which share so many characters."""


@dataclass(frozen=True, slots=True)
class View:
    """Another reading of `start:end` of a text."""

    way: str
    text: str
    start: int
    end: int


def views(text: str) -> tuple[View, ...]:
    """Every other reading that there is a sign of; mostly none."""
    return tuple(
        view
        for start, part in parts(text)
        for sign in _SIGNS_OF.Match(part) or ()
        for view in _moved(_WAYS[sign](part), start)
    )


def parts(text: str) -> Iterator[tuple[int, str]]:
    """Where each part begins, and the part. RE2 cannot be interrupted while it reads one."""
    for start in range(0, max(1, len(text) - _OVERLAP), PART - _OVERLAP):
        yield start, text[start : start + PART]


def _moved(found: Iterator[View], by: int) -> Iterator[View]:
    return (replace(view, start=view.start + by, end=view.end + by) for view in found)


def encoded(text: str) -> tuple[View, ...]:
    """What stands in base64 or hexadecimal and is text."""
    return tuple(_decoded(text))


def _decoded(text: str) -> Iterator[View]:
    for pattern, way, decode in ((_HEX, "hex", _from_hex), (_BASE64, "base64", _from_base64)):
        for found in pattern.finditer(text):
            read = decode(found[0])
            if read is not None:
                yield View(way, read, *found.span())


def _from_hex(run: str) -> str | None:
    return _readable(bytes.fromhex(re.sub(r"^0x|[ :,]", "", run)))


def _from_base64(run: str) -> str | None:
    plain = run.rstrip("=").translate(str.maketrans("-_", "+/"))
    if len(plain) % 4 == 1:
        return None
    try:
        return _readable(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
    except binascii.Error:
        return None


def _readable(data: bytes) -> str | None:
    """The bytes as text when they are one: nearly all letters, digits and blanks."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    words = sum(letter.isalnum() or letter.isspace() for letter in text)
    return text if text.isprintable() | ("\n" in text) and words >= 0.7 * len(text) else None


def _rot13(text: str) -> Iterator[View]:
    if len(_TURNED.findall(text)) >= _SIGNS:
        yield View("rot13", codecs.decode(text, "rot13"), 0, len(text))


def _reversed(text: str) -> Iterator[View]:
    if len(_BACKWARDS.findall(text)) >= _SIGNS:
        yield View("reversed", text[::-1], 0, len(text))


def _spaced(text: str) -> Iterator[View]:
    if _SPACED.search(text):
        yield View("spaced", _SPACED.sub(_closed, text), 0, len(text))


def _joined(text: str) -> Iterator[View]:
    if _JOINED.search(text):
        yield View("spaced", _JOINED.sub(lambda found: found[0].replace(found[1], ""), text), 0, len(text))


def _leet(text: str) -> Iterator[View]:
    if _is_leet(text):
        yield View("leet", _LEET.sub(_spelled, text), 0, len(text))


def _spelled(found: re.Match[str]) -> str:
    """A word in letters; four digits and more are a number."""
    word = found[0]
    return word if word.isdigit() and len(word) > 3 else word.translate(_LEET_LETTERS)


def _closed(found: re.Match[str]) -> str:
    """Letters put together; more than one blank between them is the end of a word."""
    return "".join(part.replace(" ", "") or " " for part in re.split(r"( {2,})", found[0]))


def _is_leet(text: str) -> bool:
    """Whether a fair part of the words has digits for letters: one of them is a product's name."""
    mixed = sum(map(_is_mixed, _LEET.findall(text)))
    return mixed >= 3 and mixed * 5 >= len(text.split())


def _is_mixed(word: str) -> bool:
    return len(word) > 2 and not word.isalpha() and any(letter.isalpha() for letter in word)


_WAYS = (_decoded, _rot13, _reversed, _spaced, _joined, _leet)
