"""`freehold incident`: who looks like an attacker, what was done, and what people do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.groups import Group
from freehold.cli.path import segment
from freehold.cli.show import not_yet, say, table, with_control
from freehold.cli.times import moment, span

if TYPE_CHECKING:
    from freehold.client import Freehold

DONE = {
    "observe": "only observed",
    "throttle": "throttled",
    "lock": "locked",
    "renew": "to be renewed",
}


@click.group(cls=Group, about="show")
def incident() -> None:
    """Who looks like an attacker, by the rules under `watch:` in freehold.yaml."""


@incident.command("list")
@click.option("--project", help="only of this project")
@click.option("--state", type=click.Choice(["open", "acknowledged", "closed"]), help="only these")
@click.option("--older", help="continue behind a page: its `next`")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="how many on a page"
)
@with_control
def listed(
    control: Freehold, as_json: bool, project: str | None, state: str | None, older: str | None, limit: int
) -> None:
    """Incidents you may see, the newest first."""
    asked = {"project": project, "state": state, "older": older, "limit": limit}
    told = control.get("/api/incidents", **{name: said for name, said in asked.items() if said})
    same = "".join(f" --{name} {said}" for name, said in (("project", project), ("state", state)) if said)
    more = f"\n  more: freehold incident list{same} --older {told['next']}" if told["next"] else ""
    say(told, as_json, lambda page: _listed(page) + more)


def _listed(told: Mapping[str, Any]) -> str:
    rows = [_row(one) for one in told["incidents"]]
    if not rows:
        return "no incidents"
    columns = ("id", "opened", "state", "rule", "project", "service", "key", "count", "done")
    return table(rows, columns)


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, "opened": moment(one["at"]), "done": _done(one)}


def _done(one: Mapping[str, Any]) -> str:
    from freehold.spec.ids import now

    done, until = DONE[one["does"]], one["until"]
    if one["does"] == "observe":
        return done
    if not one["held"] or (until and until <= now()):
        return f"was {done}"
    return f"{done} until {moment(until)}" if until else done


@incident.command("show")
@click.argument("incident")
@with_control
def show(control: Freehold, as_json: bool, incident: str) -> None:
    """One incident: what was seen, and how it stands."""
    say(control.get(f"/api/incidents/{segment(incident, 'incident')}"), as_json, _shown)


def _shown(one: Mapping[str, Any]) -> str:
    whom = "requests about one person with it" if one["subject"] else "all of its requests"
    lines = [
        f"{one['id']} is {one['state']}: {one['rule']} at {one['service']} in {one['project']}",
        f"  {one['count']:,} within {span(one['within'])}, last at {moment(one['seen_at'])}",
        f"  key {one['key']}, {whom}: {_done(one)}",
    ]
    if one["because"]:
        lines.append(f"  {one['changed_by']}, {moment(one['changed_at'])}: {one['because']}")
    return "\n".join(lines)


@incident.command("acknowledge")
@click.argument("incident")
@click.option("--because", default="", help="what is being done; sealed")
@with_control
def acknowledge(control: Freehold, as_json: bool, incident: str, because: str) -> None:
    """Say that you look into it. Who is held back stays so."""
    path = f"/api/incidents/{segment(incident, 'incident')}/acknowledge"
    say(control.post(path, {"because": because}), as_json, lambda one: f"{one['id']} is {one['state']}")


@incident.command("close")
@click.argument("incident")
@click.option("--because", required=True, help="what it was; sealed, in the ledger as a commitment only")
@with_control
def close(control: Freehold, as_json: bool, incident: str, because: str) -> None:
    """Say that it is dealt with: nobody is held back by it any more."""
    told = control.post(f"/api/incidents/{segment(incident, 'incident')}/close", {"because": because})
    say(told, as_json, lambda one: f"{one['id']} is closed{not_yet(one)}")
