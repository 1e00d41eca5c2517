"""`freehold demo`: the whole story, played for real."""

from __future__ import annotations

from pathlib import Path

import click

from freehold.cli.groups import Group


@click.group(cls=Group, invoke_without_command=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo.d"),
    show_default=True,
    envvar="FREEHOLD_DEMO",
    help="everything it makes stays there",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="a freehold.yaml for it, such as one whose `database:` names an empty Postgres",
)
@click.pass_context
def demo(context: click.Context, folder: Path, config: Path | None) -> None:
    """Play the whole story on invented messages and a real medical table; leaves Freehold running.

    Every command it types is shown; its figures come from the run.
    """
    context.obj = folder.resolve()
    if context.invoked_subcommand is None:
        from freehold.demo.story import play

        play(context.obj, config)


@demo.command("files")
def files() -> None:
    """Write the demo's data and service files here, to go by hand."""
    from freehold.demo.props import write_all

    click.echo("\n".join(write_all(Path())))


@demo.command("start")
@click.pass_obj
def start(folder: Path) -> None:
    """Start the demo's Freehold again, on the same ports."""
    from freehold.demo.house import start as begin
    from freehold.demo.house import wait_for_service

    addresses = begin(folder)
    click.echo(f"control {addresses['control']} · gateway {addresses['gateway']}")
    if not wait_for_service(folder):
        click.echo("inbox-triage does not answer; `freehold status` says why")


@demo.command("stop")
@click.pass_obj
def stop(folder: Path) -> None:
    """Drain and stop it; everything stays."""
    from freehold.demo.house import stop as end

    click.echo("stopped" if end(folder) else "nothing was running")


@demo.command("clean")
@click.pass_obj
def clean(folder: Path) -> None:
    """Stop it and remove everything the demo made."""
    from freehold.demo.house import clean as remove

    click.echo(f"{folder.name} is gone" if remove(folder) else f"there is no {folder.name}")
