"""How commands print: tables for people, `--json` for programs; and the two options every command has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click


def with_control(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--url`, `--ca`, `--key-file`, `--json`.

    The command gets `control` (a client.Freehold) and `as_json`.
    """
    from functools import wraps

    @click.option("--url", help="where control is; else FREEHOLD_URL, else this machine")
    @click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False),
        help="the CA of an https control, a PEM file; else FREEHOLD_CA, else this machine's",
    )
    @click.option(
        "--key-file",
        type=click.Path(exists=True, dir_okay=False),
        help="a file holding your key; else FREEHOLD_KEY",
    )
    @click.option("--json", "as_json", is_flag=True, help="print JSON")
    @wraps(command)
    def wrapped(url: str | None, ca: str | None, key_file: str | None, as_json: bool, **options: Any) -> Any:
        from freehold.client import Freehold, key_in

        with Freehold(url, key_in(key_file) if key_file else None, ca=ca) as control:
            return command(control=control, as_json=as_json, **options)

    return wrapped


def say(value: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print `value` as JSON, or as the text made of it."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text(value))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A plain table: two blanks between columns, numbers right, no lines to break a copy."""
    if not rows:
        return "(none)"
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    right = [all(_is_number(row.get(column)) for row in rows) for column in columns]
    head = "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(columns, widths, right, strict=True))
    body = [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in [head, *body])


def not_yet(done: Mapping[str, Any]) -> str:
    """What is said behind a change of which a gateway has not heard; nothing once every one has."""
    return "" if done["applied"] else " (a gateway has not heard of it yet)"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(v) for v in value) or "–"
    return str(value)
