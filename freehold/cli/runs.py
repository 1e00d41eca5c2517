"""`freehold runs`: training and evaluation runs, the journeys they belong to, and their cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.compare import drawn
from freehold.cli.deliver import step_line
from freehold.cli.groups import Group
from freehold.cli.show import say, table, with_control
from freehold.spec.figures import plural

if TYPE_CHECKING:
    from freehold.client import Freehold


@click.group(cls=Group, invoke_without_command=True, about="show")
@click.pass_context
def runs(context: click.Context) -> None:
    """Training and evaluation runs, the journeys they belong to, and their cards."""
    if context.invoked_subcommand is None:
        context.invoke(list_runs)


@runs.command("list")
@click.option("--limit", default=20, show_default=True, help="how many")
@with_control
def list_runs(control: Freehold, as_json: bool, limit: int) -> None:
    """The newest runs."""
    say(control.get("/api/runs", limit=limit), as_json, _runs_table)


def _runs_table(rows: list[Mapping[str, Any]]) -> str:
    shown = [
        {
            **row,
            "seconds": round(row["wall_seconds"], 1),
            "Wh (est.)": round(row["watt_hours"], 4),
            "figures": _figures(row["metrics"]),
        }
        for row in rows
    ]
    return table(shown, ("run", "service", "kind", "state", "seconds", "Wh (est.)", "figures"))


def _figures(metrics: Mapping[str, Any]) -> str:
    if "passed" in metrics:
        return "gates passed" if metrics["passed"] else "a gate failed"
    rows = metrics.get("rows")
    return f"{plural(rows['training'], 'row')} learned from" if isinstance(rows, dict) else ""


@runs.command("journeys")
@click.option("--limit", default=20, show_default=True, help="how many")
@with_control
def list_journeys(control: Freehold, as_json: bool, limit: int) -> None:
    """The newest journeys: deliveries, retrainings, rebuildings, forgettings, purges."""
    say(control.get("/api/journeys", limit=limit), as_json, _journeys_table)


def _journeys_table(rows: list[Mapping[str, Any]]) -> str:
    from freehold.cli.times import moment

    shown = [{**row, "began": moment(row["created_at"])} for row in rows]
    return table(shown, ("id", "kind", "project", "service", "state", "began", "because"))


@runs.command("show")
@click.argument("name")
@with_control
def show_run(control: Freehold, as_json: bool, name: str) -> None:
    """One run (`run:12`) or one journey (`jrn_…`)."""
    if name.startswith("jrn_"):
        say(control.get(f"/api/journeys/{name}"), as_json, _journey)
    else:
        say(control.get(f"/api/runs/{name}"), as_json, _run)


def _journey(told: Mapping[str, Any]) -> str:
    head = f"{told['id']} · {told['service'] or told['kind']} in {told['project']} · {told['state']}"
    lines = [head + (f": {told['because']}" if told["because"] else "")]
    for step in told["steps"]:
        if said := step_line(told, step):
            lines.append(f"  {said}")
        elif "none" not in step["result"]:
            lines.append(f"  {step['name']:<9} {step['state']}")
    lines += [f"  approval {one['approval']} waits for {one['role']}" for one in told["waits_for"]]
    return "\n".join(lines)


def _run(told: Mapping[str, Any]) -> str:
    machine = told["machine"]
    energy = f"{told['watt_hours']} Wh (estimated)"
    lines = [
        f"{told['run']} · {told['kind']} · {told['service']} · {told['state']}",
        f"  spec     {told['spec_digest']}",
        f"  data     {told['data_digest']}",
        f"  model    {told['model'] or '–'}",
        f"  took     {told['wall_seconds']} s, {told['cpu_seconds']} s of one core, {energy}",
    ]
    if machine:
        lines.append(f"  walls    {' · '.join(machine.get('walls', ())) or 'none'}")
        lines.append(f"  machine  {machine.get('processor', '')}, Python {machine.get('python', '')}")
    if told["metrics"].get("curve"):
        points = [[float(point[0]), float(point[1])] for point in told["metrics"]["curve"]]
        lines.append(f"  loss     {drawn(points)}")
    if told["progress"]:
        lines.append(f"  now      {', '.join(f'{key} {value}' for key, value in told['progress'].items())}")
    if told["card"]:
        lines.append(f"  card     {told['card']} · {'passed' if told['passed'] else 'a gate failed'}")
    return "\n".join(lines)


@runs.command("card")
@click.argument("card")
@click.option("--html", "page", type=click.Path(dir_okay=False, writable=True), help="write the page there")
@with_control
def show_card(control: Freehold, as_json: bool, card: str, page: str | None) -> None:
    """The evidence of an evaluation."""
    if page:
        from freehold.cli.files import write

        write(page, control.text(f"/api/cards/{card}.html"))
        click.echo(f"written to {page}")
        return
    say(control.get(f"/api/cards/{card}"), as_json, _card)


def _card(told: Mapping[str, Any]) -> str:
    lines = [f"{told['id']} · {'passed' if told['passed'] else 'a gate failed'} · {told['digest']}"]
    for gate in told["card"]["gates"]:
        lines.append(f"  {'✓' if gate['passed'] else '✗'} {gate['name']}: {gate['because']}")
    for against, said in sorted(told["card"]["measured"].items()):
        lines.append(f"  on {against}: {plural(said['rows'], 'row')}")
        lines += [_metric(name, figure) for name, figure in said["metrics"].items() if figure]
    if live := told["card"].get("against_live"):
        lines.append(
            f"  beside {live['ref']}: {live['why'] or str(live['rows']) + ' rows, the same for both'}"
        )
        lines += [_two(name, live["ref"], figure) for name, figure in live["metrics"].items() if figure]
    return "\n".join(lines)


def _metric(name: str, figure: Mapping[str, Any]) -> str:
    spread = f" ({float(figure['low']):.3f} to {float(figure['high']):.3f})" if figure.get("low") else ""
    return f"    {name:<12} {float(figure['value']):.3f}{spread}"


def _two(name: str, live: str, figure: Mapping[str, Any]) -> str:
    spread = f"{float(figure['low']):+.3f} to {float(figure['high']):+.3f}"
    both = f"{float(figure['candidate']):.3f}, {live} {float(figure['live']):.3f}"
    return f"    {name:<12} {both}, difference {float(figure['value']):+.3f} ({spread})"


@runs.command("stop")
@click.argument("journey")
@with_control
def stop_journey(control: Freehold, as_json: bool, journey: str) -> None:
    """Turn a journey round: its job is cancelled, its steps are taken back."""
    told = control.post(f"/api/journeys/{journey}/stop", {})
    say(told, as_json, lambda t: f"{t['journey']} is being stopped")
