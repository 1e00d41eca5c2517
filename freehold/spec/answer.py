"""What is recorded of one answer: an intent before the first upstream byte, a turn before another target
is asked instead, a close before the last byte."""

from __future__ import annotations

from typing import Literal

import msgspec

Ending = Literal["answered", "denied", "cut off", "failed"]

COPY = "shd_"
"""How the id begins of an answer that a shadow gave to a copy; nobody was given it."""
SAME, DIFFERS = "same", "differs"
"""The reason in a copy's record where it could be laid beside the answer that was given."""
DIED = "gateway-died"
"""The reason where an answer ended with the process that gave it: that says nothing of the model."""
GONE = "caller-gone"
"""The reason where an answer was cut off because its caller had left."""
FORGOTTEN = "forgotten"
"""Whom an answer is about whose person was forgotten: one word for all of them."""
GIVEN = "ans_"
"""How the id of every other begins."""


def copy_of(answer: str) -> str:
    """The id of the copy of what `answer` was given to: the same characters behind another beginning."""
    return COPY + answer.removeprefix(GIVEN)


def copied(answer: str) -> str | None:
    """The id of the answer that was given, where `answer` is the id of a copy."""
    return GIVEN + answer.removeprefix(COPY) if answer.startswith(COPY) else None


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """That an answer began, durable before it begins."""

    answer: str
    """`ans_…`, also the header `x-freehold-answer`; `shd_…` of a copy."""
    at: int
    project: str
    service: str
    key: str
    purpose: str
    subject: str | None
    """HMAC of the subject under the project's lookup key."""
    release: str | None
    serving_digest: str | None
    snapshot: int
    sandbox: bool
    request: str
    """Salted commitment to the request's body."""
    request_id: str | None
    trace: str | None
    idempotency: str | None
    """What the caller's Idempotency-Key became, when there was one; it names neither key nor caller."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """That another target is asked instead, durable before anything of it goes there."""

    answer: str
    at: int
    release: str
    serving_digest: str
    instead: tuple[str, ...]
    """Who did not answer and why, in the order in which they were asked: `claims-chat upstream-away`."""


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended, durable before the last byte leaves."""

    answer: str
    at: int
    ending: Ending
    status: int
    reason: str
    """The failure's code, `ok` when answered; of a copy `same` or `differs` where that can be said."""
    response: str | None
    """Salted commitment to the answer's body."""
    tokens_in: int
    tokens_out: int
    estimated: bool
    """The tokens were counted by us, because the upstream did not say; of an answer that it may have made
    and that did not come, the most that it could have used."""
    micros: int
    """From the first byte in; of a copy from when it was asked."""
    cost: str
    """Decimal text."""
    guards: tuple[str, ...] = ()
    """What each guard did: `in pii mask: e-mail 2`. Kinds and counts, never a value."""
    went: tuple[str, ...] = ()
    """Where a target stands at several addresses: the base URLs to which the request went, in that order."""


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """That an answer was given again to who repeated the request, durable before it leaves again."""

    id: str
    """`agn_…`"""
    answer: str
    """The one that was given again."""
    at: int
    project: str
    key: str
    """Whose: the same caller's, or it would not have been given."""
    request_id: str | None
    given: bool
    """False takes an earlier record of the same id back: it did not leave."""


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """The request and response themselves, sealed to control when they are spooled."""

    answer: str
    request: bytes
    response: bytes
    salt: str
    """Hex; what the two commitments were made with."""
