"""What control answers, field by field, for its description at `/api/openapi.json`.

Only described: routes answer plain data, and nothing here is called when they do. Whether they answer so is
found out by `tests/control/test_described.py`, which asks them everything. Rows are described by their
tables. What is `Open` has fields of its own kind beside those that are always there.
"""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from freehold.control.controls import Proved
from freehold.control.spent import Spent
from freehold.store import tables

_REF = "#/components/schemas/{model}"


class Closed(BaseModel):
    """These fields, always, and no others."""

    model_config = ConfigDict(extra="forbid")


class Open(BaseModel):
    """These fields always, and others with them."""

    model_config = ConfigDict(extra="allow")


def row_of(name: str, table: sa.Table) -> type[BaseModel]:
    """A row of a table as it is answered."""
    fields: dict[str, Any] = {
        column.name: (column.type.python_type | None if column.nullable else column.type.python_type, ...)
        for column in table.columns
    }
    return create_model(name, __base__=Closed, **fields)


# -- people, projects, keys -----------------------------------------------------------------------------


class RoleTold(Closed):
    """A role, and where: a project, or `*` for the installation."""

    project: str
    role: str


class PersonTold(Closed):
    """A person, with the roles that whoever asks may see."""

    id: str
    email: str
    state: Literal["active", "locked"]
    roles: list[RoleTold]
    created_at: int
    """Microseconds UTC, as every time here."""


class MeTold(PersonTold):
    """Who a key signs in, and what they may do where."""

    key: str
    expires_at: int | None
    may: dict[str, list[str]]


class PersonAdded(PersonTold):
    """A new person; the text of their key is told this once."""

    key: str
    key_text: str
    expires_at: int | None


class PersonLocked(PersonTold):
    """A person who may not sign in any more."""

    voided: list[str]
    applied: bool


class KeyTold(Closed):
    """A key without its text."""

    id: str
    zone: Literal["control", "serving"]
    owner: str
    project: str | None
    services: list[str]
    purpose: str | None
    label: str
    limits: str | None
    guard: list[str]
    sensitivity: str | None
    state: Literal["active", "expired", "revoked"]
    expires_at: int | None
    created_at: int


class KeyRevoked(KeyTold):
    """A key that is void; `applied` says whether every gateway has heard."""

    applied: bool


class KeyMade(Closed):
    """A new key; its text is told this once."""

    id: str
    key_text: str
    expires_at: int | None
    voided: list[str]
    applied: bool


class GuardRule(Closed):
    """What a project's services are guarded by at least."""

    purpose: str | None
    sensitivity: str
    guard: list[str]


class ProjectTold(Closed):
    """A project."""

    name: str
    timezone: str
    currency: str
    state: str
    created_at: int
    limits: str
    guards: list[GuardRule]


class ProjectChanged(ProjectTold):
    """A project, and whether every gateway has heard."""

    applied: bool


# -- services and what runs -----------------------------------------------------------------------------


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


class ServiceShown(ServiceTold):
    """A service with its declaration and every release there was."""

    declared: dict[str, Any]
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


# -- records --------------------------------------------------------------------------------------------

AnswerRow = row_of("AnswerRow", tables.answers)


class AnswersPage(Closed):
    """Records, oldest first; `next` continues behind them."""

    answers: list[AnswerRow]  # type: ignore[valid-type]
    next: str | None


AnswerShown = create_model(
    "AnswerShown", __base__=AnswerRow, ledger=(dict[str, int | None], ...), __doc__="A record and its places."
)


class WordsTold(Closed):
    """What was asked and answered; none for what was not kept, or can no longer be opened."""

    answer: str
    asked: str | None
    answered: str | None


class EntryTold(Open):
    """An entry of the ledger as it was hashed, and its place: none while it waits for one."""

    ix: int | None
    id: str
    at: int
    kind: str
    actor: str
    object: str
    project: str | None
    detail: dict[str, Any]
    v: int


class EntriesPage(Closed):
    """Entries, newest first; `next` continues behind them."""

    entries: list[EntryTold]
    next: str | None


# -- incidents ------------------------------------------------------------------------------------------

IncidentTold = row_of("IncidentTold", tables.incidents)


class IncidentsPage(Closed):
    """Incidents, newest first; `next` continues behind them."""

    incidents: list[IncidentTold]  # type: ignore[valid-type]
    next: str | None


IncidentClosed = create_model(
    "IncidentClosed",
    __base__=IncidentTold,
    applied=(bool, ...),
    __doc__="An incident that is closed; `applied` says whether every gateway has heard.",
)


class KeyUnlocked(Closed):
    """A key that nothing holds back any more, and the incidents that did; these are closed."""

    key: str
    closed: list[str]
    applied: bool


# -- keeping --------------------------------------------------------------------------------------------

BackupRow = row_of("BackupRow", tables.backups)


class BackupSaid(Closed):
    """A backup that was confirmed or crossed out, and its entry."""

    backup: str
    entry: str


class KeyringRotated(Closed):
    """How many keys a new epoch key wraps, which one it is, and the entry that says so."""

    keys: int
    epoch: str
    entry: str


