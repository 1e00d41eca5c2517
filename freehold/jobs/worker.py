"""A worker: asks control for a job, runs it in a child within walls, sends back what it left.

It holds no database credentials and runs no user code in its own process. All it has is a border key
and a scratch folder, which is emptied when it starts.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from freehold.client import Freehold
from freehold.errors import Failure
from freehold.jobs import isolated
from freehold.jobs.folder import JobFolder
from freehold.jobs.machine import facts
from freehold.jobs.walls import JobLimits, Walls
from freehold.spec.ids import digest_bytes

BEAT_EVERY = 2.0
"""Seconds between signs of life; control takes a job back after `jobs.queue.LOST_AFTER` without one."""
CHECKPOINT = "state.safetensors"
"""The file of a job's `checkpoints/` that is kept for it."""
ASK_FOR = 10.0
"""Seconds that control may hold a question for work before it answers that there is none; work that comes
meanwhile is told at once."""

_log = logging.getLogger(__name__)


class Worker:
    """Works until told to stop. `entries` says which function answers for which kind of job."""

    def __init__(
        self,
        control: Freehold,
        scratch: Path,
        entries: Mapping[str, str],
        walls: Walls,
        *,
        code: Path | None = None,
    ) -> None:
        self._control = control
        self._scratch = scratch
        self._entries = entries
        self._walls = walls
        self._code = code
        self._stop = threading.Event()
        self.busy = False
        """Whether it has a job in hand."""
        self.name = _name(scratch)

    def stop(self) -> None:
        """Leave soon: a job under way is given back, so that another worker may have it."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`. Control being away is waited out."""
        self._clean()
        pause = 0.2
        while not self._stop.is_set():
            try:
                self.work_once()
                pause = 0.2
            except Failure as failure:
                _log.warning("no work: %s", failure.code)
                self._stop.wait(pause)
                pause = min(pause * 2, 10.0)

    def work_once(self) -> bool:
        """Ask once, and do what is given; False when there was nothing to do."""
        asked = {"worker": self.name, "kinds": sorted(self._entries), "wait": ASK_FOR}
        job = self._control.post("/border/jobs/claim", asked)["job"]
        if job is None:
            return False
        self.busy = True
        folder = JobFolder.create(self._scratch / job["id"], job["spec"], job.get("attempt"))
        try:
            self._work(job, folder)
        except Failure as failure:
            if failure.status != 409:  # another worker has it, or nobody needs it any more: nothing to say
                raise
            _log.info("job %s is no longer ours", job["id"])
        finally:
            folder.remove()
            self.busy = False
        return True

    def _work(self, job: Mapping[str, Any], folder: JobFolder) -> None:
        with _Beats(self._control, job, folder, self._stop) as beats:
            inputs = {one["path"]: self._fetch(job, folder, one["path"]) for one in job["inputs"]}
            ended = isolated.run(
                folder,
                self._entries[job["kind"]],
                walls=self._walls,
                limits=_limits(job),
                code=self._code,
                stop=beats.stop,
            )
            if ended.stopped:
                self._leave(job, beats)
                return
            if ended.killed:
                beats.send_checkpoint()
                self._insist(f"/border/jobs/{job['id']}/give-back", {"fence": job["fence"], "killed": True})
                return
            outputs = self._send_all(job, folder) if ended.failure is None else {}
        self._end(job, ended, inputs, outputs)

    def _fetch(self, job: Mapping[str, Any], folder: JobFolder, path: str) -> dict[str, Any]:
        target = folder.inputs / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        hashed, size = hashlib.sha256(), 0
        place = f"/border/jobs/{job['id']}/inputs/{path}"
        with (
            self._control.stream("GET", place, params={"fence": job["fence"]}) as response,
            target.open("wb") as file,
        ):
            for piece in response.iter_bytes():
                hashed.update(piece)
                size += len(piece)
                file.write(piece)
            said = {
                name: int(response.headers[f"x-freehold-{name.replace('_', '-')}"])
                for name in ("rows", "left_out")
                if f"x-freehold-{name.replace('_', '-')}" in response.headers
            }
        target.chmod(0o400)
        return {"digest": f"sha256:{hashed.hexdigest()}", "bytes": size, **said}

    def _send_all(self, job: Mapping[str, Any], folder: JobFolder) -> dict[str, Any]:
        outputs = {}
        for path, data in read_plain(folder.outputs):
            place = f"/border/jobs/{job['id']}/outputs/{path}"
            kept = self._control.send(
                "PUT", f"{place}?fence={job['fence']}&digest={digest_bytes(data)}", content=data
            )
            outputs[path] = kept
        return outputs

    def _end(
        self,
        job: Mapping[str, Any],
        ended: isolated.Ended,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
    ) -> None:
        body = {
            "fence": job["fence"],
            "state": "failed" if ended.failure else "done",
            "result": ended.result or {},
            "failure": ended.failure or {},
            "inputs": dict(inputs),
            "outputs": dict(outputs),
            "machine": facts(ended.walls, _limits(job).threads),
            "cpu_seconds": round(ended.cpu_seconds, 3),
            "wall_seconds": round(ended.wall_seconds, 3),
            "peak_bytes": ended.peak_bytes,
        }
        self._insist(f"/border/jobs/{job['id']}/end", body)

    def _insist(self, path: str, body: Mapping[str, Any]) -> None:
        """Say it until control has heard it: the work is done, only the word is missing."""
        pause = 0.2
        while True:
            try:
                self._control.post(path, dict(body))
                return
            except Failure as failure:
                if failure.status < 500 or self._stop.wait(pause):  # refused, or no time left
                    raise
                pause = min(pause * 2, 10.0)

    def _leave(self, job: Mapping[str, Any], beats: _Beats) -> None:
        if not beats.lost:
            self._control.post(f"/border/jobs/{job['id']}/give-back", {"fence": job["fence"]})

    def _clean(self) -> None:
        for left in self._scratch.glob("job_*"):
            shutil.rmtree(left, ignore_errors=True)


