"""`freehold retention` and `freehold hold`: how long things are kept, and what stays whatever a rule says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.groups import Group
from freehold.cli.show import say, table, with_control
from freehold.cli.whom import whom
from freehold.spec.figures import plural

if TYPE_CHECKING:
    from freehold.client import Freehold

_PURPOSE = click.option("--purpose", default="*", help="only words of this purpose")
_LEVEL = click.option("--sensitivity", default="", help="only words of services of this sensitivity")


@click.group(cls=Group, about="show")
def retention() -> None:
    """How long words and rows are kept. The clock does the rest: what is over goes, with a certificate."""


@retention.command("show")
@click.argument("project")
@with_control
def show(control: Freehold, as_json: bool, project: str) -> None:
    """The rules of PROJECT, when its data sets end, the holds that stand, and what is over by now."""
    say(control.get("/api/retention", project=project), as_json, _shown)


def _shown(told: Mapping[str, Any]) -> str:
    words = [_rule(rule) for rule in told["rules"] if rule["what"] == "words"]
    lines = words or ["words: kept without end, for there is no rule; `freehold retention set`"]
    lines += [
        f"runs of MLflow clients: {rule['keep']} from their end"
        for rule in told["rules"]
        if rule["what"] == "runs"
    ]
    lines += [f"rows of {one['ref']}: {one['keep']}, until {_day(one['kept_until'])}" for one in told["data"]]
    lines += [f"hold {one['id']}: {one['what']} {one['object']}" for one in told["holds"]]
    due = told["due"]
    over = ", ".join(
        (
            f"{plural(due['days'], 'day')} of words",
            plural(due["data"], "data set version"),
            plural(due["runs"], "run"),
        )
    )
    lines.append(f"over now: {over}; {due['held']} held" if any(due.values()) else "over now: nothing")
    return "\n".join(lines)


def _rule(rule: Mapping[str, Any]) -> str:
    which = f"{_any(rule['purpose'], 'any purpose')}, {_any(rule['sensitivity'], 'any sensitivity')}"
    return f"words of {which}: {rule['keep']} from the end of their day"


def _any(word: str | None, otherwise: str) -> str:
    return otherwise if word in (None, "*") else str(word)


def _day(micros: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d")


@retention.command("set")
@click.argument("project")
@click.option("--words", default="", help="how long what was asked and answered is kept: 90d, 18m, 2y")
@click.option("--runs", default="", help="how long words and files of MLflow clients are kept after a run")
@_PURPOSE
@_LEVEL
@with_control
def set_rule(
    control: Freehold, as_json: bool, project: str, words: str, runs: str, purpose: str, sensitivity: str
) -> None:
    """Say how long the words of answers, or runs, are kept in PROJECT. The most precise rule counts.

    Counted from the end of an answer's day, in UTC, or from a run's end. The record of an answer, without a
    word of it, stays; so do a run's measurements.
    """
    if bool(words) == bool(runs):
        from freehold.errors import BadInput

        raise BadInput(
            what="it does not say what is kept for how long",
            why="one of --words and --runs is needed",
            hint=f"freehold retention set {project} --words 90d",
        )
    what = "words" if words else "runs"
    body = {"project": project, "what": what, "purpose": purpose, "sensitivity": sensitivity}
    body["keep"] = words or runs
    say(control.post("/api/retention", body), as_json, lambda rule: f"kept for {rule['keep']}")


@retention.command("unset")
@click.argument("project")
@click.option("--runs", is_flag=True, help="the rule about runs of MLflow clients")
@_PURPOSE
@_LEVEL
@with_control
def unset(control: Freehold, as_json: bool, project: str, runs: bool, purpose: str, sensitivity: str) -> None:
    """Take a rule back: its words are kept until another rule says otherwise."""
    what = "runs" if runs else "words"
    body = {"project": project, "what": what, "purpose": purpose, "sensitivity": sensitivity}
    say(control.post("/api/retention/end", body), as_json, lambda _: "the rule counts no more")


@retention.command("certificate")
@click.argument("journey")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="write it to this file")
@with_control
def certificate(control: Freehold, as_json: bool, journey: str, out: Path | None) -> None:
    """Get the certificate of a purge; `freehold verify --certificate FILE` checks it.

    JOURNEY is the id that `freehold runs journeys` lists the purge under.
    """
    from freehold.cli.files import write
    from freehold.cli.path import segment

    held = control.get(f"/api/certificates/{segment(journey, 'journey')}")
    text = json.dumps(held, indent=2)
    if out is not None:
        write(out, text + "\n")
    said = f"written to {out}: check it with `freehold verify --certificate {out}`" if out else text
    say(held, as_json, lambda _: said)


@click.group(cls=Group, about="list")
def hold() -> None:
    """Legal holds: what they cover is neither purged nor forgotten while they stand."""


@hold.command("place")
@click.argument("project")
@click.option("--everything", is_flag=True, help="all of the project")
@click.option("--service", default="", help="the words of a service")
@click.option("--purpose", default="", help="words and data sets of a purpose")
@click.option("--data", default="", help="every version of a data set")
@click.option("--subject", default="", help="a person, as the data names them; `-`: from standard input")
@click.option("--because", required=True, help="why; sealed, and in the ledger as a commitment only")
@with_control
def place(
    control: Freehold,
    as_json: bool,
    project: str,
    everything: bool,
    service: str,
    purpose: str,
    data: str,
    subject: str,
    because: str,
) -> None:
    """Begin a legal hold in PROJECT, on one of the things below."""
    named = {"service": service, "purpose": purpose, "data": data, "subject": whom(subject)}
    asked = [(what, name) for what, name in named.items() if name] + [("everything", "")] * everything
    if len(asked) != 1:
        from freehold.errors import BadInput

        raise BadInput(
            what="it does not say what is held",
            why="one of --everything, --service, --purpose, --data and --subject is needed",
            hint=f"freehold hold place {project} --service NAME --because 'case 12/2026'",
        )
    what, object = asked[0]
    body = {"project": project, "what": what, "object": object, "because": because}
    say(control.post("/api/holds", body), as_json, lambda told: f"{told['hold']} stands")


@hold.command("list")
@click.argument("project")
@with_control
def listed(control: Freehold, as_json: bool, project: str) -> None:
    """Every hold there was in PROJECT, the newest first, with the reasons."""
    say(control.get("/api/holds", project=project), as_json, _holds)


def _holds(rows: Any) -> str:
    from freehold.cli.times import moment

    shown = [
        {
            **row,
            "placed": moment(row["placed_at"]),
            "ended": moment(row["ended_at"]) if row["ended_at"] else "",
        }
        for row in rows
    ]
    return table(shown, ("id", "what", "object", "placed", "ended", "because")) if shown else "no holds"


@hold.command("end")
@click.argument("hold")
@click.option("--because", required=True, help="why; sealed, and in the ledger as a commitment only")
@with_control
def end(control: Freehold, as_json: bool, hold: str, because: str) -> None:
    """End a legal hold. What was over meanwhile goes with the next purge."""
    from freehold.cli.path import segment

    told = control.post(f"/api/holds/{segment(hold, 'hold')}/end", {"because": because})
    say(told, as_json, lambda told: f"{told['hold']} has ended")
