"""The pictures of a plan: roofline, cost over time, break-even, power, a day, the wait, what moves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from freehold.sizing import breakeven, costs, draw, money, serving, training_money
from freehold.sizing.devices import SERVER
from freehold.sizing.draw import Axis, Bar, Dot, Line
from freehold.sizing.efficiency import decode_efficiency
from freehold.sizing.facility import COOLING, facility
from freehold.sizing.facts import Facts
from freehold.sizing.figure import rounded
from freehold.sizing.formulas import weights_read
from freehold.sizing.serve import peak, prefill_efficiency, step_seconds
from freehold.sizing.serving import Choice
from freehold.sizing.sites import two_sites
from freehold.sizing.size import Plan
from freehold.sizing.training import pool
from freehold.sizing.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """With what it shows, in words."""

    name: str
    title: str
    says: str
    svg: str


def pictures(facts: Facts, plan: Plan) -> Iterator[Picture]:
    """Those that the plan has something for."""
    if plan.served_on:
        yield _roofline(facts, plan.served_on[0])
    if plan.served_on or plan.trained_on:
        yield _cost(facts, plan)
    if plan.served_on:
        yield _break_even(facts, plan.work, plan.served_on[0])
    if plan.served_on or plan.trained_on:
        yield _power(facts, plan)
    if plan.served_on:
        yield _day(facts, plan.work, plan.served_on[0])
    if plan.waits:
        yield _waits(plan)
    if plan.moves:
        yield _moves(plan)
    house = next((section for section in plan.sections if section.name == "house"), None)
    if house:
        said = "what runs in each, what goes over, and what is lost when the first burns down"
        yield Picture(name="sites", title="Two sites", says=said, svg=two_sites(house))


def _roofline(facts: Facts, best: Choice) -> Picture:
    device, each = best.replica.device, best.replica.each
    peak_tflops, bandwidth = each * device.tflops, each * device.bandwidth / 1e12
    x = Axis(low=0.5, high=10_000, said="operations a byte", log=True)
    y = Axis(low=peak_tflops / 5_000, high=peak_tflops * 2, said="TFLOP/s", log=True)
    at = [0.5 * 10 ** (n / 40 * 4.30103) for n in range(41)]
    roof = Line(name="the device can", points=[(i, min(peak_tflops, bandwidth * i)) for i in at], kind="c6")
    write = decode_efficiency(facts, device.name, best.replica.rows)
    read = prefill_efficiency(facts, device.name)
    real = Line(
        name=f"reached with {best.replica.rows} rows",
        points=[(i, min(read * peak_tflops, write * bandwidth * i)) for i in at],
        kind="c1",
        dashed=True,
    )
    dots = [_decode(facts, best, rows) for rows in dict.fromkeys((1, best.replica.rows))]
    intensity = best.traffic.tokens_in * 2 * best.shape.parameters / best.shape.weight_bytes
    prompt = Dot(name="reading a prompt", x=min(intensity, 9_000), y=read * peak_tflops, below=24)
    svg = draw.lines("roofline", x, y, [roof, real], [*dots, prompt])
    said = f"{each} x {device.name}: writing is bound by bytes, reading a prompt by arithmetic"
    return Picture(name="roofline", title="Roofline", says=said, svg=svg)


def _decode(facts: Facts, best: Choice, rows: int) -> Dot:
    shape, traffic = best.shape, best.traffic
    step = step_seconds(facts, best.replica.device, shape, traffic, best.replica.each, rows)
    flops = 2 * rows * shape.parameters
    moved = weights_read(shape.weight_bytes, shape.experts, shape.chosen, rows)
    moved += rows * traffic.context * shape.kv_bytes
    return Dot(name=f"writing for {rows}", x=max(0.5, flops / moved), y=flops / step / 1e12)


def _cost(facts: Facts, plan: Plan) -> Picture:
    """Of serving; of training where nothing serves."""
    rate, unit = costs.currency(facts, plan.work)
    ways = money.ways(facts, plan.work, plan.served_on[0] if plan.served_on else None)
    ways = ways or training_money.ways(facts, plan.work, plan.trained_on)
    drawn = [
        Line(
            name=way.name,
            points=[(y, paid * rate) for y, paid in enumerate(way.cash())],
            kind=f"c{n % 6 + 1}",
        )
        for n, way in enumerate(ways)
    ]
    most = max(paid for line in drawn for _, paid in line.points)
    x = Axis(low=0, high=len(drawn[0].points) - 1, said="years")
    svg = draw.lines("cost over time", x, draw.up_to(most, f"{unit} paid so far"), drawn)
    said = f"cheapest in the end: {ways[0].name}, {rounded(ways[0].total * rate)} {unit}; people included"
    return Picture(name="cost", title="Cost over time", says=said, svg=svg)


def _break_even(facts: Facts, work: Workload, best: Choice) -> Picture:
    assert work.serve is not None
    each = work.serve.tokens_in + work.serve.tokens_out
    now = work.serve.requests_a_day
    found = [breakeven.beats_the_api(facts, work, [best], own) for own in (False, True)]
    marks = [at / each for at in found if at] or [now]
    low, high = min(now, *marks) / 30, max(now, *marks) * 30
    at = [low * (high / low) ** (n / 120) for n in range(121)]
    people = facts("people.first_server") * facts("people.year") / 365

    def fleet(requests: float) -> Choice:
        traffic = replace(best.traffic, requests_a_day=requests)
        return replace(best, traffic=traffic, fleet=best.replica.fleet(facts, traffic))

    rate, unit = costs.currency(facts, work)
    request = costs.api_a_request(facts, work) * rate
    drawn = [
        Line(name="API", points=[(r * each, r * request) for r in at], kind="c2"),
        Line(name="rented", points=[(r * each, fleet(r).fleet.hourly * 24 * rate) for r in at], kind="c1"),
    ]
    if facts.get(f"device.{best.fleet.device}.buy") is not None:
        owned = [(costs.own_a_year(facts, work, fleet(r).fleet) / 365 + people) * rate for r in at]
        points = [(r * each, cost) for r, cost in zip(at, owned, strict=True)]
        drawn.append(Line(name="owned, with people", points=points, kind="c4"))
    every = [cost for line in drawn for _, cost in line.points]
    x = Axis(low=low * each, high=high * each, said="tokens a day", log=True)
    y = Axis(low=max(min(every), max(every) / 1e5), high=max(every) * 1.5, said=f"{unit} a day", log=True)
    dots = [Dot(name="now", x=now * each, y=max(y.low, now * request), below=-12)]
    beats = (
        f"beats the API from {found[0] / 1e6:,.1f} M tokens a day on" if found[0] else "never beats the API"
    )
    said = f"rented {best.fleet.device} {beats}"
    return Picture(
        name="break-even", title="Break-even", says=said, svg=draw.lines("break-even", x, y, drawn, dots)
    )


def _power(facts: Facts, plan: Plan) -> Picture:
    """Of all that serve; of all that train where nothing serves."""
    rows = []
    for stands, server in _standing(plan):
        watts, rack = facts(f"device.{stands.device}.watts"), plan.work.rack_kw or None
        around = facility(facts, stands.devices * watts, server * watts, rack, plan.work.redundancy)
        said = f"{around.rack_kilowatts:.1f} kW x {around.racks}"
        rows.append(Bar(name=f"{stands.devices} x {stands.device}", value=around.rack_kilowatts, said=said))
    most = max(row.value for row in rows)
    bounds = [facts(fact) for fact, _ in COOLING]
    shown = next((n for n, bound in enumerate(bounds) if bound > most), len(bounds)) + 1
    words = ("room air", "contained", "rear doors", "liquid")
    marks = list(zip(bounds[:shown], words[:shown], strict=True))
    svg = draw.bars("power a rack", rows, marks)
    said = "up to each mark it is cooled like this: room air, contained aisles, rear doors, liquid"
    return Picture(name="power", title="Power a rack, kW", says=said, svg=svg)


def _standing(plan: Plan) -> Iterator[tuple[costs.Devices, int]]:
    """With how many of them make one server."""
    for one in plan.served_on:
        yield one.fleet, one.fleet.each
    if plan.work.train and not plan.served_on:
        for run in plan.trained_on:
            takes = pool(plan.work.train, run)
            yield takes, min(takes.devices, SERVER)


def _day(facts: Facts, work: Workload, best: Choice) -> Picture:
    assert work.serve is not None
    hours = serving.day(facts, work.serve, best)
    most = max(hours)
    serves = [(h + side, float(n)) for h, n in enumerate(hours) for side in (0, 1)]
    x = Axis(low=0, high=24, said="hour of the day", step=6)
    y = draw.up_to(most, "replicas")
    drawn = [
        Line(name="serving", points=serves, kind="c1"),
        Line(name="there", points=[(0, most), (24, most)], kind="c6", dashed=True),
    ]
    idle = sum(most - n for n in hours) * best.replica.each
    said = f"between the lines {idle:.0f} device hours a day idle, unless something trains there"
    if not work.serve.curve:
        said += f"; the shape is drawn, its peak of {peak(facts, best.traffic):g} times the mean is a fact"
    return Picture(name="day", title="One day", says=said, svg=draw.lines("one day", x, y, drawn))


def _waits(plan: Plan) -> Picture:
    drawn, most = [], 0.0
    for n, one in enumerate(plan.waits):
        times = one.tails.times
        count = len(times)
        points = [(1000 * times[min(count - 1, k * count // 200)], 100 * k / 200) for k in range(200)]
        most = max(most, 1000 * times[min(count - 1, int(count * 0.995))])
        drawn.append(Line(name=one.trace.name, points=points, kind=f"c{n + 1}"))
    wanted = 1000 * plan.served_on[0].wanted.first_token
    x = draw.up_to(max(most, wanted * 1.05), "ms until the first token")
    goal = Line(name="asked for", points=[(wanted, 0), (wanted, 100)], kind="c6", dashed=True)
    svg = draw.lines("waiting", x, Axis(low=0, high=100, said="% of requests"), [*drawn, goal])
    said = "the busiest hour with one replica lost, played request by request"
    return Picture(name="waiting", title="Until the first token", says=said, svg=svg)


def _moves(plan: Plan) -> Picture:
    rows = []
    for move in plan.moves:
        low, high = sorted((move.low, move.high))
        said = f"{draw.signed(low)} to {draw.signed(high)}"
        rows.append(Bar(name=move.fact, value=high, begin=low, said=said, kind="c2"))
    svg = draw.bars("what moves the money", rows, [(0.0, "planned")])
    said = (
        f"each fact from its low to its high end, the others as they are; {plan.work.currency.upper()} in all"
    )
    return Picture(name="moves", title="What moves the money", says=said, svg=svg)
