"""A service under load: callers that wait for each other's answers, or requests that come as they come."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING

from freehold.errors import Unavailable
from freehold.sizing.bench import arrivals
from freehold.sizing.bench.arrivals import Due
from freehold.sizing.bench.asking import Answered, Question, ask
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.utilization import percentile

if TYPE_CHECKING:
    import aiohttp

KEEPS_UP = 0.95
"""A service keeps up while it answers at least this share of what comes."""
PATIENCE = 60.0
"""Seconds that a request may take."""
PARTS = 5
"""Of the time of a stage: how far their medians lie apart is how sure a figure is."""


class NothingAnswered(Unavailable):
    """`{service}` answered none of {asked} requests"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One load, and how the service did under it."""

    how: str
    """closed, open, trace"""
    callers: int
    """Of a closed loop; 0 otherwise."""
    offered: float
    """Requests a second that came; of a closed loop, those it could send."""
    answered: float
    """A second."""
    asked: int
    failed: Mapping[str, int]
    """How many by why."""
    waited: tuple[float, float, float]
    """Seconds to the last word: median, 95th and 99th of a hundred."""
    first_token: tuple[float, float, float]
    token: tuple[float, float, float] | None
    """Seconds a token after the first; None where answers have one alone."""
    tokens: float
    """A second, all answers together."""
    rows: float = 0.0
    """Answers that were being written at a time, on average (Little)."""
    asked_tokens: float = 0.0
    """Of a mean request, as the service counted them; 0 where it does not tell."""
    said_tokens: float = 0.0
    """Of a mean answer."""
    paces: tuple[float, ...] = ()
    """Median seconds a token: of all answers, and of each of five parts of the time."""
    firsts: tuple[float, ...] = ()
    """The same of the first token."""

    @property
    def failures(self) -> float:
        """As a share."""
        return sum(self.failed.values()) / max(1, self.asked)

    @property
    def keeps_up(self) -> bool:
        return self.answered >= KEEPS_UP * self.offered


def people(callers: int) -> str:
    """`1 caller`, `8 callers`."""
    return f"{callers} caller{'s' * (callers > 1)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to ask."""

    url: str
    key: str


async def closed(
    target: Target, question: Question, callers: int, seconds: float, progress: Progress
) -> Stage:
    """Each caller asks again as soon as it is answered."""
    answers: list[Answered] = []

    async def caller(http: aiohttp.ClientSession, number: int, began: float) -> None:
        while (now := time.perf_counter() - began) < seconds:
            answers.append(await ask(http, question, number + callers * len(answers), Due(at=now), began))

    async with _session(target, callers) as http:
        began = time.perf_counter()
        await asyncio.gather(*(caller(http, number, began) for number in range(callers)))
        took = time.perf_counter() - began
    progress.moved(seconds)
    return summed("closed", callers, answers, took, question.service)


async def opened(
    target: Target, question: Question, dues: Sequence[Due], how: str, progress: Progress
) -> Stage:
    """Every request is sent when it is due, whatever became of those before."""

    async def one(http: aiohttp.ClientSession, number: int, due: Due, began: float) -> Answered:
        await asyncio.sleep(max(0.0, due.at - (time.perf_counter() - began)))
        return await ask(http, question, number, due, began)

    async with _session(target, 0) as http:
        began = time.perf_counter()
        answers = await asyncio.gather(*(one(http, number, due, began) for number, due in enumerate(dues)))
        took = time.perf_counter() - began
    progress.moved(dues[-1].at)
    return summed(how, 0, answers, max(took, dues[-1].at), question.service, came=dues[-1].at)


def _session(target: Target, connections: int) -> aiohttp.ClientSession:
    """A pool of connections, 0 for as many as it takes; no proxy of the shell may see the key."""
    import aiohttp

    return aiohttp.ClientSession(
        base_url=f"{target.url}/",
        headers={"authorization": f"Bearer {target.key}"},
        timeout=aiohttp.ClientTimeout(total=PATIENCE),
        connector=aiohttp.TCPConnector(limit=connections),
        trust_env=False,
    )


