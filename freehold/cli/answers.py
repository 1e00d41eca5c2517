"""`freehold ask`, `answer`, `why`, `impact`: ask a service, and follow what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.ask import ask as ask
from freehold.cli.path import segment
from freehold.cli.show import say, table, with_control
from freehold.cli.times import moment
from freehold.cli.whom import whom

if TYPE_CHECKING:
    from freehold.client import Freehold

_FACTS = click.option("--facts", is_flag=True, help="print every id, digest and time too")
_AS = click.option(
    "--as",
    "form",
    type=click.Choice(["tree", "prov", "openlineage"]),
    default="tree",
    help="for other tools: W3C PROV-JSON, or OpenLineage events",
)


@click.command()
@click.argument("answer", required=False)
@click.option("--words", is_flag=True, help="also what was asked and answered; reading it is recorded")
@click.option("--project", help="list: answers of one project")
@click.option("--service", help="list: answers of one service")
@click.option("--release", help="list: answers of one release")
@click.option("--subject", help="list: answers about one person, as their records carry it")
@click.option("--ending", help="list: answered, denied, cut off or failed")
@click.option("--after", help="list: continue behind this id, to older ones")
@click.option("--limit", default=20, show_default=True, help="list: how many")
@with_control
def answer(control: Freehold, as_json: bool, answer: str | None, words: bool, **wanted: Any) -> None:
    """Show the record of an ANSWER; without one, list records, the newest first."""
    if answer is None:
        found = control.get("/api/answers", **wanted)
        say(found, as_json, _list)
        return
    record = control.get(f"/api/answers/{segment(answer, 'answer')}")
    if words:
        record |= control.post(f"/api/answers/{segment(answer, 'answer')}/words")
    say(record, as_json, _record)


def _list(found: Mapping[str, Any]) -> str:
    rows = [
        row | {"at": moment(row["at"]), "ending": row["ending"] or "under way"} for row in found["answers"]
    ]
    text = table(rows, ("id", "at", "service", "purpose", "ending", "reason"))
    return f"{text}\n\nmore: --after {found['next']}" if found["next"] else text


def _record(record: Mapping[str, Any]) -> str:
    times = {name: moment(record[name]) for name in ("at", "closed_at") if record[name]}
    shown = {**record, **times, "ending": record["ending"] or "under way"}
    places = record["ledger"]
    shown["ledger"] = ", ".join(f"{k} at {v if v is not None else 'not yet'}" for k, v in places.items())
    width = max(map(len, shown))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items() if value is not None)


@click.command()
@click.argument("answer")
@click.option("--rows", default=5, show_default=True, help="how many rows of the data are told one by one")
@_FACTS
@_AS
@with_control
def why(control: Freehold, as_json: bool, answer: str, rows: int, facts: bool, form: str) -> None:
    """From an ANSWER back to the release, approvals, gates, model, run, data and rows behind it."""
    from freehold.cli.tree import render

    tree = control.get(f"/api/why/{segment(answer, 'answer')}", rows=rows, form=form)
    say(tree, as_json or form != "tree", lambda t: render(t, facts=facts))


@click.command()
@click.argument("ref")
@click.option("--project", help="when the name is in several projects")
@click.option("--row", type=int, help="one row of the data set version, from 1")
@click.option("--subject", help="one person, as the subject column says; `-` reads it from standard input")
@click.option("--limit", default=20, show_default=True, help="how many answers to name")
@_FACTS
@_AS
@with_control
def impact(
    control: Freehold,
    as_json: bool,
    ref: str,
    project: str | None,
    row: int | None,
    subject: str | None,
    limit: int,
    facts: bool,
    form: str,
) -> None:
    """From a data set or model version (REF is NAME@VERSION) forward to models, releases and answers."""
    from freehold.cli.tree import render

    body = {"ref": ref, "project": project, "row": row, "limit": limit}
    body["subject"] = whom(subject) if subject else None
    body = {name: value for name, value in body.items() if value is not None}
    tree = control.post("/api/impact", body, form=form)
    say(tree, as_json or form != "tree", lambda t: render(t, facts=facts))
