"""What is said of a data set as a whole: why it may be used, by whom, where, how long.

Said when its first version is added. Later versions may leave it out; to say something else is a
conflict, for it would change what people were told: that is another data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from freehold.data.keep import duration
from freehold.errors import BadInput, Conflict
from freehold.spec.ids import check_name
from freehold.spec.sensitivity import Sensitivity

BASES = ("consent", "contract", "legal-obligation", "legitimate-interest", "vital-interest", "public-task")
"""The grounds of article 6(1) GDPR, (a) to (f)."""

LEGAL = "legal-obligation"
"""What has to be kept by law: a forgetting does not leave it out, nor destroy it before its time."""

CONSENT_WORDS = frozenset({"yes", "no", "true", "false", "given", "withdrawn"})


class NotSaid(BadInput):
    """a new data set needs {what}"""


class SaidOtherwise(Conflict):
    """`{name}` was declared with {what} `{before}`, not `{now}`"""


class NoBasis(BadInput):
    """`{basis}` is no basis for using data"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What somebody asks for when they add a file. What is empty was not said."""

    name: str
    purposes: tuple[str, ...] = ()
    basis: str = ""
    sensitivity: str = ""
    owner: str = ""
    """A person's id, or the name of a team."""
    keep: str = ""
    regions: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    """Columns that name a person the row is about."""
    consent_from: str = ""
    target: str = ""
    text: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    """Types that are not to be inferred."""
    missing: tuple[str, ...] = ()
    """Words of a CSV file that stand for an empty cell."""
    allow_bad_rows: int = 0
    plan: bool = False
    """Only say what would happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What holds for a data set and all its versions."""

    purposes: tuple[str, ...]
    basis: str
    sensitivity: Sensitivity
    owner: str
    keep: str
    """ISO 8601."""
    regions: tuple[str, ...]
    subject_columns: tuple[str, ...]
    consent_column: str | None
    target: str | None
    text: str | None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that are text whatever stands in them: names of persons and consents are no numbers."""
        special = (*self.subject_columns, self.consent_column, self.text)
        return tuple(name for name in special if name)


def settle(name: str, before: Declared | None, asked: Intake) -> Declared:
    """What holds: what was said before, else what is said now.

    Raises NotSaid for what is missing in a new data set, SaidOtherwise for what differs, BadInput for
    what cannot be.
    """
    said = _said(asked)
    if before is None:
        return _new(said)
    for key, now in said.items():
        was = getattr(before, key)
        if now and now != was:
            raise SaidOtherwise(
                name=name,
                what=_OPTIONS[key],
                before=_shown(was),
                now=_shown(now),
                why="it holds for all its versions",
                hint="leave it out, or add the file as another data set with `--name`",
            )
    return before


def _said(asked: Intake) -> dict[str, Any]:
    return {
        "purposes": tuple(sorted({_purpose(p) for p in asked.purposes})),
        "basis": _basis(asked.basis),
        "sensitivity": Sensitivity.parse(asked.sensitivity) if asked.sensitivity else None,
        "owner": asked.owner.strip(),
        "keep": duration(asked.keep) if asked.keep else "",
        "regions": tuple(sorted({check_name(r, "region") for r in asked.regions})),
        "subject_columns": tuple(dict.fromkeys(asked.subject)),
        "consent_column": asked.consent_from or None,
        "target": asked.target or None,
        "text": asked.text or None,
    }


_OPTIONS = {
    "purposes": "--purpose",
    "basis": "--basis",
    "sensitivity": "--sensitivity",
    "owner": "--owner",
    "keep": "--keep",
    "regions": "--region",
    "subject_columns": "--subject",
    "consent_column": "--consent-from",
    "target": "--target",
    "text": "--text",
}
_NEEDED = ("purposes", "basis", "sensitivity", "owner", "keep", "regions")


def _new(said: dict[str, Any]) -> Declared:
    if missing := [_OPTIONS[key] for key in _NEEDED if not said[key]]:
        raise NotSaid(what=", ".join(missing), why="without it nobody can tell what it may be used for")
    if said["basis"] == "consent" and not said["consent_column"]:
        raise NotSaid(
            what="--consent-from",
            why="its basis is consent, and nothing says who consented",
            hint="name the column that holds it: yes, no, withdrawn, or a list of purposes",
        )
    return Declared(**said)


def _purpose(purpose: str) -> str:
    if check_name(purpose, "purpose") in CONSENT_WORDS:
        raise BadInput(
            what=f"`{purpose}` cannot be a purpose", why="in a consent column this word means something else"
        )
    return purpose


def _basis(basis: str) -> str:
    if basis and basis not in BASES:
        raise NoBasis(basis=basis[:40], why=f"it is one of {', '.join(BASES)}")
    return basis


def _shown(value: Any) -> str:
    if isinstance(value, Sensitivity):
        return value.word
    return ", ".join(value) if isinstance(value, tuple) else str(value or "nothing")
