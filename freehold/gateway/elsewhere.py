"""Paths that are not the gateway's: what lives at control, what is done differently, what nobody has."""

from __future__ import annotations

from freehold.errors import NotFound


class NoSuchPath(NotFound):
    """there is nothing at `{path}`"""


class LivesElsewhere(NotFound):
    """`{path}` is not at the gateway"""


_ELSEWHERE = {
    "/v1/fine_tuning": (
        "training lives at control, under plans and approvals",
        "`freehold apply FILE`, or control's `/api/journeys`",
    ),
    "/v1/files": (
        "data lives at control, with purposes and consent",
        "`freehold data add FILE`, or control's `/api/data`",
    ),
    "/v1/uploads": (
        "data lives at control, with purposes and consent",
        "`freehold data add FILE`, or control's `/api/data`",
    ),
    "/v1/evals": (
        "evaluations live at control, as gates of a service",
        "`freehold apply FILE`; `freehold runs` shows the cards",
    ),
    "/v1/chat/completions/": (
        "answers are kept at control, sealed",
        "`freehold answer ID`; the id is in the header `x-freehold-answer`",
    ),
    "/v1/responses/": (
        "responses are stateless here; answers are kept at control, sealed",
        "`freehold answer ID`; the id is in the header `x-freehold-answer`",
    ),
}


def not_here(method: str, path: str) -> NotFound:
    """Why there is nothing at `path`, and where it is instead."""
    for start, (why, hint) in _ELSEWHERE.items():
        if path == start or path.startswith(start.rstrip("/") + "/"):
            return LivesElsewhere(path=path[:80], why=why, hint=hint)
    return NoSuchPath(
        path=f"{method} {path[:80]}",
        hint="ask at `/v1/chat/completions` or `/v2/models/NAME/infer`; `/v1/models` lists names",
    )