def summed(
    how: str, callers: int, answers: Sequence[Answered], took: float, service: str, came: float = 0
) -> Stage:
    """Figures of answers that took `took` seconds in all and came within `came`. Raises NothingAnswered."""
    good = [one for one in answers if not one.failed]
    why = Counter(one.failed for one in answers if one.failed)
    if not good:
        raise NothingAnswered(
            service=service,
            asked=len(answers),
            why=", ".join(f"{reason}: {times}" for reason, times in why.items()) or "none was due",
            hint=f"does `freehold ask {service} hello` work with this key?",
        )
    pace = [one.token for one in good if one.token is not None]
    counted = [one.prompt for one in good if one.prompt]
    return Stage(
        how=how,
        callers=callers,
        offered=len(answers) / (came or took),
        answered=len(good) / took,
        asked=len(answers),
        failed=dict(why),
        waited=_three([one.waited for one in good]),
        first_token=_three([one.first_token for one in good]),
        token=_three(pace) if pace else None,
        tokens=sum(one.tokens for one in good) / took,
        rows=sum(one.ended - one.first for one in good) / took,
        asked_tokens=fmean(counted) if counted else 0.0,
        said_tokens=fmean([one.tokens for one in good]),
        paces=_parts(pace),
        firsts=_parts([one.first_token for one in good]),
    )


def _parts(values: Sequence[float]) -> tuple[float, ...]:
    """The median of all, and of each fifth as they came; of few the first alone."""
    if len(values) < 2 * PARTS:
        return (median(values),) if values else ()
    ends = [len(values) * n // PARTS for n in range(PARTS + 1)]
    return (median(values), *(median(values[a:b]) for a, b in pairwise(ends)))


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    return percentile(values, 0.5), percentile(values, 0.95), percentile(values, 0.99)


def saturation(stages: Sequence[Stage]) -> Stage | None:
    """The first of closed loops with ever more callers that gets 95 % of the most that any got.

    Beyond it, more callers only wait longer. None where the last one still got more: look further.
    """
    loops = sorted((stage for stage in stages if stage.how == "closed"), key=lambda stage: stage.callers)
    if len(loops) < 2:
        return None
    most = max(stage.answered for stage in loops)
    knee = next(stage for stage in loops if stage.answered >= KEEPS_UP * most)
    return None if knee is loops[-1] else knee


# -- the whole of it --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants to know."""

    seconds: float = 5.0
    """Of each stage."""
    callers: tuple[int, ...] = (1, 2, 4, 8, 16)
    rates: tuple[float, ...] = ()
    """Requests a second; empty: half and four fifths of what the callers reached."""
    trace: tuple[Due, ...] = ()
    seed: int = 1


def run(target: Target, question: Question, asked: Asked, progress: Progress) -> tuple[Stage, ...]:
    """Closed loops with ever more callers, then requests at random below what those reached; or a trace."""
    return asyncio.run(_run(target, question, asked, progress))


async def _run(target: Target, question: Question, asked: Asked, progress: Progress) -> tuple[Stage, ...]:
    if asked.trace:
        progress.expect(asked.trace[-1].at)
        progress.stage("the trace")
        return (await opened(target, question, asked.trace, "trace", progress),)
    stages = []
    progress.expect(asked.seconds * (len(asked.callers) + len(asked.rates or (1, 2))))
    for callers in asked.callers:
        progress.stage(people(callers))
        stages.append(await closed(target, question, callers, asked.seconds, progress))
    reached = max((stage.answered for stage in stages), default=0.0)
    for number, rate in enumerate(asked.rates or (0.5 * reached, 0.8 * reached)):
        dues = arrivals.poisson(rate, asked.seconds, asked.seed + number)
        if dues:
            progress.stage(f"{rate:.3g} requests a second")
            stages.append(await opened(target, question, dues, "open", progress))
    return tuple(stages)
