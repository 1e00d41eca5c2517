"""Lineage on a terminal: an indented tree, one thing a line; holes keep their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]


def render(tree: Node, *, facts: bool = False) -> str:
    """The tree with box characters; with `facts` every fact on a line of its own."""
    return "\n".join(
        [_line(tree), *_facts(tree, "", facts, bool(tree["children"])), *_below(tree, "", facts)]
    )


def _below(node: Node, indent: str, facts: bool) -> Iterator[str]:
    children = [*node["children"], *_ids(node)]
    for child in children:
        last = child is children[-1]
        yield f"{indent}{'└─' if last else '├─'} {_line(child)}"
        inner = indent + ("   " if last else "│  ")
        yield from _facts(child, inner, facts, bool(child["children"]))
        yield from _below(child, inner, facts)


def _line(node: Node) -> str:
    ref = _ref(node)
    kind = "" if ref.startswith(f"{node['kind']}:") else node["kind"]  # `run:12` says that it is a run
    words = [word for word in (kind, ref) if word]
    said = " ".join(words)
    if node["label"]:
        said += f" · {node['label']}" if words else node["label"]
    return f"{said} [{node['hole']}]" if node["hole"] else said


def _ref(node: Node) -> str:
    """`answers` and `rows` stand for many: their label says how many, their ref would say nothing."""
    return "" if node["kind"] in ("answers", "rows") else str(node["ref"])


def _ids(node: Node) -> list[Node]:
    """The answers of an `answers` node as leaves, and how many are left out."""
    if node["kind"] != "answers":
        return []
    leaves = [_leaf(id) for id in node["facts"]["ids"]]
    if node["facts"]["more"] and leaves:
        rest = f"freehold answer --{node['ref']} --after={node['facts']['ids'][-1]}"
        leaves.append(_leaf(f"… {node['facts']['more']} more: `{rest}`"))
    return leaves


def _leaf(text: str) -> Node:
    return {"kind": "", "ref": text, "label": "", "hole": "", "facts": {}, "children": []}


def _facts(node: Node, indent: str, wanted: bool, has_children: bool) -> Iterator[str]:
    if not wanted or node["kind"] == "answers":
        return
    bar = "│  " if has_children else "   "
    for name, value in node["facts"].items():
        if value not in (None, "", [], {}):
            yield f"{indent}{bar}{name}: {value}"
