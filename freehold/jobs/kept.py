"""Checkpoints at control: the newest of each job, sealed, until the job has ended.

A file beside the database and no row of it: what lies here is given back to the same job begun again, and
proves nothing.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from freehold.errors import NotFound
from freehold.jobs.queue import Job
from freehold.store.ground import Ground
from freehold.store.home import write_atomically
from freehold.store.sealed import SealBroken, seal, unseal
from freehold.store.tables import jobs

PATH = "checkpoint/state.safetensors"
"""Among a job's inputs."""


class Checkpoints:
    """The folder they lie in."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self._ground = ground
        self._folder = folder

    def keep(self, job: str, data: bytes) -> None:
        """Seal the newest one; the one before is gone."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        (key,) = self._ground.keyring.ensure(f"job/{job}")
        write_atomically(self._place(job), seal(key, data, _about(job)), sync=False)

    def holds(self, job: str) -> bool:
        """Whether there is one."""
        return self._place(job).exists()

    def read(self, job: Job) -> bytes:
        """The newest one. Raises NotFound; also when it does not open any more: the job begins anew then."""
        try:
            sealed = self._place(job.id).read_bytes()
            return unseal(self._ground.keyring.key(f"job/{job.id}"), sealed, _about(job.id))
        except (FileNotFoundError, SealBroken) as error:
            raise NotFound(kind="checkpoint", name=job.id) from error

    def drop(self, job: str) -> None:
        """Nobody goes on from it any more; dropping it twice is fine."""
        self._place(job).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Drop those of jobs that ended without a word to us: cancelled, or failed by control itself."""
        found = {path.name: path for path in self._folder.glob("job_*")} if self._folder.exists() else {}
        if not found:
            return
        query = sa.select(jobs.c.id).where(jobs.c.state.in_(("queued", "claimed")), jobs.c.id.in_(found))
        with self._ground.db.read() as conn:
            needed = {str(id) for id in conn.scalars(query)}
        for name in found.keys() - needed:
            self.drop(name)

    def _place(self, job: str) -> Path:
        return self._folder / job


def _about(job: str) -> bytes:
    return f"job/{job}/{PATH}".encode()
