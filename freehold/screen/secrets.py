"""Secrets: keys, tokens, private keys, passwords, by the forms that their issuers publish.

Most say themselves what they are (a prefix nobody else uses). Passwords do not: one is found where
something calls it one, and where it looks like a value rather than like talk about it.
"""

from __future__ import annotations

import re

from freehold.screen.rule import Family, Rule

_FRONT, _BACK = r"(?<![A-Za-z0-9_\-])", r"(?![A-Za-z0-9_\-])"

PRIVATE_KEY = "private key"


def _token(kind: str, pattern: str, rank: int = 1) -> Rule:
    return Rule(
        kind=kind,
        pattern=re.compile(_FRONT + "(?:" + pattern + ")" + _BACK, re.ASCII),
        rank=rank,
        holds=_real,
    )


def _real(value: str) -> bool:
    """Not the same letter over and over, as in a manual."""
    body = value[-16:]
    return len(set(body)) > 4


_MARKS = (
    r"AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat_|glpat-|glrt-|gldt-|xox[abeoprs]-|xapp-|[sr]k_(?:live|test)_|whsec_"
    r"|AIza|GOCSPX-|ya29\.|sk-|hf_|npm_|pypi-|SG\.|key-|dop_v1_|doo_v1_|dapi|shp(?:at|ca|pa|ss)_|hv[sb]\."
    r"|AGE-SECRET-KEY-1|lin_api_|ntn_|secret_|sq0|PMAK-|rubygems_|tfp_|r8_|gsk_|xai-|fh[csb]_|atlasv1|EAACEdEose0cBA"
)

