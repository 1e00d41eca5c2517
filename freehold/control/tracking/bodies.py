"""What MLflow clients send, field by field; a field that is not known is an error, never ignored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[int, Field(ge=-(2**52), le=2**52)]
"""Milliseconds, as MLflow speaks."""
Number = float | Literal["NaN", "Infinity", "-Infinity"]
Id = Annotated[str, Field(max_length=63)]
Text = Annotated[str, Field(max_length=100_000)]
Token = Annotated[str, Field(max_length=2000)]
View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]


class Said(BaseModel):
    """A request's body or query."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyValue(Said):
    """A param or a tag."""

    key: Text
    value: Text = ""


class Metric(Said):
    """One measured value."""

    key: Text
    value: Number
    timestamp: Time = 0
    step: Annotated[int, Field(ge=-(2**62), le=2**62)] = 0
    model_id: Id = ""
    dataset_name: Text = ""
    dataset_digest: Annotated[str, Field(max_length=36)] = ""
    run_id: Id = ""


# -- experiments ------------------------------------------------------------------------------------


class NewExperiment(Said):
    name: Text
    artifact_location: Text = ""
    tags: list[KeyValue] = []


class OfExperiment(Said):
    experiment_id: Id


class ExperimentName(Said):
    experiment_name: Text


class ExperimentUpdate(Said):
    experiment_id: Id
    new_name: Text = ""


class ExperimentTag(Said):
    experiment_id: Id
    key: Text
    value: Text = ""


class ExperimentTagKey(Said):
    experiment_id: Id
    key: Text


class ExperimentSearch(Said):
    max_results: Annotated[int, Field(ge=0)] = 1000
    page_token: Token = ""
    filter: Text = ""
    order_by: list[Text] = []
    view_type: View = "ACTIVE_ONLY"


# -- runs -------------------------------------------------------------------------------------------


class NewRun(Said):
    experiment_id: Id = "0"
    user_id: Text = ""
    run_name: Text = ""
    start_time: Time = 0
    tags: list[KeyValue] = []


class OfRun(Said):
    """A run; `run_uuid` is its older name, and both may be said."""

    run_id: Id = ""
    run_uuid: Id = ""

    @property
    def run(self) -> str:
        """Whichever was said."""
        return self.run_id or self.run_uuid


class RunUpdate(OfRun):
    status: Literal["", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"] = ""
    end_time: Time = 0
    run_name: Text = ""


class OneMetric(Metric):
    run_uuid: Id = ""

    @property
    def run(self) -> str:
        """Whichever was said."""
        return self.run_id or self.run_uuid


class OneWord(OfRun):
    key: Text
    value: Text = ""


class TagKey(OfRun):
    key: Text


class Batch(OfRun):
    metrics: Annotated[list[Metric], Field(max_length=1000)] = []
    params: Annotated[list[KeyValue], Field(max_length=100)] = []
    tags: Annotated[list[KeyValue], Field(max_length=100)] = []


class Dataset(Said):
    name: Annotated[str, Field(max_length=500)] = ""
    digest: Annotated[str, Field(max_length=36)] = ""
    source_type: Text = ""
    source: Annotated[str, Field(max_length=1 << 16)] = ""
    schema_: Annotated[str, Field(alias="schema", max_length=1 << 20)] = ""
    profile: Annotated[str, Field(max_length=1 << 20)] = ""


class DatasetInput(Said):
    tags: list[KeyValue] = []
    dataset: Dataset


class ModelInput(Said):
    model_id: Id


class ModelOutput(Said):
    model_id: Id
    step: int = 0


class Inputs(OfRun):
    datasets: Annotated[list[DatasetInput], Field(max_length=100)] = []
    models: Annotated[list[ModelInput], Field(max_length=100)] = []


class Outputs(OfRun):
    models: Annotated[list[ModelOutput], Field(max_length=100)] = []


class OldModel(OfRun):
    """How clients before 3 said that a run logged a model."""

    model_json: Text


class RunSearch(Said):
    experiment_ids: Annotated[list[Id], Field(max_length=1000)] = []
    filter: Text = ""
    run_view_type: View = "ACTIVE_ONLY"
    max_results: Annotated[int, Field(ge=0)] = 1000
    order_by: Annotated[list[Text], Field(max_length=10)] = []
    page_token: Token = ""


class History(OfRun):
    metric_key: Text
    page_token: Token = ""
    max_results: Annotated[int, Field(ge=0)] = 25_000


class Histories(Said):
    run_ids: Annotated[list[Id], Field(max_length=100)]
    metric_key: Text
    start_step: int | None = None
    end_step: int | None = None
    max_results: Annotated[int, Field(ge=1, le=2500)] = 2500


class FileList(OfRun):
    path: Text = ""
    page_token: Token = ""


# -- logged models ----------------------------------------------------------------------------------


class NewModel(Said):
    experiment_id: Id
    name: Text = ""
    model_type: Text = ""
    source_run_id: Id = ""
    params: list[KeyValue] = []
    tags: list[KeyValue] = []


class ModelEnd(Said):
    model_id: Id = ""
    status: Literal["LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"]


class ModelTags(Said):
    model_id: Id = ""
    tags: list[KeyValue] = []


class ModelParams(Said):
    model_id: Id = ""
    params: list[KeyValue] = []


class NoWords(Said):
    """A body that repeats what the path says."""

    model_id: Id = ""
    tag_key: Text = ""


class ModelOrder(Said):
    field_name: Text
    ascending: bool = True
    dataset_name: Text = ""
    dataset_digest: Text = ""


class ModelSearch(Said):
    experiment_ids: Annotated[list[Id], Field(max_length=1000)] = []
    filter: Text = ""
    datasets: list[Dataset] = []
    max_results: Annotated[int, Field(ge=0)] = 50
    order_by: list[ModelOrder] = []
    page_token: Token = ""


class ModelFiles(Said):
    artifact_directory_path: Text = ""
    page_token: Token = ""
    model_id: Id = ""


# -- registered models ------------------------------------------------------------------------------


class NewName(Said):
    name: Text
    tags: list[KeyValue] = []
    description: Text = ""
    deployment_job_id: Literal[""] = ""


class OfName(Said):
    name: Text


class Rename(Said):
    name: Text
    new_name: Text


class NameUpdate(Said):
    name: Text
    description: Text = ""
    deployment_job_id: Literal[""] = ""


class NameTag(Said):
    name: Text
    key: Text
    value: Text = ""


class NameTagKey(Said):
    name: Text
    key: Text


class NewVersion(Said):
    name: Text
    source: Text = ""
    run_id: Id = ""
    model_id: Id = ""
    run_link: Text = ""
    description: Text = ""
    tags: list[KeyValue] = []


VersionNumber = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class OfVersion(Said):
    name: Text
    version: VersionNumber

    @property
    def number(self) -> int:
        """The version as a number."""
        return int(self.version)


class VersionUpdate(OfVersion):
    description: Text = ""


class VersionTag(OfVersion):
    key: Text
    value: Text = ""


class VersionTagKey(OfVersion):
    key: Text


class Stage(OfVersion):
    stage: Text
    archive_existing_versions: bool = False


class LatestOf(Said):
    name: Text
    stages: list[Text] = []


class OfAlias(Said):
    name: Text
    alias: Text


class NewAlias(OfAlias):
    version: VersionNumber


class NameSearch(Said):
    filter: Text = ""
    max_results: Annotated[int, Field(ge=0)] = 100
    order_by: list[Text] = []
    page_token: Token = ""
