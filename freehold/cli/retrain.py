"""`freehold retrain`: a live service learns from a new version of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from freehold.cli.deliver import UNTIL, follow, plan_text
from freehold.cli.show import say, with_control

if TYPE_CHECKING:
    from freehold.client import Freehold


@click.command()
@click.argument("service")
@click.option("--data", required=True, metavar="NAME@V", help="the new version of the data it learns from")
@click.option("--plan", is_flag=True, help="only show what would happen")
@click.option("--until", type=click.Choice(UNTIL), help="end there, and exit 0 when it is reached")
@click.option("--wait", "wait_for", default="", help="how long to watch, such as 30m; else until its end")
@click.option("--no-wait", is_flag=True, help="hand it over and return")
@with_control
def retrain(
    control: Freehold,
    as_json: bool,
    service: str,
    data: str,
    plan: bool,
    until: str | None,
    wait_for: str,
    no_wait: bool,
) -> None:
    """Train SERVICE, as it is declared, on new data; measure it beside the live model; ask the approvers.

    A candidate that is worse than the live model on rows neither of them learned from is held. What is
    approved is rolled out as the file says. Exit codes are those of `freehold apply`.
    """
    asked = {"kind": "retrain", "service": service, "data": data}
    if plan:
        say(control.post("/api/plans", asked), as_json, plan_text)
        return
    follow(control, {**asked, "until": until}, as_json, wait_for, no_wait)
