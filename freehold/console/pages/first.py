"""The first page: one line of facts and three pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from freehold.console import example
from freehold.console.charts import bars
from freehold.console.door import Door, Visit
from freehold.console.line import drawn_line
from freehold.console.registry import Tab
from freehold.console.words import ago, at, count
from freehold.control import controls, day, progress
from freehold.control.found import page_of_incidents
from freehold.control.parts import Parts
from freehold.release import approvals
from freehold.spec.figures import plural
from freehold.spec.notes import read_checkpoint

TAB = Tab(path="/", word="The line")

CLASSES = ("e-answered", "e-denied", "e-cut-off", "e-failed")
"""The colours of `day.ENDINGS`, in their order."""
MARK = 0.15
"""The share of time that devices are often said to be used for: something to be better than."""


def router(parts: Parts) -> APIRouter:
    """`/`."""
    routes, door = APIRouter(), Door(parts)

    @routes.get("/")
    def first(request: Request) -> HTMLResponse:
        """What waits, how the line flows, how today went, what it took."""
        visit = door.visit(request)
        with parts.ground.db.read() as conn:
            facts = _facts(conn, parts, visit)
        return visit.page("first.html", "The line", **facts)

    return routes


def _facts(conn: sa.Connection, parts: Parts, visit: Visit) -> dict[str, Any]:
    now = parts.ground.clock()
    lines, answers = visit.projects(conn, "service:read"), visit.projects(conn, "answer:read")
    counted = day.slices(conn, lines, now)
    return {
        "strip": _strip(conn, parts, visit, now),
        "line": drawn_line(conn, lines, counted, data=visit.projects(conn, "data:read"), answers=answers),
        "today": _today(conn, parts, answers, now) if answers else None,
        "meter": _meter(conn, parts, lines, counted, now),
        "example": example,
    }


# -- the strip ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One piece of the strip."""

    word: str
    href: str = ""
    tone: str = ""
    """`waits` or `wrong` where somebody should look."""


def _strip(conn: sa.Connection, parts: Parts, visit: Visit, now: int) -> list[Fact]:
    """Only what is known: what has not been looked at is not said."""
    waiting = [*_approvals(conn, visit, now), *_incidents(conn, visit), *_missed(conn, parts, visit, now)]
    return [*waiting, *_ledger(parts, now), *_controls(conn, visit, now), *_parts(parts)]


_MANY = 99
"""Incidents that are counted."""


def _incidents(conn: sa.Connection, visit: Visit) -> list[Fact]:
    """Those that nobody looks into yet."""
    seen = visit.projects(conn, "incident:read")
    page = page_of_incidents(conn, seen, "open", None, "older", _MANY)
    number = f"{_MANY} and more incidents" if page.older else plural(len(page.rows), "incident")
    return [Fact(word=f"{number} open", href="/incidents?state=open", tone="waits")] if page.rows else []


def _missed(conn: sa.Connection, parts: Parts, visit: Visit, now: int) -> list[Fact]:
    """Services that do not keep what was declared of them."""
    missed = parts.objectives.missed(conn, now, visit.projects(conn, "service:read"))
    return [
        Fact(word=f"{name} misses {one}", href=f"/services/{name}", tone="wrong")
        for name, objectives in missed.items()
        for one in objectives
    ]


def _approvals(conn: sa.Connection, visit: Visit, now: int) -> list[Fact]:
    waiting = approvals.listed(conn, now, state="waiting")
    mine = sum(not approvals.why_not(conn, visit.who, approval) for approval in waiting)
    if mine:
        verb = "waits" if mine == 1 else "wait"
        return [Fact(word=f"{plural(mine, 'approval')} {verb} for you", href="/approvals", tone="waits")]
    seen = sum(visit.may_see("service:read", approval.project) for approval in waiting)
    return [Fact(word=f"{plural(seen, 'approval')} under way", href="/approvals")] if seen else []


def _ledger(parts: Parts, now: int) -> list[Fact]:
    problem = parts.sequencer.problem
    if problem:
        return [Fact(word=f"ledger: {problem.what}", href="/ledger", tone="wrong")]
    if parts.checked.because:
        return [
            Fact(word=f"the ledger does not verify: {parts.checked.because}", href="/ledger", tone="wrong")
        ]
    if parts.checked.at is not None:
        return [Fact(word=f"ledger verified {ago(now - parts.checked.at)}", href="/ledger/verify")]
    note = parts.sequencer.newest()
    if note is None:
        return []
    signed = read_checkpoint(note, parts.sequencer.public)  # its signature is checked here
    since = time.time() - parts.sequencer.tiles.checkpoint.stat().st_mtime
    word = f"{plural(signed.size, 'entry', 'entries')} in the ledger, signed {ago(since * 1_000_000)}"
    return [Fact(word=word, href="/ledger")]


