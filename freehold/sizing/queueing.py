"""What requests wait for: replicas that read one prompt at a time and write for many at once, event by event.

A replica goes from one event to the next: a prompt is read (whoever is being answered waits meanwhile), or
all rows go on by one token each, in the time that a step of so many rows takes. Whoever finds all rows taken
waits in line, first come first served. A request goes to the replica with the fewest requests.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from freehold.sizing.traces import Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One replica: how long things take, in seconds."""

    rows: int
    read: Callable[[float], float]
    """A prompt of so many tokens."""
    step: Callable[[int], float]
    """One token for each of so many rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tails:
    """What came of it; seconds."""

    requests: int
    replicas: int
    first_token: tuple[float, float, float]
    """Within which 50, 95 and 99 of 100 first tokens came."""
    token: tuple[float, float, float]
    """Mean time a token of a request, of 50, 95 and 99 of 100 requests."""
    in_flight: float
    """Requests in the system, on average."""
    stays: float
    """Seconds that one stays, on average."""
    a_second: float
    busy: float
    """Share of the time that replicas work."""
    times: tuple[float, ...] = field(repr=False)
    """First tokens, in order."""


@dataclass(slots=True)
class _Replica:
    """One on its way through time."""

    speed: Speed
    now: float = 0.0
    tokens: float = 0.0
    """That everybody who is being answered has been given since the beginning."""
    worked: float = 0.0
    waiting: deque[int] = field(default_factory=deque)
    active: list[tuple[float, int]] = field(default_factory=list)
    """(tokens at which it is done, request), the next one first."""
    steps: dict[int, float] = field(default_factory=dict)

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.active)

    def step(self) -> float:
        rows = len(self.active)
        if rows not in self.steps:
            self.steps[rows] = self.speed.step(rows)
        return self.steps[rows]


def simulate(arrivals: Iterable[Arrival], speed: Speed, replicas: int) -> Tails:
    """Every request through the replicas, until the last one is answered."""
    asked = list(arrivals)
    first, done = [0.0] * len(asked), [0.0] * len(asked)
    fleet = [_Replica(speed) for _ in range(replicas)]
    for number, arrival in enumerate(asked):
        for one in fleet:
            _until(one, arrival.at, asked, first, done)
        chosen = min(fleet, key=lambda one: one.load)
        chosen.now = max(chosen.now, arrival.at)
        chosen.waiting.append(number)
    for one in fleet:
        _until(one, float("inf"), asked, first, done)
    return _tails(asked, first, done, fleet)


def _until(
    one: _Replica, then: float, asked: Sequence[Arrival], first: list[float], done: list[float]
) -> None:
    """Go on up to `then`; a prompt that is being read is read to its end."""
    while one.now < then and (one.waiting or one.active):
        if one.waiting and len(one.active) < one.speed.rows:
            number = one.waiting.popleft()
            reads = one.speed.read(asked[number].tokens_in)
            one.now += reads
            one.worked += reads
            first[number] = one.now + one.speed.step(1)
            heapq.heappush(one.active, (one.tokens + asked[number].tokens_out, number))
            continue
        step = one.step()
        lasts = (one.active[0][0] - one.tokens) * step
        if one.now + lasts > then:
            one.tokens += (then - one.now) / step
            one.worked += then - one.now
            one.now = then
            return
        one.now += lasts
        one.worked += lasts
        one.tokens, number = heapq.heappop(one.active)
        done[number] = one.now


def _tails(
    asked: Sequence[Arrival], first: Sequence[float], done: Sequence[float], fleet: Sequence[_Replica]
) -> Tails:
    waited = sorted(at - arrival.at for at, arrival in zip(first, asked, strict=True))
    paces = sorted(
        max(0.0, end - begin) / (arrival.tokens_out - 1)
        for begin, end, arrival in zip(first, done, asked, strict=True)
        if arrival.tokens_out > 1
    )
    stays = sum(end - arrival.at for end, arrival in zip(done, asked, strict=True))
    lasts = max(done) - asked[0].at
    return Tails(
        requests=len(asked),
        replicas=len(fleet),
        first_token=_of(waited),
        token=_of(paces or [0.0]),
        in_flight=stays / lasts,
        stays=stays / len(asked),
        a_second=len(asked) / lasts,
        busy=sum(one.worked for one in fleet) / len(fleet) / lasts,
        times=tuple(waited),
    )


def _of(ordered: Sequence[float]) -> tuple[float, float, float]:
    half, most, nearly = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.95, 0.99))
    return half, most, nearly


def alone(arrivals: Sequence[Arrival], speed: Speed) -> float:
    """Seconds within which 99 of 100 first tokens come where nobody waits: no replicas do better."""
    return _of(sorted(speed.read(one.tokens_in) + speed.step(1) for one in arrivals))[2]


def enough(
    arrivals: Sequence[Arrival], speed: Speed, replicas: int, first_token: float, most: int
) -> tuple[Tails, bool]:
    """From `replicas` on, as many as 99 of 100 first tokens in time take; and whether any do."""
    tails = simulate(arrivals, speed, replicas)
    count = replicas
    if alone(arrivals, speed) > first_token:
        return tails, False
    while tails.first_token[2] > first_token and count < most:
        count = min(most, max(count + 1, count * 5 // 4))
        tails = simulate(arrivals, speed, count)
    return tails, tails.first_token[2] <= first_token
