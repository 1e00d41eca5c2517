"""A whole measurement of a folder, small: everything is there, and nothing is left."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from started import FREEHOLD

from freehold.sizing import facts as figures
from freehold.sizing.bench import room, storage, told, verdict
from freehold.sizing.bench.page import html
from freehold.sizing.bench.profiles import SAYS, Profile
from freehold.sizing.bench.progress import Progress, Told
from freehold.sizing.bench.shown import Page, Section, text
from freehold.sizing.bench.storage import Asked, Report
from freehold.sizing.size import size
from freehold.sizing.workload import from_text

SMALL = Profile(
    name="small", layout="tfrecord", per_file=50, record=2_000, batch=20, compute=0.002, least=0.9
)
ASKED = Asked(jobs=(SMALL,), size=1_000_000, readers=1, runs=2, steps=4, writers=2)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("disk")
    found = storage.measure([str(folder)], ASKED, Progress())
    assert list(folder.iterdir()) == []
    return found


def test_every_measurement_is_there_with_its_spread(report: Report) -> None:
    (found,) = report.found
    (trained,) = found.trained
    assert len(trained.here.runs) == 2
    assert trained.here.wanted.seed == 1
    assert 0 < trained.here.utilization.mean <= 1
    assert [readers for readers, _ in trained.scale] == [1, 2]
    assert trained.memory is not None
    assert found.checkpoint is not None
    assert found.checkpoint.size == 500_000
    assert len(found.checkpoint.turns) == 2
    assert {(one.bits, one.way) for one in found.loaded} >= {(32, "direct"), (8, "direct"), (32, "mapped")}
    assert [one.name for one in found.random][-1] == "warm"
    assert found.searched[0].recall > 0.5
    assert found.spilled is not None
    assert found.spilled.tokens > 0


def test_it_says_that_all_is_done_when_all_is_done(tmp_path: Path) -> None:
    """Not when the bytes of training are read, with minutes of searching still to come."""
    said: list[Told] = []
    checks = ("random", "vectors", "spill")
    storage.measure([str(tmp_path)], replace(ASKED, checks=checks), Progress(said.append))
    begun = {told.stage: told.done for told in reversed(said)}
    assert 0 == begun[f"{tmp_path}: small reads"] < begun[f"{tmp_path}: vectors"] < 1
    assert begun[f"{tmp_path}: attention cache"] < 1
    assert said[-1].done == 1


def test_energy_is_that_of_everything_that_was_read_while_the_meter_ran(report: Report) -> None:
    (trained,) = report.found[0].trained
    assert len(trained.here.every) == 1 + len(trained.here.runs)
    read = sum(run.size for run in trained.here.every) / 1e9
    assert trained.energy_a_gigabyte == pytest.approx(trained.energy.joules / read)


def test_vectors_that_were_in_memory_are_not_called_cold(report: Report) -> None:
    (found,) = report.found
    warm = tuple(replace(one, stayed=0.7) for one in found.searched)
    said = text(told.page(replace(report, found=(replace(found, searched=warm),))))
    assert "not cold: 70 % was in memory" in said


def test_eight_bit_weights_are_a_quarter_of_thirty_two(report: Report) -> None:
    sizes = {one.bits: one.size for one in report.found[0].loaded}
    assert sizes[32] / sizes[8] == pytest.approx(4, rel=0.01)


def test_what_is_less_than_the_rules_ask_for_bears_a_stamp(report: Report) -> None:
    (stamp, *_) = report.found[0].trained[0].stamps
    assert stamp.startswith("what-if: 1 MB of data and ")
    trained = report.found[0].trained[0]
    short = replace(trained, here=replace(trained.here, wanted=replace(trained.here.wanted, readers=9)))
    assert any("read ahead" in line for line in short.stamps)
    kept = replace(trained, rules=trained.here.laid, here=replace(trained.here, runs=trained.here.runs))
    assert not any(line.startswith("what-if") for line in kept.stamps)


def test_papers_hold_what_it_takes_to_measure_again(report: Report) -> None:
    papers = report.provenance
    assert papers.asked["seed"] == 1
    assert papers.asked["jobs"] == ["small"]
    assert papers.machine.cores > 0
    assert papers.machine.libraries["numpy"]
    assert next(iter(papers.disks.values())).system


def test_text_and_page_say_first_what_they_are_not(report: Report) -> None:
    shown = told.page(report)
    said = text(shown)
    assert said.splitlines()[1] == SAYS
    assert "accelerator utilization" in said
    assert "what-if" in said
    written = html(shown)
    assert SAYS in written
    assert not re.search(r"(src|href)=|https?://|<script", written), "it needs nothing else"
    Balanced().feed(written)


def test_what_is_not_proved_is_not_called_not_enough() -> None:
    judged = Section(title="disk: not proved for reading", enough=False)
    written = html(Page(title="t", says=SAYS, sections=(judged,), papers=()))
    assert '<h2 class="bad">disk: not proved for reading</h2>' in written
    assert "not enough" not in written


def test_the_verdict_calls_memory_what_the_table_does(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "COLD", 1.0)  # whatever the temporary folder lies on
    (found,) = report.found
    judged = next(storage._judged(found, replace(ASKED, planned=1_000_000)))
    assert f"from {found.trained[0].memory_where}" in judged.advice[0]


class Balanced(HTMLParser):
    """Every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_plan_takes_what_was_measured(report: Report) -> None:
    known = figures.load(told.facts(report))
    assert known("storage.read_gb_s") == pytest.approx(report.found[0].trained[0].best / 1e9, rel=0.01)
    runs = report.found[0].trained[0].here.rate
    fact = known.used["storage.read_gb_s"]
    assert fact.low / fact.value <= min(runs.values) / runs.mean * 1.001
    assert known("storage.write_gb_s") > 0
    assert known("storage.load_gb_s") > 0
    assert {fact.label for fact in known.used.values()} == {"measured"}


