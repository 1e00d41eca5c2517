"""State and entries tell one story: each table has a rule, and whatever is changed past us is found."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import EVERYWHERE, past_us

from freehold.ledger.agree import BIRTHS, STATES, disagreements
from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest, digest_bytes
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.rows import Database, Tx

D = "sha256:" + "0" * 64
BODY = canonical({"accuracy": "0.91"}).decode()
DECLARED = {"purpose": "claims-handling", "tier": "limited"}
SPEC = canonical({"service": "claims-triage", "sensitivity": "Internal", **DECLARED}).decode()
PROVIDER = {"url": "https://models.example.org", "model": "m"}
HOLED = '{"holes": [2]}'
"""A layout of which one row is gone."""
ENVELOPE = canonical({"payload": base64.b64encode(b"{}").decode()}).decode()


def put(tx: Tx, table: sa.Table, **values: Any) -> None:
    """A row with `values`; what must be there beside them is filled in by type."""
    for column in table.columns:
        if column.name not in values and not column.nullable:
            values[column.name] = "" if isinstance(column.type, sa.String) else 0
    tx.execute(table.insert().values(values))


def say(tx: Tx, kind: str, /, **detail: Any) -> None:
    record(tx, kind, by=SYSTEM, object="x", project="claims", detail=detail)


def _identity(tx: Tx) -> None:
    put(tx, tables.people, id="per_1", email="ann@example.org", state="active")
    put(tx, tables.memberships, person="per_1", project="claims", role="model-risk")
    say(tx, "person.added", person="per_1", roles=["claims/trainer"])
    say(tx, "person.roles", person="per_1", project="claims", added=["model-risk"], removed=["trainer"])
    say(tx, "person.locked", person="per_1")
    say(tx, "person.unlocked", person="per_1")
    put(tx, tables.projects, name="claims", state="active", guards="[1]")
    say(tx, "project.added", name="claims")
    say(tx, "project.guarded", name="claims", guards="[1]")
    put(tx, tables.keys, id="key_1", zone="control", owner="per_1", services="[]", revoked_at=5)
    say(tx, "key.created", key="key_1", zone="control", owner="per_1")
    say(tx, "key.revoked", key="key_1")
    # key_1 is of an earlier release, whose entries say nothing of a sensitivity
    opens: dict[str, Any] = {"project": "claims", "purpose": "claims-handling", "expires_at": 7}
    about = {"id": "key_2", "zone": "serving", "owner": "per_1", "services": '["s"]', "guard": "in.pii=mask"}
    put(tx, tables.keys, **about, **opens, secret_digest="ab", sensitivity=2)
    opens["sensitivity"] = "Internal"
    opens["secret"] = digest_bytes(b"ab")
    said = {"key": "key_2", "zone": "serving", "owner": "per_1", "services": ["s"], "guard": ["in.pii=mask"]}
    say(tx, "key.created", **said, **opens)
    put(tx, tables.settings, name="callers", value='{"tokens":[]}')
    say(tx, "callers.declared", digest=digest({"tokens": []}), issuers=0, certificates=0)
    put(tx, tables.retention, id="ret_1", project="claims", purpose="*", keep="P90D", sensitivity=2)
    say(tx, "retention.set", retention="ret_1", purpose="*", keep="P90D", sensitivity=2)
    put(tx, tables.settings, name="origin", value="freehold.local/1")
    say(tx, "installation.created", origin="freehold.local/1", version="0")


def _data(tx: Tx) -> None:
    kept = {"basis": "contract", "keep": "P3Y", "purposes": '["claims-handling"]', "regions": '["eu"]'}
    put(tx, tables.datasets, id="ds_1", project="claims", name="inbox", sensitivity=2, **kept)
    detail: dict[str, Any] = {
        "dataset": "ds_1",
        "basis": "contract",
        "keep": "P3Y",
        "sensitivity": "Internal",
    }
    say(tx, "data.added", **detail, purposes=["claims-handling"], regions=["eu"])
    put(tx, tables.data_versions, id="dv_1", dataset="ds_1", version=1, digest=D, rows=3, layout=HOLED)
    say(tx, "data.version", version="dv_1", digest=D, rows=3, left_out={}, bad_rows=0)
    say(tx, "data.forgotten", version="dv_1", rows=1, holes=1)
    about = {"project": "claims", "subject": "ab", "purpose": "claims-handling"}
    put(tx, tables.consents, id="con_1", state="given", source="dv_1", **about)
    say(tx, "consent.read", version="dv_1", given=1, withdrawn=0)
    put(tx, tables.consents, id="con_2", state="withdrawn", source="per_1", **about)
    say(tx, "consent.withdrawn", subject="ab", purpose="claims-handling", source="per_1")


def _forgetting(tx: Tx) -> None:
    about = {"request": "DSR-2026-118", "journey": "jny_1"}
    put(tx, tables.forgettings, id="fgt_1", project="claims", subject=None, state="destroyed", **about)
    say(tx, "forgetting.asked", forgetting="fgt_1", **about)
    for state, detail in (
        ("marked", {}),
        ("removed", {"rows": 1, "answers": 0}),
        ("destroyed", {"keys": 2, "objects": 1, "left": 3}),
        ("checked", {"keys": 2, "objects": 1, "versions": 1}),
    ):
        say(tx, f"forgetting.{state}", forgetting="fgt_1", **detail)
    said = {"basis": "contract", "request": "CONTRACT-7"}
    lists = {"purposes": '["claims-handling"]', "forgettings": '["fgt_1"]'}
    put(tx, tables.readmissions, id="rdm_1", project="claims", mark="cd", **said, **lists)
    read = {name: json.loads(text) for name, text in lists.items()}
    say(tx, "subject.readmitted", readmission="rdm_1", **said, **read)
    signed = {"envelope": ENVELOPE, "digest": digest_bytes(ENVELOPE.encode())}
    put(tx, tables.certificates, id="crt_1", project="claims", journey="jny_1", **signed)
    say(tx, "certificate.issued", certificate="crt_1", forgetting="fgt_1", digest=signed["digest"])


def _journey(tx: Tx) -> None:
    put(tx, tables.journeys, id="jny_1", kind="deliver", project="claims", state="done")
    say(tx, "journey.begun", journey="jny_1", kind="deliver", spec=D)
    say(tx, "journey.ended", journey="jny_1", state="done")
    for name, state in (("pin", "done"), ("train", "todo")):
        put(tx, tables.steps, journey="jny_1", name=name, state=state)
    say(tx, "journey.step", journey="jny_1", step="pin", state="done")
    put(tx, tables.jobs, id="job_1", journey="jny_1", step="train", kind="train", state="failed")
    say(tx, "job.queued", job="job_1", kind="train", spec=D)
    for state in ("queued", "failed"):
        say(tx, "job.ended", job="job_1", state=state, fence=1)
    put(tx, tables.runs, id="run_1", number=1, project="claims", kind="train", state="done")
    say(tx, "run.begun", run="run_1", kind="train", spec=D, data=D)
    say(tx, "run.ended", run="run_1", state="done")


def _model(tx: Tx) -> None:
    both = {"digest": D, "serving_digest": D}
    put(tx, tables.models, id="mod_1", project="claims", name="triage", version=1, state="approved", **both)
    say(tx, "model.version", model="mod_1", run="run_1", **both)
    say(tx, "model.state", model="mod_1", before="trained", after="evaluated")
    say(tx, "model.state", model="mod_1", before="evaluated", after="approved")
    card = {"model": "mod_1", "serving_digest": D, "digest": digest_bytes(BODY.encode()), "passed": True}
    put(tx, tables.cards, id="crd_1", body=BODY, **card)
    say(tx, "card.issued", card="crd_1", **card)


def _service(tx: Tx) -> None:
    spec = digest_bytes(SPEC.encode())
    same = {"project": "claims", "spec": SPEC, "spec_digest": spec, "sensitivity": 2, **DECLARED}
    put(tx, tables.services, name="claims-triage", state="live", kind="own", **same)
    say(tx, "service.declared", service="claims-triage", spec=D)
    say(tx, "service.declared", service="claims-triage", spec=spec)
    for kind in ("service.stopped", "service.resumed"):
        say(tx, kind, service="claims-triage", because="-")
    provider = canonical({**PROVIDER, "has_key": True}).decode()
    put(tx, tables.services, name="claims-chat", state="stopped", kind="attached", provider=provider, **same)
    say(tx, "service.attached", service="claims-chat", spec=spec)
    say(tx, "service.stopped", service="claims-chat", because="-")
    chat = {"service": "claims-chat", "serving_digest": digest(PROVIDER), "state": "live", "weight": 10_000}
    put(tx, tables.releases, id="rel_2", model=None, **chat)
    say(tx, "release.begun", release="rel_2", **chat)
    about = {"service": "claims-triage", "serving_digest": D, "role": "model-risk"}
    put(tx, tables.approvals, id="apr_1", project="claims", model="mod_1", state="given", **about)
    say(tx, "approval.requested", approval="apr_1", evidence="-", **about)
    say(tx, "approval.given", approval="apr_1", serving_digest=D, role="model-risk", because="-")
    release = {"service": "claims-triage", "serving_digest": D, "state": "live", "weight": 10_000}
    put(tx, tables.releases, id="rel_1", model="mod_1", **release)
    say(tx, "release.begun", release="rel_1", **release | {"weight": 9_500})
    say(tx, "release.weight", release="rel_1", service="claims-triage", before=9_500, weight=10_000)
    put(tx, tables.snapshots, ix=1, digest=digest_bytes(b"{}"), envelope=ENVELOPE)
    say(tx, "snapshot.published", ix=1, digest=digest_bytes(b"{}"))


def _watched(tx: Tx) -> None:
    rules = [{"rule": "jailbreak", "then": "lock"}]
    put(tx, tables.settings, name="watch", value=canonical(rules).decode())
    say(tx, "watch.declared", digest=digest(rules), rules=1)
    for id, does, more in (("inc_1", "lock", {}), ("inc_2", "throttle", {"until": 9, "pace": 6})):
        seen = {"service": "s", "rule": "jailbreak", "key": "key_2", "does": does, "seen_at": 5}
        seen["within"] = 600
        stands = {"state": "open", "held": True, "subject": "ab" if more else None, "count": 5}
        put(tx, tables.incidents, id=id, project="claims", **seen, **stands, **more)
        told = {**seen, **more, "count": 5, "person": bool(more)}
        say(tx, "incident.opened", incident=id, **told)


def _answer(tx: Tx) -> None:
    put(tx, tables.answers, id="ans_1", project="claims", service="claims-triage", ending="answered")
    intent = {"service": "claims-triage", "key": "key_1", "purpose": "p", "request": "-", "snapshot": 1}
    close = {
        "ending": "answered",
        "status": 200,
        "reason": "ok",
        "tokens_in": 1,
        "tokens_out": 1,
        "cost": "0",
    }
    for kind, detail in (("answer.intent", intent), ("answer.close", close)):
        record(tx, kind, by=SYSTEM, object="ans_1", detail={"answer": "ans_1", **detail})


@pytest.fixture
def told(db: Database) -> Database:
    """A database in which one row of every kind stands with its entries, and an answer."""
    with db.write() as tx:
        for part in (_identity, _data, _journey, _forgetting, _model, _service, _watched, _answer):
            part(tx)
    return db


def found(db: Database) -> list[tuple[str, str]]:
    with db.read() as connection:
        return disagreements(connection)[1]


def test_rows_with_their_entries_agree(told: Database) -> None:
    with told.read() as connection:
        looked, against = disagreements(connection)
    assert against == []
    assert looked >= 14


@pytest.mark.skipif(EVERYWHERE, reason="Postgres chooses by how many rows there are: here few")
def test_entries_of_answers_are_not_read_to_find_the_few_of_state(told: Database) -> None:
    """They are a thousand times as many."""
    asked: list[tuple[str, Any]] = []
    with told.read() as connection:
        sa.event.listen(connection, "before_cursor_execute", lambda *said: asked.append(said[2:4]))
        disagreements(connection)
        ((query, kinds),) = (one for one in asked if "entries.body" in one[0])
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", kinds)]
    assert any("entries USING INDEX entries_by_kind (kind=?)" in line for line in plan), plan
    assert not any(line.startswith("SCAN entries") for line in plan), plan


def test_every_table_of_state_has_a_rule() -> None:
    state = {t.name for t in tables.metadata.sorted_tables if "operational" not in t.info}
    ruled = {birth.table.name for birth in BIRTHS} | {table.name for table, _ in STATES}
    # the walk looks at entries, queries at answers, how often they were given again, and pages
    assert state - ruled == {"entries", "answers", "answers_again", "snapshot_pages"}


CHANGES = [
    ("INSERT INTO people VALUES ('per_x', 'eve@example.org', 'active', 1)", "people `per_x`"),
    ("UPDATE people SET state = 'locked'", "people `per_1`"),
    ("UPDATE memberships SET role = 'administrator'", "memberships `per_1`"),
    ("DELETE FROM memberships", "memberships `per_1`"),
    ("DELETE FROM projects", "projects `claims`"),
    ("UPDATE keys SET owner = 'per_x'", "keys `key_1`"),
    ("UPDATE keys SET revoked_at = NULL", "keys `key_1`"),
    ("UPDATE settings SET value = 'another.example/2' WHERE name = 'origin'", "settings `origin`"),
    ("UPDATE keys SET expires_at = NULL", "keys `key_2`"),
    ("UPDATE keys SET guard = NULL", "keys `key_2`"),
    ("UPDATE keys SET services = '[]'", "keys `key_2`"),
    ("UPDATE keys SET purpose = 'marketing' WHERE id = 'key_1'", "keys `key_1`"),
    ("UPDATE keys SET project = 'travel' WHERE id = 'key_2'", "keys `key_2`"),
    ("UPDATE keys SET sensitivity = 4 WHERE id = 'key_2'", "keys `key_2`"),
    ("UPDATE keys SET sensitivity = NULL", "keys `key_2`"),
    ("UPDATE keys SET sensitivity = 2", "keys `key_1`"),
    ("UPDATE keys SET secret_digest = 'cd'", "keys `key_2`"),
    ("UPDATE projects SET guards = NULL", "projects `claims`"),
    ("UPDATE datasets SET purposes = '[\"marketing\"]'", "datasets `ds_1`"),
    ("UPDATE datasets SET regions = '[\"us\"]'", "datasets `ds_1`"),
    ("UPDATE datasets SET sensitivity = 1", "datasets `ds_1`"),
    ("UPDATE retention SET sensitivity = NULL", "retention `ret_1`"),
    ("UPDATE retention SET purpose = 'marketing'", "retention `ret_1`"),
    ("UPDATE services SET state = 'live'", "services `claims-chat`"),
    ("UPDATE services SET state = 'stopped'", "services `claims-triage`"),
    ("UPDATE services SET sensitivity = 1", "services `claims-triage`"),
    ("UPDATE services SET purpose = 'marketing'", "services `claims-triage`"),
    ("UPDATE services SET tier = 'sandbox'", "services `claims-triage`"),
    ("UPDATE services SET provider = replace(provider, 'models', 'other')", "services `claims-chat`"),
    ("UPDATE settings SET value = '{\"tokens\":[1]}' WHERE name = 'callers'", "settings `callers`"),
    ("UPDATE settings SET value = '[]' WHERE name = 'watch'", "settings `watch`"),
    ("UPDATE services SET spec = replace(spec, 'Internal', 'Intern')", "services"),
    ("UPDATE keys SET origin = 'key_1' WHERE id = 'key_2'", "keys `key_2`"),
    ("UPDATE incidents SET held = false WHERE id = 'inc_1'", "incidents `inc_1`"),
    ("UPDATE incidents SET seen_at = 9 WHERE id = 'inc_1'", "incidents `inc_1`"),
    ("UPDATE incidents SET subject = 'cd' WHERE id = 'inc_1'", "incidents `inc_1`"),
    ("UPDATE incidents SET subject = 'forgotten', held = false WHERE id = 'inc_2'", "incidents"),
    ("UPDATE incidents SET subject = NULL WHERE id = 'inc_2'", "incidents `inc_2`"),
    ("UPDATE incidents SET until = 6 WHERE id = 'inc_2'", "incidents `inc_2`"),
    ("UPDATE incidents SET pace = 600 WHERE id = 'inc_2'", "incidents `inc_2`"),
    ("UPDATE incidents SET does = 'observe' WHERE id = 'inc_1'", "incidents `inc_1`"),
    ("UPDATE datasets SET basis = 'consent'", "datasets `ds_1`"),
    ("UPDATE data_versions SET rows = 4", "data_versions `dv_1`"),
    ("UPDATE data_versions SET digest = 'sha256:1'", "data_versions `dv_1`"),
    ("UPDATE data_versions SET layout = '{}'", "data_versions `dv_1`"),
    ("UPDATE forgettings SET state = 'marked'", "forgettings `fgt_1`"),
    ("UPDATE forgettings SET subject = 'ab'", "forgettings `fgt_1`"),
    ("UPDATE forgettings SET request = 'DSR-2'", "forgettings `fgt_1`"),
    ("UPDATE readmissions SET basis = 'consent'", "readmissions `rdm_1`"),
    ("UPDATE readmissions SET purposes = '[]'", "readmissions `rdm_1`"),
    ('UPDATE readmissions SET forgettings = \'["fgt_1","fgt_2"]\'', "readmissions `rdm_1`"),
    ("DELETE FROM readmissions", "readmissions `rdm_1`"),
    ("UPDATE certificates SET envelope = '{}'", "certificates `crt_1`"),
    ("UPDATE certificates SET digest = 'sha256:1'", "certificates `crt_1`"),
    ("DELETE FROM consents WHERE state = 'withdrawn'", "consents of `ab`"),
    ("UPDATE consents SET purpose = 'marketing' WHERE source = 'per_1'", "consents of `ab`"),
    ("UPDATE consents SET state = 'withdrawn' WHERE source = 'dv_1'", "consents of `dv_1`"),
    ("UPDATE journeys SET state = 'held'", "journeys `jny_1`"),
    ("UPDATE steps SET state = 'done'", "steps of `jny_1`"),
    ("UPDATE jobs SET state = 'done'", "jobs `job_1`"),
    ("UPDATE runs SET state = 'failed'", "runs `run_1`"),
    ("UPDATE models SET serving_digest = 'sha256:1'", "models `mod_1`"),
    ("UPDATE models SET state = 'held'", "models `mod_1`"),
    ("UPDATE cards SET body = replace(body, '0.91', '0.99')", "cards `crd_1`"),
    ("UPDATE cards SET passed = false", "cards `crd_1`"),
    ("UPDATE services SET spec = '{}'", "services `claims-triage`"),
    ("UPDATE approvals SET state = 'waiting'", "approvals `apr_1`"),
    ("UPDATE approvals SET role = 'approver'", "approvals `apr_1`"),
    ("DELETE FROM approvals", "approvals `apr_1`"),
    ("UPDATE releases SET ended_at = 1 WHERE id = 'rel_1'", "releases `rel_1`"),
    ("UPDATE releases SET weight = 500 WHERE id = 'rel_1'", "releases `rel_1`"),
    ("UPDATE releases SET serving_digest = 'sha256:1' WHERE id = 'rel_1'", "releases `rel_1`"),
    ("UPDATE snapshots SET envelope = replace(envelope, 'e30=', 'W10=')", "snapshots `1`"),
    ("UPDATE snapshots SET envelope = 'x'", "snapshots"),
    ("UPDATE answers SET id = 'ans_2'", "answers `ans_2`"),
]


@pytest.mark.parametrize(("statement", "place"), CHANGES)
def test_a_change_past_us_is_found_at_its_row(told: Database, statement: str, place: str) -> None:
    with past_us(told) as connection:
        connection.exec_driver_sql(statement)
    assert place in [where for where, _ in found(told)]


def test_an_answer_that_ended_without_a_close_is_found(told: Database) -> None:
    with told.write() as tx:
        put(tx, tables.answers, id="ans_2", project="claims", service="claims-triage", ending="failed")
        detail = {"service": "s", "key": "k", "purpose": "p", "request": "-", "snapshot": 1}
        record(tx, "answer.intent", by=SYSTEM, object="ans_2", detail={"answer": "ans_2", **detail})
    assert found(told) == [("answers `ans_2`", "the row is there, no entry `answer.close` is")]


def test_an_answer_under_way_has_no_close_yet(told: Database) -> None:
    with told.write() as tx:
        put(tx, tables.answers, id="ans_2", project="claims", service="claims-triage", ending=None)
        detail = {"service": "s", "key": "k", "purpose": "p", "request": "-", "snapshot": 1}
        record(tx, "answer.intent", by=SYSTEM, object="ans_2", detail={"answer": "ans_2", **detail})
    assert found(told) == []
