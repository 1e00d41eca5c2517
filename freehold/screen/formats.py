"""Personal data that has a form: numbers with check digits, addresses of the net, ids with their names.

Digits alone are many things (a tenth of random 16-digit numbers passes Luhn's check, a ninth of 9-digit
ones the Dutch one), so bare digits count only where a word beside them says what they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from freehold.screen import personal
from freehold.screen.rule import Family, Rule

# a point before a number is a decimal's behind a digit, and the end of `Tel.` or `No.` behind a letter
_EDGE, _END = r"(?<![\w+\-])(?<!\d\.)", r"(?![\w\-])"
_ID = "national id"


def _near(words: str) -> re.Pattern[str]:
    """One of `words` as a word of its own, whatever its case."""
    return re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE)


# -- cards, accounts ---------------------------------------------------------------------------------------

_CARD_WORDS = _near(
    r"cards?|cc|visa|master\s?card|maestro|amex|american express|diners|discover|jcb|credit|debit|karten?(?:nummer)?"
    r"|kreditkarten?(?:nummer)?|carte|tarjeta|carta|pan"
)
_GROUP = re.compile(r"\d+", re.ASCII)
_OTHER_ISSUERS = re.compile(r"30[0-5]|3[689]|1800|2131|35|5[0678]|6")


def longest(holds: Callable[[str], bool]) -> Callable[[str], int]:
    """A rule's `cut`: the most groups of digits, from the first one on, that `holds` takes.

    What stands behind a number is often another one: a card's last month, the date of a call.
    """

    def cut(text: str) -> int:
        ends = [len(text), *(found.end() for found in reversed(list(_GROUP.finditer(text))))]
        return next((end for end in ends if holds(text[:end])), 0)

    return cut


def is_cardlike(text: str) -> bool:
    """12 to 19 digits of any issuer (Maestro, Diners, JCB's old ones too) with Luhn's check digit."""
    plain = _digits(text)
    return (
        12 <= len(plain) <= 19
        and (plain[0] in "45" or _OTHER_ISSUERS.match(plain) is not None)
        and personal.luhn(map(int, plain))
    )


_IBAN_REGISTRY = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 "
    "DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 "
    "IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 "
    "MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 "
    "SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 "
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_REGISTRY.split()}
"""Country -> characters, as in the IBAN registry of SWIFT."""


def iban_length(text: str) -> int:
    """The characters of `text` that make an account number of the country it begins with; 0 if none do."""
    wanted, seen = _IBAN_LENGTHS.get(text[:2].upper(), 0), 0
    for place, letter in enumerate(text):
        if letter.isalnum():
            seen += 1
            if seen == wanted:
                whole = not text[place + 1 : place + 2].isalnum()
                return place + 1 if whole else 0
    return 0


def is_iban(text: str) -> bool:
    """A number of the length its country has, whose remainder by 97 is 1 (ISO 13616)."""
    plain = re.sub(r"[ \-]", "", text).upper()
    return _IBAN_LENGTHS.get(plain[:2]) == len(plain) and personal.is_iban(plain)


_PRINTED = r"\d{13,19}|\d{4}([ \-])\d{4}\2\d{4}\2\d{4}|\d{4}([ \-])\d{6}\3\d{4,5}"
"""A card's digits as they are printed: other numbers may stand before and behind them."""


# -- telephones ------------------------------------------------------------------------------------------

_CALL = _near(
    r"phones?|telephones?|tel|mobile|cell|cellphone|fax|call|calls|called|calling|dial|ring|text|whats ?app|sms"
    r"|contact|reach|reached|landline|office|hotline|callback|voicemail|number is|my number|number at|answer(?:s|ed|ing)?|picks? up|picked up|hangs? up|hung up|messages? to|dial(?:l?ed|l?ing)"
    r"|telefon(?:nummer)?|handy|rufnummer|mobil|t[ée]l[ée]phone|portable|tel[ée]fono|m[óo]vil|cellulare|telefoon"
)
_NO_CALL = re.compile(
    r"(?:order|account|acct|invoice|ticket|case|policy|claim|tracking|reference|ref|serial|isbn|article|model|version"
    r"|zip|postal|post code|card|member|customer|id|nr|routing|transaction|year|years|between|in|since)"
    r"(?: (?:number|no|nr|id|code|is))*[\s.:#]*$",
    re.IGNORECASE,
)
_PHONE_END = r"(?![\w/]|-\d)"  # `-Office` may follow
_EXTENSION = r"(?: ?(?:x|ext\.? ?|# ?)\d{1,6})?"


def is_called(text: str) -> bool:
    """6 to 15 digits before any extension, and neither a date nor a row of years."""
    head = re.split(r" ?(?:x|ext|#)", text, maxsplit=1, flags=re.IGNORECASE)[0]
    if _DATE.fullmatch(head) or _YEARS.fullmatch(head):
        return False
    return 6 <= len(_digits(head)) <= 15


_DATE = re.compile(
    r"(?:\d{1,2}[./\-]\d{1,2}[./\-](?:19|20)?\d{2}|(?:19|20)\d{2}[./\-]\d{1,2}[./\-]\d{1,2})(?: \d{1,2})?"
)
_YEARS = re.compile(r"(?:(?:19|20)\d{2}[ \-/,]*)+")


def _is_national(text: str) -> bool:
    """8 to 12 digits behind a 0 or with the area in brackets."""
    return is_called(text) and 8 + (text[0] == "0") <= len(_digits(text)) <= 13


def _is_international(text: str) -> bool:
    return personal.is_phone(re.split(r" ?(?:x|ext|#)", text, maxsplit=1)[0])


# -- dates of birth, records ---------------------------------------------------------------------------

_MONTHS = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?|januar|februar|m[äa]rz|mai|juni|juli|oktober|dezember)\.?"
)
_BIRTH = _near(
    r"born(?: on)?|birth|birthday|birthdate|date of birth|d\.?o\.?b\.?|geboren(?: am)?|geburtsdatum|geb"
    r"|n[ée]e? le|naissance|nacid[oa]|nacimiento|nascita"
)
_BIRTH_DATE = (
    r"\d{1,2}[./\- ]\d{1,2}[./\- ](?:19|20)?\d{2}|(?:19|20)\d{2}[./\-]\d{1,2}[./\-]\d{1,2}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)? (?:of )?{_MONTHS},? (?:19|20)?\d{{2}}"
    rf"|{_MONTHS} \d{{1,2}}(?:st|nd|rd|th)?,? (?:19|20)\d{{2}}"
)


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter in "0123456789")


