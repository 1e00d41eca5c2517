"""One number of a plan, and how it came to be."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its unit, its label, its formula and the facts it stands on."""

    name: str
    value: float
    unit: str
    formula: str
    facts: tuple[str, ...] = field(default=())
    """Names of facts."""
    label: str = "derived"

    def text(self) -> str:
        """Rounded to three digits, with thousands apart."""
        large = abs(self.value) >= 1000
        shown = f"{self.value:,.0f}" if large and abs(self.value) < 1e12 else f"{self.value:.3g}"
        return f"{shown} {self.unit}".rstrip()
