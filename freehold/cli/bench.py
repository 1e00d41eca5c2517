"""`freehold bench`: is this machine fast enough? Needs no installation and no network."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.groups import Group
from freehold.cli.path import segment

if TYPE_CHECKING:
    from freehold.sizing.bench.load import Asked as LoadAsked
    from freehold.sizing.bench.load_told import Objective
    from freehold.sizing.bench.profiles import Profile
    from freehold.sizing.bench.progress import Progress, Told
    from freehold.sizing.bench.shown import Page
    from freehold.sizing.bench.storage import Asked

CHECKS = ("train", "scale", "checkpoint", "load", "random", "vectors", "spill")
SHAPES = ("15m", "135m", "1b")
LOADERS = ("torch", "own")
LAYOUTS = ("npz", "raw", "tfrecord", "webdataset", "parquet", "huggingface")
"""These four as the measuring has them, which takes long to import: a test holds them together."""


@click.group(cls=Group)
def bench() -> None:
    """Measure this machine: its storage, its processors, and services under load."""


@bench.command()
@click.argument("places", nargs=-1, required=True, metavar="PATH|s3://…")
@click.option(
    "--profile",
    "jobs",
    multiple=True,
    default=("unet3d-h100",),
    show_default=True,
    help="the job that is emulated, repeatable",
)
@click.option("--like", metavar="run:N", help="a job of your own: a run of control, see --url")
@click.option(
    "--row", default=0, type=click.IntRange(0), help="bytes of a row of --like; else as the run read them"
)
@click.option("--url", help="where control is, for --like; else FREEHOLD_URL, else this machine")
@click.option(
    "--key-file", type=click.Path(exists=True, dir_okay=False), help="your key, for --like; else FREEHOLD_KEY"
)
@click.option("--only", "checks", multiple=True, type=click.Choice(CHECKS), help="these alone")
@click.option(
    "--size",
    default="",
    metavar="SIZE|rules",
    help="of the data: 1 GB, or of --like what five seconds take; `rules` for MLPerf's",
)
@click.option("--accelerators", default=1, show_default=True, type=click.IntRange(1, 64), help="emulated")
@click.option("--planned", default=0, type=click.IntRange(0), help="accelerators of the cluster to judge for")
@click.option("--readers", default=4, show_default=True, type=click.IntRange(1, 128), help="of each")
@click.option("--loader", type=click.Choice(LOADERS), help="else torch's, where it is installed")
@click.option("--steps", default=0, type=click.IntRange(0), help="of a run, at least; else 4 for each reader")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1, 100), help="after a warm-up")
@click.option("--seed", default=1, show_default=True, help="of the data and the order of reading")
@click.option("--layout", type=click.Choice(LAYOUTS), help="in the place of the profile's own")
@click.option("--checkpoint", default="llama3-8b", show_default=True, help="of which model")
@click.option("--writers", default=4, show_default=True, type=click.IntRange(1, 256), help="of a checkpoint")
@click.option("--model", default="", metavar="SIZE", help="of a model that shall stand there: does it fit?")
@click.option("--together", metavar="NAME", help="several machines measure PATH at once, under this name")
@click.option("--client", metavar="2/3", help="of --together: which of how many this machine is")
@click.option("--html", type=click.Path(dir_okay=False), help="write the report as one HTML file")
@click.option("--facts", type=click.Path(dir_okay=False), help="write what `freehold size --facts` reads")
@click.option("--yes", is_flag=True, help="more than 10 GB may be written")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def storage(
    places: tuple[str, ...],
    jobs: tuple[str, ...],
    checks: tuple[str, ...],
    html: str | None,
    facts: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Is the storage below PATH fast enough for training, checkpoints and models?

    MLPerf-style, not an MLPerf result. Everything is written below PATH and removed at the end; several
    places are measured one after the other and shown beside each other. The last section says whether it is
    enough.
    """
    from freehold.cli.files import refuse_unwritable, write
    from freehold.sizing.bench import storage as measuring
    from freehold.sizing.bench import told

    asked = _asked(jobs, checks, options)
    refuse_unwritable(html, facts)
    asked = replace(asked, yes=asked.yes or _wanted(measuring.needed(asked)))
    _open_as_many_files_as_may_be()
    with _ended_tidily(), _watched() as progress:
        report = measuring.measure(places, asked, progress)
    if facts:
        write(facts, told.facts(report))
    _show(told.page(report), report, html, as_json)


