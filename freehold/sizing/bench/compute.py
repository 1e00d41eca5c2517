"""What this machine computes: arithmetic, memory, tokens, and their energy; in under two minutes."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import fmean

import numpy as np

from freehold.sizing.bench import decode
from freehold.sizing.bench.decode import Decoded
from freehold.sizing.bench.energy import Energy, Meter
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import Provenance, available, cores, memory, provenance
from freehold.sizing.bench.shown import Bar, Bars, Page, Row, Section
from freehold.sizing.bench.told import papers
from freehold.sizing.bench.utilization import Spread

TURNS = 5


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
class Computed:
    """Everything measured."""

    provenance: Provenance
    speeds: tuple[Speed, ...]
    decoded: tuple[Decoded, ...]
    memory: Mapping[str, int]
    """Bytes of each device, by its name."""
    energy: Energy
    seconds: float


def measure(shapes: tuple[str, ...], side: int, seconds: float, progress: Progress) -> Computed:
    """Each figure for about `seconds`; `side` is that of the matrices."""
    asked = {"shapes": list(shapes), "side": side, "seconds": seconds}
    papers = provenance(asked, {})
    meter, began, cpu = Meter(), time.perf_counter(), _cpu()
    speeds = list(_processors(side, seconds, progress))
    room = {"cpu": memory()}
    decoded = [one for name in shapes for one in _written(decode.SHAPES[name], seconds, progress)]
    if find_spec("torch") is not None:
        from freehold.sizing.bench import on_torch

        progress.stage("torch")
        for device in on_torch.devices():
            room.setdefault(device.name, device.memory)
            speeds += on_torch.speeds(device, side, seconds)
            decoded += [
                on_torch.decoded(device, decode.SHAPES[name], seconds, rows)
                for name in shapes
                for rows in device.rows
                if on_torch.holds(device, decode.SHAPES[name], rows)
            ]
    took = time.perf_counter() - began
    return Computed(
        provenance=papers,
        speeds=tuple(speeds),
        decoded=tuple(decoded),
        memory=room,
        energy=meter.used(_cpu() - cpu),
        seconds=took,
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
        Row(
            name=f"{one.shape}, {one.weights}, {one.rows} at a time",
            text=f"{one.tokens:.3g} tokens/s",
            because=_how(one),
        )
        for one in found.decoded
    )
    bars = tuple(
        Bar(
            name=f"{one.shape}, {one.weights}, {one.rows} at a time, {one.engine.split()[0]}",
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
            Section(title="energy", rows=(energy,)),
        ),
        papers=papers(found.provenance),
    )


def _how(one: Decoded) -> str:
    said = f"{decode.CONTEXT} tokens before each, {one.engine}, random weights"
    return said if one.joules is None else f"{said}; {one.joules:.3g} J a token, by its own meter"
