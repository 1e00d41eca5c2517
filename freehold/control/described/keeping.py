"""Answers about what is kept and let go, what it costs, and who hears of it."""

from __future__ import annotations

from typing import Literal

from freehold.control.described.fields import Closed, row_of
from freehold.control.spent import Spent
from freehold.store import tables


@row_of(tables.backups)
class BackupRow(Closed):
    """A backup."""


class BackupSaid(Closed):
    """A backup that was confirmed or crossed out, and its entry."""

    backup: str
    entry: str


class KeyringRotated(Closed):
    """How many keys a new epoch key wraps, which one it is, and the entry that says so."""

    keys: int
    epoch: str
    entry: str


class RuleTold(Closed):
    """How long something is kept."""

    what: Literal["runs", "words"]
    purpose: str | None
    sensitivity: str | None
    keep: str
    set_at: int


class HoldTold(Closed):
    """A legal hold with its reason; of a person only that it is one."""

    id: str
    what: str
    object: str
    because: str | None
    placed_by: str
    placed_at: int
    ended_at: int | None


class HoldNamed(Closed):
    """A legal hold that was begun or ended."""

    hold: str


class ConsentSaid(Closed):
    """What a word about consent changed, and in how many rows of which versions the person stands."""

    changed: bool
    state: str
    subject: str
    purpose: str
    stands_in: dict[str, int]
    applied: bool


class JourneyNamed(Closed):
    """The journey that was begun or joined."""

    journey: str


class EnergyTold(Closed):
    """Watt-hours by model, how they were estimated, and by what."""

    models: list[Spent]
    method: str
    label: Literal["estimated"]
    watts_per_core: float
    grams_per_kwh: float


class ChannelTold(Closed):
    """Where notices go."""

    id: str
    kind: Literal["webhook", "mail"]
    to: str
    signed: str


class Waiting(Closed):
    """Notices in one state."""

    state: str
    because: str
    count: int


class ChannelsTold(Closed):
    """Every channel, what is under way, and the key that verifies signatures."""

    channels: list[ChannelTold]
    verify_with: str
    outbox: list[Waiting]


class ChannelRemoved(Closed):
    """A channel that gets no more notices."""

    removed: str
