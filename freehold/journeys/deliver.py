"""A data set becomes a served model.

::

    declare ─> pin ─> train ─> evaluate ─> approve ─> roll out (journeys.rollout)
                                  │           │           │
                                held        held     rolled back

Each step loads, computes, and returns what it changes; the runner applies that change, marks the step
and writes the entries in one transaction (`jobs.steps`). Ids are all that passes from step to step. A
gate that fails, or a person who refuses, ends the journey as *held*: model and card are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from freehold.data.versions import DataVersion
from freehold.engines import identity as engine
from freehold.engines import package
from freehold.evaluate import plan as evaluation
from freehold.jobs import outputs
from freehold.jobs.queue import Job, JobEnd, JobInput, JobRequest
from freehold.jobs.steps import (
    Apply,
    Done,
    Fails,
    Held,
    Moment,
    NeedsJob,
    Outcome,
    Result,
    Step,
    Story,
    Waits,
    leave_as_it_is,
)
from freehold.journeys import approvers, bases, cards, rules, runs
from freehold.journeys.candidate import model_of, serving_of, spec_of
from freehold.journeys.rollout import ROLL_OUT
from freehold.release import services, versions
from freehold.release.files import open_version
from freehold.spec.limits import seconds
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.service import Service
from freehold.spec.sizes import memory_bytes
from freehold.store.rows import Tx

# -- declare ----------------------------------------------------------------------------------------


def declare(moment: Moment) -> Outcome:
    """Write the service down. An existing one changes only when its release does."""
    service = spec_of(moment)
    with moment.ground.db.read() as conn:
        rules.refuse_lower_tier(conn, service)
        rules.refuse_fallback(conn, service)
    return Done(apply=lambda tx: _declare(tx, moment, service))


def _declare(tx: Tx, moment: Moment, service: Service) -> Result:
    services.declare(tx, by=moment.by, service=service, owner=service.owner)
    return {"service": service.service}


# -- pin --------------------------------------------------------------------------------------------


def pin(moment: Moment) -> Outcome:
    """Fix the data set versions, if they may be used for this purpose, here."""
    service = spec_of(moment)
    with moment.ground.db.read() as conn:
        data, golden = rules.pinned(conn, service, moment.config, moment.ground.clock())
        base = bases.named(conn, service)
    result: dict[str, Any] = {
        "data": _cited(data),
        "golden": {ref: _cited(version) for ref, version in golden.items()},
        "base": base.id if base else None,
    }
    return Done(apply=lambda _tx: result)


def _cited(version: DataVersion) -> dict[str, Any]:
    return {"id": version.id, "ref": version.ref, "digest": version.digest}


# -- train ------------------------------------------------------------------------------------------


def train(moment: Moment) -> Outcome:
    """Have a worker fit a candidate; then register what it left."""
    service = spec_of(moment)
    if moment.job is None:
        return _ask_for_training(moment, service)
    run = run_of(moment, "train")
    if (broken := broke(moment, moment.job, run)) is not None:
        return broken
    files = outputs.read_below(moment.ground, moment.job, "model")
    about = package.about_of(files, run=run)
    answers = engine.name_for(about)
    prepared = versions.prepare(
        moment.ground,
        project=service.project,
        name=service.service,
        run=run,
        about=about,
        files=files,
        engine=engine.engine(answers),
        flags=engine.flags(answers),
        sensitivity=int(Sensitivity.parse(service.sensitivity)),
        parent=moment.results["pin"].get("base"),
    )
    return Done(apply=lambda tx: _register(tx, moment, prepared, run))


def _ask_for_training(moment: Moment, service: Service) -> Outcome:
    request = training_request(moment, service)
    cited = moment.results["pin"]["data"]
    return NeedsJob(
        request=request,
        apply=lambda tx: runs.begin(tx, moment, kind="train", spec=request.spec, data=cited),
    )


def training_request(moment: Moment, service: Service) -> JobRequest:
    """What a worker is asked for, and gets to see."""
    with moment.ground.db.read() as conn:
        version, _ = rules.pinned(conn, service, moment.config, moment.ground.clock())
        base = bases.named(conn, service)
    plan = bases.plan(service, version, moment.config, base)
    return JobRequest(
        kind="train",
        spec=plan.spec,
        inputs=(_data_input("data.arrow", version, service), *bases.inputs(base)),
        memory=memory_bytes(service.model.memory),
        seconds=seconds(service.model.wall),
    )


def _register(tx: Tx, moment: Moment, prepared: versions.Prepared, run: str) -> Result:
    model = versions.register(tx, by=moment.by, prepared=prepared)
    end = end_of(moment)
    said = runs.end(tx, moment, run=run, state="done", job=end, metrics=end.result, model=model.id)
    return {**said, "model": model.id, "version": model.ref, "serving_digest": model.serving_digest}


def hold_candidate(moment: Moment) -> Apply:
    """The undo of training: the candidate stays, and can no longer be released."""
    done = moment.results.get("train", {})

    def apply(tx: Tx) -> Result:
        runs.close(moment, "train")(tx)
        model = done.get("model")
        if model and versions.find(tx.connection, str(model)).state not in ("retired", "forgotten"):
            versions.set_state(tx, by=moment.by, model=str(model), state="held", because="journey ended")
        return {}

    return apply


# -- evaluate ---------------------------------------------------------------------------------------


def evaluate(moment: Moment) -> Outcome:
    """Have a worker measure it; then write the card and judge the gates."""
    service = spec_of(moment)
    if moment.job is None:
        return _ask_for_evaluation(moment, service)
    run = run_of(moment, "evaluate")
    if (broken := broke(moment, moment.job, run)) is not None:
        return broken
    card = json.loads(outputs.read(moment.ground, moment.job, "card.json"))
    judged = rules.judge(service, card, serving_of(moment), moment.results["pin"].get("live"))
    model = model_of(moment)
    missed = [result for result in judged if not result.passed]
    because = "; ".join(f"gate {result.name}: {result.because}" for result in missed)

    def apply(tx: Tx) -> Result:
        issued = cards.issue(tx, moment, run=run, card=card, judged=judged)
        if missed:
            versions.set_state(tx, by=moment.by, model=model, state="held", because="a gate failed")
        else:
            versions.set_state(tx, by=moment.by, model=model, state="evaluated")
        return issued

    return Held(because=because, apply=apply) if missed else Done(apply=apply)


def _ask_for_evaluation(moment: Moment, service: Service) -> Outcome:
    with moment.ground.db.read() as conn:
        version, golden = rules.pinned(conn, service, moment.config, moment.ground.clock())
        base = bases.named(conn, service)
    plan = bases.plan(service, version, moment.config, base)
    live = moment.results["pin"].get("live")
    spec = evaluation.plan(service, run_spec=plan.spec, live=live)
    inputs = _model_inputs(moment, "model", model_of(moment))
    inputs += _model_inputs(moment, "live", str(live["model"])) if live else []
    if service.model.task == "generate":
        inputs += [*bases.inputs(base), *_live_base(moment, live)]
    inputs.append(_data_input("data.arrow", version, service))
    inputs += [_data_input(f"golden/{ref}.arrow", found, service) for ref, found in golden.items()]
    request = JobRequest(
        kind="evaluate",
        spec=spec,
        inputs=tuple(inputs),
        memory=memory_bytes(service.model.memory),
        seconds=seconds(service.model.wall),
    )
    cited = moment.results["pin"]["data"]
    return NeedsJob(
        request=request, apply=lambda tx: runs.begin(tx, moment, kind="evaluate", spec=spec, data=cited)
    )


def close_evaluation(moment: Moment) -> Apply:
    """The undo of measuring: a run under way is closed; a card that was issued stays, it is true."""
    return runs.close(moment, "evaluate")


# -- approve ----------------------------------------------------------------------------------------


def approve(moment: Moment) -> Outcome:
    """Wait for the people the service names; a sandbox that names none waits for nobody."""
    service = spec_of(moment)
    if not service.approve:
        return Done(apply=lambda _tx: {"approvals": []})
    with moment.ground.db.read() as conn:
        standing = approvers.standing(conn, moment, moment.ground.clock())
    if standing.refused:
        return Held(because=f"refused by {standing.refused[0].role}")
    if outdone := [approval for approval in standing.void if approval.state == "void"]:
        return Held(because=outdone[0].because)
    if standing.complete:
        ids = [approval.id for approval in standing.given]
        return Done(apply=lambda _tx: {"approvals": ids})
    return Waits(
        because=approvers.waits_for(moment, standing.waiting),
        people=True,
        apply=lambda tx: _request(tx, moment, service),
    )


def _request(tx: Tx, moment: Moment, service: Service) -> Result:
    evaluated, pinned_data = moment.results["evaluate"], moment.results["pin"]["data"]
    evidence = {
        "card": evaluated["card_digest"],
        "card_id": evaluated["card"],
        "gates": evaluated["gates"],
        "data": pinned_data["digest"],
        "data_ref": pinned_data["ref"],
        "spec": moment.journey.spec_digest,
        "tier": service.tier,
    }
    return {"approvals": approvers.ask(tx, moment, evidence)}


def void_approvals(moment: Moment) -> Apply:
    """The undo of asking: what nobody decided, nobody needs to decide any more."""

    def apply(tx: Tx) -> Result:
        approvers.void(tx, moment, "journey ended")
        return {}

    return apply


# -- the story --------------------------------------------------------------------------------------

DELIVER = Story(
    kind="deliver",
    steps=(
        Step(name="declare", does="write the service down", do=declare, undo=leave_as_it_is),
        Step(name="pin", does="fix the data", do=pin, undo=leave_as_it_is),
        Step(name="train", does="train a candidate", do=train, undo=hold_candidate),
        Step(name="evaluate", does="measure it, judge its gates", do=evaluate, undo=close_evaluation),
        Step(name="approve", does="wait for the approvers", do=approve, undo=void_approvals),
        *ROLL_OUT,
    ),
)

UNTIL = {"pinned": "pin", "trained": "train", "evaluated": "evaluate", "approved": "approve"}
"""Where `freehold apply --until` may end a delivery, and after which step that is."""


# -- small things -----------------------------------------------------------------------------------


def end_of(moment: Moment) -> JobEnd:
    """How this step's job ended."""
    return (moment.job.end if moment.job else None) or runs.NO_END


