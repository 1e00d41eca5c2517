"""`freehold.yaml`: what an installation says of itself; all of it has a default that works here."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Where mail notices leave. `password_from` names an environment variable, never a password."""

    host: str = ""
    port: int = 25
    sender: str = ""
    user: str = ""
    password_from: str = ""
    starttls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file."""

    control: str = "127.0.0.1:7400"
    gateway: str = "127.0.0.1:7401"
    console_url: str = ""
    """What deep links in notices begin with; empty: control's own address."""
    site: str = "local"
    region: str = "eu"
    """Where this machine stands; data sets say where they may be."""
    currency: str = "EUR"
    timezone: str = "UTC"
    tariff: str = "0.30"
    """Money per kWh, decimal text."""
    watts_per_core: str = "10"
    """For energy estimates where no meter can be read, decimal text."""
    grams_per_kwh: str = "300"
    """Carbon intensity for estimates, decimal text."""
    workers: int = 1
    base_licences: tuple[str, ...] = ()
    """Licences of base models that are allowed here beside the permissive ones, as SPDX writes them."""
    mail: Mail = field(default_factory=Mail)
