"""The card as one page: no scripts, nothing from elsewhere, light and dark, and it prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from freehold.evaluate import charts
from freehold.evaluate.gates import WORDS
from freehold.spec.figures import plural

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#5f6873;--line:#d8dde3;--paper:#fff;--mark:#1f5fbf;
--good:#18794e;--bad:#b42318}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa4b0;--line:#363d46;--paper:#15181c;
--mark:#7fb0ff;--good:#4cc38a;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;
margin:0 auto;padding:1.5rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
p,dl{margin:.4rem 0}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}
.verdict{font-weight:600;font-size:1.15rem;margin:.6rem 0 0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft)}td.n,th.n{text-align:right}
dl{display:grid;grid-template-columns:9rem 1fr;gap:.2rem 1rem}dt{color:var(--soft)}dd{margin:0}
code{font:.85em ui-monospace,monospace;overflow-wrap:anywhere}
svg{width:100%;max-width:560px;height:auto;display:block}svg.square{max-width:260px}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}.name{text-anchor:end}.tick{text-anchor:middle}
svg .tick,svg .note{fill:var(--soft)}.grid,.frame{stroke:var(--line);fill:none}
.span{stroke:var(--mark);stroke-width:2}.point{fill:var(--mark)}.bubble{fill:var(--mark);fill-opacity:.55}
.limit{stroke:var(--bad);stroke-width:2}.faint{opacity:.45}
@media print{body{max-width:none;padding:0}h2,h3{break-after:avoid}table,svg{break-inside:avoid}}
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(card: Mapping[str, Any], digest: str) -> str:
    """The whole page. Everything that comes from data is escaped."""
    service = card["service"]
    title = f"{service['service']}: evaluation card"
    body = [
        f"<h1>{_text(title)}</h1>",
        _verdict(card),
        _gates(card["gates"]),
        _beside(card),
        *(_set(against, card) for against in sorted(card["measured"])),
        _examples(card["examples"]),
        _facts(card, digest),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><main>"
        + "\n".join(part for part in body if part)
        + "</main></body></html>\n"
    )


def _text(value: Any) -> str:
    return escape(str(value))


def _short(text: str | None) -> str:
    return "–" if text is None else f"{float(text):.3f}"


def _verdict(card: Mapping[str, Any]) -> str:
    if not card["gates"]:
        return '<p class="verdict">no gate was asked for</p>'
    failed = [gate["name"] for gate in card["gates"] if not gate["passed"]]
    if failed:
        return f'<p class="verdict bad">held: {_text(", ".join(failed))} did not pass</p>'
    return f'<p class="verdict good">passes all {len(card["gates"])} gates</p>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Cells come escaped already."""
    kind = ['class="n"' if place in numbers else "" for place in range(len(heads))]
    head = "".join(f"<th {kind[place]}>{_text(name)}</th>" for place, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td {kind[place]}>{cell}</td>" for place, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>".replace(" >", ">")
    return f'<div class="wide">{table}</div>'


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    if not gates:
        return ""
    rows = [
        (
            _text(gate["name"]),
            '<span class="good">✓ passed</span>' if gate["passed"] else '<span class="bad">✗ held</span>',
            _text(gate["because"]),
            _text(gate["against"]),
        )
        for gate in gates
    ]
    return "<h2>Gates</h2>" + _table(("gate", "", "because", "against"), rows)


def _beside(card: Mapping[str, Any]) -> str:
    """The candidate and the live model, asked the same rows."""
    live = card.get("against_live")
    if not live:
        return ""
    rows = [
        (
            _text(WORDS[name]),
            _short(figure["candidate"]),
            _short(figure["live"]),
            f"{_short(figure['value'])} ({_short(figure['low'])} to {_short(figure['high'])})",
        )
        for name, figure in live["metrics"].items()
        if figure
    ]
    facts = f"{plural(live['rows'], 'row')}, the same for both"
    if live["left_out"]:
        facts += f" · {live['left_out']} left out: the live model may have learned from them"
    if live["overlap"] != "none":
        facts += " · whether the live model learned from some of them is not known"
    why = f'<p class="soft">{_text(live["why"] or facts)}</p>'
    heads = ("", "this model", live["ref"], f"difference, {_percent(card)} interval")
    return f"<h2>Beside the live model</h2>{why}" + (_table(heads, rows, (1, 2, 3)) if rows else "")


def _set(against: str, card: Mapping[str, Any]) -> str:
    measured = card["measured"][against]
    seen = measured["also_in_training"]
    facts = plural(measured["rows"], "row")
    if measured["unlabelled"]:
        facts += f" · {measured['unlabelled']} without a label left out"
    if seen:
        facts += f" · {seen} stand word for word in the training rows too"
    how = f"A point is the figure, the line its {_percent(card)} interval, a red bar a gate's limit."
    parts = [
        f"<h2>Measured on {_text(against)}</h2>",
        f'<p class="soft">{_text(facts)}. {how}</p>',
        *(charts.whiskers(lines, f"metrics on {against}") for lines in _metric_lines(against, card)),
        _answers(measured["answers"]) if "answers" in measured else "",
        *(_gap(gap, against, card) for gap in measured["gaps"]),
        _mistakes(measured.get("mistakes", ())),
        _calibration(measured["calibration"], against) if "calibration" in measured else "",
        _classes(measured["classes"]) if "classes" in measured else "",
    ]
    return "\n".join(part for part in parts if part)


def _percent(card: Mapping[str, Any]) -> str:
    return f"{float(card['confidence']) * 100:g} %"


def _metric_lines(against: str, card: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Shares together, on one scale; a loss on its own."""
    metrics = card["measured"][against]["metrics"]
    lines = {
        name: {
            **metrics[name],
            "name": word,
            "note": _short(metrics[name]["value"]),
            "limits": _limits(card, name, against),
        }
        for name, word in WORDS.items()
        if metrics.get(name)
    }
    return [
        [line for name, line in lines.items() if name != "token_loss"],
        [line for name, line in lines.items() if name == "token_loss"],
    ]


def _answers(answers: Mapping[str, int]) -> str:
    said = f"{plural(answers['ended'], 'answer')} ended by themselves"
    if answers["unreadable"]:
        said += f"; {plural(answers['unreadable'], 'question')} could not be read and count as answered wrong"
    return f'<p class="soft">{_text(said)}.</p>'


def _limits(card: Mapping[str, Any], metric: str, against: str) -> list[str]:
    """The limits of the gates over this figure."""
    found = []
    for gate in card["asked_gates"].values():
        if gate["metric"] == metric and gate["against"] == against:
            for bound in ("value", "lower_bound", "upper_bound"):
                if gate[bound] is not None:
                    limit = gate[bound]
                    found.append(str(next(iter(limit.values())) if isinstance(limit, dict) else limit))
    return found


def _gap(gap: Mapping[str, Any], against: str, card: Mapping[str, Any]) -> str:
    what = f"recall of {gap['of']}" if gap["of"] else "share answered right"
    lines = [
        {
            **(group["recall"] or {"value": "0", "low": "0", "high": "1"}),
            "name": f"{group['column']} {group['group']}",
            "note": plural(group["rows"], "row"),
            "faint": not group["enough"],
        }
        for group in gap["groups"]
    ]
    said = "nothing to compare"
    if gap["value"] is not None:
        said = (
            f"largest gap {_short(gap['value'])} ({_short(gap['low'])} to {_short(gap['high'])}): "
            f"{gap['worst']['column']} {gap['worst']['group']} against {gap['best']['group']}"
        )
    if gap["insufficient"]:
        said += f"; groups with fewer than {gap['fewest']} rows are faint and say nothing"
    return (
        f"<h3>{_text(what.capitalize())} across {_text(', '.join(gap['across']))}</h3>"
        f"<p>{_text(said)}</p>" + charts.whiskers(lines, f"{what} by group on {against}")
    )


def _classes(classes: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            _text(line["class"]),
            str(line["rows"]),
            _recall(line["recall"]),
            _short(line["precision"]),
            _short(line["f1"]),
        )
        for line in sorted(classes, key=lambda line: float(line["f1"]))
    ]
    return "<h3>By class, weakest first</h3>" + _table(
        ("class", "rows", "recall", "precision", "F1"), rows, numbers=(1, 2, 3, 4)
    )


def _recall(recall: Mapping[str, str] | None) -> str:
    if recall is None:
        return "–"
    return f"{_short(recall['value'])} ({_short(recall['low'])} to {_short(recall['high'])})"


def _mistakes(mistakes: Sequence[Mapping[str, Any]]) -> str:
    if not mistakes:
        return ""
    rows = [(_text(m["label"]), _text(m["answer"]), str(m["rows"])) for m in mistakes[:10]]
    return "<h3>Most frequent mistakes</h3>" + _table(("label", "answered", "rows"), rows, numbers=(2,))


def _calibration(calibration: Mapping[str, Any], against: str) -> str:
    return (
        "<h3>Is it right as often as it says?</h3>"
        f"<p>expected calibration error {_short(calibration['error'])}; a larger dot is more rows</p>"
        + charts.reliability(calibration["bins"], f"confidence and share right on {against}")
    )


def _examples(examples: Sequence[Mapping[str, Any]]) -> str:
    if not examples:
        return ""
    rows = [
        (
            _text(", ".join(f"{name}: {value}" for name, value in example["ask"].items())),
            _text(example["expect"]),
            _text(example["got"]),
            '<span class="good">✓</span>' if example["passed"] else '<span class="bad">✗</span>',
        )
        for example in examples
    ]
    return "<h2>Examples</h2>" + _table(("asked", "expected", "answered", ""), rows)


def _facts(card: Mapping[str, Any], digest: str) -> str:
    model, data = card["model"], card["data"]
    facts = {
        "purpose": card["service"]["purpose"],
        "project": card["service"]["project"],
        "trained on": f"{data['ref']}, target {data['target']}",
        "data digest": data["digest"],
        "trainer": f"{model['trainer']} ({model['task']})",
        "settings": ", ".join(f"{name} {value}" for name, value in sorted(data["settings"].items())),
        "inputs": ", ".join(f"{c['name']} ({c['datatype']})" for c in model["inputs"]),
        "engine": model["engine"],
        "model digest": model["digest"],
        "serving digest": model["serving_digest"],
        "probes": f"{card['probes']['asked']} answered as in training, within {card['probes']['tolerance']}",
        "this card": digest,
    }
    lines = "".join(f"<dt>{_text(k)}</dt><dd><code>{_text(v)}</code></dd>" for k, v in facts.items())
    return f"<h2>What it is</h2><dl>{lines}</dl>"
