"""How much and how long: every bound of the gateway in one record, so that tests can pass small ones."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Sizes in bytes, times in seconds."""

    connections: int = 4096
    """Of callers, at once; one more is told 503 and closed. Fewer where fewer files may be open."""
    headers: int = 32 << 10
    """Request line and headers together; beyond: 431."""
    header_lines: int = 100
    """Headers of a request; one more: 431."""
    body: int = 4 << 20
    """A request's body; beyond: 413, before it is read where its length is announced."""
    response: int = 16 << 20
    """An upstream's answer; beyond: 502."""
    header_wait: float = 10
    """From the first byte of a connection or request to the end of its headers."""
    body_wait: float = 30
    """For the whole body."""
    taken: float = 60
    """For a caller to take anything of what is ready for them."""
    idle: float = 75
    """A connection between two requests."""
    linger: float = 1.0
    """How long a draining gateway leaves idle connections open, for requests already on their way."""
    drain: float = 20
    """For running requests when the gateway is told to leave; its supervisor waits 30 s in all."""
    answer: float = 600
    """For one answer, first byte to last."""
    record: float = 5
    """For one record to become durable."""
    engine: float = 30
    """For one answer of our own engine."""
    connect: float = 5
    """To reach a provider."""
    silence: float = 60
    """Between two pieces of a provider's answer."""
    copies: int = 256
    """For a shadow, that wait; one more is dropped."""
    copied: int = 16 << 20
    """All of them together, with the answers they are laid beside."""
    copies_leave: float = 2
    """For copies under way when the gateway leaves; they are cut off then."""
    ship: float = 5
    """For the last records to reach control when the gateway leaves."""


_OURS = 512
"""Files a gateway needs beside connections: its spools, its counts, what it has loaded."""


def fitting(bounds: Bounds) -> Bounds:
    """As many connections as there may be open files for, each with one to whoever answers it.

    A process that runs out of them can neither accept nor record. As many as the system allows are asked for.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * bounds.connections + _OURS
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return bounds
    return replace(bounds, connections=max(16, (soft - _OURS) // 2))
