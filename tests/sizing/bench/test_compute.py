"""What a machine computes, in miniature."""

from __future__ import annotations

import datetime as dt

import pytest

from freehold.sizing import facts as figures
from freehold.sizing import plain
from freehold.sizing.bench import as_device, compute, decode
from freehold.sizing.bench.energy import Energy, Meter
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import provenance
from freehold.sizing.bench.shown import text
from freehold.sizing.bench.utilization import Spread
from freehold.sizing.size import size
from freehold.sizing.workload import from_text

TODAY = dt.date(2026, 11, 21)

TINY = decode.Shape(name="tiny", layers=2, hidden=64, inner=128, heads=4, kv_heads=2, head=16, vocabulary=500)


def test_arithmetic_and_memory_are_measured_and_become_facts() -> None:
    found = compute.measure((), 128, 0.05, Progress())
    assert {one.unit for one in found.speeds} == {"TFLOP", "GB"}
    assert all(min(one.rate.values) > 0 for one in found.speeds)
    assert all(len(one.rate.values) == compute.TURNS for one in found.speeds)
    known = figures.load(as_device.facts(found))
    assert "this-machine" in known.devices(), known.warnings(dt.date(2026, 11, 21))
    for part, label in (("tflops", "measured"), ("bandwidth_gb_s", "measured"), ("rent", "estimated")):
        assert known(f"device.this-machine.{part}") > 0
        assert known.used[f"device.this-machine.{part}"].label == label
    said = text(compute.page(found))
    assert "matrix product, fp32" in said
    assert "J in" in said


@pytest.mark.parametrize("weights", ["fp32", "int8"])
@pytest.mark.parametrize("rows", decode.ROWS)
def test_tokens_of_a_shape_are_written_one_after_the_other(weights: str, rows: int) -> None:
    found = decode.on_onnx(TINY, weights, 0.05, 1, rows)
    assert found.tokens == rows / found.step > 10
    assert (found.weights, found.rows) == (weights, rows)
    assert found.cache == 2 * 2 * 2 * 16 * decode.CONTEXT * 4


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


def test_torch_gives_the_same_kinds_of_figures_on_every_device_and_waits_until_each_is_done() -> None:
    """There is no accelerator here: its record is tried on the processors, all but what finds it."""
    pytest.importorskip("torch", reason="needs the extra `train`")
    from freehold.sizing.bench import on_torch

    assert on_torch.devices()[0].where == "cpu"
    asked = list[int]()
    card = on_torch.Device(
        name="nvidia-h100-80gb-hbm3",
        where="cpu",
        memory=80_000_000,
        larger=2,
        settle=lambda: asked.append(1),
        joules=lambda: float(len(asked)),
    )
    product, memory = on_torch.speeds(card, 64, 0.02)
    assert (product.what, memory.unit) == ("matrix product, bf16", "GB")
    assert product.how.endswith("128 x 128")
    before = len(asked)
    assert before > 2 * compute.TURNS
    written = on_torch.decoded(card, TINY, 0.02, 4)
    assert written.tokens > 1
    assert written.joules == 1 / 4, "of one token: this meter counts a joule a step"
    assert len(asked) >= before + 4
    assert on_torch.devices()[0].joules() is None
    assert on_torch.holds(card, decode.SHAPES["15m"])
    assert not on_torch.holds(card, decode.SHAPES["15m"], 8)
    assert not on_torch.holds(card, decode.SHAPES["135m"])


def measured(
    device: str, memory: int, tokens: float, rows: int = 1, joules: float | None = None
) -> compute.Computed:
    """As if a machine had been measured: 4 TFLOP/s, 1,000 GB/s, and a shape of 15 M in bf16."""
    shape = decode.SHAPES["15m"]

    def speed(unit: str, rate: float) -> compute.Speed:
        runs = Spread(values=(rate, rate))
        return compute.Speed(device=device, what="", unit=unit, rate=runs, how="")

    one = decode.Decoded(
        device=device,
        shape="15m",
        weights="bf16",
        engine="torch",
        step=rows / tokens,
        parameters=shape.parameters,
        rows=rows,
        joules=joules,
    )
    return compute.Computed(
        provenance=provenance({}, {}),
        speeds=(speed("TFLOP", 4.0), speed("GB", 1000.0)),
        decoded=(one,),
        memory={device: memory},
        energy=Energy(joules=1, label="estimated", scope=""),
        seconds=1,
    )


