"""Ways in which an attack is written so that a reader understands it and a filter may not."""

from __future__ import annotations

import base64
import codecs
import random
from collections.abc import Callable, Mapping

_TWINS = str.maketrans("aeopcyxiAEOPCX", "аеорсухіАЕОРСХ")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_LEET = str.maketrans("oieast", "013457")


def _bold(text: str) -> str:
    return "".join(
        chr(0x1D400 + ord(c) - 65)
        if "A" <= c <= "Z"
        else chr(0x1D41A + ord(c) - 97)
        if "a" <= c <= "z"
        else c
        for c in text
    )


def _spaced(text: str) -> str:
    return "   ".join(" ".join(word) for word in text.split())


def _typos(text: str) -> str:
    chance = random.Random(len(text))
    letters = list(text)
    for place in range(len(letters) - 1):
        if letters[place].isalpha() and chance.random() < 0.02:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


DISGUISES: Mapping[str, Callable[[str], str]] = {
    "look-alike letters": lambda text: text.translate(_TWINS),
    "zero-width characters": lambda text: "\u200b".join(text),
    "full-width": lambda text: text.translate(_WIDE),
    "mathematical bold": _bold,
    "tag characters": lambda text: "".join(
        chr(0xE0000 + ord(c)) if 0x20 <= ord(c) < 0x7F else c for c in text
    ),
    "stacked marks": lambda text: "".join(c + "\u0336" if c.isalpha() else c for c in text),
    "terminal colors": lambda text: " ".join(
        f"\x1b[3{n % 8}m{word}\x1b[0m" for n, word in enumerate(text.split(" "))
    ),
    "leet": lambda text: text.lower().translate(_LEET),
    "spaced letters": _spaced,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "one letter in fifty swapped": _typos,
}
