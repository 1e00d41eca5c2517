"""A card as a page shows it: gates with their intervals, what was measured on which rows, what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from freehold.console.charts.intervals import Interval, interval, limits_of
from freehold.spec.figures import plural

METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "auc": "AUC",
    "exact_match": "exact match",
    "token_loss": "loss per token",
}
"""What figures are called, in the order they are shown; others follow under their own name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure: in words and as a bar."""

    name: str
    figure: str
    bar: Markup
    note: str = ""
    passed: bool | None = None
    against: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSet:
    """What was measured on one set of rows."""

    against: str
    rows: int
    unlabelled: int
    also_in_training: int
    metrics: tuple[Line, ...]
    groups: tuple[tuple[str, tuple[Line, ...]], ...]
    classes: Sequence[Mapping[str, Any]]
    mistakes: Sequence[Mapping[str, Any]]


def gates(card: Mapping[str, Any]) -> tuple[Line, ...]:
    """Every gate with its judgement."""
    return tuple(gate(said) for said in card["gates"])


def gate(said: Mapping[str, Any]) -> Line:
    """One gate's judgement, as card and approval hold it."""
    return Line(
        name=said["name"],
        figure=said["because"],
        bar=_bar(said, limits_of(said["bound"]), said["because"]),
        passed=said["passed"],
        against=said["against"],
    )


def measured(card: Mapping[str, Any]) -> tuple[MeasuredSet, ...]:
    """Every set of rows it was measured on, by name."""
    return tuple(_set(against, said) for against, said in sorted(card["measured"].items()))


def beside(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """The candidate and the live model on the same rows; none where the card compares with none."""
    live = card.get("against_live")
    if not live:
        return None
    lines = [
        {
            "name": METRICS.get(name, name),
            "mine": f"{float(figure['candidate']):.3f}",
            "theirs": f"{float(figure['live']):.3f}",
            "difference": told(figure),
        }
        for name, figure in live["metrics"].items()
        if figure
    ]
    return {**live, "lines": lines}


def _set(against: str, said: Mapping[str, Any]) -> MeasuredSet:
    return MeasuredSet(
        against=against,
        rows=said.get("rows", 0),
        unlabelled=said.get("unlabelled", 0),
        also_in_training=said.get("also_in_training", 0),
        metrics=tuple(_metrics(said["metrics"])),
        groups=tuple(_groups(gap) for gap in said.get("gaps", ())),
        classes=sorted(said.get("classes", ()), key=lambda line: float(line["f1"])),
        mistakes=said.get("mistakes", ())[:10],
    )


def _metrics(said: Mapping[str, Any]) -> list[Line]:
    names = [*(name for name in METRICS if name in said), *sorted(set(said) - set(METRICS))]
    return [_figure(METRICS.get(name, name), said[name]) for name in names if said[name]]


def _figure(name: str, said: Mapping[str, Any], note: str = "") -> Line:
    figure = told(said)
    return Line(name=name, figure=figure, bar=_bar(said, (), f"{name}: {figure}"), note=note)


def _groups(gap: Mapping[str, Any]) -> tuple[str, tuple[Line, ...]]:
    """A comparison across groups: what is compared, and a figure per group."""
    what = f"recall of {gap['of']}" if gap["of"] else "share answered right"
    lines = [
        _figure(
            f"{group['column']} {group['group']}",
            group["recall"] or {},
            plural(group["rows"], "row") + ("" if group["enough"] else ", too few to say"),
        )
        for group in gap["groups"]
    ]
    return f"{what} across {', '.join(gap['across'])}", tuple(lines)


def told(said: Mapping[str, Any]) -> str:
    """`0.978 (0.959 to 0.988)`."""
    if said.get("value") is None:
        return "not measured"
    if said.get("low") is None:
        return f"{float(said['value']):.3f}"
    return f"{float(said['value']):.3f} ({float(said['low']):.3f} to {float(said['high']):.3f})"


def _bar(said: Mapping[str, Any], limits: tuple[float, ...], label: str) -> Markup:
    if any(said.get(part) is None for part in ("value", "low", "high")):
        return Markup("")
    value, low, high = (float(said[part]) for part in ("value", "low", "high"))
    return interval(Interval(value=value, low=low, high=high, limits=limits), label=label)


def side_by_side(figures: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What `control.compared.figures` found, in words."""
    return [
        {
            "on": figure["on"],
            "name": METRICS.get(figure["name"], figure["name"]),
            "before": told(figure["other"]),
            "after": told(figure["one"]),
        }
        for figure in figures
    ]
