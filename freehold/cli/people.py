"""`freehold people`, `project`, `keys`: who may sign in, as what, with which key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click

from freehold.cli.groups import Group
from freehold.cli.incidents import DONE
from freehold.cli.path import segment
from freehold.cli.show import not_yet, say, table, with_control
from freehold.cli.times import moment
from freehold.errors import BadInput
from freehold.spec.figures import plural

if TYPE_CHECKING:
    from freehold.client import Freehold

_EXPIRES = click.option(
    "--expires", default="365d", show_default=True, help="how long the key is good: 90d, 12h, or never"
)
_WRITE_KEY = click.option(
    "--write-key",
    type=click.Path(dir_okay=False),
    help="write the key to a new file that only you can read, instead of showing it",
)
_PROJECTS = click.option(
    "--project", "projects", multiple=True, help="where the role holds; left out: in the whole installation"
)


class KeyFileThere(BadInput):
    """the file `{path}` cannot take a new key"""


class NoKeyId(BadInput):
    """this is not the id of a key"""


# -- people


@click.group(cls=Group)
def people() -> None:
    """Who may sign in, and as what.

    The roles: administrator, trainer, approver, model-risk, data-protection, operator, auditor.
    """


@people.command("add")
@click.argument("email")
@click.option("--role", "roles", multiple=True, required=True, help="repeatable")
@_PROJECTS
@_EXPIRES
@_WRITE_KEY
@with_control
def add_person(
    control: Freehold,
    as_json: bool,
    email: str,
    roles: tuple[str, ...],
    projects: tuple[str, ...],
    expires: str,
    write_key: str | None,
) -> None:
    """Let a person in. Their key is shown once: hand it to them alone."""
    body = {"email": email, "roles": roles, "projects": projects or ("*",), "expires": expires}
    with _place_for_key(write_key) as keep:
        made = keep(control.post("/api/people", body))
    say(made, as_json, lambda m: f"{m['email']} is {_roles(m)}\n{_key_line(m)}{_HAND_OVER}")


@people.command("list")
@with_control
def list_people(control: Freehold, as_json: bool) -> None:
    """Everyone you may see."""
    say(control.get("/api/people"), as_json, _people_table)


@people.command("roles")
@click.argument("person")
@click.option("--give", multiple=True, help="a role to give, repeatable")
@click.option("--take", multiple=True, help="a role to take away, repeatable")
@_PROJECTS
@with_control
def change_roles(
    control: Freehold,
    as_json: bool,
    person: str,
    give: tuple[str, ...],
    take: tuple[str, ...],
    projects: tuple[str, ...],
) -> None:
    """Give a person roles, or take some away. Nobody changes their own."""
    body = {"person": person, "give": give, "take": take, "projects": projects or ("*",)}
    say(control.post("/api/people/roles", body), as_json, lambda p: f"{p['email']} is {_roles(p)}")


@people.command("lock")
@click.argument("person")
@click.option("--keep-serving-keys", is_flag=True, help="leave the keys of services they answer for alone")
@with_control
def lock(control: Freehold, as_json: bool, person: str, keep_serving_keys: bool) -> None:
    """Let a person no longer sign in, and make their keys void."""
    body = {"person": person, "keep_serving_keys": keep_serving_keys}
    done = control.post("/api/people/lock", body)
    say(done, as_json, lambda d: f"{d['email']} is locked; {_voided(d)}")


@people.command("unlock")
@click.argument("person")
@with_control
def unlock(control: Freehold, as_json: bool, person: str) -> None:
    """Let a locked person sign in again, with a new key."""
    done = control.post("/api/people/unlock", {"person": person})
    hint = f"\n  hint: `freehold keys create --zone control --for {person}` gives them a new key"
    say(done, as_json, lambda d: f"{d['email']} is unlocked{hint}")


@people.command("me")
@with_control
def me(control: Freehold, as_json: bool) -> None:
    """Who your key signs in, and what you may do where."""
    say(control.get("/api/me"), as_json, _me)


# -- projects


@click.group(cls=Group)
def project() -> None:
    """Projects: the walls between teams. Everything belongs to one."""


@project.command("add")
@click.argument("name")
@click.option("--timezone", default="UTC", show_default=True, help="where its days begin and end")
@click.option("--currency", default="EUR", show_default=True, help="what its budgets are counted in")
@with_control
def add_project(control: Freehold, as_json: bool, name: str, timezone: str, currency: str) -> None:
    """Begin a project."""
    made = control.post("/api/projects", {"name": name, "timezone": timezone, "currency": currency})
    say(made, as_json, lambda p: f"project {p['name']} · {p['currency']} · {p['timezone']}")


@project.command("limit")
@click.argument("name")
@click.argument("limits", metavar="LIST")
@with_control
def limit_project(control: Freehold, as_json: bool, name: str, limits: str) -> None:
    """What all services of a project may use together: '600/min, 50 EUR/day'. An empty LIST lifts it."""
    done = control.post(f"/api/projects/{segment(name, 'project')}/limits", {"limits": limits})
    say(done, as_json, _limited)


def _limited(done: dict[str, Any]) -> str:
    return f"{done['name']} may use {done['limits'] or 'as much as its services may'}{not_yet(done)}"


@project.command("guard")
@click.argument("name")
@click.argument("words", metavar="WORD...", nargs=-1)
@click.option("--purpose", default="", help="only services for this purpose; else all")
@click.option("--sensitivity", default="Public", show_default=True, help="only services from this one on")
@with_control
def guard_project(
    control: Freehold, as_json: bool, name: str, words: tuple[str, ...], purpose: str, sensitivity: str
) -> None:
    """What a project's services are guarded by at least: `in.pii=mask out.secrets=refuse`.

    It holds whatever a service declares, at once, for the services that are there too. Without a WORD it
    lifts what was said of this purpose and sensitivity.
    """
    body = {"guard": words, "purpose": purpose, "sensitivity": sensitivity}
    done = control.post(f"/api/projects/{segment(name, 'project')}/guards", body)
    say(done, as_json, _guarded)


def _guarded(done: dict[str, Any]) -> str:
    lines = [
        f"  {rule['purpose'] or 'every purpose'}, from {rule['sensitivity']} on: {', '.join(rule['guard'])}"
        for rule in done["guards"]
    ]
    said = "is guarded at least so:" if lines else "is guarded as its services say"
    return "\n".join([f"{done['name']} {said}{not_yet(done)}", *lines])


@project.command("list")
@with_control
def list_projects(control: Freehold, as_json: bool) -> None:
    """The projects you may see."""
    columns = ("name", "currency", "timezone", "state", "limits")
    say(control.get("/api/projects"), as_json, lambda rows: table(rows, columns))


# -- keys


@click.group(cls=Group)
def keys() -> None:
    """Create, list and revoke keys. A key of one zone is void in the other."""


@keys.command("create")
@click.option(
    "--zone",
    type=click.Choice(["serving", "control"]),
    default="serving",
    show_default=True,
    help="serving: for asking services; control: for this command line",
)
@click.option("--project", help="serving keys: the one project they are for")
@click.option("--service", "services", multiple=True, help="only this service, repeatable; else all of them")
@click.option("--purpose", help="what requests are for when they do not say so themselves")
@click.option("--label", default="", help="a word to find it by")
@click.option("--limits", default="", metavar="LIST", help="what it may use: '60/min, 2 EUR/day, 3 at once'")
@click.option("--guard", multiple=True, metavar="WORD", help="what its requests are guarded by at least")
@click.option("--sensitivity", default="", metavar="WORD", help="the most sensitive services it may ask")
@click.option("--for", "owner", help="whose it is (address or id); else yours")
@_EXPIRES
@_WRITE_KEY
@with_control
def create_key(
    control: Freehold,
    as_json: bool,
    zone: str,
    project: str | None,
    services: tuple[str, ...],
    purpose: str | None,
    label: str,
    limits: str,
    guard: tuple[str, ...],
    sensitivity: str,
    owner: str | None,
    expires: str,
    write_key: str | None,
) -> None:
    """Issue a key and show it once."""
    body = {"zone": zone, "project": project, "services": services, "purpose": purpose}
    body |= {"label": label, "limits": limits, "guard": guard, "owner": owner, "expires": expires}
    body |= {"sensitivity": sensitivity}
    with _place_for_key(write_key) as keep:
        made = keep(control.post("/api/keys", body))
    say(made, as_json, lambda m: f"{_key_line(m)}{_others_void(m)}{not_yet(m)}")


@keys.command("list")
@with_control
def list_keys(control: Freehold, as_json: bool) -> None:
    """Your keys, and those of projects whose keys you may see; the newest first."""
    say(control.get("/api/keys"), as_json, _keys_table)


@keys.command("revoke")
@click.argument("key")
@with_control
def revoke_key(control: Freehold, as_json: bool, key: str) -> None:
    """Make a key void at once. KEY is its id, or the whole key if it leaked."""
    done = control.delete(f"/api/keys/{_id_of(key)}")
    say(done, as_json, lambda d: f"{d['id']} is void{not_yet(d)}")


@keys.command("unlock")
@click.argument("key")
@click.option("--because", required=True, help="why; sealed, and in the ledger as a commitment only")
@with_control
def unlock_key(control: Freehold, as_json: bool, key: str, because: str) -> None:
    """Let a key that was locked or throttled ask again, and close the incidents that held it."""
    from freehold.spec.keys import KeyText

    id = _id_of(key) if KeyText.read(key) else segment(key, "key")  # the holder of a token has one, too
    done = control.post(f"/api/keys/{id}/unlock", {"because": because})
    say(done, as_json, lambda d: f"{d['key']} may ask again; closed: {', '.join(d['closed'])}{not_yet(d)}")


@keys.command("renew")
@click.argument("key", required=False)
@_EXPIRES
@_WRITE_KEY
@with_control
def renew_key(control: Freehold, as_json: bool, key: str | None, expires: str, write_key: str | None) -> None:
    """Exchange your key for a new one that nobody else has seen; the old one is void.

    KEY is the id of a serving key that you answer for, or the whole key; without it, it is the key you
    sign in with.
    """
    path = f"/api/keys/{_id_of(key)}/renew" if key else "/api/keys/renew"
    with _place_for_key(write_key) as keep:
        made = keep(control.post(path, {"expires": expires}))
    say(made, as_json, lambda m: f"{_key_line(m)}{_others_void(m)}")


# -- how they print

_HAND_OVER = "\n  hint: hand it to them alone; with `freehold keys renew` they get one that only they know"

Keep = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def _place_for_key(path: str | None) -> Iterator[Keep]:
    """Open the file before the key is made: a key that cannot be kept should not be made at all.

    Yields what takes the answer, puts its key there and gives back the answer without it.
    """
    if path is None:
        yield lambda made: made
        return
    file = _new_private_file(path)
    try:
        with file:
            yield lambda made: _kept(made, file, path)
    except BaseException:
        os.unlink(path)
        raise


def _new_private_file(path: str) -> TextIO:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")
    except OSError as error:
        raise KeyFileThere(
            path=path, why=(error.strerror or str(error)).lower(), hint="name a new file in a folder of yours"
        ) from error


def _kept(made: dict[str, Any], file: TextIO, path: str) -> dict[str, Any]:
    file.write(made.pop("key_text") + "\n")
    file.flush()
    return {**made, "key_file": path}


def _key_line(made: dict[str, Any]) -> str:
    until = f"good until {_day(made['expires_at'])}" if made["expires_at"] else "without an end"
    if "key_file" in made:
        return f"key written to {made['key_file']}, {until}"
    return f"key (shown once, {until}): {made['key_text']}"


def _others_void(made: dict[str, Any]) -> str:
    return f"\n{_voided(made)}" if made["voided"] else ""


def _voided(done: dict[str, Any]) -> str:
    count = len(done["voided"])
    return f"{plural(count, 'key')} void{not_yet(done)}"


def _id_of(text: str) -> str:
    """The id in a path; of a whole key only its id, so that a leaked secret does not travel once more."""
    from freehold.spec.keys import KeyText

    if (whole := KeyText.read(text)) is not None:
        return whole.id
    if not re.fullmatch(r"key_[0-9a-z]+", text):
        raise NoKeyId(hint="`freehold keys list` shows ids; a whole key will do, too")
    return text


def _roles(person: dict[str, Any]) -> str:
    held: dict[str, list[str]] = {}
    for role in person["roles"]:
        held.setdefault(role["project"], []).append(role["role"])
    return "; ".join(f"{', '.join(roles)} {_where(project)}" for project, roles in held.items()) or "nothing"


def _where(project: str) -> str:
    return "everywhere" if project == "*" else f"in {project}"


def _people_table(rows: list[dict[str, Any]]) -> str:
    shown = [{**row, "roles": _roles(row), "since": _day(row["created_at"])} for row in rows]
    return table(shown, ("email", "roles", "state", "since"))


def _keys_table(rows: list[dict[str, Any]]) -> str:
    shown = [
        {**row, "state": _state(row), "until": _day(row["expires_at"]) if row["expires_at"] else "never"}
        for row in rows
    ]
    said = ("id", "zone", "owner", "project", "services", "purpose", "label", "limits", "guard")
    return table(shown, (*said, "sensitivity", "state", "until"))


def _state(key: dict[str, Any]) -> str:
    if not (held := key.get("held")):  # an older control tells nothing of it
        return str(key["state"])
    return f"{DONE[held['does']]} since {moment(held['since'])} ({held['incident']})"


def _me(told: dict[str, Any]) -> str:
    lines = [f"{told['email']} is {_roles(told)}"]
    lines += [f"may {', '.join(actions)} {_where(project)}" for project, actions in told["may"].items()]
    return "\n".join(lines)


def _day(micros: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d")


@keys.command("rotate-epoch")
@with_control
def rotate_epoch(control: Freehold, as_json: bool) -> None:
    """Change the key that wraps all content keys, while everything runs; the old one is destroyed.

    Copies of `control/epoch.key` that you keep open nothing new from then on: replace them.
    """
    say(control.post("/api/keyring/rotate"), as_json, _rotated)


def _rotated(told: Any) -> str:
    return (
        f"{plural(told['keys'], 'key is', 'keys are')} wrapped by a new epoch key ({told['entry']})\n"
        "replace the copies you keep of control/epoch.key, keyring.db and forgotten"
    )
