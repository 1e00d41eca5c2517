"""The door of the console: who is visiting, by the cookie of a session, and which forms are ours.

Every page begins with `visit = door.visit(request)`; every form that changes something with
`visit = door.posted(request, form)`, which refuses a form that did not come from a page of ours.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

import sqlalchemy as sa
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from freehold.console.paper import render
from freehold.console.registry import tabs
from freehold.console.ways import Ways, ways
from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.errors import BadInput, Failure, NotFound, NotSignedIn, Refused
from freehold.identity import people, projects, sessions
from freehold.policy.decide import Action
from freehold.spec.principal import Principal

MOST = 1 << 20
"""Bytes of a form."""

FIELD = "form"
"""The name of the hidden field that shows that a form is ours."""


class NotOurForm(Refused):
    """this form did not come from a page of this console"""


class FormUnreadable(BadInput):
    """this form cannot be read"""


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form; the last one counts where a name comes twice."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise FormUnreadable(why="it is not encoded as forms are")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MOST:
            raise FormUnreadable(why=f"it has more than {MOST:,} bytes")
    try:
        fields = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError as error:
        raise FormUnreadable(why="it is not text") from error
    return {name: value.replace("\r\n", "\n") for name, value in fields}


Form = Annotated[Mapping[str, str], Depends(read_form)]
"""For the parameter of an endpoint: `def stop(name: str, request: Request, form: Form)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Somebody at a page: who they are, what they may see, and how they are answered."""

    door: Door
    request: Request
    session: sessions.Session
    email: str
    token: str
    """What a form of ours carries."""

    @property
    def who(self) -> Principal:
        return self.session.who

    def may_see(self, action: Action, project: str | None = None) -> bool:
        """Whether they may, in a project or in the whole installation; records nothing."""
        return self.door.gate.would(self.who, action, project=project)

    def projects(self, conn: sa.Connection, action: Action) -> list[str]:
        """The projects in which they may, by name."""
        named = (project.name for project in projects.listed(conn))
        return [name for name in named if self.may_see(action, name)]

    def projects_or_refuse(self, conn: sa.Connection, action: Action) -> list[str]:
        """The same; where there are none, the refusal a route of the API would give."""
        seen = self.projects(conn, action)
        if not seen and not self.may_see(action):
            self.door.gate.may(self.who, action)
        return seen

    def or_not_there(self, action: Action, project: str, kind: str, name: str) -> None:
        """What is in a project they do not see is not there. Raises NotFound."""
        if not self.may_see(action, project):
            raise NotFound(kind=kind, name=name[:80])

    def ways(self, cli: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Ways:
        """The same on the command line, with curl and in Python, for this installation."""
        return ways(cli, method, path, body, self.door.address)

    def page(
        self, template: str, title: str, *, said: Mapping[str, str] | None = None, **facts: Any
    ) -> HTMLResponse:
        """A page. `said` maps words of `?said=` to what is told after a change: fixed phrases only."""
        told = (said or {}).get(self.request.query_params.get("said", ""), "")
        tabs, zone = self.door.tabs(self), self.door.zone
        text = render(template, title=title, visit=self, tabs=tabs, told=told, zone=zone, **facts)
        return HTMLResponse(text)

    def go(self, path: str, said: str = "") -> Response:
        """After a change: on to a page, with a word for its `said`."""
        return RedirectResponse(f"{path}?said={quote(said)}" if said else path, status_code=303)


class Door:
    """One per page module, made in its `router(parts)`."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.gate = Gate(parts)
        self.zone = parts.config.timezone
        self.address = (parts.config.console_url or parts.config.control_url).rstrip("/")

    # -- who ----------------------------------------------------------------------------------------

    def visit(self, request: Request) -> Visit:
        """Who has this page open. Raises NotSignedIn, which becomes the way to the log-in page."""
        cookie = request.cookies.get(self.cookie(request), "")
        db = self.parts.ground.db
        with db.read() as conn:
            session = sessions.find(conn, cookie, db.clock())
            email = people.find(conn, session.who.id).email
        if _is_opened(request):
            sessions.seen(db, session)
        return Visit(door=self, request=request, session=session, email=email, token=form_token(cookie))

    def posted(self, request: Request, form: Mapping[str, str]) -> Visit:
        """Who sent this form, once it is known to be ours. Raises NotSignedIn, NotOurForm."""
        visit = self.visit(request)
        refuse_foreign(request, form, visit.token)
        return visit

    def cookie(self, request: Request) -> str:
        """The session cookie's name; over TLS one that browsers refuse to take from anywhere else."""
        return "__Host-freehold" if self.is_secure(request) else "freehold"

    def is_secure(self, request: Request) -> bool:
        return request.url.scheme == "https" or self.address.startswith("https:")

    def tabs(self, visit: Visit) -> list[dict[str, Any]]:
        """The navigation: what this visitor may open, and which of it is open."""
        with self.parts.ground.db.read() as conn:
            names = [project.name for project in projects.listed(conn)]
        here = visit.request.url.path
        return [
            {"path": tab.path, "word": tab.word, "open": _is_within(here, tab.path)}
            for tab in tabs()
            if self._opens(visit.who, tab.needs, names)
        ]

    def told(self, request: Request, failure: Failure) -> HTMLResponse:
        """A failure as a page, within the console for whoever is signed in."""
        try:
            visit: Visit | None = self.visit(request)
        except NotSignedIn:
            visit = None
        text = render(
            "failure.html",
            title=failure.what,
            failure=failure,
            visit=visit,
            tabs=self.tabs(visit) if visit else [],
            told="",
            zone=self.zone,
        )
        return HTMLResponse(text, status_code=max(failure.status, 400))

    def _opens(self, who: Principal, needs: Iterable[Action], names: list[str]) -> bool:
        actions = list(needs)
        return not actions or any(
            self.gate.would(who, action, project=name) for action in actions for name in (None, *names)
        )


def form_token(cookie: str) -> str:
    """What a form of ours carries: who knows it has seen a page that this cookie opened."""
    return hmac.new(cookie.encode(), b"a form of the console", hashlib.sha256).hexdigest()


def refuse_foreign(request: Request, form: Mapping[str, str], token: str) -> None:
    """A form must carry our token, and where the browser says where it came from, that must be here.

    Raises NotOurForm.
    """
    origin = request.headers.get("origin")
    here = request.headers.get("host", "")
    # under `no-referrer` a browser's own word for where our forms come from is `null`, and this header
    is_ours = request.headers.get("sec-fetch-site") == "same-origin"
    if origin is not None and _host_in(origin) != here and not is_ours:
        raise NotOurForm(why="it was sent from another address", hint="open the page here and try again")
    if not hmac.compare_digest(form.get(FIELD, "").encode(), token.encode()):
        raise NotOurForm(
            why="its token is missing or of another session", hint="reload the page and try again"
        )


def _host_in(address: str) -> str | None:
    """The host it names, as a `host` header would; none when it cannot be read."""
    try:
        return urlsplit(address).netloc
    except ValueError:
        return None


def local_path(text: str) -> str:
    """A path on this site to go on to, or the first page: never another address."""
    is_ours = text.startswith("/") and not text.startswith(("//", "/\\")) and _host_in(text) == ""
    return text if is_ours and text.isprintable() and "\\" not in text else "/"


def to_log_in(request: Request) -> Response:
    """On to the log-in page, and back here afterwards."""
    if request.method != "GET":
        return RedirectResponse("/log-in", status_code=303)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    after = "" if here == "/" else f"?next={quote(here, safe='')}"
    return RedirectResponse(f"/log-in{after}", status_code=303)


def _is_opened(request: Request) -> bool:
    """Whether a person opened this; what a page asks for by itself keeps nobody signed in."""
    return request.headers.get("sec-fetch-mode", "navigate") == "navigate"


def _is_within(here: str, path: str) -> bool:
    return here == path if path == "/" else here == path or here.startswith(f"{path}/")
