"""`freehold subject` and `freehold forget`: what is held about one person, and forgetting them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.groups import Group
from freehold.cli.show import say, with_control
from freehold.cli.watching import looks, may_be_left
from freehold.cli.whom import whom
from freehold.errors import Failure
from freehold.spec.figures import one_or, plural

if TYPE_CHECKING:
    from freehold.client import Freehold

_WHOM = (
    "SUBJECT is the person as the data names them; `-` reads it from standard input, so that it stands in no "
    "shell's history. Control turns the name into a keyed hash and drops it."
)
_COLUMNS = {
    "destroyed": "destroyed",
    "rebuilt": "rebuilt without the person",
    "retired": "retired",
    "kept": "kept by law",
    "out_of_reach": "out of reach",
}
_COUNTED = {
    "rows": ("row", "rows"),
    "words of answers": ("answer's words", "answers' words"),
    "words of consent": ("word of consent", "words of consent"),
    "entries of answers, without words": (
        "answer's entries, without words",
        "answers' entries, without words",
    ),
    "answers by a provider": ("answer by a provider", "answers by a provider"),
    "backups, unreadable with the keys of after": (
        "backup, unreadable with the keys of after",
        "backups, unreadable with the keys of after",
    ),
}
"""What is counted, behind one and behind more."""
_OUT = click.Path(dir_okay=False, path_type=Path)


class NotForgotten(Failure):
    """the forgetting did not come to its end"""

    exit_code = 1


@click.group(cls=Group, about="show")
def subject() -> None:
    """What is held about one person: shown in numbers, exported in full."""


@subject.command("show", epilog=_WHOM)
@click.argument("subject")
@click.option("--project", required=True, help="where the person is looked for")
@with_control
def show(control: Freehold, as_json: bool, subject: str, project: str) -> None:
    """Where a person is: rows, answers, consents, models that learned from them. Numbers, no words."""
    say(control.post("/api/subjects", {"project": project, "subject": whom(subject)}), as_json, _shown)


def _shown(told: Mapping[str, Any]) -> str:
    lines = [f"rows      {row['count']:>6,}  in {row['of']}, {row['basis']}" for row in told["rows"]]
    lines += [f"answers   {count:>6,}  of {service}" for service, count in told["answers"].items()]
    lines += [f"consent           {state} for {purpose}" for purpose, state in told["consents"].items()]
    if told.get("incidents"):
        lines.append(f"incidents {told['incidents']:>6,}  about requests that name them")
    lines += [f"model             {ref} learned from them" for ref in told["models"]]
    if told["forgotten"]:
        but = "their rows in, but for what follows" if told["readmitted"] else "their rows in"
        lines.append(f"forgotten         what is older is gone; no file brings {but}")
    lines += [f"let in again      {_let_in(one)}" for one in told["readmitted"]]
    return "\n".join(lines) or "nothing is known of anybody of this name here"


def _let_in(one: Mapping[str, Any]) -> str:
    return f"for {', '.join(one['purposes'])} ({one['basis']}, {one['request']}), since {_day(one['at'])}"


@subject.command("readmit", epilog=_WHOM)
@click.argument("subject")
@click.option("--project", required=True, help="where the person was forgotten")
@click.option("--basis", default="", help="the new basis: consent, contract and so on")
@click.option("--purpose", "purposes", multiple=True, help="what for; more than once for more")
@click.option("--request", required=True, help="the reference of the consent or contract, such as CONTRACT-7")
@click.option("--yes", is_flag=True, help="do it; without this the plan is only shown")
@with_control
def readmit(
    control: Freehold,
    as_json: bool,
    subject: str,
    project: str,
    basis: str,
    purposes: tuple[str, ...],
    request: str,
    yes: bool,
) -> None:
    """Let a person who was forgotten come in again, on a new basis: with files that are added from then on.

    Nothing of the forgetting is taken back. It holds for data sets of that basis, all of whose purposes are
    named; elsewhere the person stays out. Forgetting them again ends it.
    """
    asked = {"project": project, "subject": whom(subject), "basis": basis, "purposes": purposes}
    told = control.post("/api/readmissions", {**asked, "request": request, "plan": not yes})
    say({**told, "planned": not yes}, as_json, _readmitted)


def _readmitted(told: Mapping[str, Any]) -> str:
    lines = [
        f"forgotten for     {', '.join(told['forgotten'])}; what is older stays gone",
        f"may come into     {', '.join(told['comes_into']) or 'no data set yet'}",
        f"stays out of      {', '.join(told['stays_out_of']) or 'no other data set'}",
    ]
    if told["withdrawn"]:
        for_what = ", ".join(told["withdrawn"])
        lines.append(
            f"withdrew          consent for {for_what}: `freehold data consent` says it is given anew"
        )
    if told["planned"]:
        return "\n".join([*lines, "nothing is changed yet: add --yes" if told["new"] else "it is so already"])
    done = f"let in again: {told['readmission']}"
    return "\n".join([*lines, done if told["new"] else f"it was so already: {told['readmission']}"])


@subject.command("export", epilog=_WHOM)
@click.argument("subject")
@click.option("--project", required=True, help="where the person is looked for")
@click.option("--out", required=True, type=_OUT, help="the file or folder to write; readable by you alone")
@click.option(
    "--as",
    "form",
    type=click.Choice(["json", "csv"]),
    default="json",
    show_default=True,
    help="one JSON file, its schema in it; or a new folder of CSV files, their schema (CSVW) beside them",
)
@with_control
def export(control: Freehold, as_json: bool, subject: str, project: str, out: Path, form: str) -> None:
    """Write everything held about a person, to be given to them: JSON or CSV. It is recorded."""
    from freehold.cli import portable
    from freehold.cli.files import NotWritable, refuse_unwritable
    from freehold.store.home import write_atomically

    refuse_unwritable(out)
    if form == "csv" and out.exists():
        raise NotWritable(file=out, why="it is there already", hint="name a new folder")
    held = control.post("/api/subjects/export", {"project": project, "subject": whom(subject)})
    if form == "csv":
        portable.write_csv(held, out)
    else:
        write_atomically(out, portable.as_json(held))
    rows, answers = sum(len(each) for each in held["rows"].values()), len(held["answers"])
    told = {"file": str(out), "rows": rows, "answers": answers}
    in_words = f"{plural(rows, 'row')} and {plural(answers, 'answer')}, in clear, in {out}"
    say(told, as_json, lambda _: in_words)


@click.command(epilog=_WHOM)
@click.argument("subject")
@click.option("--project", required=True, help="where the person is forgotten")
@click.option("--request", required=True, help="the reference of their request, such as DSR-2026-118")
@click.option("--yes", is_flag=True, help="do it; without this the plan is only shown")
@click.option("--certificate", "out", type=_OUT, help="write the certificate to this file at the end")
@click.option("--no-wait", is_flag=True, help="hand it over and return")
@with_control
def forget(
    control: Freehold,
    as_json: bool,
    subject: str,
    project: str,
    request: str,
    yes: bool,
    out: Path | None,
    no_wait: bool,
) -> None:
    """Forget a person: rows, words and keys destroyed, models made anew without them, a certificate.

    Without --yes it shows, in columns, what would be destroyed, rebuilt, kept by law, and what is out of
    reach. It cannot be taken back. Ctrl-C stops watching, not the work.
    """
    from freehold.cli.files import refuse_unwritable, write

    asked = {"project": project, "subject": whom(subject)}
    if not yes:
        say(control.post("/api/subjects", asked), as_json, _planned)
        return
    refuse_unwritable(out)
    journey = control.post("/api/forgettings", {**asked, "request": request})["journey"]
    if no_wait:
        say({"journey": journey}, as_json, lambda _: f"{journey} begins; `freehold runs show {journey}`")
        return
    told = _watch(control, journey, as_json)
    if told["state"] != "done":
        raise NotForgotten(
            why=told["because"] or f"it is {told['state']}",
            hint=f"nothing is taken back: the same command goes on; `freehold runs show {journey}`",
        )
    file = control.get(f"/api/certificates/{journey}")
    if out is not None:
        write(out, json.dumps(file, indent=2) + "\n")
    say({"journey": told, "certificate": file}, as_json, lambda _: _done(told, out))


def _planned(told: Mapping[str, Any]) -> str:
    plan = _plan(told["plan"])
    if told["holds"]:
        return f"{plan}\nnot to be done: {', '.join(told['holds'])} covers it; `freehold hold list` says why"
    return f"{plan}\nnothing is changed yet: add --yes"


def _plan(columns: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    lines = []
    for name, title in _COLUMNS.items():
        found = columns[name]
        lines.append(f"{title}{'' if found else ': nothing'}")
        lines += [f"  {line_text(line)}" for line in found]
    return "\n".join(lines)


def line_text(line: Mapping[str, Any]) -> str:
    """One line of a plan or certificate."""
    count = f"{line['count']:,} " if "count" in line else ""
    of = f" {line['of']}" if line.get("of") else ""
    serves = f", answers {', '.join(line['services'])}" if line.get("services") else ""
    until = f", until {_day(line['until'])}" if line.get("until") else ""
    why = f": {line['why']}{until}" if line.get("why") else ""
    todo = f": {line['do']}" if line.get("do") else ""
    return f"{count}{_what(line)}{of}{serves}{why}{todo}"


def _what(line: Mapping[str, Any]) -> str:
    """In words behind its count; what the line itself says is the same for any count, for programs."""
    what = str(line["what"])
    return one_or(line["count"], *_COUNTED[what]) if what in _COUNTED else what


def _day(micros: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d")


def _watch(control: Freehold, id: str, quiet: bool) -> dict[str, Any]:
    """Until it has come to its end; each step is told once."""
    told = set[str]()
    with may_be_left(id):
        for journey in looks(control, id):
            for step in journey["steps"]:
                line = f"{step['name']:<9} {step['because'] or step['state']}"
                if not quiet and step["state"] in ("done", "waiting", "failed") and line not in told:
                    told.add(line)
                    click.echo(f"  {line}")
            if journey["state"] not in ("running", "waiting", "failing", "stopping"):
                break
    return journey


def _done(journey: Mapping[str, Any], out: Path | None) -> str:
    results = {step["name"]: step["result"] for step in journey["steps"]}
    removed, destroyed = results["remove"], results["destroy"]
    models = len(results["revoke"]["models"])
    lines = [
        f"rows {removed['rows']} · words of {plural(removed['answers'], 'answer')} · models {models}",
        f"keys destroyed {destroyed['keys']}; {destroyed['left']:,} others under a new epoch key",
    ]
    for one in results["certify"].get("rebuilds", results["rebuild"]["rebuilds"]):  # a control of before
        same = "the same bytes twice" if one["same"] else "not compared"
        lines.append(f"rebuilt {one['rebuilt'] or '–'}: {one['state']}, {same}")
    held = f"certificate {results['certify']['certificate']}"
    return "\n".join([*lines, f"{held} in {out}" if out else held])


def certificate_text(holds: Mapping[str, Any]) -> str:
    """A certificate that holds, in words."""
    said = holds["said"]
    if "purge" in said:
        return _of_purge(holds, said)
    lines = [f"certificate holds: {said['certificate']} for {said['request']}, {said['installation']}"]
    for name, title in _COLUMNS.items():
        lines += [f"  {title:<27} {line_text(line)}" for line in said["found"][name]]
    for one in said["rebuilt"]:
        lines.append(f"  {'made anew':<27} {one['rebuilt'] or '–'}, {one['state']}")
    return "\n".join([*lines, f"  {'entries of the ledger':<27} {_places(holds)}"])


def _of_purge(holds: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    removed, found = said["done"]["remove"], said["found"]
    where = f"{said['project']}, {said['installation']}"
    known = {one["ref"]: f" ({one['keep']}), {one['digest']}" for one in found["data"]}
    return "\n".join(
        (
            f"certificate holds: {said['certificate']} of a purge in {where}",
            f"  words of {plural(removed['answers'], 'answer')}, up to {_day(said['due_at'])}",
            # what was found and then held by somebody is no more said to be gone
            *(f"  rows of {ref}{known.get(ref, '')}" for ref in removed["versions"]),
            *([f"  words and files of {plural(runs, 'run')}"] if (runs := removed.get("runs", 0)) else []),
            f"  keys destroyed {said['done']['destroy']['keys']}; held and left {found['held']}",
            f"  kept: {said['kept']}",
            f"  entries of the ledger: {_places(holds)}",
        )
    )


def _places(holds: Mapping[str, Any]) -> str:
    """Where what it cites stands in the ledger, in order."""
    inorder = sorted(holds["places"].items(), key=lambda place: place[1])
    return ", ".join(f"{kind.partition('.')[2]} {ix}" for kind, ix in inorder)
