"""A training on devices of one kind: how many hold it, how it is split, what it waits for, how long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from freehold.sizing import formulas
from freehold.sizing.devices import SERVER, Device, every
from freehold.sizing.facts import Facts
from freehold.sizing.figure import rounded
from freehold.sizing.workload import MOST_DAYS, Model, Train
from freehold.spec.cadence import checkpoint_every

SAVED = 2
"""Bytes of an activation, and of a gradient on its way."""
MOST_WAITING = 0.10
"""Share of the time that devices may wait for the network before fewer of them are taken."""
FAST_LINK = 100e9
"""Bytes a second from which on a layer is split over the devices of a server."""
TRIES = 4
"""Times that devices are added for what a run in time waits for."""
CURES = (
    ("network.node_gbit", "{value:,.0f} Gbit/s between servers"),
    ("storage.read_gb_s", "storage that reads {value:,.0f} GB/s a server"),
)
"""What may be quicker where a run does not end in time."""
QUICKER = (2, 4, 8, 16, 32)
"""So many times, at most."""
LONGER = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0)
KEPT = 14
"""Bytes a trained parameter in a checkpoint: weights in 16 bit, and what Adam keeps in 32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes by part; all but activations and logits are shared out over the devices."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    """Of one device."""
    logits: float
    """Of one device: what stands there while the loss is reckoned."""

    @property
    def shared(self) -> float:
        return self.weights + self.gradients + self.optimizer

    @property
    def rows(self) -> float:
        """What grows with the rows that a device works on."""
        return self.activations + self.logits

    @property
    def total(self) -> float:
        return self.shared + self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDevice:
    """A training on one kind of device."""

    device: str
    devices: int
    tensor: int
    """Ways that each layer is split."""
    pipeline: int
    """Stages that the layers are cut into."""
    data: int
    """Copies, or shares of one, that work on different rows."""
    sharded: bool
    """Each of these copies holds only its share of weights, gradients and optimizer."""
    hours: float
    """Of one run, with everything it waits for."""
    clean: float
    """Hours of one device, were there nothing to wait for."""
    cost: float
    """USD of one run, rented."""
    waits: float
    """Share of the time for gradients on the network."""
    idles: float
    """Share of the time in the bubble of a plain pipeline; the share of the peak that is reached holds it."""
    reads: float
    """Share of the time for data."""
    stalls: float
    """Share of the time for checkpoints, and for what failures undo."""
    step: float
    """Seconds of arithmetic of one step."""
    all_reduce: float
    """Seconds that the gradients of one step travel."""
    takes: float
    """Bytes a second between servers with which nobody waits for them; 0 in one server, inf where none do."""
    write: float
    """Seconds to write one checkpoint."""
    every: float
    """Seconds from one checkpoint to the next."""
    failures: float
    """Seconds from one failure to the next, on average."""
    feed: float
    """Bytes a second that have to be read."""
    fewer: str
    """Why there are no more devices; empty where nothing held them back."""

    @property
    def servers(self) -> int:
        return math.ceil(self.devices / SERVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The devices that all trainings of a year take: more than one run's where runs overlap."""

    device: str
    devices: int
    hours: float
    """A year in which each of them is at work."""


def pool(train: Train, best: OnDevice) -> Pool:
    """Of one kind of device, as one run takes them."""
    year = train.times_a_year * best.hours
    beside = max(1, math.ceil(year / formulas.HOURS_A_YEAR))
    return Pool(device=best.device, devices=beside * best.devices, hours=year / beside)


def memory(facts: Facts, model: Model, train: Train) -> Memory:
    """Bytes by part; activations recomputed, so that each layer keeps one and one of them all it makes.

    Logits stand beside them at their whole width: a number for each token of the vocabulary.
    """
    light = train.method in ("lora", "qlora")
    trained = trained_parameters(model, train)
    weight = {"lora": 2.0, "qlora": 0.52}.get(train.method, 6.0)
    return Memory(
        weights=weight * model.parameters + (2 * trained if light else 0),
        gradients=4 * trained,
        optimizer=(8 + (4 if light else 0)) * trained,
        activations=(model.layers + facts("train.activation"))
        * train.batch
        * train.sequence
        * model.hidden
        * SAVED,
        logits=facts("train.logit_bytes") * train.batch * train.sequence * model.vocabulary,
    )


