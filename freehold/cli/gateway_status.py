"""What a gateway says of itself when control cannot be asked: `freehold status` while control is away."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from typing import Any

import click
import httpx

from freehold.cli.ask import DEFAULT_GATEWAY
from freehold.tls import trusting_as_said


def tell(as_json: bool) -> None:
    """Say on the way out how the gateway is; quiet in JSON, where only control's failure is told."""
    if as_json:
        return
    url = (os.environ.get("FREEHOLD_GATEWAY") or DEFAULT_GATEWAY).rstrip("/")
    try:
        trust = trusting_as_said() if url.startswith("https://") else True
        asked = httpx.get(f"{url}/status", timeout=5, trust_env=False, verify=trust)
        told = asked.raise_for_status().json()
        click.echo("\n".join(lines(told, url)))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        click.echo(f"the gateway at {url} does not answer either")


def lines(told: Mapping[str, Any], url: str) -> list[str]:
    """The gateway's own status in sentences."""
    said = [f"the gateway at {url} answers by snapshot {told['snapshot']}"]
    said += [f"  wrong: {sentence(trouble)}" for trouble in told["troubles"]] or ["  nothing is wrong there"]
    return [*said, f"  {told['records']['waiting']} record(s) wait for control"]


def sentence(trouble: Mapping[str, Any]) -> str:
    """One trouble: what, since when, why, what is lost, what to do."""
    since = dt.datetime.fromtimestamp(trouble["since"] / 1_000_000, dt.UTC)
    at = since.strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{trouble['what']} since {at}: {trouble['why']}; {trouble['lost']}; {trouble['hint']}"
