"""Engines that were watched or loaded, as the shares of roofline and peak that their device reaches.

Only where the workload names the device that they run on, and its model is theirs: nobody else knows. They
are taken to have as few devices each as hold what they answered at a time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

from freehold.sizing import formulas
from freehold.sizing.devices import TOGETHER, Device, device
from freehold.sizing.facts import SPREAD, BadFact, Fact, Facts
from freehold.sizing.serve import Shape, Traffic, reading_seconds
from freehold.sizing.serving import shape_of
from freehold.sizing.usage import Usage
from freehold.sizing.workload import Workload

STEP, FIRST = "engine.token_ms", "engine.first_token_ms"
_DOUBT = (
    "{name}: the engine was as quick as the device can be, or quicker; is it this model on this device, in "
    "so many bytes a weight?"
)


def watched(facts: Facts, work: Workload, usage: Usage, today: dt.date) -> Facts:
    """The same facts with `device.NAME.decode_efficiency.ROWS` as a Prometheus saw it.

    Hours in which engines idled make their rows too few and the share too low, never too high.
    """
    if usage.pace is None or work.device not in facts.devices():
        return facts
    on, shape, rows = device(facts, work.device), shape_of(work.model), max(1, round(usage.pace.rows))
    context = usage.tokens_in + usage.tokens_out / 2
    each = _each(on, shape, context, rows)
    share = min(1.0, _roof(on, each, shape, context, usage.pace.rows) / usage.pace.token)
    seen = f"{1000 * usage.pace.token:.3g} ms a token, {usage.pace.rows:.3g} rows on {each} x {on.name}"
    return facts.with_(
        [
            Fact(
                name=f"device.{on.name}.decode_efficiency.{rows}",
                value=share,
                low=(1 - SPREAD["derived"]) * share,
                high=min(1.0, (1 + SPREAD["derived"]) * share),
                label="derived",
                as_of=today,
                source=f"{usage.name}: {seen}, over the roofline",
            )
        ]
    )


def loaded(facts: Facts, work: Workload) -> Facts:
    """The same facts with the shares that `freehold bench load --facts` measured. Raises BadFact.

    `engine.token_ms.ROWS` becomes the share of the roofline at so many rows, `engine.first_token_ms` the
    share of the peak at which a prompt is read; both are measured, and the formula is the plan's own.
    """
    points = facts.at_numbers(STEP)
    if not points:
        return facts
    if work.device not in facts.devices():
        why = "it was measured on a device, and the plan names none"
        raise BadFact(name=STEP, why=why, hint="add `device: l4` to FILE, or whatever it was measured on")
    found = [*_steps(facts, work), *_first(facts, work)]
    return facts.with_(found, [_DOUBT.format(name=one.name) for one in found if one.value == 1])


def _steps(facts: Facts, work: Workload) -> Iterator[Fact]:
    on, shape = device(facts, work.device), shape_of(work.model)
    context = facts("engine.tokens_in") + facts("engine.tokens_out") / 2
    points = facts.at_numbers(STEP)
    each = _each(on, shape, context, points[-1][0])
    for rows, _ in points:
        seen = facts.used[f"{STEP}.{rows}"]
        roof = 1000 * _roof(on, each, shape, context, rows)
        name = f"device.{on.name}.decode_efficiency.{rows}"
        yield _share(seen, name, roof, f"{seen.value:.3g} ms a token, {rows} rows on {each} x {on.name}")


def _first(facts: Facts, work: Workload) -> Iterator[Fact]:
    """A prompt alone, without the step that follows it."""
    if facts.get(FIRST) is None:
        return
    on, shape = device(facts, work.device), shape_of(work.model)
    told, rows = facts.used[FIRST], facts.at_numbers(STEP)
    context = facts("engine.tokens_in") + facts("engine.tokens_out") / 2
    name, step = f"device.{on.name}.prefill_efficiency", rows[0][1]
    if told.low <= step:
        return
    prompt = replace(told, value=told.value - step, low=told.low - step, high=told.high - step)
    traffic = Traffic(requests_a_day=1, tokens_in=facts("engine.tokens_in"), tokens_out=1)
    whole = facts.with_([replace(told, name=name, value=1.0, low=1.0, high=1.0)])
    each = _each(on, shape, context, rows[-1][0])
    roof = 1000 * reading_seconds(whole, on, shape, traffic, each)
    yield _share(prompt, name, roof, f"{told.value:.3g} ms to the first token on {each} x {on.name}")


def _share(seen: Fact, name: str, roof: float, said: str) -> Fact:
    """`roof` over what was seen, both in milliseconds; more than all of it is all."""
    low, value, high = (min(1.0, roof / each) for each in (seen.high, seen.value, seen.low))
    return replace(seen, name=name, value=value, low=low, high=high, source=f"{seen.source}: {said}")


def _roof(on: Device, each: int, shape: Shape, context: float, rows: float) -> float:
    """Seconds of a step by the roofline alone."""
    return formulas.decode_seconds(
        batch=rows,
        context=context,
        kv=shape.kv_bytes,
        parameters=shape.parameters,
        weight_bytes=formulas.weights_read(shape.weight_bytes, shape.experts, shape.chosen, rows),
        bandwidth=each * on.bandwidth,
        tflops=each * on.tflops,
    )


def _each(on: Device, shape: Shape, context: float, rows: float) -> int:
    """The fewest devices that hold so many rows."""
    fits = (
        n
        for n in TOGETHER
        if formulas.concurrent(n * on.memory, shape.weight_bytes, context, shape.kv_bytes) >= max(1.0, rows)
    )
    return next(fits, max(TOGETHER))
