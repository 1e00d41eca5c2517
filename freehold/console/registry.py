"""Which pages there are, and where each stands in the navigation.

Each module of `console.pages` is a page, or a few that belong together. It has `router(parts)`, and
`TAB` where it stands in the navigation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

from freehold.policy.decide import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One word of the navigation."""

    path: str
    word: str
    needs: tuple[Action, ...] = ()
    """Shown to whoever may one of these in some project; to everyone signed in when empty."""


PAGES = (
    "log_in",
    "first",
    "data",
    "runs",
    "models",
    "services",
    "approvals",
    "answers",
    "incidents",
    "impact",
    "ledger",
    "controls",
    "advise",
)
"""Modules of `console.pages`, in the order of the navigation."""


@cache
def pages() -> tuple[ModuleType, ...]:
    """The modules, imported when they are first needed: they know the door, and the door their tabs."""
    return tuple(import_module(f"freehold.console.pages.{name}") for name in PAGES)


@cache
def tabs() -> tuple[Tab, ...]:
    """The navigation for somebody who may see everything."""
    return tuple(page.TAB for page in pages() if hasattr(page, "TAB"))
