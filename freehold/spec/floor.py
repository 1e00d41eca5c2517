"""What has to be guarded at least, whoever declares a service: a project's rules, and those of a key."""

from __future__ import annotations

from dataclasses import dataclass, replace

from freehold.spec.guard import ACTIONS, Guard, milliseconds
from freehold.spec.snapshot import GuardView


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """One rule: services of a purpose, from a sensitivity on, are guarded by at least this."""

    purpose: str = ""
    """Empty: whatever the purpose."""
    sensitivity: int = 1
    guard: tuple[str, ...]
    """Such as `in.pii=mask`."""

    def holds_for(self, purpose: str, sensitivity: int) -> bool:
        """Whether it says something of such a service."""
        return self.purpose in ("", purpose) and sensitivity >= self.sensitivity


def view_of(guard: Guard | None) -> GuardView:
    """A guard as gateways see it."""
    if guard is None:
        return GuardView()
    return GuardView(
        pii=guard.pii,
        secrets=guard.secrets,
        injection=guard.injection,
        documents=guard.documents,
        domain=guard.domain or "none",
        flag_above=of_ten_thousand(guard.flag_above),
        refuse_above=of_ten_thousand(guard.refuse_above),
        budget=milliseconds(guard.budget),
    )


def of_ten_thousand(score: float | None) -> int | None:
    """A score as a whole number."""
    return None if score is None else round(score * 10_000)


def stricter(guard: GuardView, *others: GuardView) -> GuardView:
    """What does at least what each of them does; thresholds and time are the first one's where it has any."""
    for other in others:
        done = {
            name: max(getattr(guard, name), getattr(other, name), key=actions.index)
            for name, actions in ACTIONS.items()
        }
        guard = replace(guard, **done)
    return guard
