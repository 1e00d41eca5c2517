"""The paths under `/mlflow/registered-models` and `/mlflow/model-versions`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from freehold.control.tracking import bodies, shapes
from freehold.control.tracking.desk import READ, WRITE, Desk
from freehold.errors import BadInput, NotFound
from freehold.spec.principal import Principal
from freehold.track import artifacts, filters, registry
from freehold.track.artifacts import Spot
from freehold.track.filters import Comparison
from freehold.track.records import Registered, Version

_STAMPS = ("creation_timestamp", "last_updated_timestamp")
_NAME_KEYS = ("name", *_STAMPS)
_VERSION_KEYS = ("name", "run_id", "version_number", "source_path", "source", "user_id", *_STAMPS)


class NoStages(BadInput):
    """versions have no stages here"""


def add(routes: APIRouter, desk: Desk) -> None:
    """Add the paths."""
    _add_names(routes, desk)
    _add_name_words(routes, desk)
    _add_name_search(routes, desk)
    _add_versions(routes, desk)
    _add_version_search(routes, desk)
    _add_version_words(routes, desk)
    _add_aliases(routes, desk)


def _shape(desk: Desk, one: Registered) -> dict[str, Any]:
    with desk.ground.db.read() as conn:
        found = registry.versions(conn, desk.ground.keyring, [one])
    return {"registered_model": shapes.registered(one, found)}


# -- names --------------------------------------------------------------------------------------------


def _add_names(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.post("/registered-models/create")
    def create_name(said: bodies.NewName, request: Request) -> dict[str, Any]:
        """A new name for models: `project.name`, or a name in your only project."""
        who = desk.who(request)
        named = desk.named(who, said.name, "model")
        desk.may(who, WRITE, named.project)
        tags = {one.key: one.value for one in said.tags}
        begun = registry.begin(ground, by=who, named=named, description=said.description, tags=tags)
        return _shape(desk, begun)

    @routes.get("/registered-models/get")
    def get_name(request: Request, said: Annotated[bodies.OfName, Query()]) -> dict[str, Any]:
        """One name with its newest version."""
        return _shape(desk, desk.registered(desk.who(request), said.name, READ))

    @routes.post("/registered-models/rename")
    def rename(said: bodies.Rename, request: Request) -> dict[str, Any]:
        """Another name."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        named = desk.named(who, said.new_name, "model")
        return _shape(desk, registry.rename(ground, by=who, id=now.id, named=named))

    @routes.patch("/registered-models/update")
    def update_name(said: bodies.NameUpdate, request: Request) -> dict[str, Any]:
        """Another description."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        return _shape(desk, registry.tell(ground, by=who, id=now.id, description=said.description))

    @routes.delete("/registered-models/delete")
    def delete_name(said: bodies.OfName, request: Request) -> dict[str, Any]:
        """Out of sight, with its versions."""
        who = desk.who(request)
        registry.delete(ground, by=who, id=desk.registered(who, said.name, WRITE).id)
        return {}


def _add_name_words(routes: APIRouter, desk: Desk) -> None:
    @routes.post("/registered-models/set-tag")
    def set_tag(said: bodies.NameTag, request: Request) -> dict[str, Any]:
        """Set a tag."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        registry.tell(desk.ground, by=who, id=now.id, tags={said.key: said.value})
        return {}

    @routes.delete("/registered-models/delete-tag")
    def delete_tag(said: bodies.NameTagKey, request: Request) -> dict[str, Any]:
        """Remove a tag."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        registry.tell(desk.ground, by=who, id=now.id, tags={said.key: None})
        return {}


def _add_name_search(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.get("/registered-models/search")
    def search_names(request: Request, said: Annotated[bodies.NameSearch, Query()]) -> dict[str, Any]:
        """Names in your projects."""
        who = desk.who(request)
        conditions = filters.parse(
            said.filter, attributes=_NAME_KEYS, numbers=_STAMPS, kinds=("attribute", "tag")
        )
        with ground.db.read() as conn:
            found = registry.listed(conn, ground.keyring, desk.yours(who).read)
            found = [one for one in found if all(_name_holds(c, one) for c in conditions)]
            _sort(found, said.order_by, _NAME_KEYS)
            some, more = shapes.page(found, said.max_results, said.page_token)
            versions = registry.versions(conn, ground.keyring, some)
        shown = [shapes.registered(one, [v for v in versions if v.registered.id == one.id]) for one in some]
        return {"registered_models": shown, **more}

    @routes.get("/registered-models/get-latest-versions")
    def get_latest_by_query(request: Request, said: Annotated[bodies.LatestOf, Query()]) -> dict[str, Any]:
        """The newest version."""
        return _latest(desk, desk.who(request), said)

    @routes.post("/registered-models/get-latest-versions")
    def get_latest(said: bodies.LatestOf, request: Request) -> dict[str, Any]:
        """The newest version."""
        return _latest(desk, desk.who(request), said)


def _latest(desk: Desk, who: Principal, said: bodies.LatestOf) -> dict[str, Any]:
    if set(said.stages) - {"None"}:
        raise _no_stages()
    now = desk.registered(who, said.name, READ)
    with desk.ground.db.read() as conn:
        versions = registry.versions(conn, desk.ground.keyring, [now])
    newest = max(versions, key=lambda v: v.version, default=None)
    return {"model_versions": [shapes.version(newest)] if newest else []}


def _name_holds(condition: Comparison, one: Registered) -> bool:
    if condition.kind == "tag":
        return _tag_holds(condition, one.tags)
    if condition.key == "name":
        return condition.holds(one.full_name) or condition.holds(one.name)
    return condition.holds(_value(one, condition.key))


def _tag_holds(condition: Comparison, tags: Mapping[str, str]) -> bool:
    """A tag that is not there differs from everything: clients leave prompts out that way."""
    absent = condition.key not in tags and condition.op in ("!=", "NOT IN")
    return absent or condition.holds(tags.get(condition.key))


def _value(one: Registered | Version, key: str) -> Any:
    values: dict[str, Any] = {
        "creation_timestamp": one.created_at // 1000,
        "last_updated_timestamp": one.changed_at // 1000,
    }
    if isinstance(one, Registered):
        return {**values, "name": one.full_name}[key]
    values |= {"name": one.registered.full_name, "version_number": one.version, "run_id": one.run or ""}
    return {**values, "source": one.source, "source_path": one.source, "user_id": one.owner}[key]


def _sort(found: list[Any], order_by: list[str], known: tuple[str, ...]) -> None:
    orders = [filters.parse_order(text, attributes=known, kinds=filters.WORDLESS) for text in order_by]
    for order in reversed(orders):
        found.sort(key=partial(_value, key=order.key), reverse=order.descending)


# -- versions -----------------------------------------------------------------------------------------


def _add_versions(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.post("/model-versions/create")
    def create_version(said: bodies.NewVersion, request: Request) -> dict[str, Any]:
        """A version over files that were logged here: marked foreign, never released."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        with ground.db.read() as conn:
            place = registry.where(conn, said.source, run=said.run_id or None, model=said.model_id or None)
            project = artifacts.project_of(conn, place)
        desk.may(who, WRITE, project)
        if said.run_id:
            desk.run(who, said.run_id, READ)
        added = registry.add(
            ground,
            by=who,
            registered=now.id,
            place=place,
            source=said.source or place.uri,
            run=said.run_id or None,
            description=said.description,
            tags={one.key: one.value for one in said.tags},
        )
        return {"model_version": shapes.version(added)}

    @routes.get("/model-versions/get")
    def get_version(request: Request, said: Annotated[bodies.OfVersion, Query()]) -> dict[str, Any]:
        """One version."""
        return {"model_version": shapes.version(_version(desk, desk.who(request), said))}

    @routes.get("/model-versions/get-download-uri")
    def get_uri(request: Request, said: Annotated[bodies.OfVersion, Query()]) -> dict[str, Any]:
        """Where its files are."""
        found = _version(desk, desk.who(request), said)
        return {"artifact_uri": _uri(desk, found)}

    @routes.delete("/model-versions/delete")
    def delete_version(said: bodies.OfVersion, request: Request) -> dict[str, Any]:
        """Out of sight; its files stay with their run or model."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        registry.delete_version(ground, by=who, registered=now.id, number=said.number)
        return {}


def _add_version_search(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.get("/model-versions/search")
    def search_versions(request: Request, said: Annotated[bodies.NameSearch, Query()]) -> dict[str, Any]:
        """Versions in your projects."""
        who = desk.who(request)
        conditions = filters.parse(
            said.filter,
            attributes=_VERSION_KEYS,
            numbers=(*_STAMPS, "version_number"),
            kinds=("attribute", "tag"),
        )
        with ground.db.read() as conn:
            names = registry.listed(conn, ground.keyring, desk.yours(who).read)
            found = registry.versions(conn, ground.keyring, names)
        found = [one for one in found if all(_version_holds(c, one) for c in conditions)]
        _sort(found, said.order_by, _VERSION_KEYS)
        some, more = shapes.page(found, said.max_results, said.page_token)
        return {"model_versions": [shapes.version(one) for one in some], **more}


def _version(desk: Desk, who: Principal, said: bodies.OfVersion) -> Version:
    now = desk.registered(who, said.name, READ)
    with desk.ground.db.read() as conn:
        return registry.version(conn, desk.ground.keyring, now, said.number)


def _version_holds(condition: Comparison, one: Version) -> bool:
    if condition.kind == "tag":
        return _tag_holds(condition, one.tags)
    if condition.key == "name":
        return condition.holds(one.registered.full_name) or condition.holds(one.registered.name)
    return condition.holds(_value(one, condition.key))


def _uri(desk: Desk, version: Version) -> str:
    with desk.ground.db.read() as conn:
        place = registry.where(
            conn, f"models:/{version.of}" if version.of.startswith("m-") else f"runs:/{version.of}",
            run=None, model=None,
        )  # fmt: skip
    return Spot(place.experiment, place.of, place.is_model, version.folder).uri


def _add_version_words(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.patch("/model-versions/update")
    def update_version(said: bodies.VersionUpdate, request: Request) -> dict[str, Any]:
        """Another description."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        after = registry.tell_version(
            ground, by=who, registered=now.id, number=said.number, description=said.description
        )
        return {"model_version": shapes.version(after)}

    @routes.post("/model-versions/set-tag")
    def set_tag(said: bodies.VersionTag, request: Request) -> dict[str, Any]:
        """Set a tag."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        tags = {said.key: said.value}
        registry.tell_version(ground, by=who, registered=now.id, number=said.number, tags=tags)
        return {}

    @routes.delete("/model-versions/delete-tag")
    def delete_tag(said: bodies.VersionTagKey, request: Request) -> dict[str, Any]:
        """Remove a tag."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        registry.tell_version(ground, by=who, registered=now.id, number=said.number, tags={said.key: None})
        return {}

    @routes.post("/model-versions/transition-stage")
    def set_stage(said: bodies.Stage, request: Request) -> dict[str, Any]:
        """Refused: a word on a version puts nothing into service."""
        desk.registered(desk.who(request), said.name, WRITE)
        raise _no_stages()


