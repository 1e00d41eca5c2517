"""A contract with a provider, as far as a gateway can hold somebody to it: until when, for what, where.

The file is YAML::

    party: Example AI GmbH
    until: 2027-12-31            # the last day
    purposes: [claims-handling]
    regions: [eu]
    sensitivity: Confidential    # the most that may be sent there; outside never Restricted
"""

from __future__ import annotations

import datetime as dt
import difflib
from dataclasses import dataclass
from typing import Any

from freehold.errors import BadInput, Refused
from freehold.spec.ids import digest_bytes
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.yaml import Document, read

FIELDS = ("party", "until", "purposes", "regions", "sensitivity")


class BadContract(BadInput):
    """the contract cannot be used: {what}"""


class NotCovered(Refused):
    """the contract does not cover this"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What was agreed."""

    party: str
    until: int
    """The first moment it no longer holds, microseconds UTC."""
    last_day: str
    purposes: tuple[str, ...]
    regions: tuple[str, ...]
    sensitivity: Sensitivity
    digest: str
    """Of the file as it was given."""

    def as_plain(self) -> dict[str, Any]:
        """For the service's row."""
        return {
            "party": self.party,
            "until": self.until,
            "last_day": self.last_day,
            "purposes": list(self.purposes),
            "regions": list(self.regions),
            "sensitivity": self.sensitivity.word,
            "digest": self.digest,
        }


def read_contract(text: str) -> Contract:
    """Read the file. Raises BadContract, naming line and field."""
    document = read(text)
    said = document.value
    if not isinstance(said, dict):
        raise BadContract(what="it is no list of fields", hint="see docs/manual/attach.md")
    _refuse_unknown(document)
    until, last_day = _until(document)
    return Contract(
        party=_word(document, "party"),
        until=until,
        last_day=last_day,
        purposes=_words(document, "purposes"),
        regions=_words(document, "regions"),
        sensitivity=Sensitivity.parse(_word(document, "sensitivity")),
        digest=digest_bytes(text.encode()),
    )


def check_covers(contract: Contract, *, purpose: str, region: str, sensitivity: Sensitivity, at: int) -> None:
    """Raise NotCovered unless the contract holds at `at` for this purpose, region and sensitivity."""
    if at >= contract.until:
        raise NotCovered(why=f"it ended on {contract.last_day}", hint="renew it and attach again")
    if purpose not in contract.purposes:
        raise NotCovered(why=f"it is for {', '.join(contract.purposes)}, not for {purpose}")
    if region not in contract.regions:
        said = f"not for {region}" if region else "and no region was named"
        raise NotCovered(
            why=f"it is for {', '.join(contract.regions)}, {said}",
            hint=f"say where the provider answers: `--region {contract.regions[0]}`",
        )
    if sensitivity > contract.sensitivity:
        raise NotCovered(why=f"it allows {contract.sensitivity.word} at most, this is {sensitivity.word}")


def _refuse_unknown(document: Document) -> None:
    for name in document.value:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            raise BadContract(
                what=f"line {document.line((name,))} has an unknown field `{name}`",
                hint=f"did you mean `{near[0]}`?" if near else f"fields are {', '.join(FIELDS)}",
            )


def _word(document: Document, name: str) -> str:
    value = document.value.get(name)
    if not isinstance(value, str) or not value.strip():
        line = document.line((name,)) or 1
        raise BadContract(what=f"line {line}: `{name}` is missing or no text")
    return value.strip()


def _words(document: Document, name: str) -> tuple[str, ...]:
    value = document.value.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v for v in value):
        line = document.line((name,)) or 1
        raise BadContract(
            what=f"line {line}: `{name}` is missing or no list of words", hint=f"`{name}: [eu]`"
        )
    return tuple(value)


def _until(document: Document) -> tuple[int, str]:
    """The last day's end, UTC."""
    text = _word(document, "until")
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        line = document.line(("until",))
        raise BadContract(what=f"line {line}: `until` is no day", hint="write it as `2027-12-31`") from None
    end = dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(days=1)
    return int(end.timestamp()) * 1_000_000, day.isoformat()
