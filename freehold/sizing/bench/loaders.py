"""Who hands batches over: torch's DataLoader, as to most trainings, or our own readers, which cost less."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from freehold.errors import BadInput
from freehold.sizing.bench.loader import Loader
from freehold.sizing.bench.reader import FEW, Way
from freehold.sizing.bench.room import MEMORY, amount

if TYPE_CHECKING:
    from freehold.sizing.bench.profiles import Profile
    from freehold.sizing.bench.torch_loader import TorchLoader

OWN, TORCH = "own", "torch"
LOADERS = (TORCH, OWN)


class NoTorchLoader(BadInput):
    """torch's DataLoader cannot hand batches over here"""


def chosen(named: str | None, jobs: Iterable[Profile], accelerators: int, readers: int) -> str:
    """`named`, one of LOADERS; else torch's where it can. Raises NoTorchLoader where that was named."""
    if named == OWN:
        return OWN
    why = _why_not(jobs, accelerators, readers)
    if why and named:
        raise NoTorchLoader(why=why, hint="`--loader own` needs neither torch nor shared memory")
    return OWN if why else TORCH


def _why_not(jobs: Iterable[Profile], accelerators: int, readers: int) -> str:
    """Why torch's cannot; empty where it can."""
    try:
        import freehold.sizing.bench.torch_loader  # noqa: F401
    except (ImportError, OSError) as error:
        return f"torch does not load, it comes with the extra `train`: {str(error).partition(os.linesep)[0]}"
    # one batch of each reader, the one that is computed with, and the one after it
    least = max((accelerators * (readers + 2) * job.batch * (job.resized or FEW) for job in jobs), default=0)
    there = os.statvfs(MEMORY) if MEMORY.is_dir() else None
    if there and there.f_bavail * there.f_frsize < least:
        return f"its readers hand over up to {amount(least)} of batches in {MEMORY}, which has less"
    return ""


def loader_of(kind: str, way: Way, readers: int) -> Loader | TorchLoader:
    """One of that kind, to be used as a context manager."""
    if kind == OWN:
        return Loader(way, readers)
    from freehold.sizing.bench.torch_loader import TorchLoader

    return TorchLoader(way, readers)
