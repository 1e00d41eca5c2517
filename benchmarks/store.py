"""What an answer takes on the disk: rows, ledger, keys; beside the words themselves.

Answers as a gateway spools them, taken in by control, placed and signed in the ledger. Half are about a
person (one of a thousand), half about nobody; several services and purposes. Nothing is timed: bytes are
the same on a busy machine.

    python benchmarks/store.py --answers 20000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from freehold.app import open_parts
from freehold.control.ingest import take_in
from freehold.identity import first_run, projects
from freehold.spec.answer import Close, Intent, Words
from freehold.spec.commitment import commitment
from freehold.spec.config import Config
from freehold.spec.ids import new_id
from freehold.spec.principal import SYSTEM, Principal
from freehold.store import hpke
from freehold.store.home import Home
from freehold.store.sealed import seal
from freehold.store.spool import Note, Spool
from freehold.store.spooled import WORDS_KEY, Began, Box, Ended, pack

GATEWAY = Principal(kind="machine", id="gateway", zone="border", key="key_border")
KINDS = {"a class for a short text": (120, 60), "a chat of some sentences": (900, 1500)}
"""What is asked and answered, in bytes."""
RESULT = Path(__file__).parent / "results" / "store.json"
AT_ONCE = 500
DAY = 86_400_000_000


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--answers", type=int, default=20_000)
    asked.add_argument("--out", type=Path, default=RESULT)
    given = asked.parse_args()
    said = {kind: measure(given.answers, *sizes) for kind, sizes in KINDS.items()}
    given.out.write_text(json.dumps({"answers": given.answers, "kinds": said}, indent=2) + "\n")
    for kind, one in said.items():
        print(kind)
        for name, value in one.items():
            print(f"  {name:<32} {value:>8}")


def measure(count: int, request: int, response: int) -> dict[str, Any]:
    """Bytes an answer, by where they lie."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "fh")
        first_run.create(home, Config())
        with open_parts(home, Config()) as parts:
            with parts.ground.db.write() as tx:
                projects.add(tx, by=SYSTEM, name="claims")
            before = sizes(home)
            write(parts, home, count, request, response)
            while parts.sequencer.run_once():
                pass
            parts.ground.db.settle()
            after = sizes(home)
    words = request + response
    each = {name: round((after[name] - before[name]) / count, 1) for name in after}
    total = round(sum(each.values()), 1)
    return {
        "the words themselves": words,
        **each,
        "together": total,
        "beside the words": round(total - words, 1),
    }


def sizes(home: Home) -> dict[str, int]:
    return {
        "rows": home.database.stat().st_size,
        "ledger (tiles)": sum(p.stat().st_size for p in home.ledger.rglob("*") if p.is_file()),
        "keys": home.keyring.stat().st_size,
    }


def write(parts: Any, home: Home, count: int, request: int, response: int) -> None:
    """Spool and take in, some hundred answers at a time, over ten days."""
    draw = random.Random(7)
    spool = Spool.create(home.spool)
    private = home.spool_key.read_bytes()
    key = os.urandom(32)
    sealed = hpke.seal_to(hpke.public_of(private), key, WORDS_KEY)
    subjects = [parts.ground.keyring.subject("claims", f"person {n}") for n in range(1000)]
    begun = parts.ground.clock()
    for start in range(0, count, AT_ONCE):
        notes = []
        for number in range(start, min(start + AT_ONCE, count)):
            answer, at = new_id("ans"), begun + number * 10 * DAY // count
            subject = draw.choice(subjects) if number % 2 else None
            words = Words(
                answer=answer,
                request=draw.randbytes(request // 2).hex().encode(),
                response=draw.randbytes(response // 2).hex().encode(),
                salt="00" * 16,
            )
            notes += [
                Note(pack(Began(intent(answer, at, subject, number, words.request)))),
                Note(pack(Ended(close(answer, at, words.response), box(key, sealed, words)))),
            ]
        spool.commit(notes)
        while data := spool.read(spool.acknowledged, 1 << 20):
            taken = take_in(parts.ground, by=GATEWAY, spool=spool.id, data=data, private=private)
            spool.acknowledge(taken.sequence)


def box(key: bytes, sealed: bytes, words: Words) -> Box:
    return Box(sealed, seal(key, msgspec.msgpack.encode(words), words.answer.encode()))


def intent(answer: str, at: int, subject: str | None, number: int, asked: bytes) -> Intent:
    return Intent(
        answer=answer,
        at=at,
        project="claims",
        service=f"service-{number % 5}",
        release="rel_0123456789abcdef",
        serving_digest="sha256:" + "ab" * 32,
        key=f"key_{number % 20:016d}",
        purpose=("claims-handling", "fraud-detection")[number % 2],
        subject=subject,
        sandbox=False,
        snapshot=12,
        request_id=None,
        idempotency=None,
        trace=f"00-{'ab' * 16}-{'cd' * 8}-01",
        request=commitment(bytes(16), asked),
    )


def close(answer: str, at: int, answered: bytes) -> Close:
    return Close(
        answer=answer,
        at=at + 40_000,
        ending="answered",
        status=200,
        reason="ok",
        response=commitment(bytes(16), answered),
        tokens_in=40,
        tokens_out=12,
        estimated=False,
        micros=40_000,
        cost="0.0001",
    )


if __name__ == "__main__":
    main()
