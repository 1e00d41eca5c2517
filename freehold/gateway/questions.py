"""What can be asked, one record per way of asking: read whole before anything begins, then asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from freehold.errors import BadInput
from freehold.gateway.asked import Asked
from freehold.gateway.classifier_chat import read_classifier_chat
from freehold.gateway.generation import CHAT, read_generation
from freehold.gateway.infer import read_infer_question
from freehold.gateway.provider_chat import read_provider_chat
from freehold.gateway.reply import Piece
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


def read_question(asked: Asked, service: ServiceView, answer: str) -> Question:
    """The question in a request to `service`, or a BadInput that names what is wrong with it."""
    writes = service.kind == "own" and service.task == "generate"
    if asked.surface == "oip" and (writes or service.kind != "own"):
        raise OtherWay(service=service.name, hint=f"ask it at `{CHAT}`")
    if asked.surface == "oip":
        return read_infer_question(asked, service)
    if writes:
        return read_generation(asked, service, answer)
    if asked.path != CHAT:
        raise OtherWay(service=service.name, why="it does not go on from a text", hint=f"ask it at `{CHAT}`")
    if service.kind == "own":
        return read_classifier_chat(asked, service, answer)
    return read_provider_chat(asked, service)
