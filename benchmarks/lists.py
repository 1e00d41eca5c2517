"""How long any list takes with a million answers: every way of asking, over the wire, first page and deep.

Makes an installation with 1,000,000 answers and their 2,000,000 entries (rows and entries as ingestion
writes them, all at once; tiles and checkpoints by the sequencer), serves it on this machine, and asks each
list 40 times at changing places. Then the whole ledger is verified. Needs nothing from outside:

    python benchmarks/lists.py [HOW MANY] [FOLDER]

With FOLDER the installation is made there, or used again when it is there. Every figure is measured in
this run on this machine and written to benchmarks/results/.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import httpx
import sqlalchemy as sa
import uvicorn
from plot import Bar, bars

from freehold.app import open_parts
from freehold.console.site import mount
from freehold.control.server import build
from freehold.identity import first_run, keys, people, projects
from freehold.ledger.kinds import VERSION
from freehold.ledger.verify import Verdict, verify
from freehold.release.attach import Attachment, attach
from freehold.spec.config import Config
from freehold.spec.ids import canonical, now
from freehold.spec.merkle import leaf_hash
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.ground import Ground
from freehold.store.home import Home
from freehold.store.place import rows_of
from freehold.store.rows import Database

RESULTS = Path(__file__).parent / "results"
GOAL = 0.300
"""Seconds within which 95 of 100 pages have to come."""
TIMES = 40
BATCH = 20_000
SAMPLES = 1000
"""Answers that are asked about."""
DAY = 86_400_000_000
NOW = now()
PROJECTS = (("claims", 0.90), ("motor", 0.0999), ("travel", 0.0001))
Row = dict[str, Any]
ENDINGS = (("answered", 0.97), ("denied", 0.02), ("failed", 0.009), ("cut off", 0.001))


def main(many: int, folder: Path | None) -> int:
    random.seed(7)
    with tempfile.TemporaryDirectory() as temporary:
        home = Home(folder or Path(temporary) / "freehold.d")
        key = made(home, many)
        figures, verified = measured(home, key), {"first": looked(home), "again": looked(home)}
    written(many, figures, verified)
    slow = [name for name, one in figures.items() if one["p95"] > GOAL]
    print(f"slower than {GOAL * 1000:.0f} ms: {', '.join(slow) or 'none'}")
    return int(bool(slow))


# -- an installation with many answers ------------------------------------------------------------------


def made(home: Home, many: int) -> str:
    """The key of an auditor of an installation that has them."""
    kept = home.root / "auditor.key"
    if kept.exists():
        return kept.read_text()
    first_run.create(home, Config())
    with open_parts(home, Config()) as parts:
        auditor, serving = people_of(parts.ground.db)
        services_of(parts.ground)
        parts.sequencer.run_once()
        began = time.monotonic()
        with bulk(parts.ground.db) as connection:
            for first in range(0, many, BATCH):
                put(connection, range(first, min(many, first + BATCH)), many, serving)
                done = min(many, first + BATCH)
                print(f"\r{done:,} answers in {time.monotonic() - began:.0f} s", end="", flush=True)
        print(f", indexed after {time.monotonic() - began:.0f} s", end="", flush=True)
        parts.sequencer.run_once()
        print(f", signed after {time.monotonic() - began:.0f} s")
    kept.write_text(auditor)
    return auditor


def people_of(db: Database) -> tuple[str, list[str]]:
    """An auditor's key, and the ids of keys that answers are asked with."""
    with db.write() as tx:
        for name, _ in PROJECTS:
            projects.add(tx, by=SYSTEM, name=name)
        owner = people.add(tx, by=SYSTEM, email="auditor@example.org", roles=[("*", "auditor")]).id
        auditor = keys.create(tx, by=SYSTEM, owner=owner, zone="control").text
        serving = [
            keys.create(tx, by=SYSTEM, owner=owner, zone="serving", project=name).id
            for name, _ in PROJECTS
            for _ in range(7)
        ]
    return auditor, serving


