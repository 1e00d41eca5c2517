"""What can be asked, one record per way of asking: read whole before anything begins, then asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from freehold.errors import BadInput
from freehold.gateway.asked import Asked
from freehold.gateway.classifier_chat import read_classifier_chat
from freehold.gateway.dialects.dialect import CHAT, EMBEDDINGS, MODERATIONS, RESPONSES, TEXT
from freehold.gateway.dialects.known import DIALECTS
from freehold.gateway.generation import read_generation
from freehold.gateway.infer import read_infer_question
from freehold.gateway.provider import read_provider_question
from freehold.gateway.reply import Piece
from freehold.gateway.responses import Inner, read_responses
from freehold.gateway.spend import Tally
from freehold.gateway.upstream import Upstreams
from freehold.spec.snapshot import ServiceView, Target


class OtherWay(BadInput):
    """`{service}` is not asked this way"""


class Question(Protocol):
    """A request that makes sense. Reading one is pure; asking it is the only thing that goes upstream."""

    @property
    def worst_case(self) -> tuple[int, int]:
        """The most tokens it can use, in and out."""

    def ask(
        self, upstreams: Upstreams, target: Target, secret: str | None, tally: Tally
    ) -> AsyncGenerator[Piece, None]:
        """The answer in pieces, exactly one of them the last; `tally` counts what it uses."""


PATHS = (CHAT, TEXT, EMBEDDINGS, MODERATIONS, RESPONSES)
"""The paths of OpenAI's API where questions are asked."""


def read_question(asked: Asked, service: ServiceView, answer: str) -> Question:
    """The question in a request to `service`, or a BadInput that names what is wrong with it."""
    if not _is_way(service, INFER if asked.surface == "oip" else asked.path):
        ways = (way.format(name=service.name) for way in ways_of(service))
        hint = "ask it at " + " or ".join(f"`{way}`" for way in ways)
        raise OtherWay(service=service.name, why=_NOT.get(asked.path, ""), hint=hint)
    if asked.surface == "oip":
        return read_infer_question(asked, service)
    if asked.path == RESPONSES and not _speaks(service, RESPONSES):
        return read_responses(asked, service, answer, _read_chat)
    if service.kind == "attached":
        return read_provider_question(asked, service)
    if service.task == "generate":
        return read_generation(asked, service, answer)
    return read_classifier_chat(asked, service, answer)


INFER = "/v2/models/{name}/infer"
_NOT = {
    TEXT: "it does not go on from a text",
    EMBEDDINGS: "it makes no embeddings",
    MODERATIONS: "it does not moderate",
    RESPONSES: "it answers no conversations",
}


def ways_of(service: ServiceView) -> tuple[str, ...]:
    """The paths a service can be asked at."""
    return tuple(path for path in (*PATHS, INFER) if _is_way(service, path))


def _is_way(service: ServiceView, path: str) -> bool:
    if service.kind == "own":
        return path in ((CHAT, TEXT, RESPONSES) if service.task == "generate" else (CHAT, INFER))
    return _speaks(service, path) or (path == RESPONSES and _speaks(service, CHAT))


def _speaks(service: ServiceView, path: str) -> bool:
    """Whether every provider behind it can be asked at `path` in its own words."""
    return service.kind == "attached" and all(
        path in DIALECTS[route.target.api].serves for route in service.routes
    )


def _read_chat(asked: Asked, service: ServiceView, answer: str) -> Inner:
    if service.kind == "attached":
        return read_provider_question(asked, service)
    return read_generation(asked, service, answer)
