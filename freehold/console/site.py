"""The console as one ASGI app behind the API's routes, and what every answer of it carries."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freehold.console import files
from freehold.console.door import Door, to_log_in
from freehold.console.registry import pages
from freehold.control.parts import Parts
from freehold.errors import BadInput, Failure, NotFound, NotSignedIn

MACHINES = ("/api/", "/border/", "/mlflow", "/metrics", "/ledger/tile/", "/ledger/consistency/")
"""Paths that belong to programs: what is not there is told to them as the API tells it."""

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def mount(api: FastAPI, parts: Parts) -> None:
    """Put the console behind the API: what its routes do not take, and no program asks for, is a page."""
    api.router.routes.append(_Beside("/", app=build(parts)))


def build(parts: Parts) -> ASGIApp:
    """The console alone."""
    app = FastAPI(title="Freehold console", openapi_url=None, docs_url=None, redoc_url=None)
    door = Door(parts)
    app.add_exception_handler(Failure, _Telling(door))
    app.add_exception_handler(RequestValidationError, _Telling(door))
    app.add_exception_handler(HTTPException, _Telling(door))
    for page in pages():
        app.include_router(page.router(parts))
    app.add_api_route("/assets/{name}", _asset, include_in_schema=False)
    return _Sealed(app)


def _asset(name: str) -> Response:
    found = files.every().get(name)
    if found is None:
        raise NotFound(kind="file", name=name[:80])
    keep = {"cache-control": "public, max-age=31536000, immutable"}  # its address holds its digest
    return Response(found.data, media_type=found.kind, headers=keep)


class _Telling:
    """Failures become pages; who is not signed in is led to the log-in page."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, request: Request, error: Exception) -> Response:
        if isinstance(error, NotSignedIn):
            return to_log_in(request)
        return self._door.told(request, _failure(error, request))


def _failure(error: Exception, request: Request) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return BadInput(what=f"`{where}` cannot be used", why=str(first["msg"]).lower())
    status = getattr(error, "status_code", 500)
    if status == 404:
        return NotFound(kind="page", name=request.url.path[:80])
    return BadInput(
        what="this page is not asked for like this", why=str(getattr(error, "detail", "")).lower()
    )


class _Beside(Mount):
    """Everything but what belongs to programs: these hear the API's own words about what is not there."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope.get("path", "").startswith(MACHINES):
            return Match.NONE, {}
        return super().matches(scope)


class _Sealed:
    """Every answer carries the headers that keep a page to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, sealed if scope["type"] == "http" else send)