def _rows(facts: Facts, model: Model, train: Train, batch: float) -> float:
    """Bytes that so many sequences take on one device."""
    return memory(facts, model, replace(train, batch=batch)).rows


def trained_parameters(model: Model, train: Train) -> float:
    """Those that change."""
    return model.parameters * (train.adapter if train.method in ("lora", "qlora") else 1)


def flops(model: Model, train: Train) -> float:
    """Of one run."""
    of_method = formulas.lora_flops if train.method in ("lora", "qlora") else formulas.training_flops
    return of_method(model.used, train.tokens * train.epochs)


def mfu_name(facts: Facts, train: Train, device: str) -> str:
    """The fact that says which share of the device's peak such a run reaches.

    What runs of one's own reached there in TFLOP/s goes before its share as published, and both before the
    share of all devices.
    """
    own = f"device.{device}."
    light = train.method in ("lora", "qlora")
    of_device = (f"{own}lora_tflops",) if light else (f"{own}full_tflops", f"{own}mfu")
    of_all = "train.mfu" if light else "train.mfu_large"
    return next((name for name in of_device if facts.get(name) is not None), of_all)


def mfu(facts: Facts, train: Train, device: str) -> float:
    """That share."""
    name = mfu_name(facts, train, device)
    reached = facts(name)
    return min(1.0, reached / facts(f"device.{device}.tflops")) if name.endswith("_tflops") else reached


def step_tokens(train: Train) -> float:
    """Of one step: as said, else a thousand steps, at most four million, at least what one device takes."""
    by_rule = min(4e6, train.tokens * train.epochs / 1000)
    return max(train.sequence, train.step_tokens or max(by_rule, train.batch * train.sequence))


def on_devices(facts: Facts, model: Model, train: Train, only: str = "") -> tuple[OnDevice, ...]:
    """On each known device, the cheapest first; empty where none holds it.

    Those that end in time go before those that do not, and of these the quickest comes first.
    """
    found = (_on(facts, device, model, train) for device in every(facts, only))
    return tuple(sorted((one for one in found if one), key=lambda one: _place(train, one)))


def _place(train: Train, one: OnDevice) -> tuple[bool, float, str]:
    too_late = late(train, one)
    return too_late, one.hours if too_late else one.cost, one.device


def late(train: Train, one: OnDevice) -> bool:
    """Whether it does not end in time."""
    return bool(train.days) and one.hours > 24 * train.days


def why_none(facts: Facts, model: Model, train: Train, only: str = "") -> str:
    """Which constraint breaks where no device holds it: one sequence's activations are not shared out."""
    one = _rows(facts, model, train, 1)
    least = one / SERVER / 1e9
    most = max(every(facts, only), key=lambda device: device.memory)
    fits = 0.45 * most.memory * SERVER / (one / train.sequence)
    return (
        f"memory: activations and logits of one sequence of {train.sequence:,.0f} tokens are {least:,.0f} GB "
        f"on each of {SERVER} devices, {most.name} has {most.memory / 1e9:,.0f}; {fits:,.0f} would fit"
    )


def why_late(facts: Facts, model: Model, train: Train, best: OnDevice, only: str = "") -> str:
    """What breaks where nothing ends in time, and what would satisfy it: each was planned with."""
    cures = []
    for name, words in CURES:
        found = next((way for n in QUICKER if (way := _in_time(facts, model, train, only, name, n))), None)
        cures += [words.format(value=found[0]) + f" ({found[1]})"] if found else []
    longer = (min(MOST_DAYS, math.ceil(best.hours / 24 * factor)) for factor in LONGER)
    enough = (days for days in longer if _ends(facts, model, replace(train, days=days), only))
    cures += [f"`days: {days}`" for days in (next(enough, None),) if days]
    takes = f"{rounded(best.hours / 24)} days on {best.devices:,} x {best.device}"
    said = f"time: {takes}, {train.days:g} are asked for"
    return f"{said}; {' or '.join(cures)} would satisfy it" if cures else said


