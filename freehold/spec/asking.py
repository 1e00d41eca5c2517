"""On whose request something happens, and what allowed it: carried along the call into every entry.

Id and trace are kept only when they look like what they should be: a header is a caller's text, and free text
could be a person's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

_ID = re.compile(r"req_[0-9a-hjkmnp-tv-z]{26}|[0-9a-fA-F-]{16,63}")  # ours, UUIDs and hex: never a word
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One request, as entries name it."""

    id: str | None = None
    trace: str | None = None
    """The trace id of W3C Trace Context: 32 hexadecimal digits."""
    allowed: list[str] = field(default_factory=list, compare=False)
    """The policies that said yes so far; grows while the request is answered, in whatever thread that is."""


NOBODY_ASKED = Asking()
"""What happens by itself: the clock, a step of a journey, a start."""

_CURRENT: ContextVar[Asking] = ContextVar("asking", default=NOBODY_ASKED)


def current() -> Asking:
    """The request that is being answered here and now."""
    return _CURRENT.get()


def allowed_by(policies: Iterable[str]) -> None:
    """These policies said yes to the request that is being answered."""
    asking = current()
    if asking is not NOBODY_ASKED:
        asking.allowed.extend(one for one in policies if one not in asking.allowed)


@contextmanager
def asked(asking: Asking) -> Iterator[None]:
    """What happens within the block happens on this request."""
    before = _CURRENT.set(asking)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def read_id(value: bytes | None) -> str | None:
    """A caller's own id of the request (`X-Request-Id`), when it looks like one."""
    text = (value or b"").decode("latin-1")
    return text if _ID.fullmatch(text) else None


def read_trace(value: bytes | None) -> str | None:
    """The trace id of a `traceparent` (W3C Trace Context, section 3.2), when it is one."""
    found = _TRACE.fullmatch((value or b"").decode("latin-1"))
    return found[1] if found else None
