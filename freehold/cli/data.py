"""`freehold data`: add files, look at versions, compare them, write down consents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from freehold.cli.groups import Group
from freehold.cli.show import say, table, with_control
from freehold.errors import BadInput
from freehold.spec.figures import plural

if TYPE_CHECKING:
    from pathlib import PurePath

    from freehold.client import Freehold

_PATIENCE = 3600.0  # seconds: a large file is read and sealed before the answer comes

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


class NoFormat(BadInput):
    """the name of `{file}` does not say what is in it"""


class NoName(BadInput):
    """the data set has no name"""


@click.group(cls=Group, about="show")
def data() -> None:
    """Data sets: files with a purpose, a basis, and versions that never change."""


@data.command("add")
@click.argument("file", metavar="FILE|s3://…|postgresql://…")
@click.option("--query", help="what is asked of a Postgres: SELECT …")
@click.option("--project", required=True, help="whose data set it is")
@click.option("--name", help="the data set's name; else the file's, without its ending")
@click.option("--purpose", multiple=True, help="what it may be used for, such as claims-handling; repeatable")
@click.option("--basis", help="consent, contract, legal-obligation, legitimate-interest, …")
@click.option("--sensitivity", help="Public, Internal, Confidential or Restricted")
@click.option("--owner", help="who answers for it: a person's address, or a team")
@click.option("--keep", help="how long it may be kept: 3y, 18m, 90d")
@click.option("--region", multiple=True, help="where it may be, such as eu; repeatable")
@click.option("--subject", multiple=True, help="a column that names the person a row is about; repeatable")
@click.option("--consent-from", help="the column that says who consented; needed when the basis is consent")
@click.option("--target", help="the column a model is to predict")
@click.option("--text", help="the column a text model is to read")
@click.option(
    "--type", "types", multiple=True, help="COLUMN=TYPE, where it is not to be inferred; repeatable"
)
@click.option(
    "--missing", multiple=True, help="a word that stands for an empty cell in a CSV file, such as NA"
)
@click.option(
    "--allow-bad-rows", type=click.IntRange(min=0), default=0, help="leave out up to so many broken rows"
)
@click.option(
    "--format", "format_", type=click.Choice(["csv", "jsonl", "parquet"]), help="else by the file's ending"
)
@click.option("--plan", is_flag=True, help="only say what would be added; keep nothing")
@with_control
def add(
    control: Freehold,
    as_json: bool,
    file: str,
    query: str | None,
    owner: str | None,
    format_: str | None,
    **said: Any,
) -> None:
    """Add FILE (CSV, JSON lines or Parquet) as the next version of a data set.

    It may lie in S3, or be what a Postgres answers to --query: both are read from here, with your own
    credentials, which control never sees. What is said of a data set (purpose, basis, sensitivity, owner,
    keep, region and the columns) holds for all its versions: with later files it may be left out.
    """
    from pathlib import PurePath
    from urllib.parse import quote, urlencode

    from freehold.cli.sources import source

    found = source(file, query)
    path = PurePath(found.name)
    said["type"] = said.pop("types")
    said["name"] = said["name"] or path.name.removesuffix(path.suffix)
    if not said["name"]:
        raise NoName(why="an answer of a database has none", hint="name it with --name")
    said["format"] = format_ or found.format or _format(path)
    asked = urlencode({key: _plain(value) for key, value in said.items() if value}, doseq=True)
    headers = {"x-freehold-owner": quote(owner, safe="@ ")} if owner else {}
    added = control.send("POST", f"/api/data?{asked}", found.pieces(), headers, timeout=_PATIENCE)
    say(added, as_json, _added)


def _format(path: PurePath) -> str:
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise NoFormat(
            file=path.name, why=f"known endings: {', '.join(FORMATS)}", hint="say it with `--format csv`"
        )
    return found


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _added(added: dict[str, Any]) -> str:
    lines = [_headline(added)]
    if added["new"] and not added["planned"]:
        lines.append(f"digest {added['digest']}")
    if added["broken"]:
        lines.append(f"broken: {added['broken']}")
    lines += ["", _columns(added)]
    lines += [f"note: {note}" for note in added["notes"]]
    return "\n".join(lines)


def _headline(added: dict[str, Any]) -> str:
    if added["planned"]:
        return f"{added['ref']} would be added: {_counts(added)}"
    if not added["new"]:
        return f"these rows are {added['ref']} already, nothing was added: {_counts(added)}"
    return f"{added['ref']} added: {_counts(added)}"


def _counts(version: dict[str, Any]) -> str:
    """`623 rows · 41 left out: consent withdrawn`"""
    counts = [plural(version["rows"], "row")]
    counts += [f"{count:,} left out: {reason}" for reason, count in version["left_out"].items()]
    if version["bad_rows"]:
        counts.append(f"{version['bad_rows']:,} left out: broken")
    return " · ".join(counts)


def _columns(version: dict[str, Any]) -> str:
    rows = [
        {
            "column": column["name"],
            "type": column["type"],
            "empty": column["empty"],
            "looks personal": ", ".join(_look(look) for look in column["looks"]),
        }
        for column in version["columns"]
    ]
    return table(rows, ("column", "type", "empty", "looks personal"))


def _look(look: dict[str, Any]) -> str:
    where = "by its name" if look["because"] == "header" else f"in {look['cells']:,} cells"
    return f"{look['kind']} {where}"


@data.command("list")
@click.option("--project", help="only this project's")
@with_control
def list_versions(control: Freehold, as_json: bool, project: str | None) -> None:
    """Every version you may see."""
    say(control.get("/api/data", project=project), as_json, _list)


def _list(found: list[dict[str, Any]]) -> str:
    rows = [{**version, "data": version["ref"], "added": _day(version["created_at"])} for version in found]
    return table(rows, ("data", "project", "rows", "purposes", "basis", "sensitivity", "added"))


def _day(micros: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d")


@data.command("show")
@click.argument("version", metavar="NAME@V")
@click.option("--project", help="needed when several have a data set of that name")
@with_control
def show(control: Freehold, as_json: bool, version: str, project: str | None) -> None:
    """One version: what it may be used for, its columns, what looks personal."""
    found = control.get(f"/api/data/{_quoted(version)}", project=project)
    say(found, as_json, _shown)


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="@")


def _shown(version: dict[str, Any]) -> str:
    facts = {
        "digest": version["digest"],
        "project": version["project"],
        "rows": _counts(version),
        "purposes": ", ".join(version["purposes"]),
        "basis": version["basis"],
        "sensitivity": version["sensitivity"],
        "regions": ", ".join(version["regions"]),
        "owner": version["owner"],
        "keep": f"{version['keep']}, until {_day(version['kept_until'])}",
        "subject": ", ".join(version["subject"]),
        "consent from": version["consent_from"],
        "target": version["target"],
        "text": version["text"],
    }
    lines = [f"{name:<13}{value}" for name, value in facts.items() if value]
    return "\n".join([version["ref"], *lines, "", _columns(version)])


@data.command("diff")
@click.argument("before", metavar="NAME@1")
@click.argument("after", metavar="NAME@2")
@click.option("--project", help="needed when several have a data set of that name")
@with_control
def diff(control: Freehold, as_json: bool, before: str, after: str, project: str | None) -> None:
    """What changed between two versions: columns, and rows by number, never what stands in them."""
    path = f"/api/data/{_quoted(before)}/diff/{_quoted(after)}"
    say(control.get(path, project=project), as_json, _diff)


def _diff(found: dict[str, Any]) -> str:
    rows = f"{found['rows_before']:,} → {plural(found['rows_after'], 'row')}"
    lines = [f"{found['before']} → {found['after']}: {rows}"]
    if found["same"]:
        return f"{lines[0]}, nothing differs"
    for column in found["columns"]:
        lines.append(f"column {column['name']}: {column['before'] or 'new'} → {column['after'] or 'gone'}")
    if found["only_order"]:
        lines.append("the same rows in another order")
    lines.append(f"changed {found['changed']:,} · added {found['added']:,} · removed {found['removed']:,}")
    for row in found["first_changed"]:
        lines.append(f"row {row['before']} → {row['after']}: {', '.join(row['columns'])}")
    lines += [f"row {number} added" for number in found["first_added"]]
    lines += [f"row {number} removed" for number in found["first_removed"]]
    return "\n".join(lines)


_SUBJECT = "SUBJECT is the person as the data names them. It is kept only as a keyed hash."


@data.command("withdraw", epilog=_SUBJECT)
@click.argument("project")
@click.argument("subject")
@click.option("--purpose", required=True, help="what they no longer consent to")
@with_control
def withdraw(control: Freehold, as_json: bool, project: str, subject: str, purpose: str) -> None:
    """Write down that a person withdrew their consent (or objects): it counts from now on."""
    _say_consent(control, as_json, project, subject, purpose, "withdrawn")


@data.command("consent", epilog=_SUBJECT)
@click.argument("project")
@click.argument("subject")
@click.option("--purpose", required=True, help="what they consent to")
@with_control
def consent(control: Freehold, as_json: bool, project: str, subject: str, purpose: str) -> None:
    """Write down that a person consented, outside any file."""
    _say_consent(control, as_json, project, subject, purpose, "given")


def _say_consent(
    control: Freehold, as_json: bool, project: str, subject: str, purpose: str, state: str
) -> None:
    body = {"project": project, "subject": subject, "purpose": purpose, "state": state}
    say(control.post("/api/consents", body), as_json, _consent)


def _consent(said: dict[str, Any]) -> str:
    word = "withdrawn" if said["state"] == "withdrawn" else "given"
    first = f"consent for {said['purpose']} {word}" + ("" if said["changed"] else ", as it was already")
    rows = [f"{plural(count, 'row')} in {ref}" for ref, count in said["stands_in"].items()]
    about = f"about them: {', '.join(rows)}" if rows else "no data set here is about them"
    return "\n".join([first, about, _effect(said)])


def _effect(said: dict[str, Any]) -> str:
    if said["state"] == "withdrawn":
        effect = "training leaves these rows out from now on; requests about them for it are refused"
    else:
        effect = "training may use these rows again; requests about them for it are answered"
    return effect if said["applied"] else f"{effect} once every gateway has heard of it"