def _no_stages() -> NoStages:
    return NoStages(
        why="what serves is decided by approvals and releases, not by a word on a version",
        hint="use an alias to find a version; `freehold apply` brings a model into service",
    )


# -- aliases ------------------------------------------------------------------------------------------


def _add_aliases(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.post("/registered-models/alias")
    def set_alias(said: bodies.NewAlias, request: Request) -> dict[str, Any]:
        """Point an alias at a version."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        registry.set_alias(ground, by=who, id=now.id, alias=said.alias, version=int(said.version))
        return {}

    @routes.delete("/registered-models/alias")
    def delete_alias(said: bodies.OfAlias, request: Request) -> dict[str, Any]:
        """Remove an alias."""
        who = desk.who(request)
        now = desk.registered(who, said.name, WRITE)
        registry.set_alias(ground, by=who, id=now.id, alias=said.alias, version=None)
        return {}

    @routes.get("/registered-models/alias")
    def get_by_alias(request: Request, said: Annotated[bodies.OfAlias, Query()]) -> dict[str, Any]:
        """The version an alias points at."""
        now = desk.registered(desk.who(request), said.name, READ)
        if said.alias not in now.aliases:
            raise NotFound(kind="alias", name=said.alias[:80], why=f"of `{now.full_name}`")
        with ground.db.read() as conn:
            found = registry.version(conn, ground.keyring, now, now.aliases[said.alias])
        return {"model_version": shapes.version(found)}