def services_of(ground: Ground) -> None:
    """Services that have something to keep."""
    said: dict[str, Any] = {"purpose": "claims-handling", "url": "http://127.0.0.1:9", "model": "m"}
    said |= {"owner": "team@example.org", "objectives": ("99.5% answered", "95% within 800ms")}
    with ground.db.write() as tx:
        for project, which in product((name for name, _ in PROJECTS), range(5)):
            asked = Attachment(service=f"{project}-{which}", project=project, **said)
            attach(tx, ground, by=SYSTEM, asked=asked)


@contextmanager
def bulk(db: Database) -> Iterator[sa.Connection]:
    """A connection for very many rows: nothing is synced, and indexes are made once all are there."""
    indexes = [index for table in (tables.answers, tables.entries) for index in table.indexes]
    with db.writer_engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous=OFF")
        for index in indexes:
            index.drop(connection)
        yield connection
        for index in indexes:
            index.create(connection)
        connection.exec_driver_sql("PRAGMA synchronous=FULL")


def put(connection: sa.Connection, numbers: range, many: int, serving: Sequence[str]) -> None:
    """These answers, and their entries in their places."""
    last = connection.scalar(sa.select(sa.func.max(tables.ledger.c.ix)))
    begun = [an_answer(number, many, serving) for number in numbers]
    said = [entry for answer in begun for entry in entries_of(answer)]
    leaves = [(ix, entry[0], leaf_hash(entry[-1].encode())) for ix, entry in enumerate(said, (last or 0) + 1)]
    connection.exec_driver_sql("BEGIN")
    for table, names, rows in (
        ("answers", ANSWER, [tuple(answer.values()) for answer in begun]),
        ("entries", ENTRY, said),
        ("ledger", ("ix", "id", "leaf"), leaves),
    ):
        marks = ", ".join("?" * len(names))
        columns = ", ".join(f'"{name}"' for name in names)
        connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
    connection.exec_driver_sql("COMMIT")


ENTRY = ("id", "at", "kind", "actor", "project", "object", "body")
ANSWER = (
    "id", "project", "service", "release", "serving_digest", "key", "purpose", "subject", "ending",
    "reason", "status", "sandbox", "snapshot", "request_id", "request", "response", "tokens_in",
    "tokens_out", "estimated", "micros", "cost", "spool", "sequence", "at", "closed_at",
)  # fmt: skip