def _in_time(
    facts: Facts, model: Model, train: Train, only: str, name: str, times: float
) -> tuple[float, str] | None:
    """(the fact so many times as high, what ends in time with it); none where nothing does."""
    value = facts(name) * times
    found = _ends(facts.instead(name, value), model, train, only)
    return (value, f"{found.devices:,} x {found.device}") if found else None


def _ends(facts: Facts, model: Model, train: Train, only: str) -> OnDevice | None:
    """The cheapest that ends in time."""
    return next((one for one in on_devices(facts, model, train, only) if not late(train, one)), None)


# -- the split --------------------------------------------------------------------------------------


def _on(facts: Facts, device: Device, model: Model, train: Train) -> OnDevice | None:
    usable = 0.9 * device.memory
    batch = train.batch
    while batch > 1 and _rows(facts, model, train, batch) > usable / 2:
        batch /= 2
    one = _rows(facts, model, train, batch)
    rows = one / (SERVER if device.link >= FAST_LINK and one > usable / 2 else 1)
    if rows > usable / 2:
        return None
    shared = memory(facts, model, train).shared
    least = _rounded(math.ceil(shared / (usable - rows)))
    clean = formulas.device_hours(flops(model, train), device.tflops, mfu(facts, train, device.name))

    def layout(count: int) -> OnDevice:
        return _layout(facts, device, model, train, count, usable, rows, clean)

    return _enough(train, layout, least, clean) if train.days else layout(least)


def _enough(train: Train, layout: Callable[[int], OnDevice], least: int, clean: float) -> OnDevice:
    """As many as end in time with what they wait for, or as many as the network and a step can feed."""
    wanted = max(least, _rounded(math.ceil(clean / (24 * train.days))))
    taken = _taken(train, layout, wanted, least)
    for _ in range(TRIES):
        if taken.devices < wanted or not late(train, taken):
            break
        wanted = _rounded(math.ceil(wanted * taken.hours / (24 * train.days)))
        taken = _taken(train, layout, wanted, least)
    return taken


def _taken(train: Train, layout: Callable[[int], OnDevice], wanted: int, least: int) -> OnDevice:
    """The most up to `wanted` that do not wait too long; `least` where all of them do."""
    first = one = layout(wanted)
    for count in _down(wanted, least):
        one = first if count == wanted else layout(count)
        if one.waits <= MOST_WAITING and _fed(one, train):
            break
    return _told(one, first)


def _fed(layout: OnDevice, train: Train) -> bool:
    """Whether there is at least one sequence of a step for each copy."""
    return layout.data <= max(1.0, step_tokens(train) / train.sequence)


def _told(layout: OnDevice, first: OnDevice) -> OnDevice:
    if layout.devices == first.devices:
        return layout
    why = (
        f"{first.devices:,} devices would wait {first.waits:.0%} of the time for the network"
        if first.waits > MOST_WAITING
        else f"a step has too few sequences for {first.devices:,} devices"
    )
    return replace(layout, fewer=f"{why}: {layout.devices:,} are taken, and it takes longer")


def _rounded(count: int) -> int:
    """To what servers have: one, two, four, eight, and whole servers from there."""
    if count > SERVER:
        return math.ceil(count / SERVER) * SERVER
    return next(whole for whole in (1, 2, 4, 8) if whole >= count)