@bench.command()
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    type=click.Choice(SHAPES),
    default=("135m",),
    show_default=True,
    help="a model by its size, repeatable",
)
@click.option("--side", default=2048, show_default=True, type=click.IntRange(64, 32768), help="of matrices")
@click.option(
    "--seconds",
    type=click.FloatRange(0.05, 60),
    help="each figure; 5, or less where many devices would make it longer than two minutes",
)
@click.option("--html", type=click.Path(dir_okay=False), help="write the report as one HTML file")
@click.option("--facts", type=click.Path(dir_okay=False), help="write what `freehold size --facts` reads")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def compute(
    shapes: tuple[str, ...],
    side: int,
    seconds: float | None,
    html: str | None,
    facts: str | None,
    as_json: bool,
) -> None:
    """What this machine computes: matrix products, memory, and tokens a second of small models.

    Processors always; accelerators too where the extra `train` is installed and finds one.
    """
    from freehold.cli.files import refuse_unwritable, write
    from freehold.sizing.bench import as_device
    from freehold.sizing.bench import compute as measuring

    refuse_unwritable(html, facts)
    with _ended_tidily(), _watched() as progress:
        found = measuring.measure(shapes, side, seconds, progress)
    if facts:
        write(facts, as_device.facts(found))
    _show(measuring.page(found), found, html, as_json)


@bench.command()
@click.argument("names", nargs=-1, required=True, metavar="run:N…")
@click.option("--url", help="where control is; else FREEHOLD_URL, else this machine")
@click.option("--key-file", type=click.Path(exists=True, dir_okay=False), help="your key; else FREEHOLD_KEY")
@click.option("--html", type=click.Path(dir_okay=False), help="write the report as one HTML file")
@click.option("--facts", type=click.Path(dir_okay=False), help="write what `freehold size --facts` reads")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def runs(
    names: tuple[str, ...],
    url: str | None,
    key_file: str | None,
    html: str | None,
    facts: str | None,
    as_json: bool,
) -> None:
    """What trainings of your own reached: tokens a second, and the arithmetic behind them.

    Nothing is measured now: runs that tuned a base model counted it while they went on.
    """
    from freehold.cli.files import refuse_unwritable, write
    from freehold.sizing.bench import own_runs
    from freehold.sizing.bench.provenance import provenance

    refuse_unwritable(html, facts)
    found = [own_runs.of_run(told) for told in _told_of(names, url, key_file)]
    if facts:
        write(facts, own_runs.facts(found))
    told = {"runs": [asdict(one) for one in found]}
    _show(own_runs.page(found, provenance({"runs": list(names)}, {})), told, html, as_json)


def _told_of(runs: Sequence[str], url: str | None, key_file: str | None) -> list[Any]:
    from freehold.client import Freehold, key_in

    key = key_in(key_file) if key_file else None
    with Freehold(url, key) as control:
        return [control.get(f"/api/runs/{segment(run, 'run')}") for run in runs]


