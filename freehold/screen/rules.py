"""Finding personal data and secrets in a text by rules: one pass says which can apply, windows confirm.

`google-re2` looks for the signs of all families at once, in time that grows with the text and with
nothing else. Only families whose sign is there are then tried, in windows of bounded length around it,
so no text makes the exact patterns slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import re2

from freehold.screen import formats, secrets
from freehold.screen.found import Found, Group, settled
from freehold.screen.normal import normalize, readings
from freehold.screen.views import CODED, PART, encoded, parts

_FAMILIES = (*formats.FAMILIES, *secrets.FAMILIES)
BOTH: frozenset[Group] = frozenset(("pii", "secrets"))


def _compiled() -> re2.Set:
    signs = re2.Set.SearchSet()
    for sign in (*(family.sign for family in _FAMILIES), CODED):
        signs.Add(sign)
    signs.Compile()
    return signs


_SIGNS = _compiled()


def find(text: str, groups: frozenset[Group] = BOTH) -> tuple[Found, ...]:
    """Everything of `groups` that the rules find in `text`, also where it is disguised or encoded.

    Places are those of the original; what overlaps is one.
    """
    found = [
        _at(one, *_beside_escapes(text, *reading.origin(one.start, one.end)))
        for reading in readings(text)
        for one in _hits(reading.text, groups)
    ]
    return settled(found) if found else ()


def _beside_escapes(text: str, start: int, end: int) -> tuple[int, int]:
    """Without a half of an escape at either end: what is left has to stay JSON."""
    if text[start - 1 : start] == "\\" and text[start] in "bfnrt" and start + 1 < end:
        start += 1
    if text[end : end + 1] in _ENDS and (inner := len(text[start:end].rstrip("\\"))):
        end = start + inner
    return start, end


_ENDS = ("", *'"/bfnrtu')


def _hits(text: str, groups: Iterable[Group]) -> Iterator[Found]:
    for index in _signs_in(text):
        if index == len(_FAMILIES):
            yield from _in_coded(text, groups)
        elif _FAMILIES[index].group in groups:
            yield from _FAMILIES[index].hits(text)


def _signs_in(text: str) -> Iterable[int]:
    """Which families can apply, and whether something may be encoded."""
    if len(text) <= PART:
        return _SIGNS.Match(text) or ()
    return {index for _, part in parts(text) for index in _SIGNS.Match(part) or ()}


def _in_coded(text: str, groups: Iterable[Group]) -> Iterator[Found]:
    """A run of base64 or hexadecimal that holds something is that thing as a whole."""
    for view in encoded(text):
        plain = normalize(view.text).text
        for index in _signs_in(plain):
            if index < len(_FAMILIES) and _FAMILIES[index].group in groups:
                yield from (_at(hit, view.start, view.end) for hit in _FAMILIES[index].hits(plain))


def _at(one: Found, start: int, end: int) -> Found:
    return replace(one, start=start, end=end)
