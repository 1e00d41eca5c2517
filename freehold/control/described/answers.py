"""What control answers, field by field, for its description at `/api/openapi.json`.

Only described: routes answer plain data, and nothing here is called when they do. Whether they answer so is
found out by `tests/control/test_described.py`, which asks them everything. Rows are described by their
tables. What is `Open` has fields of its own kind beside those that are always there.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from freehold.control.controls import Proved
from freehold.control.described import keeping, people, records, serving

_REF = "#/components/schemas/{model}"

ANSWERS: dict[str, Any] = {
    "get /api/me": people.MeTold,
    "get /api/people": list[people.PersonTold],
    "post /api/people": people.PersonAdded,
    "post /api/people/roles": people.PersonTold,
    "post /api/people/lock": people.PersonLocked,
    "post /api/people/unlock": people.PersonTold,
    "get /api/keys": list[people.KeyTold],
    "post /api/keys": people.KeyMade,
    "post /api/keys/renew": people.KeyMade,
    "post /api/keys/{key}/renew": people.KeyMade,
    "post /api/keys/{key}/unlock": people.KeyUnlocked,
    "delete /api/keys/{key}": people.KeyRevoked,
    "get /api/projects": list[people.ProjectTold],
    "post /api/projects": people.ProjectTold,
    "post /api/projects/{name}/limits": people.ProjectChanged,
    "post /api/projects/{name}/guards": people.ProjectChanged,
    "get /api/services": list[serving.ServiceTold],
    "get /api/services/{name}": serving.ServiceShown,
    "post /api/services/{name}/stop": serving.ServiceTurned,
    "post /api/services/{name}/resume": serving.ServiceTurned,
    "get /api/approvals": list[serving.ApprovalTold],
    "get /api/approvals/{approval}": serving.ApprovalTold,
    "post /api/approvals/{approval}": serving.ApprovalTold,
    "get /api/models": list[serving.ModelTold],
    "get /api/journeys": list[serving.JourneyTold],
    "get /api/journeys/{journey}": serving.JourneyTold,
    "post /api/journeys/{journey}/stop": serving.JourneyStopped,
    "get /api/bases": list[serving.BaseTold],
    "get /api/bases/{ref}": serving.BaseTold,
    "get /api/answers": records.AnswersPage,
    "get /api/answers/{answer}": records.AnswerShown,
    "post /api/answers/{answer}/words": records.WordsTold,
    "get /api/entries": records.EntriesPage,
    "get /api/entries/{entry}": records.EntryTold,
    "get /api/incidents": records.IncidentsPage,
    "get /api/incidents/{incident}": records.IncidentTold,
    "post /api/incidents/{incident}/acknowledge": records.IncidentTold,
    "post /api/incidents/{incident}/close": records.IncidentClosed,
    "get /api/backups": list[keeping.BackupRow],
    "post /api/backups/made": keeping.BackupSaid,
    "delete /api/backups/{id}": keeping.BackupSaid,
    "get /api/controls": list[Proved],
    "post /api/controls": list[Proved],
    "post /api/keyring/rotate": keeping.KeyringRotated,
    "post /api/retention": keeping.RuleTold,
    "get /api/holds": list[keeping.HoldTold],
    "post /api/holds": keeping.HoldNamed,
    "post /api/holds/{hold}/end": keeping.HoldNamed,
    "post /api/consents": keeping.ConsentSaid,
    "post /api/forgettings": keeping.JourneyNamed,
    "get /api/energy": keeping.EnergyTold,
    "get /api/notices": keeping.ChannelsTold,
    "post /api/notices": keeping.ChannelTold,
    "delete /api/notices/{channel}": keeping.ChannelRemoved,
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
