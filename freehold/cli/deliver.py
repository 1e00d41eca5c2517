"""`freehold plan`, `apply`: from a service file to a served model; `retrain`, `runs` share what watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import say, with_control
from freehold.cli.watching import looks, may_be_left
from freehold.errors import Failure, Held, Unavailable, WaitsForPeople
from freehold.spec.rollout import NOT_NAMED

if TYPE_CHECKING:
    from freehold.client import Freehold

UNTIL = ("pinned", "trained", "evaluated", "approved")
_AFTER = {"pinned": "pin", "trained": "train", "evaluated": "evaluate", "approved": "approve"}
_FILE = click.argument("file", type=click.File("r"))


class StillRunning(Unavailable):
    """{what} is still under way"""


class Failed(Failure):
    """{what} failed"""


# -- plan -------------------------------------------------------------------------------------------


@click.command()
@_FILE
@with_control
def plan(control: Freehold, as_json: bool, file: Any) -> None:
    """Show what a service file would do, what it would cost and who would be asked; changes nothing."""
    say(control.post("/api/plans", {"spec": _text(file)}), as_json, plan_text)


def _text(file: Any) -> str:
    from freehold.cli.files import text_in

    return text_in(file)


def plan_text(told: Mapping[str, Any]) -> str:
    """A plan for people."""
    lines = [f"{told['service']} in {told['project']} · tier {told['tier']} · {_change(told)}", ""]
    if told["now"]["state"] == "would declare":
        return "\n".join([*lines, f"  {_next(told)}"])
    data = told["data"]
    lines.append(f"  data     {data['ref']} · {data['rows']:,} rows{_left_out(data)} · {data['sensitivity']}")
    lines += [f"  golden   {g['ref']} · {g['rows']:,} rows" for g in told["golden"]]
    if told["against_live"]:
        lines.append(f"  live     {told['against_live']}: the candidate is held when it is worse")
    lines += ["", *(_planned_step(step) for step in told["steps"]), ""]
    lines += _cost(told["total"])
    lines += _fit(told["fit"])
    lines.append(f"  walls    {' · '.join(told['walls']['offered'])}")
    lines += [f"           {missing}" for missing in told["walls"]["missing"]]
    lines += _approvers(told["approvers"])
    lines += ["", f"  {_next(told)}"]
    return "\n".join(lines)


def _change(told: Mapping[str, Any]) -> str:
    change = told["change"]
    if change["kind"] == "new":
        return "a new service"
    return f"changes {', '.join(change['fields'])}" if change["fields"] else "as it is declared"


def _left_out(data: Mapping[str, Any]) -> str:
    return "".join(f" · {count} left out: {reason}" for reason, count in sorted(data["left_out"].items()))


def _planned_step(step: Mapping[str, Any]) -> str:
    more = ""
    if "seconds" in step:
        more = f"about {step['seconds']} s (estimated)"
    elif step.get("waits_for"):
        more = f"waits for {' and '.join(step['waits_for'])}"
    elif "waits_for" in step:
        more = "nobody is asked"
    elif step["name"] in ("shadow", "canary", "ab"):
        more = ", ".join(step["traffic"]) + _would_see(step.get("foreseen"))
    return f"  {step['name']:<9}{step['does']:<30}{more}".rstrip()


def _would_see(foreseen: Mapping[str, Any] | None) -> str:
    """What an A/B test would find out, at the traffic of the last week."""
    if foreseen is None:
        return ""
    if foreseen["smallest"] is None:
        return f": about {foreseen['answers']:,} answers, too few to judge (estimated)"
    return f": would see {float(foreseen['smallest']) * 100:.2g} points more failures (estimated)"


def _cost(total: Mapping[str, Any]) -> list[str]:
    energy = f"{float(total['watt_hours']):.2f} Wh · {float(total['grams_co2']):.2f} g CO2"
    cost = f"{float(total['money']):.4f} {total['currency']} · {energy} · {total['seconds']} s of one core"
    return [f"  cost     {cost} (estimated)"]


def _fit(fit: Mapping[str, Any]) -> list[str]:
    machine = fit["machine"]
    here = f"{machine['cores']} cores, {_size(machine['memory'])} memory, {_size(machine['disk'])} free disk"
    if fit["fits"]:
        return [f"  fit      yes: {_size(fit['memory_asked'])} and {fit['wall']} s asked for; here {here}"]
    return [f"  fit      no: {fit['because'][0]}", *(f"           {why}" for why in fit["because"][1:])]


def _size(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"


def _approvers(approvers: list[Mapping[str, Any]]) -> list[str]:
    lines = []
    for one in approvers:
        who = f"{one['people']} could" if one["people"] else "nobody has this role yet: it would wait"
        lines.append(f"  approve  {one['role']}: {who}")
    return lines or ["  approve  nobody is asked; every answer is marked sandbox"]


def _next(told: Mapping[str, Any]) -> str:
    now, verb = told["now"], "retrain" if told["against_live"] else "apply"
    words = {
        "would begin": f"nothing was changed; `freehold {verb}` does it",
        "would declare": f"`freehold {verb}` writes it down: nothing is trained, and nobody is asked",
        "joined": f"it is under way already: {now['journey']}",
        "goes on": f"`freehold {verb}` goes on where {now['journey']} ended",
        "nothing to do": "nothing to do: exactly this is live",
    }
    return words[now["state"]]


# -- apply ------------------------------------------------------------------------------------------


@click.command()
@_FILE
@click.option("--until", type=click.Choice(UNTIL), help="end there, and exit 0 when it is reached")
@click.option("--against-live", is_flag=True, help="measure it beside the live model; held when it is worse")
@click.option("--wait", "wait_for", default="", help="how long to watch, such as 30m; else until its end")
@click.option("--no-wait", is_flag=True, help="hand it over and return")
@with_control
def apply(
    control: Freehold,
    as_json: bool,
    file: Any,
    until: str | None,
    against_live: bool,
    wait_for: str,
    no_wait: bool,
) -> None:
    """Do it: train, evaluate, approve, release. The same file again joins, or finds nothing to do.

    Ctrl-C stops watching, not the work. Exit codes: 0 live (or --until reached), 6 held, 7 waits for
    people, 9 still under way when --wait is over.
    """
    kind = "retrain" if against_live else "deliver"
    follow(control, {"kind": kind, "spec": _text(file), "until": until}, as_json, wait_for, no_wait)


def follow(control: Freehold, asked: Mapping[str, Any], as_json: bool, wait_for: str, no_wait: bool) -> None:
    """Submit, watch, and leave with the exit code that says how it stands."""
    from freehold.spec.limits import seconds

    until = asked["until"]
    deadline = time.monotonic() + seconds(wait_for) if wait_for else None
    submitted = control.post("/api/journeys", dict(asked))
    quiet = as_json
    with may_be_left(submitted["journey"]):
        if not quiet:
            click.echo(_submitted(submitted))
        if no_wait or submitted["became"] in ("declared", "nothing to do"):
            journey = control.get(f"/api/journeys/{submitted['journey']}")
        else:
            journey = _watch(control, submitted["journey"], until, deadline, quiet)
    if as_json:
        say({**submitted, "journey": journey}, True, str)
    if not no_wait:
        _leave(journey, until)


def _submitted(told: Mapping[str, Any]) -> str:
    lines = [f"{older} gives way" for older in told["superseded"]]
    words = {
        "begun": f"{told['journey']} begins",
        "joined": f"{told['journey']} is under way already; watching it",
        "goes on": f"{told['journey']} goes on",
        "declared": "written down: what answers stays as it is",
        "nothing to do": "nothing to do: exactly this is live",
    }
    return "\n".join([*lines, words[told["became"]]])


def _watch(
    control: Freehold, id: str, until: str | None, deadline: float | None, quiet: bool
) -> dict[str, Any]:
    """Print each step as it is done, until there is nothing more to see."""
    lines = _Lines(click.echo if not quiet else lambda _line: None)
    for journey in looks(control, id):
        lines.tell(journey)
        if _over(journey, until) or (deadline is not None and time.monotonic() >= deadline):
            break
    return journey


def _over(journey: Mapping[str, Any], until: str | None) -> bool:
    """Whether there is nothing more to wait for."""
    if journey["state"] not in ("running", "failing", "stopping"):
        return True
    return until is not None and _state_of(journey, _AFTER[until]) == "done"


def _state_of(journey: Mapping[str, Any], step: str) -> str:
    return str(next(one["state"] for one in journey["steps"] if one["name"] == step))


class _Lines:
    """Prints what is new: a step that is done, how far the one under way is, what it waits for."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        self._echo = echo
        self._told: set[str] = set()
        self._last = 0.0

    def tell(self, journey: Mapping[str, Any]) -> None:
        for step in journey["steps"]:
            line = step_line(journey, step)
            if line and line not in self._told and self._due(journey, step):
                self._told.add(line)
                self._echo(f"  {_clock(journey)}  {line}")

    def _due(self, journey: Mapping[str, Any], step: Mapping[str, Any]) -> bool:
        """Progress is told again when a twentieth of the time so far has passed: hours fill no screens."""
        if step["state"] != "running":
            return True
        seconds = float(journey["seconds"])
        if seconds - self._last < seconds / 20:
            return False
        self._last = seconds
        return True

    def __len__(self) -> int:
        return len(self._told)