class RuleTold(Closed):
    """How long something is kept."""

    what: Literal["runs", "words"]
    purpose: str | None
    sensitivity: str | None
    keep: str
    set_at: int


class HoldTold(Closed):
    """A legal hold with its reason; of a person only that it is one."""

    id: str
    what: str
    object: str
    because: str | None
    placed_by: str
    placed_at: int
    ended_at: int | None


class HoldNamed(Closed):
    """A legal hold that was begun or ended."""

    hold: str


class ConsentSaid(Closed):
    """What a word about consent changed, and in how many rows of which versions the person stands."""

    changed: bool
    state: str
    subject: str
    purpose: str
    stands_in: dict[str, int]
    applied: bool


class JourneyNamed(Closed):
    """The journey that was begun or joined."""

    journey: str


class JourneyStopped(Closed):
    """A journey that turns round."""

    journey: str
    state: Literal["stopping"]


class EnergyTold(Closed):
    """Watt-hours by model, how they were estimated, and by what."""

    models: list[Spent]
    method: str
    label: Literal["estimated"]
    watts_per_core: float
    grams_per_kwh: float


class ChannelTold(Closed):
    """Where notices go."""

    id: str
    kind: Literal["webhook", "mail"]
    to: str
    signed: str


class Waiting(Closed):
    """Notices in one state."""

    state: str
    because: str
    count: int


class ChannelsTold(Closed):
    """Every channel, what is under way, and the key that verifies signatures."""

    channels: list[ChannelTold]
    verify_with: str
    outbox: list[Waiting]


class ChannelRemoved(Closed):
    """A channel that gets no more notices."""

    removed: str


ANSWERS: dict[str, Any] = {
    "get /api/me": MeTold,
    "get /api/people": list[PersonTold],
    "post /api/people": PersonAdded,
    "post /api/people/roles": PersonTold,
    "post /api/people/lock": PersonLocked,
    "post /api/people/unlock": PersonTold,
    "get /api/keys": list[KeyTold],
    "post /api/keys": KeyMade,
    "post /api/keys/renew": KeyMade,
    "post /api/keys/{key}/renew": KeyMade,
    "post /api/keys/{key}/unlock": KeyUnlocked,
    "delete /api/keys/{key}": KeyRevoked,
    "get /api/projects": list[ProjectTold],
    "post /api/projects": ProjectTold,
    "post /api/projects/{name}/limits": ProjectChanged,
    "post /api/projects/{name}/guards": ProjectChanged,
    "get /api/services": list[ServiceTold],
    "get /api/services/{name}": ServiceShown,
    "post /api/services/{name}/stop": ServiceTurned,
    "post /api/services/{name}/resume": ServiceTurned,
    "get /api/approvals": list[ApprovalTold],
    "get /api/approvals/{approval}": ApprovalTold,
    "post /api/approvals/{approval}": ApprovalTold,
    "get /api/models": list[ModelTold],
    "get /api/journeys": list[JourneyTold],
    "get /api/journeys/{journey}": JourneyTold,
    "post /api/journeys/{journey}/stop": JourneyStopped,
    "get /api/bases": list[BaseTold],
    "get /api/bases/{ref}": BaseTold,
    "get /api/answers": AnswersPage,
    "get /api/answers/{answer}": AnswerShown,
    "post /api/answers/{answer}/words": WordsTold,
    "get /api/entries": EntriesPage,
    "get /api/entries/{entry}": EntryTold,
    "get /api/incidents": IncidentsPage,
    "get /api/incidents/{incident}": IncidentTold,
    "post /api/incidents/{incident}/acknowledge": IncidentTold,
    "post /api/incidents/{incident}/close": IncidentClosed,
    "get /api/backups": list[BackupRow],  # type: ignore[valid-type]
    "post /api/backups/made": BackupSaid,
    "delete /api/backups/{id}": BackupSaid,
    "get /api/controls": list[Proved],
    "post /api/controls": list[Proved],
    "post /api/keyring/rotate": KeyringRotated,
    "post /api/retention": RuleTold,
    "get /api/holds": list[HoldTold],
    "post /api/holds": HoldNamed,
    "post /api/holds/{hold}/end": HoldNamed,
    "post /api/consents": ConsentSaid,
    "post /api/forgettings": JourneyNamed,
    "get /api/energy": EnergyTold,
    "get /api/notices": ChannelsTold,
    "post /api/notices": ChannelTold,
    "delete /api/notices/{channel}": ChannelRemoved,
}
"""Method and path to what is answered there."""


def describe(document: dict[str, Any]) -> None:
    """Put them into the description of the routes, in place. Raises KeyError for a path that is not there."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for way, kind in ANSWERS.items():
        method, path = way.split()
        answers = document["paths"][path][method]["responses"]
        schema = TypeAdapter(kind).json_schema(ref_template=_REF, mode="serialization")
        schemas |= schema.pop("$defs", {})
        code = next(code for code in answers if code.startswith("2"))
        answers[code]["content"]["application/json"]["schema"] = schema