def _is_nhs(text: str) -> bool:
    """United Kingdom: ten digits, weights 10 to 2, modulo 11."""
    numbers = [int(digit) for digit in _digits(text)]
    check = 11 - sum(n * w for n, w in zip(numbers, range(10, 1, -1), strict=False)) % 11
    return len(numbers) == 10 and check != 10 and check % 11 == numbers[9]


def _is_ahv(text: str) -> bool:
    """Switzerland: thirteen digits beginning with 756, EAN-13's check digit."""
    numbers = [int(digit) for digit in _digits(text)]
    return len(numbers) == 13 and sum(n * (1 + 2 * (i % 2)) for i, n in enumerate(numbers)) % 10 == 0


def _is_ssn(text: str) -> bool:
    """United States: groups that are issued."""
    plain = _digits(text)
    return (
        len(plain) == 9
        and plain[:3] not in ("000", "666")
        and plain < "9"
        and plain[3:5] != "00"
        and plain[5:] != "0000"
    )


def _has_digits(text: str) -> bool:
    return sum(letter.isdigit() for letter in text) >= 4


def _rule(
    kind: str, pattern: str, rank: int, *, holds: object = None, flags: int = 0, **more: object
) -> Rule:
    compiled = re.compile(pattern, re.ASCII | flags)
    fields = dict(more, **({"holds": holds} if holds else {}))
    return Rule(kind=kind, pattern=compiled, rank=rank, **fields)  # type: ignore[arg-type]


