"""May they: purpose, person, consent, and whether the service answers at all. Pure: no clock, no disk."""

from __future__ import annotations

import re

from freehold.errors import BadInput, Refused, Unavailable
from freehold.gateway.private import Private
from freehold.gateway.restrained import refuse
from freehold.gateway.rules import Rules, is_above
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.snapshot import STOPPED, KeyView, ServiceView

_PURPOSE = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


class PurposeMissing(BadInput):
    """the request does not say what it is for"""


class PurposeUnusable(BadInput):
    """the purpose of the request is not a name"""


class PurposeRefused(Refused):
    """`{service}` may not be used for `{purpose}`"""


class SensitivityRefused(Refused):
    """`{service}` is more sensitive than what this caller may ask"""


class SubjectMissing(BadInput):
    """the request does not say which person it is about"""


class SubjectUnwanted(BadInput):
    """`{service}` takes no requests about a person"""


class SubjectOfOther(Refused):
    """this token is for requests about one person, and the request names another"""


class ConsentWithdrawn(Refused):
    """the person this request is about has withdrawn consent for `{purpose}`"""


class ServiceStopped(Unavailable):
    """`{service}` is stopped"""

    denies = True


class RulesStale(Unavailable):
    """`{service}` is not served without news from control"""

    denies = True


class Said(Private, frozen=True, kw_only=True):
    """What a request says of itself."""

    purpose: str | None
    subject: str | None
    token: str | None = None
    """The person whom the caller's token names: a request with it is about nobody else."""

    @property
    def person(self) -> str | None:
        """Whom the request is about."""
        return self.subject or self.token


class Leave(Private, frozen=True, kw_only=True):
    """What was allowed: the purpose, and the person as HMAC."""

    purpose: str
    subject: str | None


def may_ask(
    said: Said, caller: KeyView, service: ServiceView, rules: Rules, silence: float, issued: int = 0
) -> Leave:
    """Leave to ask `service`, or the reason why not, in the order a person would ask for it.

    `silence` is for how many seconds nothing was heard from control; `issued` is when the caller's token
    was, microseconds UTC.
    """
    purpose = _purpose(said, caller, service)
    _check_clearance(caller, service)
    subject = _subject(said, service, rules)
    if subject is not None:
        refuse(rules, caller.id, subject, issued)
    if subject is not None and (service.project, subject, purpose) in rules.withdrawn:
        raise ConsentWithdrawn(
            purpose=purpose, why="the withdrawal is in force at once", hint="do not ask about this person"
        )
    if service.state == "stopped":
        hint = "its operators can resume it: `freehold resume`" if service.because == STOPPED else ""
        raise ServiceStopped(service=service.name, why=service.because, hint=hint or "ask again later")
    if silence > service.stale_for:
        raise RulesStale(
            service=service.name,
            why=f"nothing was heard for {int(silence)} s, {service.stale_for} s are allowed",
            hint="see why control is away: `freehold status`",
        )
    return Leave(purpose=purpose, subject=subject)


def _check_clearance(caller: KeyView, service: ServiceView) -> None:
    if caller.sensitivity is not None and is_above(caller, service):
        raise SensitivityRefused(
            service=service.name,
            why=f"it is {Sensitivity(service.sensitivity).word}, and they may ask up to "
            f"{Sensitivity(caller.sensitivity).word}",
            hint="ask for a key with more: `freehold keys create --sensitivity`",
        )


def named_purpose(said: Said, caller: KeyView) -> str:
    """The purpose a refused request named, for its record; empty when it is not a name."""
    purpose = said.purpose or caller.purpose or ""
    return purpose if len(purpose) <= 63 and _PURPOSE.fullmatch(purpose) else ""


def named_person(said: Said, service: ServiceView, rules: Rules) -> str | None:
    """The person whom a refused request names, as HMAC, for its record.

    So what is refused is counted for them, and for nobody else who asks with the same key. Whom a token names
    is who asks with it, whomever the request names beside.
    """
    about = (said.token or said.subject) if service.subject != "none" else None
    return rules.subject(service.project, about) if about and service.project in rules.lookup else None


def _purpose(said: Said, caller: KeyView, service: ServiceView) -> str:
    purpose = said.purpose or caller.purpose
    if not purpose:
        raise PurposeMissing(
            why=f"`{service.name}` answers for one purpose only, and this key has no default",
            hint='send the header `X-Freehold-Purpose`, or `metadata: {"purpose": …}` in the body',
        )
    if not named_purpose(said, caller):
        raise PurposeUnusable(why="purposes are lower-case words joined by `-`", hint="try `claims-handling`")
    if purpose != service.purpose:
        raise PurposeRefused(
            service=service.name,
            purpose=purpose,
            why=f"it serves: {service.purpose}",
            hint=f"ask with purpose {service.purpose}, if that is what the answer is for",
        )
    return purpose


def _subject(said: Said, service: ServiceView, rules: Rules) -> str | None:
    if said.subject and service.subject == "none":
        raise SubjectUnwanted(service=service.name, hint="leave `X-Freehold-Subject` out")
    if said.token is not None and said.subject not in (None, said.token):
        raise SubjectOfOther(hint="leave `X-Freehold-Subject` out: the token says whom it is about")
    if not said.person and service.subject == "required":
        raise SubjectMissing(
            why=f"`{service.name}` answers about persons, whose consent is looked up",
            hint='send the header `X-Freehold-Subject`, or `metadata: {"subject": …}` in the body',
        )
    about = said.person if service.subject != "none" else None
    return rules.subject(service.project, about) if about else None