def test_a_known_accelerator_keeps_its_peak_and_takes_what_was_measured_of_its_memory() -> None:
    found = measured("nvidia-h100-80gb-hbm3", 79_000_000_000, 16_000)
    shipped, ours = figures.load(), figures.load(as_device.facts(found))
    assert ours("device.h100.tflops") == shipped("device.h100.tflops")
    assert ours("device.h100.bandwidth_gb_s") == 1000
    assert ours("device.h100.memory_gb") == 79
    share = 2 * decode.SHAPES["15m"].parameters / 1e12 * 16_000
    assert ours("device.h100.decode_efficiency.1") == pytest.approx(share, rel=1e-3)
    work = "model: llama-3-8b\nserve: {requests_a_day: 9000, tokens_in: 900, tokens_out: 250}\ndevice: h100\n"
    slow, quick = (
        size(figures.load(as_device.facts(measured("nvidia-h100", 8 * 10**10, rate))), from_text(work), TODAY)
        for rate in (10_000, 30_000)
    )
    assert slow.section("serving").value("a token") > quick.section("serving").value("a token")


def test_eight_at_a_time_are_a_point_of_their_own_and_their_arithmetic_counts() -> None:
    found = measured("cpu", 64 * 10**9, 80_000, rows=8)
    known = figures.load(as_device.facts(found))
    parameters = decode.SHAPES["15m"].parameters
    roof = max(2 * parameters / 1e12, 8 * 2 * parameters / 4e12)
    assert known("device.this-machine.decode_efficiency.8") == pytest.approx(roof * 10_000, rel=1e-3)
    assert known.get("device.this-machine.decode_efficiency.1") is None


def test_a_meter_that_was_read_becomes_the_draw_of_a_device_and_plans_say_so() -> None:
    found = measured("nvidia-h100-80gb-hbm3", 80 * 10**9, 16_000, joules=0.035)
    assert "0.035 J a token, by its own meter" in text(compute.page(found))
    known = figures.load(as_device.facts(found))
    assert known("device.h100.draw") == pytest.approx(0.035 * 16_000 / 700)
    work = "model: llama-3-8b\nserve: {requests_a_day: 9000, tokens_in: 900, tokens_out: 250}\ndevice: h100\n"
    plans = [size(facts, from_text(work), TODAY) for facts in (figures.load(), known)]
    before, after = (one.section("energy").value("serving") for one in plans)
    share = known("device.h100.draw") / known("energy.draw")
    devices = [one.served_on[0].fleet.devices for one in plans]
    assert after / before == pytest.approx(share * devices[1] / devices[0])
    assert "own meter" in plain.disclosure(plans[1])["method"]
    assert "not metered" in plain.disclosure(plans[0])["method"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("nvidia-l4", "l4"),
        ("nvidia-l40s", "l40s"),
        ("nvidia-a100-sxm4-80gb", "a100"),
        ("nvidia-rtx-pro-6000-blackwell-server-edition", "rtxpro6000"),
        ("nvidia-geforce-rtx-4090", None),
    ],
)
def test_an_accelerator_is_known_by_what_it_calls_itself(name: str, known: str | None) -> None:
    assert as_device.known_as(name) == known


def test_one_that_nobody_knows_is_written_down_and_a_plan_says_what_it_lacks() -> None:
    known = figures.load(as_device.facts(measured("nvidia-geforce-rtx-4090", 24 * 10**9, 9_000)))
    assert known("device.nvidia-geforce-rtx-4090.tflops") == 4
    assert any("lacks watts, link_gb_s, rent" in line for line in known.warnings(TODAY))


def test_a_plan_takes_this_machine_as_one_more_device() -> None:
    text = "model: llama-2-7b\nserve: {requests_a_day: 90, tokens_in: 90, tokens_out: 20, token_ms: 1000}\n"
    facts = figures.load(as_device.facts(measured("cpu", 64 * 10**9, 20_000)))
    found = size(facts, from_text(f"{text}device: this-machine\n"), TODAY)
    assert [one.fleet.device for one in found.served_on] == ["this-machine"]
    assert "this-machine" in {one.fleet.device for one in size(facts, from_text(text), TODAY).served_on}
