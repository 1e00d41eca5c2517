"""What a job gets to see: exactly the files its step named, made when they are fetched.

Sources are words, not paths: `data:{version}:{purpose}`, `model:{version}:{file}`, `base:{digest}:{file}`
and `plan:{journey}`. Rows whose subject withdrew since are left out at this moment, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from freehold.data import use, versions
from freehold.errors import NotFound
from freehold.jobs import steps
from freehold.jobs.queue import Job
from freehold.release.bases import open_base
from freehold.release.files import open_version
from freehold.spec.ids import canonical
from freehold.store.ground import Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """An input, laid out in a file."""

    path: Path
    counts: Mapping[str, int] = field(default_factory=dict)
    """For data: `rows` and `left_out`."""


def lay_out(ground: Ground, job: Job, path: str, folder: Path) -> Laid:
    """Write the job's input called `path` into `folder`. Raises NotFound, and what its source raises."""
    source = next((one.source for one in job.request.inputs if one.path == path), None)
    if source is None:
        raise NotFound(kind="input", name=path[:120])
    kind, _, rest = source.partition(":")
    return _KINDS[kind](ground, rest, folder / "input")


def _data(ground: Ground, source: str, target: Path) -> Laid:
    version_id, _, purpose = source.partition(":")
    with ground.db.read() as conn:
        version = versions.by_id(conn, version_id)
    written = use.write_arrow(ground, version, target, purpose=purpose)
    return Laid(path=target, counts={"rows": written.rows, "left_out": sum(written.left_out.values())})


def _model(ground: Ground, source: str, target: Path) -> Laid:
    model, _, path = source.partition(":")
    target.write_bytes(open_version(ground, model).read(path))
    return Laid(path=target)


def _base(ground: Ground, source: str, target: Path) -> Laid:
    digest, path = source.rsplit(":", 1)
    open_base(ground, digest).copy(path, target)
    return Laid(path=target)


def _plan(ground: Ground, journey: str, target: Path) -> Laid:
    """The plan that a rebuild follows, as its journey was begun with it."""
    with ground.db.read() as conn:
        target.write_bytes(canonical(steps.find(conn, journey).spec["plan"]))
    return Laid(path=target)


_KINDS: Mapping[str, Callable[[Ground, str, Path], Laid]] = {
    "data": _data,
    "model": _model,
    "base": _base,
    "plan": _plan,
}
