"""What a machine computes, in miniature."""

from __future__ import annotations

import pytest

from freehold.sizing import facts as figures
from freehold.sizing.bench import compute, decode
from freehold.sizing.bench.energy import Meter
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.shown import text

TINY = decode.Shape(name="tiny", layers=2, hidden=64, inner=128, heads=4, kv_heads=2, head=16, vocabulary=500)


def test_arithmetic_and_memory_are_measured_and_become_facts() -> None:
    found = compute.measure((), 128, 0.05, Progress())
    assert {one.unit for one in found.speeds} == {"TFLOP", "GB"}
    assert all(min(one.rate.values) > 0 for one in found.speeds)
    assert all(len(one.rate.values) == compute.TURNS for one in found.speeds)
    known = figures.load(compute.facts(found))
    assert known("host.tflops") > 0
    assert known("host.bandwidth_gb_s") > 0
    said = text(compute.page(found))
    assert "matrix product, fp32" in said
    assert "J in" in said


@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_tokens_of_a_shape_are_written_one_after_the_other(weights: str) -> None:
    found = decode.on_onnx(TINY, weights, 0.05, 1)
    assert found.tokens > 10
    assert found.weights == weights


def test_shapes_have_the_parameters_their_models_are_named_for() -> None:
    assert decode.SHAPES["15m"].parameters == pytest.approx(15e6, rel=0.05)
    assert decode.SHAPES["135m"].parameters == pytest.approx(135e6, rel=0.03)
    assert decode.SHAPES["1b"].parameters == pytest.approx(1.24e9, rel=0.03)


def test_energy_says_how_it_is_known() -> None:
    used = Meter().used(cpu_seconds=10)
    assert used.label in ("measured", "estimated")
    assert used.joules >= 0
    if used.label == "estimated":
        assert used.joules == 75


def test_torch_gives_the_same_kinds_of_figures() -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    from freehold.sizing.bench import on_torch

    assert on_torch.devices()[0] == "cpu"
    (speed,) = on_torch.speeds("cpu", 64, 0.02)
    assert speed.what == "matrix product, bf16"
    assert on_torch.decoded("cpu", TINY, 0.02).tokens > 1
