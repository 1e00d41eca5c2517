"""Our records as MLflow's clients expect them: names, milliseconds, lists of key and value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from freehold.errors import BadInput
from freehold.track.artifacts import Entry, Spot
from freehold.track.records import Experiment, LoggedModel, Point, Registered, Run, RunHead, Version

Shape = dict[str, Any]

_MODEL_STATUS = {
    "pending": "LOGGED_MODEL_PENDING",
    "ready": "LOGGED_MODEL_READY",
    "failed": "LOGGED_MODEL_UPLOAD_FAILED",
}


class PageTokenUnusable(BadInput):
    """this page token is none of ours"""


def pairs(said: Mapping[str, str]) -> list[Shape]:
    """A mapping as MLflow writes it."""
    return [{"key": key, "value": value} for key, value in said.items()]


def lifecycle(deleted: bool) -> str:
    """`active` or `deleted`."""
    return "deleted" if deleted else "active"


def page(found: Sequence[Any], limit: int, token: str) -> tuple[Sequence[Any], Shape]:
    """Some of a list, and the token of what follows. Raises PageTokenUnusable."""
    if token and not token.isdecimal():
        raise PageTokenUnusable(hint="start without one")
    start = int(token or 0)
    end = start + max(1, limit)
    return found[start:end], {"next_page_token": str(end)} if end < len(found) else {}


def experiment(one: Experiment) -> Shape:
    """An experiment."""
    return {
        "experiment_id": one.id,
        "name": one.full_name,
        "artifact_location": f"mlflow-artifacts:/{one.id}",
        "lifecycle_stage": lifecycle(one.deleted),
        "creation_time": one.created_at // 1000,
        "last_update_time": one.changed_at // 1000,
        "tags": pairs(one.tags),
    }


def run_info(head: RunHead, name: str) -> Shape:
    """What a run is."""
    ended = {} if head.ended_at is None else {"end_time": head.ended_at // 1000}
    return {
        "run_id": head.id,
        "run_uuid": head.id,
        "run_name": name,
        "experiment_id": head.experiment,
        "user_id": head.owner,
        "status": head.state.upper(),
        "start_time": head.started_at // 1000,
        **ended,
        "artifact_uri": Spot(head.experiment, head.id, False, "").uri,
        "lifecycle_stage": lifecycle(head.deleted),
    }


def run(one: Run) -> Shape:
    """A run with what it holds."""
    inputs = one.inputs
    return {
        "info": run_info(one.head, one.name),
        "data": {
            "metrics": [metric(point) for point in one.metrics],
            "params": pairs(one.params),
            "tags": pairs(one.tags),
        },
        "inputs": {"dataset_inputs": inputs.get("datasets", []), "model_inputs": inputs.get("models", [])},
        "outputs": {"model_outputs": inputs.get("outputs", [])},
    }


def number(value: float) -> float | str:
    """JSON has no word for what is no number; protobuf's JSON has."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def metric(point: Point, run: str = "") -> Shape:
    """A point; with `run`, one that is about a logged model."""
    said: Shape = {"key": point.key, "value": number(point.value)}
    said |= {"timestamp": point.at // 1000, "step": point.step}
    if run:
        said |= {"run_id": run, "model_id": point.model}
        if point.dataset and point.dataset_name:
            said |= {"dataset_digest": point.dataset, "dataset_name": point.dataset_name}
    return said


def model(one: LoggedModel) -> Shape:
    """A logged model."""
    info: Shape = {
        "model_id": one.id,
        "experiment_id": one.experiment,
        "name": one.name,
        "creation_timestamp_ms": one.created_at // 1000,
        "last_updated_timestamp_ms": one.changed_at // 1000,
        "artifact_uri": Spot(one.experiment, one.id, True, "").uri,
        "status": _MODEL_STATUS[one.state],
        "model_type": one.type,
        "tags": pairs(one.tags),
    }
    if one.run:
        info["source_run_id"] = one.run
    metrics = [metric(point, run) for run, point in one.metrics]
    return {"info": info, "data": {"params": pairs(one.params), "metrics": metrics}}


def registered(one: Registered, versions: Iterable[Version]) -> Shape:
    """A registered name with its newest version."""
    newest = max(versions, key=lambda v: v.version, default=None)
    return {
        "name": one.full_name,
        "creation_timestamp": one.created_at // 1000,
        "last_updated_timestamp": one.changed_at // 1000,
        "description": one.description,
        "latest_versions": [version(newest)] if newest else [],
        "tags": pairs(one.tags),
        "aliases": [{"alias": alias, "version": str(to)} for alias, to in one.aliases.items()],
    }


def version(one: Version) -> Shape:
    """A version of a registered name."""
    said: Shape = {
        "name": one.registered.full_name,
        "version": str(one.version),
        "creation_timestamp": one.created_at // 1000,
        "last_updated_timestamp": one.changed_at // 1000,
        "user_id": one.owner,
        "current_stage": "None",
        "description": one.description,
        "source": one.source,
        "status": "READY",
        "tags": pairs(one.tags),
        "aliases": list(one.aliases),
    }
    if one.run:
        said["run_id"] = one.run
    if one.of.startswith("m-"):
        said["model_id"] = one.of
    return said


def files(entries: Iterable[Entry], below: str = "") -> list[Shape]:
    """A listing; paths below `below`."""
    cut = f"{below}/" if below else ""
    return [
        {"path": entry.path.removeprefix(cut), "is_dir": entry.is_dir}
        | ({} if entry.bytes is None else {"file_size": entry.bytes})
        for entry in entries
    ]
