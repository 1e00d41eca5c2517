"""The control server: every room's routes under one app, and one way of telling a failure."""

from __future__ import annotations

from importlib import import_module

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from freehold.control.parts import Parts
from freehold.errors import BadInput, Failure

ROUTES = (
    "people",
    "data",
    "bases",
    "deliver",
    "subjects",
    "release",
    "answers",
    "ledger",
    "controls",
    "backups",
    "retention",
    "keyring",
    "mlflow",
    "border_jobs",
    "border_serving",
    "border_bases",
)
"""Modules of `control.routes`; each has `router(parts) -> APIRouter`."""


def build(parts: Parts) -> FastAPI:
    """The ASGI app over `parts`."""
    app = FastAPI(title="Freehold control", openapi_url="/api/openapi.json", docs_url=None, redoc_url=None)
    app.add_exception_handler(Failure, _tell)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    for name in ROUTES:
        app.include_router(import_module(f"freehold.control.routes.{name}").router(parts))
    return app


async def _tell(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Failure)
    return JSONResponse({"error": error.told()}, status_code=error.status)


async def _tell_invalid(_request: Request, error: Exception) -> JSONResponse:
    """Name the field that is wrong, never repeat its value: it may be personal."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    told = BadInput(what=f"`{where}` cannot be used", why=str(first["msg"]).lower()).told()
    return JSONResponse({"error": told}, status_code=400)
