"""The control server: every room's routes under one app, and one way of telling a failure."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freehold.control.parts import Parts
from freehold.control.tracking import wire as mlflow
from freehold.errors import BadInput, Failure, NotFound
from freehold.spec.asking import Asking, asked, read_id, read_trace
from freehold.spec.ids import new_id

ROUTES = (
    "people",
    "data",
    "bases",
    "deliver",
    "subjects",
    "release",
    "answers",
    "incidents",
    "energy",
    "ledger",
    "entries",
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


class Told(BaseModel):
    """A failure: its stable label, what, why, what now, and the exit code of the command line."""

    code: str
    what: str
    why: str
    hint: str
    exit: int


class Wrong(BaseModel):
    """How every failure is told."""

    error: Told


FAILURES: dict[int | str, dict[str, Any]] = {
    "default": {"model": Wrong, "description": "What is wrong, why, and what to do"}
}
"""As the description of the routes has it."""


class Broken(Failure):
    """something of ours broke"""


def build(parts: Parts) -> FastAPI:
    """The ASGI app over `parts`."""
    app = FastAPI(
        title="Freehold control",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=FAILURES,
    )
    app.add_middleware(Numbered)
    tell_failures(app)
    for name in ROUTES:
        app.include_router(import_module(f"freehold.control.routes.{name}").router(parts))
    app.openapi = partial(_described, app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """The description: what is answered field by field, and failures as JSON on whatever route."""
    if app.openapi_schema is None:
        from freehold.control.described.answers import describe  # hundreds of fields, for whoever asks

        described = FastAPI.openapi(app)
        for operation in (one for path in described["paths"].values() for one in path.values()):
            failure = operation["responses"]["default"]
            failure["content"] = {"application/json": next(iter(failure["content"].values()))}
        describe(described)
    return FastAPI.openapi(app)


def tell_failures(app: FastAPI) -> None:
    """Whatever goes wrong below `app` is told in one shape."""
    app.add_exception_handler(Failure, _tell)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(HTTPException, _tell_refused)
    app.add_exception_handler(Exception, _tell_broken)


class Numbered:
    """Every request has an id, its caller's or one of ours; entries name it, and so does the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        heads = dict(scope["headers"])
        id = read_id(heads.get(b"x-request-id")) or new_id("req")

        async def numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = id
            await send(message)

        with asked(Asking(id=id, trace=read_trace(heads.get(b"traceparent")))):
            await self._app(scope, receive, numbered)


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


async def _tell_refused(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: no such path, not with this method, a body that is no JSON."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        failure: Failure = NotFound(kind="path", name=request.url.path[:80])
    else:
        failure = BadInput(what="this is not asked for like this", why=str(error.detail).lower())
    if request.url.path.startswith("/mlflow/"):  # a path of two lines fits no route of theirs
        answer = mlflow.told(failure)
        answer.status_code = error.status_code
        answer.headers.update(error.headers or {})
        return answer
    told = {"error": failure.told()}
    return JSONResponse(told, status_code=error.status_code, headers=error.headers)


async def _tell_broken(_request: Request, _error: Exception) -> JSONResponse:
    """The log says what and where; whoever asked hears only that it was us."""
    told = Broken(why="control's log says where", hint="try again; `freehold status` says how control is")
    return JSONResponse({"error": told.told()}, status_code=500)
