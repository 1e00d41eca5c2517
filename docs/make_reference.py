"""Writes the tables of fields in the manual from the records themselves.

    python docs/make_reference.py          rewrite the tables
    python docs/make_reference.py --check  only say whether they are current (exit 1 when not)

A table stands between `<!-- fields of NAME -->` and `<!-- end -->`. What a field means is the
docstring below it; a field without one is an error: a setting nobody explained is not finished.
The kinds of ledger entries stand between `<!-- kinds of entries -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from freehold.ledger.kinds import COMMON, taxonomy
from freehold.spec import callers, config, guard, service, watching

MANUAL = Path(__file__).parent / "manual"
RECORDS = {
    kind.__name__: kind
    for module in (service, guard, callers, config, watching)
    for kind in vars(module).values()
    if inspect.isclass(kind) and kind.__module__ == module.__name__
}
_TABLE = re.compile(r"(<!-- fields of (\w+) -->\n).*?(<!-- end -->)", re.S)
_KINDS = re.compile(r"(<!-- kinds of entries -->\n).*?(<!-- end -->)", re.S)


def main(argv: list[str]) -> int:
    """Rewrite, or check, every page that has such a table."""
    stale = []
    for page in sorted(MANUAL.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = _TABLE.sub(lambda found: found[1] + table(RECORDS[found[2]]) + found[3], before)
        after = _KINDS.sub(lambda found: found[1] + kinds() + found[2], after)
        if after != before:
            stale.append(page.name)
            if "--check" not in argv:
                page.write_text(after, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'is not current' if '--check' in argv else 'rewritten'}")
    return int(bool(stale) and "--check" in argv)


def table(kind: Any) -> str:
    """A record's fields: name, what may stand there, default, meaning."""
    told, hints = meanings(kind), get_type_hints(kind)
    lines = ["| field | may be | default | meaning |", "|---|---|---|---|"]
    for one in fields(kind):
        row = (f"`{one.name}`", words(hints[one.name]), default(one), told[one.name])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"


def kinds() -> str:
    """What every entry has, and each kind with its fields; those in brackets may be left out."""
    lines = ["| field | what it says |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in COMMON.items()]
    lines += ["", "| kind | what it says | fields of `detail` |", "|---|---|---|"]
    for one in taxonomy()["kinds"]:
        fields_ = [f"`{name}`" for name in one["must"]] + [f"[`{name}`]" for name in one["may"]]
        lines.append(f"| `{one['kind']}` | {one['about']} | {', '.join(fields_)} |")
    return "\n".join(lines) + "\n"


def meanings(kind: Any) -> dict[str, str]:
    """Field -> the docstring that stands below it. Raises LookupError when one is missing."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    told = dict(_documented(body.body))
    for one in fields(kind):
        if one.name not in told:
            raise LookupError(f"{kind.__name__}.{one.name} has no docstring")
    return told


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, below in pairwise(body):
        named = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield statement.target.id, " ".join(str(below.value.value).split())  # type: ignore[attr-defined]


def words(hint: Any) -> str:
    """A type as a reader of YAML knows it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in inner)
    if origin is tuple:
        return f"list of {words(inner[0])}"
    if origin is dict:
        return f"names with {words(inner[1])}"
    if hint in RECORDS.values():
        return str(hint.__name__)
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): ""}
    if inner:
        parts = [words(one) for one in inner if one is not type(None)]
        return " or ".join(dict.fromkeys(parts))
    return plain[hint]


def default(one: Field[Any]) -> str:
    """What it is when it is left out."""
    if one.default is not MISSING:
        value = one.default
    elif one.default_factory is not MISSING:
        value = one.default_factory()
    else:
        return "must be said"
    if value in ("", (), {}, None) or type(value).__name__ in RECORDS:
        return "–"
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{shown.lower() if isinstance(value, bool) else shown}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
