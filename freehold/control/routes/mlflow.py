"""`/mlflow`: what MLflow's clients speak, so that they work unchanged with this as tracking server.

`MLFLOW_TRACKING_URI=http://127.0.0.1:7400/mlflow` and a control key as `MLFLOW_TRACKING_TOKEN`. Traces,
stages, webhooks, gateways and MLflow's own pages are not here; each is refused by name.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from freehold.control.parts import Parts
from freehold.control.tracking import experiments, files, models, registry, runs
from freehold.control.tracking.desk import Desk
from freehold.control.tracking.wire import FAILURES, NotKept, route_class

SERVER = {
    "store_type": "Freehold",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
    "presigned_upload_run_id_supported": False,
    "presigned_upload_model_id_supported": False,
}
"""What a client asks before it moves large files."""

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def router(parts: Parts) -> APIRouter:
    """The routes of MLflow's clients."""
    desk = Desk(parts)
    kind = route_class(desk)
    outer = APIRouter(prefix="/mlflow", route_class=kind, responses=FAILURES)
    tracking = APIRouter(prefix="/api/2.0/mlflow", route_class=kind)
    for part in (experiments, runs, models, registry):
        part.add(tracking, desk)
    moved = APIRouter(prefix="/api/2.0/mlflow-artifacts", route_class=kind)
    files.add(moved, desk)
    outer.include_router(tracking)
    outer.include_router(moved)
    _add_rest(outer)
    return outer


def _add_rest(routes: APIRouter) -> None:
    @routes.get("/api/3.0/mlflow/server-info")
    def server_info() -> dict[str, Any]:
        """What this server can do."""
        return SERVER

    @routes.api_route("/{rest:path}", methods=_METHODS, include_in_schema=False)
    def not_kept(rest: str) -> Response:
        """Everything else that MLflow can do."""
        raise NotKept(
            what=f"`{rest[:80]}` is not kept here",
            why="experiments, runs, files, logged and registered models are",
            hint="docs/manual/mlflow.md lists what works",
        )