def _clock(journey: Mapping[str, Any]) -> str:
    minutes, seconds = divmod(int(journey["seconds"]), 60)
    return f"{minutes:>3}:{seconds:02}"


def step_line(journey: Mapping[str, Any], step: Mapping[str, Any]) -> str:
    name = step["name"]
    if "none" in step["result"]:
        return _spared(name, str(step["result"]["none"]))
    if step["state"] == "done":
        return f"{name:<9} done{_outcome(name, step['result'])}"
    if step["state"] in ("failed", "undone"):
        return f"{name:<9} {step['state']}" + (f": {step['because']}" if step["because"] else "")
    if step["state"] == "waiting":
        return f"{name:<9} {step['because']}"
    if step["state"] == "running" and step.get("progress"):
        return f"{name:<9} {_progress(step['progress'])}"
    return ""


def _spared(name: str, why: str) -> str:
    """A share of the traffic that the file asks for, and this journey has no use for."""
    asked = name in ("shadow", "canary", "ab") and why != NOT_NAMED
    return f"{name:<9} left out: {why}" if asked else ""


def _progress(said: Mapping[str, Any]) -> str:
    """`train, step 9 of 60, loss 1.01`: what is being done, how far, then the figures."""
    told = dict(said)
    words = [str(told.pop("stage"))] if "stage" in told else []
    of = f" of {told.pop('of')}" if "of" in told else ""
    words += [f"{name} {told.pop(name)}{of}" for name in ("step", "done") if name in told]
    return ", ".join([*words, *(f"{key} {value}" for key, value in told.items())])


