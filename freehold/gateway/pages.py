"""The pages of a snapshot: each believed by the digest that the snapshot names, read once, then shared.

Rules that follow others take over the pages that did not change. A page that is missing, or is not what the
snapshot names, is never left out: without it there are no new rules, and the old ones go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import msgspec

from freehold.errors import Tampered
from freehold.spec.ids import digest_bytes
from freehold.spec.snapshot import KeyView, Snapshot, Withdrawal, page_of


class SnapshotStrange(Tampered):
    """the snapshot says something this gateway does not know"""


class PageMissing(Tampered):
    """a page of the snapshot is missing"""


K = TypeVar("K")
V = TypeVar("V")
Withdrew = tuple[str, str, str]
"""(project, subject, purpose)."""
KEYS, WITHDRAWALS = "keys", "withdrawals"


@dataclass(frozen=True, slots=True)
class Page:
    """One that was read."""

    digest: str
    records: Mapping[Any, Any] = field(repr=False)
    """By what they are looked up by, in the order of the page."""

    @property
    def text(self) -> bytes:
        """Its bytes: it holds nothing but its records."""
        return _written(list(self.records.values()))


Place = tuple[str, str]
"""Of what, and the name of the page."""
Held = Mapping[Place, Page]


class Paged(Mapping[K, V]):
    """Records in pages, looked up in the one where they would be."""

    def __init__(self, held: Held, of: str, name_of: Callable[[K], str]) -> None:
        self._pages = {name: page.records for (what, name), page in held.items() if what == of}
        self._name_of = name_of

    def __getitem__(self, key: K) -> V:
        found: V = self._pages[self._name_of(key)][key]
        return found

    def __iter__(self) -> Iterator[K]:
        return (key for records in self._pages.values() for key in records)

    def __len__(self) -> int:
        return sum(map(len, self._pages.values()))


def keys_in(held: Held) -> Mapping[str, KeyView]:
    """Every key on these pages, by its id."""
    return Paged(held, KEYS, page_of)


def withdrawals_in(held: Held) -> Mapping[Withdrew, Withdrawal]:
    """Every withdrawal on these pages."""
    return Paged(held, WITHDRAWALS, lambda who: page_of(who[1]))


class Arriving:
    """A newer snapshot on its way to being rules: whole once it lacks no page."""

    def __init__(self, envelope: bytes, snapshot: Snapshot, before: Held) -> None:
        """`before` is what is held for the rules in force."""
        self.envelope, self.snapshot = envelope, snapshot
        self.fetched: set[str] = set()
        """The digests of those that no disk had."""
        self._held: dict[Place, Page] = {}
        self._lacks: dict[str, list[Place]] = {}
        for place, digest in _named(snapshot):
            if (page := before.get(place)) is not None and page.digest == digest:
                self._held[place] = page
            else:
                self._lacks.setdefault(digest, []).append(place)

    def lacks(self, most: int | None = None) -> tuple[str, ...]:
        """The digests of pages that are still to come."""
        return tuple(islice(self._lacks, most))

    def take(self, digest: str, text: bytes) -> None:
        """One of them. Raises PageMissing for another one, SnapshotStrange."""
        if digest_bytes(text) != digest:
            raise PageMissing(
                why=f"what stands for {digest[:19]} is nothing, or has another digest",
                hint="the rules in force go on; it is asked for again",
            )
        for what, name in self._lacks[digest]:
            self._held[what, name] = Page(digest, _read(what, name, text))
        del self._lacks[digest]

    def fetch(self, digests: Sequence[str], texts: Sequence[bytes]) -> None:
        """Take what control answered; whoever else waits to run gets a turn after each of them."""
        for at, digest in enumerate(digests):
            self.take(digest, texts[at] if at < len(texts) else b"")
            self.fetched.add(digest)
            time.sleep(0)

    @property
    def pages(self) -> dict[Place, Page]:
        """All of them. Raises PageMissing while one lacks."""
        if self._lacks:
            raise PageMissing(why=f"{len(self._lacks)} of them are not here")
        return self._held


def named(snapshot: Snapshot) -> Iterator[str]:
    """The digests of its pages."""
    yield from snapshot.key_pages.digests.values()
    yield from snapshot.withdrawal_pages.digests.values()


def _named(snapshot: Snapshot) -> Iterator[tuple[Place, str]]:
    for what, pages, here in (
        (KEYS, snapshot.key_pages, snapshot.keys),
        (WITHDRAWALS, snapshot.withdrawal_pages, snapshot.withdrawals),
    ):
        if pages.digests and here:
            raise SnapshotStrange(why=f"its {what} stand in it and on pages")
        yield from (((what, name), digest) for name, digest in pages.digests.items())


def _read(what: str, name: str, text: bytes) -> Mapping[Any, Any]:
    """Every word of a page, or none; each record where it is looked for."""
    try:
        records: Sequence[KeyView] | Sequence[Withdrawal]
        records = _keys_of(text) if what == KEYS else _withdrawals_of(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SnapshotStrange(why="a field of a page is missing or has another type") from error
    must_be_all(_written(records), text)
    found = {_looked_up(record): record for record in records}
    if len(found) < len(records) or any(page_of(record.id) != name for record in records):
        raise SnapshotStrange(why="a page holds what does not belong there")
    return found


def _looked_up(record: KeyView | Withdrawal) -> str | Withdrew:
    if isinstance(record, KeyView):
        return record.id
    return record.project, record.subject, record.purpose


def must_be_all(known: bytes, said: bytes) -> None:
    """Raise SnapshotStrange where something was said that is not known."""
    if known != said:
        raise SnapshotStrange(
            why="it has fields of a newer release", hint="bring this gateway to the release of control"
        )


_keys_of = msgspec.json.Decoder(tuple[KeyView, ...]).decode
_withdrawals_of = msgspec.json.Decoder(tuple[Withdrawal, ...]).decode
_written = msgspec.json.Encoder(order="sorted").encode
