"""How a key is written: `fhc_<id>_<secret>` control zone, `fhs_…` serving zone, `fhb_…` border.

The prefix says the zone, so that a key pasted in the wrong place is told apart from a wrong key, and
so that secret scanners can find ours. Knows no database: control and gateways read keys with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from freehold.spec.principal import Zone

_LETTER: dict[Zone, str] = {"control": "c", "serving": "s", "border": "b"}
_ZONE: dict[str, Zone] = {letter: zone for zone, letter in _LETTER.items()}
_KEY = re.compile(r"fh([csb])_([0-9a-hjkmnp-tv-z]{26})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyText:
    """A key as its holder has it. Its representation leaves the secret out, so that no log shows it."""

    zone: Zone
    id: str
    """The id of its row, `key_…`."""
    secret: str = field(repr=False)
    """256 random bits, base64url without padding."""

    @classmethod
    def new(cls, zone: Zone, id: str) -> KeyText:
        """A fresh secret for the key `id`."""
        return cls(
            zone=zone, id=id, secret=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        )

    @classmethod
    def read(cls, text: str) -> KeyText | None:
        """The key that `text` is, or None when it has not the shape of one."""
        found = _KEY.fullmatch(text)
        if found is None:
            return None
        return cls(zone=_ZONE[found[1]], id=f"key_{found[2]}", secret=found[3])

    @property
    def text(self) -> str:
        """What its holder keeps; we keep only `digest`."""
        return f"fh{_LETTER[self.zone]}_{self.id.removeprefix('key_')}_{self.secret}"

    @property
    def digest(self) -> str:
        """SHA-256 of the secret, hex. A plain hash is enough: there are 256 random bits to guess."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Whether this secret has `digest`, in a time that does not depend on where they differ."""
        return hmac.compare_digest(self.digest, digest)
