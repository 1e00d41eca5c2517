"""The paths under `/mlflow/runs`, and what is measured in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request

from freehold.control.tracking import bodies, shapes
from freehold.control.tracking.desk import READ, WRITE, Desk
from freehold.control.tracking.experiments import VIEWS
from freehold.errors import BadInput
from freehold.spec.principal import Principal
from freehold.track import artifacts, points, runs, search
from freehold.track.records import Point, RunState

MOST_AT_ONCE = 1000
_HISTORY = "mlflow.log-model.history"


class BatchTooLarge(BadInput):
    """there are too many things in one batch"""


def add(routes: APIRouter, desk: Desk) -> None:
    """Add the paths."""
    _add_life(routes, desk)
    _add_filling(routes, desk)
    _add_saying(routes, desk)
    _add_reading(routes, desk)
    _add_histories(routes, desk)
    _add_files(routes, desk)


# -- begin and end ------------------------------------------------------------------------------------


def _add_life(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.post("/runs/create")
    def create_run(said: bodies.NewRun, request: Request) -> dict[str, Any]:
        """A new run. Who it was says the key, whatever `user_id` says."""
        who = desk.who(request)
        experiment = desk.experiment(who, said.experiment_id, WRITE)
        tags = {tag.key: tag.value for tag in said.tags}
        begun = runs.begin(
            ground,
            by=who,
            experiment=experiment,
            name=said.run_name or tags.get(runs.NAME_TAG, ""),
            started_at=said.start_time * 1000 or ground.clock(),
            tags=tags,
        )
        return {"run": shapes.run(begun)}

    @routes.post("/runs/update")
    def update_run(said: bodies.RunUpdate, request: Request) -> dict[str, Any]:
        """End it, take it up again, name it."""
        who = desk.who(request)
        now = desk.run(who, said.run, WRITE)
        after = runs.change(
            ground,
            by=who,
            run=now.id,
            state=cast(RunState, said.status.lower()) if said.status else None,
            ended_at=said.end_time * 1000 or None,
            name=said.run_name or None,
        )
        return {"run_info": shapes.run_info(after.head, after.name)}

    @routes.post("/runs/delete")
    def delete_run(said: bodies.OfRun, request: Request) -> dict[str, Any]:
        """Out of sight; nothing is destroyed."""
        who = desk.who(request)
        runs.set_deleted(ground, by=who, run=desk.run(who, said.run, WRITE).id, deleted=True)
        return {}

    @routes.post("/runs/restore")
    def restore_run(said: bodies.OfRun, request: Request) -> dict[str, Any]:
        """Back in sight."""
        who = desk.who(request)
        runs.set_deleted(ground, by=who, run=desk.run(who, said.run, WRITE).id, deleted=False)
        return {}


# -- metrics, params, tags --------------------------------------------------------------------------


def _add_filling(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.post("/runs/log-metric")
    def log_metric(said: bodies.OneMetric, request: Request) -> dict[str, Any]:
        """One measured value."""
        who = desk.who(request)
        runs.log(ground, by=who, run=desk.run(who, said.run, WRITE).id, metrics=_points([said]))
        return {}

    @routes.post("/runs/log-parameter")
    def log_param(said: bodies.OneWord, request: Request) -> dict[str, Any]:
        """One param; it keeps its first value."""
        who = desk.who(request)
        runs.log(ground, by=who, run=desk.run(who, said.run, WRITE).id, params={said.key: said.value})
        return {}

    @routes.post("/runs/log-batch")
    def log_batch(said: bodies.Batch, request: Request) -> dict[str, Any]:
        """Metrics, params and tags at once: all of them or none."""
        who = desk.who(request)
        if len(said.metrics) + len(said.params) + len(said.tags) > MOST_AT_ONCE:
            raise BatchTooLarge(why=f"{MOST_AT_ONCE:,} are the most", hint="send several batches")
        runs.log(
            ground,
            by=who,
            run=desk.run(who, said.run, WRITE).id,
            metrics=_points(said.metrics),
            params=_once(said.params),
            tags={tag.key: tag.value for tag in said.tags},
        )
        return {}

    @routes.post("/runs/set-tag")
    def set_tag(said: bodies.OneWord, request: Request) -> dict[str, Any]:
        """One tag."""
        who = desk.who(request)
        runs.log(ground, by=who, run=desk.run(who, said.run, WRITE).id, tags={said.key: said.value})
        return {}

    @routes.post("/runs/delete-tag")
    def delete_tag(said: bodies.TagKey, request: Request) -> dict[str, Any]:
        """Remove one tag."""
        who = desk.who(request)
        runs.delete_tag(ground, by=who, run=desk.run(who, said.run, WRITE).id, key=said.key)
        return {}


def _points(said: Sequence[bodies.Metric]) -> list[Point]:
    return [
        Point(
            key=one.key,
            value=float(one.value),
            step=one.step,
            at=one.timestamp * 1000,
            model=one.model_id,
            dataset=one.dataset_digest,
            dataset_name=one.dataset_name,
        )
        for one in said
    ]


def _once(said: Sequence[bodies.KeyValue]) -> dict[str, str]:
    """Params of a batch; the same key twice with two values is a mistake. Raises ParamTwice."""
    found: dict[str, str] = {}
    for one in said:
        if found.setdefault(one.key, one.value) != one.value:
            raise BadInput(what=f"the param `{one.key[:80]}` has two values in one batch")
    return found


# -- inputs and outputs -----------------------------------------------------------------------------


def _add_saying(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.post("/runs/log-inputs")
    def log_inputs(said: bodies.Inputs, request: Request) -> dict[str, Any]:
        """What it read."""
        who = desk.who(request)
        run = desk.run(who, said.run, WRITE).id
        datasets = [_dataset(one, who) for one in said.datasets]
        models = [one.model_dump() for one in said.models]
        runs.add_inputs(ground, by=who, run=run, datasets=datasets, models=models)
        return {}

    @routes.post("/runs/outputs")
    def log_outputs(said: bodies.Outputs, request: Request) -> dict[str, Any]:
        """The models it made."""
        who = desk.who(request)
        run = desk.run(who, said.run, WRITE).id
        runs.add_inputs(ground, by=who, run=run, outputs=[one.model_dump() for one in said.models])
        return {}

    @routes.post("/runs/log-model")
    def log_model(said: bodies.OldModel, request: Request) -> dict[str, Any]:
        """How clients before 3 say that files of a run are a model: kept as the tag they read it from."""
        who = desk.who(request)
        run = desk.run(who, said.run, WRITE).id
        try:
            model = json.loads(said.model_json)
        except ValueError as error:
            raise BadInput(what="`model_json` cannot be used", why="it is no JSON") from error
        with ground.db.read() as conn:
            there = json.loads(runs.find(conn, ground.keyring, run).tags.get(_HISTORY, "[]"))
        runs.log(ground, by=who, run=run, tags={_HISTORY: json.dumps([*there, model])})
        return {}


def _dataset(said: bodies.DatasetInput, who: Principal) -> dict[str, Any]:
    """As it was said, without the name a computer has for its user."""
    dataset = {k: v for k, v in said.dataset.model_dump(by_alias=True).items() if v}
    if dataset.get("source_type") == "code":
        dataset["source"] = _without_user(str(dataset.get("source", "")), who)
    return {"tags": [tag.model_dump() for tag in said.tags], "dataset": dataset}


def _without_user(source: str, who: Principal) -> str:
    try:
        read = json.loads(source)
        if runs.USER_TAG in read["tags"]:
            read["tags"][runs.USER_TAG] = who.id
    except (ValueError, KeyError, TypeError):
        return source
    return json.dumps(read)


# -- reading ------------------------------------------------------------------------------------------


def _add_reading(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.get("/runs/get")
    def get_run(request: Request, said: Annotated[bodies.OfRun, Query()]) -> dict[str, Any]:
        """One run with what it holds."""
        found = desk.run(desk.who(request), said.run, READ)
        with ground.db.read() as conn:
            return {"run": shapes.run(runs.find(conn, ground.keyring, found.id))}

    @routes.post("/runs/search")
    def search_runs(said: bodies.RunSearch, request: Request) -> dict[str, Any]:
        """Runs of some experiments."""
        who = desk.who(request)
        wanted = [desk.experiment(who, one, READ).id for one in said.experiment_ids]
        with ground.db.read() as conn:
            page = search.search(
                conn,
                ground.keyring,
                experiments=wanted,
                filter=said.filter,
                order_by=said.order_by,
                deleted=VIEWS[said.run_view_type],
                limit=said.max_results,
                token=said.page_token,
            )
        more = {"next_page_token": page.token} if page.token else {}
        return {"runs": [shapes.run(one) for one in page.runs], **more}


def _add_histories(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.get("/metrics/get-history")
    def get_history(request: Request, said: Annotated[bodies.History, Query()]) -> dict[str, Any]:
        """Every point of one metric."""
        found = desk.run(desk.who(request), said.run, READ)
        if said.page_token and not said.page_token.isdecimal():
            raise shapes.PageTokenUnusable(hint="start without one")
        after, limit = int(said.page_token or 0), max(1, min(said.max_results or 25_000, 25_000))
        with ground.db.read() as conn:
            found_points = points.history(conn, found.id, said.metric_key, after=after, limit=limit)
        more = {"next_page_token": str(after + limit)} if len(found_points) == limit else {}
        return {"metrics": [shapes.metric(point) for point in found_points], **more}

    @routes.get("/metrics/get-history-bulk-interval")
    def get_histories(request: Request, said: Annotated[bodies.Histories, Query()]) -> dict[str, Any]:
        """Points of one metric in several runs, between two steps."""
        who = desk.who(request)
        wanted = [desk.run(who, run, READ).id for run in said.run_ids]
        low = -(2**63) if said.start_step is None else said.start_step
        high = 2**63 if said.end_step is None else said.end_step
        with ground.db.read() as conn:
            histories = {run: points.history(conn, run, said.metric_key) for run in wanted}
        found = [
            {**shapes.metric(point), "run_id": run}
            for run, line in histories.items()
            for point in _thinned([p for p in line if low <= p.step <= high], said.max_results)
        ]
        return {"metrics": found}


def _add_files(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.get("/artifacts/list")
    def list_artifacts(request: Request, said: Annotated[bodies.FileList, Query()]) -> dict[str, Any]:
        """What lies in a folder of a run."""
        found = desk.run(desk.who(request), said.run, READ)
        place = artifacts.spot(f"{found.experiment}/{found.id}/artifacts/{said.path}")
        with ground.db.read() as conn:
            entries = artifacts.listed(conn, ground.keyring, found.id, place.path)
        root = artifacts.Spot(found.experiment, found.id, False, "").uri
        return {"root_uri": root, "files": shapes.files(entries)}


def _thinned(line: list[Point], most: int) -> list[Point]:
    """At most so many points, evenly, the first and the last among them."""
    if len(line) <= most:
        return line
    return [line[round(i * (len(line) - 1) / (most - 1))] for i in range(most)] if most > 1 else line[-1:]
