"""How a proof says that a control did not do what it is for."""

from __future__ import annotations

from collections.abc import Callable

from freehold.errors import Failure


class DoesNotHold(Exception):
    """A control did not do what it is for; the words say what happened instead."""


def need(true: bool, otherwise: str) -> None:
    """Raise DoesNotHold unless it is true."""
    if not true:
        raise DoesNotHold(otherwise)


def refused(attempt: Callable[[], object], otherwise: str) -> None:
    """Raise DoesNotHold unless the attempt is refused."""
    try:
        attempt()
    except Failure:
        return
    raise DoesNotHold(otherwise)
