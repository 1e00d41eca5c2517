"""The same figures by torch, on every device it finds. Needs the extra `train`."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from freehold.sizing.bench.compute import Speed, rates
from freehold.sizing.bench.decode import CONTEXT, Decoded, Shape


def devices() -> list[str]:
    """`cpu`, and each accelerator."""
    return ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]


def _name(device: str) -> str:
    """What `freehold size` calls it: `nvidia-h100-80gb-hbm3`."""
    if device == "cpu":
        return "cpu"
    return "-".join(torch.cuda.get_device_name(device).lower().split())


def _waited(device: str, work: Callable[[], object]) -> Callable[[], None]:
    """Work on an accelerator is done when the accelerator says so, not when it was asked for."""

    def run() -> None:
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)

    return run


def speeds(device: str, side: int, seconds: float) -> list[Speed]:
    """Matrix products in bf16, and memory on accelerators."""
    wide = side if device == "cpu" else 4 * side
    a, b = (torch.randn(wide, wide, device=device, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    found = [
        Speed(
            device=_name(device),
            what="matrix product, bf16",
            unit="TFLOP",
            rate=rates(_waited(device, lambda: torch.matmul(a, b, out=out)), 2 * wide**3 / 1e12, seconds),
            how=f"torch {torch.__version__}, {wide} x {wide}",
        )
    ]
    if device == "cpu":
        return found
    size = 1 << 30
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = rates(_waited(device, lambda: target.copy_(source)), 2 * size / 1e9, seconds)
    how = f"{size / 1e9:.1f} GB read and written"
    return [*found, Speed(device=_name(device), what="memory, copied", unit="GB", rate=copied, how=how)]


def decoded(device: str, shape: Shape, seconds: float) -> Decoded:
    """In bf16, one request."""
    with torch.inference_mode():
        step = _waited(device, _step(device, shape))
        step()
        took: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(took) < 3:
            began = time.perf_counter()
            step()
            took.append(time.perf_counter() - began)
    return Decoded(
        shape=shape.name,
        weights="bf16",
        engine=f"torch {torch.__version__} on {_name(device)}",
        step=median(took),
        parameters=shape.parameters,
    )


def _step(device: str, shape: Shape) -> Callable[[], Any]:
    def weights(rows: int, columns: int) -> Any:
        return torch.randn(rows, columns, device=device, dtype=torch.bfloat16) * rows**-0.5

    kv, h = shape.kv_heads * shape.head, shape.hidden
    layers = [
        (
            weights(h, shape.heads * shape.head),
            weights(h, 2 * kv),
            weights(shape.heads * shape.head, h),
            weights(h, 2 * shape.inner),
            weights(shape.inner, h),
        )
        for _ in range(shape.layers)
    ]
    head = weights(h, shape.vocabulary)
    keys = weights(shape.kv_heads * shape.head, CONTEXT).view(shape.kv_heads, shape.head, CONTEXT)
    values = weights(shape.kv_heads * CONTEXT, shape.head).view(shape.kv_heads, CONTEXT, shape.head)
    first = torch.randn(1, h, device=device, dtype=torch.bfloat16)

    def run() -> Any:
        x = first
        for q, new, o, up, down in layers:
            asked = (x @ q).view(shape.kv_heads, -1, shape.head)
            mixed = (asked @ keys).softmax(-1) @ values
            x = x + mixed.reshape(1, -1) @ o + (x @ new).mean()
            gate, wide = (x @ up).chunk(2, dim=-1)
            x = (x + (torch.nn.functional.silu(gate) * wide) @ down).tanh()
        return (x @ head).argmax()

    return run
