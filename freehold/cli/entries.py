"""`freehold ledger`: which kinds of entries there are, and the entries themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.groups import Group
from freehold.cli.path import segment
from freehold.cli.show import say, table, with_control
from freehold.cli.times import moment, read_moment

if TYPE_CHECKING:
    from freehold.client import Freehold


@click.group(cls=Group, about="show")
def ledger() -> None:
    """What happened, by whom, to what. `freehold verify` proves it."""


@ledger.command("types")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def types(kind: str | None, as_json: bool) -> None:
    """Every kind of entry of this release; of KIND, the fields that its entries hold.

    KIND may be the first words of several, such as `answer`. Needs no running installation.
    """
    from freehold.errors import NotFound
    from freehold.ledger.kinds import taxonomy

    told = taxonomy()
    if kind is not None:
        found = [one for one in told["kinds"] if one["kind"] == kind or one["kind"].startswith(f"{kind}.")]
        if not found:
            raise NotFound(kind="kind of entry", name=kind[:60], hint="`freehold ledger types` lists them")
        told |= {"kinds": found}
    say(told, as_json, _all_kinds if kind is None else _kinds)


def _all_kinds(told: Mapping[str, Any]) -> str:
    head = f"taxonomy {told['version']} of ledger entries, {len(told['kinds'])} kinds, {told['digest']}"
    return f"{head}\n\n{table(told['kinds'], ('kind', 'about'))}"


def _kinds(told: Mapping[str, Any]) -> str:
    return "\n\n".join(map(_kind, told["kinds"]))


def _kind(one: Mapping[str, Any]) -> str:
    fields = [f"  {word:<7} {', '.join(one[word]) or '–'}" for word in ("must", "may", "tables")]
    return "\n".join((f"{one['kind']}  {one['about']}", *fields))


@ledger.command("entries")
@click.option("--object", help="about this: an id, a name, a reference such as claims@7")
@click.option("--actor", help="by this person, machine or job, as its id")
@click.option("--kind", help="of this kind; `freehold ledger types` lists them")
@click.option("--project", help="in this project")
@click.option("--since", help="from this time on, such as 2026-11-21T14:30Z")
@click.option("--until", help="before this time")
@click.option("--older", help="continue: the place that the page before named")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="how many")
@with_control
def listed(control: Freehold, as_json: bool, since: str | None, until: str | None, **wanted: Any) -> None:
    """Entries you may read, newest first, page by page."""
    times = {name: read_moment(text) for name, text in (("since", since), ("until", until)) if text}
    say(control.get("/api/entries", **wanted, **times), as_json, _list)


def _list(told: Mapping[str, Any]) -> str:
    rows = [row | {"at": moment(row["at"])} for row in told["entries"]]
    text = table(rows, ("ix", "at", "kind", "actor", "project", "object", "id"))
    return f"{text}\n\nmore: --older {told['next']}" if told["next"] else text


@ledger.command("show")
@click.argument("entry")
@with_control
def show(control: Freehold, as_json: bool, entry: str) -> None:
    """One ENTRY as it was hashed, and its place."""
    say(control.get(f"/api/entries/{segment(entry, 'entry')}"), as_json, _entry)


def _entry(told: Mapping[str, Any]) -> str:
    body = {name: value for name, value in told.items() if name not in ("ix", "at", "detail")}
    body |= {"allowed": ", ".join(told["allowed"])} if "allowed" in told else {}
    shown = {"place": told["ix"], "at": moment(told["at"]), **body, **_flat(told["detail"])}
    width = max(map(len, shown))
    return "\n".join(f"{name.ljust(width)}  {'–' if v is None else v}" for name, v in shown.items())


def _flat(detail: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"  {name}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in sorted(detail.items())
    }
