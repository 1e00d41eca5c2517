"""What is held about a person, read back by tools that know nothing of us."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema_rs  # comes with schemathesis
import pyarrow.csv as pa_csv
import pytest

from freehold.cli import portable

AT = 1_795_300_365_490_733
HELD: dict[str, Any] = {
    "project": "claims",
    "columns": {
        "inbox@1": [
            {"name": "row", "type": "integer"},
            {"name": "text", "type": "text"},
            {"name": "paid", "type": "number"},
            {"name": "open", "type": "boolean"},
        ]
    },
    "rows": {
        "inbox@1": [
            {"row": 7, "text": 'said "no",\nthen left', "paid": 0.1, "open": True, "_row": 1},
            {"row": None, "text": "Žižka; öl = 5", "paid": None, "open": False, "_row": 3},
        ]
    },
    "answers": [
        {
            "id": "ans_1",
            "service": "triage",
            "purpose": "claims-handling",
            "ending": "answered",
            "at": AT,
            "request": '{"text": "water"}',
            "response": "property",
        },
        {"id": "ans_2", "service": "triage", "purpose": "claims-handling", "ending": "denied", "at": AT},
    ],
    "consents": {"claims-handling": "given"},
    "incidents": [
        {
            "id": "inc_1",
            "service": "triage",
            "rule": "jailbreak",
            "does": "lock",
            "state": "closed",
            "at": AT,
        }
    ],
    "models": ["triage@1"],
}


def test_the_json_file_says_what_it_holds_and_holds_it() -> None:
    said = json.loads(portable.as_json(HELD))
    schema = said.pop("schema")
    assert said == HELD
    check = jsonschema_rs.validator_for(schema)
    check.validate(said)
    for wrong in ({"answers": [{"id": 7}]}, {"rows": {"inbox@1": [{"unknown": 1}]}}):
        assert not check.is_valid({**said, **wrong})


def test_the_csv_files_hold_the_same_and_every_column_is_described(tmp_path: Path) -> None:
    portable.write_csv(HELD, tmp_path / "anna")
    files = {path.name: path.read_text() for path in (tmp_path / "anna").glob("*.csv")}
    read = {name: list(csv.DictReader(io.StringIO(text, newline=""))) for name, text in files.items()}
    rows = read["inbox@1.csv"]
    assert [row["text"] for row in rows] == [row["text"] for row in HELD["rows"]["inbox@1"]]
    assert rows[0] == {"_row": "1", "row": "7", "text": rows[0]["text"], "paid": "0.1", "open": "true"}
    assert (rows[1]["row"], rows[1]["paid"], rows[1]["open"]) == ("", "", "false")
    first, second = read["answers.csv"]
    assert (first["request"], second["request"]) == ('{"text": "water"}', "")
    assert dt.datetime.fromisoformat(first["at"]).timestamp() == pytest.approx(AT / 1e6, abs=1e-6)
    assert read["consents.csv"] == [{"purpose": "claims-handling", "state": "given"}]
    assert [row["rule"] for row in read["incidents.csv"]] == ["jailbreak"]
    assert read["models.csv"] == [{"model": "triage@1"}]
    described = json.loads((tmp_path / "anna" / portable.METADATA).read_text())
    for table in described["tables"]:
        columns = pa_csv.read_csv(tmp_path / "anna" / unquote(table["url"])).column_names
        assert [column["titles"] for column in table["tableSchema"]["columns"]] == columns
    assert len(described["tables"]) == len(read)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "anna").rglob("*")} == {0}


def test_half_of_it_is_not_left_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = portable.write_atomically, list[Path]()

    def full(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "no space left")
        write(path, data)

    monkeypatch.setattr(portable, "write_atomically", full)
    with pytest.raises(OSError, match="no space"):
        portable.write_csv(HELD, tmp_path / "anna")
    assert list(tmp_path.iterdir()) == []