_PERSONAL_ID = _near(
    r"id|ids|identity|identification|national|citizen|ssn|social security|insurance|tax|steuer(?:nummer|-id)?|tin"
    r"|bsn|burgerservicenummer|sofi|nhs|pesel|nir|insee|s[ée]curit[ée] sociale|niss|rijksregister(?:nummer)?"
    r"|registre national|ahv|avs|personnummer|identifikationsnummer|idnr|dni|nie|patient|sozialversicherung\w*"
)

NUMBERS = Family(
    group="pii",
    sign=r"\d(?:[ .()/\-]{0,3}\d){5}",
    spot=re.compile(r"\d(?:[ .()/\-]{0,3}\d){5,40}", re.ASCII),
    before=24,
    after=24,
    rules=(
        _rule("payment card", _EDGE + r"\d(?:[ \-]?\d){12,18}" + _END, 10, holds=personal.is_card),
        _rule("payment card", _EDGE + rf"(?=(?P<v>{_PRINTED}){_END})", 10, holds=personal.is_card),
        _rule(
            "payment card",
            _EDGE + r"\d(?:[ \-]?\d){11,18}" + _END,
            10,
            cut=longest(is_cardlike),
            near=_CARD_WORDS,
        ),
        _rule(_ID, _EDGE + r"\d{3}-\d{2}-\d{4}" + _END, 20, holds=_is_ssn),
        _rule(
            _ID,
            _EDGE + r"\d{3}[ .]?\d{2}[ .]?\d{4}" + _END,
            20,
            holds=_is_ssn,
            near=_near(r"ssn|social security(?: number)?|social"),
        ),
        _rule(_ID, _EDGE + r"\d{6}[\-+]\d{4}" + _END, 20, holds=personal._is_personnummer),
        _rule(
            _ID,
            _EDGE + r"\d{2}\.\d{2}\.\d{2}-\d{3}[.\-]\d{2}" + _END,
            20,
            holds=personal._is_rijksregister,
        ),
        _rule(
            _ID,
            _EDGE + r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AaBb]) ?\d{3} ?\d{3} ?\d{2}" + _END,
            20,
            holds=personal._is_nir,
        ),
        _rule(_ID, _EDGE + r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}" + _END, 20, holds=_is_ahv),
        _rule(_ID, _EDGE + r"(?:\d{8}|[XYZxyz]\d{7})-?[A-Za-z]" + _END, 20, holds=personal._is_dni),
        _rule(_ID, _EDGE + r"\d{3}[ \-]?\d{3}[ \-]?\d{4}" + _END, 21, holds=_is_nhs, near=_near("nhs")),
        _rule(
            _ID,
            _EDGE + r"\d{2} ?\d{3} ?\d{3} ?\d{3}" + _END,
            21,
            holds=personal._is_steuer_id,
            near=_PERSONAL_ID,
        ),
        _rule(_ID, _EDGE + r"\d{11}" + _END, 21, holds=personal._is_pesel, near=_PERSONAL_ID),
        _rule(_ID, _EDGE + r"\d{11}" + _END, 21, holds=personal._is_rijksregister, near=_PERSONAL_ID),
        _rule(
            _ID, _EDGE + r"(?:\d{2})?\d{10}" + _END, 21, holds=personal._is_personnummer, near=_PERSONAL_ID
        ),
        _rule(_ID, _EDGE + r"\d{9}" + _END, 21, holds=personal._is_bsn, near=_PERSONAL_ID),
        _rule(
            "phone",
            r"(?<![\w+])\+[1-9][\d ().\-/]{6,22}\d" + _EXTENSION + r"(?!\w)",
            30,
            cut=longest(_is_international),
        ),
        _rule(
            "phone",
            _EDGE
            + r"(?:(?:\+?1|001)[\-. ])?(?:\(\d{3}\) ?|\d{3}[\-.])\d{3}[\-.]\d{4}"
            + _EXTENSION
            + _PHONE_END,
            31,
        ),
        _rule(
            "phone",
            _EDGE
            + r"(?<!/)(?:\(0?\d{1,5}\) ?\d{2,5}(?:[ \-]?\d{2,5}){1,3}|0[1-9]\d{0,5}(?:[ .\-/]\d{2,8}){1,5})"
            + _EXTENSION
            + _PHONE_END,
            31,
            holds=_is_national,
        ),
        _rule(
            "phone",
            _EDGE + r"00[1-9]\d?[ \-./]\d[\d ().\-/]{5,16}\d" + _EXTENSION + _PHONE_END,
            31,
            holds=is_called,
        ),
        _rule(
            "phone",
            _EDGE + r"(?<!/)\(?\+?\d[\d ().\-/]{4,20}\d" + _EXTENSION + _PHONE_END,
            32,
            cut=longest(is_called),
            near=_CALL,
            never_after=_NO_CALL,
        ),
    ),
)

