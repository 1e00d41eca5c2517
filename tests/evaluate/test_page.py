"""The card as a page: whole, self-contained, and safe with any name."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from learning import evaluate, inbox, loans, service, train

from freehold.spec.service import Gate

VOID = {"meta", "line", "circle", "rect"}


class Reader(HTMLParser):
    """Counts what is open, and gathers what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(root: Path, **asked: object) -> str:
    wanted = service(**asked)  # type: ignore[arg-type]
    table = inbox(200) if wanted.model.task == "classify" else loans(200)
    trained = train(root / "train", wanted, table)
    return (evaluate(root / "eval", wanted, table, trained).outputs / "card.html").read_text()


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    gates = {
        "<b>bias": Gate(metric="recall_gap", across=("age_band",), upper_bound=0.05),
        "quality": Gate(metric="accuracy", lower_bound=0.5),
    }
    return page(tmp_path_factory.mktemp("p"), gates=gates, train={"held_out": 0.4})


def test_the_page_is_whole_and_brings_nothing_from_elsewhere(html: str) -> None:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert reader.links == []
    assert not reader.tags & {"script", "link", "img", "iframe", "object"}
    assert "url(" not in html
    assert "default-src &#x27;none&#x27;" in html or "default-src 'none'" in html


def test_names_from_data_are_shown_and_never_run(html: str) -> None:
    assert "&lt;b&gt;bias" in html
    assert "<b>bias" not in html


def test_it_shows_the_verdict_the_groups_and_the_digests(html: str) -> None:
    assert "held: &lt;b&gt;bias did not pass" in html
    assert "age_band 70+" in html
    assert "serving digest" in html
    assert len(re.findall("<svg", html)) == 3


def test_it_has_a_dark_and_a_printed_form(html: str) -> None:
    assert "prefers-color-scheme:dark" in html
    assert "@media print" in html


def test_a_card_without_gates_says_so(tmp_path: Path) -> None:
    assert "no gate was asked for" in page(tmp_path, task="tabular")
