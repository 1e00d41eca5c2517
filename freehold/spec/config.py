"""`freehold.yaml`: what an installation says of itself; all of it has a default that works here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freehold.spec.callers import Callers
from freehold.spec.watching import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Where mail notices leave. `password_from` names an environment variable, never a password."""

    host: str = ""
    """The mail server; empty: no mail is sent."""
    port: int = 25
    """Its port."""
    sender: str = ""
    """The address notices come from."""
    user: str = ""
    """Who signs in there; empty: nobody does."""
    password_from: str = ""
    """The environment variable that holds the password."""
    starttls: bool = False
    """Whether the connection is encrypted before anything is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hsm:
    """A hardware security module, spoken to by PKCS #11: it wraps the epoch key, and never gives its own."""

    module: str = ""
    """The vendor's library, such as `/usr/lib/softhsm/libsofthsm2.so`; empty: the epoch key is a file."""
    token: str = ""
    """The label of the token."""
    pin_file: str = ""
    """The file that holds the PIN, readable by its owner alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The certificate that control and the gateway show; renewed files are taken up without a restart."""

    certificate: str = ""
    """A file with the certificate and those between it and its CA (PEM); empty: no TLS."""
    key: str = ""
    """The file with its private key, readable by its owner alone and without a password."""
    listeners: Literal["both", "control", "gateway"] = "both"
    """Who speaks TLS; the other one stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file."""

    control: str = "127.0.0.1:7400"
    """Where control listens, `host:port`; port 0 takes a free one."""
    gateway: str = "127.0.0.1:7401"
    """Where the gateway listens."""
    tls: Tls = field(default_factory=Tls)
    """The certificate they show; see Tls."""
    callers: Callers = field(default_factory=Callers)
    """Who may ask without an API key; see Callers."""
    watch: tuple[Watch, ...] = ()
    """Rules about who asks: what looks like an attack, and what is done then; see Watch. None: nobody is
    watched."""
    database: str = field(default="", repr=False)
    """A Postgres, `postgresql://user@host:5432/name`, for the rows; else a file in the folder. See
    [Postgres](postgres.md)."""
    console_url: str = ""
    """What deep links in notices begin with; empty: control's own address."""
    site: str = "local"
    """The installation's name among several; used once, at the first run."""
    region: str = "eu"
    """Where this machine stands; data sets say where they may be."""
    currency: str = "EUR"
    """In which estimates count money."""
    timezone: str = "UTC"
    """The time zone of this installation, such as `Europe/Vienna`."""
    tariff: str = "0.30"
    """Money per kWh, decimal text."""
    watts_per_core: str = "10"
    """Watts of a busy core, decimal text: energy of runs and answers is estimated by it, no meter is read."""
    grams_per_kwh: str = "300"
    """Carbon intensity for estimates, decimal text."""
    gateways: int = 1
    """How many gateway processes answer here, all at the one address."""
    workers: int = 1
    """How many jobs run at once here; 0: jobs run elsewhere."""
    base_licences: tuple[str, ...] = ()
    """Licences of base models that are allowed here beside the permissive ones, as SPDX writes them."""
    anchor: str = ""
    """Where signed checkpoints are kept a second time: a file, or `s3://BUCKET/PREFIX`; empty: nowhere."""
    objects: str = ""
    """Where large objects lie: `s3://BUCKET/PREFIX?endpoint=https://…`; empty: files in the home folder."""
    hsm: Hsm = field(default_factory=Hsm)
    """What wraps the epoch key; see Hsm."""
    mail: Mail = field(default_factory=Mail)
    """Where mail notices leave; see Mail."""

    @property
    def control_url(self) -> str:
        """Control's own address, as a URL."""
        return f"{self._scheme('control')}://{self.control}"

    @property
    def gateway_url(self) -> str:
        """The gateway's own address, as a URL."""
        return f"{self._scheme('gateway')}://{self.gateway}"

    def _scheme(self, listener: str) -> str:
        secure = self.tls.certificate and self.tls.listeners in ("both", listener)
        return "https" if secure else "http"
