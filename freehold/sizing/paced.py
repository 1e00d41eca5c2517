"""Engines that were watched, as the share of the roofline that their device reaches while it writes."""

from __future__ import annotations

import datetime as dt

from freehold.sizing import formulas
from freehold.sizing.devices import TOGETHER, Device, device
from freehold.sizing.facts import SPREAD, Fact, Facts
from freehold.sizing.serve import Shape
from freehold.sizing.serving import shape_of
from freehold.sizing.usage import Pace, Usage
from freehold.sizing.workload import Workload


def measured(facts: Facts, work: Workload, usage: Usage, today: dt.date) -> Facts:
    """The same facts with `device.NAME.decode_efficiency` as it was seen.

    Only where the workload names the device that the engines run on, and its model is theirs: nobody else
    knows. They are taken to have as few devices each as hold what they answered at a time. Hours in which
    they idled make their rows too few and the share too low, never too high.
    """
    if usage.pace is None or work.device not in facts.devices():
        return facts
    on, shape = device(facts, work.device), shape_of(work.model)
    context = usage.tokens_in + usage.tokens_out / 2
    each = next((n for n in TOGETHER if _holds(on, n, shape, context, usage.pace)), max(TOGETHER))
    roof = formulas.decode_seconds(
        batch=usage.pace.rows,
        context=context,
        kv=shape.kv_bytes,
        parameters=shape.parameters,
        weight_bytes=formulas.weights_read(shape.weight_bytes, shape.experts, shape.chosen, usage.pace.rows),
        bandwidth=each * on.bandwidth,
        tflops=each * on.tflops,
    )
    share = min(1.0, roof / usage.pace.token)
    seen = f"{1000 * usage.pace.token:.3g} ms a token, {usage.pace.rows:.3g} rows on {each} x {on.name}"
    return facts.with_(
        [
            Fact(
                name=f"device.{on.name}.decode_efficiency",
                value=share,
                low=(1 - SPREAD["derived"]) * share,
                high=min(1.0, (1 + SPREAD["derived"]) * share),
                label="derived",
                as_of=today,
                source=f"{usage.name}: {seen}, over the roofline",
            )
        ]
    )


def _holds(on: Device, each: int, shape: Shape, context: float, pace: Pace) -> bool:
    fit = formulas.concurrent(each * on.memory, shape.weight_bytes, context, shape.kv_bytes)
    return fit >= max(1.0, pace.rows)
