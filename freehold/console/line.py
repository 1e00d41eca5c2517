"""The first picture: from rows to places and flows of the river."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from markupsafe import Markup

from freehold.console.charts.river import Flow, Place, river
from freehold.console.words import count
from freehold.control import day
from freehold.spec.figures import plural
from freehold.spec.sensitivity import Sensitivity

MOST = 8
"""Services that are drawn: those with the most answers."""

SEA = "answers"
LABEL = "The line: data sets flow into models, models into services, services into answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The picture, and the same as rows of (data set, model, service, answers of 24 h)."""

    picture: Markup
    rows: tuple[tuple[str, str, str, str], ...]
    more: int
    """Services that are not drawn."""
    is_empty: bool


def drawn_line(
    conn: sa.Connection,
    seen: Sequence[str],
    counted: Sequence[day.Slice],
    *,
    data: Collection[str],
    answers: Collection[str],
) -> Line:
    """The line within these projects, with the answers counted already.

    Data sets and answers lead on in the projects named by `data` and `answers`.
    """
    answered: Counter[str] = Counter()
    by_release: Counter[str] = Counter()
    for piece in counted:
        answered[piece.service] += piece.count
        by_release[piece.release or ""] += piece.count
    stages = sorted(day.stages(conn, seen), key=lambda s: (-answered[s.service], s.service))
    shown = stages[:MOST]
    names = {stage.service for stage in shown}
    versions = [v for v in day.versions(conn, seen) if not v.releases or v.service in names]
    sources = day.sources(conn, sorted({v.data for v in versions if v.data}))
    drawing = _Drawing(shown, versions, sources, answered, by_release, data, answers)
    return Line(
        picture=river(drawing.places(), drawing.flows(), label=LABEL),
        rows=tuple(drawing.rows()),
        more=len(stages) - len(shown),
        is_empty=not stages and not versions,
    )


@dataclass(frozen=True, slots=True)
class _Drawing:
    stages: Sequence[day.Stage]
    versions: Sequence[day.Version]
    sources: Sequence[day.Source]
    answered: Mapping[str, int]
    by_release: Mapping[str, int]
    open_data: Collection[str]
    """Projects whose data sets the reader may open: nothing leads to a page that refuses them."""
    open_answers: Collection[str]
    """The same of answers."""

    # -- places -------------------------------------------------------------------------------------

    def places(self) -> list[Place]:
        """In an order in which few flows cross: models as their services stand, data as its models."""
        order = {stage.service: number for number, stage in enumerate(self.stages)}
        versions = sorted(self.versions, key=lambda v: (order.get(v.service or "", 99), not v.releases))
        used = [version.data for version in versions]
        sources = sorted(self.sources, key=lambda source: used.index(source.id))
        attached = [stage for stage in self.stages if stage.kind == "attached"]
        return [
            *map(self._source, sources),
            *map(self._model, versions),
            *map(self._provider, attached),
            *map(self._service, self.stages),
            self._sea(),
        ]

    def _source(self, source: day.Source) -> Place:
        return Place(
            id=source.id,
            column=0,
            word=source.ref,
            note=f"{plural(source.rows, 'row')} · {Sensitivity(source.sensitivity).word}",
            volume=source.rows,
            tone=f"s{source.sensitivity}",
            href=f"/impact/data:{source.ref}" if source.project in self.open_data else None,
        )

    def _model(self, version: day.Version) -> Place:
        state = "waiting" if version.waiting else "held" if version.state == "held" else ""
        note = f"waits for {plural(version.waiting, 'approval')}" if version.waiting else version.state
        return Place(
            id=version.id,
            column=1,
            word=version.ref,
            note=note,
            volume=self._by(version),
            tone=f"s{version.sensitivity}",
            state=state,
            href=f"/impact/model:{version.ref}",
        )

    def _provider(self, stage: day.Stage) -> Place:
        return Place(
            id=f"provider/{stage.service}",
            column=1,
            word="attached",
            note="a model server of others",
            volume=self.answered.get(stage.service, 0),
            tone=f"s{stage.sensitivity}",
        )

    def _service(self, stage: day.Stage) -> Place:
        answers = plural(self.answered.get(stage.service, 0), "answer")
        its_answers, itself = f"/answers?service={stage.service}", f"/services/{stage.service}"
        return Place(
            id=f"service/{stage.service}",
            column=2,
            word=stage.service,
            note=stage.state if stage.state != "live" else answers,
            volume=self.answered.get(stage.service, 0),
            tone=f"s{stage.sensitivity}",
            state={"stopped": "held", "new": "waiting"}.get(stage.state, ""),
            href=its_answers if stage.project in self.open_answers else itself,
        )

    def _sea(self) -> Place:
        total = sum(self.answered.get(stage.service, 0) for stage in self.stages)
        word = "answer" if total == 1 else "answers"
        href = "/answers" if self.open_answers else None
        return Place(id=SEA, column=3, word=count(total), note=word, volume=total, tone="sea", href=href)

    # -- flows --------------------------------------------------------------------------------------

    def flows(self) -> list[Flow]:
        rows = {source.id: source.rows for source in self.sources}
        made = [
            Flow(source=v.data, target=v.id, volume=rows.get(v.data, 0) or 1, tone=f"s{v.sensitivity}")
            for v in self.versions
            if v.data
        ]
        made += [
            Flow(
                source=v.id,
                target=f"service/{v.service}",
                volume=self._by(v) or 1,
                tone=f"s{v.sensitivity}",
                waits=not v.releases,
            )
            for v in self.versions
            if v.service and v.state != "held"
        ]
        for stage in self.stages:
            here, tone = f"service/{stage.service}", f"s{stage.sensitivity}"
            volume = self.answered.get(stage.service, 0)
            if stage.kind == "attached":
                source = f"provider/{stage.service}"
                made.append(Flow(source=source, target=here, volume=volume or 1, tone=tone))
            waits = not volume and stage.state != "live"  # it is there, asked or not
            made.append(Flow(source=here, target=SEA, volume=volume or 0.2, tone=tone, waits=waits))
        return made

    def _by(self, version: day.Version) -> int:
        """Answers of 24 hours that this model version gave."""
        return sum(self.by_release.get(release, 0) for release in version.releases)

    # -- the same as a table ------------------------------------------------------------------------

    def rows(self) -> list[tuple[str, str, str, str]]:
        refs = {source.id: f"{source.ref} ({plural(source.rows, 'row')})" for source in self.sources}
        told = [
            (refs.get(v.data or "", "–"), f"{v.ref}, {_how(v)}", v.service or "–", count(self._by(v)))
            for v in self.versions
        ]
        told += [
            ("–", "attached", stage.service, count(self.answered.get(stage.service, 0)))
            for stage in self.stages
            if stage.kind == "attached"
        ]
        return told


def _how(version: day.Version) -> str:
    return f"waits for {plural(version.waiting, 'approval')}" if version.waiting else version.state
