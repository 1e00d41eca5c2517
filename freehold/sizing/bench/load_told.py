"""Load as a report, and as a gate that lets a release through or holds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from freehold.errors import Held
from freehold.sizing.bench.load import Stage, people, saturation
from freehold.sizing.bench.provenance import Provenance
from freehold.sizing.bench.shown import Bar, Bars, Curve, Page, Row, Section
from freehold.sizing.bench.told import as_yaml, papers

MS = 1000.0
LONG = 256
"""Tokens from which on reading a prompt is bound by arithmetic: shorter ones do not say how fast that is."""


class TooSlow(Held):
    """`{service}` misses what it was asked for under load"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a service has to hold in every stage that it is meant to hold it in; None: nothing asked."""

    waited: float | None = None
    """Seconds to the last word, 99 of a hundred requests."""
    first_token: float | None = None
    token: float | None = None
    failures: float | None = None
    """As a share."""
    answered: float | None = None
    """Requests a second that some stage reaches."""


def missed(stages: Sequence[Stage], objective: Objective) -> tuple[str, ...]:
    """What was not held, in words; empty when everything was.

    Looks at requests that come by themselves where there are any: callers that wait for their answers are
    never too many. A request that fails was not answered in time: where more than one of a hundred do, no
    time is held for 99 of them, unless `failures` says how many may.
    """
    judged = [stage for stage in stages if stage.how != "closed"] or list(stages)
    return tuple(_missed(judged, stages, objective))


def _missed(judged: Sequence[Stage], stages: Sequence[Stage], objective: Objective) -> Iterator[str]:
    for stage in judged:
        name = named(stage)
        for what, limit, value in (
            ("the last word", objective.waited, stage.waited[2]),
            ("the first word", objective.first_token, stage.first_token[2]),
            ("a token", objective.token, stage.token[2] if stage.token else None),
        ):
            if limit is not None and value is not None and value > limit:
                yield f"{name}: p99 of {what} {MS * value:.0f} ms, at most {MS * limit:.0f}"
        timed = any(each is not None for each in (objective.waited, objective.first_token, objective.token))
        most = objective.failures if objective.failures is not None else 0.01 if timed else 1.0
        if stage.failures > most:
            yield f"{name}: {100 * stage.failures:.2g} % failed, at most {100 * most:.2g}"
    most = max((stage.answered for stage in stages), default=0.0)
    if objective.answered is not None and most < objective.answered:
        yield f"{most:.3g} requests a second at most, {objective.answered:.3g} asked for"


def named(stage: Stage) -> str:
    """`8 callers`, `12.5 a second`."""
    if stage.how == "closed":
        return people(stage.callers)
    return f"{'trace, ' * (stage.how == 'trace')}{stage.offered:.3g} a second"


def page(service: str, stages: Sequence[Stage], objective: Objective, found: Provenance) -> Page:
    """All of it."""
    sections = [
        _section("callers that wait for their answer", [one for one in stages if one.how == "closed"]),
        _section("requests that come by themselves", [one for one in stages if one.how != "closed"]),
    ]
    held = missed(stages, objective)
    if objective != Objective():
        rows = tuple(Row(name="missed", text=line) for line in held)
        title = "not enough" if held else "enough: everything asked for was held"
        sections.append(Section(title=title, rows=rows, enough=not held))
    return Page(
        title=f"{service} under load",
        says="times as a caller sees them, through the gateway, every answer recorded",
        sections=tuple(section for section in sections if section),
        papers=papers(found),
    )


def _section(title: str, stages: Sequence[Stage]) -> Section | None:
    if not stages:
        return None
    rows = [_row(stage) for stage in stages]
    rows += [Row(name="", text=line) for stage in stages for line in _notes(stage)]
    pictures: list[Bars | Curve] = []
    if stages[0].how == "closed" and len(stages) > 1:
        points = tuple((float(stage.callers), stage.answered) for stage in stages)
        pictures.append(Curve(title="answers", across="callers", up="answers/s", points=points))
        knee = saturation(stages)
        said = f"{people(knee.callers)}, {knee.answered:.3g} answers a second" if knee else "not reached"
        rows.append(Row(name="saturated from", text=said, because="more callers only wait longer"))
    bars = tuple(
        Bar(name=named(stage), value=MS * stage.waited[2], said=f"{MS * stage.waited[2]:.0f} ms")
        for stage in stages
    )
    pictures.append(Bars(title="p99 to the last word", bars=bars))
    return Section(title=title, rows=tuple(rows), pictures=tuple(pictures))


def _row(stage: Stage) -> Row:
    parts = [f"first word {_ms(stage.first_token)}"]
    if stage.token:
        parts.append(f"a token {_ms(stage.token)}, {stage.tokens:,.0f} tokens/s")
    parts.append(f"last word {_ms(stage.waited)}")
    return Row(name=named(stage), text=f"{stage.answered:.3g} answers/s", because="; ".join(parts))


def _ms(three: tuple[float, float, float]) -> str:
    return f"{MS * three[0]:.3g} ms, p99 {MS * three[2]:.3g}"


def _notes(stage: Stage) -> Iterator[str]:
    if stage.failed:
        why = ", ".join(f"{times} x {reason}" for reason, times in stage.failed.items())
        yield f"{named(stage)}: {100 * stage.failures:.2g} % failed ({why})"
    if stage.how != "closed" and not stage.keeps_up:
        yield f"{named(stage)}: it does not keep up"


# -- what a plan takes ------------------------------------------------------------------------------


def facts(service: str, stages: Sequence[Stage], found: Provenance) -> str:
    """YAML for `freehold size --facts`: a token at so many rows, the first token of one who asks alone.

    Which model on which device that was says the file that is planned. What could not be measured is left
    out, and a remark says why.
    """
    values: dict[str, tuple[float, ...]] = {}
    by_rows: dict[int, Stage] = {}
    for stage in stages:
        if stage.paces:
            by_rows.setdefault(max(1, round(stage.rows)), stage)
    for rows, stage in sorted(by_rows.items()):
        values[f"engine.token_ms.{rows}"] = tuple(MS * each for each in stage.paces)
    remarks = [] if by_rows else ["# no answer had two tokens: nothing is known of how fast it writes\n"]
    alone = next((stage for stage in stages if stage.how == "closed" and stage.callers == 1), None)
    why = _why_no_first(alone)
    if alone is not None and not why:
        values["engine.first_token_ms"] = tuple(MS * each for each in alone.firsts)
    elif by_rows:
        remarks.append(f"# the first token is left out: {why}\n")
    told = [stage for stage in stages if stage.asked_tokens]
    if by_rows:
        values["engine.tokens_in"] = (max((stage.asked_tokens for stage in told), default=1.0),)
        values["engine.tokens_out"] = (max(stage.said_tokens for stage in by_rows.values()),)
    day = found.at[:10]
    return "".join(remarks) + as_yaml(values, day, f"freehold bench load {service}, through the gateway")


def _why_no_first(alone: Stage | None) -> str:
    if alone is None:
        return "nobody asked alone, as with --callers 1"
    if not alone.asked_tokens:
        return "the service does not count the tokens of a prompt"
    if alone.asked_tokens < LONG:
        return f"prompts of {alone.asked_tokens:.0f} tokens are read too quickly, ask with {LONG} or more"
    return ""
