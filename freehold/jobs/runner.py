"""Moves journeys on, one step at a time, until each is at its end or waits. A thread of control."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa

from freehold.errors import Failure, Unavailable
from freehold.jobs import outputs, queue, steps
from freehold.jobs.child import whereabouts
from freehold.jobs.steps import (
    ACTIVE,
    FORWARD,
    Done,
    Fails,
    Held,
    Journey,
    Moment,
    NeedsJob,
    Outcome,
    Overtaken,
    StepState,
    Story,
    Waits,
)
from freehold.ledger.record import record
from freehold.spec.config import Config
from freehold.spec.ids import canonical
from freehold.spec.principal import SYSTEM
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import journeys
from freehold.store.tables import steps as table

MOVING = 1.0
"""Seconds between looks while a journey is under way: a rollout goes on when its time has come."""
STANDING = 10.0
"""Seconds between looks while people are waited for, or nobody: what they do is told."""
TOLD = frozenset({"approvals", "gateways", "jobs", "journeys", "releases", "services", "steps"})
"""The tables that say what a step may wait for."""
TRIES = 8
"""A step that cannot be done now is tried again, with growing pauses, for about four minutes from when it
last got anywhere: the rounds of one that has much to do are no tries in vain."""
LONGEST_PAUSE = 60.0

_log = logging.getLogger(__name__)


class Runner:
    """Knows the stories and moves every journey that can be moved."""

    def __init__(
        self,
        ground: Ground,
        config: Config,
        stories: Mapping[str, Story],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._leads = leads
        """Whether it is this one's turn, of several controls on one database; asked before each look."""
        self._ground = ground
        self._config = config
        self._stories = stories
        self._by = SYSTEM
        self._pause: dict[str, float] = {}
        self._vain: dict[str, int] = {}
        """How often in a row a journey could not be moved."""
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._cleared = False
        self._look_again = MOVING

    def start(self) -> None:
        """Run from now on, in a thread of its own."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the step that is under way, then end the thread."""
        self._stopping.set()
        self._woken.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def nudge(self) -> None:
        """Something happened: look now."""
        self._woken.set()

    def _loop(self) -> None:
        with self._ground.db.changes.telling(TOLD, self._woken.set):
            while not self._stopping.is_set():
                self._woken.clear()
                self._attempt()
                self._woken.wait(self._look_again)

    def _attempt(self) -> None:
        """One look at everything; who does not lead tries again soon."""
        self._look_again = MOVING
        try:
            if self._leads():
                self.run_once()
                self._look_again = self._pace()
        except Exception as error:  # the database is away or full: nothing moved, nothing is lost
            _log.error("journeys stand still: %s", _label(error))
            self._stopping.wait(1.0)

    def _pace(self) -> float:
        """How soon to look again when nothing is told."""
        with self._ground.db.read() as conn:
            return MOVING if steps.moving(conn) else STANDING

    def run_once(self) -> int:
        """Move everything as far as it goes now; how many steps were taken."""
        queue.take_back_lost(self._ground.db)
        with self._ground.db.read() as conn:
            waiting = steps.active(conn)
        taken = sum(self._run(journey) for journey in waiting)
        if taken or not self._cleared:
            self._clear(waiting if self._cleared else None)
        return taken

    def _clear(self, of: Collection[str] | None) -> None:
        """What jobs left is needed until their journey has ended, and no longer; of all when we begin."""
        with self._ground.db.read() as conn:
            left = queue.of_ended_journeys(conn, steps.ENDED, of)
        outputs.drop(self._ground, left)
        self._cleared = True

    def _run(self, journey: str) -> int:
        taken = 0
        while not self._stopping.is_set() and self._pause.get(journey, 0.0) <= time.monotonic():
            try:
                if not self.advance(journey):
                    break
            except Overtaken:
                break  # somebody stopped it, or another control was quicker
            except Exception as error:  # one journey that breaks must not keep the others
                _log.error("journey %s stands still: %s", journey, _label(error))
                self._pause[journey] = time.monotonic() + 5.0
                break
            taken += 1
        return taken

    # -- one step ---------------------------------------------------------------------------------

    def advance(self, journey: str) -> bool:
        """Take one step forward, or one back; False when there is nothing to do now."""
        with self._ground.db.read() as conn:
            now = steps.find(conn, journey)
            states = steps.step_states(conn, journey)
        if now.state not in ACTIVE:
            return False
        if now.state not in FORWARD:
            return self._go_back(now, states)
        todo = next((s for s in states if s.state != "done"), None)
        if todo is None:
            return self._finish(now, "done", "")
        return self._go_on(now, states, todo)

    def _go_on(self, now: Journey, states: list[StepState], todo: StepState) -> bool:
        moment = self._moment(now, states, todo)
        if moment is None:
            return False  # its job is under way
        step = self._stories[now.kind].step(todo.name)
        outcome = self._try(moment, lambda: step.do(moment))
        if outcome is None:
            return False
        if isinstance(outcome, Waits) and _waits_already(todo, now, outcome):
            self._vain.pop(now.id, None)
            return False
        applied = self._try(moment, lambda: self._commit(now, todo, outcome))
        if isinstance(applied, Fails) and applied is not outcome:  # what it would have changed is refused
            self._commit(now, todo, applied)
        return applied is not None and not isinstance(applied, Waits | NeedsJob)

    def _commit(self, now: Journey, todo: StepState, outcome: Outcome) -> Outcome:
        with self._ground.db.write() as tx:
            self._apply(tx, now, todo, outcome)
        self._vain.pop(now.id, None)
        return outcome

    def _moment(self, now: Journey, states: list[StepState], todo: StepState) -> Moment | None:
        with self._ground.db.read() as conn:
            job = queue.of_step(conn, now.id, todo.name)
        if job is not None and job.state in ("queued", "claimed"):
            return None
        return Moment(
            ground=self._ground,
            config=self._config,
            journey=now,
            step=todo.name,
            results={s.name: s.result for s in states if s.state == "done"},
            attempts=todo.attempts,
            job=job,
            so_far=todo.result,
            by=self._by,
        )

    def _try(self, moment: Moment, call: Callable[[], Outcome]) -> Outcome | None:
        """What comes of it; a failure as an outcome; none when it is to be tried again later."""
        try:
            outcome = call()
        except Overtaken:
            raise
        except Unavailable as failure:
            return self._again(moment, failure)
        except Failure as failure:
            return Fails(because=_said(failure), code=failure.code)
        except Exception as error:
            _log.error("step %s of %s broke: %s", moment.step, moment.journey.id, whereabouts(error))
            return self._again(moment, BrokenStep(step=moment.step, why=whereabouts(error)))
        self._pause.pop(moment.journey.id, None)
        return outcome

    def _again(self, moment: Moment, failure: Failure) -> Outcome | None:
        self._count(moment)
        tried = self._vain[moment.journey.id] = self._vain.get(moment.journey.id, 0) + 1
        if tried >= TRIES:
            return Fails(because=_said(failure), code=failure.code)
        self._pause[moment.journey.id] = time.monotonic() + min(0.5 * 2**tried, LONGEST_PAUSE)
        return None

    def _count(self, moment: Moment) -> None:
        """One more failed attempt, kept in the row; also the fence against a second control."""
        with self._ground.db.write() as tx:
            self._mark(tx, moment.journey, moment.step, moment.attempts, "todo", "tried in vain")

    # -- writing ----------------------------------------------------------------------------------

    def _apply(self, tx: Tx, now: Journey, todo: StepState, outcome: Outcome) -> None:
        """The change, the step's mark, the journey's state and the entries: together or not at all."""
        if isinstance(outcome, NeedsJob):
            queue.enqueue(tx, by=self._by, journey=now.id, step=todo.name, request=outcome.request)
        result = outcome.apply(tx)
        state, because = _mark_of(outcome)
        self._mark(tx, now, todo.name, todo.attempts, state, because, result)
        journey_state, word = _journey_of(outcome, now, todo.name)
        if journey_state != now.state or (word and word != now.because):
            self._set(tx, now, journey_state, word)

    def _mark(
        self,
        tx: Tx,
        now: Journey,
        step: str,
        attempts: int,
        state: str,
        because: str,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        changed = tx.execute(
            table.update()
            .where(table.c.journey == now.id, table.c.name == step, table.c.attempts == attempts)
            .where(table.c.journey.in_(_in_state(now)))
            .values(
                state=state,
                because=because,
                attempts=attempts + 1,
                result=table.c.result if result is None else canonical(result).decode(),
                started_at=_coalesce(tx.at),
                ended_at=tx.at if state in ("done", "failed", "undone") else None,
            )
        )
        if not changed.rowcount:
            raise Overtaken(journey=now.id)
        detail = {"journey": now.id, "step": step, "state": state}
        record(tx, "journey.step", by=self._by, object=now.id, project=now.project, detail=detail)

    def _set(self, tx: Tx, now: Journey, state: str, because: str) -> None:
        ended = tx.at if state not in ACTIVE else None
        changed = tx.execute(
            journeys.update()
            .where(journeys.c.id == now.id, journeys.c.state == now.state)
            .values(state=state, because=because, ended_at=ended)
        )
        if not changed.rowcount:
            raise Overtaken(journey=now.id)
        if ended is not None:
            detail = {"journey": now.id, "state": state}
            record(tx, "journey.ended", by=self._by, object=now.id, project=now.project, detail=detail)
            self._stories[now.kind].tells(tx, now, state)

    def _finish(self, now: Journey, state: str, because: str) -> bool:
        with self._ground.db.write() as tx:
            self._set(tx, now, state, because)
        return True

    # -- going back -------------------------------------------------------------------------------

    def _go_back(self, now: Journey, states: list[StepState]) -> bool:
        """Undo the last step that is done or was begun; at the beginning the journey is at its end."""
        last = next((s for s in reversed(states) if s.state in ("done", "waiting")), None)
        if last is None:
            return self._finish(now, "failed" if now.state == "failing" else "stopped", now.because)
        moment = self._moment(now, states, last)
        if moment is None:
            return False  # its job is being stopped
        apply = self._stories[now.kind].step(last.name).undo(moment)
        with self._ground.db.write() as tx:
            result = {**last.result, **apply(tx)}
            self._mark(tx, now, last.name, last.attempts, "undone", "", result)
        return True


class BrokenStep(Failure):
    """the step `{step}` broke"""


def _label(error: Exception) -> str:
    return error.code if isinstance(error, Failure) else whereabouts(error)


def _said(failure: Failure) -> str:
    return failure.what + (f": {failure.why}" if failure.why else "")


def _waits_already(todo: StepState, now: Journey, outcome: Waits) -> bool:
    state = "waiting" if outcome.people else "running"
    return todo.state == "waiting" and todo.because == outcome.because and now.state == state


def _mark_of(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Done():
            return "done", ""
        case Waits():
            return "waiting", outcome.because
        case NeedsJob():
            return "waiting", "a worker computes"
        case Held() | Fails():
            return "failed", outcome.because


def _journey_of(outcome: Outcome, now: Journey, step: str) -> tuple[str, str]:
    match outcome:
        case Done() if now.until == step:
            return "done", f"until {step}"
        case Waits() if outcome.people:
            return "waiting", outcome.because
        case Held():
            return "held", outcome.because
        case Fails():
            return "failing", outcome.because
        case _:
            return "running", ""


def _in_state(now: Journey) -> Any:
    return sa.select(journeys.c.id).where(journeys.c.id == now.id, journeys.c.state == now.state)


def _coalesce(at: int) -> Any:
    return sa.func.coalesce(table.c.started_at, at)
