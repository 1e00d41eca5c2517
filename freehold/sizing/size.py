"""What a workload takes, in sections: each figure with its formula, its facts, its label and its range."""

from __future__ import annotations

import datetime as dt
import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from freehold.sizing import (
    breakeven,
    busy,
    costs,
    energy,
    house,
    money,
    place,
    pools,
    serving,
    storage,
    tails,
    training,
)
from freehold.sizing.costs import Devices
from freehold.sizing.devices import SERVER
from freehold.sizing.facility import facility, kinds_of_site
from freehold.sizing.facts import Fact, Facts
from freehold.sizing.figure import Figure, Row, Section, Table
from freehold.sizing.formulas import critical_batch
from freehold.sizing.serving import Choice
from freehold.sizing.spread import Move, spread
from freehold.sizing.training import OnDevice
from freehold.sizing.usage import Usage
from freehold.sizing.workload import BadWorkload, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that came of a workload."""

    work: Workload
    sections: tuple[Section, ...]
    trained_on: tuple[OnDevice, ...]
    """The cheapest first."""
    served_on: tuple[Choice, ...]
    """The cheapest first; of the last year, with its growth."""
    waits: tuple[tails.Played, ...]
    """The busiest hour, played."""
    moves: tuple[Move, ...]
    """Facts that move what it costs, the strongest first."""
    facts: tuple[Fact, ...]
    warnings: tuple[str, ...]

    def section(self, name: str) -> Section:
        """By name. Raises KeyError."""
        for section in self.sections:
            if section.name == name:
                return section
        raise KeyError(name)

    @property
    def breaks(self) -> tuple[str, ...]:
        """Which constraints break; empty where the plan is possible."""
        return tuple(section.breaks for section in self.sections if section.breaks)


def size(facts: Facts, work: Workload, today: dt.date, usage: Usage | None = None) -> Plan:
    """Plan it. Pure: the same facts, workload and usage give the same plan. Raises BadWorkload.

    `usage` is where the workload's traffic comes from, if it was counted: then its requests are played.
    """
    trace = usage.trace if usage else None
    _known(facts, work)
    trained = training.on_devices(facts, work.model, work.train, work.device) if work.train else ()
    served = tails.enough_for(facts, work, serving.choices(facts, work), trace)
    planned = tuple(sections(facts, work, trained, served))
    turning = breakeven.turning(facts, work, served) if served else ()
    ranged, moves = spread(facts, work, planned, trained, turning, _again)
    waits = tails.played(facts, work, served[0], trace) if served else ()
    there = busy.section(facts, work, usage.used) if usage else None
    used = tuple(facts.used[name] for name in sorted(facts.used))
    return Plan(
        work=work,
        sections=(
            *((usage.section(),) if usage else ()),
            *((there,) if there else ()),
            *((usage.taken.section(),) if usage and usage.taken else ()),
            *ranged,
            *((tails.section(served[0], waits),) if served else ()),
        ),
        waits=waits,
        trained_on=trained,
        served_on=served,
        moves=moves,
        facts=used,
        warnings=tuple(facts.warnings(today)),
    )


def _again(
    facts: Facts, work: Workload, trained: tuple[OnDevice, ...], served: tuple[Choice, ...]
) -> Iterator[Section]:
    """The same plan on the same devices, with other facts."""
    on = (
        training.on_devices(facts, work.model, work.train, trained[0].device)
        if work.train and trained
        else ()
    )
    found = tuple(one for pick in served for one in serving.choices(facts, work, pick.replica))
    held = found if found and found[0].fleet.device == served[0].fleet.device else ()
    return sections(facts, work, on, held, brief=True)


def sections(
    facts: Facts,
    work: Workload,
    trained: tuple[OnDevice, ...],
    served: tuple[Choice, ...],
    brief: bool = False,
) -> Iterator[Section]:
    """Everything but the queue, which is not reckoned but played; `brief`: the figures alone."""
    if work.train:
        yield _training(facts, work, trained, brief)
    if work.serve:
        yield serving.section(facts, work, served, brief)
    if (shared := pools.section(facts, work, trained, served)) is not None:
        yield shared
    yield money.section(facts, work, trained, served, brief)
    yield energy.section(facts, work, trained, served)
    yield storage.section(facts, work, trained, served)
    if trained and work.train:
        takes = training.pool(work.train, trained[0])
        server = min(takes.devices, SERVER)
        hall = _around(facts, work, "hall", "where training stands, if it is yours", takes, server)
        # what holds for any hall is told once, with what serves
        yield replace(hall, tables=(), notes=hall.notes[:1]) if served else hall
    if served:
        fleet = served[0].fleet
        yield _around(facts, work, "facility", "where it stands, if it is yours", fleet, fleet.each)
    if (stands := place.section(facts, work, served)) is not None:
        yield stands
    if (itself := house.section(facts, work)) is not None:
        yield itself


def _known(facts: Facts, work: Workload) -> None:
    if work.currency != "usd" and facts.get(f"currency.{work.currency}") is None:
        raise BadWorkload(
            field="currency",
            why=f"there is no rate for `{work.currency[:10]}`",
            hint=f"add the fact currency.{work.currency[:10]}: USD for one of it",
        )
    if work.device and work.device not in facts.devices():
        near = difflib.get_close_matches(work.device, facts.devices(), n=1)
        known = "known are: " + ", ".join(facts.devices())
        hint = f"did you mean `{near[0]}`?" if near else known
        raise BadWorkload(field="device", why=f"no accelerator `{work.device}` is known", hint=hint)


# -- training ---------------------------------------------------------------------------------------


def _training(facts: Facts, work: Workload, trained: tuple[OnDevice, ...], brief: bool = False) -> Section:
    assert work.train is not None
    memory = training.memory(facts, work.model, work.train)
    figures = [
        _gb("weights", memory.weights, "2 bytes a parameter, 6 where all are trained, 0.52 in 4 bits"),
        _gb("gradients", memory.gradients, "4 bytes a trained one"),
        _gb("optimizer", memory.optimizer, "Adam: 8 bytes a trained one, 12 beside frozen weights"),
        _gb(
            "activations",
            memory.activations,
            "recomputed: one for each layer, and one layer whole; those of one device",
            "train.activation",
        ),
        _gb(
            "logits",
            memory.logits,
            f"tokens of a device x vocabulary ({work.model.vocabulary:,.0f}), in full width for the loss",
            "train.logit_bytes",
        ),
        _gb("memory", memory.total, "the parts above, were there one device"),
    ]
    if not trained:
        why = training.why_none(facts, work.model, work.train, work.device)
        return Section(name="training", title="to train", figures=tuple(figures), breaks=why)
    best = trained[0]
    too_late = training.late(work.train, best) and not brief
    return Section(
        name="training",
        title="to train",
        figures=(*figures, *_run(facts, work, best), *_kept(facts, work, best)),
        tables=(_trained_on(facts, work, trained),),
        notes=tuple(_said(work, best, memory)),
        breaks=training.why_late(facts, work.model, work.train, best, work.device) if too_late else "",
    )


def _gb(name: str, value: float, formula: str, *facts: str) -> Figure:
    return Figure(name=name, value=value / 1e9, unit="GB", formula=formula, facts=facts)


def _run(facts: Facts, work: Workload, best: OnDevice) -> Iterator[Figure]:
    train = work.train
    assert train is not None
    light = train.method in ("lora", "qlora")
    mfu = training.mfu_name(facts, train, best.device)
    yield Figure(
        name="operations",
        value=training.flops(work.model, train),
        unit="FLOP",
        formula=("4 N D" if light else "6 N D") + (", N what one token passes" if work.model.active else ""),
    )
    yield Figure(
        name="devices",
        value=best.devices,
        unit=f"x {best.device}",
        formula="those that hold it, or end in time; whole servers above eight",
    )
    yield Figure(
        name="a run",
        value=best.hours / 24,
        unit="days",
        formula=f"operations over {training.mfu(facts, train, best.device):.0%} of the peak, and what it "
        "waits for",
        facts=(mfu, "network.node_gbit", "storage.read_gb_s", "storage.write_gb_s", "train.failures"),
    )
    yield Figure(
        name="gradients travel",
        value=1000 * best.all_reduce,
        unit="ms a step",
        formula="ring: 2 (n-1)/n S/B in the server, then between servers",
        facts=("network.node_gbit", "network.efficiency"),
    )
    yield Figure(
        name="a step computes",
        value=1000 * best.step,
        unit="ms",
        formula="operations of a step",
        facts=(mfu,),
    )
    if 0 < best.takes < math.inf:
        yield Figure(
            name="network it takes",
            value=best.takes * 8 / 1e9,
            unit="Gbit/s a server",
            formula="what travels between servers over what two thirds of a step leave for it",
            facts=("network.node_gbit", "network.efficiency", "train.overlap", mfu),
        )
    yield Figure(
        name="waits for the network",
        value=100 * best.waits,
        unit="% of the time",
        formula="what does not fit behind two thirds of a step",
        facts=("network.node_gbit", "train.overlap"),
    )


def _kept(facts: Facts, work: Workload, best: OnDevice) -> Iterator[Figure]:
    assert work.train is not None
    kept = training.KEPT * training.trained_parameters(work.model, work.train)
    yield _gb("one checkpoint", kept, "14 bytes a trained parameter")
    yield Figure(
        name="a checkpoint every",
        value=best.every / 60,
        unit="minutes",
        formula="Young and Daly: root of 2 x seconds to write x seconds between failures",
        facts=("storage.write_gb_s", "train.failures"),
    )
    yield Figure(
        name="lost to checkpoints and failures",
        value=100 * best.stalls,
        unit="% of the time",
        formula="C/T + T/2M + R/M",
        facts=("storage.write_gb_s", "train.failures", "train.restart_seconds"),
    )
    yield Figure(
        name="waits for data",
        value=100 * best.reads,
        unit="% of the time",
        formula="what is asked for beyond what storage reads",
        facts=("storage.read_gb_s",),
    )


def _trained_on(facts: Facts, work: Workload, trained: tuple[OnDevice, ...]) -> Table:
    assert work.train is not None
    rate, unit = costs.currency(facts, work)
    rows: tuple[Row, ...] = tuple(
        {
            "device": one.device,
            "devices": one.devices,
            "split": _split(one),
            "hours a run": f"{one.hours:,.2f}" + ", too late" * training.late(work.train, one),
            "waits": f"{one.waits:.0%}",
            f"{unit} a run": f"{one.cost * rate:,.2f}",
        }
        for one in trained
    )
    return Table(title="on which device", columns=tuple(rows[0]), rows=rows)


def _split(one: OnDevice) -> str:
    parts = [
        f"tensor {one.tensor}" if one.tensor > 1 else "",
        f"pipeline {one.pipeline}" if one.pipeline > 1 else "",
    ]
    parts.append(f"data {one.data}" + (", sharded" if one.sharded else "") if one.data > 1 else "")
    return ", ".join(part for part in parts if part) or "none"


def _said(work: Workload, best: OnDevice, memory: training.Memory) -> Iterator[str]:
    assert work.train is not None
    if memory.logits > memory.activations:
        yield (
            f"logits take {memory.logits / 1e9:,.0f} GB, more than all activations: a loss in pieces "
            "(fused or chunked cross-entropy) saves nearly all of it, and half the `batch` half of it"
        )
    if best.fewer:
        yield best.fewer
    if best.waits > training.MOST_WAITING:
        yield f"the network breaks first: {best.waits:.0%} is waiting; faster links or fewer devices"
    if best.hours > 24 * 365 and not work.train.days:
        yield f"on the fewest devices it takes {best.hours / 8760:,.0f} years; say `days` to have it in time"
    if best.idles > 0.05:
        yield f"a plain pipeline idles {best.idles:.0%} of the time; interleaving makes it less"


# -- around it --------------------------------------------------------------------------------------


def _around(facts: Facts, work: Workload, name: str, title: str, stands: Devices, server: int) -> Section:
    """Of these devices, `server` of them in one that is not divided."""
    watts = facts(f"device.{stands.device}.watts")
    feeds, rack = work.redundancy, work.rack_kw or None
    found = facility(facts, stands.devices * watts, server * watts, rack, feeds)
    said = f"cooled by {found.cooling}; enough is {found.site}"
    sites = kinds_of_site(found.rack_kilowatts, work.sensitivity)
    return Section(
        name=name,
        title=title,
        figures=found.figures,
        tables=(Table(title="which kind of site", columns=tuple(sites[0]), rows=sites),),
        notes=(said, *found.checklist),
    )


def roof(choice: Choice) -> tuple[float, float, float]:
    """FLOP/s and bytes/s of one replica, and the FLOP a byte at which its roof bends."""
    device, each = choice.replica.device, choice.replica.each
    bend = 2 * critical_batch(device.tflops, device.bandwidth, 1.0)
    return each * device.tflops * 1e12, each * device.bandwidth, bend
