"""What in a text is about a person, by rules that can be checked: formats with checksums, few and strict.

Narrow on purpose: a hit is nearly always right, and much that is personal is not found (a name in a
sentence, an address). Screening of free text by more than rules stands on top of this.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

HINT = re.compile(
    r"@|\d[\d .()/:\-]{5,}\d|\d\d[A-Za-z0-9]{3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:|[A-Z]{2}\d{6}"
)
"""Every text a rule can hit matches this: one quick look that spares most texts the rules."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One format: where it may stand, and whether what stands there is one."""

    kind: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]
    alone: bool = False
    """Only a whole cell counts: the format is too plain to be looked for inside sentences."""


def kinds_in(text: str) -> frozenset[str]:
    """The kinds of personal data found anywhere in `text`."""
    if not HINT.search(text):
        return frozenset()
    return frozenset(rule.kind for rule in RULES if not rule.alone and _somewhere(rule, text))


def kinds_of(cell: str) -> frozenset[str]:
    """The kinds a whole cell may be; numbers without letters are many things, so ask a whole column."""
    cell = cell.strip()
    if not HINT.search(cell):
        return frozenset()
    return frozenset(rule.kind for rule in RULES if rule.pattern.fullmatch(cell) and rule.holds(cell))


def _somewhere(rule: Rule, text: str) -> bool:
    return any(rule.holds(hit.group()) for hit in rule.pattern.finditer(text))


def _always(_text: str) -> bool:
    return True


def _digits(text: str) -> list[int]:
    return [int(c) for c in text if c in "0123456789"]


def luhn(numbers: Iterable[int]) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(list(numbers))):
        doubled = digit * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


