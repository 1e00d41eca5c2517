"""A world to run journeys in without processes: one ground, jobs done on the spot, people who agree.

Faults are put in by name: before a step does anything, within its transaction, or after its commit.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import postgres_server
import sqlalchemy as sa

from freehold.app import ENTRIES
from freehold.control import keeping
from freehold.data import readmission, retention, versions
from freehold.errors import Failure, Unavailable
from freehold.identity import first_run, people, projects
from freehold.jobs import outputs, queue, steps
from freehold.jobs.folder import JobFolder
from freehold.jobs.queue import Job, JobEnd
from freehold.jobs.runner import Runner
from freehold.jobs.steps import Moment, Outcome, Step, Story
from freehold.jobs.worker import read_plain
from freehold.journeys import forget
from freehold.journeys.inputs import lay_out
from freehold.journeys.stories import STORIES
from freehold.ledger.record import record
from freehold.release import approvals
from freehold.release.publish import publish_first
from freehold.release.words import setting
from freehold.spec.config import Config
from freehold.spec.ids import canonical, digest, digest_bytes, now
from freehold.spec.plain import plain
from freehold.spec.principal import SYSTEM, Principal
from freehold.spec.reading import read_service
from freehold.store import contents, tables
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.home import Home
from freehold.store.keyring import Keyring
from freehold.store.migrate import open_database
from freehold.store.place import postgres_of
from freehold.store.rows import Database, Tx
from freehold.store.signing import load_key_file
from tests.support.claims import add_claims

KEPT_JOBS: dict[str, tuple[dict[str, Any], dict[str, bytes]]] = {}
"""What a job came to, by what it was asked and what it saw: training is the same every time."""


class PowerCut(BaseException):
    """The process is gone at this point."""


class Later:
    """The time, and how much of it was skipped."""

    def __init__(self) -> None:
        self.skipped = 0

    def __call__(self) -> int:
        return now() + self.skipped


class Lively(Database):
    """A database in which a commit can be the last thing that happens."""

    after_commit: Callable[[], None] = staticmethod(lambda: None)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        with super().write() as tx:
            yield tx
        self.after_commit()


def make_template(folder: Path) -> Home:
    """An installation with a project, people and a data set, to be copied."""
    home = Home(folder / "template")
    first_run.create(home, Config())
    world = World(home)
    with world.ground.db.write() as tx:
        projects.add(tx, by=SYSTEM, name="claims")
        for name, role in (("trainer", "trainer"), ("risk", "model-risk"), ("privacy", "data-protection")):
            people.add(tx, by=SYSTEM, email=f"{name}@example.org", roles=[("claims", role)])
    world.add_data(180, 7)
    world.close()
    return home


def make_live(template: Home, folder: Path, spec: str) -> Home:
    """The same installation a while later: the service is live, and its data has a second version."""
    world = World(copy_of(template, folder))
    assert world.run(world.begin(spec)) == "done"
    world.add_data(240, 8)
    world.close()
    return world.home


def copy_of(template: Home, folder: Path, *, living: bool = False) -> Home:
    return postgres_server.copied(template, folder / "fh", living=living)


def open_ground(home: Home) -> Ground:
    open_database(home).close()
    url = postgres_of(home)
    db = Lively(url, Later()) if url else Lively.at(home.database, Later())
    with db.read() as conn:
        origin = setting(conn, "origin")
    return Ground(
        db=db,
        keyring=Keyring(home.keyring, home.epoch_key),
        blobs=FileBlobs(home.blobs),
        release_key=load_key_file(home.release_key),
        origin=origin,
        clock=db.clock,
    )


class World:
    """Everything a journey touches."""

    def __init__(self, home: Home, ground: Ground | None = None) -> None:
        self.home = home
        self.ground = ground or open_ground(home)
        self.db = self.ground.db
        self.ring = self.ground.keyring
        publish_first(self.ground)
        self.stories: dict[str, Story] = dict(STORIES)
        self.skips = True
        """Whether the time of a canary is skipped when nothing else is left to do."""
        self.runner = self.new_runner()

    def close(self) -> None:
        self.ring.close()
        self.db.close()

    def new_runner(self) -> Runner:
        """As after a restart: nothing is remembered."""
        self.runner = Runner(self.ground, Config(), self.stories)
        return self.runner

    def add_data(self, rows: int, seed: int) -> None:
        add_claims(self.ground, rows, seed)

    def person(self, name: str) -> Principal:
        with self.db.read() as conn:
            found = people.find(conn, f"{name}@example.org")
        return Principal(
            kind="person", id=found.id, zone="control", key="key_x", roles=frozenset(found.roles)
        )

    # -- journeys -----------------------------------------------------------------------------------

    def begin(self, text: str, until: str | None = None, *, kind: str = "deliver") -> str:
        service = read_service(text)
        with self.db.write() as tx:
            return steps.begin(
                tx,
                self.stories[kind],
                by=self.person("trainer"),
                project=service.project,
                service=service.service,
                spec=plain(service),
                until=until,
            )

    def state(self, journey: str) -> steps.Journey:
        with self.db.read() as conn:
            return steps.find(conn, journey)

    def step(self, journey: str, name: str) -> steps.StepState:
        with self.db.read() as conn:
            return next(s for s in steps.step_states(conn, journey) if s.name == name)

    def run(self, journey: str, *, agree: bool = True, rounds: int = 60) -> str:
        """Until the journey has ended or nobody moves it; its state."""
        for _ in range(rounds):
            moved = self.runner.run_once()
            moved += self.work()
            moved += self.decide() if agree else 0
            self.report()
            moved += self.runner.run_once()
            if self.state(journey).state in steps.ENDED or not (moved or self.watched(journey)):
                break
        return self.state(journey).state

    def watched(self, journey: str) -> bool:
        """Skip an hour where a canary, shadow or A/B test is watched and nothing else is left to do."""
        with self.db.read() as conn:
            states = steps.step_states(conn, journey)
        watched = [s for s in states if s.name in ("compare", "watch", "judge")]
        at = next((s for s in watched if s.state == "waiting"), None)
        if not self.skips or at is None or "since" not in at.result or "stopped" in at.because:
            return False
        if "judged" in at.result:
            return False  # its time is over: it waits for people
        self.skip(3600)
        return True

    def skip(self, seconds: int) -> None:
        assert isinstance(self.ground.clock, Later)
        self.ground.clock.skipped += seconds * 1_000_000

    def retrain(self, text: str, until: str | None = None) -> str:
        """A retraining, as control would begin it."""
        return self.begin(text, until, kind="retrain")

    def forget(self, person: str) -> str:
        """A forgetting, as control would begin it."""
        subject = self.ring.subject("claims", person)
        with self.db.write() as tx:
            return forget.begin(
                tx, by=self.person("privacy"), project="claims", subject=subject, request="DSR-1"
            )

    def readmit(self, person: str) -> str:
        """Let in again, as control would, for what the data set of this world is for."""
        with self.db.read() as conn:
            declared = versions.find(conn, "claims", "claims@1").declared
        terms = readmission.settle(declared.basis, declared.purposes, "CONTRACT-7")
        subject, by = self.ring.subject("claims", person), self.person("privacy")
        with self.db.write() as tx:
            return readmission.readmit(tx, self.ring, by=by, project="claims", subject=subject, terms=terms)

    def answered(self, answer: str, about: str | None = None, **said: str) -> None:
        """An answer with words, as ingestion leaves it; about a person where `about` names one."""
        at, asked = self.ground.clock(), {"service": "claims-triage", "purpose": "claims-handling", **said}
        subject = self.ring.subject("claims", about) if about else None
        key = contents.key_name("claims", subject, at)
        period = contents.Period.of("claims", asked["service"], asked["purpose"], at)
        self.ring.ensure(key, period.key)
        row = {
            "id": answer, "project": "claims", "key": "key_1", "subject": subject, "ending": "answered",
            "reason": "ok", "status": 200, "sandbox": False, "snapshot": 1, "request": "-", "tokens_in": 3,
            "tokens_out": 5, "cost": "0", "estimated": False, "spool": "s1", "sequence": 1, "at": at, **asked,
        }  # fmt: skip
        with self.db.write() as tx:
            tx.execute(tables.answers.insert().values(row))
            for part in contents.PARTS:
                sealed = contents.seal_words(self.ring, key, period, answer, part, f"{answer} said".encode())
                words = {"answer": answer, "part": part, "key": key, "sealed": sealed}
                tx.execute(tables.contents.insert().values(words))
            intent = {"answer": answer, "key": "key_1", "request": "-", "snapshot": 1, **asked}
            close = {"answer": answer, "ending": "answered", "status": 200, "reason": "ok"}
            close |= {"tokens_in": 3, "tokens_out": 5, "cost": "0"}
            for kind, detail in (("answer.intent", intent), ("answer.close", close)):
                record(tx, kind, by=SYSTEM, object=answer, project="claims", detail=detail)

    def words(self, answer: str) -> str | None:
        """What was asked, as far as anybody can read it."""
        part = (tables.contents.c.answer == answer) & (tables.contents.c.part == "request")
        with self.db.read() as conn:
            row = conn.execute(sa.select(tables.contents).where(part)).first()
        return row and contents.open_words(self.ring, row.key, answer, "request", row.sealed).decode()

    def keep(self, words: str, **only: str) -> None:
        """A rule of retention for words."""
        with self.db.write() as tx:
            retention.set_rule(tx, by=self.person("privacy"), project="claims", keep_for=words, **only)

    def purge(self) -> str:
        """A purge, as the clock begins it."""
        (journey,) = keeping.begin_due(self.ground)
        return journey

    def purge_of_everything(self) -> str:
        """Words and rows, four years later."""
        self.keep("90d")
        self.answered("ans_a", "c-7")
        self.answered("ans_b")
        self.skip(4 * 366 * 86_400)
        return self.purge()

    def rebuild(self, person: str) -> str:
        """The rebuild that a forgetting asks for, not moved yet."""
        forgetting = self.forget(person)
        while self.step(forgetting, "revoke").state != "done":
            self.runner.advance(forgetting)
        (rebuilt,) = self.step(forgetting, "revoke").result["rebuilds"]
        return str(rebuilt)

    def run_all(self) -> None:
        """Whatever else is under way, to its end."""
        with self.db.read() as conn:
            left = steps.active(conn)
        for journey in left:
            self.run(journey)

    def work(self) -> int:
        """Do the jobs that wait, as a worker would."""
        done = 0
        while (job := queue.claim(self.db, by=SYSTEM, worker="w-1", kinds=list(ENTRIES))) is not None:
            self._do(job)
            done += 1
        return done

    def _do(self, job: Job) -> None:
        folder = JobFolder.create(self.home.worker / job.id, job.request.spec)
        for one in job.request.inputs:
            place = self.home.worker / "laid"
            place.mkdir(exist_ok=True)
            laid = lay_out(self.ground, job, one.path, place)
            target = folder.inputs / one.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(laid.path, target)
        end = self._end_of(job, folder)
        folder.remove()
        with self.db.write() as tx:
            queue.end(tx, by=SYSTEM, job=job.id, fence=job.fence, end=end)

    def _end_of(self, job: Job, folder: JobFolder) -> JobEnd:
        try:
            result, files = _computed(job, folder)
        except Failure as failure:
            return JobEnd(state="failed", failure=failure.told())
        kept = {path: outputs.keep(self.ground, job.id, path, data) for path, data in files.items()}
        return JobEnd(state="done", result=result, outputs=kept, cpu_seconds=1.0, wall_seconds=1.0)

    def decide(self, *, give: bool = True) -> int:
        with self.db.read() as conn:
            waiting = approvals.listed(conn, self.ground.clock(), state="waiting")
        for approval in waiting:
            who = self.person("risk" if approval.role == "model-risk" else "privacy")
            with self.db.write() as tx:
                approvals.decide(
                    tx, self.ground, by=who, approval=approval.id, give=give, because="seen the card"
                )
            if not give:
                break
        return len(waiting)

    def report(self, word: str = "ready") -> None:
        """What a gateway would say of the newest snapshot."""
        with self.db.read() as conn:
            ix = conn.scalar(sa.select(sa.func.max(tables.snapshots.c.ix)))
            running = tables.releases.c.state.in_(("shadow", "canary", "ab", "live"))
            digests = conn.scalars(sa.select(tables.releases.c.serving_digest).where(running)).all()
        said = canonical(dict.fromkeys(digests, word)).decode()
        with self.db.write() as tx:
            tx.execute(tables.gateways.delete())
            tx.execute(tables.gateways.insert().values(id="g", applied=ix, engines=said, seen_at=tx.at))

    # -- what came of it ----------------------------------------------------------------------------

    def sum(self) -> dict[str, Any]:
        """How much of everything there is, and in which state: what must be the same however it came."""
        counted: dict[str, Any] = {}
        with self.db.read() as conn:
            for table in (t for t in tables.metadata.sorted_tables if "operational" not in t.info):
                if table.name in ("entries", "settings", "answers"):
                    continue
                state = table.c.state if "state" in table.c else sa.literal("-")
                rows = conn.execute(sa.select(state, sa.func.count()).group_by(state)).all()
                counted[table.name] = {str(word): count for word, count in rows}
            kinds = conn.scalars(sa.select(tables.entries.c.kind)).all()
        counted["entries"] = {k: n for k, n in Counter(kinds).items() if k != "journey.step"}
        return counted


def _computed(job: Job, folder: JobFolder) -> tuple[dict[str, Any], dict[str, bytes]]:
    seen = {p: digest_bytes(data) for p, data in read_plain(folder.inputs)}
    asked = digest({"kind": job.kind, "spec": dict(job.request.spec), "seen": seen})
    if asked not in KEPT_JOBS:
        module, _, name = ENTRIES[job.kind].partition(":")
        result = getattr(import_module(module), name)(folder)
        KEPT_JOBS[asked] = (result, dict(read_plain(folder.outputs)))
    return KEPT_JOBS[asked]


# -- faults -----------------------------------------------------------------------------------------


@dataclass
class Fault:
    """Strikes once, at one step."""

    step: str
    kind: str
    struck: int = 0

    def put_into(self, world: World, story: str) -> None:
        told = world.stories[story]
        changed = tuple(self._around(world, s) if s.name == self.step else s for s in told.steps)
        world.stories[story] = replace(told, steps=changed)
        world.new_runner()

    def _around(self, world: World, step: Step) -> Step:
        def do(moment: Moment) -> Outcome:
            if self.kind == "it did not happen" and self._strikes():
                raise Unavailable(what="the disk is away")
            if self.kind == "it is asked twice":
                step.do(moment)
                self.struck = 1
            outcome = step.do(moment)
            if self.kind == "the power fails before the commit":
                return replace(outcome, apply=self._cut(outcome.apply))
            if self.kind == "the power fails after the commit" and self.struck == 0:
                _lively(world).after_commit = lambda: self._cut_after(world)
            return outcome

        return replace(step, do=do)

    def _strikes(self) -> bool:
        self.struck += 1
        return self.struck == 1

    def _cut(self, apply: steps.Apply) -> steps.Apply:
        def cut(tx: Tx) -> steps.Result:
            result = apply(tx)
            if self._strikes():
                raise PowerCut
            return result

        return cut

    def _cut_after(self, world: World) -> None:
        _lively(world).after_commit = lambda: None
        self.struck = 1
        raise PowerCut


def _lively(world: World) -> Lively:
    assert isinstance(world.db, Lively)
    return world.db
