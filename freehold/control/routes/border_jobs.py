"""`/border/jobs`: where workers get jobs, their inputs, and leave what came of them."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import Field

from freehold.control.held import held
from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked, Plain
from freehold.control.signed_in import Gate
from freehold.errors import BadInput, NotFound, OverLimit
from freehold.jobs import breakdowns, kept, outputs, queue
from freehold.jobs.kept import Checkpoints
from freehold.jobs.queue import Job, JobEnd
from freehold.journeys.inputs import Laid, lay_out
from freehold.spec.ids import digest_bytes
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.pieces import sent_once


class Claim(Asked):
    """Who asks for work, and what it can do."""

    worker: str = Field(pattern=r"^[a-z0-9-]{1,63}$")
    kinds: list[Plain] = Field(min_length=1, max_length=20)
    wait: float = Field(default=0.0, ge=0.0, le=10.0)


class Beat(Asked):
    """A sign of life."""

    fence: int
    progress: dict[str, str | int | float | bool] = Field(default_factory=dict, max_length=20)


class Fence(Asked):
    """Whose claim it is."""

    fence: int


class GiveBack(Fence):
    """Whether the worker leaves, or the job's process was killed."""

    killed: bool = False


class End(Asked):
    """How a job ended."""

    fence: int
    state: Literal["done", "failed"]
    result: dict[str, Any]
    failure: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    machine: dict[str, Any]
    cpu_seconds: float = Field(ge=0)
    wall_seconds: float = Field(ge=0)
    peak_bytes: int = Field(ge=0)


class ChangedOnTheWay(BadInput):
    """the output `{path}` arrived changed"""


class TooLargeOutput(OverLimit):
    """the output `{path}` is too large"""


def router(parts: Parts) -> APIRouter:
    """The routes of workers."""
    routes = APIRouter(prefix="/border/jobs")
    gate = Gate(parts)
    checkpoints = Checkpoints(parts.ground, parts.home.control / "checkpoints")
    _add_claiming(routes, gate, parts, checkpoints)
    _add_moving(routes, gate, parts, checkpoints)
    _add_ending(routes, gate, parts, checkpoints)
    return routes


def _worker(gate: Gate, request: Request) -> Principal:
    who = gate.machine(request)
    gate.may(who, "job:work")
    return who


def _add_claiming(routes: APIRouter, gate: Gate, parts: Parts, checkpoints: Checkpoints) -> None:
    db = parts.ground.db

    @routes.post("/claim")
    async def claim(asked: Claim, request: Request) -> dict[str, Any]:
        """The next job, or none after `wait` seconds."""
        who = await run_in_threadpool(_worker, gate, request)
        await run_in_threadpool(checkpoints.sweep)
        take = partial(queue.claim, db, by=who, worker=asked.worker, kinds=asked.kinds)
        with held(parts, "jobs", seconds=asked.wait) as again:
            while (job := await run_in_threadpool(take)) is None:
                if not await again() or await request.is_disconnected():  # a dead worker takes nothing
                    return {"job": None}
        return {"job": await run_in_threadpool(_told, job, checkpoints, parts.ground)}

    @routes.post("/{job}/beat")
    def beat(job: str, asked: Beat, request: Request) -> dict[str, bool]:
        """Still at it; the answer says whether to go on."""
        _worker(gate, request)
        return {"go_on": queue.beat(db, job=job, fence=asked.fence, progress=asked.progress)}


def _told(job: Job, checkpoints: Checkpoints, ground: Ground) -> dict[str, Any]:
    asked = job.request
    with ground.db.read() as conn:
        attempt = {"breaks_every": breakdowns.seconds_between(conn, job.kind)}
    more = [kept.PATH] if checkpoints.holds(job.id) else []
    return {
        "id": job.id,
        "kind": job.kind,
        "fence": job.fence,
        "spec": dict(asked.spec),
        "attempt": attempt,
        "inputs": [{"path": path} for path in (*(one.path for one in asked.inputs), *more)],
        "memory": asked.memory,
        "seconds": asked.seconds,
    }


