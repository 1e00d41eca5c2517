"""Run by `test_ballast.py` on a file system of its own: fills it, stays there, frees it, and tells."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path

from freehold.errors import Failure
from freehold.store.ballast import Ballast
from freehold.store.frames import Mark
from freehold.store.group_commit import GroupCommit
from freehold.store.spool import Spool

WORDS = os.urandom(4096)


def matter(number: int) -> bytes:
    return number.to_bytes(16)


async def story(disk: Path) -> dict[str, object]:
    """Begin answers until nothing begins any more; end them; ask on; free the disk; see it go on."""
    (disk / "other").write_bytes(bytes(2 << 20))  # somebody else's file, to be removed later
    spool = Spool.create(disk)
    commits = GroupCommit(spool, ballast=Ballast(disk / "ballast", 1 << 20))
    began, why = await _until_full(commits)
    ended = [await commits.append(WORDS[:512], Mark.ENDS, matter(number)) for number in began]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = await _ask_on(commits, 20_000)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    (disk / "other").unlink()
    freed = time.monotonic()
    while await _try(commits, 1 << 30) is not None:
        pass  # each try asks the disk again
    recovered = time.monotonic() - freed
    await asyncio.to_thread(commits.close)
    spool.close()
    again = Spool.open(spool.folder)
    return {
        "began": len(began),
        "ended": len(ended),
        "refused": refused,
        "why": why,
        "grown": grown,
        "recovered": recovered,
        "lost": len(began) + len(ended) + 1 - again.durable,
    }


async def _until_full(commits: GroupCommit) -> tuple[list[int], str]:
    began: list[int] = []
    while True:
        failure = await _try(commits, len(began))
        if failure is not None:
            return began, str(failure)
        began.append(len(began))


async def _ask_on(commits: GroupCommit, times: int) -> int:
    refused = 0
    for first in range(0, times, 500):
        tries = [_try(commits, (1 << 20) + first + n) for n in range(500)]
        refused += sum(failure is not None for failure in await asyncio.gather(*tries))
    return refused


async def _try(commits: GroupCommit, number: int) -> Failure | None:
    try:
        await commits.append(WORDS, Mark.BEGINS, matter(number))
    except Failure as failure:
        return failure
    return None


if __name__ == "__main__":
    print(json.dumps(asyncio.run(story(Path(sys.argv[1])))))