def _outcome(name: str, result: Mapping[str, Any]) -> str:
    match name:
        case "pin":
            return f": {result['data']['ref']}"
        case "train":
            return f": {result['version']} (run:{result['number']})"
        case "evaluate":
            passed = [gate["because"] for gate in result["gates"]]
            return f": card {result['card']}" + "".join(f"\n{'':19}{line}" for line in passed)
        case "release" | "canary" | "shadow" | "ab":
            return f": {result['release']}"
        case "watch" | "judge":
            return f": {result['judged']}"
        case "compare":
            return f": {result['judged']}{_alike(result)}"
        case "serve":
            return ": it answers"
    return ""


def _alike(result: Mapping[str, Any]) -> str:
    """How many of the copies were answered as the live model had answered."""
    laid = result["same"] + result["differs"]
    return f"; {result['same']} of {laid} answers the same" if laid else ""


def _leave(journey: Mapping[str, Any], until: str | None) -> None:
    """The exit code says how it stands."""
    state, what = journey["state"], f"`{journey['service']}`"
    again = f"`freehold runs show {journey['id']}` tells more"
    if state == "held":
        card = f"the card is {journey['card']}: `freehold runs card {journey['card']}`"
        raise Held(what=what, why=journey["because"], hint=card if journey["card"] else again)
    if until is not None and _state_of(journey, _AFTER[until]) == "done":
        return
    if state == "waiting":
        raise WaitsForPeople(what=what, why=journey["because"], hint="`freehold approve` lists what waits")
    if state in ("failed", "failing", "stopped", "stopping"):
        raise Failed(what=f"the delivery of {what}", why=journey["because"], hint=again)
    if state == "running":
        raise StillRunning(what=what, why=_doing(journey), hint=again)


def _doing(journey: Mapping[str, Any]) -> str:
    step = next((s for s in journey["steps"] if s["state"] not in ("done", "undone")), None)
    return f"it is at `{step['name']}`" if step else "it is about to end"