TOKENS = Family(
    group="secrets",
    sign=r"(?:" + _MARKS + r")[A-Za-z0-9_\-.+/]{6}",
    spot=re.compile(_MARKS),
    before=48,
    after=520,
    rules=(
        _token("aws access key", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
        _token("github token", r"gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{22,255}"),
        _token("gitlab token", r"(?:glpat|glrt|gldt)-[\w\-]{20,64}"),
        _token("slack token", r"xox[abeoprs]-[A-Za-z0-9\-]{10,250}|xapp-\d-[A-Za-z0-9\-]{10,250}"),
        _token("stripe key", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,247}|whsec_[A-Za-z0-9+/=]{32,64}"),
        _token("google key", r"AIza[\w\-]{35}|GOCSPX-[\w\-]{28}|ya29\.[\w\-]{20,500}"),
        _token(
            "model provider key", r"sk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]+-|or-v1-)?[A-Za-z0-9_\-]{20,300}"
        ),
        _token("model provider key", r"gsk_[A-Za-z0-9]{40,64}|xai-[A-Za-z0-9]{60,100}|r8_[A-Za-z0-9]{37,40}"),
        _token("hugging face token", r"hf_[A-Za-z0-9]{30,60}"),
        _token(
            "package registry token", r"npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_\-]{50,500}|rubygems_[a-f0-9]{48}"
        ),
        _token("mail service key", r"SG\.[\w\-]{16,32}\.[\w\-]{30,64}|key-[0-9a-f]{32}"),
        _token("cloud token", r"do[op]_v1_[a-f0-9]{64}|dapi[a-f0-9]{32}(?:-\d)?|hv[sb]\.[\w\-]{24,300}"),
        _token("cloud token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{60,70}"),
        _token("shop token", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|sq0[a-z]{3}-[\w\-]{22,43}"),
        _token(
            "service token",
            r"lin_api_[A-Za-z0-9]{40}|(?:ntn|secret)_[A-Za-z0-9]{40,50}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
        ),
        _token("age key", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
        _token("freehold key", r"fh[csb]_[A-Za-z0-9]{6,40}_[A-Za-z0-9_\-]{30,64}"),
    ),
)

BOTS = Family(
    group="secrets",
    # from its first point on: before it any letter of base64 could be where one begins
    sign=r"\d:AA[A-Za-z0-9_\-]{30}|SK[0-9a-f]{32}|\.[A-Za-z\d_\-]{6}\.[A-Za-z\d_\-]{27}",
    spot=re.compile(r"\d{8,10}:AA|SK[0-9a-f]{32}|[MNO][\w\-]{23,27}\.[\w\-]{6}\.", re.ASCII),
    before=2,
    after=64,
    rules=(
        _token("bot token", r"\d{8,10}:AA[\w\-]{32,34}"),
        _token("bot token", r"[MNO][A-Za-z\d_\-]{23,27}\.[A-Za-z\d_\-]{6}\.[A-Za-z\d_\-]{27,38}"),
        _token("telephony key", r"SK[0-9a-f]{32}"),
    ),
)

JWTS = Family(
    group="secrets",
    sign=r"ey[A-Za-z0-9_\-]{10,}\.ey[A-Za-z0-9_\-]{6}",
    spot=re.compile(r"ey[A-Za-z0-9_\-]{10,4000}\.ey", re.ASCII),
    before=1,
    after=16_000,
    rules=(
        Rule(
            kind="jwt",
            pattern=re.compile(
                _FRONT + r"ey[\w\-]{10,4000}\.ey[\w\-]{6,8000}(?:\.[\w\-]{0,4000})?", re.ASCII
            ),
            rank=1,
        ),
    ),
)

PRIVATE_KEYS = Family(
    group="secrets",
    sign=r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY",
    spot=re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY", re.ASCII),
    before=0,
    after=20_000,
    rules=(
        Rule(
            kind=PRIVATE_KEY,
            pattern=re.compile(
                # without its end the rest of the text is taken for it
                r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
                r"(?:[\s\S]{0,19000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\:,\-.()]{0,19000})",
                re.ASCII,
            ),
            rank=0,
        ),
    ),
)

_URL_PASSWORD = Rule(
    kind="password",
    pattern=re.compile(
        r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s/:@\"'<>]{0,128}:(?P<v>[^\s/\"'<>]{3,256})@[\w\[]"
    ),
    rank=2,
    holds=lambda value: not _is_placeholder(value),
)

URL_PASSWORDS = Family(
    group="secrets",
    sign=r"://[^\s/@]{0,200}:[^\s/]{3,256}@",
    spot=re.compile("://"),
    before=22,
    after=420,
    rules=(_URL_PASSWORD,),
)

_PLACEHOLDER = re.compile(
    r"(?:<[^>]*>?|\$\{?\w+\}?|\{\{?.*|%\w+%?|\[.*|\*{3,}|x{3,}|\.{3,}|…|-+|_+"
    r"|(?:your|my|the|some|new|old|a|an|any|our|this|that|enter|insert|replace|put|set|use)[_\-]?\w*"
    r"|example\w*|sample\w*|dummy\w*|placeholder\w*|changeme|change[_\-]me|redacted|hidden|masked|null|none|nil|true"
    r"|false|undefined|empty|optional|required|string|str|password|passwd|secret|token|todo|tbd|n/?a"
    r"|os\.\w+.*|process\.env.*|env\..*|getenv.*|config\..*|self\..*|settings\..*|request\..*|args\..*)",
    re.IGNORECASE,
)


def _is_placeholder(value: str) -> bool:
    return _PLACEHOLDER.fullmatch(value) is not None


def _is_value(value: str) -> bool:
    """Whether it looks like a password somebody has: letters and digits or signs, and no placeholder."""
    if _is_placeholder(value) or value.endswith(("(", "()", ");")):
        return False
    kinds = (
        any(letter.isalpha() for letter in value),
        any(letter.isdigit() for letter in value),
        any(not letter.isalnum() and letter not in ".,;:?)'" for letter in value),
    )
    return sum(kinds) >= 2 and len(set(value)) > 3


SECRET_NAMES = (
    r"pass(?:word|wd|phrase|code)?|pwd|passwort|kennwort|mot de passe|contrase[ñn]a|api[_\- ]?key|apikey"
    r"|access[_\- ]?(?:key|token)|auth[_\- ]?(?:key|token)|(?:client|app|shared|consumer)[_\- ]?secret"
    r"|secret(?:[_\- ]?(?:access)?[_\- ]?key)?|private[_\- ]?key|account[_\- ]?key|encryption[_\- ]?key|signing[_\- ]?key"
    r"|refresh[_\- ]?token|bearer[_\- ]?token|session[_\- ]?(?:key|token)|token|credentials?"
)
IS = r"(?:\s{0,3}(?::=|=>|==?|:)\s{0,3}|\s{1,3}(?:is|was|ist|est|es)(?: now)?:?\s{1,3})"
"""Between a secret's name and the secret."""
_NAME = (
    r"(?<![A-Za-z])(?:[A-Za-z0-9]{1,30}[_\-.]){0,3}(?:"
    + SECRET_NAMES
    + r")(?:[_\-][A-Za-z0-9]{1,12})?[\"'`]?"
    + IS
)
# password = value, "api_key": "value", secret is value, PASSWORD=value, pwd: value
_PLAIN = re.compile(_NAME + r"(?P<v>[^\s\"'`,;<>]{4,})", re.IGNORECASE)
_QUOTED = re.compile(_NAME + r"[\"'`](?P<v>[^\"'`\n]{4,256})[\"'`]", re.IGNORECASE)
_LONG = re.compile(_NAME + r"[\"'`](?P<v>[^\s\"'`]{128,})", re.IGNORECASE)

NAMED = Family(
    group="secrets",
    sign=r"(?i)(?:"
    + SECRET_NAMES
    + r")[A-Za-z0-9_\-]{0,13}[\"'`]?(?:\s{0,3}[:=]|\s{1,3}(?:is|was|ist|est|es)\b)",
    spot=re.compile(SECRET_NAMES, re.IGNORECASE),
    before=96,
    after=290,
    rules=(
        Rule(kind="password", pattern=_QUOTED, rank=3, holds=_is_value),
        Rule(kind="password", pattern=_PLAIN, rank=3, holds=_is_value, more=re.compile(r"[^\s\"'`,;<>]*")),
        Rule(kind="password", pattern=_LONG, rank=3, holds=_is_value, more=re.compile(r"[^\s\"'`]*")),
    ),
)

HEADERS = Family(
    group="secrets",
    sign=r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/\-]{8}",
    spot=re.compile(r"bearer|basic", re.IGNORECASE),
    before=1,
    after=1_024,
    rules=(
        Rule(
            kind="access token",
            pattern=re.compile(
                r"(?<![\w])(?:bearer|basic)\s{1,3}(?P<v>[A-Za-z0-9._~+/\-]{16,}={0,2})", re.IGNORECASE
            ),
            rank=2,
            more=re.compile(r"[A-Za-z0-9._~+/\-]*={0,2}"),
            holds=lambda value: (
                any(c.isdigit() for c in value) and any(c.isalpha() for c in value) and len(set(value)) > 6
            ),
        ),
    ),
)

HOOKS = Family(
    group="secrets",
    sign=r"hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|AccountKey=|SharedAccessKey=|sig=",
    spot=re.compile(
        r"hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|AccountKey=|SharedAccessKey=|sig="
    ),
    before=16,
    after=320,
    rules=(
        Rule(
            kind="webhook",
            pattern=re.compile(r"(?:https?://)?hooks\.slack\.com/(?:services|workflows)/[\w/]{20,200}"),
            rank=1,
        ),
        Rule(
            kind="webhook",
            pattern=re.compile(r"(?:https?://)?discord(?:app)?\.com/api/webhooks/\d{10,25}/[\w\-]{30,120}"),
            rank=1,
        ),
        Rule(
            kind="account key",
            pattern=re.compile(r"(?:Account|SharedAccess)Key=(?P<v>[A-Za-z0-9+/]{30,100}={0,2})"),
            rank=1,
        ),
        Rule(kind="account key", pattern=re.compile(r"[?&;]sig=(?P<v>[A-Za-z0-9%+/]{30,200}={0,2})"), rank=1),
    ),
)

FAMILIES = (TOKENS, BOTS, JWTS, PRIVATE_KEYS, URL_PASSWORDS, NAMED, HEADERS, HOOKS)