def _add_moving(routes: APIRouter, gate: Gate, parts: Parts, checkpoints: Checkpoints) -> None:
    ground = parts.ground

    @routes.get("/{job}/inputs/{path:path}")
    def get_input(job: str, path: str, request: Request, fence: int = 0) -> StreamingResponse:
        """One file the job may see, made now."""
        _worker(gate, request)
        with ground.db.read() as conn:
            now = queue.check_fence(conn, job, fence)
        folder = tempfile.TemporaryDirectory(prefix="job-", dir=parts.home.control)
        try:
            laid = _laid(checkpoints, now, path, Path(folder.name), ground)
        except BaseException:
            folder.cleanup()
            raise
        headers = {f"x-freehold-{name.replace('_', '-')}": str(n) for name, n in laid.counts.items()}
        return StreamingResponse(
            sent_once(laid.path, folder), media_type="application/octet-stream", headers=headers
        )

    @routes.put("/{job}/outputs/{path:path}")
    async def put_output(job: str, path: str, fence: int, digest: str, request: Request) -> dict[str, Any]:
        """One file the job left; it is sealed before this answers."""
        await run_in_threadpool(_check, gate, parts, request, job, fence)
        body = await _body(request, path)
        return await run_in_threadpool(_keep, parts, job, path, digest, body)

    @routes.put("/{job}/checkpoint")
    async def put_checkpoint(job: str, request: Request, fence: int = 0, digest: str = "") -> dict[str, str]:
        """The newest state a job can go on from; the one before is gone."""
        await run_in_threadpool(_check, gate, parts, request, job, fence)
        body = await _body(request, kept.PATH)
        if digest_bytes(body) != digest:
            raise ChangedOnTheWay(path=kept.PATH, why="its digest is another one", hint="send it again")
        await run_in_threadpool(checkpoints.keep, job, body)
        return {"kept": digest}


def _laid(checkpoints: Checkpoints, job: Job, path: str, folder: Path, ground: Ground) -> Laid:
    """An input its step named, or the checkpoint of an earlier attempt."""
    if path != kept.PATH:
        return lay_out(ground, job, path, folder)
    target = folder / "input"
    try:
        target.write_bytes(checkpoints.read(job))
    except NotFound:
        target.write_bytes(b"")  # nobody can go on from it: the job begins anew
    return Laid(path=target)


def _check(gate: Gate, parts: Parts, request: Request, job: str, fence: int) -> None:
    _worker(gate, request)
    with parts.ground.db.read() as conn:
        queue.check_fence(conn, job, fence)


def _keep(parts: Parts, job: str, path: str, digest: str, body: bytes) -> dict[str, Any]:
    if digest_bytes(body) != digest:
        raise ChangedOnTheWay(path=path[:120], why="its digest is another one", hint="send it again")
    return outputs.keep(parts.ground, job, path, body)


async def _body(request: Request, path: str) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > outputs.MAX_BYTES:
            raise TooLargeOutput(path=path[:120], why=f"at most {outputs.MAX_BYTES} bytes are taken")
    return bytes(body)


def _add_ending(routes: APIRouter, gate: Gate, parts: Parts, checkpoints: Checkpoints) -> None:
    @routes.post("/{job}/end")
    def end(job: str, asked: End, request: Request) -> dict[str, str]:
        """It is done, or it failed; saying so twice is saying it once."""
        who = _worker(gate, request)
        said = JobEnd(**{name: value for name, value in asked.model_dump().items() if name != "fence"})
        with parts.ground.db.write() as tx:
            queue.end(tx, by=who, job=job, fence=asked.fence, end=said)
        checkpoints.drop(job)
        parts.wake()
        return {"state": asked.state}

    @routes.post("/{job}/give-back")
    def give_back(job: str, asked: GiveBack, request: Request) -> dict[str, str]:
        """The worker leaves, or the job was killed; somebody else may have it."""
        who = _worker(gate, request)
        with parts.ground.db.write() as tx:
            queue.give_back(tx, by=who, job=job, fence=asked.fence, killed=asked.killed)
        parts.wake()
        return {"state": "queued"}
