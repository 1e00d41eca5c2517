"""Who acts: a person, a service, or a job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

INSTALLATION = "*"
"""The scope of a role that holds in every project."""

ROLES = (
    "administrator",
    "trainer",
    "approver",
    "model-risk",
    "data-protection",
    "operator",
    "auditor",
)
"""The roles this release knows. `model-risk` and `data-protection` are approvers with a name."""

APPROVER_ROLES = frozenset({"approver", "model-risk", "data-protection"})

Zone = Literal["control", "serving", "border"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who acts, as established by a key: never taken from a request's own words."""

    kind: Literal["person", "service", "machine"]
    id: str
    """`per_…` for a person, `key_…` for a service key, `gateway`, `worker`, `engine` for a machine."""
    zone: Zone
    key: str
    """The id of the key it came with, for the ledger."""
    roles: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """(project or `*`, role) pairs."""

    def has(self, role: str, project: str) -> bool:
        """Whether it holds `role` in `project`, directly or in the whole installation."""
        return (project, role) in self.roles or (INSTALLATION, role) in self.roles


SYSTEM = Principal(kind="machine", id="control", zone="control", key="-")
"""The control process itself, for what no person asked for (clock, recovery)."""
