"""How long requests wait where they come as a trace has them: the busiest hour, played through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from freehold.sizing import queueing, traces
from freehold.sizing.facts import Facts, stem_of
from freehold.sizing.figure import Figure, Section, Table
from freehold.sizing.queueing import Speed, Tails
from freehold.sizing.serve import SECONDS_A_DAY, peak, reading_seconds, step_seconds
from freehold.sizing.serving import Choice
from freehold.sizing.traces import Trace
from freehold.sizing.workload import Workload

MOST_REPLICAS = 24
"""That are played; of more, a share of the traffic on a share of the replicas."""
MOST_REQUESTS = 2_500
_FASTER = (".decode_efficiency", ".prefill_efficiency", "network.efficiency")
"""Facts that make a replica the quicker the higher they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One trace, played through the plan."""

    trace: Trace
    tails: Tails
    """With what is planned, the spare replica lost."""
    enough: Tails
    """With as many replicas as it takes."""
    held: bool
    """Whether that is enough."""
    ends: tuple[Tails, Tails] | None = None
    """With what is planned, were every fact that it hangs on at its better end, and at its worse."""


def played(facts: Facts, work: Workload, best: Choice, trace: Trace | None) -> tuple[Played, ...]:
    """The trace that was given, or one that is steady and one that comes in bursts."""
    shown = [trace] if trace else [make() for make in traces.SHIPPED.values()]
    return tuple(replace(play(facts, work, best, one), ends=_ends(facts, work, best, one)) for one in shown)


def enough_for(
    facts: Facts, work: Workload, found: tuple[Choice, ...], trace: Trace | None
) -> tuple[Choice, ...]:
    """As many replicas as 99 of 100 first tokens in time take, played steadily; the cheapest first again.

    Only those are played that may be the cheapest. A device on which no number of replicas is enough comes
    after those that hold it; where none does, the cheapest stays as it is, and the section says so.
    """
    ready: list[Choice] = []
    for number, one in enumerate(found):
        if any(not done.late and done.fleet.hourly <= one.fleet.hourly for done in ready):
            ready += found[number:]
            break
        ready.append(_enough(facts, work, one, trace or traces.steady()))
    return tuple(sorted(ready, key=lambda one: (one.late, one.fleet.hourly, one.fleet.device)))


def _enough(facts: Facts, work: Workload, one: Choice, trace: Trace) -> Choice:
    steady = play(facts, work, one, trace)
    if not steady.held:
        return replace(one, late=True)
    if steady.enough is steady.tails:
        return one
    share = steady.enough.replicas / steady.tails.replicas
    more = math.ceil((one.fleet.replicas - 1) * share) - (one.fleet.replicas - 1)
    replica = replace(one.replica, more=more)
    return replace(one, replica=replica, fleet=replica.fleet(facts, one.traffic))


def section(best: Choice, found: Sequence[Played]) -> Section:
    """What came of it."""
    return Section(
        name="waiting",
        title="how long they wait, in the busiest hour",
        figures=tuple(figure for one in found for figure in _figures(one)),
        tables=(_table(found),),
        notes=tuple(note for one in found for note in _notes(best, one)),
    )


def play(facts: Facts, work: Workload, best: Choice, trace: Trace) -> Played:
    """Its pattern at the rate of the busiest hour, through what is planned."""
    asked, speed, count = _hour(facts, work, best, trace)
    now = queueing.simulate(asked, speed, count)
    wanted = best.wanted.first_token
    if now.first_token[2] <= wanted:
        return Played(trace=trace, tails=now, enough=now, held=True)
    more, held = queueing.enough(asked, speed, count + 1, wanted, 4 * count)
    return Played(trace=trace, tails=now, enough=more, held=held)


def _hour(
    facts: Facts, work: Workload, best: Choice, trace: Trace
) -> tuple[tuple[traces.Arrival, ...], Speed, int]:
    """Who asks, how fast one replica is, and how many there are without the spare one."""
    assert work.serve is not None
    planned = max(1, best.fleet.replicas - 1)
    count = min(planned, MOST_REPLICAS)
    a_second = best.traffic.requests_a_day / SECONDS_A_DAY * peak(facts, best.traffic) * count / planned
    few = replace(trace, arrivals=trace.arrivals[:MOST_REQUESTS])
    asked = tuple(traces.scaled(few, a_second, work.serve.tokens_in, work.serve.tokens_out))
    return asked, speed_of(facts, best), count


def _ends(facts: Facts, work: Workload, best: Choice, trace: Trace) -> tuple[Tails, Tails]:
    """The same hour with every fact that it hangs on at its better end, and at its worse."""
    better = worse = facts
    for name, fact in facts.used.items():
        if stem_of(name).endswith(_FASTER):
            better, worse = better.instead(name, fact.high), worse.instead(name, fact.low)
        elif name == "serve.peak":
            better, worse = better.instead(name, fact.low), worse.instead(name, fact.high)
    quick, slow = (queueing.simulate(*_hour(each, work, best, trace)) for each in (better, worse))
    return quick, slow


def speed_of(facts: Facts, best: Choice) -> Speed:
    """The chosen replica, for prompts of any length and any number of rows."""

    def read(tokens: float) -> float:
        traffic = replace(best.traffic, tokens_in=tokens)
        return reading_seconds(facts, best.replica.device, best.shape, traffic, best.replica.each)

    @cache
    def step(rows: int) -> float:
        return step_seconds(
            facts, best.replica.device, best.shape, best.traffic, best.replica.each, max(1, rows)
        )

    return Speed(rows=best.replica.rows, read=read, step=step)


def _figures(one: Played) -> Iterator[Figure]:
    name, tails = one.trace.name, one.tails
    every = (tails, *(one.ends or ()))
    yield Figure(
        name=f"{name}: 99 of 100 first tokens",
        value=1000 * tails.first_token[2],
        low=1000 * min(each.first_token[2] for each in every),
        high=1000 * max(each.first_token[2] for each in every),
        unit="ms",
        formula=f"played: {tails.requests:,} requests, replicas: {tails.replicas}",
        label="estimated",
    )
    yield Figure(
        name=f"{name}: in flight",
        value=tails.in_flight,
        low=min(each.in_flight for each in every),
        high=max(each.in_flight for each in every),
        unit="requests",
        formula=f"played; Little: {tails.a_second:.3g} a second x {tails.stays:.3g} s each stays",
        label="estimated",
    )


def _table(found: Sequence[Played]) -> Table:
    rows = tuple(_row(one) for one in found)
    return Table(title="one replica lost, the others carry all", columns=tuple(rows[0]), rows=rows)


def _row(one: Played) -> dict[str, str | int | float]:
    tails = one.tails
    first, token = [_ms(each) for each in tails.first_token], [_ms(each) for each in tails.token]
    return {
        "requests come": one.trace.name,
        "first token: half": first[0],
        "95 of 100": first[1],
        "99 of 100": first[2],
        "a token: half": token[0],
        "99 of 100 of them": token[2],
        "not idle": f"{tails.busy:.0%}",
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _notes(best: Choice, one: Played) -> Iterator[str]:
    name, wanted, tails = one.trace.name, best.wanted.first_token, one.tails
    if tails.first_token[2] <= wanted:
        yield f"{name}: 99 of 100 first tokens come within the {wanted * 1000:,.0f} ms asked for"
        return
    takes = f"{tails.first_token[2] * 1000:,.0f} ms, {wanted * 1000:,.0f} are asked for"
    late = f"{name}: 99 of 100 first tokens take {takes}"
    if one.held:
        yield f"{late}; {one.enough.replicas} replicas in place of {tails.replicas} would do"
    else:
        yield f"{late}; more replicas do not mend it: the longest prompts alone take that long"
