"""The rules on labelled texts: what is found, what is not, and how fast."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from screens_disguises import DISGUISES
from shares import exact

from freehold.screen.found import Found
from freehold.screen.normal import normalize, readings
from freehold.screen.rules import find
from freehold.screen.views import views

KINDS = {
    "CREDIT_CARD": "payment card",
    "PHONE_NUMBER": "phone",
    "EMAIL_ADDRESS": "e-mail",
    "IBAN_CODE": "iban",
    "US_SSN": "national id",
    "IP_ADDRESS": "ip address",
    "DOMAIN_NAME": "url",
    "US_DRIVER_LICENSE": "driving licence",
}
TUNED = {0, 1}
"""Folds of templates that the rules were written by; `phone` was tuned on all of them."""
PRESIDIO = {
    "CREDIT_CARD": "payment card",
    "PHONE_NUMBER": "phone",
    "EMAIL_ADDRESS": "e-mail",
    "IBAN_CODE": "iban",
    "US_SSN": "national id",
    "IP_ADDRESS": "ip address",
    "URL": "url",
    "US_DRIVER_LICENSE": "driving licence",
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text and what is marked in it: (kind, start, end); a kind of ours or Presidio's own name."""

    text: str
    fold: int
    spans: tuple[tuple[str, int, int], ...]


def labelled(data: Path) -> list[Labelled]:
    """The two sets, folds by template with its placeholders and signs taken out."""
    rows = []
    for name in ("presidio_synth_v2", "presidio_generated_large"):
        for line in (data / f"3_health_pii/{name}.dev.jsonl").read_text().split("\n"):
            if line:
                rows.append(_row(json.loads(line)))
    return rows


def _row(said: Mapping[str, Any]) -> Labelled:
    bare = re.sub(r"[^a-z_ ]", " ", re.sub(r"\{\{.*?\}\}", " _ ", said["masked"]).lower())
    fold = int(hashlib.sha256(" ".join(bare.split()).encode()).hexdigest(), 16) % 5
    spans = tuple(
        (KINDS.get(span["entity_type"], span["entity_type"]), span["start_position"], span["end_position"])
        for span in said["spans"]
    )
    return Labelled(said["full_text"], fold, spans)


def personal(data: Path) -> dict[str, Any]:
    """Recall, precision, F2 of each kind, on templates that were not looked at and on all; what is missed."""
    rows = labelled(data)
    held_out = [row for row in rows if row.fold not in TUNED]
    there, hidden = Counter[str](), Counter[str]()
    for row in rows:
        found = find(row.text, frozenset(("pii",)))
        there.update(span[0] for span in row.spans)
        hidden.update(span[0] for span in row.spans if _covered(row, span, found))
    return {
        "texts": len(held_out),
        "kinds": scored(held_out, ours),
        "kinds on all texts": scored(rows, ours),
        "of every kind masked, names and addresses too": exact(hidden.total(), there.total()),
        "masked by kind": {kind: {"n": count, "masked": hidden[kind]} for kind, count in there.most_common()},
    }


def ours(text: str) -> list[tuple[str, int, int]]:
    """What our rules find."""
    return [(one.kind, one.start, one.end) for one in find(text, frozenset(("pii",)))]


def scored(
    rows: Sequence[Labelled], finds: Callable[[str], list[tuple[str, int, int]]]
) -> dict[str, dict[str, float]]:
    """A span counts as found when a hit of its kind covers 80 % of its letters and digits."""
    right, there, wrong = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        hits = finds(row.text)
        used = set()
        for span in row.spans:
            there[span[0]] += 1
            for n, hit in enumerate(hits):
                if hit[0] == span[0] and _share(row.text, span, hit) >= 0.8:
                    right[span[0]] += 1
                    used.add(n)
                    break
        wrong.update(hit[0] for n, hit in enumerate(hits) if n not in used)
    return {
        kind: _figures(right[kind], there[kind], wrong[kind])
        for kind in sorted(set(KINDS.values()))
        if there[kind]
    }


def _figures(right: int, there: int, wrong: int) -> dict[str, float]:
    """`low` is F2 with recall and precision at the lower ends of their exact 95 % intervals."""
    recall = exact(right, there)
    precision = exact(right, right + wrong) if right + wrong else {"share": 0.0, "low": 0.0}
    return {
        "n": there,
        "recall": recall["share"],
        "precision": precision["share"],
        "f2": _f2(right / there, right / (right + wrong) if right + wrong else 0.0),
        "low": _f2(recall["low"], precision["low"]),
        "missed": there - right,
        "false": wrong,
    }


def _f2(recall: float, precision: float) -> float:
    return round(5 * precision * recall / (4 * precision + recall), 4) if precision + recall else 0.0


