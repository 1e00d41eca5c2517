"""Advice: a form with the questions of `freehold advise`, and its answer above it. Keeps nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from freehold.console.door import Door, Form, Visit
from freehold.console.registry import Tab
from freehold.control.parts import Parts
from freehold.errors import BadInput
from freehold.sizing import facts as figures
from freehold.sizing import need as needs
from freehold.sizing import plain
from freehold.sizing.advise import advise

TAB = Tab(path="/advise", word="Advise")
EXAMPLES = ("insurer", "hospital", "bank", "ministry")


def router(parts: Parts) -> APIRouter:
    """`/advise`."""
    routes, door = APIRouter(), Door(parts)

    @routes.get("/advise")
    def ask(request: Request) -> HTMLResponse:
        """The form, empty or with one of four houses."""
        visit = door.visit(request)
        house = request.query_params.get("example", "")
        return _page(visit, _example(house) if house in EXAMPLES else dict(needs.STANDARD))

    @routes.post("/advise")
    def told(request: Request, form: Form) -> HTMLResponse:
        """Ranked; a wrong answer is told beside the form."""
        visit = door.posted(request, form)
        said = {q.name: form[q.name] for q in needs.QUESTIONS if form.get(q.name, "").strip()}
        try:
            need = needs.from_answers(said)
        except BadInput as wrong:
            return _page(visit, {**needs.STANDARD, **said}, wrong=wrong)
        advice = advise(figures.load(), need, dt.datetime.now(dt.UTC).date())
        return _page(visit, said, advice=plain.of_advice(need, advice))

    return routes


def _example(house: str) -> Mapping[str, Any]:
    text = files("freehold.sizing.examples").joinpath(f"{house}.yaml").read_text(encoding="utf-8")
    need = plain.of_need(needs.from_text(text))
    return {**need, "pretrained": "yes" if need["pretrained"] else "no"}


def _page(
    visit: Visit,
    said: Mapping[str, Any],
    advice: Mapping[str, Any] | None = None,
    wrong: BadInput | None = None,
) -> HTMLResponse:
    return visit.page(
        "advise.html",
        "Advise",
        questions=needs.QUESTIONS,
        answers={name: _as_typed(value) for name, value in said.items()},
        required=needs.REQUIRED,
        examples=EXAMPLES,
        advice=advice,
        wrong=wrong,
    )


def _as_typed(value: Any) -> Any:
    """A number as somebody would write it into the field: `1000000`, not `1e+06`."""
    return f"{value:.15g}" if isinstance(value, float | int) else value
