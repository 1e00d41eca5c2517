"""A tree of facts as a drawing: from an answer back, or from a record forward.

On wide screens it grows to the right, one column per generation; on narrow ones it is indented.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from markupsafe import Markup

from freehold.console.charts import svg
from freehold.console.charts.svg import NARROW, WIDE, Screen
from freehold.console.words import cut
from freehold.spec.tree import Tree

_ID = re.compile(r"[a-z]{3}_[0-9a-z]{26}")

Address = Callable[[Tree], str | None]
"""Where a click on a node leads."""

BOX, ROW, GAP = 40, 50, 26
"""Pixels: a box's height, from one leaf to the next, between two generations."""
INDENT = 14
MOST = 400
"""Nodes that are drawn; the text below the drawing has them all."""


@dataclass(frozen=True, slots=True)
class _Node:
    tree: Tree
    depth: int
    parent: int | None
    row: float
    """Where it stands among the leaves; the middle of its children."""


def tree(root: Tree, address: Address, *, label: str) -> Markup:
    """The drawing of `root` and what hangs on it, for both kinds of screens."""
    nodes = _laid_out(root)[:MOST]
    return Markup("").join((_across(nodes, address, label), _down(nodes, address, label)))


def _laid_out(root: Tree) -> list[_Node]:
    """Every node, parents before their children."""
    nodes: list[_Node] = []
    leaves = 0

    def place(tree: Tree, depth: int, parent: int | None) -> float:
        nonlocal leaves
        number = len(nodes)
        nodes.append(_Node(tree, depth, parent, 0.0))
        rows = [place(child, depth + 1, number) for child in tree.children]
        if rows:
            row = (rows[0] + rows[-1]) / 2
        else:
            row, leaves = float(leaves), leaves + 1
        nodes[number] = _Node(tree, depth, parent, row)
        return row

    place(root, 0, None)
    return nodes


def _across(nodes: list[_Node], address: Address, label: str) -> Markup:
    deepest = max(node.depth for node in nodes)
    wide = min(210.0, (WIDE.width - GAP * deepest) / (deepest + 1))
    height = (max(node.row for node in nodes) + 1) * ROW

    def at(node: _Node) -> tuple[float, float]:
        return node.depth * (wide + GAP), node.row * ROW + 4

    drawn = []
    for node in nodes:
        if node.parent is not None:
            x0, y0 = at(nodes[node.parent])
            x1, y1 = at(node)
            start, middle = x0 + wide, x1 - GAP / 2
            drawn.append(
                svg.el(
                    "path",
                    d=f"M{start:.1f} {y0 + BOX / 2:.1f}H{middle:.1f}V{y1 + BOX / 2:.1f}H{x1:.1f}",
                    class_="branch",
                )
            )
    drawn += [_box(node, *at(node), wide, WIDE, address) for node in nodes]
    return svg.drawing(WIDE, height, label, *drawn, kind="tree")


def _down(nodes: list[_Node], address: Address, label: str) -> Markup:
    drawn, height = [], len(nodes) * (BOX + 6)
    for number, node in enumerate(nodes):
        x, y = float(node.depth * INDENT), float(number * (BOX + 6) + 2)
        if node.parent is not None:
            above = node.parent * (BOX + 6) + 2 + BOX
            drawn.append(
                svg.el("path", d=f"M{x - INDENT + 6:.1f} {above}V{y + BOX / 2:.1f}H{x:.1f}", class_="branch")
            )
        drawn.append(_box(node, x, y, NARROW.width - x, NARROW, address))
    return svg.drawing(NARROW, height, label, *drawn, kind="tree")


def _box(node: _Node, x: float, y: float, wide: float, screen: Screen, address: Address) -> Markup:
    tree = node.tree
    letters = screen.fits(wide - 16)
    said = f"{tree.kind} {tree.ref}"
    word = cut(_word(tree), int(letters * 0.87))  # bold letters are wider
    note = tree.hole or tree.label
    return svg.link(
        None if tree.hole else address(tree),
        svg.rect(x, y, wide, BOX, f"box {_class(tree)}"),
        svg.text(x + 8, y + 16, word, "word"),
        svg.text(x + 8, y + 32, cut(note, letters), "note"),
        svg.title(f"{said}: {note}"),
        label=f"{said}: {note}",
    )


def _word(tree: Tree) -> str:
    """What a box is called: of an id the end is enough, and what names its kind itself stands alone."""
    if _ID.fullmatch(tree.ref):
        return f"{tree.kind} …{tree.ref[-4:]}"
    if tree.kind == "answers" or tree.ref.startswith(f"{tree.kind}:"):
        return tree.ref if tree.kind != "answers" else tree.kind
    return f"{tree.kind} {tree.ref}"


def _class(tree: Tree) -> str:
    if tree.hole:
        return "hole"
    if tree.facts.get("passed") is False or tree.facts.get("holds") is False:
        return "wrong"
    return f"k-{tree.kind}"


def lines(root: Tree) -> Iterator[tuple[int, Tree]]:
    """(depth, node) of every node in the order they are read: the same as text."""

    def walk(tree: Tree, depth: int) -> Iterator[tuple[int, Tree]]:
        yield depth, tree
        for child in tree.children:
            yield from walk(child, depth + 1)

    return walk(root, 0)
