"""Trainings of your own become a fact of this machine, and plans take it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from freehold.sizing import facts as figures
from freehold.sizing.bench import own_runs
from freehold.sizing.bench.own_runs import NoPace, of_run
from freehold.sizing.bench.provenance import provenance
from freehold.sizing.bench.shown import text
from freehold.sizing.size import Plan, size
from freehold.sizing.workload import from_text

HERE = """\
device.this-machine.memory_gb: {value: 64, label: measured, as_of: 2026-11-20, source: bench}
device.this-machine.bandwidth_gb_s: {value: 40, label: measured, as_of: 2026-11-20, source: bench}
device.this-machine.tflops: {value: 2, label: measured, as_of: 2026-11-20, source: bench}
device.this-machine.watts: {value: 60, label: estimated, as_of: 2026-11-20, source: bench}
device.this-machine.link_gb_s: {value: 1, label: estimated, as_of: 2026-11-20, source: bench}
device.this-machine.rent: {value: 0.1, label: estimated, as_of: 2026-11-20, source: bench}
"""
WORK = """\
model: {parameters: 1.0e8, layers: 12, kv_heads: 4, head: 64, hidden: 768}
train: {method: lora, tokens: 1.0e6}
device: this-machine
"""


def told(number: int = 12, *rates: str, **metrics: Any) -> dict[str, Any]:
    return {
        "run": f"run:{number}",
        "spec": {"base": {"ref": "tiny@1", "digest": "x"}, "threads": 2},
        "ended_at": 1_763_600_000_000_000 + number * 86_400_000_000,
        "metrics": {
            "tokens_per_second": list(rates or ("1000", "900", "1000", "1000", "1050", "1050")),
            "operations_per_token": "400000000",
            **metrics,
        },
    }


def test_what_a_run_reached_is_told_and_written_with_the_range_of_its_parts() -> None:
    one = of_run(told())
    assert one.tflops[0] == pytest.approx(0.4)
    said = text(own_runs.page([one], provenance({}, {})))
    assert "run:12: LoRA of tiny@1" in said
    assert "400 GFLOP/s" in said
    known = figures.load(HERE, own_runs.facts([one]))
    assert known("device.this-machine.lora_tflops") == pytest.approx(0.4)
    fact = known.used["device.this-machine.lora_tflops"]
    assert (fact.low, fact.high) == (pytest.approx(0.36), pytest.approx(0.42))
    assert fact.label == "measured"
    assert "run:12 (LoRA of tiny@1, threads: 2)" in fact.source


def test_of_several_runs_the_mean_counts_and_the_day_of_the_first() -> None:
    known = figures.load(HERE, own_runs.facts([of_run(told(12)), of_run(told(2, "2000"))]))
    assert known("device.this-machine.lora_tflops") == pytest.approx(0.6)
    fact = known.used["device.this-machine.lora_tflops"]
    assert (fact.low, fact.high) == (pytest.approx(0.36), pytest.approx(0.8))
    assert fact.as_of == dt.date(2025, 11, 22)


def test_a_plan_on_this_machine_takes_it_in_the_place_of_the_estimate() -> None:
    measured = own_runs.facts([of_run(told())])
    before, after = planned("", WORK), planned(measured, WORK)
    run = next(f for f in after.section("training").figures if f.name == "a run")
    assert run.formula.startswith("operations over 20% of the peak")
    assert "device.this-machine.lora_tflops" in run.facts
    assert "train.mfu" not in {fact.name for fact in after.facts}
    assert after.trained_on[0].clean / before.trained_on[0].clean == pytest.approx(0.3 / 0.2)
    full = planned(measured, WORK.replace("lora", "full"))
    names = {fact.name for fact in full.facts}
    assert "train.mfu_large" in names, "an adapter says nothing of a training of all weights"


def planned(own: str, work: str) -> Plan:
    return size(figures.load(HERE, own), from_text(work), dt.date(2026, 11, 21))


@pytest.mark.parametrize("missing", ["tokens_per_second", "operations_per_token"])
def test_a_run_that_learned_by_rows_says_so(missing: str) -> None:
    with pytest.raises(NoPace, match="run:12"):
        of_run(told(**{missing: None}))