def _share(text: str, span: tuple[str, int, int], hit: tuple[str, int, int]) -> float:
    whole = sum(letter.isalnum() for letter in text[span[1] : span[2]])
    inside = (
        text[max(span[1], hit[1]) : min(span[2], hit[2])] if hit[1] < span[2] and hit[2] > span[1] else ""
    )
    return sum(letter.isalnum() for letter in inside) / whole if whole else 0.0


def _covered(row: Labelled, span: tuple[str, int, int], found: Sequence[Found]) -> bool:
    return any(_share(row.text, span, ("", one.start, one.end)) >= 0.8 for one in found)


_ASK_PRESIDIO = """
import json, sys, time
import tldextract
tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
import spacy
from spacy.language import Language
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine
@Language.component("words")
def words(doc):
    for token in doc:
        token.lemma_ = token.lower_
    return doc
class Blank(SpacyNlpEngine):
    def __init__(self):
        super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
        self.nlp = {"en": spacy.blank("en")}
        self.nlp["en"].add_pipe("words")
registry = RecognizerRegistry()
registry.load_predefined_recognizers(languages=["en"])
engine = AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])
texts = json.load(sys.stdin)
engine.analyze(texts[0], language="en")
began, found = time.process_time(), []
for text in texts:
    hits = engine.analyze(text, language="en", score_threshold=0.4)
    found.append([(hit.entity_type, hit.start, hit.end) for hit in hits])
cpu = time.process_time() - began
import importlib.metadata
version = importlib.metadata.version("presidio-analyzer")
json.dump({"version": version, "cpu": cpu, "found": found}, sys.stdout)
"""


def presidio(data: Path, python: str) -> dict[str, Any]:
    """The same texts for Presidio: its patterns with context words, no language model, scores from 0.4."""
    rows = [row for row in labelled(data) if row.fold not in TUNED]
    texts = [row.text for row in rows]
    done = subprocess.run(
        [python, "-c", _ASK_PRESIDIO], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    hits = {
        text: [(PRESIDIO[kind], start, end) for kind, start, end in found if kind in PRESIDIO]
        for text, found in zip(texts, said["found"], strict=True)
    }
    size = sum(len(text.encode()) for text in texts) / 1000
    return {
        "version": said["version"],
        "kinds": scored(rows, lambda text: hits[text]),
        "microseconds a kilobyte": round(said["cpu"] / size * 1e6),
    }


# -- ordinary texts ------------------------------------------------------------------------------------------


def ordinary(data: Path) -> dict[str, list[str]]:
    """Texts in which nothing is hidden, by name."""

    def column(name: str, field: str) -> list[str]:
        with (data / name).open(newline="") as file:
            return [row[field] for row in csv.DictReader(file)]

    def lines(name: str, field: str) -> list[str]:
        return [json.loads(one)[field] for one in (data / name).read_text().split("\n") if one]

    dolly = [*lines("5_text/dolly_sample.jsonl", "context"), *lines("5_text/dolly_sample.jsonl", "response")]
    return {
        "BANKING77": column("1_intents/banking77_test.dev.csv", "text"),
        "NotInject": lines("4_injection/notinject_benign.dev.jsonl", "prompt"),
        "dolly": [text for text in dolly if text],
        "hotel questions": lines("1_intents/nlupp_hotels.dev.jsonl", "text"),
        "GDPR": list(_long_texts(json.loads((data / "6_rag/eu_law/gdpr.json").read_text()))),
    }


def _long_texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and len(value) > 200:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _long_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _long_texts(inner)


def false_alarms(data: Path) -> dict[str, Any]:
    """Hits where there is nothing to hide, by kind."""
    return {
        name: {"texts": len(texts), "hits": dict(Counter(f.kind for t in texts for f in find(t)))}
        for name, texts in ordinary(data).items()
    }


def speed(data: Path) -> dict[str, dict[str, float]]:
    """Microseconds of CPU for a kilobyte, best of three."""
    texts = {**ordinary(data), "dense personal data": [row.text for row in labelled(data)]}
    ways: dict[str, Callable[[str], object]] = {
        "normalize": normalize,
        "normalize, and look for views": _read,
        "find (normalizes first)": find,
    }
    return {name: {way: _cost(some, run) for way, run in ways.items()} for name, some in texts.items()}


def disguised(data: Path) -> dict[str, float]:
    """What the normalizer costs on a kilobyte of text that is disguised throughout."""
    honest = ordinary(data)["GDPR"][:40]
    return {name: _cost([disguise(t) for t in honest], _read) for name, disguise in DISGUISES.items()}


def _read(text: str) -> object:
    return [views(reading.text) for reading in readings(text)]


def _cost(texts: Sequence[str], run: Callable[[str], object]) -> float:
    size = sum(len(text.encode()) for text in texts) / 1000
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for text in texts:
            run(text)
        best = min(best, time.process_time() - began)
    return round(best / size * 1e6, 1)
