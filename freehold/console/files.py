"""Style sheet, scripts and the mark: read once, addressed by their digest, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of `assets/`."""

    data: bytes
    kind: str
    digest: str


@cache
def every() -> dict[str, Asset]:
    """Name to file; nothing else is ever served from `/assets/`."""
    found = {}
    for file in (files("freehold.console") / "assets").iterdir():
        ending = file.name[file.name.rfind(".") :]
        if ending in KINDS:
            data = file.read_bytes()
            found[file.name] = Asset(data, KINDS[ending], hashlib.sha256(data).hexdigest()[:16])
    return found


def address(name: str) -> str:
    """Where a page finds it."""
    return f"/assets/{name}?v={every()[name].digest}"
