"""`/api/retention`, `/api/holds`: how long things are kept, and what stays whatever a rule says.

A person's name comes in a body, never in a path or a query, and is a keyed hash from the first line on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.control import keeping
from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked, Plain, Reason
from freehold.control.signed_in import Gate
from freehold.data import holds, retention
from freehold.errors import BadInput
from freehold.identity import projects
from freehold.spec.ids import check_name


class Which(Asked):
    """What a rule is about: words of answers, or what MLflow clients wrote of their runs."""

    project: Plain
    what: Literal["words", "runs"] = "words"
    purpose: Plain = retention.ANY
    sensitivity: Plain = ""

    def about(self) -> tuple[str, str | None]:
        """Purpose and sensitivity, as rules are kept. Raises BadInput for one about runs that says more."""
        if self.what == "words":
            if self.purpose != retention.ANY:
                check_name(self.purpose, "purpose")
            return self.purpose, self.sensitivity or None
        if self.purpose != retention.ANY or self.sensitivity:
            raise BadInput(
                what="a rule about runs is for all of a project",
                why="MLflow clients say neither a purpose nor a sensitivity",
                hint="leave both out",
            )
        return retention.RUNS, None


class ToKeep(Which):
    """How long they are kept."""

    keep: Plain


class ToHold(Asked):
    """What is to stay, and why."""

    project: Plain
    what: Plain
    object: Annotated[str, Field(max_length=500)] = ""
    because: Reason


class Ending(Asked):
    """Why something ends."""

    because: Reason


def router(parts: Parts) -> APIRouter:
    """The routes of retention."""
    routes = APIRouter(prefix="/api")
    gate = Gate(parts)
    _add_rules(routes, gate, parts)
    _add_holds(routes, gate, parts)
    return routes


def _add_rules(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/retention")
    def show(request: Request, project: str = "") -> dict[str, Any]:
        """The rules of a project, the holds that stand, and what is over by now."""
        gate.may(gate.signed_in(request), "data:read", project=project)
        return keeping.shown(ground, project)

    @routes.post("/retention")
    def set_rule(asked: ToKeep, request: Request) -> dict[str, Any]:
        """Say how long words are kept; a rule for the same words counts no more."""
        who = gate.signed_in(request)
        gate.may(who, "retention:set", project=asked.project)
        purpose, sensitivity = asked.about()
        with ground.db.write() as tx:
            projects.find(tx.connection, asked.project)
            rule = retention.set_rule(
                tx,
                by=who,
                project=asked.project,
                keep_for=asked.keep,
                purpose=purpose,
                sensitivity=sensitivity,
            )
        return keeping.rule_told(rule)

    @routes.post("/retention/end")
    def end_rule(asked: Which, request: Request) -> dict[str, Any]:
        """A rule counts no more."""
        who = gate.signed_in(request)
        gate.may(who, "retention:set", project=asked.project)
        purpose, sensitivity = asked.about()
        with ground.db.write() as tx:
            retention.end_rule(
                tx,
                by=who,
                project=asked.project,
                purpose=purpose,
                sensitivity=sensitivity,
            )
        return {"project": asked.project, "what": asked.what, "purpose": asked.purpose}


def _add_holds(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/holds")
    def listed(request: Request, project: str = "") -> list[dict[str, Any]]:
        """Every hold there was in a project, the newest first."""
        gate.may(gate.signed_in(request), "hold:change", project=project)
        return keeping.held(ground, project)

    @routes.post("/holds", status_code=201)
    def place(asked: ToHold, request: Request) -> dict[str, str]:
        """Begin a legal hold."""
        who = gate.signed_in(request)
        gate.may(who, "hold:change", project=asked.project)
        with ground.db.read() as conn:
            projects.find(conn, asked.project)
        hold = keeping.place_hold(
            ground, by=who, project=asked.project, what=asked.what, object=asked.object, because=asked.because
        )
        return {"hold": hold}

    @routes.post("/holds/{hold}/end")
    def end(hold: str, asked: Ending, request: Request) -> dict[str, str]:
        """End a legal hold: what was due meanwhile goes with the next purge."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = holds.find(conn, hold)
        gate.may(who, "hold:change", project=found.project, resource=hold)
        keeping.end_hold(ground, found, by=who, because=asked.because)
        return {"hold": hold}
