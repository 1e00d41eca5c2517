"""`/api/bases`: base models arrive as one stream of files, are looked at, and become versions."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked, Plain
from freehold.control.signed_in import Gate
from freehold.errors import BadInput, NotFound
from freehold.identity import projects
from freehold.release import bases
from freehold.release.bases import BaseModel
from freehold.spec.ids import check_name
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.train import base
from freehold.train.bundle import Unpacking

SPARE = 1 << 30
"""Bytes that stay free on the disk: files arrive beside where they are kept."""


class NewBase(Asked):
    """What is said of a base that is added."""

    project: Plain
    name: Plain
    licence: Plain = ""
    source: Plain = "folder"
    sensitivity: Plain = Field(default="Public")


def router(parts: Parts) -> APIRouter:
    """The routes of base models."""
    routes = APIRouter(prefix="/api")
    gate = Gate(parts)
    _add_adding(routes, gate, parts)
    _add_reading(routes, gate, parts)
    return routes


def _add_adding(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.post("/bases", status_code=201, openapi_extra=_RAW_BODY)
    async def add_base(request: Request, asked: Annotated[NewBase, Query()]) -> dict[str, Any]:
        """Add the files in the body (`train.bundle`) as a version of a base model."""
        who = await run_in_threadpool(_allowed, gate, request, asked, parts)
        with tempfile.TemporaryDirectory(prefix="base-", dir=parts.home.control) as place:
            folder = Path(place) / asked.name
            folder.mkdir(mode=0o700)
            await _receive(request, folder)
            return await run_in_threadpool(_add, parts, who, asked, folder)


def _allowed(gate: Gate, request: Request, asked: NewBase, parts: Parts) -> Principal:
    """Asked before the first byte is taken."""
    who = gate.signed_in(request)
    gate.may(who, "train:submit", project=asked.project)
    check_name(asked.name, "base model")
    Sensitivity.parse(asked.sensitivity)
    with parts.ground.db.read() as conn:
        projects.find(conn, asked.project)
    return who


async def _receive(request: Request, folder: Path) -> None:
    """Half of what is free may be used: the files are kept a second time before these go."""
    free = max(0, shutil.disk_usage(folder).free - SPARE) // 2
    unpacking = Unpacking(folder, most=free)
    try:
        async for piece in request.stream():
            await run_in_threadpool(unpacking.feed, piece)
        unpacking.finish()
    finally:
        unpacking.close()


def _add(parts: Parts, who: Principal, asked: NewBase, folder: Path) -> dict[str, Any]:
    checked = base.check(folder, licence=asked.licence, allowed=parts.config.base_licences)
    prepared = bases.prepare(
        parts.ground,
        project=asked.project,
        name=asked.name,
        folder=folder,
        files=checked.files,
        facts=checked.facts,
        source=asked.source,
        sensitivity=Sensitivity.parse(asked.sensitivity),
    )
    with parts.ground.db.write() as tx:
        added, new = bases.register(tx, by=who, prepared=prepared)
    return {**_told(added), "new": new}


def _add_reading(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/bases")
    def list_bases(request: Request, project: str | None = None) -> list[dict[str, Any]]:
        """The base models of your projects."""
        who = gate.signed_in(request)
        if project is not None:
            gate.may(who, "run:read", project=project)
        with ground.db.read() as conn:
            found = bases.listed(conn, project)
        return [_told(one) for one in found if gate.would(who, "run:read", project=one.project)]

    @routes.get("/bases/{ref}")
    def get_base(ref: str, request: Request, project: str | None = None) -> dict[str, Any]:
        """One base model with its files."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            named = _named(conn, gate, who, ref, project)
        gate.may(who, "run:read", project=named.project, resource=named.ref)
        files = [{"path": e.path, "bytes": e.bytes, "digest": e.digest} for e in named.files]
        return {**_told(named), "files": files}


def _named(conn: sa.Connection, gate: Gate, who: Principal, ref: str, project: str | None) -> BaseModel:
    """In the project that is said, else in the only one of the person's that has it."""
    if project is not None:
        return bases.find(conn, project, ref)
    found = [one for one in bases.listed(conn) if one.ref == ref]
    found = [one for one in found if gate.would(who, "run:read", project=one.project)]
    if not found:
        raise NotFound(kind="base model", name=ref[:80], hint="`freehold base list` shows what there is")
    if len(found) > 1:
        raise BadInput(
            what=f"several projects have a base model `{ref}`",
            why=", ".join(sorted(one.project for one in found)),
            hint="say which: --project NAME",
        )
    return found[0]


def _told(one: BaseModel) -> dict[str, Any]:
    facts = one.facts
    return {
        "ref": one.ref,
        "id": one.id,
        "project": one.project,
        "digest": one.digest,
        "state": one.state,
        "licence": facts.licence,
        "licence_from": facts.licence_from,
        "source": one.source,
        "role": facts.role,
        "family": facts.model_type,
        "parameters": facts.parameters,
        "longest": facts.longest,
        "precision": facts.precision,
        "template": facts.template,
        "bytes": sum(entry.bytes for entry in one.files),
        "sensitivity": one.sensitivity.word,
        "created_at": one.created_at,
    }


_RAW_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
