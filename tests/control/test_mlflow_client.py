"""The real MLflow client, unchanged, with control as its tracking server."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import serving

from freehold.ledger.agree import disagreements

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before its import; the socket guard holds it
os.environ["DO_NOT_TRACK"] = "true"

if importlib.util.find_spec("mlflow") is None:
    pytest.skip("this environment has no mlflow", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own, not ours


@pytest.fixture
def client(house: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MlflowClient]:
    """The client of a trainer with one project."""
    key = house.person("tim@example.org", "claims/trainer")[1]["authorization"].removeprefix("Bearer ")
    with serving(house.client("mlflow").app) as url:
        uri = f"{url}/mlflow"
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", key)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
        # seconds for working out what a pickle would need, in a process of its own: not our matter
        monkeypatch.setenv("MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT", "1")
        for left in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):  # the client leaves it behind
            monkeypatch.setenv(left, "")
            monkeypatch.delenv(left)
        monkeypatch.chdir(tmp_path)
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield MlflowClient(uri)


def agrees(house: Any) -> list[tuple[str, str]]:
    with house.parts.ground.db.read() as conn:
        return disagreements(conn)[1]


def test_the_fluent_calls_of_a_training_script(house: Any, client: MlflowClient, tmp_path: Path) -> None:
    mlflow.set_experiment("churn")
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "note.txt").write_text("hello")
    (folder / "sub" / "b.bin").write_bytes(bytes(1000))
    with mlflow.start_run(run_name="first", description="some words") as run:
        mlflow.log_params({"lr": 0.1, "layers": 2})
        for step in range(3):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"acc": 0.9, "far": float("inf")})
        mlflow.set_tags({"team": "red"})
        mlflow.log_artifacts(str(folder), "dir")
        mlflow.log_dict({"a": 1}, "d.json")
        with mlflow.start_run(nested=True):
            mlflow.log_metric("inner", 1)
    id_ = run.info.run_id
    kept = client.get_run(id_)
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"lr": "0.1", "layers": "2"}
    assert kept.data.metrics == {"loss": 1 / 3, "acc": 0.9, "far": float("inf")}
    assert [point.step for point in client.get_metric_history(id_, "loss")] == [0, 1, 2]
    assert [(f.path, f.is_dir) for f in client.list_artifacts(id_)] == [("d.json", False), ("dir", True)]
    back = Path(mlflow.artifacts.download_artifacts(run_id=id_, artifact_path="dir"))
    assert (back / "sub" / "b.bin").read_bytes() == bytes(1000)
    found = mlflow.search_runs(
        filter_string="metrics.acc > 0.5 and params.lr = '0.1' and tags.team = 'red'",
        order_by=["metrics.acc DESC"],
        output_format="list",
    )
    assert [one.info.run_id for one in found] == [id_]
    assert [e.name for e in client.search_experiments()] == ["claims/churn"]
    client.delete_tag(id_, "team")
    client.update_run(id_, name="other")
    client.delete_run(id_)
    client.restore_run(id_)
    assert client.get_run(id_).info.run_name == "other"
    assert agrees(house) == []


def test_a_script_that_names_no_experiment(house: Any, client: MlflowClient) -> None:
    mlflow.tracking.fluent._active_experiment_id = None
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 1.0)
    experiment = client.get_experiment(client.get_run(run.info.run_id).info.experiment_id)
    assert experiment.name == "claims/Default"


def test_the_registry(house: Any, client: MlflowClient) -> None:
    experiment = client.create_experiment("models", tags={"a": "b"})
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "weights", "model/weights.txt")
    client.create_registered_model("churn-model", tags={"a": "b"}, description="words")
    made = client.create_model_version(
        "churn-model", source=f"runs:/{run.info.run_id}/model", run_id=run.info.run_id
    )
    assert (made.name, made.version) == ("claims.churn-model", "1")
    assert made.tags["freehold.foreign"] == "true"
    client.set_registered_model_alias("churn-model", "champion", "1")
    client.set_model_version_tag("churn-model", "1", "checked", "yes")
    client.update_model_version("churn-model", "1", description="better words")
    by_alias = client.get_model_version_by_alias("claims.churn-model", "champion")
    assert (by_alias.tags["checked"], by_alias.description) == ("yes", "better words")
    assert client.get_registered_model("churn-model").aliases == {"champion": "1"}
    assert [m.name for m in client.search_registered_models()] == ["claims.churn-model"]
    assert len(client.search_model_versions("name = 'churn-model'")) == 1
    there = Path(mlflow.artifacts.download_artifacts("models:/claims.churn-model@champion"))
    assert (there / "weights.txt").read_text() == "weights"
    client.delete_model_version_tag("churn-model", "1", "checked")
    client.delete_registered_model_alias("churn-model", "champion")
    client.rename_registered_model("churn-model", "churn-model-2")
    client.delete_model_version("churn-model-2", "1")
    client.delete_registered_model("churn-model-2")
    assert agrees(house) == []


def test_the_clients_errors_say_what_and_what_now(house: Any, client: MlflowClient) -> None:
    with pytest.raises(MlflowException, match="no experiment `exp_x`") as told:
        client.get_experiment("exp_x")
    assert told.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.create_experiment("churn")
    with pytest.raises(MlflowException) as told:
        client.create_experiment("claims/churn")
    assert told.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_every_field_of_the_clients_requests_is_known(house: Any) -> None:
    """A newer client that says more is found here, not by whoever trains with it."""
    from mlflow.protos import databricks_pb2, model_registry_pb2, service_pb2

    from freehold.control.tracking import bodies

    pairs = {
        "createExperiment": bodies.NewExperiment, "updateExperiment": bodies.ExperimentUpdate,
        "createRun": bodies.NewRun, "updateRun": bodies.RunUpdate, "logMetric": bodies.OneMetric,
        "logParam": bodies.OneWord, "setTag": bodies.OneWord, "logBatch": bodies.Batch,
        "logInputs": bodies.Inputs, "logOutputs": bodies.Outputs, "searchRuns": bodies.RunSearch,
        "createLoggedModel": bodies.NewModel, "finalizeLoggedModel": bodies.ModelEnd,
        "searchLoggedModels": bodies.ModelSearch, "createRegisteredModel": bodies.NewName,
        "createModelVersion": bodies.NewVersion, "setRegisteredModelAlias": bodies.NewAlias,
    }  # fmt: skip
    assert databricks_pb2
    methods = {
        method.name: method.input_type
        for file in (service_pb2, model_registry_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    for name, body in pairs.items():
        asked = {field.name for field in methods[name].fields}
        assert asked <= set(body.model_fields), f"{name}: {asked - set(body.model_fields)}"


@pytest.mark.skipif(
    importlib.util.find_spec("pandas") is None, reason="this environment has no pandas (train)"
)
def test_scikit_learns_autologging_and_a_pickled_model(house: Any, client: MlflowClient) -> None:
    import mlflow.sklearn
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    features = np.arange(40.0).reshape(20, 2)
    classes = np.array([0, 1] * 10)
    mlflow.set_experiment("auto")
    mlflow.sklearn.autolog(log_models=True, registered_model_name="auto-model")
    try:
        fitted = LogisticRegression().fit(features, classes)
        fitted.score(features, classes)
    finally:
        mlflow.sklearn.autolog(disable=True)
    run = mlflow.last_active_run()
    assert run is not None
    assert run.data.params["C"] == "1.0"
    assert "training_accuracy_score" in run.data.metrics
    (version,) = client.search_model_versions("name = 'auto-model'")
    assert (version.tags["freehold.foreign"], version.tags["freehold.pickled"]) == ("true", "true")
    again = mlflow.sklearn.load_model("models:/claims.auto-model/1")
    assert (again.predict(features) == fitted.predict(features)).all()
    assert agrees(house) == []
    for file in house.parts.home.control.rglob("*"):
        assert not file.is_file() or b"sklearn.linear_model" not in file.read_bytes(), file


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="this environment has no train")
def test_the_callback_of_transformers_and_trl(
    house: Any, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's trainers log through this callback of transformers' (`report_to="mlflow"`)."""
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from transformers.integrations import MLflowCallback

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "claims/tuning")
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], run_name="lora", use_cpu=True)
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    callback = MLflowCallback()
    try:
        callback.setup(arguments, state, None)
        for step in range(1, 4):
            state.global_step = step
            callback.on_log(arguments, state, control, {"loss": 1 / step, "grad_norm": 0.5}, model=None)
        callback.on_train_end(arguments, state, control)
    finally:
        mlflow.end_run()
    (run,) = client.search_runs([client.get_experiment_by_name("claims/tuning").experiment_id])
    assert run.data.metrics["loss"] == pytest.approx(1 / 3)
    assert len(run.data.params) > 50
    assert agrees(house) == []
