"""The MLflow wire format as it is: keys, projects, errors, what is kept and what is recorded."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import past_us
from starlette.testclient import TestClient

from freehold.errors import NotFound
from freehold.ledger.agree import disagreements
from freehold.release import bases, versions
from freehold.store import tables
from freehold.track import artifacts

API = "/mlflow/api/2.0/mlflow"
FILES = "/mlflow/api/2.0/mlflow-artifacts/artifacts"
PICKLE = b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00secret-marker."


class Wire:
    """One person's MLflow client, without MLflow."""

    def __init__(self, house: Any, headers: dict[str, str]) -> None:
        self.http: TestClient = house.client("mlflow")
        self.headers = headers

    def send(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return self.http.request(method, API + path, json=body, params=query, headers=self.headers)

    def do(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self.send(method, path, body, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def experiment(self, name: str = "churn") -> str:
        return str(self.do("POST", "/experiments/create", {"name": name})["experiment_id"])

    def run(self, experiment: str, **more: Any) -> str:
        made = self.do("POST", "/runs/create", {"experiment_id": experiment, "start_time": 1000, **more})
        return str(made["run"]["info"]["run_id"])

    def get(self, run: str) -> Any:
        return self.do("GET", "/runs/get", run_id=run)["run"]

    def end(self, run: str) -> None:
        self.do("POST", "/runs/update", {"run_id": run, "status": "FINISHED", "end_time": 2000})

    def put(self, path: str, data: bytes) -> Any:
        return self.http.put(f"{FILES}/{path}", content=data, headers=self.headers)


@pytest.fixture
def tim(house: Any) -> Wire:
    return Wire(house, house.person("tim@example.org", "claims/trainer")[1])


def agrees(house: Any) -> list[tuple[str, str]]:
    with house.parts.ground.db.read() as conn:
        return disagreements(conn)[1]


def code(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error_code", "message"}
    return str(answer.json()["error_code"])


def test_a_key_comes_as_token_or_as_password(house: Any, tim: Wire) -> None:
    key = tim.headers["authorization"].removeprefix("Bearer ")
    basic = base64.b64encode(f"tim:{key}".encode()).decode()
    for header in (f"Bearer {key}", f"Basic {basic}"):
        answer = tim.http.get(f"{API}/experiments/search", headers={"authorization": header})
        assert answer.json() == {"experiments": []}
    for header in (
        {},
        {"authorization": "Basic x"},
        {"authorization": "Bearer fhc_x"},
        house.serving_key("claims"),
    ):
        assert code(tim.http.get(f"{API}/experiments/search", headers=header), 401) == "UNAUTHENTICATED"


def test_a_name_without_a_project_lands_in_the_only_one(house: Any, tim: Wire) -> None:
    found = tim.do("GET", "/experiments/get", experiment_id=tim.experiment("churn"))["experiment"]
    assert found["name"] == "claims/churn"
    same = tim.do("GET", "/experiments/get-by-name", experiment_name="claims/churn")["experiment"]
    assert same == tim.do("GET", "/experiments/get-by-name", experiment_name="churn")["experiment"] == found
    twice = tim.send("POST", "/experiments/create", {"name": "claims/churn"})
    assert code(twice, 400) == "RESOURCE_ALREADY_EXISTS"
    default = tim.run("0")
    assert tim.get(default)["info"]["experiment_id"].startswith("exp_")


def test_a_name_that_could_belong_to_several_projects_is_refused(house: Any) -> None:
    house.project("motor")
    both = Wire(house, house.person("bo@example.org", "claims/trainer", "motor/trainer")[1])
    refused = both.send("POST", "/experiments/create", {"name": "churn"})
    assert code(refused, 400) == "INVALID_PARAMETER_VALUE"
    assert "write `claims/churn`" in refused.json()["message"]
    assert both.experiment("motor/churn") != both.experiment("claims/churn")
    unknown = both.send("POST", "/experiments/create", {"name": "fleet/churn"})
    assert code(unknown, 404) == "RESOURCE_DOES_NOT_EXIST"


def test_a_run_holds_what_was_logged(house: Any, tim: Wire) -> None:
    run = tim.run(tim.experiment(), user_id="root", tags=[{"key": "mlflow.user", "value": "root"}])
    points = [{"key": "loss", "value": 1 / (n + 1), "timestamp": n, "step": n} for n in range(5)]
    points += [
        {"key": "odd", "value": "NaN", "timestamp": 1},
        {"key": "far", "value": "-Infinity", "timestamp": 1},
    ]
    batch = {"run_id": run, "metrics": points, "params": [{"key": "lr", "value": "0.1"}]}
    for _ in range(2):  # the answer was lost, the client sends it again
        tim.do("POST", "/runs/log-batch", batch)
    tim.do("POST", "/runs/set-tag", {"run_id": run, "key": "team", "value": "red"})
    held = tim.get(run)
    assert {m["key"]: m["value"] for m in held["data"]["metrics"]} == {
        "loss": 0.2, "odd": "NaN", "far": "-Infinity",
    }  # fmt: skip
    assert held["data"]["params"] == [{"key": "lr", "value": "0.1"}]
    tags = {tag["key"]: tag["value"] for tag in held["data"]["tags"]}
    assert (tags["team"], tags["mlflow.user"]) == ("red", held["info"]["user_id"])
    assert held["info"]["user_id"].startswith("per_")
    line = tim.do("GET", "/metrics/get-history", run_id=run, metric_key="loss")["metrics"]
    assert [(p["step"], p["value"]) for p in line] == [(n, 1 / (n + 1)) for n in range(5)]
    again = tim.send("POST", "/runs/log-parameter", {"run_id": run, "key": "lr", "value": "0.2"})
    assert code(again, 400) == "INVALID_PARAMETER_VALUE"


def test_a_batch_is_kept_whole_or_not_at_all(house: Any, tim: Wire) -> None:
    run = tim.run(tim.experiment())
    tim.do("POST", "/runs/log-parameter", {"run_id": run, "key": "lr", "value": "0.1"})
    metrics = [{"key": "loss", "value": 1.0, "timestamp": 1}]
    spoilt = {"run_id": run, "metrics": metrics, "params": [{"key": "lr", "value": "9"}]}
    assert code(tim.send("POST", "/runs/log-batch", spoilt), 400) == "INVALID_PARAMETER_VALUE"
    assert tim.get(run)["data"]["metrics"] == []
    many = {"run_id": run, "metrics": [{"key": "loss", "value": 1.0}] * 1001}
    assert code(tim.send("POST", "/runs/log-batch", many), 400) == "INVALID_PARAMETER_VALUE"


def test_the_end_of_a_run_cites_all_it_holds(house: Any, tim: Wire) -> None:
    run = tim.run(tim.experiment())
    tim.do("POST", "/runs/log-metric", {"run_id": run, "key": "loss", "value": 1.0, "timestamp": 1})
    assert house.entries("mlflow.run.changed") == []
    tim.end(run)
    tim.do("POST", "/runs/log-metric", {"run_id": run, "key": "score", "value": 2.0, "timestamp": 1})
    first, second = [json.loads(e["body"])["detail"] for e in house.entries("mlflow.run.changed")]
    assert first["digest"] != second["digest"]
    assert (first["state"], second["points"]) == ("finished", 2)
    assert agrees(house) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE mlflow_metrics SET value = 0.99",
        "UPDATE mlflow_series SET head = 'x'",
        "UPDATE mlflow_words SET sealed = :null WHERE of LIKE 'mlr_%'",
        "DELETE FROM mlflow_artifacts",
        "UPDATE mlflow_runs SET state = 'failed'",
        "UPDATE mlflow_runs SET deleted_at = 1",
        "UPDATE mlflow_experiments SET called = substr(called, 2)",
        "UPDATE mlflow_words SET sealed = :null WHERE of LIKE 'exp_%'",
        "DELETE FROM mlflow_words WHERE of LIKE 'rgm_%'",
        "UPDATE mlflow_versions SET files = '[]'",
        "UPDATE mlflow_registered SET deleted_at = 1",
        "UPDATE mlflow_models SET state = 'failed'",
    ],
)
def test_what_is_changed_past_us_is_found(house: Any, tim: Wire, change: str) -> None:
    _, version = a_foreign_version(tim)
    run = tim.run(tim.experiment("other"))
    tim.do("POST", "/runs/log-metric", {"run_id": run, "key": "loss", "value": 1.0, "timestamp": 1})
    experiment = tim.get(run)["info"]["experiment_id"]
    assert tim.put(f"{experiment}/{run}/artifacts/a.txt", b"hello").status_code == 200
    tim.end(run)
    assert (agrees(house), version["version"]) == ([], "1")
    with past_us(house.parts.ground.db) as connection:
        connection.execute(sa.text(change), {"null": b"\0"} if ":null" in change else {})
    assert agrees(house)


def test_files_come_back_as_they_were(house: Any, tim: Wire) -> None:
    experiment = tim.experiment()
    root = f"{experiment}/{tim.run(experiment)}/artifacts"
    big = bytes(range(256)) * 5000
    for path, data in (("note.txt", b"hello"), ("dir/sub/b.bin", big), ("empty", b"")):
        assert tim.put(f"{root}/{path}", data).status_code == 200
    for path, data in (("note.txt", b"hello"), ("dir/sub/b.bin", big), ("empty", b"")):
        back = tim.http.get(f"{FILES}/{root}/{path}", headers=tim.headers)
        assert (back.content, back.headers["content-length"]) == (data, str(len(data)))
    listed = tim.http.get(FILES, params={"path": root}, headers=tim.headers).json()["files"]
    assert [(one["path"], one["is_dir"]) for one in listed] == [
        ("dir", True), ("empty", False), ("note.txt", False),
    ]  # fmt: skip
    assert tim.put(f"{root}/note.txt", b"other").status_code == 200
    assert tim.http.delete(f"{FILES}/{root}/dir/sub/b.bin", headers=tim.headers).status_code == 200
    assert len(list(house.parts.ground.blobs.list())) == 2, "what was replaced or removed is gone"
    assert list(house.parts.home.control.glob("track-*")) == []


@pytest.mark.parametrize(
    "path", ["x", "exp_1/../../etc/passwd", "exp_1/run/artifacts/../../x", "exp_1/run/other/a"]
)
def test_a_path_that_leads_elsewhere_is_refused(house: Any, tim: Wire, path: str) -> None:
    answer = tim.http.request("PUT", f"{FILES}/{path.replace('/', '%2F')}", content=b"x", headers=tim.headers)
    assert answer.status_code in (400, 404), answer.text
    assert list(house.parts.ground.blobs.list()) == []


def test_a_path_of_two_lines_is_refused_as_mlflows_clients_read_it(tim: Wire) -> None:
    answer = tim.http.request("PUT", f"{FILES}/exp_1%0A2", content=b"x", headers=tim.headers)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def a_foreign_version(tim: Wire) -> tuple[str, Any]:
    experiment = tim.experiment("foreign")
    run = tim.run(experiment)
    body = {"experiment_id": experiment, "name": "model", "source_run_id": run}
    model = tim.do("POST", "/logged-models", body)["model"]["info"]["model_id"]
    assert tim.put(f"{experiment}/models/{model}/artifacts/model.pkl", PICKLE).status_code == 200
    tim.do("PATCH", f"/logged-models/{model}", {"model_id": model, "status": "LOGGED_MODEL_READY"})
    tim.do("POST", "/registered-models/create", {"name": "churn-model"})
    body = {"name": "churn-model", "source": f"models:/{model}", "model_id": model}
    return model, tim.do("POST", "/model-versions/create", body)["model_version"]


def test_a_pickled_model_is_sealed_marked_foreign_and_stays_as_it_is(house: Any, tim: Wire) -> None:
    model, version = a_foreign_version(tim)
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert (tags["freehold.foreign"], tags["freehold.pickled"]) == ("true", "true")
    for file in house.parts.home.control.rglob("*"):
        assert not file.is_file() or b"secret-marker" not in file.read_bytes(), file
    experiment = tim.do("GET", f"/logged-models/{model}")["model"]["info"]["experiment_id"]
    changed = tim.put(f"{experiment}/models/{model}/artifacts/model.pkl", b"other")
    assert code(changed, 409) == "RESOURCE_CONFLICT"
    back = tim.http.get(f"{FILES}/{experiment}/models/{model}/artifacts/model.pkl", headers=tim.headers)
    assert back.content == PICKLE
    own = {"name": "churn-model", "version": "1", "key": "freehold.foreign", "value": "false"}
    assert code(tim.send("POST", "/model-versions/set-tag", own), 400) == "INVALID_PARAMETER_VALUE"
    assert agrees(house) == []


def test_a_foreign_version_has_no_way_into_service(house: Any, tim: Wire) -> None:
    a_foreign_version(tim)
    stage = {"name": "churn-model", "version": "1", "stage": "Production"}
    refused = tim.send("POST", "/model-versions/transition-stage", stage)
    assert code(refused, 400) == "INVALID_PARAMETER_VALUE"
    assert "approvals and releases" in refused.json()["message"]
    with house.parts.ground.db.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(tables.models)) == 0
        for find in (versions.by_reference, bases.find):
            with pytest.raises(NotFound):
                find(conn, "claims", "churn-model@1")


def test_nothing_of_ours_can_open_a_pickle() -> None:
    import ast

    root = Path(tables.__file__).parents[1]
    for source in root.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            roots = {str(name).split(".")[0] for name in [*names, module]}
            loads = roots & {"pickle", "cloudpickle", "joblib", "dill", "mlflow", "skops"}
            ours = isinstance(node, ast.ImportFrom) and str(module).startswith("freehold")
            assert not loads or ours, f"{source}: {loads}"


def test_a_version_names_only_files_that_are_here(house: Any, tim: Wire) -> None:
    tim.do("POST", "/registered-models/create", {"name": "churn-model"})
    for source in ("s3://bucket/model", "/etc/passwd", "file:///etc", "https://example.org/m"):
        body = {"name": "churn-model", "source": source}
        assert code(tim.send("POST", "/model-versions/create", body), 400) == "INVALID_PARAMETER_VALUE"
    run = tim.run(tim.experiment())
    body = {"name": "churn-model", "source": f"runs:/{run}/model"}
    assert "no files" in tim.send("POST", "/model-versions/create", body).json()["message"]


def test_aliases_move_and_each_move_is_recorded(house: Any, tim: Wire) -> None:
    a_foreign_version(tim)
    alias = {"name": "churn-model", "alias": "champion", "version": "1"}
    for _ in range(2):
        tim.do("POST", "/registered-models/alias", alias)
    found = tim.do("GET", "/registered-models/alias", name="claims.churn-model", alias="champion")
    assert found["model_version"]["version"] == "1"
    assert len(house.entries("mlflow.alias")) == 1
    tim.do("DELETE", "/model-versions/delete", {"name": "churn-model", "version": "1"})
    gone = tim.send("GET", "/registered-models/alias", name="churn-model", alias="champion")
    assert code(gone, 404) == "RESOURCE_DOES_NOT_EXIST"
    tim.do("DELETE", "/registered-models/delete", {"name": "churn-model"})
    tim.do("POST", "/registered-models/create", {"name": "churn-model"})
    assert agrees(house) == []


def test_runs_are_found_by_metrics_params_and_tags(house: Any, tim: Wire) -> None:
    experiment = tim.experiment()
    for n in range(5):
        run = tim.run(experiment, run_name=f"run {n}")
        metrics = [{"key": "acc", "value": n / 10, "timestamp": 1}] if n else []
        params = [{"key": "lr", "value": str(n % 2)}]
        tim.do("POST", "/runs/log-batch", {"run_id": run, "metrics": metrics, "params": params})

    def names(filter: str = "", order: str = "metrics.acc DESC", **more: Any) -> list[str]:
        body = {"experiment_ids": [experiment], "filter": filter, "order_by": [order], **more}
        return [run["info"]["run_name"] for run in tim.do("POST", "/runs/search", body)["runs"]]

    assert names() == ["run 4", "run 3", "run 2", "run 1", "run 0"]
    assert names("metrics.acc >= 0.2 AND params.lr = '1'") == ["run 3"]
    assert names("run_name LIKE 'run _' AND metrics.acc < 0.3") == ["run 2", "run 1"]
    assert names("status = 'RUNNING'", "metrics.acc ASC")[:2] == ["run 1", "run 2"]
    page = {"experiment_ids": [experiment], "order_by": ["metrics.acc DESC"], "max_results": 2}
    seen: list[str] = []
    while True:
        got = tim.do("POST", "/runs/search", page)
        seen += [run["info"]["run_name"] for run in got["runs"]]
        if "next_page_token" not in got:
            break
        page["page_token"] = got["next_page_token"]
    assert seen == ["run 4", "run 3", "run 2", "run 1", "run 0"]
    for wrong in ({"filter": "metrics.acc > 1 OR metrics.acc < 0"}, {"order_by": ["params.lr"]}):
        answer = tim.send("POST", "/runs/search", {"experiment_ids": [experiment], **wrong})
        assert code(answer, 400) == "INVALID_PARAMETER_VALUE"


def test_readers_read_and_only_trainers_write(house: Any, tim: Wire) -> None:
    experiment = tim.experiment()
    run = tim.run(experiment)
    tim.put(f"{experiment}/{run}/artifacts/sample.csv", b"a,b")
    file = f"{FILES}/{experiment}/{run}/artifacts/sample.csv"
    house.project("motor")
    for n, (role, reads, opens) in enumerate(
        [("claims/auditor", 200, 200), ("claims/operator", 200, 403), ("motor/trainer", 403, 403)]
    ):
        other = Wire(house, house.person(f"p{n}@example.org", role)[1])
        assert other.send("GET", "/runs/get", run_id=run).status_code == reads
        assert other.http.get(file, headers=other.headers).status_code == opens
        log = {"run_id": run, "key": "loss", "value": 1.0}
        assert code(other.send("POST", "/runs/log-metric", log), 403) == "PERMISSION_DENIED"
        assert other.put(f"{experiment}/{run}/artifacts/x", b"x").status_code == 403
        seen = other.do("GET", "/experiments/search")["experiments"]
        assert bool(seen) is (reads == 200)
    assert len(house.entries("refusal")) >= 6


def test_deleting_hides_and_restoring_brings_back(house: Any, tim: Wire) -> None:
    experiment = tim.experiment()
    run = tim.run(experiment)
    tim.end(run)
    tim.do("POST", "/runs/delete", {"run_id": run})
    assert tim.do("POST", "/runs/search", {"experiment_ids": [experiment]})["runs"] == []
    log = {"run_id": run, "key": "loss", "value": 1.0}
    assert code(tim.send("POST", "/runs/log-metric", log), 409) == "RESOURCE_CONFLICT"
    tim.do("POST", "/runs/restore", {"run_id": run})
    tim.do("POST", "/runs/log-metric", log)
    tim.do("POST", "/experiments/delete", {"experiment_id": experiment})
    assert tim.do("GET", "/experiments/search")["experiments"] == []
    new = tim.send("POST", "/runs/create", {"experiment_id": experiment})
    assert code(new, 409) == "RESOURCE_CONFLICT"
    tim.do("POST", "/experiments/restore", {"experiment_id": experiment})
    assert agrees(house) == []


def test_what_is_not_kept_is_refused_by_name(house: Any, tim: Wire) -> None:
    for path in ("/traces", "/webhooks", "/../../3.0/mlflow/traces"):
        assert code(tim.send("POST", path, {}), 404) == "ENDPOINT_NOT_FOUND"
    unknown = tim.send("POST", "/runs/create", {"experiment_id": "0", "colour": "red"})
    assert code(unknown, 400) == "INVALID_PARAMETER_VALUE"
    assert "colour" in unknown.json()["message"]
    elsewhere = {"name": "x", "artifact_location": "s3://bucket"}
    assert code(tim.send("POST", "/experiments/create", elsewhere), 400) == "INVALID_PARAMETER_VALUE"
    large = {"run_id": "x", "model_json": "x" * (5 << 20)}
    assert code(tim.send("POST", "/runs/log-model", large), 413) == "INVALID_PARAMETER_VALUE"
    deep = tim.http.post(f"{API}/runs/log-batch", content=b"[" * 100_000, headers=tim.headers)
    assert code(deep, 400) == "INVALID_PARAMETER_VALUE"


def test_an_upload_that_died_is_swept_at_the_next_start(house: Any, tim: Wire) -> None:
    ground = house.parts.ground
    experiment = tim.experiment()
    tim.put(f"{experiment}/{tim.run(experiment)}/artifacts/a.txt", b"kept")
    left = ground.blobs.put(b"sealed bytes of an upload that died")
    (house.parts.home.control / "track-0123").write_bytes(b"half")
    with ground.db.write() as tx:
        tx.execute(tables.mlflow_uploads.insert().values(blob=left, created_at=tx.at))
    assert artifacts.sweep(ground, house.parts.home.control) == 1
    assert len(list(ground.blobs.list())) == 1
    assert list(house.parts.home.control.glob("track-*")) == []
