"""The page of a plan: it loads nothing, its pictures are pictures, and every fact it names is there."""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from pydantic import TypeAdapter, ValidationError

from freehold.sizing import draw
from freehold.sizing import facts as figures
from freehold.sizing.disclosure import Disclosure, as_json, disclosure
from freehold.sizing.page import page
from freehold.sizing.pictures import pictures
from freehold.sizing.plain import compared, of_plan
from freehold.sizing.size import Plan, size
from freehold.sizing.workload import from_text

TODAY = dt.date(2026, 11, 21)
TEXT = """\
model: llama-3-8b
train: {method: lora, tokens: 1.0e7, times_a_year: 12}
serve: {requests_a_day: 400000, tokens_in: 900, tokens_out: 250, curve: office}
country: de
users: [de, us]
currency: eur
"""


def plan(text: str = TEXT) -> Plan:
    return size(figures.load(), from_text(text), TODAY)


class Found(HTMLParser):
    """Which elements there are, what they load, and which ids are linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "data") or (tag == "link" and name == "href"):
                self.loads.append(str(value))
            if name == "href" and str(value).startswith("#"):
                self.links.add(str(value)[1:])
            if name == "id":
                self.ids.add(str(value))


def test_the_page_is_one_file_without_script_that_loads_nothing() -> None:
    text = page(figures.load(), plan())
    found = Found(text)
    assert found.loads == []
    assert "script" not in found.tags
    assert "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme:dark" in text
    assert found.links <= found.ids


def test_every_picture_is_one_and_nothing_leaves_its_frame() -> None:
    drawn = list(pictures(figures.load(), plan()))
    names = {picture.name for picture in drawn}
    assert names == {"roofline", "cost", "break-even", "power", "day", "waiting", "moves", "sites"}
    for picture in drawn:
        root = ET.fromstring(picture.svg)
        width, height = (float(n) for n in root.attrib["viewBox"].split()[2:])
        for number in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", picture.svg):
            assert 0 <= float(number[0]) <= width
            assert 0 <= float(number[1]) <= height
        assert "nan" not in picture.svg
        assert picture.says


def test_names_are_escaped() -> None:
    assert "a &amp; b" in draw.bars("x", [draw.Bar(name="a & b", value=1, said="<1>")])


@pytest.mark.parametrize("log", [False, True])
def test_axes_tell_round_figures(log: bool) -> None:
    ticks = draw.Axis(low=1, high=1000, said="x", log=log).ticks()
    assert 3 <= len(ticks) <= 7
    assert all(1 <= tick <= 1000 for tick in ticks)


def test_a_plan_without_serving_has_a_page_too() -> None:
    text = page(figures.load(), plan("model: llama-3-8b\ntrain: {method: full, tokens: 1.0e9}\n"))
    assert "to train" in text
    assert "to serve" not in text


def test_an_impossible_plan_says_so_at_the_top() -> None:
    found = plan("model: llama-3-70b\nserve: {requests_a_day: 5, tokens_in: 9, tokens_out: 9, token_ms: 1}\n")
    assert "breaks first: time a token" in page(figures.load(), found)


def test_two_plans_side_by_side_say_how_many_times_one_is_the_other() -> None:
    more = plan(TEXT.replace("400000", "800000"))
    told = compared(["a", "b"], [plan(), more])
    rows = {row[""]: row for section in told["sections"] for row in section["rows"]}
    assert rows["answers at the peak"]["times"] == "2"
    assert rows["weights"]["times"] == "1"


def test_plain_data_is_json_and_holds_every_figure() -> None:
    import json

    told = json.loads(json.dumps(of_plan(plan())))
    figure = told["sections"][0]["figures"][0]
    assert {
        "name",
        "value",
        "unit",
        "formula",
        "facts",
        "label",
        "low",
        "high",
        "text",
        "range",
    } <= figure.keys()
    assert all(fact["source"] for fact in told["facts"])


def test_a_disclosure_is_read_back_field_by_field_and_its_parts_agree() -> None:
    """Strictly: no field too many, none of another kind."""
    told = TypeAdapter(Disclosure)
    read = told.validate_json(as_json(plan()), strict=True, extra="forbid")
    assert read == disclosure(plan())
    assert "not metered" in read.method
    assert read.scope.startswith("the whole site")
    assert read.computed.training_operations == pytest.approx(4 * 8.03e9 * 1e7)
    assert read.utilisation.training
    assert 0 < read.utilisation.training <= 1
    value = {figure.name: figure.value for figure in read.figures}
    assert value["all of it"] == pytest.approx(value["all trainings"] + value["all serving"])
    requests = read.computed.requests_a_day
    assert requests
    made = value["made"] * 1e6 / 365 / requests
    whole = value["a request, with what making the devices emitted"]
    assert whole == pytest.approx(value["a request emits"] + made)
    wrong = as_json(plan()).replace('"method"', '"methods"')
    with pytest.raises(ValidationError):
        told.validate_json(wrong, strict=True, extra="forbid")


def test_energy_is_disclosed_with_method_scope_grid_and_uncertainty() -> None:
    told = of_plan(plan())["disclosure"]
    assert "not metered" in told["method"]
    assert told["grid"]["grams_per_kwh"] == 381
    assert told["pue"] == pytest.approx(1.54)
    training = next(figure for figure in told["figures"] if figure["name"] == "training")
    assert training["uncertainty"].startswith("-")
