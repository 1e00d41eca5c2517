"""Which columns of a table look personal, by what stands in them and by what they are called.

Every text cell gets one quick look (a regular expression over the whole column at once); what might
be something is then checked by the rules in `screen.personal`. No value is kept, only counts.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from freehold.screen import personal

CHECKED_AT_ONCE = 2_000
"""Of one batch of a column, so many suspicious cells are checked, evenly spread."""
MOST = 0.9
"""A format that is plain digits counts when this share of the filled cells has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One reason why a column looks personal."""

    kind: str
    because: Literal["values", "header"]
    cells: int
    """How many cells, estimated where not every suspicious one was checked; 0 for a header."""


class Survey:
    """Looks at one column, batch after batch."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._filled = 0
        self._inside: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()

    def look(self, column: Any) -> None:
        """Look at an Arrow array; only text and whole numbers can hold what the rules know."""
        if pa.types.is_integer(column.type):
            column, inside = column.cast(pa.string()), False
        elif pa.types.is_string(column.type):
            inside = True
        else:
            return
        self._filled += len(column) - column.null_count
        suspicious = column.filter(pc.match_substring_regex(column, personal.HINT.pattern))
        step = max(1, -(-len(suspicious) // CHECKED_AT_ONCE))
        for cell in _every(suspicious, step):
            self._count(cell, step, inside)

    def _count(self, cell: str, stands_for: int, inside: bool) -> None:
        for kind in personal.kinds_in(cell) if inside else ():
            self._inside[kind] += stands_for
        for kind in personal.kinds_of(cell):
            self._alone[kind] += stands_for

    def found(self) -> tuple[Look, ...]:
        """Every kind once, by values where they show it, else by the header."""
        kinds = dict(self._inside)
        for kind, cells in self._alone.items():
            if cells >= MOST * self._filled:
                kinds[kind] = max(cells, kinds.get(kind, 0))
        by_values = [Look(kind=k, because="values", cells=min(n, self._filled)) for k, n in kinds.items()]
        by_header = [Look(kind=k, because="header", cells=0) for k in header_kinds(self._name)]
        return tuple(by_values + [look for look in by_header if look.kind not in kinds])


def _every(column: Any, step: int) -> list[str]:
    places = pa.array(range(0, len(column), step), pa.int64())
    chosen: list[str] = column.take(places).to_pylist()
    return chosen


def header_kinds(header: str) -> tuple[str, ...]:
    """What a column's name says it holds, in the words of a few languages."""
    words = [w.casefold() for w in re.findall(r"[^\W\d_]+", _split_camel(header))]
    joined = "".join(words)
    whole = [kind for kind, names in _HEADERS.items() if joined in names]
    found = whole or [kind for kind, names in _HEADERS.items() if names & set(words)]
    if joined in _NAMES or ("name" in words and set(words) & _WHOSE):
        found.append("name")
    if joined in _PERSONS or (set(words) & _WHOSE and set(words[-1:]) & _NUMBERS):
        found.append("person's number")
    return tuple(dict.fromkeys(found))


def _split_camel(header: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HEADERS: dict[str, frozenset[str]] = {
    "e-mail": _words("email mail emailaddress mailadresse correo courriel"),
    "phone": _words("phone telephone mobile phonenumber tel telefon handy telefono téléphone fax"),
    "date of birth": _words("birth birthday birthdate dob geburtsdatum geburtstag naissance nacimiento"),
    "address": _words("address street adresse anschrift strasse straße postcode zipcode zip plz"),
    "iban": _words("iban accountnumber kontonummer bankaccount"),
    "payment card": _words("cardnumber ccnumber creditcard kreditkarte pan cvv cvc"),
    "national id": _words("ssn nationalid passport taxid steuerid bsn pesel nino dni nie personnummer nir"),
    "ip address": _words("ip ipaddress ipaddr clientip remoteaddr"),
    "special category": _words("religion ethnicity ethnic race diagnosis disability orientation politics"),
}
_NAMES = _words(
    "name fullname firstname lastname givenname familyname surname maidenname middlename vorname nachname"
    " maiden nom prenom prénom nombre apellido apellidos cognome"
)
_PERSONS = _words(
    "customer client patient person user employee member policyholder claimant kunde mitarbeiter"
)
_NUMBERS = _words("id no nr number ref")
_WHOSE = _PERSONS | _words(
    "first last given family full middle maiden mothers holder insured applicant contact kunden patienten"
)