class _Beats:
    """Signs of life while a job runs; `stop` is set when the job is lost or the worker leaves."""

    def __init__(
        self, control: Freehold, job: Mapping[str, Any], folder: JobFolder, leaving: threading.Event
    ) -> None:
        self.stop = threading.Event()
        self.lost = False
        self._control = control
        self._job = job
        self._folder = folder
        self._leaving = leaving
        self._over = threading.Event()
        self._sent: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._loop, name="beats", daemon=True)

    def __enter__(self) -> _Beats:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _loop(self) -> None:
        waited = 0.0
        while not self._over.wait(0.1):
            if self._leaving.is_set():
                self.stop.set()
                return
            waited += 0.1
            if waited >= BEAT_EVERY:
                waited = 0.0
                self._beat()
                self.send_checkpoint()

    def _beat(self) -> None:
        body = {"fence": self._job["fence"], "progress": _sayable(self._folder.progress)}
        try:
            go_on = self._control.post(f"/border/jobs/{self._job['id']}/beat", body)["go_on"]
        except Failure as failure:
            if failure.status < 500:
                _log.warning("a beat was refused: %s", failure.code)
            return  # control is away: the job goes on, and its end will wait for control
        if not go_on:
            self.lost = True
            self.stop.set()

    def send_checkpoint(self) -> None:
        """Send the newest one when it is not there yet; without it the job only begins further back."""
        found = next((one for one in read_plain(self._folder.checkpoints) if one[0] == CHECKPOINT), None)
        if found is None or self.lost:
            return
        stamp = (self._folder.checkpoints / CHECKPOINT).stat()
        if self._sent == (stamp.st_ino, stamp.st_mtime_ns):
            return
        place = f"/border/jobs/{self._job['id']}/checkpoint?fence={self._job['fence']}"
        try:
            self._control.send("PUT", f"{place}&digest={digest_bytes(found[1])}", content=found[1])
            self._sent = (stamp.st_ino, stamp.st_mtime_ns)
        except Failure as failure:
            _log.warning("a checkpoint was not taken: %s", failure.code)


def _limits(job: Mapping[str, Any]) -> JobLimits:
    """As many threads as the specification says: they are part of what was asked for."""
    threads = job["spec"].get("threads", 1)
    threads = threads if isinstance(threads, int) and 1 <= threads <= 64 else 1
    return JobLimits(memory=job["memory"], seconds=job["seconds"], threads=threads)


def _sayable(progress: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a job's progress that fits its form: what a job writes is no reason to lose it."""
    fits = {name: value for name, value in progress.items() if isinstance(value, str | int | float)}
    finite = {n: v for n, v in fits.items() if not isinstance(v, float) or math.isfinite(v)}
    return {name[:40]: v[:200] if isinstance(v, str) else v for name, v in list(finite.items())[:20]}


def read_plain(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The plain files below a folder a job wrote in; links are not followed, for they may lead outside."""
    for place, _, names in os.walk(folder, followlinks=False):
        for name in sorted(names):
            path = Path(place) / name
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            with os.fdopen(descriptor, "rb") as file:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    yield path.relative_to(folder).as_posix(), file.read()


def _name(scratch: Path) -> str:
    """A name of its own that stays: by it control knows that a worker which asks again lost its job."""
    path = scratch / "name"
    if not path.exists():
        path.write_text(f"w-{secrets.token_hex(4)}")
    return path.read_text().strip()
