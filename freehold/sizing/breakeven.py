"""From how many tokens a day on devices cost less than an API, and what moves that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from freehold.sizing import costs, formulas
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Row
from freehold.sizing.serve import SECONDS_A_DAY, peak
from freehold.sizing.serving import Choice
from freehold.sizing.workload import Workload

USED = (0.15, 0.30, 0.50, 0.65, 0.80)
"""Shares of the time at the peak for which break-even is shown."""


def beats_the_api(
    facts: Facts, work: Workload, found: Sequence[Choice], own: bool = False, used: float = 0
) -> float | None:
    """Tokens a day above which devices cost less than the API, whatever the traffic; none: never.

    Rented without people, owned with them; `used` takes the place of the utilisation at the peak.
    """
    assert work.serve is not None
    at = _by_device(facts, work, found, own, used)
    requests = min((one for one in at.values() if one is not None), default=None)
    return None if requests is None else requests * (work.serve.tokens_in + work.serve.tokens_out)


def turning(facts: Facts, work: Workload, found: Sequence[Choice]) -> tuple[Choice, ...]:
    """The best choice, and those beside it that turn out cheaper than the API first, rented or owned."""
    first = set()
    for own in (False, True):
        at = {name: one for name, one in _by_device(facts, work, found, own).items() if one is not None}
        if at:
            first.add(min(at, key=lambda name: at[name]))
    return (*found[:1], *(one for one in found[1:] if one.fleet.device in first))


def _by_device(
    facts: Facts, work: Workload, found: Sequence[Choice], own: bool, used: float = 0
) -> dict[str, float | None]:
    """Requests a day, for each device that can be had so."""
    request = costs.api_a_request(facts, work)
    fixed = facts("people.first_server") * facts("people.year") / 365 if own else 0.0
    at = {}
    for one in found:
        busy = peak(facts, one.traffic) * one.replica.work / SECONDS_A_DAY
        needed = busy / (used or facts("serve.utilisation"))
        if own and facts.get(f"device.{one.fleet.device}.buy") is None:
            continue
        alone = one.replica.fleet(facts, one.traffic, 1)
        day = costs.own_a_year(facts, work, alone) / 365 if own else alone.hourly * 24
        at[one.fleet.device] = formulas.break_even(day, needed, request, fixed + one.replica.more * day)
    return at


def moves(facts: Facts, work: Workload, found: tuple[Choice, ...]) -> Iterator[Row]:
    """Break-even, M tokens a day, with devices used less or more, and with another price of the API."""
    for used in USED:
        yield _row(f"devices are used {used:.0%} at the peak", facts, work, found, used)
    for factor in (0.5, 2.0):
        moved = facts
        paid = facts.get("api.paid") is not None
        for name in ("api.paid",) if paid else ("api.small.in", "api.small.out"):
            moved = moved.instead(name, moved(name) * factor)
        yield _row(f"the API costs {factor:g} times as much", moved, work, found)
    for factor in (0.5, 2.0):
        moved = facts
        for name in {f"device.{one.fleet.device}.rent" for one in found}:
            moved = moved.instead(name, moved(name) * factor)
        rented = tuple(_priced(one, factor) for one in found)
        yield _row(f"renting costs {factor:g} times as much", moved, work, rented)


def _priced(one: Choice, factor: float) -> Choice:
    device = replace(one.replica.device, rent=one.replica.device.rent * factor)
    return replace(one, replica=replace(one.replica, device=device))


def _row(word: str, facts: Facts, work: Workload, found: tuple[Choice, ...], used: float = 0) -> Row:
    rented, owned = (beats_the_api(facts, work, found, own, used) for own in (False, True))
    return {"if": word, "rented": _millions(rented), "owned": _millions(owned)}


def _millions(tokens: float | None) -> str:
    return f"{tokens / 1e6:,.1f}" if tokens else "never"
