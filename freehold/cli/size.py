"""`freehold size`: what a workload takes. Needs no installation; the network only where it is told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from freehold.cli.show import say, table

if TYPE_CHECKING:
    import datetime as dt

    from freehold.sizing.facts import Facts
    from freehold.sizing.size import Plan
    from freehold.sizing.usage import Usage
    from freehold.sizing.workload import Workload


@click.command()
@click.argument("files", type=click.File("r"), nargs=-1, metavar="[FILE]...")
@click.option("--from", "source", help="traffic from a file, prometheus=URL, or records[=SERVICE]")
@click.option("--phase", metavar="LABEL", help="with prometheus: the label that says training or inference")
@click.option("--model", help="a known model, where no FILE says one")
@click.option(
    "--facts", "own", type=click.File("r"), multiple=True, help="your own figures, in place of ours"
)
@click.option("--compare", nargs=2, type=click.File("r"), help="two workloads side by side")
@click.option("--html", type=click.Path(dir_okay=False), help="write it as one HTML file, with pictures")
@click.option(
    "--disclosure", type=click.Path(dir_okay=False), help="write energy as it is disclosed, as JSON"
)
@click.option("--url", help="with records: where control is; else FREEHOLD_URL, else this machine")
@click.option("--key-file", type=click.Path(exists=True, dir_okay=False), help="with records: your key")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def size(
    files: Sequence[IO[str]],
    source: str | None,
    phase: str | None,
    model: str | None,
    own: Sequence[IO[str]],
    compare: tuple[IO[str], IO[str]] | None,
    html: str | None,
    disclosure: str | None,
    url: str | None,
    key_file: str | None,
    as_json: bool,
) -> None:
    """Memory, devices, hours, money and energy of what FILE wants to train and to serve.

    FILE is YAML with `model`, `train` and `serve`; several are planned one by one and added up. Every figure
    tells its formula, its range and the facts it stands on: `--json` shows them all. `--from` reads what is
    asked today: a spend log of LiteLLM, a usage export of OpenAI, a trace, a Prometheus that watches vLLM, or
    the records of this installation.
    """
    from freehold.cli.files import refuse_unwritable, text_in, write
    from freehold.sizing import plain
    from freehold.sizing.workload import from_text

    refuse_unwritable(html, disclosure)
    texts = [text_in(each) for each in own]
    if compare:
        _only(_COMPARE, *files, source, phase, model, html, disclosure)
        plans = [_planned(from_text(text_in(each)), texts, None) for each in compare]
        return say(plain.compared([each.name for each in compare], plans), as_json, _beside)
    if len(files) > 1:
        _only(_SEVERAL, source, phase, model, html, disclosure)
        plans = [_planned(from_text(text_in(each)), texts, None) for each in files]
        return say(plain.together(_names(files), plans), as_json, _together)
    _only_of_prometheus(phase, source)
    file = files[0] if files else None
    usage = _usage(source, url, key_file, phase) if source else None
    plan = _planned(_workload(file, model, usage), texts, usage)
    if html:
        from freehold.sizing.page import page

        write(html, page(_facts(texts, usage, plan.work), plan))
    if disclosure:
        from freehold.sizing.disclosure import as_json as disclosed

        write(disclosure, disclosed(plan))
    return say(plain.of_plan(plan), as_json, _text)


_COMPARE = "--compare takes two files and their figures, nothing else", "--compare A.yaml B.yaml"
_SEVERAL = "several files are planned with their figures, and nothing else", "A.yaml B.yaml --json"


def _only(takes: tuple[str, str], *others: object) -> None:
    from freehold.errors import BadInput

    if any(other is not None for other in others):
        why, words = takes
        raise BadInput(what="these do not go together", why=why, hint=f"freehold size {words}")


def _names(files: Sequence[IO[str]]) -> list[str]:
    """Raises BadInput where one is named twice: each is a plan by its name."""
    from freehold.errors import BadInput

    names = [each.name for each in files]
    if len(set(names)) < len(names):
        why = "each is planned by its name"
        raise BadInput(what="one file is named twice", why=why, hint="name it once, with all its requests")
    return names


def _only_of_prometheus(phase: str | None, source: str | None) -> None:
    from freehold.errors import BadInput

    if phase is not None and not (source or "").startswith("prometheus="):
        why = "it names a label of devices that a Prometheus watches"
        raise BadInput(what="--phase is of no use here", why=why, hint="add --from prometheus=URL")


def _planned(work: Workload, own: Sequence[str], usage: Usage | None) -> Plan:
    from freehold.sizing.size import size as planned

    return planned(_facts(own, usage, work), work, _today(), usage)


def _facts(own: Sequence[str], usage: Usage | None, work: Workload) -> Facts:
    """Ours, yours in their place, and what was measured where the traffic comes from."""
    from freehold.sizing import facts as figures
    from freehold.sizing import paced

    facts = paced.loaded(figures.load(*own), work)
    return paced.watched(facts.with_(usage.facts(_today())), work, usage, _today()) if usage else facts


def _today() -> dt.date:
    import datetime as dt

    return dt.datetime.now(dt.UTC).date()


def _workload(file: IO[str] | None, model: str | None, usage: Usage | None) -> Workload:
    from freehold.cli.files import text_in
    from freehold.errors import BadInput
    from freehold.sizing.workload import from_text, known_models, of_model

    if file is not None and model is not None:
        hint = "leave one of them out"
        raise BadInput(what="a file and --model are two models", why="one is planned", hint=hint)
    asked = usage.serve() if usage else None
    if file is not None:
        return from_text(text_in(file), asked)
    if asked is None:
        hint = "freehold size FILE, or freehold size --from TRACE --model NAME"
        raise BadInput(what="there is nothing to plan", why="no FILE says what is wanted", hint=hint)
    if model is None:
        hint = "--model " + " | ".join(known_models())
        raise BadInput(what="no model is named", why="--from says what is asked, not who answers", hint=hint)
    return of_model(model, asked)


def _usage(source: str, url: str | None, key_file: str | None, phase: str | None) -> Usage:
    from pathlib import Path

    from freehold.errors import BadInput
    from freehold.sizing import usage

    if source == "records" or source.startswith("records="):
        return _records(source.partition("=")[2], url, key_file)
    if source.startswith("prometheus="):
        return _prometheus(source.partition("=")[2], phase)
    path = Path(source)
    if not path.is_file():
        hint = "a file, prometheus=URL, or records"
        raise BadInput(what=f"`{source[:200]}` is no file", why="nothing is there to read", hint=hint)
    return usage.from_text(path.name, path.read_text(encoding="utf-8", errors="replace"))


def _records(service: str, url: str | None, key_file: str | None) -> Usage:
    """Answers of this installation that you may read, of one service or of all, and what it all took."""
    from dataclasses import replace

    from freehold.client import Freehold, key_in
    from freehold.sizing import taken, traces, usage

    key = key_in(key_file) if key_file else None
    rows: list[dict[str, Any]] = []
    asked = {"limit": "1000", **({"service": service} if service else {})}
    with Freehold(url, key) as control:
        while len(rows) < traces.MOST:
            after = {"after": rows[-1]["id"]} if rows else {}
            found = control.get("/api/answers", **asked, **after)["answers"]
            rows += found
            if len(found) < 1000:
                break
        took = taken.of_control(control.get("/api/energy", **({"service": service} if service else {})))
    return replace(usage.of_answers(f"records of {service or 'all services'}", rows), taken=took)


def _prometheus(address: str, phase: str | None) -> Usage:
    """A week of it, by the hour; `phase` is the label to take the phase from, in place of the usual ones."""
    import time

    import httpx

    from freehold.errors import BadInput
    from freehold.sizing import usage

    end = int(time.time() // 3600 * 3600)
    asked = {"start": str(end - 7 * 86_400 + 3600), "end": str(end), "step": "3600"}
    try:
        with httpx.Client(base_url=address.rstrip("/"), timeout=30) as client:
            answers = {}
            for word, query in {**usage.QUERIES, **usage.PACE, **usage.DEVICES}.items():
                told = client.get("/api/v1/query_range", params={"query": query, **asked})
                answers[word] = told.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        hint = "is it the address of a Prometheus, as http://prometheus:9090?"
        raise BadInput(
            what=f"`{_without_login(address)[:80]}` does not answer", why=type(error).__name__, hint=hint
        ) from error
    return usage.of_prometheus(_without_login(address)[:80], answers, phase or "")


def _without_login(address: str) -> str:
    """As it may stand in a plan that is sent on: `http://user:secret@host` without what opens it."""
    before, login, host = address.rpartition("@")
    return f"{before.partition('://')[0]}://{host}" if login else address


# -- as text ----------------------------------------------------------------------------------------


def _text(told: Mapping[str, Any]) -> str:
    parts = [_impossible(told)] if told["breaks"] else []
    parts += [_section(section) for section in told["sections"]]
    if told["moves"]:
        rows = [{"if this is another": m["fact"], "from": m["low"], "to": m["high"]} for m in told["moves"]]
        parts.append(
            f"what moves the money most, {told['workload']['currency'].upper()} in all\n"
            + _indented(table(rows, tuple(rows[0])))
        )
    parts.append(_stands_on(told))
    return "\n\n".join(parts)


def _impossible(told: Mapping[str, Any]) -> str:
    return "\n".join(
        ["this plan is not possible; what breaks first:", *(f"  {one}" for one in told["breaks"])]
    )


def _section(section: Mapping[str, Any]) -> str:
    columns = ("", "figure", "range", "is", "because")
    rows = [
        dict(zip(columns, (f["name"], f["text"], f["range"], f["label"], f["formula"]), strict=True))
        for f in section["figures"]
    ]
    parts = [section["title"], _indented(table(rows, columns))] if rows else [section["title"]]
    parts += [f"  {t['title']}\n{_indented(table(t['rows'], t['columns']), 4)}" for t in section["tables"]]
    parts += [_note(note) for note in section["notes"]]
    parts += [f"  impossible: {section['breaks']}"] if section["breaks"] else []
    return "\n".join(parts)


def _note(note: str) -> str:
    return f"  - {note}" if "\n" not in note else _indented(note, 4)


def _stands_on(told: Mapping[str, Any]) -> str:
    facts = told["facts"]
    unsourced = ", ".join(fact["name"] for fact in facts if fact["unsourced"])
    lines = [f"{len(facts)} facts stand behind it; nobody confirmed yet: {unsourced or 'none'}"]
    old = told["warnings"]
    if old:
        lines.append(f"  look at these {len(old)}, most of them older than 90 days; the oldest first")
        lines += [f"  {line}" for line in old[:5]]
    return "\n".join(lines)


def _together(told: Mapping[str, Any]) -> str:
    """All of them; each by itself is `freehold size FILE`, or stands in the JSON."""
    return _section(told["together"])


def _beside(told: Mapping[str, Any]) -> str:
    parts = []
    for section in told["sections"]:
        parts.append(section["title"] + "\n" + _indented(table(section["rows"], told["columns"])))
    for name, breaks in told["breaks"].items():
        parts += [f"{name} is not possible: {one}" for one in breaks]
    return "\n\n".join(parts)


def _indented(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())
