"""Lineage in other tools' words: W3C PROV as `prov` reads it, OpenLineage as its own client does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openlineage.client import event_v2 as v2
from openlineage.client.facet_v2 import dataset_version_dataset
from openlineage.client.serde import Serde
from prov.model import ProvDocument
from starlette.testclient import TestClient

from tests.control import test_lineage as world

line = world.line
client = world.client


@pytest.fixture
def answer(house: Any, line: world.Line) -> str:
    return world._answer(house.parts.ground, line)


def told(client: TestClient, line: world.Line, path: str, form: str, who: str = "tim") -> Any:
    said = client.get(path, params={"form": form}, headers=line.people[who][1])
    assert said.status_code == 200, said.text
    return said.json()


def relations(document: dict[str, Any], kind: str) -> set[tuple[str, ...]]:
    """The ends of every relation of a kind, without the prefix."""
    return {tuple(end.removeprefix("fh:") for end in one.values()) for one in document.get(kind, {}).values()}


def test_an_answer_leads_to_its_data_along_prov_relations(
    client: TestClient, line: world.Line, answer: str
) -> None:
    document = told(client, line, f"/api/why/{answer}", "prov")
    assert relations(document, "wasGeneratedBy") >= {
        (f"answer/{answer}", f"answering/{answer}"),
        ("model/claims-triage@1", "run/run:1"),
    }
    assert relations(document, "used") == {
        (f"answering/{answer}", f"release/{line.release}"),
        ("run/run:1", "data/claims@1"),
    }
    assert (f"release/{line.release}", "model/claims-triage@1") in relations(document, "wasDerivedFrom")
    approvers = {who for _, who in relations(document, "wasAssociatedWith")}
    assert {f"agent/{line.people[name][0]}" for name in ("ann", "bob")} <= approvers
    assert {("data/claims@1", f"row/claims@1#{n}") for n in (1, 2)} <= relations(document, "hadMember")


def test_forward_and_backward_tell_the_same_relations(
    client: TestClient, line: world.Line, answer: str
) -> None:
    back = told(client, line, f"/api/why/{answer}", "prov")
    forward = told(client, line, "/api/impact/claims@1", "prov")
    for kind in ("wasGeneratedBy", "wasDerivedFrom", "used"):
        both = {one for one in relations(forward, kind) if not any("answer" in end for end in one)}
        assert {one for one in both if "run:2" not in str(one)} <= relations(back, kind) | {
            (f"answers/release={line.release}", f"release/{line.release}")
        }


def test_a_hole_stays_a_hole(client: TestClient, line: world.Line, answer: str) -> None:
    document = told(client, line, f"/api/why/{answer}", "prov", who="olga")
    rows = [one for name, one in document["entity"].items() if name.startswith("fh:row/")]
    assert rows
    assert all(one["fh:hole"] == "not yours to see" for one in rows)


def test_the_prov_library_reads_every_document_and_writes_it_back(
    client: TestClient, line: world.Line, answer: str
) -> None:
    for path in (f"/api/why/{answer}", "/api/impact/claims@1"):
        document = told(client, line, path, "prov")
        read = ProvDocument.deserialize(content=json.dumps(document), format="json")
        again = ProvDocument.deserialize(content=read.serialize(format="json"), format="json")
        assert again == read
        parts = {name for name in document if name != "prefix"}
        assert len(read.records) == sum(len(document[name]) for name in parts)
        assert "wasGeneratedBy(" in read.get_provn()


def test_each_run_and_answer_is_an_openlineage_event(
    client: TestClient, line: world.Line, answer: str
) -> None:
    events = told(client, line, f"/api/why/{answer}", "openlineage")
    by_job = {event["job"]["name"]: event for event in events}
    train, served = by_job["train"], by_job["service/claims-triage"]
    assert [one["name"] for one in train["inputs"]] == ["data/claims@1"]
    assert [one["name"] for one in train["outputs"]] == ["model/claims-triage@1"]
    assert train["inputs"][0]["facets"]["version"]["datasetVersion"] == line.data.digest
    assert [one["name"] for one in served["inputs"]] == ["model/claims-triage@1"]
    assert (train["eventType"], served["eventType"]) == ("RUNNING", "COMPLETE")
    again = told(client, line, f"/api/why/{answer}", "openlineage")
    assert [e["run"]["runId"] for e in again] == [e["run"]["runId"] for e in events], "ids are stable"


def test_the_openlineage_client_takes_every_event(client: TestClient, line: world.Line, answer: str) -> None:
    for path in (f"/api/why/{answer}", "/api/impact/claims@1"):
        for event in told(client, line, path, "openlineage"):
            ends = {
                name: [kind(one["namespace"], one["name"], version_of(one)) for one in event[name]]
                for name, kind in (("inputs", v2.InputDataset), ("outputs", v2.OutputDataset))
            }
            made = v2.RunEvent(
                eventTime=event["eventTime"],
                producer=event["producer"],
                run=v2.Run(event["run"]["runId"]),
                job=v2.Job(event["job"]["namespace"], event["job"]["name"]),
                eventType=v2.RunState[event["eventType"]],
                **ends,
            )
            theirs = json.loads(Serde.to_json(made))
            assert theirs["schemaURL"] == event["schemaURL"]
            for name in ("eventType", "eventTime", "producer"):
                assert theirs[name] == event[name]
            assert theirs["run"]["runId"] == event["run"]["runId"]
            assert [o["name"] for o in theirs["inputs"]] == [o["name"] for o in event["inputs"]]


def version_of(dataset: dict[str, Any]) -> dict[str, Any]:
    said = dataset["facets"]["version"]
    made = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=said["datasetVersion"])
    assert made._schemaURL.split("#")[0] == said["_schemaURL"].split("#")[0]
    return {"version": made}
