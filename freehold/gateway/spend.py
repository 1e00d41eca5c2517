"""What an answer has used, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from freehold.spec.snapshot import Target

_FINE = Decimal("0.000000001")
_WENT = 32
"""Addresses that are told of one answer: with those of all that stand in there could be more than an entry
holds."""


@dataclass(slots=True)
class Tally:
    """What an answer has used so far."""

    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = False
    went: tuple[str, ...] = ()
    """Of a target at several addresses: those to which the request went, in that order."""

    def goes(self, url: str) -> None:
        """The request is on its way to this address."""
        if url not in self.went and len(self.went) <= _WENT:
            self.went = (*self.went, url if len(self.went) < _WENT else "…")

    def asked(self, tokens_in: int, most: int) -> None:
        """The request is on its way: until it is known what it used, it may have used the most it could."""
        self.tokens_in, self.tokens_out, self.estimated = tokens_in, most, True

    def answers(self) -> None:
        """The answer begins: from here on what comes is counted."""
        self.tokens_out = 0

    def nothing(self) -> None:
        """It was refused: nothing was used."""
        self.tokens_in, self.tokens_out, self.estimated = 0, 0, False


def cost(target: Target, tokens_in: int, tokens_out: int) -> Decimal:
    """Tokens × price per 1,000, in the project's currency, to nine places, never rounded down."""
    if target.price_in == target.price_out == "0":
        return Decimal(0)
    exact = tokens_in * Decimal(target.price_in) + tokens_out * Decimal(target.price_out)
    return (exact / 1000).quantize(_FINE, rounding="ROUND_UP")


def billionths(target: Target, tokens_in: int, tokens_out: int) -> int:
    """The same as a whole number of billionths."""
    return int(cost(target, tokens_in, tokens_out).scaleb(9))
