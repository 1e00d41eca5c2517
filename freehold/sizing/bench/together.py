"""Several machines that read the same storage at once: they meet in the place that they measure.

Each writes a file a step and waits for those of the others; nothing else connects them, no clock is compared.
Owned by nobody alone: client 1 removes the files when all others have said that they are gone.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from statistics import median
from types import TracebackType

from freehold.errors import BadInput, Failure, NotFound, Unavailable
from freehold.sizing.bench.places import Bucket, Folder

PREFIX = "freehold-together-"
PATIENCE = 1800.0
"""Seconds to wait for others: they write their data first, and not all disks are alike."""
LOOKS_EVERY = 0.05
SELDOM = 0.5
"""Seconds between two looks, at first and after a while: in a bucket each is a request that is paid for."""


class NobodyCame(Unavailable):
    """client {missing} of `{name}` did not come"""


class NameTaken(BadInput):
    """`{name}` is the name of another measurement there"""


class NoClient(BadInput):
    """it is not said which client of how many this machine is"""


class OtherOptions(BadInput):
    """client {other} of `{name}` measures something else"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Which of how many measures here."""

    name: str
    """What all of them call what they do together."""
    number: int
    """From 1 on."""
    clients: int


def client(name: str, text: str) -> Client:
    """Client 2 of 3 from `2/3`. Raises NoClient."""
    said = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if not said or not 1 <= int(said[1]) <= int(said[2]) or int(said[2]) < 2:
        why = f"`{text[:40]}` is no number of several" if text else "`--together` goes with `--client`"
        raise NoClient(why=why, hint="`--client 2/3` is the second of three")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", name):
        why = f"`{name[:40]}` is no name for all of them" if name else "`--client` goes with `--together`"
        raise NoClient(why=why, hint="`--together tuesday`: letters, digits, hyphens")
    return Client(name=name, number=int(said[1]), clients=int(said[2]))


class Meeting:
    """Of all clients, as often as they like; a context manager that leaves with the others."""

    def __init__(self, where: str, client: Client, patience: float = PATIENCE) -> None:
        self.client = client
        self._place = _place(where, f"{PREFIX}{client.name}")
        self._patience = patience
        self._step = 0

    def __enter__(self) -> Meeting:
        if self._said(1, self.client.number) is not None:
            raise NameTaken(
                name=self.client.name,
                why="a client of this number was there before: under way, or it was killed",
                hint=f"take another name; what was left lies in `{PREFIX}{self.client.name}`",
            )
        return self

    def agree(self, options: object) -> None:
        """All ask for the same, or OtherOptions: their sums would mean nothing."""
        mine = json.dumps(options, sort_keys=True)
        for number, theirs in enumerate(self.meet(mine), start=1):
            if theirs != mine:
                raise OtherOptions(
                    name=self.client.name,
                    other=number,
                    why="only `--client` may differ",
                    hint="begin all with the same options, under a new name (`--loader own` without torch)",
                )

    def meet(self, said: object = None) -> tuple[object, ...]:
        """What each said, in their order, once all are here. Raises NobodyCame."""
        self._step += 1
        self._say(f"{self._step}-{self.client.number}", said)
        return tuple(self._waited(self._step, number) for number in self._every())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, NameTaken):
            return
        if error is not None:
            with suppress(Failure, OSError):  # why it ended is what is told
                self._say(f"broken-{self.client.number}", None)
            return
        self.meet()
        if self.client.number > 1:
            self._say(f"gone-{self.client.number}", None)
            return
        for number in self._every():
            if number > 1:
                self._waited("gone", number)
        _removed(self._place)

    def _every(self) -> range:
        return range(1, self.client.clients + 1)

    def _waited(self, step: int | str, number: int) -> object:
        """What a client said at a step, once it has."""
        began = time.monotonic()
        while (found := self._said(step, number)) is None:
            passed = time.monotonic() - began
            if passed > self._patience or self._said("broken", number) is not None:
                raise NobodyCame(
                    name=self.client.name,
                    missing=number,
                    why="it broke off, or was never begun",
                    hint="see what it said; begin all of them again under a new name",
                )
            time.sleep(min(SELDOM, max(LOOKS_EVERY, passed / 40)))
        return found[0]

    def _say(self, name: str, said: object) -> None:
        with self._place.create(name) as file:
            file.write(json.dumps([said]).encode() + b"\n")

    def _said(self, step: int | str, number: int) -> list[object] | None:
        """In a list, since it may be None; None where it has not said it, or not to its end."""
        _look_again(self._place, self.client.number)
        try:
            with self._place.open(f"{step}-{number}") as file:
                text = file.read()
        except (FileNotFoundError, NotFound):
            return None
        return list(json.loads(text)) if text.endswith(b"\n") else None


def _place(where: str, name: str) -> Folder | Bucket:
    return Bucket.named(where, name) if "://" in where else Folder(Path(where) / name)


def _look_again(place: Folder | Bucket, number: int) -> None:
    """A network file system may remember that a name was not there, until we change the folder ourselves."""
    if isinstance(place, Folder) and place.path.is_dir():
        mark = place.path / f"look-{number}-{secrets.token_hex(2)}"
        with suppress(OSError):  # client 1 may just be removing all of it
            mark.touch()
            mark.unlink()


def _removed(place: Folder | Bucket) -> None:
    if isinstance(place, Bucket):
        place.remove_all()
    else:
        rmtree(place.path, ignore_errors=True)


def counts(clients: int) -> tuple[int, ...]:
    """1, 2, 4 … and all of them."""
    return tuple(sorted({clients, *(2**power for power in range(16) if 2**power < clients)}))


def curve(meeting: Meeting, read: Callable[[int], float], runs: int) -> tuple[tuple[int, float], ...]:
    """(clients, bytes a second of all that read), the median of `runs`; `read` takes the number of the run.

    Those whose turn it is not wait. Each run begins when all are there.
    """
    return tuple((count, _at_once(meeting, count, read, runs)) for count in counts(meeting.client.clients))


def _at_once(meeting: Meeting, count: int, read: Callable[[int], float], runs: int) -> float:
    totals = []
    for number in range(runs):
        meeting.meet()
        rate = read(number) if meeting.client.number <= count else 0.0
        totals.append(total(meeting.meet(rate)))
    return median(totals)


def total(rates: Sequence[object]) -> float:
    """Of what each said."""
    return sum(float(str(rate)) for rate in rates)
