"""How a request of an MLflow client is received and answered: its key, its size, its errors.

A failure is told as `{"error_code": …, "message": …}`, the shape that clients turn into their own
exception. The key is looked at before anything else of the request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from freehold.errors import (
    BadInput,
    Conflict,
    Failure,
    Held,
    NotFound,
    NotSignedIn,
    OverLimit,
    Refused,
    Unavailable,
)
from freehold.track.experiments import ExperimentTaken
from freehold.track.registry import NameTaken

if TYPE_CHECKING:
    from freehold.control.tracking.desk import Desk

LARGEST = 4 << 20
"""Bytes of a JSON body; files come as streams and have no such limit."""


class Told(BaseModel):
    """A failure, in MLflow's shape."""

    error_code: str
    message: str


FAILURES: dict[int | str, dict[str, Any]] = {
    "default": {"model": Told, "description": "What is wrong, as MLflow's clients read it"}
}
"""As the description of the routes has it."""


class TooLarge(BadInput):
    """the request is too large"""

    status = 413


class NotKept(NotFound):
    """{what}

    What MLflow can do and this installation does not.
    """


_CODES: tuple[tuple[type[Failure], str, int], ...] = (
    (ExperimentTaken, "RESOURCE_ALREADY_EXISTS", 400),
    (NameTaken, "RESOURCE_ALREADY_EXISTS", 400),
    (NotSignedIn, "UNAUTHENTICATED", 401),
    (Refused, "PERMISSION_DENIED", 403),
    (NotKept, "ENDPOINT_NOT_FOUND", 404),
    (NotFound, "RESOURCE_DOES_NOT_EXIST", 404),
    (TooLarge, "INVALID_PARAMETER_VALUE", 413),
    (BadInput, "INVALID_PARAMETER_VALUE", 400),
    (Conflict, "RESOURCE_CONFLICT", 409),
    (Held, "RESOURCE_CONFLICT", 409),
    (OverLimit, "REQUEST_LIMIT_EXCEEDED", 429),
    (Unavailable, "TEMPORARILY_UNAVAILABLE", 503),
)


def told(failure: Failure) -> JSONResponse:
    """A failure in MLflow's shape: what, why and what now in one message."""
    code, status = next(
        ((code, status) for kind, code, status in _CODES if isinstance(failure, kind)),
        ("INTERNAL_ERROR", 500),
    )
    message = ": ".join(part for part in (failure.what, failure.why) if part)
    message += f" ({failure.hint})" if failure.hint else ""
    return JSONResponse({"error_code": code, "message": message}, status_code=status)


def _told_invalid(error: RequestValidationError) -> JSONResponse:
    """Name the field, never repeat its value."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    return told(BadInput(what=f"`{where}` cannot be used", why=str(first["msg"]).lower()))


def key_of(request: Request) -> str:
    """The control key a request carries: as bearer token, or as the password of a log-in."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and text:
        return text.strip()
    if kind.lower() == "basic" and text:
        try:
            return base64.b64decode(text, validate=True).decode().partition(":")[2].strip()
        except (binascii.Error, UnicodeDecodeError):
            return ""
    raise NotSignedIn(
        why="the request carries no key",
        hint="set MLFLOW_TRACKING_TOKEN to your control key, or MLFLOW_TRACKING_PASSWORD beside a user name",
    )


def route_class(desk: Desk) -> type[APIRoute]:
    """Routes that sign in first, and tell every failure as MLflow does."""

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    request.state.who = await run_in_threadpool(desk.sign_in, request)
                    _refuse_large(request)
                    return await handle(request)
                except Failure as failure:
                    return told(failure)
                except RequestValidationError as error:
                    return _told_invalid(error)
                except (HTTPException, RecursionError) as error:
                    why = "it is nested too deep" if isinstance(error, RecursionError) else str(error.detail)
                    return told(BadInput(what="the request's body cannot be read", why=why))

            return answer

    return Route


def _refuse_large(request: Request) -> None:
    """JSON has a limit and says its length; only files are streamed."""
    if "/mlflow-artifacts/" in request.url.path or request.method == "GET":
        return
    length = request.headers.get("content-length")
    if length is None and request.headers.get("transfer-encoding"):
        raise TooLarge(why="its length is not said", hint="send Content-Length")
    if int(length or 0) > LARGEST:
        raise TooLarge(why=f"{length} bytes, {LARGEST:,} at most", hint="log less at once, or a file")