def _down(most: int, least: int) -> Iterator[int]:
    """From the most devices to the fewest, by a quarter less each time."""
    count = most
    while count > least:
        yield count
        servers = count // SERVER
        count = max(least, servers * 3 // 4 * SERVER if servers > 1 else count // 2)
    yield least


def _layout(
    facts: Facts,
    device: Device,
    model: Model,
    train: Train,
    devices: int,
    usable: float,
    rows: float,
    clean: float,
) -> OnDevice:
    parts = memory(facts, model, train)
    sharded = parts.shared + rows > usable
    tensor = pipeline = 1
    if sharded and devices > SERVER and device.link >= FAST_LINK:
        tensor = SERVER
        half = parts.weights + parts.gradients if train.method in ("lora", "qlora") else 6 * model.parameters
        pipeline = _power(math.ceil(half / (SERVER * usable / 2)))
        pipeline = min(pipeline, max(1, devices // SERVER), int(model.layers))
    copies = max(1, devices // (tensor * pipeline))
    step = clean * 3600 * step_tokens(train) / (train.tokens * train.epochs) / devices
    inside, across = _travel(facts, device, model, train, devices, copies, tensor * pipeline, sharded)
    travel = inside + across / (facts("network.node_gbit") / 8 * 1e9)
    hidden = facts("train.overlap") * step
    exposed = max(0.0, travel - hidden)
    idles = formulas.bubble(pipeline, max(1.0, step_tokens(train) / train.sequence / copies))
    return _timed(
        facts,
        device,
        model,
        train,
        OnDevice(
            device=device.name,
            devices=devices,
            tensor=tensor,
            pipeline=pipeline,
            data=copies,
            sharded=sharded,
            hours=clean / devices * (step + exposed) / step,
            clean=clean,
            cost=0,
            waits=exposed / (step + exposed),
            idles=idles,
            reads=0,
            stalls=0,
            step=step,
            all_reduce=travel,
            takes=(across / (hidden - inside) if hidden > inside else math.inf) if across else 0.0,
            write=0,
            every=0,
            failures=0,
            feed=0,
            fewer="",
        ),
    )


def _power(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def _travel(
    facts: Facts,
    device: Device,
    model: Model,
    train: Train,
    devices: int,
    copies: int,
    split: int,
    sharded: bool,
) -> tuple[float, float]:
    """Seconds that the gradients of a step travel inside the servers, and bytes that each sends others then.

    Who holds only a share of the weights gathers them twice a step: half as much again.
    """
    size = SAVED * trained_parameters(model, train) / split
    if sharded and split == 1:
        size = 1.5 * max(size, SAVED * model.parameters)
    efficiency, hop = facts("network.efficiency"), facts("network.latency_us") / 1e6
    inside = min(devices, SERVER) if split == 1 else 1
    seconds, across = formulas.all_reduce_seconds(size, inside, device.link * efficiency, hop), 0.0
    servers = math.ceil(devices / SERVER)
    if servers > 1 and copies > 1:
        ways = min(servers, copies)
        of_server = size * (SERVER if split > 1 else 1)  # each of a server's devices sends its own part
        seconds += formulas.all_reduce_seconds(0, ways, 1, hop)
        across = formulas.all_reduce_seconds(of_server, ways, 1)  # at a byte a second: bytes
    return seconds, across


# -- how long ---------------------------------------------------------------------------------------


def _timed(facts: Facts, device: Device, model: Model, train: Train, on: OnDevice) -> OnDevice:
    hours = on.hours
    feed = _feed(facts, train, on, hours)
    held = facts("storage.read_gb_s") * 1e9 * on.servers
    reads = max(0.0, 1 - held / feed) if feed else 0.0
    hours *= max(1.0, feed / held)
    write = KEPT * trained_parameters(model, train) / (facts("storage.write_gb_s") * 1e9 * on.servers)
    failures = facts("train.failures") * 3600 / on.devices
    every = min(max(1.0, checkpoint_every(write, failures)), hours * 3600 + write)
    stalls = min(0.95, formulas.checkpoint_waste(write, every, failures, facts("train.restart_seconds")))
    hours /= 1 - stalls
    return replace(
        on,
        hours=hours,
        cost=hours * on.devices * device.rent,
        reads=reads,
        stalls=stalls,
        write=write,
        every=every,
        failures=failures,
        feed=feed,
    )


def _feed(facts: Facts, train: Train, on: OnDevice, hours: float) -> float:
    """Bytes a second: what an epoch holds, what such devices take, or text."""
    if train.gigabytes:
        return train.gigabytes * 1e9 * train.epochs / (hours * 3600)
    if train.kind != "text":
        return on.devices * facts(f"storage.{train.kind}_gb_s") * 1e9
    return train.tokens * train.epochs * facts("storage.text_bytes") / (hours * 3600)
