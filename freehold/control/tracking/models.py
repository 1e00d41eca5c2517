"""The paths under `/mlflow/logged-models`: files that a client calls a model."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request

from freehold.control.tracking import bodies, shapes
from freehold.control.tracking.desk import READ, WRITE, Desk
from freehold.errors import BadInput
from freehold.track import artifacts, filters, logged
from freehold.track.filters import Comparison
from freehold.track.records import LoggedModel, ModelState

_STATES = {
    "LOGGED_MODEL_PENDING": "pending",
    "LOGGED_MODEL_READY": "ready",
    "LOGGED_MODEL_UPLOAD_FAILED": "failed",
}
_TIMES = ("creation_timestamp", "creation_timestamp_ms", "last_updated_timestamp", "creation_time")
_KNOWN = ("name", "model_id", "model_type", "status", "source_run_id", "experiment_id", *_TIMES)


def add(routes: APIRouter, desk: Desk) -> None:
    """Add the paths."""
    _add_writing(routes, desk)
    _add_words(routes, desk)
    _add_reading(routes, desk)


def _add_writing(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.post("/logged-models")
    def create_model(said: bodies.NewModel, request: Request) -> dict[str, Any]:
        """A model whose files will follow."""
        who = desk.who(request)
        experiment = desk.experiment(who, said.experiment_id, WRITE)
        run = desk.run(who, said.source_run_id, WRITE) if said.source_run_id else None
        if run is not None and run.project != experiment.project:
            raise BadInput(what="the run belongs to another project than the experiment")
        begun = logged.begin(
            ground,
            by=who,
            experiment=experiment,
            name=said.name or "model",
            type=said.model_type,
            run=run.id if run else None,
            params={one.key: one.value for one in said.params},
            tags={one.key: one.value for one in said.tags},
        )
        return {"model": shapes.model(begun)}

    @routes.patch("/logged-models/{model_id}")
    def finish_model(model_id: str, said: bodies.ModelEnd, request: Request) -> dict[str, Any]:
        """Its files are complete, or never will be."""
        who = desk.who(request)
        now = desk.model(who, model_id, WRITE)
        state = cast(ModelState, _STATES[said.status])
        return {"model": shapes.model(logged.finish(ground, by=who, id=now.id, state=state))}

    @routes.delete("/logged-models/{model_id}")
    def delete_model(model_id: str, request: Request, said: bodies.NoWords | None = None) -> dict[str, Any]:
        """Out of sight."""
        who = desk.who(request)
        logged.delete(ground, by=who, id=desk.model(who, model_id, WRITE).id)
        return {}


def _add_words(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.patch("/logged-models/{model_id}/tags")
    def set_tags(model_id: str, said: bodies.ModelTags, request: Request) -> dict[str, Any]:
        """Set tags."""
        who = desk.who(request)
        now = desk.model(who, model_id, WRITE)
        logged.tell(ground, by=who, id=now.id, tags={one.key: one.value for one in said.tags})
        return {}

    @routes.delete("/logged-models/{model_id}/tags/{tag_key:path}")
    def delete_tag(
        model_id: str, tag_key: str, request: Request, said: bodies.NoWords | None = None
    ) -> dict[str, Any]:
        """Remove a tag."""
        who = desk.who(request)
        logged.tell(ground, by=who, id=desk.model(who, model_id, WRITE).id, tags={tag_key: None})
        return {}

    @routes.post("/logged-models/{model_id}/params")
    def log_params(model_id: str, said: bodies.ModelParams, request: Request) -> dict[str, Any]:
        """Add params."""
        who = desk.who(request)
        now = desk.model(who, model_id, WRITE)
        logged.tell(ground, by=who, id=now.id, params={one.key: one.value for one in said.params})
        return {}


def _add_reading(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.get("/logged-models/{model_id}")
    def get_model(model_id: str, request: Request) -> dict[str, Any]:
        """One logged model."""
        return {"model": shapes.model(desk.model(desk.who(request), model_id, READ))}

    @routes.get("/logged-models/{model_id}/artifacts/directories")
    def list_files(
        model_id: str, request: Request, said: Annotated[bodies.ModelFiles, Query()]
    ) -> dict[str, Any]:
        """What lies in a folder of a model."""
        found = desk.model(desk.who(request), model_id, READ)
        folder = said.artifact_directory_path
        place = artifacts.spot(f"{found.experiment}/models/{found.id}/artifacts/{folder}")
        with ground.db.read() as conn:
            entries = artifacts.listed(conn, ground.keyring, found.id, place.path)
        root = artifacts.Spot(found.experiment, found.id, True, "").uri
        return {"root_uri": root, "files": shapes.files(entries)}

    @routes.post("/logged-models/search")
    def search_models(said: bodies.ModelSearch, request: Request) -> dict[str, Any]:
        """Logged models of some experiments."""
        who = desk.who(request)
        wanted = [desk.experiment(who, one, READ).id for one in said.experiment_ids]
        conditions = filters.parse(
            said.filter, attributes=_KNOWN, numbers=_TIMES, kinds=("attribute", "metric", "param", "tag")
        )
        if said.datasets:
            raise filters.FilterUnusable(text="datasets", why="metrics are not searched by data set here")
        with ground.db.read() as conn:
            found = logged.listed(conn, ground.keyring, wanted)
        found = [one for one in found if all(_holds(c, one) for c in conditions)]
        for order in reversed(said.order_by):
            _sort(found, order)
        some, more = shapes.page(found, said.max_results, said.page_token)
        return {"models": [shapes.model(one) for one in some], **more}


def _holds(condition: Comparison, one: LoggedModel) -> bool:
    match condition.kind:
        case "param":
            return condition.holds(one.params.get(condition.key))
        case "tag":
            return condition.holds(one.tags.get(condition.key))
        case "metric":
            return any(condition.holds(p.value) for _, p in one.metrics if p.key == condition.key)
    return condition.holds(_attribute(one, condition.key))


def _attribute(one: LoggedModel, key: str) -> str | float | None:
    if key in _TIMES:
        return (one.changed_at if key == "last_updated_timestamp" else one.created_at) // 1000
    words = {"model_id": one.id, "model_type": one.type, "status": one.state.upper()}
    words |= {"name": one.name, "experiment_id": one.experiment}
    return one.run if key == "source_run_id" else words[key]


def _sort(found: list[LoggedModel], order: bodies.ModelOrder) -> None:
    """What has no value comes last, whichever way."""
    value: dict[str, Any] = {}
    if order.field_name.startswith("metrics."):
        key = order.field_name.removeprefix("metrics.")
        value |= {one.id: _measured(one, key, order.dataset_digest) for one in found}
    else:
        by = filters.parse_order(order.field_name, attributes=_KNOWN, kinds=filters.WORDLESS)
        value |= {one.id: _attribute(one, by.key) for one in found}
    none = [one for one in found if value[one.id] is None]
    some = [one for one in found if value[one.id] is not None]
    some.sort(key=lambda one: value[one.id], reverse=not order.ascending)
    found[:] = [*some, *none]


def _measured(one: LoggedModel, key: str, dataset: str) -> float | None:
    fitting = [p.value for _, p in one.metrics if p.key == key and (not dataset or p.dataset == dataset)]
    return fitting[0] if fitting else None
