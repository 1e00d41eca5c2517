"""Which bound counts, and what is said when it is not reached."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.evaluate.gates import judge
from freehold.spec.service import Gate

FIGURES = {"accuracy": ("0.900000", "0.860000", "0.930000"), "auc": ("0.990000", "0.970000", "0.995000")}


def card(**changes: Any) -> dict[str, Any]:
    """A card with known figures."""
    metrics: dict[str, Any] = {
        name: {"value": value, "low": low, "high": high} for name, (value, low, high) in FIGURES.items()
    }
    gap = {
        "across": ["age_band"],
        "of": "",
        "value": "0.110000",
        "low": "0.020000",
        "high": "0.210000",
        "worst": {"column": "age_band", "group": "70+"},
        "insufficient": [],
        "fewest": 20,
        **changes.pop("gap", {}),
    }
    metrics["macro_f1"] = changes.pop("macro_f1", None)
    examples = changes.pop("examples", [])
    return {"measured": {"held-out": {"metrics": metrics, "gaps": [gap]}}, "examples": examples}


def one(gate: Gate, **changes: Any) -> Any:
    (result,) = judge(card(**changes), {"gate": gate})
    return result


@pytest.mark.parametrize(
    ("gate", "passed", "because"),
    [
        (
            Gate(metric="accuracy", value=0.9),
            True,
            "accuracy 0.90 (0.86 to 0.93): value 0.90 >= 0.9",
        ),
        (Gate(metric="accuracy", value=0.95), False, "accuracy 0.90 < 0.95"),
        (
            Gate(metric="accuracy", lower_bound=0.86),
            True,
            "accuracy 0.90 (0.86 to 0.93): lower end 0.86 >= 0.86",
        ),
        (Gate(metric="accuracy", lower_bound=0.88), False, "accuracy 0.90, lower end 0.86 < 0.88"),
        (Gate(metric="accuracy", value=0.8, lower_bound=0.88), False, "accuracy 0.90, lower end 0.86 < 0.88"),
        (
            Gate(metric="recall_gap", across=("age_band",), value=0.05),
            False,
            "recall gap 0.11 > 0.05 for age_band 70+",
        ),
        (
            Gate(metric="recall_gap", across=("age_band",), upper_bound=0.15),
            False,
            "recall gap 0.11, upper end 0.21 > 0.15 for age_band 70+",
        ),
        (
            Gate(metric="recall_gap", across=("age_band",), upper_bound=0.3),
            True,
            "recall gap 0.11 (0.02 to 0.21): upper end 0.21 <= 0.3",
        ),
        (Gate(metric="macro_f1", value=0.1), False, "macro-F1 was not measured on held-out"),
        (
            Gate(metric="accuracy", value=0.1, against="golden@1"),
            False,
            "accuracy was not measured on golden@1",
        ),
        (
            Gate(metric="recall_gap", across=("sex",), value=0.5),
            False,
            "recall gap was not measured on held-out",
        ),
        (Gate(metric="accuracy"), False, "the gate names no bound for accuracy"),
    ],
)
def test_a_gate_is_judged_by_the_bound_it_names(gate: Gate, passed: bool, because: str) -> None:
    result = one(gate)
    assert (result.passed, result.because) == (passed, because)


def test_too_little_data_is_not_a_pass_and_says_what_is_missing() -> None:
    gate = Gate(metric="recall_gap", across=("age_band",), upper_bound=1.0)
    few = {"insufficient": [{"column": "age_band", "group": "90+", "rows": 7}]}
    result = one(gate, gap=few)
    assert not result.passed
    assert result.because == "insufficient data: age_band 90+ has 7 rows, 20 are needed"


def test_nothing_to_compare_is_not_a_pass() -> None:
    gate = Gate(metric="recall_gap", across=("age_band",), upper_bound=1.0)
    few = {"insufficient": [{"column": "age_band", "group": None, "rows": 90}], "value": None}
    assert one(gate, gap=few).because == "insufficient data: age_band has fewer than two groups"


def test_figures_are_shown_with_as_many_places_as_tell_them_apart() -> None:
    changed = {"value": "0.050400"}
    gate = Gate(metric="recall_gap", across=("age_band",), value=0.05)
    assert one(gate, gap=changed).because == "recall gap 0.0504 > 0.05 for age_band 70+"


def test_examples_are_a_gate_of_their_own() -> None:
    examples = [
        {"passed": True, "got": "a", "expect": "a"},
        {"passed": False, "got": "car", "expect": "water"},
    ]
    quality, asked = judge(card(examples=examples), {"quality": Gate(metric="accuracy", value=0.5)})
    assert quality.passed
    assert not asked.passed
    assert asked.because == "example 2 is answered `car`, not `water`"


def test_no_gate_and_no_example_judges_nothing() -> None:
    assert judge(card(), {}) == ()
