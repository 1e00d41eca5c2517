"""What has to hold of a service before anything is computed, and of a card before it counts.

Shared by the journey and by its plan, so that a plan refuses what the journey would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from freehold.data import use
from freehold.data.versions import DataVersion
from freehold.errors import Conflict, Refused, Tampered
from freehold.evaluate import gates
from freehold.release import fallbacks, roll, versions
from freehold.release.views import guard_view
from freehold.spec.config import Config
from freehold.spec.plain import plain
from freehold.spec.rollout import stages
from freehold.spec.sensitivity import Sensitivity, of_derivative
from freehold.spec.service import Service
from freehold.spec.snapshot import ServiceView
from freehold.store.tables import data_versions, runs, services
from freehold.train.plan import DataFacts

TIERS = ("sandbox", "limited", "high")


class TierLowered(Refused):
    """`{service}` is {before} and cannot become {after}"""


class LessSensitive(Refused):
    """`{service}` may not be {sensitivity}"""


class NoLiveModel(Conflict):
    """`{service}` has no live model of ours to retrain"""


class OtherInputs(Refused):
    """a canary of `{service}` would read other inputs than the live model"""


class CardWrong(Tampered):
    """the card of the evaluation cannot be believed"""


def refuse_lower_tier(conn: sa.Connection, service: Service) -> None:
    """Who is used to approved answers must not get others under the same name. Raises TierLowered."""
    released = sa.and_(services.c.name == service.service, services.c.state != "new")
    before = conn.scalar(sa.select(services.c.tier).where(released))
    if before in TIERS and TIERS.index(service.tier) < TIERS.index(str(before)):
        raise TierLowered(
            service=service.service,
            before=before,
            after=service.tier,
            why="whoever asks it relies on the approvals it had",
            hint="give the new service another name",
        )


def refuse_fallback(conn: sa.Connection, service: Service) -> None:
    """Whoever is to stand in is there, and may. Raises BadFallback, FallbackRefused."""
    guard = plain(service.guard)
    fallbacks.check(
        conn,
        ServiceView(
            name=service.service,
            project=service.project,
            purpose=service.purpose,
            sensitivity=int(Sensitivity.parse(service.sensitivity)),
            tier=service.tier,
            subject=service.subject,
            kind="own",
            task=service.model.task,
            state="live",
            regions=service.regions,
            fallback=service.serve.fallback,
            guard_in=guard_view({"guard": guard}, "in"),
            guard_out=guard_view({"guard": guard}, "out"),
        ),
    )


def pinned(
    conn: sa.Connection, service: Service, config: Config, at: int
) -> tuple[DataVersion, dict[str, DataVersion]]:
    """What it learns from, and the golden sets of its gates, when all may be used so, and here.

    Raises what `data.use.pin` raises, and LessSensitive.
    """
    refs = sorted({gate.against for gate in service.gates.values()} - {"held-out"})
    where = tuple(dict.fromkeys((*service.regions, config.region)))
    found = {
        ref: use.pin(conn, service.project, ref, purpose=service.purpose, regions=where, at=at)
        for ref in [service.model.data, *refs]
    }
    needed = of_derivative(Sensitivity(version.sensitivity) for version in found.values())
    if Sensitivity.parse(service.sensitivity) < needed:
        raise LessSensitive(
            service=service.service,
            sensitivity=service.sensitivity,
            why=f"what it learns from is {needed.word}, and a model is as sensitive as its data",
            hint=f"write `sensitivity: {needed.word}`",
        )
    return found[service.model.data], {ref: found[ref] for ref in refs}


def live_model(conn: sa.Connection, service: Service, data: DataVersion) -> dict[str, Any]:
    """The live model as a candidate that learns from `data` is compared with it. Raises NoLiveModel.

    `split` says which rows it held out, where it learned from the same data set: only then are the keys
    that decide it the same.
    """
    live = roll.live(conn, service.service)
    if live is None or live["model"] is None:
        raise NoLiveModel(service=service.service, hint="`freehold apply` with its file brings a first one")
    version = versions.find(conn, live["model"])
    learned = conn.execute(
        sa.select(runs.c.spec, data_versions.c.dataset)
        .join(data_versions, data_versions.c.id == runs.c.data_version)
        .where(runs.c.id == version.run)
    ).first()
    known = learned is not None and learned.dataset == data.dataset
    settings = json.loads(learned.spec)["settings"] if known and learned else {}
    return {
        "model": version.id,
        "ref": version.ref,
        "serving_digest": version.serving_digest,
        "release": live["id"],
        "split": {name: settings[name] for name in ("seed", "held_out") if name in settings},
    }


def refuse_other_inputs(conn: sa.Connection, service: Service, spec: Mapping[str, Any]) -> None:
    """Callers of a canary do not know that it is one. Raises OtherInputs when it reads other inputs."""
    live = roll.live(conn, service.service)
    if live is None or live["model"] is None or not stages(service.serve.rollout)[0].seconds:
        return
    inputs = tuple((column["name"], column["datatype"]) for column in spec["inputs"])
    if (spec["task"], inputs) != versions.reads(conn, live["model"]):
        raise OtherInputs(
            service=service.service,
            why="a share of the callers would get errors",
            hint="write `rollout: [100%]`, and tell the callers",
        )


def facts(version: DataVersion) -> DataFacts:
    """A data set version as training's plan wants it."""
    return DataFacts(
        ref=version.ref,
        digest=version.digest,
        rows=version.rows,
        columns={column.name: column.type for column in version.features},
        target=version.target,
        text=version.text,
    )


def judge(
    service: Service, card: Mapping[str, Any], serving_digest: str, live: Mapping[str, Any] | None
) -> tuple[gates.GateResult, ...]:
    """The gates, judged here once more: what a job says of itself is no evidence.

    `live` is the model the card has to compare with, in a retraining. Raises CardWrong when the card is
    about another model, or judges otherwise than its figures do.
    """
    if card["model"]["serving_digest"] != serving_digest:
        raise CardWrong(why="it is about another model than the one that was trained")
    compared = (card.get("against_live") or {}).get("serving_digest")
    if compared != (live["serving_digest"] if live else None):
        raise CardWrong(why="it does not compare with the live model")
    judged = gates.judge(card, service.gates)
    if [result.as_card() for result in judged] != card["gates"]:
        raise CardWrong(why="its gates do not follow from its figures")
    return judged
