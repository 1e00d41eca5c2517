"""After the cut: everything is opened as an installation opens it, and looked at whole."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from freehold.app import open_parts
from freehold.control.ingest import take_in
from freehold.control.parts import Parts
from freehold.errors import Failure
from freehold.gateway.shipping import take_spools
from freehold.ledger.verify import verify
from freehold.spec.config import Config
from freehold.spec.ids import now
from freehold.store import contents, tables
from freehold.store.home import Home
from freehold.store.keyring import KeyDestroyed
from freehold.store.sealed import SealBroken
from tests.durability.work import GATEWAY

ALARMS = {"spool.gap", "spool.unbegun", "spool.unreadable"}
OPENED = 300
"""Answers whose words are opened at most: the newest and some others."""


@dataclass(slots=True)
class Told:
    """What somebody outside relies on at a moment."""

    begun: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    entries: set[str] = field(default_factory=set)
    checkpoint: str | None = None
    keys: dict[str, str] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)

    def take(self, text: bytes) -> None:
        said = json.loads(text)
        self.begun.update(said.get("begun", ()))
        self.answered.update(said.get("answered", ()))
        self.entries.update([said["entry"]] if "entry" in said else [])
        self.checkpoint = said.get("checkpoint", self.checkpoint)
        self.keys.update({said["key"]: said["is_"]} if "key" in said else {})
        self.destroyed.update([said["destroyed"]] if "destroyed" in said else [])
        self.blobs.update([said["blob"]] if "blob" in said else [])

    @property
    def records(self) -> int:
        """How many records were acknowledged: beginnings, ends, entries."""
        return len(self.begun) + len(self.answered) + len(self.entries)


@dataclass(slots=True)
class Found:
    """What a look found: nothing lost and nothing wrong is what it should be."""

    lost: int = 0
    """Records that were acknowledged and are not there."""
    wrong: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return not self.lost and not self.wrong


def look(folder: Path, told: Told) -> Found:
    """Open what the cut left in `folder`, go on as after a restart, and compare with what was told."""
    found = Found()
    home = Home(folder)
    try:
        with open_parts(home, Config()) as parts:
            found.wrong += _go_on(parts)
            _compare(parts, told, found)
        found.wrong += [f"{b.place}: {b.why}" for b in verify(home, told.checkpoint).broken]
    except Failure as failure:
        found.wrong.append(f"it does not open: {failure.code}: {failure.what}: {failure.why}")
        found.lost = found.lost or told.records
    return found


def _go_on(parts: Parts) -> list[str]:
    """The next gateway takes the spool and ships what is left; the ledger goes on."""
    private = parts.home.spool_key.read_bytes()
    own, others = take_spools(parts.home.spool, now)
    for spool in (own, *others):
        while spool.acknowledged < spool.durable:
            frames = spool.read(spool.acknowledged)
            taken = take_in(parts.ground, by=GATEWAY, spool=spool.id, data=frames, private=private)
            spool.acknowledge(taken.sequence)
        spool.close()
    parts.sequencer.run_once()
    return [f"{path.name} was set aside" for path in parts.home.spool.glob("damaged-*")]


def _compare(parts: Parts, told: Told, found: Found) -> None:
    answers, entries = tables.answers.c, tables.entries.c
    with parts.ground.db.read() as conn:
        ended = {row.id: row.ending for row in conn.execute(sa.select(answers.id, answers.ending))}
        kinds = {row.id: row.kind for row in conn.execute(sa.select(entries.id, entries.kind))}
    found.lost += len(told.begun - ended.keys()) + len(told.entries - kinds.keys())
    found.lost += sum(ended.get(answer) != "answered" for answer in told.answered)
    found.wrong += [f"`{kind}` stands in the ledger" for kind in sorted(ALARMS.intersection(kinds.values()))]
    found.wrong += [f"{answer} never ended" for answer, ending in ended.items() if ending is None]
    _words(parts, sorted(told.answered & ended.keys()), found)
    for name, key in told.keys.items():
        if parts.ground.keyring.known([name]).get(name, b"").hex() != key:
            found.wrong.append(f"the key {name} is not what it was")
    for name in told.destroyed:
        if parts.ground.keyring.known([name]):
            found.wrong.append(f"the key {name} is back")
    for digest in told.blobs:
        try:
            parts.ground.blobs.get(digest)
        except Failure as failure:
            found.wrong.append(f"the object {digest}: {failure.code}")


def _words(parts: Parts, answered: list[str], found: Found) -> None:
    """What was said is there, and opens."""
    some = {*answered[-OPENED // 2 :], *random.Random(7).sample(answered, min(len(answered), OPENED // 2))}
    c = tables.contents.c
    query = sa.select(c.answer, c.key, c.sealed).where(c.part == "request", c.answer.in_(sorted(some)))
    with parts.ground.db.read() as conn:
        rows = conn.execute(query).all()
    found.wrong += [f"the words of {answer} are gone" for answer in some - {row.answer for row in rows}]
    for answer, key, sealed in rows:
        try:
            said = contents.open_words(parts.ground.keyring, key, answer, "request", sealed)
        except (KeyDestroyed, SealBroken) as failure:
            found.wrong.append(f"the words of {answer} do not open: {type(failure).__name__}")
        else:
            found.wrong += [f"the words of {answer} are others"] if said != answer.encode() else []