def run_of(moment: Moment, kind: str) -> str:
    with moment.ground.db.read() as conn:
        run = runs.of(conn, moment.journey.id, kind)
    assert run is not None, "the run is written in the transaction that asks for its job"
    return run


def broke(moment: Moment, job: Job, run: str) -> Outcome | None:
    """How the step fails when its job did; none when the job is done."""
    end = job.end
    if end is not None and end.state == "done":
        return None
    told = dict(end.failure) if end else {}
    code = str(told.get("code", "cancelled"))
    words = [str(told[part]) for part in ("what", "why", "hint") if told.get(part)]

    def apply(tx: Tx) -> Result:
        return runs.end(tx, moment, run=run, state="failed", job=end or runs.NO_END, metrics={}, because=code)

    return Fails(because=": ".join(words) or f"its job was {job.state}", code=code, apply=apply)


def _data_input(path: str, version: DataVersion, service: Service) -> JobInput:
    return JobInput(path=path, source=f"data:{version.id}:{service.purpose}")


def _live_base(moment: Moment, live: Mapping[str, Any] | None) -> tuple[JobInput, ...]:
    """The base of the live model, which may be another than the candidate's."""
    if live is None:
        return ()
    with moment.ground.db.read() as conn:
        base = versions.tuned_on(conn, str(live["model"]))
    return bases.files(moment.ground, base, "live-base") if base else ()


def _model_inputs(moment: Moment, folder: str, model: str) -> list[JobInput]:
    files = open_version(moment.ground, model).files
    return [JobInput(path=f"{folder}/{f.path}", source=f"model:{model}:{f.path}") for f in files]
