"""What is done while the power fails: a gateway's spool, control taking it in, the ledger, keys, objects.

    python work.py HOME SEED ANSWERS BATCH [without-sync] [normal]

The same parts as in an installation, in one process, because one disk fails for all of them. Whatever
counts as done for somebody outside is told to the recorder at that moment: an answer that may leave, an
entry that was confirmed, a checkpoint that was handed out, a key or an object that will be relied on.
`without-sync` and `normal` are what it must not be: no sync of the spool, SQLite's synchronous=NORMAL.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from freehold.app import open_parts
from freehold.control.ingest import take_in
from freehold.control.parts import Parts
from freehold.identity import projects
from freehold.ledger.record import record
from freehold.spec.answer import Close, Intent, Words
from freehold.spec.commitment import commitment
from freehold.spec.config import Config
from freehold.spec.ids import new_id, now
from freehold.spec.principal import SYSTEM, Principal
from freehold.store import hpke, rows
from freehold.store.frames import Mark
from freehold.store.home import Home
from freehold.store.sealed import seal
from freehold.store.spool import Note, Spool
from freehold.store.spooled import WORDS_KEY, Began, Box, Ended, matter_of, pack

GATEWAY = Principal(kind="machine", id="gateway", zone="border", key="key_border")
PROJECT = "claims"


class Work:
    """One thing after another, as chance wants it."""

    def __init__(self, parts: Parts, seed: int, batch: int) -> None:
        self._parts, self._ground, self._batch = parts, parts.ground, batch
        self._chance = random.Random(seed)
        self._mark = recorder()
        self._spool = Spool.create(parts.home.spool)
        self._private = parts.home.spool_key.read_bytes()
        self._key = os.urandom(32)
        self._sealed_key = hpke.seal_to(hpke.public_of(self._private), self._key, WORDS_KEY)
        self._people = [parts.ground.keyring.subject(PROJECT, f"c-{n}") for n in range(5)]
        self._open: list[str] = []
        self.answered = 0

    def go_on(self) -> None:
        """The next thing."""
        do, _ = self._chance.choices(_WEIGHTS, weights=[weight for _, weight in _WEIGHTS])[0]
        do(self)

    def _told(self, **what: object) -> None:
        """From now on somebody outside relies on it."""
        text = json.dumps(what).encode()
        self._mark(text, len(text))

    # -- the gateway ----------------------------------------------------------------------------------

    def answers(self) -> None:
        """Some begin, some end: as many records in one sync as had gathered."""
        some = self._chance.randint(1, self._batch)
        begun = [new_id("ans") for _ in range(some)]
        self._spool.commit([Note(pack(Began(self._intent(a))), Mark.BEGINS, matter_of(a)) for a in begun])
        self._told(begun=begun)
        self._open += begun
        ending, self._open = self._open[:some], self._open[some:]
        if self._chance.random() < 0.2:  # one is under way for longer
            self._open.append(ending.pop())
        if ending:
            self._spool.commit([Note(pack(self._ended(a)), Mark.ENDS, matter_of(a)) for a in ending])
            self._told(answered=ending)
            self.answered += len(ending)

    def ship(self) -> None:
        """Control takes some in; what it acknowledged is trimmed here."""
        frames = self._spool.read(self._spool.acknowledged, 1 << self._chance.randint(10, 20))
        taken = take_in(self._ground, by=GATEWAY, spool=self._spool.id, data=frames, private=self._private)
        self._spool.acknowledge(taken.sequence)

    def turn_over(self) -> None:
        self._spool.turn_over()

    def _intent(self, answer: str) -> Intent:
        return Intent(
            answer=answer,
            at=now(),
            project=PROJECT,
            service="triage",
            key="key_1",
            purpose="claims-handling",
            subject=self._chance.choice([None, *self._people]),
            release="rel_1",
            serving_digest="sha256:" + "a" * 64,
            snapshot=1,
            sandbox=False,
            request=commitment(bytes(16), "words"),
            request_id=None,
            trace=None,
            idempotency=None,
        )

    def _ended(self, answer: str) -> Ended:
        close = Close(
            answer=answer,
            at=now(),
            ending="answered",
            status=200,
            reason="ok",
            response=commitment(bytes(16), "answer"),
            tokens_in=5,
            tokens_out=2,
            estimated=True,
            micros=500,
            cost="0",
        )
        said = Words(answer=answer, request=answer.encode(), response=b'{"class":"water"}', salt="00" * 16)
        return Ended(
            close, Box(self._sealed_key, seal(self._key, msgspec.msgpack.encode(said), answer.encode()))
        )

    # -- control --------------------------------------------------------------------------------------

    def change(self) -> None:
        """A change of state with its entry, confirmed to whoever asked for it."""
        with self._ground.db.write() as tx:
            if self._chance.random() < 0.5:
                projects.add(tx, by=SYSTEM, name=f"p-{new_id('x')[-12:].lower()}")
            detail = {"name": "tariff", "digest": "sha256:" + os.urandom(32).hex()}
            entry = record(tx, "setting.changed", by=SYSTEM, object="tariff", detail=detail)
        self._told(entry=entry)

    def sequence(self) -> None:
        """Places, tiles, checkpoint; the checkpoint is handed out."""
        self._parts.sequencer.run_once()
        self._told(checkpoint=self._parts.sequencer.newest())

    def key(self) -> None:
        name = f"model/{new_id('mdl')}"
        (key,) = self._ground.keyring.ensure(name)
        self._told(key=name, is_=key.hex())

    def blob(self) -> None:
        data = os.urandom(self._chance.randint(1, 60_000))
        if self._chance.random() < 0.5:
            self._told(blob=self._ground.blobs.put(data))
            return
        path = self._parts.home.worker / "blob"
        path.write_bytes(data)
        self._told(blob=self._ground.blobs.put_file(path))

    def destroy(self) -> None:
        """As a forgetting does it: a key is dropped, the rest wrapped under a new epoch key."""
        name = f"model/{new_id('mdl')}"
        self._ground.keyring.ensure(name)
        self._ground.keyring.destroy([name])
        self._told(destroyed=name)


_WEIGHTS: tuple[tuple[Callable[[Work], None], int], ...] = (
    (Work.answers, 40),
    (Work.ship, 30),
    (Work.sequence, 12),
    (Work.change, 8),
    (Work.key, 4),
    (Work.blob, 3),
    (Work.turn_over, 2),
    (Work.destroy, 1),
)


def recorder() -> Callable[[bytes, int], None]:
    """Where the recorder takes what was told; nowhere where it is not loaded."""
    try:
        mark: Callable[[bytes, int], None] = ctypes.CDLL(None).freehold_mark
        return mark
    except AttributeError:
        return lambda _text, _length: None


def main(home: str, seed: str, answers: str, batch: str, *wrong: str) -> None:
    if "without-sync" in wrong:
        os.fdatasync = lambda fd: None
    if "normal" in wrong:
        vars(rows)["_WRITER"] = tuple(p.replace("=FULL", "=NORMAL") for p in rows._WRITER)
    with open_parts(Home(Path(home)), Config()) as parts:
        work = Work(parts, int(seed), int(batch))
        while work.answered < int(answers):
            work.go_on()


if __name__ == "__main__":
    main(*sys.argv[1:])
