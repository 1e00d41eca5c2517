"""The same figures by torch, on every device it finds. Needs the extra `train`.

What is done is the same on each of them: where a device is told apart, it is by its record, and nothing else
here asks for CUDA. `_accelerator` is what can be tried only where there is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch

from freehold.sizing.bench import nvml
from freehold.sizing.bench.compute import Speed, rates
from freehold.sizing.bench.decode import CONTEXT, ROWS, Decoded, Shape
from freehold.sizing.bench.provenance import available

COPIED = 1 << 30
"""Bytes that are copied at a time, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something torch computes on."""

    name: str
    """`cpu`; of an accelerator what it calls itself: `nvidia-h100-80gb-hbm3`."""
    where: str
    """As torch calls it: `cuda:0`."""
    memory: int
    """Bytes."""
    free: int
    """Bytes that nobody uses."""
    larger: int
    """How many times wider its matrices are: small ones keep no accelerator busy."""
    settle: Callable[[], object]
    """Waits until it has done what it was asked for: an accelerator answers before it has."""
    rows: tuple[int, ...] = ROWS
    """Answers that are written at a time."""
    joules: Callable[[], float | None] = lambda: None
    """What its own meter has counted so far; None where it has none."""


def devices() -> tuple[list[Device], list[str]]:
    """The processors, and each accelerator; and why some could not be asked."""
    found = [Device(name="cpu", where="cpu", memory=available(), free=available(), larger=1, settle=_at_once)]
    refused = []
    for number in range(torch.cuda.device_count()):
        try:
            found.append(_accelerator(number))
        except RuntimeError as error:
            refused.append(f"cuda:{number}: {words_of(error)}")
    return found, refused


def _at_once() -> None:
    """Processors are done when they answer."""


def _accelerator(number: int) -> Device:
    """One of CUDA's. Raises RuntimeError when somebody else holds it, or its driver does not work."""
    about = torch.cuda.get_device_properties(number)
    free, total = torch.cuda.mem_get_info(number)
    return Device(
        name="-".join(about.name.lower().split()),
        where=f"cuda:{number}",
        memory=int(total),
        free=int(free),
        larger=4,
        settle=partial(torch.cuda.synchronize, number),
        rows=(1, 8, 32, 128),
        joules=partial(nvml.joules, str(getattr(about, "uuid", ""))),
    )


def words_of(error: RuntimeError) -> str:
    """The first of the words in which torch says what went wrong; what follows is its own advice."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def figures(device: Device, shapes: Sequence[Shape], side: int, seconds: float) -> Iterator[Speed | Decoded]:
    """Everything of one device, each as soon as it is measured. Raises RuntimeError, as torch does."""
    yield from speeds(device, side, seconds)
    for one in shapes:
        for rows in device.rows:
            if holds(device, one, rows):
                yield decoded(device, one, seconds, rows)


def speeds(device: Device, side: int, seconds: float) -> list[Speed]:
    """Matrix products in bf16, and memory."""
    wide = side * device.larger
    a, b = (torch.randn(wide, wide, device=device.where, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    size = min(COPIED, device.free // 64)
    source = torch.ones(size, dtype=torch.uint8, device=device.where)
    target = torch.empty_like(source)
    return [
        Speed(
            device=device.name,
            what="matrix product, bf16",
            unit="TFLOP",
            rate=rates(_settled(device, lambda: torch.matmul(a, b, out=out)), 2 * wide**3 / 1e12, seconds),
            how=f"torch {torch.__version__}, {wide} x {wide}",
        ),
        Speed(
            device=device.name,
            what="memory, copied by torch",
            unit="GB",
            rate=rates(_settled(device, lambda: target.copy_(source)), 2 * size / 1e9, seconds),
            how=f"{size / 1e6:.0f} MB read and written",
        ),
    ]


def holds(device: Device, shape: Shape, rows: int = 1) -> bool:
    """Whether its weights in bf16 and the caches, and as much beside them, find room."""
    return 2 * (2 * shape.parameters + rows * shape.cache(2)) < device.free


def decoded(device: Device, shape: Shape, seconds: float, rows: int = 1) -> Decoded:
    """In bf16, so many requests at a time; and the same operations on next to nothing."""
    with torch.inference_mode():
        took, joules = _timed(device, shape, seconds, rows)
        hollow, _ = _timed(device, _hollow(shape), seconds / 5, rows)
    step, asking = median(took), median(hollow)
    return Decoded(
        device=device.name,
        shape=shape.name,
        weights="bf16",
        engine=f"torch {torch.__version__} on {device.name}",
        step=step,
        asking=min(step, asking),
        parameters=shape.parameters,
        rows=rows,
        cache=shape.cache(2),
        joules=None if joules is None else joules / (rows * len(took)),
    )


def _timed(device: Device, shape: Shape, seconds: float, rows: int) -> tuple[list[float], float | None]:
    """Seconds of each step, and the joules of all of them; None where nobody counts."""
    step = _settled(device, _step(device.where, shape, rows))
    step()
    took: list[float] = []
    before, end = device.joules(), time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 3:
        began = time.perf_counter()
        step()
        took.append(time.perf_counter() - began)
    after = device.joules()
    return took, after - before if before is not None and after is not None else None


def _hollow(shape: Shape) -> Shape:
    """As many operations, with hardly anything to work on."""
    return replace(shape, hidden=16, inner=16, heads=1, kv_heads=1, head=16, vocabulary=16)


def _settled(device: Device, work: Callable[[], object]) -> Callable[[], None]:
    """Work that is done when the device says so, not when it was asked for."""

    def run() -> None:
        work()
        device.settle()

    return run


def _step(device: str, shape: Shape, rows: int) -> Callable[[], Any]:
    def weights(height: int, width: int) -> Any:
        return torch.randn(height, width, device=device, dtype=torch.bfloat16) * height**-0.5

    def cache(*last: int) -> Any:
        return torch.randn(rows, shape.kv_heads, *last, device=device, dtype=torch.bfloat16)

    kv, h = shape.kv_heads * shape.head, shape.hidden
    layers = [
        (
            weights(h, shape.heads * shape.head),
            weights(h, 2 * kv),
            weights(shape.heads * shape.head, h),
            weights(h, 2 * shape.inner),
            weights(shape.inner, h),
            cache(shape.head, CONTEXT),
            cache(CONTEXT, shape.head),
        )
        for _ in range(shape.layers)
    ]
    head = weights(h, shape.vocabulary)
    first = torch.randn(rows, h, device=device, dtype=torch.bfloat16)

    def run() -> Any:
        x = first
        for q, new, o, up, down, keys, values in layers:
            asked = (x @ q).view(rows, shape.kv_heads, -1, shape.head)
            mixed = (asked @ keys).softmax(-1) @ values
            x = x + mixed.reshape(rows, -1) @ o + (x @ new).mean()
            gate, wide = (x @ up).chunk(2, dim=-1)
            x = (x + (torch.nn.functional.silu(gate) * wide) @ down).tanh()
        return (x @ head).argmax(-1)

    return run
