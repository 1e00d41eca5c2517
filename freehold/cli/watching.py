"""Watching a journey from a terminal, and leaving it to go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from freehold.client import Freehold

LOOK_EVERY = 0.3
"""Seconds."""


def looks(control: Freehold, id: str) -> Iterator[dict[str, Any]]:
    """The journey as it stands, again and again; whoever watches says when it is enough."""
    while True:
        journey: dict[str, Any] = control.get(f"/api/journeys/{id}")
        yield journey
        time.sleep(LOOK_EVERY)


@contextmanager
def may_be_left(id: str) -> Iterator[None]:
    """From the moment a journey is begun, Ctrl-C says that it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\n  it goes on without you: `freehold runs show {id}` watches it", err=True)
        raise
