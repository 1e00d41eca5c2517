"""Where a node of lineage leads: one page per kind of thing."""

from __future__ import annotations

from urllib.parse import quote

from freehold.spec.tree import Tree


def address(tree: Tree, *, data: bool) -> str | None:
    """The page about a node; none where it has none of its own, or is data that its reader may not read."""
    ref = quote(tree.ref, safe="@:-_.")
    match tree.kind:
        case "answer":
            return f"/answers/{ref}"
        case "service":
            return f"/services/{ref}"
        case "release":
            service = quote(str(tree.facts.get("service", "")), safe="")
            return f"/services/{service}" if service else None
        case "approval":
            return f"/approvals/{ref}"
        case "model":
            return f"/impact/model:{ref}"
        case "run":
            return f"/runs/{ref.removeprefix('run:')}"
        case "data":
            return f"/impact/data:{ref}" if data else None
    return None
