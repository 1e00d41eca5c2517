"""Every code that a gateway may answer with stands in the manual, beside its status; and no other does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from freehold import gateway
from freehold.errors import Failure

MANUAL = Path(__file__).parents[2] / "docs" / "manual" / "gateway.md"
BESIDE = ("freehold.engines.wanted", "freehold.store.group_commit", "freehold.store.spool")
"""What the gateway's own path leans on."""
INSIDE = {
    *("ControlAway", "ControlWentBack", "PageMissing", "SnapshotStrange"),
    *("FolderUnwritable", "NotEnrolled", "SeatsTaken", "SpoolDamaged", "SpoolInUse", "TooMany"),
}
"""Between the gateway and control or whoever starts it, or what others are made of: no caller hears it."""
AT_THE_EDGE = {"too_many_connections"}
"""Told before there is anything to raise."""


def kinds() -> Iterator[type[Failure]]:
    names = [
        one.name for one in walk_packages(gateway.__path__, "freehold.gateway.") if "__main__" not in one.name
    ]
    for name in (*names, *BESIDE):
        for kind in vars(import_module(name)).values():
            if isinstance(kind, type) and issubclass(kind, Failure) and kind.__module__ == name:
                yield kind


def code(kind: type[Failure]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def documented() -> dict[str, set[int]]:
    """Code -> the statuses of its row."""
    table = MANUAL.read_text().partition("## Errors")[2].partition("### ")[0]
    found: dict[str, set[int]] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0][:1].isdigit():
            for word in re.findall(r"`([a-z_]+)`", cells[1]):
                found[word] = {int(status) for status in cells[0].split(", ")}
    return found


def test_every_code_that_callers_may_hear_stands_in_the_manual_with_its_status() -> None:
    told, there = {code(kind): kind.status for kind in kinds() if kind.__name__ not in INSIDE}, documented()
    assert told.keys() - there.keys() == set(), "docs/manual/gateway.md, Errors: these are missing"
    assert there.keys() - told.keys() == AT_THE_EDGE, "nothing is called so any more"
    assert {name: status for name, status in told.items() if status not in there[name]} == {}