_CARD = re.compile(r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6011|65|64[4-9]|35(?:2[89]|[3-8])")


def is_card(text: str) -> bool:
    """A payment card number: an issuer's first digits, 13 to 19 of them, and Luhn's check digit."""
    numbers = _digits(text)
    plain = "".join(map(str, numbers))
    return 13 <= len(plain) <= 19 and _CARD.match(plain) is not None and luhn(numbers)


def is_iban(text: str) -> bool:
    """An account number as ISO 13616 has it: letters as numbers, rearranged, modulo 97 is 1."""
    plain = re.sub(r"[ \-]", "", text).upper()
    if not 15 <= len(plain) <= 34:
        return False
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def is_ip(text: str) -> bool:
    """An IPv4 or IPv6 address that could be someone's: not loopback, not unspecified."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def is_phone(text: str) -> bool:
    """A telephone number in the international form of ITU-T E.164: `+` and 8 to 15 digits."""
    return 8 <= len(_digits(text)) <= 15


def _is_steuer_id(text: str) -> bool:
    """Germany: ISO 7064 MOD 11,10, and among the first ten digits one that repeats."""
    numbers = _digits(text)
    if len(numbers) != 11 or numbers[0] == 0 or len(set(numbers[:10])) not in (8, 9):
        return False
    product = 10
    for digit in numbers[:10]:
        rest = (digit + product) % 10 or 10
        product = rest * 2 % 11
    return (11 - product) % 10 == numbers[10]


def _is_dni(text: str) -> bool:
    """Spain, DNI and NIE: the letter is the number modulo 23."""
    plain = text.replace("-", "").upper()
    number = plain[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1]


def _is_bsn(text: str) -> bool:
    """The Netherlands: nine digits that pass the eleven-test."""
    numbers = _digits(text)
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return len(numbers) == 9 and sum(numbers) > 0 and _weighted(numbers, weights) % 11 == 0


def _is_pesel(text: str) -> bool:
    """Poland: a birth date and weights 1, 3, 7, 9; the century stands in the month."""
    numbers = _digits(text)
    if len(numbers) != 11:
        return False
    century, month = divmod(numbers[2] * 10 + numbers[3], 20)
    year = (1900, 2000, 2100, 2200, 1800)[century] + numbers[0] * 10 + numbers[1]
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return _is_date(year, month, numbers[4] * 10 + numbers[5]) and _weighted(numbers, weights) % 10 == 0


def _is_nir(text: str) -> bool:
    """France: 13 digits (Corsica's departments have a letter) and 97 minus them modulo 97."""
    plain = text.replace(" ", "").upper().replace("2A", "19", 1).replace("2B", "18", 1)
    return plain.isdecimal() and len(plain) == 15 and 97 - int(plain[:13]) % 97 == int(plain[13:])


_TEN = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_REST = (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", _TEN + _TEN + _REST, strict=True))


def _is_codice_fiscale(text: str) -> bool:
    """Italy: 15 letters and digits, odd places by a table, modulo 26."""
    plain = text.upper()
    even = sum(int(c) if c.isdigit() else ord(c) - ord("A") for c in plain[1:15:2])
    return (sum(_ODD[c] for c in plain[0:15:2]) + even) % 26 == ord(plain[15]) - ord("A")


def _is_personnummer(text: str) -> bool:
    """Sweden: a birth date (coordination numbers add 60 to the day) and Luhn's check digit."""
    numbers = _digits(text)[-10:]
    month, day = numbers[2] * 10 + numbers[3], numbers[4] * 10 + numbers[5]
    return _is_date(2000, month, day - 60 if day > 60 else day) and luhn(numbers)


def _is_rijksregister(text: str) -> bool:
    """Belgium: 97 minus the first nine digits modulo 97; those born from 2000 on with a 2 in front."""
    plain = "".join(map(str, _digits(text)))
    if len(plain) != 11:
        return False
    month, day, check = int(plain[2:4]), int(plain[4:6]), int(plain[9:])
    first = int(plain[:9])
    return _is_date(2000, month, day) and check in (97 - first % 97, 97 - (2 * 10**9 + first) % 97)


def _is_ssn(text: str) -> bool:
    """United States: no check digit, but groups that are never issued."""
    area, group, serial = text.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _weighted(numbers: list[int], weights: tuple[int, ...]) -> int:
    return sum(n * w for n, w in zip(numbers, weights, strict=True))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _rule(kind: str, pattern: str, holds: Callable[[str], bool], *, alone: bool = False) -> Rule:
    flags = re.NOFLAG if kind == "e-mail" else re.ASCII  # only ASCII digits have check digits
    return Rule(kind, re.compile(pattern, flags), holds, alone)


_ID = "national id"
_EDGE, _END = r"(?<![\w.+\-])", r"(?![\w\-])"

RULES: tuple[Rule, ...] = (
    _rule(
        "e-mail", r"(?<![\w.+%-])[\w.+%'-]{1,64}@(?:[\w](?:[\w-]{0,62})\.){1,8}[A-Za-z][\w-]{1,62}", _always
    ),
    _rule("phone", r"(?<![\w+])\+[1-9][\d ().\-/]{6,22}\d(?!\w)", is_phone),
    _rule("iban", _EDGE + r"[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?" + _END, is_iban),
    _rule("payment card", _EDGE + r"\d(?:[ \-]?\d){12,18}" + _END, is_card),
    _rule("ip address", _EDGE + r"(?:\d{1,3}\.){3}\d{1,3}(?![\w\-]|\.\d)", is_ip),
    _rule("ip address", r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:])", is_ip),
    _rule(_ID, _EDGE + r"\d{3}-\d{2}-\d{4}" + _END, _is_ssn),
    _rule(_ID, _EDGE + r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]" + _END, _is_codice_fiscale),
    _rule(_ID, _EDGE + r"(?:\d{8}|[XYZxyz]\d{7})-?[A-Za-z]" + _END, _is_dni),
    _rule(_ID, _EDGE + r"\d{6}[\-+]\d{4}" + _END, _is_personnummer),
    _rule(_ID, _EDGE + r"\d{2}\.\d{2}\.\d{2}-\d{3}[.\-]\d{2}" + _END, _is_rijksregister),
    _rule(_ID, _EDGE + r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AaBb]) ?\d{3} ?\d{3} ?\d{2}" + _END, _is_nir),
    _rule(_ID, r"\d{2} ?\d{3} ?\d{3} ?\d{3}", _is_steuer_id, alone=True),
    _rule(_ID, r"\d{11}", _is_pesel, alone=True),
    _rule(_ID, r"\d{11}", _is_rijksregister, alone=True),
    _rule(_ID, r"(?:\d{2})?\d{10}", _is_personnummer, alone=True),
    _rule(_ID, r"\d{9}", _is_bsn, alone=True),
    _rule("phone", r"(?!\d\d?[./\-]\d\d?[./\-]\d{2,4}$)0\d[\d ()./\-]{5,17}\d", is_phone, alone=True),
    _rule("phone", r"\(?\d{3}\)?[ .\-]\d{3}[ .\-]\d{4}", _always, alone=True),
)
