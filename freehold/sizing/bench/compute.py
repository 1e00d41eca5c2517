"""What this machine computes: arithmetic, memory, tokens, and their energy; in under two minutes."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from freehold.sizing.bench import decode
from freehold.sizing.bench.decode import Decoded
from freehold.sizing.bench.energy import Energy, Meter
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import Provenance, available, cores, memory, provenance
from freehold.sizing.bench.shown import Bar, Bars, Page, Row, Section
from freehold.sizing.bench.told import papers
from freehold.sizing.bench.utilization import Spread

if TYPE_CHECKING:
    from freehold.sizing.bench.on_torch import Device

TURNS = 5
USUAL = 5.0
"""Seconds of a figure."""
WITHIN = 80.0
"""Seconds of all of them, where nobody says otherwise: with what lies between it stays below two minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One figure of one device."""

    device: str
    what: str
    unit: str
    rate: Spread
    """A second, in the unit."""
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What an accelerator's own meter counted while it was measured."""

    device: str
    joules: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """Everything measured."""

    provenance: Provenance
    speeds: tuple[Speed, ...]
    decoded: tuple[Decoded, ...]
    memory: Mapping[str, int]
    """Bytes of each device, by its name."""
    energy: Energy
    seconds: float
    drawn: tuple[Drawn, ...] = ()
    left_out: tuple[str, ...] = ()
    """Devices that could not be measured to the end, each with why; what they did before is kept."""


def measure(shapes: tuple[str, ...], side: int, seconds: float | None, progress: Progress) -> Computed:
    """Each figure for about `seconds`; `side` is that of the matrices.

    Without `seconds` for five, or for less where so many devices are there that it would take too long.
    """
    devices, refused = _by_torch(progress)
    each = seconds or min(USUAL, WITHIN / figures_of(len(shapes), [len(device.rows) for device in devices]))
    papers = provenance({"shapes": list(shapes), "side": side, "seconds": each}, {})
    meter, began, cpu = Meter(), time.perf_counter(), _cpu()
    room = {"cpu": memory()} | {device.name: device.memory for device in devices if device.name != "cpu"}
    speeds = list(_processors(side, each, progress))
    decoded = [one for name in shapes for one in _written(decode.SHAPES[name], each, progress)]
    drawn = []
    for device in devices:
        progress.stage(f"torch on {device.where}")
        one = _on(device, [decode.SHAPES[name] for name in shapes], side, each)
        refused += [f"{device.where}: {one.failed}"] if one.failed else []
        speeds, decoded = [*speeds, *one.speeds], [*decoded, *one.decoded]
        drawn += [one.drawn] if one.drawn else []
    return Computed(
        provenance=papers,
        speeds=tuple(speeds),
        decoded=tuple(decoded),
        memory=room,
        energy=meter.used(_cpu() - cpu),
        seconds=time.perf_counter() - began,
        drawn=tuple(drawn),
        left_out=tuple(refused),
    )


def figures_of(shapes: int, devices: Sequence[int]) -> int:
    """How many figures there are: two of the processors, two of each shape and number of rows; and of each
    device of torch two, and of each shape as many as it has numbers of rows, which `devices` holds."""
    return 2 + 2 * shapes * len(decode.ROWS) + sum(2 + shapes * rows for rows in devices)


def _by_torch(progress: Progress) -> tuple[list[Device], list[str]]:
    """What torch computes on, and what it cannot; nothing where it is not installed."""
    if find_spec("torch") is None:
        return [], []
    progress.stage("looking for accelerators")
    from freehold.sizing.bench import on_torch

    return on_torch.devices()


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """What one device of torch did."""

    speeds: tuple[Speed, ...]
    decoded: tuple[Decoded, ...]
    drawn: Drawn | None
    failed: str
    """Why that is not all of it, in torch's words; empty: it is."""


