"""Words of the user as a piece of a path."""

from __future__ import annotations

from urllib.parse import quote

from freehold.errors import NotFound


def segment(name: str, kind: str) -> str:
    """`name` as one piece of a path. Raises NotFound when it could become another path."""
    if "/" in name or name in ("", ".", ".."):
        raise NotFound(kind=kind, name=name[:80])
    return quote(name, safe="")