def _controls(conn: sa.Connection, visit: Visit, now: int) -> list[Fact]:
    """How the controls did when `freehold doctor` last tried them; nothing before it did."""
    every = controls.latest(conn) if visit.may_see("ledger:read") else ()
    tried = [one for one in every if one.at is not None]
    if not tried:
        return []
    failed = [one.title for one in tried if not one.passed]
    since = ago(now - min(one.at for one in tried if one.at is not None))
    word = f"{len(tried) - len(failed)}/{len(every)} controls proved {since}"
    told = [Fact(word=word, href="/controls", tone="wrong" if failed else "")]
    return told + [Fact(word=f"does not hold: {title}", href="/controls", tone="wrong") for title in failed]


def _parts(parts: Parts) -> list[Fact]:
    """What supervisors wrote down; where control was started by itself, nothing is known."""
    known = progress.processes(parts)
    if not known:
        return []
    up = [process for process in known if process["state"] == "running"]
    facts = [Fact(word=f"{len(up)}/{len(known)} parts up", tone="" if len(up) == len(known) else "wrong")]
    return facts + [
        Fact(word=f"{process['name']}: {process['because'] or process['state']}", tone="wrong")
        for process in known
        if process["state"] != "running"
    ]


# -- today --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """The second picture with its headline and the same as a table."""

    picture: Markup
    headline: str
    is_equal: bool
    beside: str
    rows: tuple[tuple[str, tuple[int, ...], str], ...]
    is_empty: bool


def _today(conn: sa.Connection, parts: Parts, seen: Sequence[str], now: int) -> Today:
    counted, totals = day.slices(conn, seen, now), day.totals(conn, seen)
    hours = [_hour(conn, seen, counted, first, parts.config.timezone) for first in _hours(now)]
    marks = [
        bars.Mark(
            at=(event.at - day.first_hour(now)) / day.HOUR, word=event.word, href=f"/services/{event.service}"
        )
        for event in day.events(conn, seen, now)
    ]
    waits = f", {totals.on_their_way} on their way" if totals.on_their_way else ""
    is_equal = totals.answers == totals.records + totals.on_their_way
    sign = "=" if is_equal else "≠"
    return Today(
        picture=day_picture(hours, marks),
        headline=f"{plural(totals.answers, 'answer')} {sign} {plural(totals.records, 'record')}{waits}",
        is_equal=is_equal,
        beside=f"{plural(sum(s.count for s in counted), 'answer')} in the last 24 hours",
        rows=tuple(
            (h.word, tuple(int(part) for part in h.parts), _ms(h.line)) for h in hours if any(h.parts)
        ),
        is_empty=not totals.answers,
    )


def day_picture(hours: Sequence[bars.Hour], marks: Sequence[bars.Mark]) -> Markup:
    """Columns by ending, the p95 over them."""
    label = "Answers of the last 24 hours by ending, with the time within which 95 of 100 were given"
    return bars.day(hours, marks, label=label, classes=CLASSES, line_word="p95, ms")


def _hours(now: int) -> list[int]:
    start = day.first_hour(now)
    return [start + number * day.HOUR for number in range(day.HOURS)]


def _hour(
    conn: sa.Connection, seen: Sequence[str], counted: Sequence[day.Slice], first: int, zone: str
) -> bars.Hour:
    here = [piece for piece in counted if piece.hour == first]
    parts = tuple(sum(p.count for p in here if p.ending == ending) for ending in day.ENDINGS)
    micros = day.p95(conn, seen, first, parts[0])
    line = micros / 1000 if micros is not None else None
    return bars.Hour(word=at(first, zone).strftime("%H:%M"), parts=parts, line=line)


def _ms(value: float | None) -> str:
    return f"{value:,.1f} ms" if value is not None else "–"


# -- two states, one meter ----------------------------------------------------------------------------


def _meter(
    conn: sa.Connection, parts: Parts, seen: Sequence[str], counted: Sequence[day.Slice], now: int
) -> dict[str, Any]:
    found = day.meter(conn, seen, counted, parts.config, now, day.began(conn))
    return {
        "picture": meter_picture(found.training / found.hours, found.serving / found.hours),
        "found": found,
        "currency": parts.config.currency,
        "is_empty": not (found.training or found.serving),
        "whole": count(round(found.hours)) if found.hours >= 1 else f"{found.hours:.1f}",
    }


def meter_picture(training: float, serving: float) -> Markup:
    """One bar of device time, with the mark."""
    share = (
        bars.Part(word="training", share=training, class_="m-training"),
        bars.Part(word="serving", share=serving, class_="m-serving"),
        bars.Part(word="idle", share=max(0.0, 1 - training - serving), class_="m-idle"),
    )
    said = ", ".join(f"{part.word} {part.share:.1%}" for part in share)
    return bars.meter(share, label=f"Device time: {said}", mark=MARK, mark_word="15 % mark")
