"""Gates that could never be judged are refused before anything is trained."""

from __future__ import annotations

import pytest
from learning import inbox, planned, service

from freehold.errors import BadInput
from freehold.evaluate.entry import read_gates
from freehold.evaluate.plan import GateUnusable, plan
from freehold.spec.ids import canonical
from freehold.spec.service import Example, Gate


def asked(gate: Gate, held_out: float = 0.2, name: str = "gate") -> dict[str, object]:
    wanted = service(gates={name: gate}, train={"held_out": held_out})
    return plan(wanted, run_spec=planned(wanted, inbox()).spec)


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        (Gate(metric="accuracy"), "names no bound"),
        (Gate(metric="accuracy", lower_bound=1.2), "outside 0 to 1"),
        (Gate(metric="accuracy", upper_bound=0.9), "would ask for the opposite"),
        (Gate(metric="recall_gap", across=("age_band",), lower_bound=0.1), "would ask for the opposite"),
        (Gate(metric="recall_gap", upper_bound=0.1), "needs columns"),
        (Gate(metric="auc", across=("age_band",), value=0.5), "not compared across"),
        (Gate(metric="recall_gap", across=("kind",), value=0.5), "is the target"),
        (Gate(metric="accuracy", value=0.5, against="claims@1"), "learns from `claims@1` itself"),
    ],
)
def test_a_gate_that_cannot_be_judged_is_refused(gate: Gate, says: str) -> None:
    with pytest.raises(GateUnusable) as refused:
        asked(gate)
    assert says in refused.value.why


def test_a_gate_against_held_out_rows_needs_some() -> None:
    with pytest.raises(GateUnusable) as refused:
        asked(Gate(metric="accuracy", value=0.5), held_out=0)
    assert "golden set" in refused.value.hint


def test_a_golden_set_names_its_version() -> None:
    with pytest.raises(BadInput) as refused:
        asked(Gate(metric="accuracy", value=0.5, against="golden"))
    assert refused.value.hint == "write `golden@1`"


def test_the_name_of_the_examples_is_taken() -> None:
    with pytest.raises(GateUnusable):
        asked(Gate(metric="accuracy", value=0.5), name="examples")


def test_an_example_expects_a_class() -> None:
    wanted = service(examples=(Example(ask={"text": "hi"}, expect={"label": "car"}),))
    with pytest.raises(BadInput) as refused:
        plan(wanted, run_spec=planned(wanted, inbox()).spec)
    assert "expect: {class" in refused.value.hint


def test_the_specification_is_canonical_and_gives_the_gates_back() -> None:
    gate = Gate(metric="recall_gap", across=("age_band",), upper_bound=0.05, against="golden@2")
    spec = asked(gate)
    assert canonical(spec)
    assert spec["golden"] == ["golden@2"]
    assert read_gates(spec) == {"gate": gate}
