"""The certificate a connection came with, as far as the gateway acts on it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from freehold.tls import Serving

_PEER = "freehold.peer"
_KINDS = {"URI": "uri", "DNS": "dns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A client certificate that the listener has verified."""

    names: frozenset[str]
    """`uri:…`, `dns:…` and `cn:…`, as grants write them."""
    until: int
    """When it expires, microseconds UTC: a connection may outlive it."""
    ca: str
    """By whom it was verified (PEM)."""


def peer_of(transport: asyncio.BaseTransport) -> Peer | None:
    """The certificate of a connection; None without one, and where none was asked for."""
    spoken: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if spoken is None or not isinstance(spoken.context, Serving) or not spoken.context.ca:
        return None
    shown = spoken.getpeercert()
    if not shown:
        return None
    until = int(ssl.cert_time_to_seconds(str(shown["notAfter"]))) * 1_000_000
    return Peer(names=frozenset(_names(shown)), until=until, ca=spoken.context.ca)


def note_peer(scope: Any, peer: Peer | None) -> None:
    """Let the request say what its connection came with."""
    scope[_PEER] = peer


def peer_in(scope: MutableMapping[str, Any]) -> Peer | None:
    """The certificate that came with a request."""
    found: Peer | None = scope.get(_PEER)
    return found


def _names(shown: Any) -> Iterator[str]:
    """The names that grants can speak of; other kinds name nobody here."""
    for kind, name in shown.get("subjectAltName", ()):
        if kind in _KINDS:
            yield f"{_KINDS[kind]}:{name}"
    for part in shown.get("subject", ()):
        yield from (f"cn:{name}" for kind, name in part if kind == "commonName")
