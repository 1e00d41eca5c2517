"""Every route that changes something writes its entries in the change's own transaction, each once.

The table has a case for every route that is not read only. Each is sent twice: first while no entry can
be written, and then nothing of the change may stay; then for real.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from freehold.cli.main import freehold
from freehold.console.site import build as build_console
from freehold.control import server
from freehold.ledger.kinds import KINDS
from freehold.spec.ids import canonical, digest_bytes, now
from freehold.store import tables
from tests.cli.test_error_paths import commands
from tests.control import test_on_host as on_host
from tests.control.conftest import house_in
from tests.support.changes import ML, SERVICE, Case, Place, Send

Ready = Callable[[Place], Send]


def case(route: str, ready: Ready, *writes: str) -> Case:
    """It changes state, and writes these entries."""
    return Case(route, ready, writes)


def reads(route: str, ready: Ready) -> Case:
    """It changes nothing at all."""
    return Case(route, ready)


def under_way(route: str, ready: Ready) -> Case:
    """It changes what is marked `operational` alone; what is under way has an entry when it ends."""
    return Case(route, ready, under_way=True)


def ml(path: str, body: Callable[[Place], dict[str, Any]]) -> Ready:
    return lambda p: Send(ML + path, json=body(p))


PUBLISHED = "snapshot.published"
CSV = b"text,n\nwater,1\ncar,2\n"

CASES = (
    # people, projects, keys
    case(
        "POST /api/people",
        lambda p: Send("/api/people", "admin", {"email": f"{p.fresh()}@example.org", "roles": ["auditor"]}),
        "person.added",
        "key.created",
    ),
    case(
        "POST /api/people/roles",
        lambda p: Send("/api/people/roles", "admin", {"person": p.person(), "give": ["auditor"]}),
        "person.roles",
    ),
    case(
        "POST /api/people/lock",
        lambda p: Send("/api/people/lock", "admin", {"person": p.person()}),
        "person.locked",
        "key.revoked",
    ),
    case(
        "POST /api/people/unlock",
        lambda p: Send("/api/people/unlock", "admin", {"person": p.locked()}),
        "person.unlocked",
    ),
    case(
        "POST /api/projects",
        lambda p: Send("/api/projects", "admin", {"name": p.fresh("project")}),
        "project.added",
        PUBLISHED,
    ),
    case(
        "POST /api/keys",
        lambda p: Send("/api/keys", "admin", {"zone": "serving", "project": "claims"}),
        "key.created",
        PUBLISHED,
    ),
    case(
        "POST /api/keys/renew",
        lambda p: Send("/api/keys/renew", p.somebody(), {}),
        "key.created",
        "key.revoked",
    ),
    case("DELETE /api/keys/{key}", lambda p: Send(f"/api/keys/{p.key()}", "admin"), "key.revoked", PUBLISHED),
    case(
        "POST /api/keys/{key}/renew",
        lambda p: Send(f"/api/keys/{p.key()}/renew", "admin", {}),
        "key.created",
        "key.revoked",
        PUBLISHED,
    ),
    # who looks like an attacker
    case(
        "POST /api/incidents/{incident}/acknowledge",
        lambda p: Send(f"/api/incidents/{p.incident()['incident']}/acknowledge", "admin", {}),
        "incident.acknowledged",
    ),
    case(
        "POST /api/incidents/{incident}/close",
        lambda p: Send(f"/api/incidents/{p.incident()['incident']}/close", "olga", {"because": "dealt with"}),
        "incident.closed",
        PUBLISHED,
    ),
    case(
        "POST /api/keys/{key}/unlock",
        lambda p: Send(f"/api/keys/{p.incident()['key']}/unlock", "olga", {"because": "ours"}),
        "incident.closed",
        PUBLISHED,
    ),
    case(
        "POST /api/projects/{name}/limits",
        lambda p: Send("/api/projects/claims/limits", "admin", {"limits": "600/min"}),
        "project.limited",
        PUBLISHED,
    ),
    case(
        "POST /api/projects/{name}/guards",
        lambda p: Send("/api/projects/claims/guards", "admin", {"guard": ["in.pii=mask"]}),
        "project.guarded",
        PUBLISHED,
    ),
    # how long things are kept
    case(
        "POST /api/retention",
        lambda p: Send("/api/retention", "bob", {"project": "claims", "keep": "9y"}),
        "retention.set",
    ),
    case(
        "POST /api/retention/end",
        lambda p: Send("/api/retention/end", "bob", {"project": "claims"}),
        "retention.ended",
    ),
    case(
        "POST /api/holds",
        lambda p: Send("/api/holds", "bob", {"project": "claims", "what": "everything", "because": "a case"}),
        "hold.placed",
    ),
    case(
        "POST /api/holds/{hold}/end",
        lambda p: Send(f"/api/holds/{p.hold()}/end", "bob", {"because": "it is over"}),
        "hold.ended",
    ),
    case(
        "POST /api/keyring/rotate",
        lambda p: Send("/api/keyring/rotate", "admin"),
        "keyring.rotation",
        "keyring.rotated",
    ),
    # data
    case(
        "POST /api/data",
        lambda p: Send("/api/data", params=p.intake(), content=CSV, headers={"x-freehold-owner": "claims"}),
        "data.added",
        "data.version",
    ),
    case(
        "POST /api/consents",
        lambda p: Send(
            "/api/consents",
            "bob",
            {
                "project": "claims",
                "subject": p.fresh("person"),
                "purpose": "claims-handling",
                "state": "withdrawn",
            },
        ),
        "consent.withdrawn",
        PUBLISHED,
    ),
    case(
        "POST /api/bases",
        lambda p: Send("/api/bases", params={"project": "claims", "name": p.fresh("tiny")}, content=p.base()),
        "model.version",
    ),
    # one person
    reads(
        "POST /api/subjects",
        lambda p: Send("/api/subjects", "bob", {"project": "claims", "subject": "anna-k"}),
    ),
    case(
        "POST /api/subjects/export",
        lambda p: Send("/api/subjects/export", "bob", {"project": "claims", "subject": "anna-k"}),
        "subject.exported",
    ),
    case(
        "POST /api/forgettings",
        lambda p: Send(
            "/api/forgettings", "bob", {"project": "claims", "subject": p.fresh("person"), "request": "DSR-1"}
        ),
        "forgetting.asked",
        "journey.begun",
    ),
    case(
        "POST /api/readmissions",
        lambda p: Send(
            "/api/readmissions",
            "bob",
            {
                "project": "claims",
                "subject": p.forgotten(),
                "basis": "contract",
                "purposes": ["claims-handling"],
                "request": "CONTRACT-7",
            },
        ),
        "subject.readmitted",
    ),
    # from data to a served model
    reads("POST /api/plans", lambda p: Send("/api/plans", json={"spec": SERVICE.format(name="planned")})),
    case(
        "POST /api/journeys",
        lambda p: Send("/api/journeys", json={"spec": SERVICE.format(name=p.fresh("sorter"))}),
        "journey.begun",
    ),
    case(
        "POST /api/journeys/{journey}/stop",
        lambda p: Send(f"/api/journeys/{p.journey()}/stop", json={}),
        "journey.step",
    ),
    # jobs
    case(
        "POST /border/jobs/claim",
        lambda p: Send("/border/jobs/claim", "worker", p.claim()),
        "job.claimed",
    ),
    under_way("POST /border/jobs/{job}/beat", lambda p: p.of_job("beat", {"progress": {"done": 0.5}})),
    under_way("PUT /border/jobs/{job}/outputs/{path}", lambda p: p.output("outputs/model.bin")),
    under_way("PUT /border/jobs/{job}/checkpoint", lambda p: p.output("checkpoint")),
    case("POST /border/jobs/{job}/end", lambda p: p.of_job("end", p.END), "job.ended"),
    case("POST /border/jobs/{job}/give-back", lambda p: p.of_job("give-back", {}), "job.ended"),
    # release
    case(
        "POST /api/approvals/{approval}",
        lambda p: Send(f"/api/approvals/{p.approval()}", "ann", {"give": True}),
        "approval.given",
    ),
    case(
        "POST /api/services/{name}/rollback",
        lambda p: Send("/api/services/claims-triage/rollback", "olga", {"because": "worse"}),
        "release.ended",
        "release.begun",
        PUBLISHED,
    ),
    case(
        "POST /api/services/{name}/stop",
        lambda p: Send("/api/services/claims-triage/stop", "olga", {"because": "worse"}),
        "service.stopped",
        PUBLISHED,
    ),
    case(
        "POST /api/services/{name}/resume",
        lambda p: Send("/api/services/claims-triage/resume", "otto", {"because": "mended"}),
        "service.resumed",
        PUBLISHED,
    ),
    case(
        "POST /api/attached",
        lambda p: Send("/api/attached", "olga", p.attached()),
        "service.attached",
        "release.begun",
        PUBLISHED,
    ),
    case(
        "POST /api/notices",
        lambda p: Send("/api/notices", "admin", {"kind": "webhook", "url": "http://127.0.0.1:1/hook"}),
        "notice.configured",
    ),
    case(
        "DELETE /api/notices/{channel}",
        lambda p: Send(f"/api/notices/{p.channel()}", "admin"),
        "notice.configured",
    ),
    # answers
    case("POST /border/spool/{spool}", lambda p: p.shipped(), "answer.intent", "answer.close"),
    under_way(
        "POST /border/gateways/{gateway}",
        lambda p: Send("/border/gateways/spl_1", "gateway", {"applied": 1, "engines": {}}),
    ),
    under_way("DELETE /border/gateways/{gateway}", lambda p: Send("/border/gateways/spl_1", "gateway")),
    case(
        "POST /api/answers/{answer}/words",
        lambda p: Send(f"/api/answers/{p.answer()}/words", "aud"),
        "answer.read",
    ),
    reads("POST /api/impact", lambda p: Send("/api/impact", json={"ref": "inbox@1"})),
    # what leaves, what is proved
    case("POST /api/export", lambda p: Send("/api/export", "admin"), "export.made"),
    case("POST /api/backups", lambda p: Send("/api/backups", "admin"), "backup.begun"),
    case("POST /api/backups/made", lambda p: Send("/api/backups/made", "admin", p.backup()), "backup.made"),
    case("DELETE /api/backups/{id}", lambda p: Send(f"/api/backups/{p.made()}", "admin"), "backup.gone"),
    # MLflow: runs
    case(
        "POST /runs/create",
        ml("/runs/create", lambda p: {"experiment_id": p.experiment(), "start_time": 1}),
        "mlflow.run.begun",
    ),
    case(
        "POST /runs/update",
        ml("/runs/update", lambda p: {"run_id": p.ml_run(), "status": "FINISHED", "end_time": 2}),
        "mlflow.run.changed",
    ),
    case("POST /runs/delete", ml("/runs/delete", lambda p: {"run_id": p.ml_run()}), "mlflow.run.changed"),
    case(
        "POST /runs/restore", ml("/runs/restore", lambda p: {"run_id": p.deleted_run()}), "mlflow.run.changed"
    ),
    under_way(
        "POST /runs/log-metric",
        ml("/runs/log-metric", lambda p: {"run_id": p.ml_run(), "key": "loss", "value": 0.5, "timestamp": 1}),
    ),
    under_way(
        "POST /runs/log-parameter",
        ml("/runs/log-parameter", lambda p: {"run_id": p.ml_run(), "key": "lr", "value": "0.1"}),
    ),
    under_way(
        "POST /runs/log-batch",
        ml("/runs/log-batch", lambda p: {"run_id": p.ml_run(), "params": [{"key": "lr", "value": "0.1"}]}),
    ),
    under_way(
        "POST /runs/set-tag",
        ml("/runs/set-tag", lambda p: {"run_id": p.ml_run(), "key": "team", "value": "red"}),
    ),
    under_way("POST /runs/delete-tag", ml("/runs/delete-tag", lambda p: {"run_id": p.tagged(), "key": "t"})),
    under_way(
        "POST /runs/log-inputs", ml("/runs/log-inputs", lambda p: {"run_id": p.ml_run(), "datasets": []})
    ),
    under_way("POST /runs/outputs", ml("/runs/outputs", lambda p: {"run_id": p.ml_run(), "models": []})),
    under_way(
        "POST /runs/log-model",
        ml("/runs/log-model", lambda p: {"run_id": p.ml_run(), "model_json": '{"artifact_path": "model"}'}),
    ),
    reads("POST /runs/search", ml("/runs/search", lambda p: {"experiment_ids": [p.experiment()]})),
    # MLflow: experiments
    case(
        "POST /experiments/create",
        ml("/experiments/create", lambda p: {"name": p.fresh("exp")}),
        "mlflow.experiment.begun",
        "mlflow.words",
    ),
    case(
        "POST /experiments/update",
        ml("/experiments/update", lambda p: {"experiment_id": p.experiment(), "new_name": p.fresh("exp")}),
        "mlflow.experiment.changed",
        "mlflow.words",
    ),
    case(
        "POST /experiments/delete",
        ml("/experiments/delete", lambda p: {"experiment_id": p.experiment()}),
        "mlflow.experiment.changed",
    ),
    case(
        "POST /experiments/restore",
        ml("/experiments/restore", lambda p: {"experiment_id": p.deleted_experiment()}),
        "mlflow.experiment.changed",
    ),
    case(
        "POST /experiments/set-experiment-tag",
        ml(
            "/experiments/set-experiment-tag",
            lambda p: {"experiment_id": p.experiment(), "key": "team", "value": "red"},
        ),
        "mlflow.words",
    ),
    case(
        "POST /experiments/delete-experiment-tag",
        ml(
            "/experiments/delete-experiment-tag",
            lambda p: {"experiment_id": p.tagged_experiment(), "key": "t"},
        ),
        "mlflow.words",
    ),
    reads("POST /experiments/search", ml("/experiments/search", lambda p: {})),
    # MLflow: logged models
    case(
        "POST /logged-models",
        ml("/logged-models", lambda p: {"experiment_id": p.experiment(), "name": "m"}),
        "mlflow.model.begun",
        "mlflow.words",
    ),
    case(
        "PATCH /logged-models/{model_id}",
        lambda p: p.of_model("", {"status": "LOGGED_MODEL_READY"}),
        "mlflow.model.changed",
    ),
    case("DELETE /logged-models/{model_id}", lambda p: p.of_model(""), "mlflow.model.changed"),
    case(
        "PATCH /logged-models/{model_id}/tags",
        lambda p: p.of_model("/tags", {"tags": [{"key": "t", "value": "x"}]}),
        "mlflow.words",
    ),
    case("DELETE /logged-models/{model_id}/tags/{tag_key}", lambda p: p.tagged_model(), "mlflow.words"),
    case(
        "POST /logged-models/{model_id}/params",
        lambda p: p.of_model("/params", {"params": [{"key": "k", "value": "v"}]}),
        "mlflow.words",
    ),
    reads(
        "POST /logged-models/search",
        ml("/logged-models/search", lambda p: {"experiment_ids": [p.experiment()]}),
    ),
    # MLflow: registry
    case(
        "POST /registered-models/create",
        ml("/registered-models/create", lambda p: {"name": p.fresh("reg")}),
        "mlflow.registered.begun",
        "mlflow.words",
    ),
    case(
        "POST /registered-models/rename",
        ml("/registered-models/rename", lambda p: {"name": p.registered(), "new_name": p.fresh("reg")}),
        "mlflow.registered.changed",
        "mlflow.words",
    ),
    case(
        "PATCH /registered-models/update",
        ml("/registered-models/update", lambda p: {"name": p.registered(), "description": "x"}),
        "mlflow.words",
    ),
    case(
        "DELETE /registered-models/delete",
        ml("/registered-models/delete", lambda p: {"name": p.registered()}),
        "mlflow.registered.changed",
    ),
    case(
        "POST /registered-models/set-tag",
        ml("/registered-models/set-tag", lambda p: {"name": p.registered(), "key": "t", "value": "x"}),
        "mlflow.words",
    ),
    case(
        "DELETE /registered-models/delete-tag",
        ml("/registered-models/delete-tag", lambda p: {"name": p.tagged_registered(), "key": "t"}),
        "mlflow.words",
    ),
    reads(
        "POST /registered-models/get-latest-versions",
        ml("/registered-models/get-latest-versions", lambda p: {"name": p.registered()}),
    ),
    case(
        "POST /registered-models/alias",
        ml("/registered-models/alias", lambda p: {**p.version(), "alias": "champion"}),
        "mlflow.alias",
        "mlflow.words",
    ),
    case(
        "DELETE /registered-models/alias",
        ml("/registered-models/alias", lambda p: p.aliased()),
        "mlflow.alias",
        "mlflow.words",
    ),
    case(
        "POST /model-versions/create",
        ml("/model-versions/create", lambda p: p.new_version()),
        "mlflow.version.begun",
        "mlflow.words",
    ),
    case(
        "DELETE /model-versions/delete",
        ml("/model-versions/delete", lambda p: p.version()),
        "mlflow.version.deleted",
    ),
    case(
        "PATCH /model-versions/update",
        ml("/model-versions/update", lambda p: {**p.version(), "description": "x"}),
        "mlflow.words",
    ),
    case(
        "POST /model-versions/set-tag",
        ml("/model-versions/set-tag", lambda p: {**p.version(), "key": "t", "value": "x"}),
        "mlflow.words",
    ),
    case(
        "DELETE /model-versions/delete-tag",
        ml("/model-versions/delete-tag", lambda p: {**p.tagged_version(), "key": "t"}),
        "mlflow.words",
    ),
    # MLflow: files
    under_way("PUT /artifacts/{path}", lambda p: Send(p.artifact(p.ml_run()), content=b"weights")),
    under_way("DELETE /artifacts/{path}", lambda p: Send(p.put_artifact(p.ml_run()))),
    # the console
    case(
        "POST /log-in",
        lambda p: Send("/log-in", form={"key": p.line.keys["aud"], "next": "/"}, page="/log-in"),
        "session.begun",
    ),
)
REFUSES = {
    "POST /model-versions/transition-stage": "MLflow's stages are not kept",
    "POST /mpu/{rest}": "uploads come whole",
}
"""Routes that say no to everybody, and why."""
ELSEWHERE = {
    "POST /api/controls": "tests/control/test_controls.py: each control is an entry of its own",
    "POST /advise": "computes, and shows what came of it",
    "POST /log-out": "tests/console/test_door.py",
    "POST /impact/{ref}": "reads, as POST /api/impact does",
    "POST /services/{name}/ask": "asks a gateway, which records",
    "POST /services/{name}/{turn}": "the same function as /api/services/{name}/stop, resume, rollback",
    "POST /answers/{answer}/words": "the same function as /api/answers/{answer}/words",
    "POST /incidents/{id}": "the same functions as /api/incidents/{incident}/acknowledge and close",
    "POST /approvals/{id}": "the same function as /api/approvals/{approval}",
}
"""Routes that are looked at in another place, and where."""


# -- the table is whole -----------------------------------------------------------------------------------


def changing(app: FastAPI) -> set[str]:
    """Every route of an app that is not read only, as the table names it."""
    found = set()
    for methods, path in spelled(app.routes):
        if "{rest:path}" in path and len(methods) > 2:
            continue  # what is not kept is refused by name
        short = re.sub(r":path\}", "}", path).removeprefix("/mlflow")
        for prefix in ("/api/2.0/mlflow-artifacts", "/api/2.0/mlflow"):
            short = short.removeprefix(prefix)
        found |= {f"{method} {short}" for method in methods - {"GET", "HEAD", "OPTIONS"}}
    return found


def spelled(routes: Any) -> Iterator[tuple[set[str], str]]:
    """Methods and path of every route, those of routers within routers with them."""
    for route in routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from spelled(inner.routes)
        elif getattr(route, "methods", None):
            yield set(route.methods), str(route.path)


def test_every_route_that_is_not_read_only_has_a_case(place: Place) -> None:
    app, console = server.build(place.house.parts), build_console(place.house.parts)
    routes = changing(app) | changing(console._app)  # type: ignore[attr-defined]  # the app below its headers
    there = {one.route for one in CASES} | REFUSES.keys() | ELSEWHERE.keys()
    assert routes - there == set(), "tests/control/test_every_change.py needs a case for each of these"
    assert there - routes == set(), "no route is called so any more"


def test_every_kind_a_case_names_is_of_the_taxonomy() -> None:
    assert {kind for one in CASES for kind in one.writes} <= KINDS.keys()


ON_HOST = {
    **dict.fromkeys(on_host.CASES, "tests/control/test_on_host.py: with its entries, or not at all"),
    "upgrade": "tests/store/test_migrate.py: with its entry, or not at all",
    "screens": "looks at text that it is given",
    "verify": "reads; with --accept-restored it writes in the user's own folder",
    "ledger types": "reads what is in the program",
    "demo": "drives an installation of its own through its routes",
    "advise": "computes",
    "bench": "measures this machine",
    "size": "computes",
    "waf": "writes what is in the program",
}
"""Commands that do not work through control's routes, and what they record."""


