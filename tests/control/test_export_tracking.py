"""What MLflow clients wrote leaves with everything else: words in clear, files as they came."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

from freehold.control import export
from freehold.spec.principal import SYSTEM
from freehold.track import words
from tests.control.test_mlflow import Wire

BIG = bytes(range(256)) * 9000  # more than one sealed piece


def exported(house: Any) -> dict[str, bytes]:
    """Files of an export by name."""
    tar = b"".join(export.archive(house.parts, export.begin(house.parts, SYSTEM)))
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {
            member.name.removeprefix("freehold-export/"): file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }


def logged(house: Any) -> str:
    """A run with words and two files."""
    tim = Wire(house, house.person("tim@example.org", "claims/trainer")[1])
    experiment = tim.experiment("churn of clients")
    run = tim.run(experiment, tags=[{"key": "team", "value": "blue"}])
    tim.do("POST", "/runs/log-parameter", {"run_id": run, "key": "depth", "value": "7"})
    for name, data in (("notes/why.txt", b"marker-7731"), ("big.bin", BIG)):
        assert tim.put(f"{experiment}/{run}/artifacts/{name}", data).status_code == 200
    tim.end(run)
    return run


def test_words_and_files_of_mlflow_clients_are_in_the_export_in_clear(house: Any) -> None:
    run = logged(house)
    files = exported(house)
    said = [json.loads(line) for line in files["mlflow/words/000001.jsonl"].splitlines()]
    about = next(one["words"] for one in said if one["of"] == run and one["part"] == "about")
    assert about["params"] == {"depth": "7"}
    assert about["tags"]["team"] == "blue"
    assert "churn of clients" in {one["words"].get("name") for one in said}
    assert files[f"mlflow/files/{run}/notes/why.txt"] == b"marker-7731"
    assert files[f"mlflow/files/{run}/big.bin"] == BIG
    manifest = json.loads(files["MANIFEST.json"])
    assert manifest["left_out"] == []
    assert manifest["files"] == {
        path: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for path, data in files.items()
        if path != "MANIFEST.json"
    }


def test_forgotten_words_and_files_stay_forgotten_and_are_named(house: Any) -> None:
    run = logged(house)
    house.parts.ground.keyring.drop([words.key_name(run)])
    files = exported(house)
    assert not [path for path in files if path.startswith(f"mlflow/files/{run}")]
    assert b"marker-7731" not in b"".join(files.values())
    lost = json.loads(files["MANIFEST.json"])["left_out"]
    assert [one["path"].rsplit("/", 1)[0] for one in lost] == [f"mlflow/files/{run}"] * 2
    assert {one["code"] for one in lost} == {"key-destroyed"}
    assert list(house.parts.home.control.glob("track-*")) == []