BIRTHS = Family(
    group="pii",
    sign=r"(?i)\b(?:born|birth|dob|d\.o\.b|geb|n[ée]e? le|naissance|nacid|nacimiento|nascita)",
    spot=re.compile(r"born|birth|d\.?o\.?b|geb|n[ée]e? le|naissance|nacid|nacimiento|nascita", re.IGNORECASE),
    before=64,
    after=64,
    rules=(
        _rule(
            "date of birth",
            r"(?<![\w.\-/])(?:" + _BIRTH_DATE + r")(?![\w\-/])",
            25,
            flags=re.IGNORECASE,
            near=_BIRTH,
        ),
    ),
)

_LETTERS = r"0-9A-Za-z_\u00c0-\u024f\u0370-\u052f"
"""Scripts that write blanks between words: elsewhere the words around an address would be part of it."""
MAIL = Family(
    group="pii",
    sign=r"\S@\S+\.",
    spot=re.compile("@"),
    before=65,
    after=255,
    rules=(
        Rule(
            kind="e-mail",
            pattern=re.compile(
                rf"(?<![{_LETTERS}.+%-])[{_LETTERS}.+%'-]{{1,64}}@"
                rf"(?:[{_LETTERS}](?:[{_LETTERS}-]{{0,62}})\.){{1,8}}[A-Za-z][\w-]{{0,61}}[A-Za-z]",
            ),
            never_after=re.compile(r"://[^\s/@]*:$"),  # a password before the host
            rank=12,
        ),
    ),
)

_URL_END = r"[^\s<>\"'`{}|\\^\[\],;:!?.)]"
WEB = Family(
    group="pii",
    sign=r"(?i)(?:https?|ftp)://|\bwww\.",
    spot=re.compile(r"(?:https?|ftp)://|www\.", re.IGNORECASE),
    before=1,
    after=2048,
    rules=(
        _rule(
            "url",
            r"(?<![\w@])(?:(?:https?|ftp)://|www\.)[^\s<>\"`{}|\\^\[\]]{1,2047}?"
            + _URL_END
            + r"/?(?=[\s<>\"'`{}|\\^\[\],;:!?.)]*(?:\s|$|[<>\"`{}|\\^\[\]]))",
            11,
            flags=re.IGNORECASE,
            more=re.compile(r"[^\s<>\"`{}|\\^\[\]]*"),
        ),
    ),
)

ADDRESSES = Family(
    group="pii",
    sign=r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}",
    spot=re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:", re.ASCII),
    before=6,
    after=48,
    rules=(
        _rule(
            "ip address",
            r"(?<![\w+\-])(?<!\d\.)(?:\d{1,3}\.){3}\d{1,3}(?![\w\-]|\.\d)",
            15,
            holds=personal.is_ip,
            never_after=re.compile(r"\b(?:version|release|build|v)[\s.:]*$", re.IGNORECASE),
        ),
        _rule(
            "ip address",
            r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:])",
            15,
            holds=personal.is_ip,
        ),
    ),
)

