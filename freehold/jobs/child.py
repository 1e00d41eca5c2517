"""The process a job runs in: raises the walls, then calls one entry; `python -m freehold.jobs.child`.

Started by `jobs.isolated` with everything on its command line: the folder, the entry, the limits.
Whatever happens is written to the folder's `result.json`; what is said there names no value of any
row, because it reaches logs and people.
"""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from freehold.errors import Failure
from freehold.jobs import walls as w
from freehold.jobs.folder import JobFolder
from freehold.jobs.kernel import die_with_parent

BROKE = 1
"""Exit code when the entry raised; `result.json` says what."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one job. The exit code is 0 when the entry returned."""
    asked = _arguments(argv)
    die_with_parent(asked.parent, signal.SIGKILL)
    folder = JobFolder(Path(asked.folder))
    walls = w.Walls(landlock=asked.landlock, seccomp=asked.seccomp, namespaces=asked.namespaces)
    try:
        w.leave_machine(walls)
        limits = w.JobLimits(memory=asked.memory, seconds=asked.seconds, threads=asked.threads)
        w.raise_around(folder, walls, limits, code=Path(asked.code) if asked.code else None)
    except OSError as error:  # a wall that was offered and does not stand: the job does not run
        folder.conclude({"failure": _no_wall(error)})
        return BROKE
    sys.path[:0] = [asked.code] if asked.code else []
    return _call(folder, asked.entry)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="freehold.jobs.child")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--entry", required=True)
    parser.add_argument("--code")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--landlock", type=int, default=0)
    parser.add_argument("--seccomp", action="store_true")
    parser.add_argument("--namespaces", action="store_true")
    return parser.parse_args(argv)


def _call(folder: JobFolder, entry: str) -> int:
    module, _, function = entry.partition(":")
    try:
        result = getattr(import_module(module), function)(folder)
    except Failure as failure:
        folder.conclude({"failure": failure.told()})
    except MemoryError:
        folder.conclude({"failure": OutOfMemory(hint="raise `memory` in the service file").told()})
    except Exception as error:
        folder.conclude({"failure": JobBroke(why=whereabouts(error)).told()})
    else:
        folder.conclude({"result": result})
        return 0
    return BROKE


class OutOfMemory(Failure):
    """the job needed more memory than it may use"""


class JobBroke(Failure):
    """the job broke"""


class WallMissing(Failure):
    """a wall around the job does not stand, so it was not run"""


def _no_wall(error: OSError) -> dict[str, Any]:
    return WallMissing(why=error.strerror or str(error.errno)).told()


def whereabouts(error: BaseException) -> str:
    """Kind and place of an error, without its message: a message may quote a value from a row."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    what = str(error) if isinstance(error, ImportError) else type(error).__name__
    return f"{what} at {places}"


if __name__ == "__main__":
    sys.exit(main())
