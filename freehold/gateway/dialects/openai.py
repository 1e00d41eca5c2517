"""Providers that speak OpenAI's own words: nothing is translated. Azure differs in address and key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from freehold.gateway.depth import too_deep
from freehold.gateway.dialects.dialect import (
    CHAT,
    EMBEDDINGS,
    MODERATIONS,
    RESPONSE_ENDS,
    RESPONSES,
    TEXT,
    Reading,
    Said,
    Sent,
    Strange,
)
from freehold.spec.snapshot import Target

AZURE_VERSION = "2024-10-21"
"""The data plane's dated version, for addresses of one deployment; `/openai/v1` needs none."""
_DEPLOYMENT = re.compile(r"/openai/deployments/[^/]+$")


class OpenAI:
    """An OpenAI-compatible server: the body passes as it is."""

    serves = frozenset((CHAT, TEXT, EMBEDDINGS, MODERATIONS, RESPONSES))

    def asks(self, path: str, fields: Mapping[str, Any]) -> Said:
        """See `Dialect`: what it knows is its own affair, and it says so itself."""
        return dict(fields)

    def url(self, target: Target, path: str, body: Said) -> str:
        """See `Dialect`."""
        return target.url.rstrip("/") + path.removeprefix("/v1")

    def sent(self, target: Target, secret: str | None, path: str, body: Said) -> Sent:
        """See `Dialect`."""
        return Sent(
            url=self.url(target, path, body),
            headers={"authorization": f"Bearer {secret}"} if secret else {},
            body=msgspec.json.encode({**body, "model": target.name}),
        )

    def answer(self, path: str, said: Said, at: int) -> Said:
        """See `Dialect`."""
        return said

    def reading(self, path: str, at: int) -> Reading:
        """See `Dialect`."""
        return _Events() if path == RESPONSES else _Chunks()


class Azure(OpenAI):
    """Azure OpenAI: a key of its own kind, and addresses that may name a deployment."""

    serves = OpenAI.serves - {MODERATIONS}

    def url(self, target: Target, path: str, body: Said) -> str:
        """See `Dialect`: a deployment is asked for a dated version of the API."""
        dated = f"?api-version={AZURE_VERSION}" if _DEPLOYMENT.search(target.url.rstrip("/")) else ""
        return super().url(target, path, body) + dated

    def sent(self, target: Target, secret: str | None, path: str, body: Said) -> Sent:
        """See `Dialect`: the model's name is the deployment's."""
        return Sent(
            url=self.url(target, path, body),
            headers={"api-key": secret} if secret else {},
            body=msgspec.json.encode({**body, "model": target.name}),
        )


class _Chunks:
    """A stream of completions: ends with `[DONE]`."""

    def __init__(self) -> None:
        self.whole = False

    def chunks(self, data: bytes) -> Iterable[Said]:
        if data == b"[DONE]":
            self.whole = True
            return ()
        return (read_object(data),)


class _Events:
    """A stream of a response: its last event says how it ended."""

    def __init__(self) -> None:
        self.whole = False

    def chunks(self, data: bytes) -> Iterable[Said]:
        if data == b"[DONE]":  # some servers say it all the same
            return ()
        event = read_object(data)
        self.whole = self.whole or event.get("type") in RESPONSE_ENDS
        return (event,)


def read_object(data: bytes) -> Said:
    """One JSON object. Raises Strange."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Strange("it is not JSON") from None
    if not isinstance(value, dict):
        raise Strange("it is not an object")
    if too_deep(value, data):
        raise Strange("it is nested too deeply")
    return value
