"""What every list on a page needs: filters and places from the address, and the addresses beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Request

from freehold.control.found import Cursor, Page, Way, read, written
from freehold.errors import BadInput

SIZE = 50
"""Rows on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a list somebody is."""

    cursor: Cursor | None
    way: Way


def place(request: Request) -> Place:
    """From `?older=TIME.ID` or `?newer=TIME.ID`; the newest rows without. Raises BadInput."""
    for way in ("older", "newer"):
        if text := request.query_params.get(way, ""):
            cursor = read(text[:80])
            if cursor is None:
                raise BadInput(what=f"`{way}` is no place in this list", hint="begin at its first page")
            return Place(cursor=cursor, way="newer" if way == "newer" else "older")
    return Place(cursor=None, way="older")


def beside(request: Request, page: Page) -> dict[str, Any]:
    """The addresses of the pages before and after this one, with the same filters."""
    kept = {k: v for k, v in request.query_params.items() if k not in ("older", "newer", "said") and v}
    return {
        "newer": _address(request, kept, "newer", page.newer),
        "older": _address(request, kept, "older", page.older),
    }


def _address(request: Request, kept: Mapping[str, str], way: str, cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    return f"{request.url.path}?{urlencode({**kept, way: written(cursor)})}"


def chosen(request: Request, *names: str) -> dict[str, str]:
    """The filters that were filled in; empty text where one was not."""
    return {name: request.query_params.get(name, "").strip()[:200] for name in names}


def moment(text: str, zone: str) -> int | None:
    """Microseconds for what a date-and-time field sends, in the installation's zone. Raises BadInput."""
    if not text:
        return None
    try:
        said = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(what=f"`{text[:40]}` is no time", hint="write 2026-11-21T14:30") from error
    aware = said if said.tzinfo else said.replace(tzinfo=ZoneInfo(zone))
    return int(aware.timestamp() * 1_000_000)
