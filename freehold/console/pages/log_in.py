"""Logging in with a control key, and out again."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from freehold.console.door import Door, Form, form_token, local_path, refuse_foreign
from freehold.console.paper import render
from freehold.control.parts import Parts
from freehold.errors import NotSignedIn
from freehold.identity import keys, sessions

VISITOR = "freehold-visitor"
"""The cookie of somebody who is not signed in yet: it makes the log-in form one of ours."""


def router(parts: Parts) -> APIRouter:
    """`/log-in` and `/log-out`."""
    routes, door = APIRouter(), Door(parts)
    db = parts.ground.db

    @routes.get("/log-in")
    def ask(request: Request, next: str = "/") -> Response:
        return _form(door, request, next)

    @routes.get("/log-in/there", status_code=204)
    def there(request: Request) -> None:
        """Whether somebody is signed in: a link from a mail brings no cookie, this question does."""
        door.visit(request)

    @routes.post("/log-in")
    def log_in(request: Request, form: Form) -> Response:
        refuse_foreign(request, form, form_token(request.cookies.get(VISITOR, "")))
        after = local_path(form.get("next", "/"))
        try:
            with db.read() as conn:
                who = keys.authenticate(conn, form.get("key", "").strip(), zone="control", at=db.clock())
        except NotSignedIn as failure:
            return _form(door, request, after, failure)
        with db.write() as tx:
            token = sessions.begin(tx, who=who)
        return _signed_in(door, request, after, token)

    @routes.post("/log-out")
    def log_out(request: Request, form: Form) -> Response:
        visit = door.posted(request, form)
        with db.write() as tx:
            sessions.end(tx, session=visit.session)
        answer = RedirectResponse("/log-in", status_code=303)
        answer.delete_cookie(door.cookie(request), path="/", secure=door.is_secure(request), httponly=True)
        answer.headers["clear-site-data"] = '"cache"'
        return answer

    return routes


def _form(door: Door, request: Request, after: str, failure: NotSignedIn | None = None) -> Response:
    visitor = request.cookies.get(VISITOR) or secrets.token_urlsafe(32)
    text = render(
        "log_in.html",
        title="Log in",
        visit=None,
        tabs=[],
        told="",
        zone=door.zone,
        origin=door.parts.ground.origin,
        token=form_token(visitor),
        next=local_path(after),
        failure=failure,
    )
    answer = HTMLResponse(text, status_code=failure.status if failure else 200)
    _set(door, request, answer, VISITOR, visitor)
    return answer


def _signed_in(door: Door, request: Request, after: str, token: str) -> Response:
    answer = RedirectResponse(after, status_code=303)
    _set(door, request, answer, door.cookie(request), token)
    answer.delete_cookie(VISITOR, path="/")
    return answer


def _set(door: Door, request: Request, answer: Response, name: str, value: str) -> None:
    """A cookie of this browser session that no script reads and no other site sends along."""
    secure = door.is_secure(request)
    answer.set_cookie(name, value, path="/", httponly=True, samesite="strict", secure=secure)
