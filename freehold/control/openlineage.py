"""Lineage as OpenLineage: one RunEvent for each run and each answer in a tree of facts.

Data versions and models are datasets in the installation's namespace, trainings, evaluations and
services are jobs. Versions are written out in the names, as everywhere here, so two versions are never
taken for one. Times, names of fields and shapes are those of OpenLineage 2-0-2.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from freehold import __version__
from freehold.control.prov import moment
from freehold.spec.tree import Tree

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_VERSION = (
    "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json"
    "#/$defs/DatasetVersionDatasetFacet"
)
_CUSTOM = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"
_RUNS = uuid.UUID("0b5ad9f2-92a5-5b0f-a2bb-6f0f7ea0a6a1")
"""Under which ids of ours become the UUIDs that OpenLineage wants."""


def openlineage(tree: Tree, origin: str) -> list[dict[str, Any]]:
    """The events of a tree, in the order of their times."""
    found = {event["run"]["runId"]: event for event in _events(tree, None, f"freehold://{origin}")}
    return sorted(found.values(), key=lambda event: (event["eventTime"], event["run"]["runId"]))


def _events(tree: Tree, above: Tree | None, namespace: str) -> Iterator[dict[str, Any]]:
    if tree.kind in ("run", "answer"):
        yield _event(tree, above, namespace)
    for child in tree.children:
        yield from _events(child, tree, namespace)


def _event(tree: Tree, above: Tree | None, namespace: str) -> dict[str, Any]:
    inputs, outputs = _around(tree, above)
    answer = tree.kind == "answer"
    at = tree.facts.get("closed_at" if answer else "ended_at")
    return {
        "eventType": _ended(tree) if at else "RUNNING",
        "eventTime": moment(at or tree.facts.get("at") or tree.facts.get("started_at") or 0),
        "producer": _producer(),
        "schemaURL": SCHEMA,
        "run": {"runId": str(uuid.uuid5(_RUNS, f"{namespace}/{tree.ref}")), "facets": _run_facets(tree)},
        "job": {"namespace": namespace, "name": _job(tree)},
        "inputs": [_dataset(one, namespace) for one in inputs],
        "outputs": [_dataset(one, namespace) for one in outputs],
    }


def _ended(tree: Tree) -> str:
    said = tree.facts.get("ending") or tree.facts.get("state")
    return {"answered": "COMPLETE", "done": "COMPLETE", "cut off": "ABORT", "denied": "ABORT"}.get(
        str(said), "FAIL"
    )


def _around(tree: Tree, above: Tree | None) -> tuple[list[Tree], list[Tree]]:
    """What a run read, and what it made: models stand above it or below, as the tree was walked."""
    near = [*tree.children, *([above] if above else [])]
    if tree.kind == "answer":
        released = (child for child in tree.children if child.kind == "release")
        return [one for release in released for one in release.children if one.kind in _SERVING], []
    data, models = ([one for one in near if one.kind == kind] for kind in ("data", "model"))
    return (data, models) if tree.facts.get("kind") != "evaluate" else (data + models, [])


_SERVING = ("model", "provider")


def _job(tree: Tree) -> str:
    if tree.kind == "run":
        return f"{tree.facts.get('kind', 'run')}"
    service = next((child.ref for child in tree.children if child.kind == "service"), "service")
    return f"service/{service}"


def _dataset(tree: Tree, namespace: str) -> dict[str, Any]:
    version = tree.facts.get("digest") or tree.ref
    facet = {"_producer": _producer(), "_schemaURL": _VERSION, "datasetVersion": version}
    return {"namespace": namespace, "name": f"{tree.kind}/{tree.ref}", "facets": {"version": facet}}


def _run_facets(tree: Tree) -> dict[str, Any]:
    """What we know of a run beyond OpenLineage's own words: a facet under our name."""
    said = {name: value for name, value in tree.facts.items() if isinstance(value, str | int | bool)}
    return {"freehold": {"_producer": _producer(), "_schemaURL": _CUSTOM, "ref": tree.ref, **said}}


def _producer() -> str:
    return f"freehold://software/{__version__}"
