"""How much harm a leak would do: four ordered steps; a derivative has the maximum of its parents'."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from freehold.errors import BadInput


class Sensitivity(IntEnum):
    """Ordered as integers: a text enum would compare "public" < "internal" alphabetically."""

    PUBLIC = 1
    INTERNAL = 2
    CONFIDENTIAL = 3
    RESTRICTED = 4

    @property
    def word(self) -> str:
        """The word as users write it: `Public`, `Internal`, `Confidential`, `Restricted`."""
        return self.name.capitalize()

    @classmethod
    def parse(cls, text: str) -> Sensitivity:
        """Read the word, in any case."""
        try:
            return cls[text.strip().upper()]
        except KeyError:
            raise BadInput(
                what=f"`{text[:40]}` is no sensitivity",
                why="it is one of Public, Internal, Confidential, Restricted",
                hint="when in doubt write Confidential",
            ) from None


def of_derivative(parents: Iterable[Sensitivity]) -> Sensitivity:
    """The maximum of the parents'; with no parents the strictest, for we know nothing about it."""
    return max(parents, default=Sensitivity.RESTRICTED)