def test_a_slow_disk_changes_the_plan() -> None:
    work = from_text(
        "model: {parameters: 7.055e10, layers: 80, kv_heads: 8, head: 128, hidden: 8192}\n"
        "train: {method: full, tokens: 1.0e9}\n"
    )

    def hours(gigabytes: float) -> float:
        measured = told.as_yaml({"storage.write_gb_s": (gigabytes,)}, "2026-11-21", "freehold bench storage")
        return size(figures.load(measured), work, dt.date(2026, 11, 21)).trained_on[0].hours

    assert hours(0.02) > hours(5)


def test_more_than_fits_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(room.NoRoom):
        storage.measure([str(tmp_path)], replace(ASKED, size=10**18, yes=True), Progress())
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_one_left_is_gone_before_room_is_looked_for(tmp_path: Path) -> None:
    left = tmp_path / f"{room.PREFIX}0"
    left.mkdir()
    (left / room.MARKER).touch()
    with pytest.raises(room.NoRoom):
        storage.measure([str(tmp_path)], replace(ASKED, size=10**18, yes=True), Progress())
    assert list(tmp_path.iterdir()) == []


def test_small_rows_in_a_layout_that_pads_them_are_counted_as_they_lie() -> None:
    rows = replace(SMALL, record=100, per_file=4096)
    assert storage.needed(replace(ASKED, jobs=(rows,), layout="webdataset")) > 8 * ASKED.size


def test_what_is_held_in_memory_as_a_whole_is_never_more_than_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "available", lambda: 4_000_000)
    asked = replace(ASKED, checks=("load",), size=40_000_000, runs=1)
    (found,) = storage.measure([str(tmp_path)], asked, Progress()).found
    assert max(one.size for one in found.loaded) == pytest.approx(1_000_000, rel=0.01)


def test_a_plan_takes_nothing_that_was_read_from_memory(report: Report) -> None:
    (found,) = report.found
    (trained,) = found.trained
    runs = tuple(replace(run, stayed=0.4) for run in trained.here.runs)
    warm = replace(trained, here=replace(trained.here, runs=runs))
    loaded = tuple(replace(one, stayed=0.4) for one in found.loaded)
    said = told.facts(replace(report, found=(replace(found, trained=(warm,), loaded=loaded),)))
    assert "storage.write_gb_s" in said
    assert "read_gb_s" not in said
    assert "load_gb_s" not in said
    assert said.startswith("# what was not read cold")
    assert figures.load(said)("storage.read_gb_s") == figures.load()("storage.read_gb_s")


@pytest.mark.parametrize("several", [(1.0, 1.0, 0.97), (1.0,)])
def test_a_share_that_was_measured_whole_is_one_that_plans_take(several: tuple[float, ...]) -> None:
    said = told.as_yaml({"serve.decode_efficiency": several}, "2026-11-21", "bench")
    known = figures.load(said)
    assert known("serve.decode_efficiency") == known.used["serve.decode_efficiency"].high == 1.0


def test_the_range_of_a_measured_figure_holds_all_of_its_runs() -> None:
    known = figures.load(told.as_yaml({"storage.write_gb_s": (3.0, 1.1, 4.9)}, "2026-11-21", "bench"))
    assert known("storage.write_gb_s") == 3.0
    assert (known.used["storage.write_gb_s"].low, known.used["storage.write_gb_s"].high) == (1.1, 4.9)


def test_a_disk_that_somebody_else_fills_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage.loading, "write_weights", full)
    with pytest.raises(storage.PlaceFailed) as told:
        storage.measure([str(tmp_path)], replace(ASKED, checks=("random",)), Progress())
    assert told.value.why == "No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_two_places_stand_beside_each_other(tmp_path: Path) -> None:
    asked = replace(ASKED, checks=("checkpoint",), runs=1, size=200_000)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    report = storage.measure([str(tmp_path / "one"), str(tmp_path / "other")], asked, Progress())
    assert [found.place for found in report.found] == [str(tmp_path / "one"), str(tmp_path / "other")]
    assert "beside each other" in text(told.page(report))


# -- as somebody types it ---------------------------------------------------------------------------

TYPED = ("--profile", "cosmoflow-h100", "--layout", "raw", "--size", "30 MB", "--readers", "1")


def typed(folder: Path, *words: str) -> list[str]:
    return [*FREEHOLD, "bench", "storage", str(folder), *TYPED, *words]


def test_from_the_command_line_into_a_plan(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ("--only", "train", "--runs", "1", "--steps", "3", "--planned", "1000", "--json")
    files = ("--html", str(tmp_path / "report.html"), "--facts", str(tmp_path / "measured.yaml"))
    ran = subprocess.run(
        typed(disk, *words, *files), capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["measured"]["says"] == SAYS
    assert said["measured"]["verdicts"][0][1]["enough"] is False
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert "storage.read_gb_s" in (tmp_path / "measured.yaml").read_text()
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_one_that_was_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    command = typed(tmp_path, "--runs", "100", "--steps", "100")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(f"{room.PREFIX}*/train/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []


def test_under_nohup_it_goes_on_when_the_terminal_closes(tmp_path: Path) -> None:
    command = ["nohup", *typed(tmp_path, "--only", "train", "--runs", "100", "--steps", "100")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(f"{room.PREFIX}*/train/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []
