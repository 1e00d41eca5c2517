"""What a machine computes, in miniature."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from freehold.sizing import facts as figures
from freehold.sizing.bench import as_device, compute, decode, nvml
from freehold.sizing.bench.energy import Energy, Meter
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import provenance
from freehold.sizing.bench.shown import text
from freehold.sizing.bench.utilization import Spread
from freehold.sizing.disclosure import disclosure
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

    assert on_torch.devices()[0][0].where == "cpu"
    asked = list[int]()
    card = _card(settle=lambda: asked.append(1), joules=lambda: float(len(asked)))
    product, memory = on_torch.speeds(card, 64, 0.02)
    assert (product.what, memory.unit) == ("matrix product, bf16", "GB")
    assert product.how.endswith("128 x 128")
    before = len(asked)
    assert before > 2 * compute.TURNS
    written = on_torch.decoded(card, TINY, 0.02, 4)
    assert written.tokens == 4 / written.step > 1
    assert written.joules == 1 / 4, "of one token: this meter counts a joule a step"
    assert len(asked) >= before + 4
    assert 0 < written.asking <= written.step
    assert on_torch.holds(card, decode.SHAPES["15m"])
    assert not on_torch.holds(card, decode.SHAPES["15m"], 8)
    assert not on_torch.holds(card, decode.SHAPES["135m"])


def _card(**said: Any) -> Any:
    """The record of an accelerator, for processors to stand in for it."""
    from freehold.sizing.bench import on_torch

    about = {"memory": 160_000_000, "free": 80_000_000, "larger": 2, "settle": lambda: None}
    return on_torch.Device(name="nvidia-h100-80gb-hbm3", where="cpu", **{**about, **said})


def test_an_accelerator_is_asked_as_torch_documents_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, of which somebody else holds one; the calls are torch's own, but for who answers."""
    torch = pytest.importorskip("torch", reason="needs the extra `train`")
    from freehold.sizing.bench import nvml, on_torch

    def about(number: int) -> Any:
        return SimpleNamespace(name="NVIDIA H100 80GB HBM3", uuid="1fc0c5ed")

    def room(number: int) -> tuple[int, int]:
        if number:
            raise RuntimeError("CUDA error: all CUDA-capable devices are busy\nCUDA kernel errors might be")
        return 70 * 10**9, 80 * 10**9

    waited = list[int]()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", about)
    monkeypatch.setattr(torch.cuda, "mem_get_info", room)
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(nvml, "joules", lambda uuid: 5.0 if uuid == "1fc0c5ed" else None)
    (_, card), refused = on_torch.devices()
    card.settle()
    assert (card.name, card.where, card.memory) == ("nvidia-h100-80gb-hbm3", "cuda:0", 80 * 10**9)
    assert (card.free, card.joules(), waited) == (70 * 10**9, 5.0, [0])
    assert refused == ["cuda:1: CUDA error: all CUDA-capable devices are busy"]


def test_what_accelerators_did_stands_in_the_report_and_one_that_fails_keeps_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `train`")
    from freehold.sizing.bench import on_torch

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    counted = iter((100.0, 350.0))
    cards = [_card(settle=full), _card(joules=lambda: next(counted))]
    monkeypatch.setattr(on_torch, "devices", lambda: (cards, ["cuda:2: busy"]))
    found = compute.measure((), 64, 0.02, Progress())
    assert [(one.device, one.joules) for one in found.drawn] == [("nvidia-h100-80gb-hbm3", 250.0)]
    assert found.left_out == ("cuda:2: busy", "cpu: CUDA out of memory. Tried to allocate 2.00 GiB")
    said = text(compute.page(found))
    assert "energy of nvidia-h100-80gb-hbm3" in said
    assert "W on average" in said
    assert "not measured to the end" in said


def test_a_device_that_fails_at_the_last_figure_keeps_those_before_and_says_why_in_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `train`")
    from freehold.sizing.bench import on_torch

    whole = on_torch.decoded

    def full(device: Any, shape: decode.Shape, seconds: float, rows: int = 1) -> decode.Decoded:
        if rows > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nSee documentation")
        return whole(device, shape, seconds, rows)

    monkeypatch.setattr(on_torch, "decoded", full)
    monkeypatch.setattr(on_torch, "devices", lambda: ([_card()], []))
    monkeypatch.setitem(decode.SHAPES, "tiny", TINY)
    found = compute.measure(("tiny",), 64, 0.02, Progress())
    card = "nvidia-h100-80gb-hbm3"
    assert [one.rows for one in found.decoded if one.device == card] == [1]
    assert {one.unit for one in found.speeds if one.device == card} == {"TFLOP", "GB"}
    assert found.left_out == ("cpu: CUDA out of memory. Tried to allocate 2.00 GiB",)
    assert "Tried to allocate 2.00 GiB" in text(compute.page(found))
    assert figures.load(as_device.facts(found))("device.h100.bandwidth_gb_s") > 0


def test_an_error_without_words_is_told_by_its_name() -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    from freehold.sizing.bench import on_torch

    assert on_torch.words_of(RuntimeError("\nCUDA error: no device\nadvice")) == "CUDA error: no device"
    assert on_torch.words_of(NotImplementedError()) == "NotImplementedError"


def test_many_devices_take_no_longer_than_two_minutes() -> None:
    assert compute.WITHIN / compute.figures_of(1, [2]) > compute.USUAL
    eight = compute.figures_of(1, [2, *[4] * 8])
    assert eight * compute.USUAL > 120 > eight * min(compute.USUAL, compute.WITHIN / eight)


FAKE_NVML = """
#include <string.h>
typedef void *device;
static int known;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, device *found) {
    if (strcmp(uuid, "GPU-1fc0c5ed") && strcmp(uuid, "GPU-old")) return 6;
    *found = uuid[4] == '1' ? (device)&known : (device)0;
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(device asked, unsigned long long *millijoules) {
    if (asked != (device)&known) return 3;
    *millijoules = 9000000123456ULL;
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="this machine has no cc")
def test_an_accelerators_own_counter_is_read_by_its_uuid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library with the signatures of NVML's reference, as large numbers as there are, and both refusals."""
    source, library = tmp_path / "nvml.c", tmp_path / "libnvml.so"
    source.write_text(FAKE_NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    monkeypatch.setattr(nvml, "LIBRARY", str(library))
    nvml._library.cache_clear()
    try:
        assert nvml.joules("1fc0c5ed") == nvml.joules("GPU-1fc0c5ed") == 9_000_000_123.456
        assert nvml.joules("another") is None
        assert nvml.joules("old") is None, "it has no counter"
        assert nvml.joules("") is None
    finally:
        nvml._library.cache_clear()
    monkeypatch.setattr(nvml, "LIBRARY", str(tmp_path / "none.so"))
    assert nvml.joules("1fc0c5ed") is None
    nvml._library.cache_clear()


@pytest.mark.skipif(shutil.which("cc") is None, reason="this machine has no cc")
def test_a_driver_from_before_such_a_counter_counts_nothing_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, library = tmp_path / "nvml.c", tmp_path / "libnvml-old.so"
    source.write_text(FAKE_NVML.partition("int nvmlDeviceGetTotalEnergyConsumption")[0])
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    monkeypatch.setattr(nvml, "LIBRARY", str(library))
    nvml._library.cache_clear()
    try:
        assert nvml.joules("1fc0c5ed") is None
    finally:
        nvml._library.cache_clear()


def measured(
    device: str,
    memory: int,
    tokens: float,
    asking: float = 0.0,
    rows: int = 1,
    joules: float | None = None,
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
        asking=asking * rows / tokens,
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
    assert slow.served_on[0].replica.work > quick.served_on[0].replica.work


def test_a_share_that_says_more_of_who_asks_than_of_the_memory_is_left_to_what_was_published() -> None:
    """A small model on a quick accelerator: the time of a token is that of its operations, one by one."""
    found = measured("nvidia-h100-80gb-hbm3", 79_000_000_000, 1_000, asking=0.9)
    ours = figures.load(as_device.facts(found))
    assert ours("device.h100.bandwidth_gb_s") == 1000
    assert ours.at_numbers("device.h100.decode_efficiency") == ()
    assert "90 % of it asks for operations one by one" in text(compute.page(found))


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
    assert "own meter" in disclosure(plans[1]).method
    assert "not metered" in disclosure(plans[0]).method


def test_what_a_card_takes_while_it_is_asked_for_one_operation_after_the_other_is_no_draw_of_it() -> None:
    """It idles between them: half of 560 W. A meter read then would plan a cluster on too little power."""
    asked = measured("nvidia-h100-80gb-hbm3", 80 * 10**9, 16_000, asking=0.9, joules=0.0175)
    known = figures.load(as_device.facts(asked))
    assert known.get("device.h100.draw") is None
    at_work = measured("nvidia-h100-80gb-hbm3", 80 * 10**9, 128_000, rows=8, joules=0.035 / 8)
    both = replace(at_work, decoded=(*asked.decoded, *at_work.decoded))
    assert figures.load(as_device.facts(both))("device.h100.draw") == pytest.approx(0.8)
    busier = replace(at_work, decoded=(replace(asked.decoded[0], joules=0.04), *at_work.decoded))
    assert figures.load(as_device.facts(busier))("device.h100.draw") == pytest.approx(0.8)


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
