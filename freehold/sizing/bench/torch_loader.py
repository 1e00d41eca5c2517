"""The same by torch's own DataLoader, which is what trainings read with. Needs the extra `train`.

What it costs whoever computes (a queue, a tensor for each batch) is part of what a training has to wait for:
0.3 ms a batch more than loader.py takes, which counts where a step is as short as 5 ms (decision 0072).
"""

from __future__ import annotations

import gc
import multiprocessing
import time
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, default_collate

from freehold.sizing.bench.loader import Batch, ReadFailed
from freehold.sizing.bench.reader import FEW, Brought, Piece, Way, cpu, gathered, resized

GONE = "look for the kernel's out-of-memory killer (dmesg), and whether /dev/shm holds the readers' batches"

Read = tuple[Brought | str, torch.Tensor | None]
"""What became of a batch, and the batch as it is handed on."""


class TorchLoader:
    """Its readers are forked from a process that has imported everything, as those of a training are.

    As with `Loader`, all of them are up before the first batch is asked for: each brings an empty one first.
    """

    def __init__(self, way: Way, readers: int, ahead: int = 1) -> None:
        self._way, self._readers, self._ahead = way, readers, ahead
        self._context = multiprocessing.get_context("forkserver")  # a fork would copy other threads' locks
        self._context.set_forkserver_preload([__name__])

    def batches(self, wanted: Sequence[Batch]) -> Iterator[Brought]:
        """Each batch as it arrives, in order. Raises ReadFailed."""
        warnings.filterwarnings("ignore", message="This DataLoader will create")  # as many as were asked for
        loader: DataLoader[Read] = DataLoader(
            _Pieces(self._way),
            batch_sampler=[*([] for _ in range(self._readers)), *map(list, wanted)],
            collate_fn=_as_it_is,
            num_workers=self._readers,
            prefetch_factor=self._ahead,
            multiprocessing_context=self._context,
            worker_init_fn=_settled,
        )
        try:
            for number, (told, _batch) in enumerate(loader):  # a batch is kept until the next one is there
                if isinstance(told, str):
                    raise ReadFailed(why=told, hint="is the disk sound, and the bucket there?")
                if number >= self._readers:
                    yield told
        except (RuntimeError, OSError, EOFError) as error:  # of torch, when one of its workers is gone
            raise ReadFailed(why=str(error).partition("\n")[0] or type(error).__name__, hint=GONE) from error

    def __enter__(self) -> TorchLoader:
        return self

    def __exit__(self, *_: object) -> None:
        """Readers end with whoever goes through `batches`."""


def _settled(_reader: int) -> None:
    """What was imported is not looked through again: garbage is sought among what a reader makes.

    A reader that is forked from a running training has that behind it; one that has just begun would go
    through all of torch again and again, at 1 ms a batch.
    """
    gc.freeze()


class _Pieces:
    """Batches by the pieces they are of."""

    def __init__(self, way: Way) -> None:
        self._way = way

    def __getitems__(self, pieces: list[Piece]) -> Read:
        began, used = time.perf_counter(), cpu()
        try:
            size, records = gathered(self._way, pieces)
            batch = default_collate([resized(self._way.resized or FEW)] * records) if pieces else None
        except Exception as error:  # told in our own words
            return f"{type(error).__name__}: {error}", None
        return Brought(size=size, seconds=time.perf_counter() - began, cpu=cpu() - used), batch


def _as_it_is(read: Read) -> Read:
    return read
