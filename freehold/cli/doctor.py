"""`freehold doctor`: does every control do what it is for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import say, with_control
from freehold.errors import Tampered

if TYPE_CHECKING:
    from freehold.client import Freehold


class ControlsFailed(Tampered):
    """{failed} of {all} controls did not hold"""


@click.command()
@click.option("--last", is_flag=True, help="show what was proved last; try nothing")
@with_control
def doctor(control: Freehold, as_json: bool, last: bool) -> None:
    """Prove every control by its effect: what it forbids is tried, beside what it allows.

    Control does it in an installation made for it, which lives for seconds, so that nothing running is
    touched. How each control did is an entry of the ledger. Exit code 8 when one does not hold.
    """
    found = control.get("/api/controls") if last else control.send("POST", "/api/controls", b"", timeout=180)
    say(found, as_json, _told)
    wrong = [one["control"] for one in found if one["passed"] is False]
    if wrong:
        raise ControlsFailed(
            failed=len(wrong),
            all=len(found),
            why=", ".join(wrong),
            hint="serve nothing that leans on them until it is understood: docs/manual/doctor.md",
        )


def _told(found: Sequence[Mapping[str, Any]]) -> str:
    held = sum(one["passed"] is True for one in found)
    lines = [f"{held}/{len(found)} controls proved"]
    for one in found:
        mark = {True: "✓", False: "✗", None: "·"}[one["passed"]]
        lines.append(f"  {mark} {one['control']:<20} {one['title']}")
        lines.append(f"    {'':<20} {one['because']}")
    return "\n".join(lines)
