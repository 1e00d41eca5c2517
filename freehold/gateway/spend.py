"""What a service may spend a day: the worst case is reserved before a call, the rest given back after.

The day's sum lies in a small file per service, changed under a lock: a restart gives nothing back,
and two gateway processes side by side share one budget. A process that is killed leaves its
reservations spent, which errs on the safe side until midnight.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from freehold.errors import OverLimit, Unavailable
from freehold.spec.snapshot import ServiceView, Target

_LINE = 64
_FINE = Decimal("0.000000001")


class BudgetUsedUp(OverLimit):
    """`{service}` has spent what it may spend today"""

    retry_after = 3600


class SpendUnknown(Unavailable):
    """what `{service}` has spent today cannot be read, so it spends nothing"""


@dataclass(slots=True)
class Tally:
    """What an answer has used so far."""

    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = False


def cost(target: Target, tokens_in: int, tokens_out: int) -> Decimal:
    """Tokens × price per 1,000, in the project's currency, to nine places, never rounded down."""
    exact = tokens_in * Decimal(target.price_in) + tokens_out * Decimal(target.price_out)
    return (exact / 1000).quantize(_FINE, rounding="ROUND_UP")


def is_priced(target: Target) -> bool:
    """Whether asking it costs money."""
    return Decimal(target.price_in) > 0 or Decimal(target.price_out) > 0


class Spend:
    """The budgets of all services, as files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def reserved(
        self, service: ServiceView, target: Target, worst: tuple[int, int], tally: Tally, at: int
    ) -> Iterator[None]:
        """Hold the worst case (tokens in, tokens out) while the block runs; keep what `tally` used.

        Raises BudgetUsedUp when the day's budget does not cover it.
        """
        if service.spend_per_day is None or not is_priced(target):
            yield
            return
        day, left = _day(service.timezone, at)
        amount = cost(target, *worst)
        self._take(service, day, amount, left)
        try:
            yield
        finally:
            used = cost(target, tally.tokens_in, tally.tokens_out)
            with suppress(SpendUnknown):  # then the worst case stays spent
                self._settle(service.name, day, used - amount)

    def _take(self, service: ServiceView, day: str, amount: Decimal, left: int) -> None:
        limit = Decimal(service.spend_per_day or 0)
        with _book(self._folder / service.name, service.name) as book:
            spent = book.spent(day) + amount
            if spent <= limit:
                book.write(day, spent)
                return
        failure = BudgetUsedUp(
            service=service.name,
            why=f"the limit is {limit} a day, and this request could cost {amount.normalize():f}",
            hint="lower `max_tokens`, wait until the day ends, or raise the service's limit",
        )
        failure.retry_after = left
        raise failure

    def _settle(self, service: str, day: str, difference: Decimal) -> None:
        with _book(self._folder / service, service) as book:
            if book.day == day:  # after midnight there is nothing left to give back to
                book.write(day, book.spent(day) + difference)


@dataclass(frozen=True, slots=True)
class _Book:
    """One service's file, locked: a day and what was spent on it."""

    file: int
    day: str
    sum: Decimal

    def spent(self, day: str) -> Decimal:
        return self.sum if day == self.day else Decimal(0)

    def write(self, day: str, spent: Decimal) -> None:
        os.pwrite(self.file, f"{day} {spent:f}".ljust(_LINE - 1).encode() + b"\n", 0)


@contextmanager
def _book(path: Path, service: str) -> Iterator[_Book]:
    try:
        _begin(path)
        file = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # held for microseconds, by us or a gateway beside us
            day, _, number = os.pread(file, _LINE, 0).decode("latin-1").strip().partition(" ")
            yield _Book(file, day, Decimal(number))  # an emptied file is no number: unknown, not nothing
        finally:
            os.close(file)
    except (OSError, ArithmeticError) as error:
        raise SpendUnknown(
            service=service, why=f"its file cannot be used: {type(error).__name__}", hint=f"see {path.name}"
        ) from error


def _begin(path: Path) -> None:
    """Make a service's file with its first line in it, durably, unless it is there.

    By a link, so that of two gateways one wins, and nobody ever sees the file empty.
    """
    if path.exists():
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(b"1970-01-01 0".ljust(_LINE - 1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()


def _day(timezone: str, at: int) -> tuple[str, int]:
    """The day at `at` in `timezone`, and the seconds until it ends."""
    here = dt.datetime.fromtimestamp(at / 1_000_000, ZoneInfo(timezone))
    midnight = dt.datetime.combine(here.date() + dt.timedelta(days=1), dt.time(), here.tzinfo)
    return here.date().isoformat(), max(1, int(midnight.timestamp() - here.timestamp()))
