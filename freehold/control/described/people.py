"""Answers about people, projects and keys."""

from __future__ import annotations

from typing import Literal

from freehold.control.described.fields import Closed


class RoleTold(Closed):
    """A role, and where: a project, or `*` for the installation."""

    project: str
    role: str


class PersonTold(Closed):
    """A person, with the roles that whoever asks may see."""

    id: str
    email: str
    state: Literal["active", "locked"]
    roles: list[RoleTold]
    created_at: int
    """Microseconds UTC, as every time here."""


class MeTold(PersonTold):
    """Who a key signs in, and what they may do where."""

    key: str
    expires_at: int | None
    may: dict[str, list[str]]


class PersonAdded(PersonTold):
    """A new person; the text of their key is told this once."""

    key: str
    key_text: str
    expires_at: int | None


class PersonLocked(PersonTold):
    """A person who may not sign in any more."""

    voided: list[str]
    applied: bool


class KeyHeld(Closed):
    """The incident that holds a key back: the strictest, where several do."""

    incident: str
    does: Literal["throttle", "lock", "renew"]
    since: int
    until: int | None
    """When a throttle is over."""


class KeyTold(Closed):
    """A key without its text."""

    id: str
    zone: Literal["control", "serving"]
    owner: str
    project: str | None
    services: list[str]
    purpose: str | None
    label: str
    limits: str | None
    guard: list[str]
    sensitivity: str | None
    state: Literal["active", "locked", "expired", "revoked"]
    held: KeyHeld | None
    """What holds a good key back, with everything it asks; a person's requests alone may be held, too."""
    expires_at: int | None
    created_at: int


class KeyRevoked(KeyTold):
    """A key that is void; `applied` says whether every gateway has heard."""

    applied: bool


class KeyMade(Closed):
    """A new key; its text is told this once."""

    id: str
    key_text: str
    expires_at: int | None
    voided: list[str]
    applied: bool


class GuardRule(Closed):
    """What a project's services are guarded by at least."""

    purpose: str | None
    sensitivity: str
    guard: list[str]


class ProjectTold(Closed):
    """A project."""

    name: str
    timezone: str
    currency: str
    state: str
    created_at: int
    limits: str
    guards: list[GuardRule]


class ProjectChanged(ProjectTold):
    """A project, and whether every gateway has heard."""

    applied: bool


class KeyUnlocked(Closed):
    """A key that nothing holds back any more, and the incidents that did; these are closed."""

    key: str
    closed: list[str]
    applied: bool
