"""A text as a reader sees it: what hides letters from a rule is undone, and every place keeps its origin.

Compatibility forms (NFKC, Unicode Standard Annex 15), invisible and control characters, a terminal's colors,
letters of other scripts that look Latin, stacked marks, foreign digits, tag characters. Rules and models
read the normal text; masks fall on the original, by `Normal.origin`. Plain ASCII is returned as it is, at
no cost.

A text that holds JSON (a tool's arguments, what a tool brought) has a second reading, without its escapes:
`\\nDE44` there is the end of a line and an account number.

What is written in another code (base64, hex, rot13, reversed, leet, spaced letters) becomes a *view*
beside the text, and only where a cheap sign says that there is one: a view costs a second reading.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from functools import lru_cache

import msgspec

_ESCAPE = re.compile(r"""\\+(?:["/bfnrt]|u([0-9A-Fa-f]{4}))""")
"""However deep: JSON inside of JSON has two, four … of them."""
_ESCAPED = {"b": " ", "f": " ", "n": "\n", "r": "\n", "t": "\t"}
_COLOR = r"\x1b(?:\[\??(?:\d{1,3}(?:;\d{1,3}){0,4};?)?(?:[A-Za-z]|\Z))?"
"""A terminal's order (ECMA-48, 5.4), or the beginning of one: short, so that nothing is said in it."""
_PLAIN = re.compile(rf"[^\t\n\r\x1b\x20-\x7e]+|{_COLOR}")
_ORDINARY = bytes([*b"\t\n\r", *range(0x20, 0x7F)])
"""What of ASCII means nothing but itself."""
_ORDINARY_LETTERS = frozenset(_ORDINARY.decode())
_FEW = 16
"""Letters that are looked for one after the other, each through the whole text."""
_WORD = re.compile(r"[^\W\d_]+")
_TAGS = range(0xE0020, 0xE007F)
_DASHES = dict.fromkeys("‐‑‒–—―−﹘﹣－", "-")
_QUOTES = {"‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "‟": '"'}

_LOOKALIKES = str.maketrans(
    # Cyrillic
    "авекмнорстухіјѕһԁԛԝҽԍьАВЕКМНОРСТУХІЈЅԌԚԜҮү"
    # Greek
    "αβεικνορτυχγωηΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
    # Armenian, Latin letters of other alphabets, small capitals
    "օոսցհգզɑɡɩıᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
    "abekmhopctyxijshdqwegbABEKMHOPCTYXIJSGQWYy"
    "abeiknoptuxywnABEZHIKMNOPTYX"
    "onsghqqagiiabcdefghijklmnoprstuvwyz",
)
_TWIN = re.compile("[" + "".join(map(chr, _LOOKALIKES)) + "]")
_LATIN = re.compile("[A-Za-z]")


class Normal(msgspec.Struct, frozen=True):
    """A normal text and where each of its characters came from."""

    text: str
    size: int
    """Characters of the original."""
    here: tuple[int, ...] = ()
    """Places in the normal text where the distance to the original changes; empty: it never does."""
    there: tuple[int, ...] = ()
    """The places in the original that belong to `here`."""

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that the normal text's `start:end` came from."""
        if not self.here:
            return start, end
        return self._first(start), self._first(end) if end < len(self.text) else self.size

    def _first(self, place: int) -> int:
        n = bisect_right(self.here, place) - 1
        if n < 0:
            return place
        offset = place - self.here[n]
        after = self.there[n + 1] if n + 1 < len(self.there) else self.size
        return min(self.there[n] + offset, after)


@dataclass(frozen=True, slots=True)
class Unescaped:
    """A normal text whose JSON escapes were undone first."""

    normal: Normal
    plain: Normal

    @property
    def text(self) -> str:
        """The normal text."""
        return self.normal.text

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """As `Normal.origin`."""
        return self.plain.origin(*self.normal.origin(start, end))


def readings(text: str) -> Iterator[Normal | Unescaped]:
    """The ways in which a text is read: as it is, and without escapes where it has some."""
    yield normalize(text)
    if "\\" in text and _ESCAPE.search(text):
        plain = _unescaped(text)
        yield Unescaped(normalize(plain.text), plain)


def _unescaped(text: str) -> Normal:
    pieces: list[str] = []
    here: list[int] = []
    there: list[int] = []
    written = done = 0
    for found in _ESCAPE.finditer(text):
        letter = _letter(found)
        pieces += (text[done : found.start()], letter)
        written += found.start() - done
        here += (written, written + len(letter))
        there += found.span()
        written, done = written + len(letter), found.end()
    pieces.append(text[done:])
    return Normal("".join(pieces), len(text), tuple(here), tuple(there))


def _letter(escape: re.Match[str]) -> str:
    if escape[1] is None:
        return _ESCAPED.get(escape[0][-1], escape[0][-1])
    letter = chr(int(escape[1], 16))
    return "" if "\ud800" <= letter <= "\udfff" else letter  # half of a picture sign


def normalize(text: str) -> Normal:
    """The normal text of `text`. A single pass; plain ASCII costs one look."""
    if text.isascii() and not text.encode().translate(None, _ORDINARY):
        return Normal(text, len(text))
    strange = set(text).difference(_ORDINARY_LETTERS)
    turned = _one_for_one(text, strange)
    if turned is not None:
        return Normal(_latin(turned), len(text))
    pieces: list[str] = []
    here: list[int] = []
    there: list[int] = []
    written = 0
    for start, cluster, normal in _clusters(text, frozenset(filter(_is_mark, strange))):
        here.append(written)
        there.append(start)
        pieces.append(normal)
        written += len(normal)
        if len(normal) != len(cluster):
            here.append(written)
            there.append(start + len(cluster))
    return Normal(_latin("".join(pieces)), len(text), tuple(here), tuple(there))


def _one_for_one(text: str, strange: Iterable[str]) -> str | None:
    """The normal text where no place moves and few letters change, as in most languages; None elsewhere."""
    others: dict[str, str] = {}
    for letter in strange:
        normal = _alone(letter)
        if not normal or len(others) > _FEW:
            return None
        if normal != letter:
            others[letter] = normal
    if not others.keys().isdisjoint(others.values()):
        return None
    for letter, normal in others.items():
        text = text.replace(letter, normal)
    return text


@lru_cache(maxsize=4096)
def _alone(letter: str) -> str:
    """A letter's normal form; empty where that is not one letter, and for a mark on the letter before it."""
    normal = _of_one(letter)
    return normal if len(normal) == 1 and not _is_mark(letter) else ""


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter)[0] == "M"


def _clusters(text: str, marks: Set[str]) -> Iterator[tuple[int, str, str]]:
    """(place, part of the text, its normal form): plain stretches whole, the rest letter by letter."""
    done = 0
    for found in _PLAIN.finditer(text):
        start = found.start()
        # a mark belongs to the letter before it, which may be plain
        if start > done and text[start] in marks:
            start -= 1
        if start > done:
            yield done, text[done:start], text[done:start]
        done = found.end()
        if text[start] == "\x1b":
            yield start, found[0], ""
        else:
            for place, cluster in _letters(text, start, done, marks):
                yield place, cluster, _normal(cluster)
    if done < len(text):
        yield done, text[done:], text[done:]


def _letters(text: str, start: int, end: int, marks: Set[str]) -> Iterator[tuple[int, str]]:
    """Each letter with the marks on it."""
    place = start
    while place < end:
        after = place + 1
        while after < end and text[after] in marks:
            after += 1
        yield place, text[place:after]
        place = after


@lru_cache(maxsize=4096)
def _normal(cluster: str) -> str:
    first = cluster[0]
    if len(cluster) == 1:
        return _of_one(first)
    composed = unicodedata.normalize("NFKC", cluster)
    return composed if len(composed) == 1 else _of_one(first)  # marks that make no letter are decoration


def _of_one(letter: str) -> str:
    if ord(letter) in _TAGS:
        return chr(ord(letter) - 0xE0000)
    plain = _DASHES.get(letter) or _QUOTES.get(letter)
    if plain:
        return plain
    category = unicodedata.category(letter)
    if category == "Cc" and letter.isspace():
        return " "  # between pages, columns, records: words on both sides of it are two
    if category in ("Cf", "Cc", "Mn", "Me", "Cn", "Co", "Cs"):
        return ""  # invisible, or a mark on nothing
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category == "Zs":
        return " "
    if category in ("Zl", "Zp"):
        return "\n"
    return unicodedata.normalize("NFKC", letter)


def _latin(text: str) -> str:
    """Letters that only look Latin become Latin, where words mix them with Latin ones.

    A text whose words are each of one script is left alone: it is Russian or Greek, not a disguise.
    Every look-alike is one letter for one, so no place moves.
    """
    if not (_TWIN.search(text) and _LATIN.search(text)):
        return text
    if not any(map(_mixed, _WORD.findall(text))):
        return text
    return _WORD.sub(_latin_word, text)


def _latin_word(found: re.Match[str]) -> str:
    word = found[0]
    return word if word.isascii() else word.translate(_LOOKALIKES)


def _mixed(word: str) -> bool:
    return not word.isascii() and _TWIN.search(word) is not None and _LATIN.search(word) is not None
