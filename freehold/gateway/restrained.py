"""Who is held back because they look like an attacker: throttled, locked, or to be renewed. Pure.

Where nobody is, nothing is looked at.
"""

from __future__ import annotations

from freehold.errors import NotSignedIn, Refused
from freehold.gateway.rules import Rules
from freehold.spec.snapshot import Most, Restraint


class KeyLocked(Refused):
    """this key is locked

    Counted and told, not recorded: who goes on asking must not fill the ledger.
    """

    recorded = False


class PersonLocked(Refused):
    """requests about this person are refused with this key"""

    recorded = False


class KeyToRenew(NotSignedIn):
    """this key has to be renewed"""

    recorded = False


_ASK = "an operator can look into it: `freehold incident show`, `freehold keys unlock`"
_RENEW = (
    "its owner renews it with `freehold keys renew`; with a token, sign in again; "
    "with a certificate, ask an operator"
)


def refuse(rules: Rules, key: str, subject: str = "", issued: int = 0) -> None:
    """Pass when nothing holds this key, or this person's requests with it.

    `issued` is when a caller's token was, microseconds UTC; 0 where nobody says so. Raises KeyLocked,
    PersonLocked, KeyToRenew.
    """
    for one in rules.restraints.get((key, subject), ()):
        if one.does == "lock":
            raise (PersonLocked if subject else KeyLocked)(why=_why(one), hint=_ASK)
        if one.does == "renew" and issued <= one.since:
            raise KeyToRenew(why=_why(one), hint=_RENEW)


def _why(one: Restraint) -> str:
    return f"it was used in a way that looks like an attack: incident `{one.incident}`"


def paces(rules: Rules, key: str, subject: str, at: int) -> tuple[tuple[str, str, Most], ...]:
    """What somebody throttled may still ask: a name, whose it is in messages, and how much."""
    if not rules.restraints:
        return ()
    found = [one for who in sorted({"", subject}) for one in rules.restraints.get((key, who), ())]
    return tuple(
        (f"incident/{one.incident}", _whose(one), Most(requests=one.pace))
        for one in found
        if one.does == "throttle" and (one.until is None or one.until > at)
    )


def _whose(one: Restraint) -> str:
    what = "this person with this key" if one.subject else "this key"
    return f"{what}, throttled by incident `{one.incident}`,"
