"""Committing to the rows of an intake: whose key salts which row, how often a row was there before."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from freehold.data import canonical, commitments
from freehold.data.naming import HMAC
from freehold.data.sift import Sifted
from freehold.store.keyring import Keyring

NOBODY = -1


@dataclass(slots=True)
class Persons:
    """Who the rows are about: each person once, and per row and subject column a place among them."""

    hmacs: list[str]
    """Hex."""
    places: Any
    """Rows × subject columns; NOBODY where a cell is empty."""
    keys: list[bytes] = field(default_factory=list)
    new: dict[str, bytes] = field(default_factory=dict)
    """Keys of persons the keyring does not know yet, by name; not in it before the intake is done."""


def persons_of(sifted: Sifted) -> Persons:
    """Everybody in the kept rows, in order of appearance by column."""
    places, found = [], pa.array([], HMAC)
    for column in sifted.persons:
        whole = pa.concat_arrays([found, *column])
        coded = whole.dictionary_encode()
        indices = coded.indices.fill_null(NOBODY).to_numpy(zero_copy_only=False)
        places.append(indices[len(found) :])
        found = coded.dictionary
    hmacs = [person.hex() for person in found.to_pylist()]
    stacked = np.stack(places, axis=1) if places else np.empty((sifted.rows, 0), np.int32)
    return Persons(hmacs, stacked)


def give_keys(persons: Persons, keyring: Keyring, project: str) -> None:
    """Each person's key: the one that is in the keyring, else a new one that stays in memory."""
    names = [subject_key_name(project, hmac) for hmac in persons.hmacs]
    known = keyring.known(names)
    persons.new = {name: os.urandom(32) for name in names if name not in known}
    persons.keys = [known.get(name) or persons.new[name] for name in names]


def subject_key_name(project: str, hmac: str) -> str:
    """The name of a person's key in the keyring."""
    return f"subject/{project}/{hmac}"


def commit_all(sifted: Sifted, persons: Persons, dataset_key: bytes) -> bytes:
    """The commitments of all kept rows, in order, one after the other."""
    own = [commitments.commitment_key(key) for key in persons.keys]
    nobody = commitments.commitment_key(dataset_key)
    occurrences = Occurrences(sifted.row_hashes)
    types, packed, start = list(sifted.types.values()), bytearray(), 0
    for table, hashes in zip(sifted.tables, sifted.row_hashes, strict=True):
        rows = canonical.rows(table, types)
        keys = row_keys(persons.places[start : start + len(rows)], own, nobody)
        start += len(rows)
        counted = occurrences.of(rows, hashes)
        packed += b"".join(map(commitments.commit, keys, rows, counted))
    return bytes(packed)


def row_keys(places: Any, own: Sequence[bytes], nobody: bytes) -> Iterator[bytes]:
    """The key of each row, from the places of its persons."""
    if places.shape[1] == 0:
        return (nobody for _ in range(len(places)))
    if places.shape[1] == 1:
        return (nobody if place == NOBODY else own[place] for place in places[:, 0].tolist())
    return (_joint(row, own, nobody) for row in places.tolist())


def _joint(row: list[int], own: Sequence[bytes], nobody: bytes) -> bytes:
    people = list(dict.fromkeys(place for place in row if place != NOBODY))
    return commitments.joint_key([own[place] for place in people]) if people else nobody


class Occurrences:
    """How often each row stood in the version before.

    Only rows whose hash is there more than once are counted one by one, so that a file of different
    rows, the usual one, costs 8 bytes per row.
    """

    def __init__(self, hashes: Sequence[Any]) -> None:
        every = np.sort(np.concatenate(hashes)) if hashes else np.empty(0, np.int64)
        self._repeated = np.unique(every[1:][every[1:] == every[:-1]])
        self._seen: Counter[bytes] = Counter()

    def of(self, rows: Sequence[bytes], hashes: Any) -> Iterable[int]:
        """For each of the next rows, how many equal ones came before it."""
        again = np.isin(hashes, self._repeated)
        if not again.any():
            return [0] * len(rows)
        return [self._before(row) if might else 0 for row, might in zip(rows, again.tolist(), strict=True)]

    def _before(self, row: bytes) -> int:
        count = self._seen[row]
        self._seen[row] = count + 1
        return count


def rows_by_person(persons: Persons) -> Iterator[tuple[str, list[int]]]:
    """Each person with the numbers of their rows, from 1 on, for the index `data_subjects`."""
    rows, columns = persons.places.shape
    if not persons.hmacs:
        return
    places, numbers = persons.places.ravel(), np.repeat(np.arange(1, rows + 1), columns)
    order = np.argsort(places, kind="stable")  # stable: rows stay in order within a person
    ends = np.searchsorted(places[order], np.arange(len(persons.hmacs) + 1))
    for place, hmac in enumerate(persons.hmacs):
        found = numbers[order[ends[place] : ends[place + 1]]].tolist()
        yield hmac, list(dict.fromkeys(found))