def test_every_command_works_through_a_route_or_is_known_here() -> None:
    alone = {
        " ".join(path)
        for path, command in commands(freehold)
        if not any(parameter.name == "url" for parameter in command.params)
    }
    unknown = {name for name in alone if name not in ON_HOST and name.split()[0] not in ON_HOST}
    assert unknown == {"ask"}, "a command changes nothing past the routes, or says here what it records"


# -- and each of its cases is as it says ------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("every-change")
    with house_in(folder, now) as house:
        http = TestClient(server.build(house.parts), raise_server_exceptions=False)
        yield Place(house, http, folder)


def send(place: Place, method: str, asked: Send) -> Any:
    if asked.page:
        return place.console().fill_in(asked.page, asked.path, **(asked.form or {}))
    return place.http.request(
        method,
        asked.path,
        json=asked.json,
        params=asked.params,
        content=asked.content,
        headers=place.headers(asked.who) | asked.headers,
    )


@contextmanager
def no_entry_can_be_written(place: Place) -> Iterator[None]:
    """The database itself refuses them."""
    db = place.line.ground.db
    begin, end = _ON_SQLITE if db.is_sqlite else _ON_POSTGRES
    with db.writer_engine.connect() as raw:
        raw.exec_driver_sql(begin)
        raw.commit()
    try:
        yield
    finally:
        with db.writer_engine.connect() as raw:
            raw.exec_driver_sql(end)
            raw.commit()


