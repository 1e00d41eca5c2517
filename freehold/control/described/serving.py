"""Answers about services, and what runs and is made for them."""

from __future__ import annotations

from typing import Any, Literal

from freehold.control.described.fields import Closed, Open


class ReleaseTold(Open):
    """A release: traffic for a model version on a service."""

    id: str
    state: str
    weight: int
    serving_digest: str
    model: str | None
    journey: str | None
    approvals: list[Any]
    because: str | None
    created_at: int
    ended_at: int | None


class ServiceTold(Open):
    """A service, with the releases that get traffic."""

    name: str
    project: str
    kind: Literal["own", "attached"]
    purpose: str
    tier: str
    state: str
    owner: str
    sensitivity: str
    stopped_by: str | None
    changed_at: int
    provider: dict[str, Any] | None
    running: list[ReleaseTold]


class ObjectiveTold(Closed):
    """How a service keeps an objective; the figures are none where nothing counts."""

    objective: str
    share: str
    within_micros: int | None
    over_seconds: int
    counted: int
    bad: int
    reached: float | None
    left: float | None
    """Of the error budget: 1 all of it, below 0 overspent."""
    pace: float | None
    """Of the last hour: at 1 the budget lasts for just its time."""
    state: Literal["kept", "missed", "no verdict"]


class ServiceShown(ServiceTold):
    """A service with its declaration, how it keeps it, and every release there was."""

    declared: dict[str, Any]
    objectives: list[ObjectiveTold]
    releases: list[ReleaseTold]


class ServiceTurned(Closed):
    """A service that was stopped or resumed; `applied` says whether every gateway has heard."""

    service: str
    state: Literal["stopped", "live"]
    snapshot: int
    applied: bool


class ApprovalTold(Open):
    """A signature that was asked for; `not_you` says why whoever asks may not give it."""

    id: str
    project: str
    service: str
    model: str
    serving_digest: str
    role: str
    state: str
    requested_by: str
    requested_at: int
    decided_by: str | None
    decided_at: int | None
    expires_at: int | None
    because: str | None
    journey: str | None
    not_you: str


class ModelTold(Open):
    """A model version."""

    model: str
    id: str
    project: str
    kind: str
    task: str
    run: str | None
    digest: str
    serving_digest: str
    state: str
    because: str
    created_at: int
    data: str
    sensitivity: str


class JourneyTold(Open):
    """A long story: deliver, retrain, forget."""

    id: str
    kind: str
    project: str
    service: str | None
    state: str
    because: str
    until: str | None
    spec: str
    created_at: int
    ended_at: int | None


class BaseTold(Open):
    """A base model."""

    ref: str
    id: str
    project: str
    digest: str
    state: str
    source: str
    role: str
    bytes: int
    sensitivity: str
    created_at: int


class JourneyStopped(Closed):
    """A journey that turns round."""

    journey: str
    state: Literal["stopping"]
