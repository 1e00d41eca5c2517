"""What jobs leave: sealed on arrival, opened by the step that asked, dropped when nobody needs it.

A model that was fitted on people's data is personal data, so nothing a job leaves lies open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freehold.errors import BadInput, NotFound, Tampered
from freehold.jobs.queue import Job
from freehold.spec.ids import digest_bytes
from freehold.store.ground import Ground
from freehold.store.sealed import seal, unseal

MAX_FILES = 200
MAX_BYTES = 2_000_000_000
"""Of one file."""


class BadOutput(BadInput):
    """the output `{path}` cannot be taken"""


class OutputChanged(Tampered):
    """the output `{path}` of `{job}` is not what the worker sent"""


def keep(ground: Ground, job: str, path: str, data: bytes) -> dict[str, Any]:
    """Seal one file; returns what its job's ending has to say of it. Raises BadOutput."""
    _check(path, data)
    (key,) = ground.keyring.ensure(_key(job))
    return {
        "digest": digest_bytes(data),
        "bytes": len(data),
        "blob": ground.blobs.put(seal(key, data, _about(job, path))),
    }


def read(ground: Ground, job: Job, path: str) -> bytes:
    """One file, opened and checked. Raises NotFound, OutputChanged."""
    kept = (job.end.outputs if job.end else {}).get(path)
    if kept is None:
        raise NotFound(kind="output", name=path[:120])
    data = unseal(ground.keyring.key(_key(job.id)), ground.blobs.get(kept["blob"]), _about(job.id, path))
    if digest_bytes(data) != kept["digest"]:
        raise OutputChanged(path=path, job=job.id)
    return data


def read_below(ground: Ground, job: Job, folder: str) -> dict[str, bytes]:
    """Every file below `folder/`, by its path in there."""
    found = paths_below(job, folder)
    return {path: read(ground, job, f"{folder}/{path}") for path in found}


def paths_below(job: Job, folder: str) -> list[str]:
    """The paths below `folder/`, sorted."""
    outputs: Mapping[str, Any] = job.end.outputs if job.end else {}
    return sorted(p.removeprefix(f"{folder}/") for p in outputs if p.startswith(f"{folder}/"))


def drop(ground: Ground, left: Sequence[Job]) -> int:
    """Throw away what these jobs left; doing it twice is fine. How many had something."""
    there = ground.keyring.known([_key(job.id) for job in left])
    still = [job for job in left if _key(job.id) in there]
    for job in still:
        for kept in (job.end.outputs if job.end else {}).values():
            ground.blobs.delete(str(kept["blob"]))
    if still:
        ground.keyring.drop([_key(job.id) for job in still])
    return len(still)


def _check(path: str, data: bytes) -> None:
    parts = path.split("/")
    if len(path) > 200 or any(not p or p.startswith(".") for p in parts) or not path.isascii():
        raise BadOutput(path=path[:120], why="paths are relative, plain names joined by `/`")
    if len(data) > MAX_BYTES:
        raise BadOutput(path=path, why=f"it has {len(data)} bytes, at most {MAX_BYTES} are taken")


def _key(job: str) -> str:
    return f"job/{job}"


def _about(job: str, path: str) -> bytes:
    return f"job/{job}/{path}".encode()
