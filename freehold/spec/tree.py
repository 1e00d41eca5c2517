"""A tree of facts: how lineage is told, backward from an answer or forward from a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One thing, what is known of it, and what lies behind (or before) it.

    A hole is a thing that was there and is gone, or that the reader may not see: the tree keeps its
    place and says why.
    """

    kind: str
    """answer | service | release | approval | model | card | gate | run | data | row | subject | …"""
    ref: str
    """How users name it: `ans_…`, `claims@7`, `run:12`."""
    label: str = ""
    """One line for people."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Ids, digests, counts, times; plain data."""
    children: tuple[Tree, ...] = ()
    hole: str = ""
    """Why there is nothing here: `forgotten`, `not yours to see`; empty for what is there."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, the same words as the record."""
        return {
            "kind": self.kind,
            "ref": self.ref,
            "label": self.label,
            "facts": dict(self.facts),
            "hole": self.hole,
            "children": [child.as_json() for child in self.children],
        }
