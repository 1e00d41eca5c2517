"""`/api/data`, `/api/consents`: files become versions, versions are looked at, consents are written down.

A file comes as the raw body and is never in clear on our disk: it goes to a nameless temporary file
that is sealed with a key in memory (`data.scratch`). The owner comes in a header, for it may be
somebody's address; what else is said of a data set stands in the query.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal, cast
from urllib.parse import unquote

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from starlette.requests import ClientDisconnect

from freehold.control.applied import wait_applied
from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked, Plain
from freehold.control.signed_in import Gate
from freehold.data import consent, diff, intake, versions
from freehold.data.declare import Intake
from freehold.data.scratch import Scratch
from freehold.data.versions import DataColumn, DataVersion
from freehold.errors import BadInput, NotFound
from freehold.identity import people, projects
from freehold.release.publish import publish
from freehold.spec.ids import parse_reference
from freehold.spec.principal import Principal
from freehold.store.ground import Ground

Named = list[Plain]


class NotWhole(BadInput):
    """the file did not arrive as a whole"""


class NewFile(Asked):
    """What is said of a file that is added. For a data set that exists already, most may be left out."""

    project: Plain
    name: Plain
    format: Plain
    purpose: Named = Field(default=[], max_length=50)
    basis: Plain = ""
    sensitivity: Plain = ""
    keep: Plain = ""
    region: Named = Field(default=[], max_length=50)
    subject: Named = Field(default=[], max_length=10)
    consent_from: Plain = ""
    target: Plain = ""
    text: Plain = ""
    type: Named = Field(default=[], max_length=2000)
    """`COLUMN=TYPE`"""
    missing: Named = Field(default=[], max_length=20)
    allow_bad_rows: int = Field(default=0, ge=0)
    plan: bool = False


class ConsentWord(Asked):
    """What a person said about a purpose."""

    project: Plain
    subject: Plain
    purpose: Plain
    state: Literal["given", "withdrawn"]


def router(parts: Parts) -> APIRouter:
    """The routes of data sets and consents."""
    routes = APIRouter(prefix="/api")
    gate, ground = Gate(parts), parts.ground
    _add_adding(routes, gate, ground)
    _add_reading(routes, gate, ground)
    _add_consents(routes, gate, ground)
    return routes


def _add_adding(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.post("/data", status_code=201, openapi_extra=_RAW_BODY)
    async def add_file(
        request: Request,
        asked: Annotated[NewFile, Query()],
        x_freehold_owner: Annotated[str, Header(max_length=500)] = "",
    ) -> dict[str, Any]:
        """Add the file in the body as a version of a data set."""
        who = await run_in_threadpool(_allowed, gate, request, asked.project)
        with Scratch() as file:
            await _receive(request, file)
            owner = unquote(x_freehold_owner)
            return await run_in_threadpool(_add, ground, who, asked, owner, file)


async def _receive(request: Request, file: Scratch) -> None:
    try:
        async for part in request.stream():
            file.write(part)
    except ClientDisconnect:
        raise NotWhole(why="the connection ended in the middle of it", hint="send it again") from None


def _allowed(gate: Gate, request: Request, project: str) -> Principal:
    """Asked before the first byte is taken."""
    who = gate.signed_in(request)
    gate.may(who, "data:add", project=project)
    return who


def _add(ground: Ground, who: Principal, asked: NewFile, owner: str, file: Scratch) -> dict[str, Any]:
    added = intake.add(
        ground,
        by=who,
        project=asked.project,
        request=_intake(asked, _owner(ground, owner)),
        source=cast(Any, file),
        format=asked.format,
        also=lambda tx: publish(tx, ground, by=who),
    )
    return _added_json(added)


_RAW_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _intake(asked: NewFile, owner: str) -> Intake:
    return Intake(
        name=asked.name,
        purposes=tuple(asked.purpose),
        basis=asked.basis,
        sensitivity=asked.sensitivity,
        owner=owner,
        keep=asked.keep,
        regions=tuple(asked.region),
        subject=tuple(asked.subject),
        consent_from=asked.consent_from,
        target=asked.target,
        text=asked.text,
        types=dict(_column_type(said) for said in asked.type),
        missing=tuple(asked.missing),
        allow_bad_rows=asked.allow_bad_rows,
        plan=asked.plan,
    )


def _column_type(said: str) -> tuple[str, str]:
    column, equals, word = said.rpartition("=")
    if not equals or not column:
        raise BadInput(
            what=f"`{said[:80]}` does not say which column has which type", hint="`--type age=text`"
        )
    return column, word


def _owner(ground: Ground, named: str) -> str:
    """A person of ours as their id, so that no address stands outside `people`; a team as it is named."""
    if not named.strip():
        return ""
    with ground.db.read() as conn:
        try:
            return people.find(conn, named.strip()).id
        except NotFound:
            return named.strip()[:254]


def _add_reading(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/data")
    def list_data(request: Request, project: str | None = None) -> list[dict[str, Any]]:
        """Every version that this key may see, in one project or all."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = [v for place in _places(gate, ground, who, project) for v in versions.list(conn, place)]
        return [_version_json(ground, version) for version in found]

    @routes.get("/data/{ref}")
    def show_data(request: Request, ref: str, project: str | None = None) -> dict[str, Any]:
        """One version: columns, types, counts, what looks personal."""
        who = gate.signed_in(request)
        where = _project_of(gate, ground, who, ref, project)
        with ground.db.read() as conn:
            return _version_json(ground, versions.find(conn, where, ref))

    @routes.get("/data/{ref}/diff/{other}")
    def diff_data(request: Request, ref: str, other: str, project: str | None = None) -> dict[str, Any]:
        """What changed from one version to another: columns, and rows by number."""
        who = gate.signed_in(request)
        where = _project_of(gate, ground, who, ref, project)
        compared = diff.compare(ground, where, ref, other)
        return {"project": where, "same": compared.same, **asdict(compared)}