def an_answer(number: int, many: int, serving: Sequence[str]) -> dict[str, Any]:
    """A row as ingestion writes it, in the order of ANSWER."""
    at = NOW - 180 * DAY + number * (180 * DAY // many)
    project, which, chance = chosen(PROJECTS), random.randrange(5), os.urandom(80).hex()
    micros = random.randrange(1_000, 900_000)
    values = (
        id_at("ans", at), project, f"{project}-{which}", f"rel_{project}{which}{number * 3 // many}",
        "sha256:" + "a" * 64, random.choice(serving), "claims-handling", f"{random.randrange(10_000):064x}",
        chosen(ENDINGS), "ok", 200, False, 2, chance[:32], f"hmac-sha256:{chance[32:96]}",
        f"hmac-sha256:{chance[96:]}", 40, 60, False, micros, "0.0012", "spl_1",
        2 * number + 1, at, at + micros,
    )  # fmt: skip
    return dict(zip(ANSWER, values, strict=True))


BEGAN = (
    "service",
    "key",
    "purpose",
    "request",
    "snapshot",
    "subject",
    "release",
    "serving_digest",
    "sandbox",
)
ENDED = ("ending", "status", "reason", "response", "tokens_in", "tokens_out", "estimated", "micros", "cost")


def entries_of(a: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Its two entries as ingestion writes them, in the order of ENTRY."""
    turns = (("answer.intent", BEGAN, a["at"]), ("answer.close", ENDED, a["closed_at"]))
    for sequence, (kind, names, at) in enumerate(turns, a["sequence"]):
        entry, detail = id_at("ent", at), {name: a[name] for name in names}
        said = {
            "v": VERSION,
            "id": entry,
            "at": at,
            "kind": kind,
            "actor": "gateway",
            "key": "-",
            "project": a["project"],
            "object": a["id"],
            "request": a["request_id"],
            "trace": None,
            "detail": {**detail, "answer": a["id"], "spool": a["spool"], "sequence": sequence},
        }
        yield entry, at, kind, "gateway", a["project"], a["id"], canonical(said).decode()


def chosen(shares: Sequence[tuple[str, float]]) -> str:
    drawn = random.random()
    for name, share in shares[:-1]:
        drawn -= share
        if drawn < 0:
            return name
    return shares[-1][0]


_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_CHANCE = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _DIGITS)


def id_at(prefix: str, at: int) -> str:
    """An id as if it had been made at a time: 50 bits of milliseconds, then 80 of chance."""
    millis = at // 1000
    moment = "".join(_DIGITS[(millis >> shift) & 31] for shift in range(45, -1, -5))
    return f"{prefix}_{moment}{base64.b32encode(os.urandom(10)).decode().translate(_CHANCE)}"


# -- asking ---------------------------------------------------------------------------------------------


@contextmanager
def served(home: Home) -> Iterator[str]:
    with open_parts(home, Config()) as parts, socket.create_server(("127.0.0.1", 0)) as listening:
        app = build(parts)
        mount(app, parts)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def measured(home: Home, key: str) -> dict[str, dict[str, float]]:
    """Seconds of each list: median, 95th of 100, slowest."""
    samples = somewhere(home)
    with served(home) as url, httpx.Client(base_url=url, timeout=120, trust_env=False) as http:
        log_in(http, key)
        api = {"authorization": f"Bearer {key}"}
        found = {}
        for name, ask in LISTS.items():
            seconds = []
            for _ in range(TIMES):
                path, params = ask(random.choice(samples))
                began = time.perf_counter()
                answer = http.get(path, params=params, headers=api if path.startswith("/api") else {})
                seconds.append(time.perf_counter() - began)
                assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
            seconds.sort()
            p95 = seconds[-(-TIMES * 95 // 100) - 1]
            found[name] = {"p50": seconds[TIMES // 2], "p95": p95, "max": seconds[-1]}
            print(
                f"{name:<52} p50 {seconds[TIMES // 2] * 1000:7.1f} ms  p95 {p95 * 1000:7.1f} ms", flush=True
            )
        return found


def somewhere(home: Home) -> list[Row]:
    """Answers from anywhere in the time there is: what is asked about, and how deep."""
    database, id = rows_of(home, read_only=True), tables.answers.c.id
    every = sa.select(tables.answers).limit(1)
    with database.read() as connection:
        first, last = (connection.execute(every.order_by(way)).one().at for way in (id, id.desc()))
        times = [random.randint(first, last) for _ in range(SAMPLES)]
        leaps = (every.where(id >= id_at("ans", at)[:14]).order_by(id) for at in times)
        found = [dict(connection.execute(leap).mappings().one()) for leap in leaps]
    database.close()
    return found


def log_in(http: httpx.Client, key: str) -> None:
    page = http.get("/log-in").text
    token = page.partition('name="form" value="')[2].partition('"')[0]
    said = http.post("/log-in", data={"form": token, "key": key, "next": "/"})
    assert said.status_code == 303, said.text[:300]


Ask = Callable[[Row], tuple[str, dict[str, Any]]]


def day(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M", time.gmtime(at / 1_000_000))


def a(path: str, **params: Any) -> Ask:
    """A list whose parameters may depend on a sample, or on chance."""
    return lambda row: (
        path,
        {name: value(row) if callable(value) else value for name, value in params.items()},
    )


LISTS: dict[str, Ask] = {
    "api answers": a("/api/answers"),
    "api answers, deep": a("/api/answers", after=lambda r: r["id"]),
    "api answers of a small project": a("/api/answers", project="travel"),
    "api answers of a service": a("/api/answers", service="motor-3"),
    "api answers, failed": a("/api/answers", ending="failed"),
    "api answers of a release": a("/api/answers", release=lambda r: r["release"]),
    "api answers of a release, cut off": a("/api/answers", release="rel_claims20", ending="cut off"),
    "api answers about a person": a("/api/answers", subject=lambda r: r["subject"]),
    "api answer": lambda r: (f"/api/answers/{r['id']}", {}),
    "api why": lambda r: (f"/api/why/{r['id']}", {}),
    "api entries": a("/api/entries"),
    "api entries, deep": a("/api/entries", older=lambda r: f"{r['at']}.ent_x"),
    "api entries of an object": a("/api/entries", object=lambda r: r["id"]),
    "api entries by the gateway": a("/api/entries", actor="gateway"),
    "api entries by control": a("/api/entries", actor="control"),
    "api entries by control, closes": a("/api/entries", actor="control", kind="answer.close"),
    "api entries of a kind": a("/api/entries", kind="answer.close"),
    "api entries of a rare kind": a("/api/entries", kind="project.added"),
    "api entries of a small project": a("/api/entries", project="travel"),
    "api entries of an hour": a("/api/entries", since=lambda r: r["at"], until=lambda r: now()),
    "api status": a("/api/status"),
    "api status of a service": a("/api/status/claims-2"),
    "api journeys": a("/api/journeys"),
    "api runs": a("/api/runs"),
    "console first page": a("/"),
    "console answers": a("/answers"),
    "console answers, deep": a("/answers", older=lambda r: f"{r['at']}.ans_x"),
    "console answers of a service, failed": a("/answers", service="claims-1", ending="failed"),
    "console answers of a key": a("/answers", key=lambda r: r["key"]),
    "console answers since a day": a("/answers", since=lambda r: day(r["at"])),
    "console answer": lambda r: (f"/answers/{r['id']}", {}),
    "console ledger": a("/ledger"),
    "console ledger, deep": a("/ledger", older=lambda r: f"{r['at']}.ent_x"),
    "console ledger of an object": a("/ledger", object=lambda r: r["id"]),
    "console ledger by an actor, of a kind": a("/ledger", actor="gateway", kind="answer.intent"),
    "console services": a("/services"),
    "console service": a("/services/claims-2"),
    "console runs": a("/runs"),
    "console models": a("/models"),
    "console data": a("/data"),
}


# -- verifying --------------------------------------------------------------------------------------------


def looked(home: Home) -> dict[str, Any]:
    """How long the ledger takes to hash, and all of `freehold verify`: in a process of its own, as there."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        verdict, seconds, worked = alone.submit(verified, home).result()
    verdict.raise_if_broken()
    found = {
        "entries": verdict.entries,
        "hashing_seconds": verdict.seconds,
        "leaves_per_second": round(verdict.entries / verdict.seconds),
        "all_seconds": round(seconds, 2),
        "all_processor_seconds": round(worked, 2),
    }
    print(f"verify: {found['leaves_per_second']:,} leaves/s, all of it {seconds:.1f} s")
    return found


def verified(home: Home) -> tuple[Verdict, float, float]:
    """The verdict, and the seconds it took: on the clock, and of processor time."""
    began, worked = time.perf_counter(), time.process_time()
    verdict = verify(home)
    return verdict, time.perf_counter() - began, time.process_time() - worked


# -- results ------------------------------------------------------------------------------------------------


def written(many: int, figures: dict[str, dict[str, float]], verdict: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    told = {
        "answers": many,
        "goal_p95_seconds": GOAL,
        "lists": {name: {k: round(v, 5) for k, v in one.items()} for name, one in figures.items()},
        "verify": verdict,
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "load": round(os.getloadavg()[0], 2),
    }
    (RESULTS / "lists.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    rows = [
        Bar(name=name, value=one["p95"] * 1000, said=f"{one['p95'] * 1000:.1f} ms")
        for name, one in sorted(figures.items(), key=lambda item: -item[1]["p95"])
    ]
    rows.append(Bar(name="what we promise", value=GOAL * 1000, said=f"{GOAL * 1000:.0f} ms", peer=True))
    title = f"Every list with {many:,} answers"
    bars(RESULTS / "lists.svg", title, "95 of 100 pages came within, SQLite, over HTTP", rows)


if __name__ == "__main__":
    asked = sys.argv[1:]
    sys.exit(main(int(asked[0]) if asked else 1_000_000, Path(asked[1]) if len(asked) > 1 else None))
