"""Backward from an answer to the rows and people behind it, forward from a row to every answer."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from freehold.data import intake
from freehold.data.declare import Intake
from freehold.data.versions import DataVersion
from freehold.ledger.record import record
from freehold.release import approvals, roll, services, versions
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.model import About
from freehold.spec.principal import SYSTEM
from freehold.spec.service import Approver, Model, Service
from freehold.spec.snapshot import Column
from freehold.store import contents, tables
from freehold.store.ground import Ground
from tests.support.line import a_card

CSV = b"""person,text,class,consent
anna-k,water in the kitchen,property,yes
bert-l,a scratch on the door,motor,yes
anna-k,the cellar is wet,property,yes
cora-m,somebody hit my car,motor,no
dora-n,the roof leaks,property,yes
"""
Headers = dict[str, str]
Node = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """The whole line, built by hand: a data version, a run, a card, a release, people."""

    data: DataVersion
    model: versions.ModelVersion
    release: str
    people: dict[str, tuple[str, Headers]]


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client("answers")
    return client


@pytest.fixture
def line(house: Any) -> Line:
    ground = house.parts.ground
    house.project("motor")
    held = {
        "ann": "claims/model-risk",
        "bob": "claims/data-protection",
        "tim": "claims/trainer",
        "olga": "claims/operator",
        "alma": "claims/auditor",
        "eve": "motor/auditor",
    }
    people = {name: house.person(f"{name}@example.org", role) for name, role in held.items()}
    data = _data(ground)
    run = _run(ground, data, "train", 1)
    model = _model(ground, run)
    _card(ground, model, _run(ground, data, "evaluate", 2))
    release = _release(ground, model, people)
    return Line(data, model, release, people)


def _data(ground: Ground) -> DataVersion:
    request = Intake(
        name="claims",
        purposes=("claims-handling",),
        basis="consent",
        sensitivity="Internal",
        owner="claims-team",
        keep="P3Y",
        regions=("eu",),
        subject=("person",),
        consent_from="consent",
        target="class",
        text="text",
    )
    added = intake.add(
        ground, by=SYSTEM, project="claims", request=request, source=io.BytesIO(CSV), format="csv"
    )
    assert added.version is not None
    return added.version


def _run(ground: Ground, data: DataVersion, kind: str, number: int) -> str:
    run = new_id("run")
    with ground.db.write() as tx:
        tx.execute(
            tables.runs.insert().values(
                id=run,
                number=number,
                project="claims",
                service="claims-triage",
                kind=kind,
                state="done",
                spec="{}",
                spec_digest="sha256:" + "5" * 64,
                data_version=data.id,
                data_digest=data.digest,
                metrics="{}",
                machine="{}",
                cpu_seconds=1.0,
                wall_seconds=1.5,
                watt_hours=0.1,
                started_at=tx.at,
            )
        )
        detail = {"run": run, "kind": kind, "spec": "-", "data": data.digest}
        record(tx, "run.begun", by=SYSTEM, object=run, project="claims", detail=detail)
        ended = {"run": run, "state": "done"}
        record(tx, "run.ended", by=SYSTEM, object=run, project="claims", detail=ended)
    return run


def _model(ground: Ground, run: str) -> versions.ModelVersion:
    about = About(
        task="classify",
        trainer="linear",
        inputs=(Column(name="text", datatype="BYTES"),),
        classes=("motor", "property"),
        data="claims@1",
        data_digest="sha256:" + "d" * 64,
        run=run,
    )
    prepared = versions.prepare(
        ground,
        project="claims",
        name="claims-triage",
        run=run,
        about=about,
        files={"model.onnx": b"weights"},
        engine="onnxruntime 1.0",
        flags={},
        sensitivity=2,
    )
    with ground.db.write() as tx:
        model = versions.register(tx, by=SYSTEM, prepared=prepared)
        versions.set_state(tx, by=SYSTEM, model=model.id, state="evaluated")
    return model


def _card(ground: Ground, model: versions.ModelVersion, run: str) -> None:
    gate = {"name": "bias", "metric": "recall_gap", "against": "held-out", "bound": "upper end <= 0.05"}
    gate |= {"value": "0.02", "low": "0.01", "high": "0.03", "passed": True}
    body = a_card(model, "claims@1") | {"gates": [gate | {"because": "recall gap 0.02 <= 0.05"}]}
    with ground.db.write() as tx:
        values = {"id": new_id("crd"), "model": model.id, "serving_digest": model.serving_digest}
        values |= {"digest": digest(body), "passed": True}
        rest = {"run": run, "body": canonical(body).decode(), "created_at": tx.at}
        tx.execute(tables.cards.insert().values(**values, **rest))
        detail = {"card": values["id"], **{k: v for k, v in values.items() if k != "id"}}
        record(tx, "card.issued", by=SYSTEM, object=str(values["id"]), project="claims", detail=detail)


def _release(ground: Ground, model: versions.ModelVersion, people: dict[str, tuple[str, Headers]]) -> str:
    from freehold.identity import people as known
    from freehold.spec.principal import Principal

    service = Service(
        service="claims-triage",
        project="claims",
        owner=people["olga"][0],
        purpose="claims-handling",
        sensitivity="Internal",
        model=Model(data="claims@1", task="classify"),
        approve=(Approver(role="model-risk"), Approver(role="data-protection")),
    )
    with ground.db.write() as tx:
        services.declare(tx, by=SYSTEM, service=service, owner=service.owner)
        ids = approvals.request(
            tx,
            ground,
            by=SYSTEM,
            service="claims-triage",
            model=model.id,
            serving_digest=model.serving_digest,
            roles=("model-risk", "data-protection"),
            owner=service.owner,
            submitter=people["tim"][0],
            evidence={"card": "-"},
            journey=None,
        )
        for id, name in zip(ids, ("ann", "bob"), strict=True):
            who = known.find(tx.connection, people[name][0])
            by = Principal(kind="person", id=who.id, zone="control", key="-", roles=who.roles)
            approvals.decide(tx, ground, by=by, approval=id, give=True)
        return roll.release(tx, ground, by=SYSTEM, service="claims-triage", model=model.id).release


def _answer(ground: Ground, line: Line, **more: Any) -> str:
    """What ingestion writes of one answer."""
    answer = new_id("ans")
    with ground.db.write() as tx:
        values: dict[str, Any] = {
            "id": answer,
            "project": "claims",
            "service": "claims-triage",
            "release": line.release,
            "serving_digest": line.model.serving_digest,
            "key": "key_x",
            "purpose": "claims-handling",
            "subject": None,
            "ending": "answered",
            "reason": "ok",
            "status": 200,
            "sandbox": False,
            "snapshot": 2,
            "request": "hmac-sha256:" + "1" * 64,
            "response": "hmac-sha256:" + "2" * 64,
            "tokens_in": 0,
            "tokens_out": 0,
            "estimated": False,
            "micros": 900,
            "cost": "0",
            "spool": "spl_1",
            "sequence": 1,
            "at": tx.at,
            "closed_at": tx.at,
        }
        values |= more
        tx.execute(tables.answers.insert().values(values))
        names = ("service", "key", "purpose", "request", "snapshot")
        detail = {"answer": answer, **{name: values[name] for name in names}}
        record(tx, "answer.intent", by=SYSTEM, object=answer, project="claims", detail=detail)
    return answer


def _find(tree: Node, kind: str) -> list[Node]:
    """Every node of a kind, in reading order."""
    here = [tree] if tree["kind"] == kind else []
    return here + [found for child in tree["children"] for found in _find(child, kind)]


# -- why --------------------------------------------------------------------------------------------


def test_why_walks_from_an_answer_to_the_rows_and_the_people_who_approved(
    house: Any, client: TestClient, line: Line
) -> None:
    answer = _answer(house.parts.ground, line)
    tree = client.get(f"/api/why/{answer}", headers=line.people["tim"][1]).json()
    assert (tree["kind"], tree["ref"]) == ("answer", answer)
    (release,) = _find(tree, "release")
    assert release["ref"] == line.release
    assert [a["facts"]["by"] for a in _find(tree, "approval")] == [line.people[n][0] for n in ("ann", "bob")]
    (gate,) = _find(tree, "gate")
    assert gate["label"] == "recall gap 0.02 <= 0.05"
    assert _find(tree, "model")[0]["ref"] == "claims-triage@1"
    assert _find(tree, "run")[0]["ref"] == "run:1"
    (data,) = _find(tree, "data")
    assert (data["ref"], data["facts"]["digest"]) == ("claims@1", line.data.digest)
    assert sum(data["facts"]["left_out"].values()) == 1
    rows = _find(tree, "row")
    assert [r["ref"] for r in rows] == [f"claims@1#{n}" for n in (1, 2, 3, 4)]
    assert {r["facts"]["basis"] for r in rows} == {"consent"}
    assert all(r["facts"]["holds"] for r in rows)
    assert "kitchen" not in json.dumps(tree)
    assert "anna-k" not in json.dumps(tree)


def test_an_answer_about_a_person_shows_their_own_rows(house: Any, client: TestClient, line: Line) -> None:
    subject = house.parts.ground.keyring.subject("claims", "anna-k")
    answer = _answer(house.parts.ground, line, subject=subject)
    tree = client.get(f"/api/why/{answer}", headers=line.people["tim"][1]).json()
    assert [r["facts"]["row"] for r in _find(tree, "row")] == [1, 3]
    assert all("about the person asked about" in r["label"] for r in _find(tree, "row"))


def test_as_many_rows_are_told_as_were_asked_for_and_the_rest_is_counted(
    house: Any, client: TestClient, line: Line
) -> None:
    answer = _answer(house.parts.ground, line)
    tree = client.get(f"/api/why/{answer}", params={"rows": 1}, headers=line.people["tim"][1]).json()
    assert len(_find(tree, "row")) == 1
    assert _find(tree, "rows")[0]["label"] == "3 more rows"


def test_who_may_not_read_data_sees_a_hole_where_the_rows_are(
    house: Any, client: TestClient, line: Line
) -> None:
    answer = _answer(house.parts.ground, line)
    tree = client.get(f"/api/why/{answer}", headers=line.people["olga"][1]).json()
    (row,) = _find(tree, "row")
    assert (row["hole"], row["facts"]) == ("not yours to see", {})


def test_a_denied_answer_has_its_reason_and_no_release(house: Any, client: TestClient, line: Line) -> None:
    answer = _answer(
        house.parts.ground, line, release=None, serving_digest=None, ending="denied", reason="wrong-purpose"
    )
    tree = client.get(f"/api/why/{answer}", headers=line.people["tim"][1]).json()
    assert tree["label"] == "denied (wrong-purpose) for claims-handling"
    assert _find(tree, "release") == []


def test_an_answer_to_a_service_that_is_not_there_is_still_told(
    house: Any, client: TestClient, line: Line
) -> None:
    answer = _answer(house.parts.ground, line, service="nothing", release=None, ending="denied")
    tree = client.get(f"/api/why/{answer}", headers=line.people["tim"][1]).json()
    assert _find(tree, "service")[0]["label"] == "unknown here"


def test_an_attached_service_leads_to_its_provider_until_it_is_replaced(
    house: Any, client: TestClient, line: Line
) -> None:
    from freehold.release import attach

    ground = house.parts.ground
    said = {"service": "claims-chat", "project": "claims", "purpose": "claims-handling"}
    said |= {"url": "http://127.0.0.1:8000", "owner": line.people["olga"][0], "region": "eu"}
    with ground.db.write() as tx:
        done = attach.attach(tx, ground, by=SYSTEM, asked=attach.Attachment(**said, model="tiny-1b"))
    more = {"service": "claims-chat", "release": done.release, "serving_digest": done.serving_digest}
    path, tim = f"/api/why/{_answer(ground, line, **more)}", line.people["tim"][1]
    (provider,) = _find(client.get(path, headers=tim).json(), "provider")
    assert (provider["ref"], provider["label"], provider["hole"]) == ("tiny-1b", "in eu", "")
    assert provider["facts"]["url"] == "http://127.0.0.1:8000/v1"
    twins = ("http://127.0.0.1:8001", "http://127.0.0.1:8002")
    asked = attach.Attachment(**said, model="tiny-1b", also=twins, replace=True)
    with ground.db.write() as tx:
        wide = attach.attach(tx, ground, by=SYSTEM, asked=asked)
    more |= {"release": wide.release, "serving_digest": wide.serving_digest}
    answer = _answer(ground, line, **more)
    detail = {"answer": answer, "ending": "answered", "status": 200, "reason": "ok", "cost": "0"}
    detail |= {"tokens_in": 1, "tokens_out": 1, "went": [f"{url}/v1" for url in twins]}
    with ground.db.write() as tx:
        record(tx, "answer.close", by=SYSTEM, object=answer, project="claims", detail=detail)
    told = client.get(f"/api/why/{answer}", headers=tim).json()
    assert told["facts"]["went_to"] == "http://127.0.0.1:8001/v1, http://127.0.0.1:8002/v1"
    (provider,) = _find(told, "provider")
    assert provider["label"] == "in eu, at one of 3 addresses"
    assert provider["facts"]["also"] == ", ".join(f"{url}/v1" for url in twins)
    asked = attach.Attachment(**said, model="other-7b", replace=True)
    with ground.db.write() as tx:
        attach.attach(tx, ground, by=SYSTEM, asked=asked)
    (provider,) = _find(client.get(path, headers=tim).json(), "provider")
    assert provider["hole"] == "replaced since"


def test_why_waits_for_a_record_that_is_on_its_way(
    house: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freehold.control import lineage

    ground = house.parts.ground
    # it comes while there is a pause between two looks
    meanwhile = SimpleNamespace(
        monotonic=time.monotonic, sleep=lambda _pause: _answer(ground, line, id="ans_late")
    )
    monkeypatch.setattr(lineage, "time", meanwhile)
    assert lineage.find_answer(ground, "ans_late")["ending"] == "answered"


def test_an_answer_that_does_not_come_is_not_found(house: Any, line: Line) -> None:
    from freehold.control import lineage
    from freehold.errors import NotFound

    with pytest.raises(NotFound, match="there is no answer `ans_none`"):
        lineage.find_answer(house.parts.ground, "ans_none", patience=0.05)


def test_an_answer_under_way_is_told_as_such(house: Any, line: Line) -> None:
    from freehold.control import lineage

    ground = house.parts.ground
    answer = _answer(ground, line, ending=None, closed_at=None, reason="")
    row = lineage.find_answer(ground, answer, patience=0.0)
    tree = lineage.why(ground, row, lineage.Sight(data=True))
    assert tree.label == "under way for claims-handling"


def test_who_withdrew_since_is_counted(house: Any, client: TestClient, line: Line) -> None:
    from freehold.data import consent

    ground = house.parts.ground
    subject = ground.keyring.subject("claims", "bert-l")
    with ground.db.write() as tx:
        consent.withdraw(tx, by=SYSTEM, project="claims", subject=subject, purpose="claims-handling")
    tree = client.get(f"/api/why/{_answer(ground, line)}", headers=line.people["tim"][1]).json()
    assert _find(tree, "data")[0]["facts"]["withdrew_since"] == 1
    assert "withdrawn for claims-handling" in _find(tree, "row")[1]["label"]


def test_answers_of_another_project_are_not_there(house: Any, client: TestClient, line: Line) -> None:
    answer = _answer(house.parts.ground, line)
    for path in (f"/api/why/{answer}", f"/api/answers/{answer}"):
        assert client.get(path, headers=line.people["eve"][1]).status_code == 404
    assert client.post(f"/api/answers/{answer}/words", headers=line.people["eve"][1]).status_code == 404


def test_an_administrator_may_not_read_answers_and_the_refusal_is_recorded(
    house: Any, client: TestClient, line: Line
) -> None:
    answer = _answer(house.parts.ground, line)
    assert client.get(f"/api/why/{answer}", headers=house.administrator).status_code == 403
    assert client.get("/api/answers", headers=house.administrator).status_code == 403
    assert len(house.entries("refusal")) == 2


# -- impact -----------------------------------------------------------------------------------------


def test_impact_walks_from_a_data_version_to_models_releases_and_answers(
    house: Any, client: TestClient, line: Line
) -> None:
    ids = [_answer(house.parts.ground, line) for _ in range(3)]
    tree = client.get("/api/impact/claims@1", headers=line.people["tim"][1]).json()
    assert [r["ref"] for r in _find(tree, "run")] == ["run:1", "run:2"]
    assert [m["ref"] for m in _find(tree, "model")] == ["claims-triage@1"]
    assert [r["label"] for r in _find(tree, "release")] == ["live on claims-triage"]
    (answers,) = _find(tree, "answers")
    assert (answers["label"], sorted(answers["facts"]["ids"])) == ("3 answers", sorted(ids))


def test_impact_of_a_row_begins_with_its_basis(house: Any, client: TestClient, line: Line) -> None:
    ann = line.people["tim"][1]
    tree = client.get("/api/impact/claims@1", params={"row": 2}, headers=ann).json()
    assert (tree["kind"], tree["ref"], tree["facts"]["basis"]) == ("row", "claims@1#2", "consent")
    assert [m["ref"] for m in _find(tree, "model")] == ["claims-triage@1"]
    assert client.get("/api/impact/claims@1", params={"row": 99}, headers=ann).status_code == 404
    assert client.get("/api/impact/claims@1", params={"row": 0}, headers=ann).status_code == 400


def test_impact_of_a_person_finds_their_rows_and_the_answers_about_them(
    house: Any, client: TestClient, line: Line
) -> None:
    ground = house.parts.ground
    _answer(ground, line)
    about = _answer(ground, line, subject=ground.keyring.subject("claims", "anna-k"))
    body = {"ref": "claims@1", "subject": "anna-k"}
    tree = client.post("/api/impact", json=body, headers=line.people["tim"][1])
    assert "anna-k" not in tree.text
    root = tree.json()
    assert (root["kind"], root["facts"]["rows"]) == ("subject", [1, 3])
    everything, theirs = _find(root, "answers")
    assert (everything["facts"]["count"], theirs["facts"]["ids"]) == (2, [about])
    body["subject"] = "nobody"
    missing = client.post("/api/impact", json=body, headers=line.people["tim"][1])
    assert missing.status_code == 404
    assert "nobody" not in missing.text


def test_the_ids_of_answers_come_page_by_page_the_newest_first(
    house: Any, client: TestClient, line: Line
) -> None:
    newest_first = [_answer(house.parts.ground, line, at=at) for at in range(5)][::-1]
    tim = line.people["tim"][1]
    seen: list[str] = []
    after = None
    for _ in range(3):
        query = {"release": line.release, "limit": "2"} | ({"after": after} if after else {})
        page = client.get("/api/answers", params=query, headers=tim).json()
        seen += [row["id"] for row in page["answers"]]
        after = page["next"]
    assert (seen, after) == (newest_first, None)


def test_the_list_goes_on_where_an_impact_ends(house: Any, client: TestClient, line: Line) -> None:
    about = house.parts.ground.keyring.subject("claims", "anna-k")
    newest_first = [_answer(house.parts.ground, line, subject=about, at=at) for at in range(5)][::-1]
    tim = line.people["tim"][1]
    body = {"ref": "claims@1", "subject": "anna-k", "limit": 2}
    tree = client.post("/api/impact", json=body, headers=tim).json()
    for answers in _find(tree, "answers"):
        ids, more = answers["facts"]["ids"], answers["facts"]["more"]
        assert (ids, more) == (newest_first[:2], 3)
        name, _, value = answers["ref"].partition("=")
        rest = client.get("/api/answers", params={name: value, "after": ids[-1]}, headers=tim).json()
        assert [row["id"] for row in rest["answers"]] == newest_first[2:]


def test_impact_follows_model_versions_made_from_others(house: Any, client: TestClient, line: Line) -> None:
    ground = house.parts.ground
    prepared = versions.prepare(
        ground,
        project="claims",
        name="claims-small",
        run=None,
        about=About(
            task="classify",
            trainer="linear",
            inputs=(),
            classes=(),
            data="claims@1",
            data_digest="-",
            run="-",
        ),
        files={"model.onnx": b"smaller"},
        engine="onnxruntime 1.0",
        flags={},
        sensitivity=2,
        kind="quantized",
        parent=line.model.id,
    )
    with ground.db.write() as tx:
        versions.register(tx, by=SYSTEM, prepared=prepared)
    tree = client.get("/api/impact/claims@1", headers=line.people["tim"][1]).json()
    assert [m["ref"] for m in _find(tree, "model")] == ["claims-triage@1", "claims-small@1"]


def test_a_name_that_could_be_two_things_is_asked_back(house: Any, client: TestClient, line: Line) -> None:
    ground = house.parts.ground
    for project in ("claims", "motor"):
        prepared = versions.prepare(
            ground,
            project=project,
            name="claims",
            run=None,
            about=About(
                task="classify", trainer="x", inputs=(), classes=(), data="-", data_digest="-", run="-"
            ),
            files={"model.onnx": project.encode()},
            engine="onnxruntime 1.0",
            flags={},
            sensitivity=2,
        )
        with ground.db.write() as tx:
            versions.register(tx, by=SYSTEM, prepared=prepared)
    tim = line.people["tim"][1]
    both = client.get("/api/impact/claims@1", headers=tim)
    assert both.status_code == 400
    assert "`data:claims@1` or `model:claims@1`" in both.json()["error"]["hint"]
    assert client.get("/api/impact/data:claims@1", headers=tim).json()["kind"] == "data"
    assert client.get("/api/impact/model:claims@1", headers=tim).json()["kind"] == "model"


@pytest.mark.parametrize(
    ("ref", "status"), [("claims", 400), ("claims@9", 404), ("claims@0", 400), ("what:claims@1", 404)]
)
def test_a_reference_that_means_nothing_is_told(
    client: TestClient, line: Line, ref: str, status: int
) -> None:
    assert client.get(f"/api/impact/{ref}", headers=line.people["tim"][1]).status_code == status


def test_a_model_has_no_rows_to_ask_about(client: TestClient, line: Line) -> None:
    answer = client.get("/api/impact/claims-triage@1", params={"row": 1}, headers=line.people["tim"][1])
    assert answer.status_code == 400


def test_impact_stays_inside_the_walls(client: TestClient, line: Line) -> None:
    assert client.get("/api/impact/claims@1", headers=line.people["eve"][1]).status_code == 404
    assert client.get("/api/impact/claims@1", headers=line.people["olga"][1]).status_code == 403


# -- records and words ------------------------------------------------------------------------------


def test_a_record_is_shown_with_its_places_in_the_ledger(house: Any, client: TestClient, line: Line) -> None:
    answer = _answer(house.parts.ground, line)
    house.parts.sequencer.run_once()
    shown = client.get(f"/api/answers/{answer}", headers=line.people["tim"][1]).json()
    assert shown["service"] == "claims-triage"
    assert isinstance(shown["ledger"]["answer.intent"], int)


def test_records_are_found_by_what_they_say(house: Any, client: TestClient, line: Line) -> None:
    ground = house.parts.ground
    denied = _answer(ground, line, ending="denied", release=None)
    _answer(ground, line)
    tim = line.people["tim"][1]
    found = client.get("/api/answers", params={"ending": "denied"}, headers=tim).json()["answers"]
    assert [row["id"] for row in found] == [denied]
    assert client.get("/api/answers", params={"ending": "nonsense"}, headers=tim).status_code == 400
    assert client.get("/api/answers", headers=line.people["eve"][1]).json()["answers"] == []


def test_reading_an_answers_words_is_recorded(house: Any, client: TestClient, line: Line) -> None:
    ground = house.parts.ground
    answer = _answer(ground, line)
    name = contents.key_name("claims", None, ground.clock())
    period = contents.Period.of("claims", "claims-triage", "claims-handling", ground.clock())
    ground.keyring.ensure(name, period.key)
    with ground.db.write() as tx:
        for part, said in (("request", b"water in the kitchen"), ("response", b"property")):
            sealed = contents.seal_words(ground.keyring, name, period, answer, part, said)
            tx.execute(tables.contents.insert().values(answer=answer, part=part, key=name, sealed=sealed))
    read = client.post(f"/api/answers/{answer}/words", headers=line.people["tim"][1]).json()
    assert (read["asked"], read["answered"]) == ("water in the kitchen", "property")
    (entry,) = house.entries("answer.read")
    assert (entry["actor"], entry["object"]) == (line.people["tim"][0], answer)


def test_words_that_were_never_kept_are_told_as_nothing(house: Any, client: TestClient, line: Line) -> None:
    answer = _answer(house.parts.ground, line)
    read = client.post(f"/api/answers/{answer}/words", headers=line.people["tim"][1]).json()
    assert (read["asked"], read["answered"]) == (None, None)


def test_the_ledger_verifies_with_all_of_this_in_it(house: Any, line: Line) -> None:
    from freehold.ledger import agree

    _answer(house.parts.ground, line)
    with house.parts.ground.db.read() as conn:
        _, found = agree.disagreements(conn)
    assert [f for f in found if "answers" not in f[0] and "steps" not in f[0]] == []
