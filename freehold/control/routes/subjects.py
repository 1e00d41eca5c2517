"""`/api/subjects`, `/api/forgettings`, `/api/readmissions`, `/api/certificates`: one person, forgetting them,
and letting them in again.

A person's name comes in a body, never in a path or a query, and is a keyed hash from the first line on.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.control import subjects
from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked, Plain
from freehold.control.signed_in import Gate
from freehold.data import readmission
from freehold.identity import projects
from freehold.jobs import steps
from freehold.journeys import forget
from freehold.policy.decide import Action
from freehold.spec.principal import Principal


class Named(Asked):
    """One person, as the data names them."""

    project: Plain
    subject: Annotated[str, Field(min_length=1, max_length=500)]


class ToForget(Named):
    """Whom to forget, at whose request."""

    request: Plain


class ToReadmit(Named):
    """Whom to let in again, on what new basis, for what, by which paper."""

    basis: Plain = ""
    purposes: Annotated[tuple[Plain, ...], Field(max_length=50)] = ()
    request: Plain
    plan: bool = False
    """Only say what would happen."""


def router(parts: Parts) -> APIRouter:
    """The routes of persons."""
    routes = APIRouter(prefix="/api")
    gate = Gate(parts)
    _add_looking(routes, gate, parts)
    _add_forgetting(routes, gate, parts)
    _add_readmitting(routes, gate, parts)
    return routes


def _whom(gate: Gate, parts: Parts, request: Request, asked: Named, action: Action) -> tuple[Principal, str]:
    """Who asks, and the HMAC of the person asked about."""
    who = gate.signed_in(request)
    gate.may(who, action, project=asked.project)
    with parts.ground.db.read() as conn:
        projects.find(conn, asked.project)
    return who, subjects.named(parts.ground, asked.project, asked.subject)


def _add_looking(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.post("/subjects")
    def show(asked: Named, request: Request) -> dict[str, Any]:
        """Where a person is, and what forgetting them would reach: counts and ids."""
        _, subject = _whom(gate, parts, request, asked, "subject:read")
        return subjects.show(parts.ground, asked.project, subject)

    @routes.post("/subjects/export")
    def export(asked: Named, request: Request) -> dict[str, Any]:
        """Everything held about a person, in clear, to be given to them."""
        who, subject = _whom(gate, parts, request, asked, "subject:read")
        return subjects.export(parts.ground, asked.project, subject, by=who)


def _add_forgetting(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.post("/forgettings", status_code=201)
    def begin(asked: ToForget, request: Request) -> dict[str, str]:
        """Begin to forget a person; one that is under way is joined."""
        who, subject = _whom(gate, parts, request, asked, "subject:forget")
        with parts.ground.db.write() as tx:
            journey = forget.begin(tx, by=who, project=asked.project, subject=subject, request=asked.request)
        parts.wake()
        return {"journey": journey}

    @routes.get("/certificates/{journey}")
    def certificate(journey: str, request: Request) -> dict[str, Any]:
        """The certificate that a forgetting ended with, as the file that `freehold verify` checks."""
        who = gate.signed_in(request)
        with parts.ground.db.read() as conn:
            project = steps.find(conn, journey).project
        gate.may(who, "run:read", project=project, resource=journey)
        return subjects.certified(parts.ground, parts.sequencer, journey)


def _add_readmitting(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.post("/readmissions", status_code=201)
    def readmit(asked: ToReadmit, request: Request) -> dict[str, Any]:
        """Let a person who was forgotten in again, on a new basis, with what comes from then on."""
        who, subject = _whom(gate, parts, request, asked, "subject:readmit")
        terms = readmission.settle(asked.basis, asked.purposes, asked.request)
        if asked.plan:
            return subjects.planned(parts.ground, asked.project, subject, terms)
        return subjects.readmit(parts.ground, asked.project, subject, terms, by=who)
