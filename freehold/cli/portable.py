"""What is held about a person in forms that other tools read, each with its schema.

One JSON file, with its JSON Schema (2020-12) in it; or a folder of CSV files (RFC 4180) with a
`csv-metadata.json` beside them, as the W3C's Metadata Vocabulary for Tabular Data (CSVW) describes tables.
Both say of each field what it is and which type it has, so that whoever gets them needs nothing of ours
(GDPR article 20: structured, commonly used, machine-readable).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from freehold.store.home import write_atomically

Held = Mapping[str, Any]
"""What control answers to `POST /api/subjects/export`."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
METADATA = "csv-metadata.json"
"""As CSVW names the description of the files beside it."""


class Field(NamedTuple):
    """One field of a table."""

    name: str
    type: str
    what: str


class Table(NamedTuple):
    """Records of one kind."""

    name: str
    what: str
    fields: tuple[Field, ...]
    records: list[dict[str, Any]]


_ROW = Field("_row", "integer", "the row's number in its version")
_ANSWER = (
    Field("id", "text", "the answer, as its record and its receipt name it"),
    Field("service", "text", "the service that was asked"),
    Field("purpose", "text", "what it was asked for"),
    Field("ending", "text", "answered, denied, cut off or failed"),
    Field("at", "time", "when it was asked"),
    Field("request", "text", "the words of the question, where they are kept"),
    Field("response", "text", "the words of the answer, where they are kept"),
)
_CONSENT = (
    Field("purpose", "text", "what the person was asked to agree to"),
    Field("state", "text", "given or withdrawn"),
)
_INCIDENT = (
    Field("id", "text", "the incident"),
    Field("service", "text", "the service that was asked"),
    Field("rule", "text", "what the requests looked like"),
    Field("does", "text", "what was done: observe, throttle, lock or renew"),
    Field("state", "text", "open, acknowledged or closed"),
    Field("at", "time", "when it was opened"),
)
_MODEL = (Field("model", "text", "a model version that learned from the person's rows"),)

_JSON_TYPES: Mapping[str, Mapping[str, Any]] = {
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "time": {"type": "integer", "description": "in microseconds since 1970, UTC"},
}
_CSVW_TYPES = {"integer": "integer", "number": "double", "boolean": "boolean", "time": "dateTime"}


def tables(held: Held) -> list[Table]:
    """Everything that is held, as tables."""
    consents = [{"purpose": purpose, "state": state} for purpose, state in held["consents"].items()]
    models = [{"model": model} for model in held["models"]]
    return [
        Table("answers", "what was asked about the person and answered", _ANSWER, held["answers"]),
        Table("consents", "what the person agreed to", _CONSENT, consents),
        _of_incidents(held),
        Table("models", "what learned from the person", _MODEL, models),
        *_of_rows(held),
    ]


def _of_incidents(held: Held) -> Table:
    what = "requests about the person that looked like an attack"
    return Table("incidents", what, _INCIDENT, held.get("incidents", []))


def _of_rows(held: Held) -> Iterator[Table]:
    for ref, records in held["rows"].items():
        columns = [Field(one["name"], one["type"], "") for one in held["columns"][ref]]
        yield Table(ref, f"the person's rows in {ref}", (_ROW, *columns), records)


# -- JSON ---------------------------------------------------------------------------------------------


def as_json(held: Held) -> bytes:
    """One file: the schema of all of it, and all of it."""
    said = {"schema": _schema(held), **held}
    return json.dumps(said, indent=2, ensure_ascii=False).encode() + b"\n"


def _schema(held: Held) -> dict[str, Any]:
    answers, text = tables(held)[0], {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "project": text,
            "columns": {"type": "object", "description": "the columns of each data set version"},
            "rows": {"type": "object", "properties": {one.name: _records(one) for one in _of_rows(held)}},
            "answers": _records(answers),
            "consents": {"type": "object", "description": "purpose to state", "additionalProperties": text},
            "incidents": _records(_of_incidents(held)),
            "models": {"type": "array", "description": _MODEL[0].what, "items": text},
        },
        "required": ["project", "columns", "rows", "answers", "consents", "models"],
    }


def _records(table: Table) -> dict[str, Any]:
    items = {"type": "object", "properties": {field.name: _json_field(field) for field in table.fields}}
    return {"type": "array", "description": table.what, "items": {**items, "additionalProperties": False}}


def _json_field(field: Field) -> dict[str, Any]:
    said = dict(_JSON_TYPES.get(field.type, {"type": ["string", "null"]}))
    what = ", ".join(text for text in (field.what, said.pop("description", "")) if text)
    return {**said, "description": what} if what else said


# -- CSV ----------------------------------------------------------------------------------------------


def write_csv(held: Held, folder: Path) -> None:
    """A new folder, readable by its owner alone: a file for each table, and the description of them all."""
    folder.mkdir(mode=0o700)
    try:
        for table in tables(held):
            write_atomically(folder / f"{table.name}.csv", _csv(table))
        described = json.dumps(_described(held), indent=2, ensure_ascii=False)
        write_atomically(folder / METADATA, described.encode() + b"\n")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # half of somebody's life in clear serves nobody
        raise


def _csv(table: Table) -> bytes:
    text = io.StringIO()
    written = csv.writer(text, lineterminator="\n")
    written.writerow(field.name for field in table.fields)
    for record in table.records:
        written.writerow(_cell(field, record.get(field.name)) for field in table.fields)
    return text.getvalue().encode()


def _cell(field: Field, value: Any) -> str:
    if value is None:
        return ""
    if field.type == "time":
        return (_EPOCH + dt.timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")
    return value if isinstance(value, str) else json.dumps(value)


def _described(held: Held) -> dict[str, Any]:
    return {
        "@context": "http://www.w3.org/ns/csvw",
        "dc:title": "what is held about one person",
        "tables": [_table(one) for one in tables(held)],
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "url": quote(f"{table.name}.csv"),
        "dc:description": table.what,
        "tableSchema": {"columns": [_column(field) for field in table.fields]},
    }


def _column(field: Field) -> dict[str, Any]:
    said = {"titles": field.name, "datatype": _CSVW_TYPES.get(field.type, "string")}
    return {**said, "dc:description": field.what} if field.what else said
