"""`freehold`: the one command. Subcommands load when they are asked for, so that `--help` stays quick."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from freehold.cli.groups import unknown
from freehold.errors import Failure

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (module:attribute, one line for --help)
    "up": ("freehold.cli.running:up", "start Freehold on this machine; Ctrl-C drains"),
    "status": ("freehold.cli.running:status", "what runs, what waits, what is wrong"),
    "recover": ("freehold.cli.running:recover", "issue a new administrator key, on the host itself"),
    "people": ("freehold.cli.people:people", "who may sign in, and as what"),
    "project": ("freehold.cli.people:project", "projects: the walls between teams"),
    "keys": ("freehold.cli.people:keys", "create, list and revoke keys; change the epoch key"),
    "data": ("freehold.cli.data:data", "add data sets, list versions, compare them"),
    "base": ("freehold.cli.base:base", "add and list pre-trained models to tune from"),
    "plan": ("freehold.cli.deliver:plan", "show what a service file would do; changes nothing"),
    "apply": ("freehold.cli.deliver:apply", "do it: train, evaluate, approve, release"),
    "retrain": ("freehold.cli.retrain:retrain", "learn from new data; a worse candidate is held"),
    "compare": ("freehold.cli.compare:compare", "two runs beside each other"),
    "runs": ("freehold.cli.runs:runs", "training and evaluation runs, and their cards"),
    "approve": ("freehold.cli.release:approve", "see what waits for you; approve or refuse it"),
    "rollback": ("freehold.cli.release:rollback", "give a service its previous release back"),
    "stop": ("freehold.cli.release:stop", "stop a service at once"),
    "resume": ("freehold.cli.release:resume", "let a stopped service answer again"),
    "attach": ("freehold.cli.release:attach", "put an existing model server under the same rules"),
    "notify": ("freehold.cli.release:notify", "where notices go: signed webhook, mail"),
    "ask": ("freehold.cli.answers:ask", "ask a service"),
    "answer": ("freehold.cli.answers:answer", "show the record of an answer"),
    "why": ("freehold.cli.answers:why", "from an answer back to the rows, people and gates behind it"),
    "impact": ("freehold.cli.answers:impact", "from a record forward to every model and answer"),
    "subject": ("freehold.cli.forget:subject", "what is held about one person"),
    "forget": ("freehold.cli.forget:forget", "forget a person: a plan first, a certificate at the end"),
    "retention": ("freehold.cli.retention:retention", "how long words and rows are kept"),
    "hold": ("freehold.cli.retention:hold", "legal holds: what they cover stays"),
    "incident": ("freehold.cli.incidents:incident", "who looks like an attacker, and what was done"),
    "verify": ("freehold.cli.ledger:verify", "recompute the whole ledger; exit 8 when a proof fails"),
    "ledger": ("freehold.cli.entries:ledger", "what happened: kinds of entries, entries one by one"),
    "receipt": ("freehold.cli.ledger:receipt", "a proof for one answer, to keep"),
    "advise": ("freehold.cli.advise:advise", "should we train at all: nine ways, their cost and risk"),
    "size": ("freehold.cli.size:size", "what a workload takes: devices, hours, money, energy"),
    "screens": ("freehold.cli.screens:screens", "what the guards see in a text; your own threshold"),
    "waf": ("freehold.cli.waf:waf", "the gateway's bounds as rules for a web application firewall"),
    "bench": ("freehold.cli.bench:bench", "measure storage, processors, and services under load"),
    "export": ("freehold.cli.ledger:export", "write everything in open formats"),
    "import": ("freehold.cli.backup:import_", "an installation of its own from an exact export"),
    "backup": ("freehold.cli.backup:backup", "everything, sealed, elsewhere; Freehold goes on meanwhile"),
    "restore": ("freehold.cli.backup:restore", "an installation from a backup and the current keys"),
    "doctor": ("freehold.cli.doctor:doctor", "prove every control by its effect"),
    "upgrade": ("freehold.cli.ledger:upgrade", "bring the database to this release's schema, with a backup"),
    "demo": ("freehold.cli.demo:demo", "the whole story in two minutes"),
}


class _Lazy(click.Group):
    """A group that knows its commands' names before their modules are imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        known = ctx.resilient_parsing or not args or args[0] in COMMANDS  # a shell completes: nothing is told
        if not known and not args[0].startswith("-"):
            raise unknown(args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="freehold")
def freehold() -> None:
    """Governed training and inference, two states of one system, on your own ground."""


def main() -> None:
    """Run the command; tell a failure in three lines and leave with its exit code."""
    try:
        freehold.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as bare:  # a group's name alone asks what it has
        bare.show()
        sys.exit(2)
    except click.ClickException as wrong:
        from freehold.cli.misused import misused

        _tell(misused(wrong, freehold, sys.argv[1:]))
    except Failure as failure:
        _tell(failure)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":  # by these Python stands for bytes that are no text
            raise
        from freehold.cli.misused import unreadable

        _tell(unreadable(freehold, sys.argv[1:]))


def _tell(failure: Failure) -> NoReturn:
    click.echo(f"freehold: {failure}", err=True)
    sys.exit(failure.exit_code)
