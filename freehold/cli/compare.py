"""`freehold compare`: two runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import say, table, with_control

if TYPE_CHECKING:
    from freehold.client import Freehold

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


@click.command()
@click.argument("one")
@click.argument("other")
@with_control
def compare(control: Freehold, as_json: bool, one: str, other: str) -> None:
    """Two runs (`run:12 run:13`): figures on the same rows, what differs, what each took."""
    say(control.get(f"/api/runs/{one}/compare/{other}"), as_json, _compared)


def _compared(told: Mapping[str, Any]) -> str:
    runs = told["runs"]
    names = [run["run"] for run in runs]
    rows: list[tuple[str, ...]] = [
        (f"{f['name']} on {f['on']}", _figure(f["one"]), _figure(f["other"])) for f in told["figures"]
    ]
    rows += [(name, *(f"{run[field]:.3g} {unit}" for run in runs)) for name, field, unit in _TOOK]
    rows.append(("size of the model", *(_size(run["model_bytes"]) for run in runs)))
    if any(run["last_loss"] for run in runs):
        rows.append(("last loss", *(str(run["last_loss"] or "–") for run in runs)))
    parts = [_side_by_side(rows, names)]
    parts += [f"loss of {run['run']}  {drawn(run['curve'])}" for run in runs if run["curve"]]
    for what, lines in (("asked differently", told["spec"]), ("reported differently", told["metrics"])):
        differing = [(line["name"], _cut(line["one"]), _cut(line["other"])) for line in lines]
        parts.append(f"{what}:\n{_side_by_side(differing, names)}" if differing else f"{what}: nothing")
    return "\n\n".join(parts)


_TOOK = (
    ("seconds", "wall_seconds", "s"),
    ("seconds of one core", "cpu_seconds", "s"),
    ("energy, estimated", "watt_hours", "Wh"),
)


def _side_by_side(rows: Sequence[tuple[str, ...]], names: Sequence[str]) -> str:
    columns = ("", *names)
    return table([dict(zip(columns, row, strict=True)) for row in rows], columns)


def _figure(said: Mapping[str, Any]) -> str:
    if said.get("value") is None:
        return "not measured"
    if said.get("low") is None:
        return f"{float(said['value']):.3f}"
    return f"{float(said['value']):.3f} ({float(said['low']):.3f} to {float(said['high']):.3f})"


def _size(amount: int | None) -> str:
    return "–" if amount is None else f"{amount / 1e6:.3g} MB"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def drawn(curve: Sequence[Sequence[float]]) -> str:
    """A curve of (step, loss) as one line of blocks, its first and last value beside it."""
    losses = [point[1] for point in curve]
    low, high = min(losses), max(losses)
    shown = (
        [losses[place * len(losses) // _WIDTH] for place in range(_WIDTH)] if len(losses) > _WIDTH else losses
    )
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    blocks = "".join(_BLOCKS[round((loss - low) * scale)] for loss in shown)
    return f"{losses[0]:.4g} {blocks} {losses[-1]:.4g}"
