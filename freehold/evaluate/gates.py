"""Does a candidate pass? A pure reading of its card: what is printed is what is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from freehold.spec.service import Gate

WORDS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "auc": "AUC",
    "recall_gap": "recall gap",
    "exact_match": "exact match",
    "token_loss": "loss per token",
}
SMALL_IS_GOOD = frozenset({"recall_gap", "token_loss"})
OF_TEXT = frozenset({"exact_match", "token_loss"})
"""Of text that is written; the others are of classes."""
LIVE = "live"
"""The name of the gate that a retrained candidate has beside its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate's judgement; decimals as text, as they stand on the card."""

    name: str
    metric: str
    against: str
    value: str | None
    low: str | None
    high: str | None
    bound: str
    """What was asked, such as `lower end >= 0.86`."""
    passed: bool
    because: str

    def as_card(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def judge(card: Mapping[str, Any], gates: Mapping[str, Gate]) -> tuple[GateResult, ...]:
    """Every gate, by name, then the live model when there is one, then the examples when there are any.

    What was not measured, or on too few rows, does not pass: there is no benefit of the doubt.
    """
    results = [_judge(card, name, gate) for name, gate in sorted(gates.items())]
    if live := card.get("against_live"):
        results.append(_against_live(live))
    if card["examples"]:
        results.append(_examples(card["examples"]))
    return tuple(results)


def _judge(card: Mapping[str, Any], name: str, gate: Gate) -> GateResult:
    measured = _find(card, gate)
    figures = {part: (measured or {}).get(part) for part in ("value", "low", "high")}
    bound = " and ".join(f"{part} {sign} {limit}" for part, _, sign, limit in _bounds(gate))
    passed, because = _decide(gate, measured)
    return GateResult(
        name=name,
        metric=gate.metric,
        against=gate.against,
        bound=bound or "none",
        passed=passed,
        because=because,
        **figures,
    )


def _find(card: Mapping[str, Any], gate: Gate) -> Mapping[str, Any] | None:
    measured = card["measured"].get(gate.against)
    if measured is None:
        return None
    if gate.metric != "recall_gap":
        found: Mapping[str, Any] | None = measured["metrics"].get(gate.metric)
        return found
    asked = (list(gate.across), gate.of)
    return next((g for g in measured["gaps"] if (g["across"], g["of"]) == asked), None)


def _bounds(gate: Gate) -> list[tuple[str, str, str, Decimal]]:
    """(what it is called, which figure, which way, the limit) of every bound the gate names."""
    value_way = "<=" if gate.metric in SMALL_IS_GOOD else ">="
    asked = (
        ("value", "value", value_way, gate.value),
        ("lower end", "low", ">=", gate.lower_bound),
        ("upper end", "high", "<=", gate.upper_bound),
    )
    return [(word, part, way, Decimal(repr(limit))) for word, part, way, limit in asked if limit is not None]


def _decide(gate: Gate, measured: Mapping[str, Any] | None) -> tuple[bool, str]:
    word = WORDS[gate.metric]
    bounds = _bounds(gate)
    if not bounds:
        return False, f"the gate names no bound for {word}"
    if measured is None:
        return False, f"{word} was not measured on {gate.against}"
    if lacking := measured.get("insufficient"):
        return False, _too_few(lacking, measured)
    if measured["value"] is None:
        return False, f"insufficient data: {word} has nothing to compare"
    for _, part, way, limit in bounds:
        figure = Decimal(measured[part])
        if not (figure <= limit if way == "<=" else figure >= limit):
            return False, _failed(word, part, way, figure, limit, measured)
    return True, _passed(word, measured, bounds)


def _too_few(lacking: Sequence[Mapping[str, Any]], measured: Mapping[str, Any]) -> str:
    first = lacking[0]
    more = f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    if first["group"] is None:
        return f"insufficient data: {first['column']} has fewer than two groups{more}"
    rows = "row" if first["rows"] == 1 else "rows"
    return (
        f"insufficient data: {first['column']} {first['group']} has {first['rows']} {rows}, "
        f"{measured['fewest']} are needed{more}"
    )


def _failed(
    word: str, part: str, way: str, figure: Decimal, limit: Decimal, measured: Mapping[str, Any]
) -> str:
    """`recall gap 0.11 > 0.05 for age_band 70+`, and what the interval was when its end counted."""
    sign = ">" if way == "<=" else "<"
    shown, bar = _apart(figure, limit)
    who = f" for {measured['worst']['column']} {measured['worst']['group']}" if measured.get("worst") else ""
    if part == "value":
        return f"{word} {shown} {sign} {bar}{who}"
    end = "lower" if part == "low" else "upper"
    return f"{word} {_short(measured['value'])}, {end} end {shown} {sign} {bar}{who}"


def _passed(word: str, measured: Mapping[str, Any], bounds: Sequence[tuple[str, str, str, Decimal]]) -> str:
    held = []
    for called, part, way, limit in bounds:
        shown, bar = _apart(Decimal(measured[part]), limit)
        held.append(f"{called} {shown} {way} {bar}")
    return (
        f"{word} {_short(measured['value'])} "
        f"({_short(measured['low'])} to {_short(measured['high'])}): {', '.join(held)}"
    )


def _short(text: str) -> str:
    return f"{Decimal(text):.3f}".rstrip("0").ljust(4, "0")


def _apart(figure: Decimal, limit: Decimal) -> tuple[str, str]:
    """The figure with as few places as still show on which side of the limit it is, and the limit."""
    for places in (2, 3, 4, 5):
        shown = f"{figure:.{places}f}"
        if (Decimal(shown) < limit) == (figure < limit) and (Decimal(shown) > limit) == (figure > limit):
            return shown, str(limit)
    return str(figure), str(limit)


def _against_live(live: Mapping[str, Any]) -> GateResult:
    """Held when it is worse than the live model with the whole interval, or could not be compared."""
    figure = live["metrics"].get(live["counts"])
    word = WORDS[live["counts"]]
    if figure is None:
        passed, because = False, f"cannot be compared with {live['ref']}: {live['why']}"
    else:
        passed, because = Decimal(figure["high"]) >= 0, _difference(word, figure, live)
    return GateResult(
        name=LIVE,
        metric=live["counts"],
        against=live["ref"],
        bound="not worse than the live model",
        passed=passed,
        because=because,
        **{part: (figure or {}).get(part) for part in ("value", "low", "high")},
    )


def _difference(word: str, figure: Mapping[str, Any], live: Mapping[str, Any]) -> str:
    low, high = Decimal(figure["low"]), Decimal(figure["high"])
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    spread = f"{Decimal(figure['value']):+.3f} ({low:+.3f} to {high:+.3f})"
    unknown = "; whether it learned from some of them is not known" if live["overlap"] != "none" else ""
    both = f"{Decimal(figure['candidate']):.3f}, {live['ref']} {Decimal(figure['live']):.3f}"
    return f"{word} {both} on the same {live['rows']} rows{unknown}: {spread}, {verdict}"


def _examples(examples: Sequence[Mapping[str, Any]]) -> GateResult:
    """Every example must be answered as it says."""
    wrong = [number for number, example in enumerate(examples, start=1) if not example["passed"]]
    right = len(examples) - len(wrong)
    because = f"{right} of {len(examples)} examples are answered as written"
    if wrong:
        first = examples[wrong[0] - 1]
        because = f"example {wrong[0]} is answered `{first['got']}`, not `{first['expect']}`"
    return GateResult(
        name="examples",
        metric="examples",
        against="the service file",
        value=None,
        low=None,
        high=None,
        bound="all",
        passed=not wrong,
        because=because,
    )