def _on(device: Device, shapes: Sequence[decode.Shape], side: int, seconds: float) -> _One:
    """Everything of one device, or what it did until it failed."""
    from freehold.sizing.bench import on_torch

    before, began = device.joules(), time.perf_counter()
    found, failed = list[Speed | Decoded](), ""
    try:
        for each in on_torch.figures(device, shapes, side, seconds):
            found.append(each)
    except RuntimeError as error:  # somebody else took its memory, or it stopped answering
        failed = on_torch.words_of(error)
    after, took = device.joules(), time.perf_counter() - began
    counted = before is not None and after is not None
    return _One(
        speeds=tuple(one for one in found if isinstance(one, Speed)),
        decoded=tuple(one for one in found if isinstance(one, Decoded)),
        drawn=Drawn(device=device.name, joules=(after or 0) - (before or 0), seconds=took)
        if counted
        else None,
        failed=failed,
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _processors(side: int, seconds: float, progress: Progress) -> Iterator[Speed]:
    progress.stage("arithmetic")
    random = np.random.Generator(np.random.SFC64(1))
    a, b = (random.standard_normal((side, side), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    yield Speed(
        device="cpu",
        what="matrix product, fp32",
        unit="TFLOP",
        rate=rates(lambda: np.matmul(a, b, out=out), 2 * side**3 / 1e12, seconds),
        how=f"numpy, {side} x {side}",
    )
    progress.stage("memory")
    size = int(min(256_000_000, available() / 8)) // 8 * 8
    with _copied(size) as copy:
        yield Speed(
            device="cpu",
            what="memory, copied",
            unit="GB",
            rate=rates(copy, 2 * size / 1e9, seconds),
            how=f"{size / 1e6:.0f} MB read and written, {cores()} threads",
        )


@contextmanager
def _copied(size: int) -> Iterator[Callable[[], object]]:
    """A copy of memory by as many threads as there are cores, each its own share."""
    source, target = np.ones(size // 8), np.zeros(size // 8)
    shares = list(zip(np.array_split(source, cores()), np.array_split(target, cores()), strict=True))
    with ThreadPoolExecutor(cores()) as crew:
        yield lambda: list(crew.map(lambda pair: np.copyto(pair[1], pair[0]), shares))


def rates(work: Callable[[], object], amount: float, seconds: float) -> Spread:
    """Amounts a second: the mean run of each of five turns; the first run of all is a warm-up."""
    work()
    values = []
    for _ in range(TURNS):
        end = time.perf_counter() + seconds / TURNS
        took: list[float] = []
        while not took or time.perf_counter() < end:
            began = time.perf_counter()
            work()
            took.append(time.perf_counter() - began)
        values.append(amount / fmean(took))
    return Spread(values=tuple(values))


def _written(shape: decode.Shape, seconds: float, progress: Progress) -> Iterator[Decoded]:
    for weights in ("fp32", "int8"):
        for rows in decode.ROWS:
            size = decode.WIDTHS[weights] * shape.parameters + rows * shape.cache(4)
            if size > 1.9e9 or 5 * size > available():
                continue  # a graph holds two gigabytes at most, and is there several times while it is made
            progress.stage(f"tokens of {shape.name}, {weights}, {rows} at a time")
            yield decode.on_onnx(shape, weights, seconds, cores(), rows)


# -- the report -------------------------------------------------------------------------------------


def page(found: Computed) -> Page:
    """As sections."""
    speeds = tuple(
        Row(name=f"{one.device}: {one.what}", text=one.rate.text(f"{one.unit}/s"), because=one.how)
        for one in found.speeds
    )
    tokens = tuple(
        Row(name=_name(one), text=f"{one.tokens:.3g} tokens/s", because=_because(one))
        for one in found.decoded
    )
    bars = tuple(
        Bar(
            name=f"{_name(one)}, {one.engine.split()[0]}",
            value=one.tokens,
            said=f"{one.tokens:.3g}",
        )
        for one in found.decoded
    )
    energy = Row(
        name="energy",
        text=f"{found.energy.joules:.3g} J in {found.seconds:.3g} s",
        because=f"{found.energy.label}: {found.energy.scope}",
    )
    return Page(
        title="What does this machine compute?",
        says="measured here and now; not a result of any published benchmark",
        sections=(
            Section(title="arithmetic and memory", rows=speeds),
            Section(title="tokens", rows=tokens, pictures=(Bars(title="tokens a second", bars=bars),)),
            Section(title="energy", rows=(energy, *map(_drawn, found.drawn))),
            *([Section(title="not measured to the end", rows=_left_out(found))] if found.left_out else ()),
        ),
        papers=papers(found.provenance),
    )


def _name(one: Decoded) -> str:
    return f"{one.shape}, {one.weights}, {one.rows} at a time"


def _because(one: Decoded) -> str:
    said = f"{decode.CONTEXT} tokens before each, {one.engine}, random weights"
    if one.joules is not None:
        said += f"; {one.joules:.3g} J a token, by its own meter"
    if one.by_memory:
        return said
    share = f"{100 * one.asking / one.step:.0f} %"
    return f"{said}; {share} of it asks for operations one by one, which engines that record them once save"


def _drawn(one: Drawn) -> Row:
    return Row(
        name=f"energy of {one.device}",
        text=f"{one.joules:.3g} J in {one.seconds:.3g} s",
        because=f"measured: its own counter, {one.joules / one.seconds:.0f} W on average",
    )


def _left_out(found: Computed) -> tuple[Row, ...]:
    return tuple(
        Row(name=where, text=why) for where, _, why in (one.partition(": ") for one in found.left_out)
    )
