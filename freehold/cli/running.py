"""`freehold up`, `status`, `recover`: the house itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import say, table, with_control
from freehold.errors import BadInput
from freehold.spec.figures import in_words

if TYPE_CHECKING:
    from freehold.client import Freehold

_HOME = click.option("--home", help="the folder everything lives in; else FREEHOLD_HOME, else ./freehold.d")
_PORT = click.IntRange(0, 65535)
_FILE = click.Path(dir_okay=False)


@click.command()
@_HOME
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    help="freehold.yaml; else the one in the folder, else every default",
)
@click.option("--only", type=click.Choice(["control", "gateway", "worker", "engine"]), help="one part alone")
@click.option("--port", type=_PORT, help="control's port; 0 takes a free one")
@click.option("--gateway-port", type=_PORT, help="the gateway's port; 0 takes a free one")
@click.option("--control-url", default="", help="with --only gateway, worker or engine: where control is")
@click.option(
    "--control-ca", type=_FILE, help="the CA of that control, a PEM file; else one this machine trusts"
)
@click.option("--tls-certificate", type=_FILE, help="the certificate control and the gateway show (PEM)")
@click.option("--tls-key", type=_FILE, help="its private key, readable by its owner alone")
@click.option(
    "--write-key",
    type=click.Path(dir_okay=False),
    help="write the first administrator's key to a new file instead of showing it",
)
def up(
    home: str | None,
    config: str | None,
    only: Any,
    port: int | None,
    gateway_port: int | None,
    control_url: str,
    control_ca: str | None,
    tls_certificate: str | None,
    tls_key: str | None,
    write_key: str | None,
) -> None:
    """Start Freehold on this machine and stay with it.

    The first time it makes the folder, its keys and a first administrator, whose key it shows once.
    Ctrl-C, or SIGTERM, drains and stops; SIGHUP renews the gateway without losing a request.
    """
    from pathlib import Path

    from freehold.spec.config import Tls
    from freehold.store.home import Home
    from freehold.supervise.begin import Asked
    from freehold.supervise.up import up as run

    if (tls_certificate is None) != (tls_key is None):
        raise BadInput(
            what="a certificate and its key go together",
            why="one of them is missing",
            hint="name both: `--tls-certificate FILE --tls-key FILE`",
        )
    found = Home.find(home)
    run(
        Asked(
            home=found,
            config=Path(config).resolve() if config else found.config,  # parts work in folders of their own
            only=only,
            port=port,
            gateway_port=gateway_port,
            control_url=control_url,
            control_ca=str(Path(control_ca).resolve()) if control_ca else "",
            tls=Tls(certificate=tls_certificate or "", key=tls_key or ""),
            write_key=Path(write_key) if write_key else None,
            say=_say_now,
        )
    )


def _say_now(line: str) -> None:
    """Say it at once, also through a pipe; that nobody listens any more is no reason to stop."""
    with suppress(OSError):
        click.echo(line)


@click.command()
@_HOME
@click.option("--administrator", help="whose key to replace, by address; else the longest-standing one")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def recover(home: str | None, administrator: str | None, as_json: bool) -> None:
    """Issue a new administrator key, on the host itself, while Freehold is stopped.

    The keys that administrator had are void from then on, and the ledger says that it happened.
    """
    from freehold.identity.first_run import recover as reissue
    from freehold.store.home import Home

    recovered = reissue(Home.find(home), administrator=administrator)
    told = {
        "administrator": recovered.administrator,
        "key": recovered.administrator_key,
        "voided": list(recovered.voided),
    }
    say(told, as_json, _recovered)


def _recovered(told: Mapping[str, Any]) -> str:
    voided = f"{len(told['voided'])} earlier key(s) are void"
    return f"{told['administrator']} has a new key, shown this once ({voided}):\n\n  {told['key']}\n"


@click.command()
@click.argument("service", required=False)
@click.option("--at", metavar="TIME", help="what was live then, such as 2026-11-21T14:30Z; from the ledger")
@with_control
def status(control: Freehold, as_json: bool, service: str | None, at: str | None) -> None:
    """What runs, what waits, what is wrong; of SERVICE, how its traffic is shared and its answers end.

    With --at it says which model versions answered for SERVICE at that time, who had approved them, and
    which entries of the ledger say so.
    """
    from freehold.cli.path import segment

    if service is None:
        if at is not None:
            raise BadInput(
                what="it does not say of which service",
                why="what was live is told of one service",
                hint="freehold status SERVICE --at TIME",
            )
        say(_asked(control, as_json), as_json, _house)
        return
    path = f"/api/status/{segment(service, 'service')}"
    if at is None:
        say(control.get(path), as_json, _traffic)
        return
    from freehold.cli.then import then
    from freehold.cli.times import read_moment

    say(control.get(path, at=read_moment(at)), as_json, then)


def _asked(control: Freehold, as_json: bool) -> Any:
    """What control says; while it is away, the gateway is asked how it fares, and then it fails."""
    from freehold.client import ControlAway

    try:
        return control.get("/api/status")
    except ControlAway:
        from freehold.cli.gateway_status import tell

        tell(as_json)
        raise


ENDINGS = ("answered", "failed", "cut off", "denied")


def _traffic(told: Mapping[str, Any]) -> str:
    lines = [f"{told['name']} in {told['project']} · tier {told['tier']} · {told['state']}", ""]
    lines += [f"answers nobody: {told['silent']}", ""] if told.get("silent") else []
    rows = [
        {**one, "share": f"{one['weight'] / 100:g} %", **{e: one["answers"].get(e, 0) for e in ENDINGS}}
        for one in told["running"]
    ]
    lines.append(table(rows, ("release", "state", "model", "share", *ENDINGS)))
    lines += _kept(told.get("objectives", ()))  # an older control tells none
    lines += _beside(told["shadow"]) if told.get("shadow") else []
    lines += _compared(told["abtest"]) if told.get("abtest") else []
    for one in told["journeys"]:
        doing = f" · {one['step']}" if one["step"] else ""
        lines.append(
            f"\n{one['id']} · {one['kind']}{doing}" + (f": {one['because']}" if one["because"] else "")
        )
    return "\n".join(lines)


def _kept(objectives: Sequence[Mapping[str, Any]]) -> list[str]:
    """How it keeps what was declared of it."""
    if not objectives:
        return []
    from freehold.spec.objectives import COLUMNS, PACE, row

    paced = any(one["pace"] is not None for one in objectives)
    return ["", table([row(one) for one in objectives], COLUMNS), *([PACE] if paced else ())]


def _beside(shadow: Mapping[str, Any]) -> list[str]:
    """What the shadow made of the copies, beside what was answered."""
    laid = shadow["same"] + shadow["differs"]
    lines = [
        "",
        f"copies: {shadow['copies']:,} asked of the shadow, {shadow['not_copied']:,} answers without",
    ]
    if laid:
        lines.append(f"  same answer   {shadow['same']:,} of {laid:,} ({shadow['same'] / laid:.1%})")
    if shadow["micros"]:
        ours, live = (shadow["micros"][one] / 1000 for one in ("shadow", "live"))
        lines.append(f"  median time   {ours:,.1f} ms, live {live:,.1f} ms")
    if shadow["tokens_out"]:
        ours, live = (shadow["tokens_out"][one] for one in ("shadow", "live"))
        lines.append(f"  tokens each   {ours:g}, live {live:g}")
    return lines


def _compared(test: Mapping[str, Any]) -> list[str]:
    """The last A/B test: who shares since when, or what came of it."""
    from freehold.cli.times import moment

    two = f"{test['models']['A']} (A) and {test['models']['B']} (B, {test['weight'] / 100:g} %)"
    lines = ["", f"A/B test {test['id']}: {two} since {moment(test['begun_at'])}"]
    if test["ended_at"] is None:
        due = moment(test["due_at"])
        return [*lines, f"  compared at its end, {due} at the earliest, and not before"]
    because = f": {test['because']}" if test["because"] and not test["figures"] else ""
    lines.append(f"  ended {moment(test['ended_at'])}, B is {test['verdict']}{because}")
    if figures := test["figures"]:
        drawn, split = figures["drawn"], figures["split"]
        lines.append(f"  drawn for A {drawn['A']:,}, for B {drawn['B']:,}{_split(split)}")
        lines += ["", table([_figure(one) for one in figures["compared"]], _FIGURES)]
    return lines


_FIGURES = ("figure", "A", "B", "difference", "95 % interval", "would have seen", "B is")


def _split(split: Mapping[str, Any]) -> str:
    if not split["mismatch"]:
        return ""
    return (
        f": {float(split['drawn']):.1%} where {float(split['asked']):.1%} were asked for is not chance; "
        "something besides the draw decided"
    )


def _figure(one: Mapping[str, Any]) -> dict[str, str]:
    """One figure of both arms, shares in percent."""
    shown = partial(in_words, share=one["share"])
    told = {
        "figure": one["figure"],
        "A": shown(one["A"]["value"]),
        "B": shown(one["B"]["value"]),
        "B is": one["says"],
    }
    if "difference" in one:
        told["difference"] = shown(one["difference"])
        told["95 % interval"] = f"{shown(one['low'])} to {shown(one['high'])}"
        told["would have seen"] = shown(one["smallest"])
    return told


def _house(house: Mapping[str, Any]) -> str:
    lines = [f"Freehold {house['version']}   {house['origin']}", ""]
    lines += [f"  wrong: {sentence}" for sentence in house["wrong"]] or ["  nothing is wrong"]
    lines += ["", *_waiting(house)]
    ledger = house["ledger"]
    lines.append(f"  ledger: {ledger['entries']:,} entries placed")
    lines.append(f"  disk: {_disk(house['disk'])}")
    for gateway in house["gateways"]:
        behind = house["snapshot"] - gateway["applied"]
        word = "up to date" if behind <= 0 else f"{behind} snapshot(s) behind"
        lines.append(f"  gateway {gateway['id']}: {word}, heard {gateway['seconds_ago']:.0f} s ago")
    if house["processes"]:
        lines += ["", table(house["processes"], ("name", "state", "pid", "restarts"))]
    if house["services"]:
        lines += ["", table(house["services"], ("name", "project", "kind", "tier", "state", "model"))]
    if house["journeys"]:
        lines += ["", table(house["journeys"], ("id", "service", "state", "because"))]
    return "\n".join(lines)


def _disk(told: Mapping[str, Any]) -> str:
    """How much is free, what an answer takes as measured here, and when it would be full."""
    said = f"{told['free'] / 1e9:.1f} GB free"
    if told["bytes_per_answer"]:
        said += f"; an answer takes {told['bytes_per_answer'] / 1000:.1f} kB"
    if told["answers_per_day"]:
        said += f", {told['answers_per_day']:,} answers a day"
    if told["full_at"]:
        from freehold.cli.times import moment

        said += f"; full by {moment(told['full_at'])} if it goes on like this"
    return said


def _waiting(house: Mapping[str, Any]) -> list[str]:
    waiting = house["approvals_waiting"]
    jobs, open_ = house["jobs"], house["incidents_open"]
    return [
        *([f"  {open_} incident(s) open: `freehold incident list --state open`"] if open_ else ()),
        f"  {waiting} approval(s) wait for people" + (": `freehold approve`" if waiting else ""),
        f"  {jobs['claimed']} job(s) run, {jobs['queued']} wait for a worker",
    ]