_ON_SQLITE = (
    (
        "CREATE TRIGGER no_entry BEFORE INSERT ON entries "
        "BEGIN SELECT RAISE(ABORT, 'no entry can be written'); END"
    ),
    "DROP TRIGGER no_entry",
)
_ON_POSTGRES = (
    (
        "CREATE FUNCTION no_entry() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE integrity_constraint_violation; END $$; "
        "CREATE TRIGGER no_entry BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION no_entry()"
    ),
    "DROP FUNCTION no_entry CASCADE",
)


def state(place: Place) -> dict[str, str]:
    """A digest of each table of state."""
    with place.line.ground.db.read() as conn:
        return {
            table.name: digest_bytes(repr(sorted(map(repr, conn.execute(sa.select(table))))).encode())
            for table in tables.metadata.sorted_tables
            if "operational" not in table.info
        }


def entries(place: Place) -> dict[str, str]:
    with place.line.ground.db.read() as conn:
        e = tables.entries.c
        return {row.id: row.kind for row in conn.execute(sa.select(e.id, e.kind))}


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.route)
def test_a_change_and_its_entries_are_one(place: Place, one: Case) -> None:
    method = one.route.split()[0]
    asked = one.ready(place)
    before, known = state(place), entries(place)
    if one.writes:
        with no_entry_can_be_written(place):
            refused = send(place, method, asked)
        assert refused.status_code >= 400, "what cannot be recorded is not done"
        assert state(place) == before, "and nothing of it stays"
        assert entries(place) == known
    said = send(place, method, asked)
    assert said.status_code < 400, said.text
    new = Counter(kind for id, kind in entries(place).items() if id not in known)
    assert new == Counter(one.writes)
    changed = {name for name, digest in state(place).items() if digest != before[name]}
    assert bool(changed - {"entries"}) <= bool(one.writes), f"{changed} changed without an entry"


def test_digests_of_states_tell_them_apart(place: Place) -> None:
    before = state(place)
    place.house.project(place.fresh("project"))
    assert {name for name, digest in state(place).items() if digest != before[name]} == {
        "projects",
        "entries",
    }
    assert canonical({}) == b"{}"
