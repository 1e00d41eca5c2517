"""The base model a service is tuned from: found, allowed, handed to the job."""

from __future__ import annotations

import sqlalchemy as sa

from freehold.data.versions import DataVersion
from freehold.engines import identity
from freehold.errors import Conflict
from freehold.jobs.queue import JobInput
from freehold.journeys import rules
from freehold.journeys.rules import LessSensitive
from freehold.release import bases
from freehold.release.bases import BaseModel
from freehold.spec.config import Config
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.service import Service
from freehold.store.ground import Ground
from freehold.train import plan as training


class BaseRetired(Conflict):
    """`{base}` may not be tuned any more"""


def named(conn: sa.Connection, service: Service) -> BaseModel | None:
    """The base the service names; none where it names none. Raises NotFound, BaseRetired, LessSensitive."""
    if not service.model.base:
        return None
    base = bases.find(conn, service.project, service.model.base)
    if base.state != "ready":
        raise BaseRetired(base=base.ref, why=f"it is {base.state}", hint="name another version")
    if Sensitivity.parse(service.sensitivity) < base.sensitivity:
        raise LessSensitive(
            service=service.service,
            sensitivity=service.sensitivity,
            why=f"its base model is {base.sensitivity.word}, and a model is as sensitive as its base",
            hint=f"write `sensitivity: {base.sensitivity.word}`",
        )
    return base


def inputs(base: BaseModel | None) -> tuple[JobInput, ...]:
    """Its files, as a job gets them."""
    if base is None:
        return ()
    return tuple(
        JobInput(path=f"base/{entry.path}", source=f"base:{base.digest}:{entry.path}") for entry in base.files
    )


def files(ground: Ground, digest: str, folder: str) -> tuple[JobInput, ...]:
    """The files of a base that is known by its digest, as a job gets them. Raises NotFound."""
    return tuple(
        JobInput(path=f"{folder}/{entry.path}", source=f"base:{digest}:{entry.path}")
        for entry in bases.open_base(ground, digest).files
    )


def plan(service: Service, data: DataVersion, config: Config, base: BaseModel | None) -> training.TrainPlan:
    """What training would do, with the base the service names.

    Raises what `train.plan` raises, and NotInstalled where what would answer is not here.
    """
    if service.model.task == "generate":
        identity.flags("torch")
        identity.engine("torch")
    return training.plan(service, data=rules.facts(data), config=config, base=base.as_base if base else None)