@bench.command()
@click.argument("service")
@click.option(
    "--text",
    "texts",
    multiple=True,
    default=("water came through the ceiling",),
    show_default=True,
    help="what is asked, one after the other, repeatable",
)
@click.option("--subject", default="", help="the person the requests are about")
@click.option("--purpose", default="", help="else the key's default purpose")
@click.option("--tokens", default=0, type=click.IntRange(0), help="at most so many an answer")
@click.option(
    "--callers",
    multiple=True,
    type=click.IntRange(1, 4096),
    default=(1, 2, 4, 8, 16),
    show_default=True,
    help="who wait for their answer; a stage each, repeatable",
)
@click.option(
    "--rate", "rates", multiple=True, type=click.FloatRange(0.01), help="requests a second, at random"
)
@click.option(
    "--trace", type=click.File("r"), help="requests as they were recorded: CSV of Azure, or Mooncake"
)
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.001), help="of the trace")
@click.option(
    "--seconds", default=5.0, show_default=True, type=click.FloatRange(0.2, 86_400), help="each stage"
)
@click.option("--seed", default=1, show_default=True, help="of when requests come")
@click.option("--p99", metavar="MS", type=click.FloatRange(0), help="hold: the last word, p99")
@click.option("--first-word", metavar="MS", type=click.FloatRange(0), help="hold: the first word, p99")
@click.option("--token", metavar="MS", type=click.FloatRange(0), help="hold: a token, p99")
@click.option(
    "--failures", metavar="PERCENT", type=click.FloatRange(0, 100), help="hold: at most so many fail"
)
@click.option("--answers", type=click.FloatRange(0), help="hold: so many answers a second at most load")
@click.option("--gateway", help="where the gateway is; else FREEHOLD_GATEWAY, else this machine")
@click.option("--key-file", type=click.Path(exists=True, dir_okay=False), help="else FREEHOLD_SERVING_KEY")
@click.option("--html", type=click.Path(dir_okay=False), help="write the report as one HTML file")
@click.option("--facts", type=click.Path(dir_okay=False), help="write what `freehold size --facts` reads")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def load(
    service: str,
    gateway: str | None,
    key_file: str | None,
    html: str | None,
    facts: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """How SERVICE does under load: first word, tokens, last word, and from where on it only waits.

    Callers that wait for their answer, ever more of them; then requests that come at random, at half and four
    fifths of what those reached, or at `--rate`; or as a trace recorded them. Every request is a real one: it
    is recorded, and counts against limits and budgets. With an objective that is missed it ends with 6.
    """
    from freehold.cli.ask import gateway_and_key
    from freehold.cli.files import refuse_unwritable, write
    from freehold.sizing.bench import load as measuring
    from freehold.sizing.bench import load_told
    from freehold.sizing.bench.asking import Question
    from freehold.sizing.bench.provenance import provenance

    refuse_unwritable(html, facts)
    url, key = gateway_and_key(gateway, key_file)
    asked, objective = _load_asked(options), _objective(options)
    question = Question(
        service=service,
        fresh=facts is not None,
        **{name: options[name] for name in ("texts", "subject", "purpose", "tokens")},
    )
    papers = provenance(_told(options), {})
    with _ended_tidily(), _watched() as progress:
        stages = measuring.run(measuring.Target(url=url, key=key), question, asked, progress)
    if facts:
        write(facts, load_told.facts(service, stages, papers))
    page = load_told.page(service, stages, objective, papers)
    _show(page, {"stages": [asdict(stage) for stage in stages]}, html, as_json)
    if why := load_told.missed(stages, objective):
        raise load_told.TooSlow(
            service=service, why="; ".join(why), hint="more engines, a smaller model, or another objective"
        )


def _load_asked(options: dict[str, Any]) -> LoadAsked:
    from freehold.cli.files import text_in
    from freehold.sizing.bench import arrivals
    from freehold.sizing.bench.load import Asked

    file = options["trace"]
    dues = arrivals.trace(file.name, text_in(file)) if file else ()
    return Asked(
        seconds=options["seconds"],
        callers=() if options["rates"] else options["callers"],
        rates=options["rates"],
        trace=arrivals.cut(dues, options["seconds"], options["speed"]),
        seed=options["seed"],
    )


def _objective(options: dict[str, Any]) -> Objective:
    from freehold.sizing.bench.load_told import Objective

    def seconds(name: str) -> float | None:
        return None if options[name] is None else options[name] / 1000

    return Objective(
        waited=seconds("p99"),
        first_token=seconds("first_word"),
        token=seconds("token"),
        failures=None if options["failures"] is None else options["failures"] / 100,
        answered=options["answers"],
    )


def _told(options: dict[str, Any]) -> dict[str, Any]:
    """The options as papers hold them: no texts, and nobody's name."""
    kept = {name: value for name, value in options.items() if name not in ("texts", "subject", "trace")}
    return kept | {"trace": Path(options["trace"].name).name if options["trace"] else ""}


def _asked(jobs: tuple[str, ...], checks: tuple[str, ...], options: dict[str, Any]) -> Asked:
    from freehold.sizing.bench import own_job, profiles
    from freehold.sizing.bench.loaders import chosen
    from freehold.sizing.bench.provenance import memory
    from freehold.sizing.bench.storage import Asked
    from freehold.sizing.bench.together import client

    found = tuple(profiles.profile(name) for name in jobs)
    like, row, url, key_file = (options.pop(name) for name in ("like", "row", "url", "key_file"))
    if like:
        found = (_own(like, row, url, key_file),)
    name, which, named = options.pop("together"), options.pop("client"), options.pop("loader")
    options["client"] = client(name or "", which or "") if name or which else None
    size, shape = options.pop("size"), profiles.checkpoint(options.pop("checkpoint"))
    options["layout"] = options["layout"] or ""
    options["model"] = _bytes(options["model"]) if options["model"] else 0
    if size == "rules":
        bytes_ = max(profiles.by_the_rules(job, options["accelerators"], memory()) for job in found)
        options["steps"] = max(options["steps"], profiles.MIN_STEPS)
    else:
        bytes_ = _bytes(size or "1 GB")
    if like:
        data = bytes_ if size else 0
        found = tuple(own_job.laid(job, options["accelerators"], options["readers"], data) for job in found)
    if named or {"train", "scale"}.intersection(checks or CHECKS):
        options["loader"] = chosen(named, found, options["accelerators"], options["readers"])
    return Asked(jobs=found, checks=checks or CHECKS, size=bytes_, checkpoint=shape, **options)


def _own(run: str, row: int, url: str | None, key_file: str | None) -> Profile:
    from freehold.sizing.bench.own_job import of_run

    (told,) = _told_of([run], url, key_file)
    return of_run(told, row)


def _bytes(size: str) -> int:
    from freehold.spec.sizes import memory_bytes

    return memory_bytes(size)


def _wanted(size: int) -> bool:
    """Ask whoever sits there before more than 10 GB are written; where nobody does, `--yes` has to say it."""
    from freehold.sizing.bench.room import ASKS_ABOVE, amount

    if size <= ASKS_ABOVE or not sys.stdin.isatty():
        return False
    return click.confirm(f"{amount(size)} will be written and removed again; go on?", err=True, abort=True)


def _open_as_many_files_as_may_be() -> None:
    """Each reader takes four here, and of hundreds that is more than the usual 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # not everywhere may a process have as many as it likes
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _ended_tidily() -> Iterator[None]:
    """A terminal that closes, or a supervisor that stops us, is a Ctrl-C: what was written goes away.

    Under `nohup` a terminal may close: what is ignored stays so.
    """

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    heard = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watched() -> Iterator[Progress]:
    """On a terminal one line that changes, elsewhere a line for each stage."""
    from freehold.sizing.bench.progress import Progress

    live = sys.stderr.isatty()
    last = ""

    def tell(told: Told) -> None:
        nonlocal last
        if live:
            left = f", {told.left:,.0f} s left" if told.left is not None else ""
            click.echo(f"\r\x1b[K{100 * told.done:3.0f} %{left}  {told.stage}"[:110], nl=False, err=True)
        elif told.stage != last:
            click.echo(told.stage, err=True)
        last = told.stage

    try:
        yield Progress(tell)
    finally:
        if live:
            click.echo("\r\x1b[K", nl=False, err=True)


def _show(page: Page, report: Any, html: str | None, as_json: bool) -> None:
    from freehold.cli.files import write
    from freehold.cli.show import say
    from freehold.sizing.bench.page import html as as_html
    from freehold.sizing.bench.shown import text

    if html:
        write(html, as_html(page))
    say(
        {"page": asdict(page), "measured": report if isinstance(report, dict) else asdict(report)}
        if as_json
        else page,
        as_json,
        text,
    )
