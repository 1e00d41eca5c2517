"""What serving takes: the best replicas, how many, what the day, the cache and fewer bits make of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from freehold.sizing import costs, efficiency, formulas
from freehold.sizing.devices import every
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Row, Section, Table
from freehold.sizing.formulas import HOURS_A_YEAR
from freehold.sizing.serve import (
    SECONDS_A_DAY,
    Fleet,
    Replica,
    Shape,
    Traffic,
    Wanted,
    cold_load,
    of_year,
    peak,
    replicas,
    roofline,
    why_none,
)
from freehold.sizing.workload import CURVES, Model, Serve, Workload

BITS = ((2.0, "16"), (1.0, "8"), (0.55, "4"))
CACHED = (0.0, 0.5, 0.9)
WORTH = 0.05
"""Share of what it costs below which nothing is advised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What serves a workload."""

    shape: Shape
    traffic: Traffic
    """Of the last year, with its growth."""
    wanted: Wanted
    replica: Replica
    fleet: Fleet
    late: bool = False
    """Played, and no number of replicas brings 99 of 100 first tokens in time."""


def shape_of(model: Model) -> Shape:
    """What of it decides how fast it answers."""
    if model.latent:
        cache = formulas.latent_bytes(model.layers, model.latent, model.rope, model.cache_bytes)
    else:
        cache = 2 * model.layers * model.kv_heads * model.head * model.cache_bytes
    chosen = model.chosen / model.experts if model.experts else 1.0
    mixed = model.experts > 0 and chosen < 1
    return Shape(
        parameters=model.used,
        weight_bytes=model.parameters * model.bytes,
        kv_bytes=cache,
        layers=model.layers,
        hidden=model.hidden,
        experts=formulas.expert_share(model.parameters, model.used, chosen) if mixed else 0,
        chosen=chosen,
    )


def traffic_of(serve: Serve) -> Traffic:
    """What is asked in the first year."""
    return Traffic(
        requests_a_day=serve.requests_a_day,
        tokens_in=serve.tokens_in,
        tokens_out=serve.tokens_out,
        cached=serve.cached,
        peak=max(serve.curve) if serve.curve else 0,
    )


def wanted_of(serve: Serve) -> Wanted:
    """How fast it has to be."""
    return Wanted(first_token=serve.first_token_ms / 1000, token=serve.token_ms / 1000)


def choices(facts: Facts, work: Workload, only: Replica | None = None) -> tuple[Choice, ...]:
    """For each device the best replicas for the last year's traffic, the cheapest first.

    `only` takes the device of one replica, as many of them, and as many more, whatever else would do.
    """
    if work.serve is None:
        return ()
    shape, wanted = shape_of(work.model), wanted_of(work.serve)
    traffic = of_year(traffic_of(work.serve), work.growth, max(0.0, work.years - 1))
    found = []
    for device in every(facts, only.device.name if only else work.device):
        fit = [
            Choice(
                shape=shape,
                traffic=traffic,
                wanted=wanted,
                replica=one,
                fleet=one.fleet(facts, traffic),
            )
            for each in replicas(facts, device, shape, traffic, wanted)
            if only is None or each.each == only.each
            for one in (replace(each, more=only.more if only else 0),)
        ]
        if fit:
            found.append(min(fit, key=lambda one: (one.fleet.hourly, one.fleet.each)))
    return tuple(sorted(found, key=lambda one: (one.fleet.hourly, one.fleet.device)))


def why_not(facts: Facts, work: Workload) -> str:
    """Which constraint breaks first."""
    assert work.serve is not None
    known = every(facts, work.device)
    return why_none(facts, known, shape_of(work.model), traffic_of(work.serve), wanted_of(work.serve))


def day(facts: Facts, serve: Serve, choice: Choice) -> tuple[int, ...]:
    """Replicas that each hour of the day needs, the spare one included."""
    curve = serve.curve or _steep(CURVES["office"], peak(facts, choice.traffic))
    mean = choice.traffic.requests_a_day / SECONDS_A_DAY
    use = facts("serve.utilisation")
    more = choice.replica.more
    return tuple(max(2, choice.replica.needed(mean * hour, use) + 1) + more for hour in curve)


def _steep(curve: tuple[float, ...], highest: float) -> tuple[float, ...]:
    """The same day with another peak: nearer to flat, or farther from it, and never below nothing."""
    factor = (highest - 1) / (max(curve) - 1)
    return tuple(max(0.0, 1 + (hour - 1) * factor) for hour in curve)


# -- the section ------------------------------------------------------------------------------------


def section(facts: Facts, work: Workload, found: tuple[Choice, ...], brief: bool = False) -> Section:
    """Figures of the best choice, and all of them side by side; `brief`: the figures alone."""
    assert work.serve is not None
    if not found:
        shape = shape_of(work.model)
        figures = tuple(_of_model(shape, work.model))
        return Section(
            name="serving", title="to serve, in the last year", figures=figures, breaks=why_not(facts, work)
        )
    best = found[0]
    return Section(
        name="serving",
        title="to serve, in the last year",
        figures=(*_of_model(best.shape, work.model), *_figures(facts, work.serve, best)),
        tables=() if brief else tuple(_tables(facts, work, found)),
        notes=(*_notes(facts, best), *(() if brief else _cheaper(facts, work, _late(found)))),
    )


def _of_model(shape: Shape, model: Model) -> Iterator[Figure]:
    latent = "layers x (latent + positions) x bytes: compressed keys and values"
    plain = "2 x layers x cache heads x width x bytes: grouped queries share them"
    yield Figure(
        name="cache",
        value=shape.kv_bytes,
        unit="bytes a token",
        formula=latent if model.latent else plain,
    )
    yield Figure(
        name="weights",
        value=shape.weight_bytes / 1e9,
        unit="GB",
        formula=f"{model.bytes:g} bytes each" + (", all experts" if shape.experts else ""),
    )


def _figures(facts: Facts, serve: Serve, best: Choice) -> Iterator[Figure]:
    yield from _fleet(best)
    yield from _load(facts, serve, best)
    yield from _scaling(facts, serve, best)


def _fleet(best: Choice) -> Iterator[Figure]:
    fleet, replica = best.fleet, best.replica
    by_peak = () if best.traffic.peak else ("serve.peak",)
    waits = f", {replica.more} for who waits" if replica.more else ""
    yield Figure(
        name="replicas",
        value=fleet.replicas,
        unit="",
        formula=f"work at the peak over utilisation{waits}, and one spare",
        facts=("serve.utilisation", *by_peak),
    )
    yield Figure(
        name="devices", value=fleet.devices, unit=f"x {fleet.device}", formula=f"{fleet.each} a replica"
    )
    yield Figure(
        name="first token",
        value=1000 * fleet.first_token,
        unit="ms",
        formula="2 N s + 2 L h s² operations over those a second, and one step",
    )
    yield Figure(
        name="a token",
        value=1000 * fleet.token,
        unit="ms",
        formula="cache and weights over bandwidth, or arithmetic, the slower; over the share of the roofline",
    )


def _load(facts: Facts, serve: Serve, best: Choice) -> Iterator[Figure]:
    fleet, device = best.fleet, best.replica.device
    stays = fleet.first_token + serve.tokens_out * fleet.token
    arrivals = best.traffic.requests_a_day / SECONDS_A_DAY * peak(facts, best.traffic)
    by_peak = () if best.traffic.peak else ("serve.peak",)
    yield Figure(
        name="in flight at the peak",
        value=formulas.in_flight(arrivals, stays),
        unit="requests",
        formula="Little: arrivals a second x seconds each stays",
        facts=by_peak,
    )
    yield Figure(
        name="there is room for",
        value=fleet.rows * fleet.replicas,
        unit="requests",
        formula="rows that fit beside the weights and are fast enough x replicas",
    )
    yield Figure(
        name="at the peak",
        value=arrivals * (serve.tokens_in + serve.tokens_out),
        unit="tokens a second",
        formula="arrivals x tokens",
        facts=by_peak,
    )
    yield Figure(
        name="busy",
        value=100 * fleet.busy,
        unit="% of the time, over a mean day",
        formula=f"seconds of work a second over replicas; said to be usual: {facts('serve.mark'):.0%}",
        facts=("serve.mark",),
    )
    critical = formulas.critical_batch(
        device.tflops,
        device.bandwidth,
        best.shape.weight_bytes / max(1.0, best.shape.parameters),
    )
    yield Figure(
        name="rows until arithmetic binds",
        value=critical,
        unit="rows",
        formula="P / BW x bytes of a weight / 2",
    )


def _scaling(facts: Facts, serve: Serve, best: Choice) -> Iterator[Figure]:
    hours = day(facts, serve, best)
    mean = sum(hours) / 24
    yield Figure(
        name="scaled by the hour",
        value=mean * best.fleet.each,
        unit="devices, mean of a day",
        formula="replicas that each hour needs",
        facts=("serve.utilisation",),
    )
    yield Figure(
        name="saved by scaling",
        value=100 * (1 - mean / max(hours)),
        unit="% of what runs all day",
        formula="1 - mean over most",
    )
    load = cold_load(facts, best.shape.weight_bytes)
    yield Figure(
        name="a new replica answers after",
        value=load + facts("serve.start_seconds"),
        unit="s",
        formula="weights over the store's speed, and the engine's start",
        facts=("storage.read_gb_s", "serve.start_seconds"),
    )


def _notes(facts: Facts, best: Choice) -> Iterator[str]:
    fleet, mark = best.fleet, facts("serve.mark")
    if fleet.busy < mark:
        yield (
            f"busy {fleet.busy:.0%} of the time, less than the {mark:.0%} said to be usual: an API, a "
            "smaller device, or one pool with training would use it better"
        )
    if best.shape.experts:
        read = formulas.weights_read(1.0, best.shape.experts, best.shape.chosen, fleet.rows)
        yield f"at {fleet.rows} rows a step reads {read:.0%} of the weights: nearly all experts"
    yield from _held(facts, best)


def _held(facts: Facts, best: Choice) -> Iterator[str]:
    """Where shares that were measured say that more rows take less time."""
    replica = best.replica
    roof = roofline(replica.device, best.shape, best.traffic, replica.each)
    found = ", ".join(map(str, efficiency.held(facts, replica.device.name, roof)))
    if found:
        yield (
            f"by the shares of {replica.device.name} a step of {found} rows takes less time than one "
            "of fewer; it is planned to take as long: measure them with requests as long as these"
        )


# -- side by side -----------------------------------------------------------------------------------


def _tables(facts: Facts, work: Workload, found: tuple[Choice, ...]) -> Iterator[Table]:
    late = _late(found)
    yield _devices(facts, work, found)
    yield _bits(facts, work, late)
    yield _caches(facts, work, late)


def _late(found: Sequence[Choice]) -> frozenset[str]:
    """Devices that are passed over because requests wait there too long, while others do it."""
    late = frozenset(one.fleet.device for one in found if one.late)
    return late if len(late) < len(found) else frozenset()


def _devices(facts: Facts, work: Workload, found: tuple[Choice, ...]) -> Table:
    rate, unit = costs.currency(facts, work)
    rows: tuple[Row, ...] = tuple(
        {
            "device": one.fleet.device,
            "devices": one.fleet.devices,
            "replicas": one.fleet.replicas,
            "at a time": one.fleet.rows,
            "first token": f"{one.fleet.first_token * 1000:,.0f} ms" + ", 99 of 100 too late" * one.late,
            "token": f"{one.fleet.token * 1000:.1f} ms",
            "busy": f"{one.fleet.busy:.0%}",
            f"{unit} an hour": f"{one.fleet.hourly * rate:,.2f}",
        }
        for one in found
    )
    return Table(title="on which device", columns=tuple(rows[0]), rows=rows)


def _bits(facts: Facts, work: Workload, late: frozenset[str]) -> Table:
    rows = []
    for size, bits in BITS:
        best = _best(facts, replace(work, model=replace(work.model, bytes=size)), late)
        rows.append({"bits a weight": bits, **_told(facts, work, best)})
    return Table(
        title="weights in fewer bits, before anybody waits (how good it still is says an evaluation)",
        columns=tuple(rows[0]),
        rows=tuple(rows),
    )


def _caches(facts: Facts, work: Workload, late: frozenset[str]) -> Table:
    assert work.serve is not None
    rows = []
    for share in sorted({*CACHED, work.serve.cached}):
        best = _best(facts, replace(work, serve=replace(work.serve, cached=share)), late)
        rows.append({"of a prompt in the cache": f"{share:.0%}", **_told(facts, work, best)})
    return Table(
        title="prompts that begin alike, before anybody waits", columns=tuple(rows[0]), rows=tuple(rows)
    )


def _cheaper(facts: Facts, work: Workload, late: frozenset[str]) -> Iterator[str]:
    """What would save money on the same requests, and how much: before anybody waits, as in the tables."""
    assert work.serve is not None
    now = _best(facts, work, late)
    rate, unit = costs.currency(facts, work)
    fewer = [
        (
            f"weights in {bits} bits, if an evaluation allows",
            replace(work.model, bytes=size),
            0.0,
        )
        for size, bits in BITS
        if size < work.model.bytes
    ]
    alike = [
        (f"{share:.0%} of each prompt from the cache, if they begin alike", work.model, share)
        for share in CACHED
        if share > work.serve.cached
    ]
    for words, model, share in (*fewer, *alike):
        serve = replace(work.serve, cached=max(share, work.serve.cached))
        best = _best(facts, replace(work, model=model, serve=serve), late)
        if now and best and best.fleet.hourly < (1 - WORTH) * now.fleet.hourly:
            saved = (now.fleet.hourly - best.fleet.hourly) * HOURS_A_YEAR * rate
            told = f"{best.fleet.devices} x {best.fleet.device} for {now.fleet.devices} x {now.fleet.device}"
            yield f"{words}: {told}, {saved:,.0f} {unit} a year less; measure both with `freehold bench load`"


def _best(facts: Facts, work: Workload, late: frozenset[str]) -> Choice | None:
    return next((one for one in choices(facts, work) if one.fleet.device not in late), None)


def _told(facts: Facts, work: Workload, best: Choice | None) -> dict[str, str | int | float]:
    rate, unit = costs.currency(facts, work)
    if best is None:
        return {"devices": "none is enough", "first token": "", "token": "", f"{unit} an hour": ""}
    fleet = best.fleet
    return {
        "devices": f"{fleet.devices} x {fleet.device}",
        "first token": f"{fleet.first_token * 1000:,.0f} ms",
        "token": f"{fleet.token * 1000:.1f} ms",
        f"{unit} an hour": f"{fleet.hourly * rate:,.2f}",
    }
