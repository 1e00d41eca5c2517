"""Identifiers, times and digests: the three small things every other record is made of."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from freehold.errors import BadInput

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32, lower case: sorts as it counts
_LETTERS = bytes(ord(_ALPHABET[byte % 32]) for byte in range(256))
"""A letter for each byte, each letter for as many of them: random bytes become as random letters."""
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_ID = re.compile(f"[{_ALPHABET}]{{26}}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class Clock(Protocol):
    """Anything that tells the time; tests pass one that moves when told."""

    def __call__(self) -> int:
        """Microseconds since 1970-01-01 UTC."""


def now() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def new_id(prefix: str) -> str:
    """`prefix_` and 26 characters: 48 bits of milliseconds, then 80 random bits (the ULID layout)."""
    return f"{prefix}_{_in_letters(time.time_ns() // 1_000_000)}{os.urandom(16).translate(_LETTERS).decode()}"


@lru_cache(maxsize=64)  # many are made in one millisecond
def _in_letters(milliseconds: int) -> str:
    """The first 10 of an id's characters."""
    return "".join(_ALPHABET[(milliseconds >> shift) & 31] for shift in range(45, -1, -5))


_MOMENT = 10
"""Digits of an id that say when it was made."""
_BASE_32 = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")


def made_at(id: str) -> int | None:
    """When an id of `new_id` was made, microseconds UTC to the millisecond; none for what is no such id."""
    digits = id.rpartition("_")[2]
    if not _ID.fullmatch(digits):
        return None
    return int(digits[:_MOMENT].translate(_BASE_32), 32) * 1000


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no blanks, UTF-8: the one form we hash and sign.

    Floats are refused, because two languages may print the same float differently; write decimals
    as text. Keys must be text.
    """
    if _is_plain(value):
        return _written(value)
    return _text(value).encode()


_written = msgspec.json.Encoder(order="sorted").encode
"""Ten times as fast, the same bytes (tests/spec/test_ids.py); it knows types that JSON does not."""
_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_PLAIN = frozenset({str, int, bool, type(None)})


def _is_plain(value: Any) -> bool:
    """Whether it is made of JSON's own types, not of derived ones. Refuses floats, and keys not of text."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if isinstance(value, float):
        raise TypeError("a canonical record holds no floats: write the decimal as text")
    plain = kind is dict or kind is list or kind is tuple
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError("a canonical record has text keys only")
            plain = (type(inner) in _PLAIN or _is_plain(inner)) and type(key) is str and plain
    elif isinstance(value, list | tuple):
        for inner in value:
            plain = (type(inner) in _PLAIN or _is_plain(inner)) and plain
    return plain


def digest_bytes(data: bytes) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """The digest of a value's canonical form."""
    return digest_bytes(canonical(value))


class BadName(BadInput):
    """`{name}` is not a usable name for a {kind}"""


def check_name(name: str, kind: str) -> str:
    """`name` itself, when it is lower-case words joined by single hyphens, 1 to 63 characters."""
    if len(name) > 63 or not _NAME.fullmatch(name):
        raise BadName(
            name=name[:80],
            kind=kind,
            why="names are lower-case letters and digits, words joined by `-`, 63 characters at most",
            hint=f"try `{_nearest_name(name)}`",
        )
    return name


def _nearest_name(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", name.lower())
    joined = "-".join(words)[:63].strip("-") or "claims"
    return joined if joined[0].isalpha() else f"x-{joined}"[:63]


def parse_reference(text: str, kind: str = "data set") -> tuple[str, int]:
    """`name@version` as (name, version). There is no "latest".

    Raises BadInput when the version is not written out.
    """
    name, _, version = text.partition("@")
    if not _VERSION.fullmatch(version):
        raise BadInput(
            what=f"`{text[:80]}` does not say which version of the {kind} is meant",
            why="versions are always written out, so that a plan means the same tomorrow",
            hint=f"write `{name[:63] or 'name'}@1`",
        )
    return check_name(name, kind), int(version)