def _places(gate: Gate, ground: Ground, who: Principal, project: str | None) -> list[str]:
    """The projects whose data `who` may see."""
    if project is not None:
        gate.may(who, "data:read", project=project)
        return [project]
    with ground.db.read() as conn:
        return gate.places(conn, who, "data:read")


def _project_of(gate: Gate, ground: Ground, who: Principal, ref: str, project: str | None) -> str:
    """Where `ref` is: the project named, else the only one, of those `who` may see, that has it."""
    name, _ = parse_reference(ref)
    places = _places(gate, ground, who, project)
    if project is not None:
        return project
    with ground.db.read() as conn:
        having = [place for place in versions.projects_with(conn, name) if place in places]
    if len(having) > 1:
        raise BadInput(
            what=f"`{name}` is a data set of several projects", why=", ".join(having), hint="add `--project`"
        )
    return having[0] if having else places[0]


def _add_consents(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.post("/consents")
    def say(asked: ConsentWord, request: Request) -> dict[str, Any]:
        """Write down that a person gave or withdrew consent; gateways hear of it at once."""
        who = gate.signed_in(request)
        gate.may(who, "consent:change", project=asked.project)
        with ground.db.read() as conn:
            projects.find(conn, asked.project)
        subject = ground.keyring.subject(asked.project, _person(asked.subject))
        write = consent.withdraw if asked.state == consent.WITHDRAWN else consent.give
        with ground.db.write() as tx:
            said = write(tx, by=who, project=asked.project, subject=subject, purpose=asked.purpose)
            ix = publish(tx, ground, by=who) if said.changed else None
        return {**asdict(said), "applied": ix is None or wait_applied(ground, ix)}


def _person(named: str) -> str:
    if not named.strip():
        raise BadInput(what="nobody is named", hint="name the person as the data does")
    return named.strip()


def _added_json(added: intake.Added) -> dict[str, Any]:
    version = added.version
    return {
        "ref": added.ref,
        "new": added.new,
        "planned": added.planned,
        "digest": version.digest if version else None,
        "rows": added.rows,
        "columns": [_column_json(column) for column in added.columns],
        "left_out": dict(added.left_out),
        "bad_rows": added.bad_rows,
        "broken": added.broken,
        "notes": list(added.notes),
    }


def _column_json(column: DataColumn) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "empty": column.empty,
        "looks": [asdict(look) for look in column.looks],
    }


def _version_json(ground: Ground, version: DataVersion) -> dict[str, Any]:
    said = version.declared
    return {
        "ref": version.ref,
        "project": version.project,
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "rows": version.rows,
        "columns": [_column_json(column) for column in version.columns],
        "purposes": said.purposes,
        "basis": said.basis,
        "sensitivity": said.sensitivity.word,
        "owner": _owner_shown(ground, said.owner),
        "keep": said.keep,
        "kept_until": version.kept_until,
        "regions": said.regions,
        "subject": said.subject_columns,
        "consent_from": said.consent_column,
        "target": said.target,
        "text": said.text,
        "left_out": version.left_out,
        "bad_rows": version.bad_rows,
        "state": version.state,
        "created_at": version.created_at,
    }


def _owner_shown(ground: Ground, owner: str) -> str:
    if not owner.startswith("per_"):
        return owner
    with ground.db.read() as conn:
        try:
            return people.find(conn, owner).email
        except NotFound:
            return owner
