"""`freehold waf`: the gateway's bounds for a firewall in front of it. Needs no installation, no network."""

from __future__ import annotations

from pathlib import Path

import click

from freehold.cli.files import write
from freehold.gateway.bounds import Bounds
from freehold.gateway.firewall import FIRST_ID, IDS, seclang


@click.command()
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="a file instead of the terminal")
@click.option(
    "--first-id",
    default=FIRST_ID,
    show_default=True,
    type=click.IntRange(1, 2**31 - IDS),
    help=f"where the {IDS} ids begin that are kept for these rules",
)
def waf(to: Path | None, first_id: int) -> None:
    """What the gateway lets in, as SecLang rules for a web application firewall: ModSecurity 3, Coraza.

    They come from the bounds that the gateway of this release has itself: write them anew after an upgrade.
    What they do not do stands at their head.
    """
    text = seclang(Bounds(), first_id)
    if to is None:
        click.echo(text, nl=False)
        return
    write(to, text)
    click.echo(f"{to}: rules for ModSecurity 3 and Coraza, ids {first_id} to {first_id + IDS - 1}")