ACCOUNTS = Family(
    group="pii",
    sign=r"[A-Za-z]{2}\d{2}(?:[ \-]?[A-Za-z0-9]){4}",
    spot=re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=(?:[ \-]?[A-Za-z0-9]){4})", re.ASCII),
    before=1,
    after=66,  # 30 more, each behind a blank, and one that must not be there
    rules=(
        _rule(
            "iban",
            _EDGE + r"(?=(?P<v>[A-Za-z]{2}\d{2}(?:[ \-]?[A-Za-z0-9]){11,30}))",
            5,
            holds=is_iban,
            cut=iban_length,
        ),
    ),
)

LETTERED = Family(
    group="pii",
    sign=r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]|[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]|[XYZxyz]\d{7}",
    spot=re.compile(
        r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}|[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2}|[XYZxyz]\d{7}", re.ASCII
    ),
    before=2,
    after=12,
    rules=(
        _rule(
            _ID,
            _EDGE + r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]" + _END,
            20,
            holds=personal._is_codice_fiscale,
        ),
        _rule(
            _ID,
            _EDGE
            + r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"
            + _END,
            20,
        ),
        _rule(_ID, _EDGE + r"[XYZxyz]\d{7}-?[A-Za-z]" + _END, 20, holds=personal._is_dni),
    ),
)

_IS = r"(?: ?(?:number|num|no|nr|id|code|is|was|:|#|=|\.))*\s*"
NAMED = Family(
    group="pii",
    sign=(
        r"(?i)\b(?:passport|reisepass|passeport|pasaporte|licen[cs]e|f[üu]hrerschein|mrn|medical record|health record"
        r"|patient|chart|nhs|krankenversicherten|versichertennummer)"
    ),
    spot=re.compile(
        r"passport|reisepass|passeport|pasaporte|licen[cs]e|f[üu]hrerschein|mrn|medical record|health record|patient"
        r"|chart|krankenversicherten|versichertennummer",
        re.IGNORECASE,
    ),
    before=10,
    after=64,
    rules=(
        _rule(
            "passport",
            r"(?:passport|reisepass|passeport|pasaporte)" + _IS + r"(?P<v>[A-Z]{0,2}\d{6,9}[A-Z]?\d?)(?!\w)",
            22,
            holds=_has_digits,
            flags=re.IGNORECASE,
        ),
        _rule(
            "driving licence",
            r"(?:driv\w*'?s?|dl) ?licen[cs]e"
            + _IS
            + r"(?P<v>(?-i:[A-Z]{0,3})[\- ]?\d[A-Z0-9\-]{4,18})(?!\w)",
            22,
            holds=_has_digits,
            flags=re.IGNORECASE,
        ),
        _rule(
            "driving licence",
            r"(?:licen[cs]e|f[üu]hrerschein)(?:nummer| number| no\.?| nr\.?)"
            + _IS
            + r"(?P<v>(?-i:[A-Z]{0,3})[\- ]?\d[A-Z0-9\-]{4,18})(?!\w)",
            22,
            holds=_has_digits,
            flags=re.IGNORECASE,
        ),
        _rule(
            "health record",
            r"(?:\bmrn|medical record|health record|patient(?: record)?|chart|krankenversicherten|versichertennummer)"
            r"(?: ?(?:number|num|no|nr|id|nummer|is|:|#|=|\.)){1,4}\s*(?P<v>(?-i:[A-Z]{0,4})[\-/ ]?\d[A-Z0-9\-/]{3,18}|[0-9a-f]{8}-[0-9a-f\-]{27})(?!\w)",
            22,
            holds=_has_digits,
            flags=re.IGNORECASE,
        ),
    ),
)

FAMILIES = (NUMBERS, BIRTHS, MAIL, WEB, ADDRESSES, ACCOUNTS, LETTERED, NAMED)
