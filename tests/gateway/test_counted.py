"""Whichever gateway process is asked at `/metrics` tells what all of them count."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import httpx

from freehold.gateway.counted import STALE, Counted
from tests.gateway.conftest import Site

ONE = [("answers_total", 'ending="answered"', 3), ("snapshot", "", 7)]
TWO = [("answers_total", 'ending="answered"', 5), ("snapshot", "", 7)]


def test_each_tells_its_own_counts_of_now_and_those_the_others_kept(tmp_path: Path) -> None:
    one, two = Counted(tmp_path, "spl_1"), Counted(tmp_path, "spl_2")
    one.keep(ONE)
    assert two.everybody(TWO).decode().splitlines() == [
        'freehold_gateway_answers_total{ending="answered",gateway="spl_2"} 5',
        'freehold_gateway_answers_total{ending="answered",gateway="spl_1"} 3',
        'freehold_gateway_snapshot{gateway="spl_2"} 7',
        'freehold_gateway_snapshot{gateway="spl_1"} 7',
    ]
    one.leave()
    assert b"spl_1" not in two.everybody(TWO)


def test_one_that_died_is_told_of_no_more_and_one_that_counts_nothing_new_is(tmp_path: Path) -> None:
    dead, idle, asked = (Counted(tmp_path, name) for name in ("spl_1", "spl_2", "spl_3"))
    for other in (dead, idle):
        other.keep(ONE)
    for path in tmp_path.glob("*.counts"):
        os.utime(path, (0, time.time() - 2 * STALE))
    idle.keep(ONE)
    told = asked.everybody([]).decode()
    assert re.findall(r"spl_\d", told) == ["spl_2", "spl_2"]
    Counted(tmp_path, "spl_4")
    assert [path.stem for path in tmp_path.glob("*.counts")] == ["spl_2"]


def test_what_an_earlier_release_wrote_elsewhere_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    before = tmp_path / "spend"
    before.mkdir()
    for name in ("spl_1.counts", "spl_2.new", "spl_3.counts", "service:triage"):
        (before / name).write_text("x")
    for name in ("spl_1.counts", "spl_2.new", "service:triage"):
        os.utime(before / name, (0, time.time() - 2 * STALE))
    Counted(tmp_path, "spl_4", before)
    assert {path.name for path in before.iterdir()} == {"spl_3.counts", "service:triage"}


def test_a_disk_that_takes_nothing_changes_nothing(tmp_path: Path) -> None:
    counted = Counted(tmp_path / "not" / "there", "spl_1")
    counted.keep(ONE)
    assert b"spl_1" in counted.everybody(ONE)


def test_two_gateways_at_one_address_are_both_told(site: Site) -> None:
    site.publish()
    for _ in range(2):
        site.up()

    def known() -> set[str]:
        text = httpx.get(f"{site.url}/metrics", trust_env=False).text
        return set(re.findall(r'answers_total\{ending="failed",gateway="(\w+)"\}', text))

    site.until(lambda: len(known()) == 2)
    site.down()
    site.until(lambda: len(known()) == 1)
