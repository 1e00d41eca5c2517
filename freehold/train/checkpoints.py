"""From where a training can go on: weights, optimizer and position, complete or not there at all.

A checkpoint says of which specification and which rows it is. Another one's is not gone on from: when a
person withdrew between two attempts, the second begins without what the first had learned of them.
Nothing random is kept, for every draw follows from the seed and the step.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from freehold.jobs.folder import JobFolder
from freehold.spec.cadence import checkpoint_every

FILE = "state.safetensors"
FIRST = 0.5
"""Seconds until the first one. Each later one comes after twice as long, up to Young and Daly's interval:
what is cut off early loses little, too."""
SHARE = 0.05
"""At most so much of the time goes into writing until that interval is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was read back."""

    step: int
    """The first step that was not done yet."""
    tensors: Mapping[str, Any]
    said: Mapping[str, Any]


class Checkpoints:
    """Writes into `folder.checkpoints` now and then; reads what an earlier attempt left."""

    def __init__(
        self, folder: JobFolder, about: str, breaks_every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`breaks_every`: mean seconds until an attempt breaks off. At 0, every step is kept."""
        self._folder = folder
        self._about = about
        self._breaks_every = breaks_every
        self._clock = clock
        self._took: list[float] = []
        self._pause = min(FIRST, breaks_every)
        self._next = clock() + self._pause

    def read(self) -> Kept | None:
        """The newest checkpoint of the same work; none when there is none that can be gone on from."""
        for place in (self._folder.checkpoints, self._folder.inputs / "checkpoint"):
            found = _read(place / FILE)
            if found is not None and found.said.get("about") == self._about:
                return found
        return None

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        return self._clock() >= self._next

    def write(self, step: int, tensors: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        """Keep this state; `step` is the first that is not done yet."""
        began = self._clock()
        self._folder.report(stage="checkpoint", step=step)
        _write(self._folder.checkpoints / FILE, tensors, {**said, "about": self._about, "step": step})
        ended = self._clock()
        self._took.append(ended - began)
        self._pause = self._pause_after(ended - began)
        self._next = ended + self._pause

    def _pause_after(self, took: float) -> float:
        best = checkpoint_every(fmean(self._took), self._breaks_every)
        return min(max(2 * self._pause, took / SHARE), best)


def _read(path: Path) -> Kept | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            said = json.loads(file.metadata()["said"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 – no mapping
            return Kept(step=int(said["step"]), tensors=tensors, said=said)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None  # none, or half of one: the training begins anew, and ends in the same bytes


def _write(path: Path, tensors: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    beside = path.with_name(f".{path.name}.new")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, str(beside), metadata={"said": json.dumps(said)})
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)
