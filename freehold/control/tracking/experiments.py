"""The paths under `/mlflow/experiments`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from freehold.control.tracking import bodies, shapes
from freehold.control.tracking.desk import READ, WRITE, Desk
from freehold.errors import BadInput
from freehold.spec.principal import Principal
from freehold.track import experiments, filters
from freehold.track.filters import Comparison
from freehold.track.records import Experiment

VIEWS = {"ACTIVE_ONLY": False, "DELETED_ONLY": True, "ALL": None}


class LocationElsewhere(BadInput):
    """an experiment's files are kept here"""


def add(routes: APIRouter, desk: Desk) -> None:
    """Add the paths."""
    _add_reading(routes, desk)
    _add_writing(routes, desk)
    _add_tags(routes, desk)


def _add_reading(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.get("/experiments/get")
    def get_experiment(request: Request, said: Annotated[bodies.OfExperiment, Query()]) -> dict[str, Any]:
        """One experiment by id; `0` is the default one."""
        found = desk.experiment(desk.who(request), said.experiment_id, READ)
        return {"experiment": shapes.experiment(found)}

    @routes.get("/experiments/get-by-name")
    def get_by_name(request: Request, said: Annotated[bodies.ExperimentName, Query()]) -> dict[str, Any]:
        """One experiment by name."""
        who = desk.who(request)
        named = desk.named(who, said.experiment_name, "experiment")
        desk.may(who, READ, named.project)
        with ground.db.read() as conn:
            return {"experiment": shapes.experiment(experiments.by_name(conn, ground.keyring, named))}

    @routes.get("/experiments/search")
    def search_by_query(
        request: Request, said: Annotated[bodies.ExperimentSearch, Query()]
    ) -> dict[str, Any]:
        """Experiments of your projects."""
        return _search(desk, desk.who(request), said)

    @routes.post("/experiments/search")
    def search(said: bodies.ExperimentSearch, request: Request) -> dict[str, Any]:
        """Experiments of your projects."""
        return _search(desk, desk.who(request), said)


def _search(desk: Desk, who: Principal, said: bodies.ExperimentSearch) -> dict[str, Any]:
    known = ("name", "creation_time", "last_update_time")
    conditions = filters.parse(said.filter, attributes=known, numbers=known[1:], kinds=("attribute", "tag"))
    orders = [filters.parse_order(o, attributes=known, kinds=filters.WORDLESS) for o in said.order_by]
    with desk.ground.db.read() as conn:
        found = experiments.listed(
            conn, desk.ground.keyring, desk.yours(who).read, deleted=VIEWS[said.view_type]
        )
    found = [one for one in found if all(_holds(c, one) for c in conditions)]
    for order in reversed(orders):
        found.sort(key=_value_of(order.key), reverse=order.descending)
    some, more = shapes.page(found, said.max_results, said.page_token)
    return {"experiments": [shapes.experiment(one) for one in some], **more}


def _holds(condition: Comparison, one: Experiment) -> bool:
    if condition.kind == "tag":
        return condition.holds(one.tags.get(condition.key))
    if condition.key == "name":  # with or without its project: whichever the client says
        return condition.holds(one.full_name) or condition.holds(one.name)
    return condition.holds(_value_of(condition.key)(one))


def _value_of(key: str) -> Callable[[Experiment], Any]:
    values: dict[str, Callable[[Experiment], Any]] = {
        "name": lambda one: one.full_name,
        "creation_time": lambda one: one.created_at // 1000,
        "last_update_time": lambda one: one.changed_at // 1000,
    }
    return values[key]


def _add_writing(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.post("/experiments/create")
    def create_experiment(said: bodies.NewExperiment, request: Request) -> dict[str, Any]:
        """A new experiment: `project/name`, or a name in your only project."""
        who = desk.who(request)
        named = desk.named(who, said.name, "experiment")
        desk.may(who, WRITE, named.project)
        if said.artifact_location:
            raise LocationElsewhere(
                why="they are sealed under keys of this installation", hint="leave it out"
            )
        tags = {tag.key: tag.value for tag in said.tags}
        return {"experiment_id": experiments.begin(ground, by=who, named=named, tags=tags).id}

    @routes.post("/experiments/update")
    def update_experiment(said: bodies.ExperimentUpdate, request: Request) -> dict[str, Any]:
        """Another name."""
        who = desk.who(request)
        now = desk.experiment(who, said.experiment_id, WRITE)
        if said.new_name:
            named = desk.named(who, said.new_name, "experiment")
            experiments.rename(ground, by=who, id=now.id, named=named)
        return {}

    @routes.post("/experiments/delete")
    def delete_experiment(said: bodies.OfExperiment, request: Request) -> dict[str, Any]:
        """Out of sight; nothing is destroyed."""
        who = desk.who(request)
        now = desk.experiment(who, said.experiment_id, WRITE)
        experiments.set_deleted(ground, by=who, id=now.id, deleted=True)
        return {}

    @routes.post("/experiments/restore")
    def restore_experiment(said: bodies.OfExperiment, request: Request) -> dict[str, Any]:
        """Back in sight."""
        who = desk.who(request)
        now = desk.experiment(who, said.experiment_id, WRITE)
        experiments.set_deleted(ground, by=who, id=now.id, deleted=False)
        return {}


def _add_tags(routes: APIRouter, desk: Desk) -> None:
    @routes.post("/experiments/set-experiment-tag")
    def set_experiment_tag(said: bodies.ExperimentTag, request: Request) -> dict[str, Any]:
        """Set a tag."""
        who = desk.who(request)
        now = desk.experiment(who, said.experiment_id, WRITE)
        experiments.set_tag(desk.ground, by=who, id=now.id, key=said.key, value=said.value)
        return {}

    @routes.post("/experiments/delete-experiment-tag")
    def delete_experiment_tag(said: bodies.ExperimentTagKey, request: Request) -> dict[str, Any]:
        """Remove a tag."""
        who = desk.who(request)
        now = desk.experiment(who, said.experiment_id, WRITE)
        experiments.set_tag(desk.ground, by=who, id=now.id, key=said.key, value=None)
        return {}
