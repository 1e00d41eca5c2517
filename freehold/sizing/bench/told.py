"""A measurement of storage as sections of a report; and as facts that a plan takes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from freehold.sizing.bench.cache import COLD
from freehold.sizing.bench.emulation import Trained
from freehold.sizing.bench.loaders import OWN, TORCH
from freehold.sizing.bench.provenance import Provenance
from freehold.sizing.bench.room import amount
from freehold.sizing.bench.shown import Bar, Bars, Curve, Page, Row, Section
from freehold.sizing.bench.spill import TOKEN
from freehold.sizing.bench.storage import Found, Report
from freehold.sizing.bench.verdict import span
from freehold.sizing.facts import is_share

GB = 1e-9
MS = 1000.0
LOADED_BY = {
    TORCH: Row(name="loaded by", text="torch's DataLoader", because="as most trainings are"),
    OWN: Row(
        name="loaded by",
        text="readers of our own",
        because="torch's DataLoader cannot here, or was not asked to; it costs up to 3 points",
    ),
}


def page(report: Report) -> Page:
    """All of it."""
    sections = [section for found in report.found for section in _place(found)]
    if len(report.found) > 1:
        sections.append(_side_by_side(report))
    for where, judged in report.verdicts:
        rows = [Row(name="because", text=judged.because)]
        rows += [Row(name="what would do", text=line) for line in judged.advice]
        title = f"{where}: {judged.word} for {judged.name}"
        sections.append(Section(title=title, rows=tuple(rows), enough=judged.enough))
    return Page(
        title="Is the storage fast enough?",
        says=report.says,
        sections=tuple(sections),
        papers=papers(report.provenance),
    )


def _place(found: Found) -> Iterator[Section]:
    for one in found.trained:
        yield _trained(found.place, one)
    if found.checkpoint:
        yield _checkpoint(found)
    if found.loaded:
        yield _loaded(found)
    if found.random:
        yield _random(found)
    if found.searched:
        yield _searched(found)
    if found.spilled:
        yield _spilled(found)
    if found.left_out:
        yield Section(
            title=f"{found.place}: left out",
            notes=(f"for one machine's own folder alone: {', '.join(found.left_out)}",),
        )


def _trained(place: str, one: Trained) -> Section:
    here, job = one.here, one.job
    rows = [
        Row(
            name="accelerator utilization",
            text=here.utilization.text("%", 100),
            because=f"{100 * job.least:.0f} % are asked for; defined as MLPerf does, without the first step",
        )
    ]
    if one.memory:
        because = "what processors and format allow here; what it has more, the disk takes"
        rows.append(
            Row(
                name=f"from {one.memory_where}",
                text=one.memory.utilization.text("%", 100),
                because=because,
            )
        )
    rows += [
        LOADED_BY[here.wanted.loader],
        Row(
            name="read",
            text=here.rate.text("GB/s", GB),
            because=f"an accelerator takes in {amount(job.rate)}/s when it never waits",
        ),
        Row(
            name="energy",
            text=f"{one.energy_a_gigabyte:.3g} J/GB",
            because=f"{one.energy.label}: {one.energy.scope}",
        ),
    ]
    bars = [Bar(name="this place", value=here.rate.mean * GB, said=f"{here.rate.mean * GB:.3g} GB/s")]
    if one.memory:
        rate = one.memory.rate.mean * GB
        bars.append(Bar(name=one.memory_where, value=rate, said=f"{rate:.3g} GB/s", peer=True))
    needs = here.wanted.accelerators * job.rate * job.least * GB
    bars.append(Bar(name="asked for", value=needs, said=f"{needs:.3g} GB/s", peer=True))
    pictures: list[Bars | Curve] = [Bars(title="read for training", bars=tuple(bars))]
    if len(one.scale) > 1:
        points = tuple((float(readers), rate * GB) for readers, rate in one.scale)
        pictures.append(Curve(title="with more readers", across="readers", up="GB/s", points=points))
    if one.together:
        several = tuple((float(clients), rate * GB) for clients, rate in one.together)
        pictures.append(Curve(title="with more machines", across="clients", up="GB/s", points=several))
    wanted = here.wanted
    emulated = f"{wanted.accelerators} emulated, readers each: {wanted.readers}"
    title = f"{place}: {job.name}, {emulated}, {wanted.layout}"
    return Section(title=title, notes=one.stamps, rows=tuple(rows), pictures=tuple(pictures))


def _checkpoint(found: Found) -> Section:
    one = found.checkpoint
    assert one is not None
    quick, slow = one.unevenness
    scaled = one.shape.size / one.size
    rows: tuple[Row, ...] = (
        Row(
            name="written",
            text=one.writing.text("GB/s", GB),
            because="until the slowest writer's fsync is done",
        ),
        Row(name="read back", text=one.reading.text("GB/s", GB), because="by as many readers"),
        Row(name="a writer takes", text=f"{quick:.3g} to {slow:.3g} s", because="the quickest, the slowest"),
        Row(
            name="the whole one",
            text=span(one.whole()),
            because=f"{amount(one.shape.size)} at this rate, from this machine",
        ),
    )
    if found.written > 1.001 * one.writing.mean:
        said = f"{found.written * GB:.3g} GB/s"
        rows = (*rows, Row(name="all machines", text=said, because="what they wrote at once, added up"))
    note = (
        f"scaled: {amount(one.size)} by {one.writers} writers, {scaled:,.0f} times less than {one.shape.name}"
    )
    notes = [note] if scaled > 1 else []
    if (stayed := max(turn.stayed for turn in one.turns)) > COLD:
        notes.append(f"not cold: {100 * stayed:.0f} % was in memory before it was read back")
    return Section(title=f"{found.place}: checkpoint of {one.shape.name}", notes=tuple(notes), rows=rows)


def _loaded(found: Found) -> Section:
    rows, bars = [], []
    for one in found.loaded:
        name = f"{one.bits} bit, {one.way}"
        warm = f"warm {one.size / one.warm * GB:.3g} GB/s"
        rows.append(Row(name=name, text=one.cold.text("s"), because=f"{one.rate * GB:.3g} GB/s; {warm}"))
        bars.append(
            Bar(name=name, value=one.rate * GB, said=f"{one.rate * GB:.3g} GB/s", peer=one.way != "direct")
        )
    by = {(one.bits, one.way): one for one in found.loaded}
    times = by[32, "direct"].cold.mean / by[8, "direct"].cold.mean
    rows.append(
        Row(name="8 bit beside 32", text=f"{times:.2g} times quicker", because="the same number of weights")
    )
    stayed = max(one.stayed for one in found.loaded)
    notes = (f"not cold: {100 * stayed:.0f} % was in memory",) if stayed > COLD else ()
    return Section(
        title=f"{found.place}: weights from cold into memory",
        notes=notes,
        rows=tuple(rows),
        pictures=(Bars(title="cold load", bars=tuple(bars)),),
    )


def _random(found: Found) -> Section:
    rows = tuple(
        Row(
            name=f"{one.name}, {one.threads} thread{'s' * (one.threads > 1)}",
            text=f"{one.median * MS:.3g} ms, p99 {one.slow * MS:.3g} ms",
            because=f"{one.a_second:,.0f} a second, {one.block} bytes each",
        )
        for one in found.random
    )
    past = all(one.past_cache for one in found.random if one.name == "cold")
    notes = () if past else ("this file system has no O_DIRECT: cold reads may be answered by the cache",)
    return Section(title=f"{found.place}: small reads from anywhere", notes=notes, rows=rows)


def _searched(found: Found) -> Section:
    rows = tuple(
        Row(
            name=one.name,
            text=f"{one.median * MS:.3g} ms, p99 {one.slow * MS:.3g} ms",
            because=f"{one.a_second:,.0f} a second, {amount(one.read)} each, recall {one.recall:.2f}",
        )
        for one in found.searched
    )
    count, stayed = found.searched[0].vectors, found.searched[0].stayed
    notes = (f"not cold: {100 * stayed:.0f} % was in memory",) if stayed > COLD else ()
    title = f"{found.place}: search among {count:,} vectors that stay on the disk"
    return Section(title=title, notes=notes, rows=rows)


def _spilled(found: Found) -> Section:
    one = found.spilled
    assert one is not None
    rows = (
        Row(name="out", text=f"{one.out * GB:.3g} GB/s", because="until it is on the disk"),
        Row(
            name="back",
            text=f"{one.back * GB:.3g} GB/s, p99 of a block {one.slow * MS:.3g} ms",
            because=f"{one.blocks} blocks in any order",
        ),
        Row(
            name="tokens",
            text=f"{one.tokens:,.0f} a second come back",
            because=f"{TOKEN:,} bytes a token; an engine that reads prompts faster need not spill",
        ),
    )
    notes = (f"not cold: {100 * one.stayed:.0f} % was in memory",) if one.stayed > COLD else ()
    return Section(title=f"{found.place}: attention cache out and in", notes=notes, rows=rows)


def _side_by_side(report: Report) -> Section:
    """Everything that was measured at more than one place, a picture each."""
    shown: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for found in report.found:
        for title, unit, value in _beside(found):
            shown.setdefault((title, unit), []).append((found.place, value))
    pictures = tuple(
        Bars(title=title, bars=tuple(Bar(name=at, value=v, said=f"{v:.3g} {unit}") for at, v in values))
        for (title, unit), values in shown.items()
        if len(values) > 1
    )
    return Section(title="beside each other", pictures=pictures)


def _beside(found: Found) -> Iterator[tuple[str, str, float]]:
    """What of a place is set beside that of another: title, unit, value."""
    for one in found.trained:
        yield f"read for {one.job.name}", "GB/s", one.most * GB
        yield f"{one.job.name}: accelerators busy", "%", 100 * one.here.utilization.mean
        yield f"{one.job.name}: energy", "J/GB", one.energy_a_gigabyte
    if found.checkpoint:
        yield "checkpoints written", "GB/s", found.checkpoint.writing.mean * GB
        yield "checkpoints read back", "GB/s", found.checkpoint.reading.mean * GB
    if found.loaded:
        yield "weights from cold, the quickest way", "GB/s", max(one.rate for one in found.loaded) * GB
    for read in found.random[:1]:
        yield "one small read from cold, p99", "ms", read.slow * MS
    for search in found.searched[:1]:
        yield "one search from cold, p99", "ms", search.slow * MS
    if found.spilled:
        yield "attention cache fetched", "GB/s", found.spilled.back * GB


def papers(found: Provenance) -> tuple[Row, ...]:
    """Provenance as rows."""
    here = found.machine
    rows = [
        Row(name="measured", text=found.at),
        Row(name="machine", text=f"{here.cpu}, {here.cores} cores, {amount(here.memory)}"),
        Row(name="system", text=f"{here.kernel}, Python {here.python}, Freehold {here.freehold}"),
        Row(name="libraries", text=", ".join(f"{name} {it}" for name, it in here.libraries.items())),
        Row(name="load before", text=f"{here.load:.2f}"),
        Row(name="asked", text=json.dumps(found.asked)),
    ]
    for where, disk in found.disks.items():
        turns = {True: ", rotates", False: ", does not rotate", None: ""}[disk.turns]
        said = f"{disk.system} on {disk.device} {disk.model}{turns}, {amount(disk.free)} free, {disk.options}"
        rows.append(Row(name=where, text=said))
    return tuple(rows)


def facts(report: Report) -> str:
    """YAML that `freehold size --facts` takes in the place of estimates; the first place counts.

    What was read from memory and not from the place is left out, and a remark says so.
    """
    found, day = report.found[0], report.provenance.at[:10]
    values: dict[str, tuple[float, ...]] = {}
    cold = [one for one in found.trained if one.here.stayed <= COLD]
    if cold:
        best = max(cold, key=lambda one: one.of_one)
        runs = best.here.rate  # with more readers there are few: taken to be as uneven as these
        near = (best.of_one * each / runs.mean for each in runs.values)
        values["storage.read_gb_s"] = (best.of_one, *near)
        alone = [dict(one.scale)[1] for one in cold if 1 in dict(one.scale)]
        if alone:
            values["storage.stream_gb_s"] = (max(alone),)
    if found.checkpoint:
        writing = found.checkpoint.writing
        values["storage.write_gb_s"] = (writing.mean, *writing.values)
    loaded = [one for one in found.loaded if one.stayed <= COLD]
    if loaded:
        quickest = max(loaded, key=lambda one: one.rate)
        values["storage.load_gb_s"] = (quickest.rate, *(quickest.size / s for s in quickest.cold.values))
    in_gb = {name: tuple(GB * each for each in several) for name, several in values.items()}
    left_out = len(cold) < len(found.trained) or len(loaded) < len(found.loaded)
    remark = "# what was not read cold is left out: it says nothing of this place\n" if left_out else ""
    return remark + as_yaml(in_gb, day, f"freehold bench storage, {report.says}")


def as_yaml(values: dict[str, tuple[float, ...]], day: str, source: str) -> str:
    """Facts in the shape that `freehold size` and `advise` read: each figure, and the runs it comes from.

    Its range holds all of them; of a single one a plan takes what it takes of anything measured.
    """
    return "".join(f"{name}: {_as_fact(name, several, day, source)}\n" for name, several in values.items())


def _as_fact(name: str, several: tuple[float, ...], day: str, source: str) -> str:
    value, most = several[0], 1.0 if is_share(name) else math.inf
    near = (*several, 0.95 * value, 1.05 * value) if len(several) > 1 else ()
    ends = f", low: {min(near):.4g}, high: {min(most, max(near)):.4g}" if near else ""
    return f"{{value: {value:.4g}{ends}, label: measured, as_of: {day}, source: {json.dumps(source)}}}"
