"""Fuzz targets under atheris, guided by coverage: `python -m tests.fuzz.run TARGET [libFuzzer's options]`.

    python -m tests.fuzz.run answers -max_total_time=600
    python -m tests.fuzz.run all -max_total_time=60     # in turns: an input's first byte says which
    python -m tests.fuzz.run answers crash-…            # one input again, without fuzzing

Needs `atheris` (in the group `test`, where it has a wheel). Whatever it finds is kept as libFuzzer does,
in the current folder; put it into `FOUND` of `seeds.py` when it is mended.
"""

from __future__ import annotations

import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["freehold"], enable_loader_override=False):
    from tests.fuzz.seeds import seeds
    from tests.fuzz.targets import TARGETS


ALL = "all"
_NAMES = tuple(TARGETS)


def every(data: bytes) -> None:
    """Any of the targets."""
    if data:
        TARGETS[_NAMES[data[0] % len(_NAMES)]](data[1:])


def begins(name: str) -> list[bytes]:
    """What a target is given first."""
    given = seeds()
    if name != ALL:
        return given[name]
    return [bytes([at]) + seed for at, one in enumerate(_NAMES) for seed in given[one]]


def main(name: str, *options: str) -> None:
    with tempfile.TemporaryDirectory(prefix=f"corpus-{name}-") as corpus:
        for seed in begins(name):
            Path(corpus, sha256(seed).hexdigest()).write_bytes(seed)
        atheris.Setup([sys.argv[0], *options, corpus], every if name == ALL else TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
