"""What is wrong at this gateway: since when, what is lost, and what to do. Nobody's name is in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from freehold.gateway.border import Border
from freehold.gateway.elapsed import Elapsed
from freehold.gateway.refusals import Refusals
from freehold.gateway.replays import Replays
from freehold.gateway.rulebook import Rulebook
from freehold.gateway.shipping import Shipping
from freehold.spec.ids import Clock
from freehold.store.ballast import Room
from freehold.store.group_commit import UNSHIPPED, GroupCommit

_log = logging.getLogger("freehold.gateway")

ALERT = 10.0
"""Seconds without a word from control, or with the disk at one record, before it counts as trouble."""
NEARLY = 0.8
"""How full the disk, or what may wait on it, is when it is time to say so."""


Part = Literal["control", "rules", "disk", "records", "shipping", "room", "kept", "strangers"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What can be wrong; `/metrics` tells of each whether it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is wrong."""

    part: Part
    since: int
    """Microseconds UTC."""
    what: str
    why: str
    lost: str
    hint: str


class Health:
    """What the parts of one gateway say of themselves."""

    def __init__(
        self,
        border: Border,
        commits: GroupCommit,
        shipping: Shipping,
        replays: Replays,
        rulebook: Rulebook,
        room: Callable[[], Room],
        clock: Clock,
        elapsed: Elapsed,
    ) -> None:
        self._border, self._commits, self._shipping, self._room = border, commits, shipping, room
        self._replays, self._clock, self._elapsed = replays, clock, elapsed
        self._rulebook, self._was_away = rulebook, elapsed()
        self._narrow_since: float | None = None
        self._kept_since: float | None = None
        self._unkept_since: float | None = None
        self._told: frozenset[Part] = frozenset()
        self.refusals = Refusals(elapsed)

    def troubles(self) -> tuple[Trouble, ...]:
        """Everything that is wrong at this moment; nothing is nothing."""
        return tuple(self._found())

    def tell(self) -> bool:
        """Say each trouble in the log once when it begins, and once when it is over; whether one did."""
        self.refusals.look()
        found = {trouble.part: trouble for trouble in self.troubles()}
        for part in found.keys() - self._told:
            trouble = found[part]
            _log.error("%s: %s; %s; %s", trouble.what, trouble.why, trouble.lost, trouble.hint)
        for part in self._told - found.keys():
            _log.warning("%s: it is over", part)
        changed, self._told = self._told != found.keys(), frozenset(found)
        return changed

    def _found(self) -> Iterator[Trouble]:
        now, silent = self._elapsed(), self._elapsed() - self._border.heard
        yield from self._of_rules(now, silent)
        yield from self._of_records(now, away=silent > ALERT)
        yield from self._of_callers(now)

    def _of_rules(self, now: float, silent: float) -> Iterator[Trouble]:
        """What keeps newer rules from coming, or those in force from staying."""
        if silent > ALERT:
            yield Trouble(
                part="control",
                since=self._at(now - silent),
                what="control is not heard",
                why=self._border.trouble or "it says nothing",
                lost="nothing is lost: services go on until their `stale_for` ends, records wait here",
                hint="see that control runs; its own log says why it does not",
            )
            self._was_away = now
        elif now - max(self._rulebook.missed_since, self._was_away) > ALERT:
            yield Trouble(
                part="rules",
                since=self._at(self._rulebook.missed_since),
                what="control is heard, and newer rules cannot be had",
                why=self._rulebook.trouble[:300],
                lost="nothing is lost, but what was revoked since is good here until `stale_for` ends",
                hint="see the log of this gateway, its disk and release, and `freehold status` of control",
            )
        self._unkept_since = (self._unkept_since or now) if self._rulebook.not_kept else None
        if self._unkept_since is not None:
            yield Trouble(
                part="disk",
                since=self._at(self._unkept_since),
                what="the rules in force cannot be written to disk",
                why=self._rulebook.not_kept[:300],
                lost="nothing is lost: what is void is void here; a restart without control has older rules",
                hint="see the folder `snapshot` of the serving folder, and whether a gateway stands still",
            )

    def _of_records(self, now: float, *, away: bool) -> Iterator[Trouble]:
        """What keeps records from being written, taken in, or having room; `away`: control is not heard."""
        if (stuck := self._commits.stuck()) is not None:
            yield Trouble(
                part="records",
                since=self._at(now - stuck.seconds),
                what="nothing can be recorded, so nothing is answered",
                why=stuck.why,
                lost="nothing is lost: what was acknowledged is on disk, requests get 503",
                hint="free space or repair the disk of the serving folder; it goes on by itself",
            )
        if not away and (refused := self._shipping.trouble) is not None:
            yield Trouble(
                part="shipping",
                since=self._at(refused.since),
                what="control takes in no records",
                why=refused.why,
                lost="nothing is lost: they wait in this gateway's spool",
                hint="see the disk and the database of control",
            )
        if narrow := self._narrow():
            yield Trouble(
                part="room",
                since=self._at(self._narrow_since or now),
                what="there is little room left for records",
                why=narrow,
                lost="nothing is lost: when there is none, what has begun is recorded and nothing new begins",
                hint="free space on the disk of the serving folder, and see that control takes records in",
            )

    def _of_callers(self, now: float) -> Iterator[Trouble]:
        """What is kept for callers and cannot be taken away, and who comes without a valid key."""
        self._kept_since = (self._kept_since or now) if self._replays.trouble else None
        if self._kept_since is not None:
            yield Trouble(
                part="kept",
                since=self._at(self._kept_since),
                what="answers kept for repetition cannot be taken away",
                why=self._replays.trouble,
                lost="nothing is lost: what is over is given to nobody; who is forgotten is not certified",
                hint="see the folder `replays` of the serving folder, and its disk; it goes on by itself",
            )
        if (flooded := self.refusals.flooded_since) is not None:
            yield Trouble(
                part="strangers",
                since=self._at(flooded),
                what="many requests come without a valid key",
                why=f"{self.refusals.strangers} in a minute, at this process",
                lost="nothing is lost: each was refused before its body was read",
                hint="a proxy before this gateway knows where they come from; `/metrics` counts the reasons",
            )

    def _narrow(self) -> str:
        """What is nearly full; empty when nothing is."""
        try:
            room = self._room()
        except OSError:
            return ""  # a disk that cannot even be asked is told when a record is to be written
        filled = self._commits.filled()
        narrow = ""
        if filled >= NEARLY:
            narrow = f"{filled:.0%} of what may wait here does: control has not taken it in"
        elif room.used >= NEARLY and room.free < UNSHIPPED:
            narrow = f"the disk is {room.used:.0%} full, {room.free / 1e9:.1f} GB are left"
        self._narrow_since = (self._narrow_since or self._elapsed()) if narrow else None
        return narrow

    def _at(self, moment: float) -> int:
        """A moment of our own clock in microseconds UTC."""
        return self._clock() - int((self._elapsed() - moment) * 1_000_000)
