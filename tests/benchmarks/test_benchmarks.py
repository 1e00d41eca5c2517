"""Benchmarks say when they cannot measure, and what they drew is a picture."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from freehold.ledger import answered
from freehold.screen import injection
from freehold.sizing import facts as figures
from freehold.store.home import Home
from freehold.store.place import rows_of
from tests.support.plans import CASES

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_line_on_banking77_is_skipped_loudly_without_its_data(tmp_path: Path) -> None:
    env = {**os.environ, "FREEHOLD_TEST_DATA": str(tmp_path)}
    command = [sys.executable, str(BENCHMARKS / "line_banking77.py")]
    ran = subprocess.run(command, env=env, capture_output=True, text=True)
    assert ran.returncode == 0
    assert ran.stderr.startswith("SKIPPED: no 1_intents/banking77_train.csv")


def test_the_screens_are_skipped_loudly_without_their_data(tmp_path: Path) -> None:
    env = {**os.environ, "FREEHOLD_TEST_DATA": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, str(BENCHMARKS / "screens.py")], env=env, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr.startswith("SKIPPED: no 3_health_pii")


def test_bars_are_drawn_to_scale_and_names_are_escaped(tmp_path: Path) -> None:
    plot = load("plot")
    rows = [
        plot.Bar(name="a & b", value=2.0, said="2 s"),
        plot.Bar(name="peer", value=1.0, said="1 s", peer=True),
    ]
    plot.bars(tmp_path / "p.svg", "Title <1>", "under it", rows)
    picture = ET.parse(tmp_path / "p.svg").getroot()
    drawn = [e for e in picture.iter() if e.get("class") in ("bar", "peer")]
    widths = [float(e.get("width", "0")) for e in drawn]
    assert widths[0] == 2 * widths[1]
    assert "a & b" in {e.text for e in picture.iter()}


def test_committed_results_hold_what_the_issue_asks_for() -> None:
    result = json.loads((BENCHMARKS / "results" / "line_banking77.json").read_text())
    assert result["test file"] == {"name": "banking77_test.dev.csv", "rows": 1525}
    assert set(result["seconds"]) >= {"intake", "verify"}
    for model, least in (("linear", 0.908), ("LoRA", 0.92)):
        assert result["models"][model]["accuracy"] >= least
        assert set(result["models"][model]["seconds"]) >= {"train and evaluate", "why (median)"}
        assert float(result["models"][model]["training"]["watt_hours (estimated)"]) > 0
    ET.parse(BENCHMARKS / "results" / "line_banking77.svg")


def test_committed_figures_of_the_screens_are_of_the_gate_that_ships_and_hold_their_goals() -> None:
    result = json.loads((BENCHMARKS / "results" / "screens.json").read_text())
    kinds, goals = result["personal data"]["kinds"], result["goals"]["F2"]
    assert goals == dict.fromkeys(goals.keys() - {"phone"}, 0.99) | {"phone": 0.95}
    assert all(kinds[kind]["f2"] >= least for kind, least in goals.items())
    assert all(set(said["hits"]) <= {"date of birth"} for said in result["false alarms"].values())
    assert result["secrets"]["found"]["share"] >= 0.99
    assert result["secrets"]["look-alikes taken for one"]["share"] <= 0.01
    ordinary = {name: took for name, took in result["speed"].items() if name != "dense personal data"}
    assert {"BANKING77", "dolly", "GDPR"} <= set(ordinary)
    assert all(took["find (normalizes first)"] <= 100 for took in ordinary.values())
    assert all(took["normalize, and look for views"] <= 400 for took in result["speed"].values())
    assert max(result["normalizer on disguised text, microseconds a kilobyte"].values()) <= 400
    streams = dict(result["streams"])
    held = streams.pop("documents of 1500 characters in pieces of 1 to 8")
    assert streams.pop("goals") == {
        "characters held, mean": 14, "characters held, most": 256, "characters that left": 0,
    }  # fmt: skip
    assert len(streams) == 3
    assert all(said["characters that left"] == 0 for said in [*streams.values(), *held.values()])
    assert all(said["characters held, most"] <= 256 for said in held.values())
    assert held.pop("secrets")["characters held, mean"] <= 35, "a key has no blank to wait for"
    assert {"personal data and secrets", "personal data", "GDPR", "BANKING77"} == held.keys()
    assert all(said["characters held, mean"] <= 14 for said in held.values())
    found = result["injection"]
    assert found["goals"] == {"in the wild": 0.82, "DAN family left out": 0.80, "short overrides": 0.85}
    assert all(found["attacks"][name]["share"] >= least for name, least in found["goals"].items())
    assert len(found["false blocks"]) == 5
    assert all(said["share"] <= 0.01 for said in found["false blocks"].values())
    assert all(said["against plain"]["points"] >= -3 for said in found["disguised"].values())
    assert found["normalizer"]["the gate that ships"]["false blocks it added"] == 0
    five = found["normalizer"]["five gates"]
    assert five["false blocks it added"] <= five["false blocks it took away"]
    assert found["shipped"]["refuse"] == injection.gate().refuse, "run benchmarks/screens.py again"
    for name in ("screens_rules", "screens_injection"):
        ET.parse(BENCHMARKS / "results" / f"{name}.svg")


def test_the_committed_table_of_the_planner_is_that_of_its_formulas_and_a_plan_is_quick() -> None:
    result = json.loads((BENCHMARKS / "results" / "sizing.json").read_text())
    assert [(case["what"], case["ratio"]) for case in result["published"]] == [
        (case.what, round(case.ratio, 4)) for case in CASES
    ], "run benchmarks/sizing.py again"
    for took in result["CPU seconds of a plan"].values():
        assert took["most"] < result["promised seconds"]
    facts, others = figures.load(), result["measured by others"]
    for rows, share in facts.at_numbers("serve.decode_efficiency"):
        found, fact = others["the same by rows"][str(rows)], facts.used[f"serve.decode_efficiency.{rows}"]
        read = (found["least"], found["median"], found["most"])
        assert (fact.low, share, fact.high) == pytest.approx(read, abs=0.006)
    held_out = others["decode as planned over measured, batches that were held out"]
    assert held_out["by rows"]["rows"] > 30
    assert held_out["by rows"]["off by, median"] < 1.15 < held_out["one share for all"]["off by, median"]
    ET.parse(BENCHMARKS / "results" / "sizing.svg")


def test_of_what_was_acknowledged_no_power_cut_took_anything_and_both_controls_lost() -> None:
    ours, *controls = (
        told
        for told in json.loads((BENCHMARKS / "results" / "power_cuts.json").read_text()).values()
        if isinstance(told, dict)
    )
    assert ours["cuts"] >= 200
    assert ours["records acknowledged before a cut"] >= 1_000_000
    assert (ours["lost"], ours["cuts that lost or broke something"]) == (0, 0)
    assert len(controls) == 2
    assert all(one["lost"] > 0 for one in controls), "were nothing found there, nothing could be found above"
    ET.parse(BENCHMARKS / "results" / "power_cuts.svg")


def test_while_the_database_was_away_every_answer_was_kept_and_memory_was_flat() -> None:
    told = json.loads((BENCHMARKS / "results" / "database_away.json").read_text())
    assert told["seconds away"] >= 600
    assert told["answered"] == told["recorded"] > told["rows when it came back"]
    assert told["told anything else"] == {}
    grown = told["gateway's own memory, MB"]
    assert grown["most meanwhile"] - grown["before"] < 32


def test_every_change_behind_the_ledgers_back_was_found_and_by_go_every_one_in_its_files() -> None:
    told = json.loads((BENCHMARKS / "results" / "ledger.json").read_text())["tampering"]
    assert told["found"] == told["tried"] == sum(told["by kind"].values()) >= 10_000
    assert (told["go"]["read by"], told["go"]["missed"]) == ("golang.org/x/mod/sumdb", 0)
    assert told["go"]["tried"] >= 1_000


def test_no_list_of_a_million_answers_takes_300_ms_and_verifying_them_hashes_100_000_a_second() -> None:
    told = json.loads((BENCHMARKS / "results" / "lists.json").read_text())
    assert told["answers"] >= 1_000_000
    assert len(told["lists"]) >= 30
    assert max(took["p95"] for took in told["lists"].values()) < told["goal_p95_seconds"] == 0.3
    assert min(look["leaves_per_second"] for look in told["verify"].values()) >= 100_000
    ET.parse(BENCHMARKS / "results" / "lists.svg")


def test_what_lists_are_measured_over_reads_as_if_it_had_been_ingested(tmp_path: Path) -> None:
    lists, home = load("lists"), Home(tmp_path / "freehold.d")
    lists.made(home, 50)
    verdict, _, _ = lists.verified(home)
    verdict.raise_if_broken()
    assert verdict.entries >= 100
    database = rows_of(home, read_only=True)
    with database.read() as connection:
        assert answered.changed(connection) == []
    database.close()


def test_lists_are_asked_about_answers_from_anywhere(tmp_path: Path) -> None:
    lists, home = load("lists"), Home(tmp_path / "freehold.d")
    lists.made(home, 50)
    rows = lists.somewhere(home)
    assert len(rows) == lists.SAMPLES
    assert len({row["id"] for row in rows}) > 25


def test_the_ledger_is_as_fast_as_it_should_be_and_every_answer_under_load_was_recorded() -> None:
    told = json.loads((BENCHMARKS / "results" / "ledger.json").read_text())["speed"]
    assert max(one["per second of a core"] for one in told["durable entries"]) >= 10_000
    asked = told["fail-closed requests"]
    assert [one["callers"] for one in asked["rounds"]] == [1, 16, 64, 256]
    assert all(one["syncs a request"] <= 2 and one["other"] == {} for one in asked["rounds"])
    assert asked["rounds"][2]["per second"] >= 1_500
    assert asked["recorded"]["given"] == asked["recorded"]["recorded"] > 0
    assert told["disk, 4 KB and fdatasync"]["fio"]["syncs a second"] > 0
    ET.parse(BENCHMARKS / "results" / "ledger.svg")


def test_with_ten_million_entries_the_next_ones_and_a_look_at_all_cost_what_they_cost_with_few() -> None:
    few, _, many = sizes = json.loads((BENCHMARKS / "results" / "ledger.json").read_text())["size"]["sizes"]
    assert [one["entries"] for one in sizes] == [10_000, 1_000_000, 10_000_000]
    assert many["last 5,120, per second"] > few["last 5,120, per second"] / 2
    assert all(one["leaves hashed a second"] >= 100_000 for one in sizes)
    for kind in ("rows", "tiles"):
        assert many[f"bytes an entry, {kind}"] <= few[f"bytes an entry, {kind}"]
    assert few["Go agrees"] is True
    ET.parse(BENCHMARKS / "results" / "ledger_size.svg")


def test_parts_of_the_ledgers_figures_take_their_places_beside_those_of_the_same_machine(
    tmp_path: Path,
) -> None:
    ledger, here = load("ledger"), {"processor": "one", "cores": 2}
    grown = {"entries": 10, "last 5,120, per second": 7.0, "leaves hashed a second": 9.0}
    part = {"sizes": [grown], "at": "2026-11-21", "load at the beginning": 0.1}
    ledger.write({"what": "the ledger", "machine": here, "size": part}, tmp_path)
    assert ledger._others(tmp_path, here) == {"size": part}
    assert ledger._others(tmp_path, {**here, "cores": 4}) == {}
    ET.parse(tmp_path / "ledger_size.svg")


def test_a_process_that_ends_while_others_are_looked_at_has_no_memory_and_ends_no_measurement() -> None:
    processes = load("processes")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert (processes.cpu(ended.pid), processes.own_memory(ended.pid)) == (0, 0)
    assert processes.own_memory(os.getpid()) > 0


def test_of_streams_the_gateways_figures_tell_one_more_piece_and_what_comes_before_the_first_words() -> None:
    gateway = load("gateway")
    one = {"clients": 64, "bytes": 1000, "total_us": 0.0, "per_second": 1.0, "failed": 0}
    rounds = [
        one | {"way": way, "orders": f"[pieces {pieces}]", "total_us": cost}
        for way, pieces, cost in (
            ("direct", 50, 100.0), ("direct", 250, 300.0), ("ours", 50, 1_000.0), ("ours", 250, 5_000.0),
        )
    ] + [
        one | {"way": way, "clients": 1, "orders": "[pieces 10] [apart 20]", "first_p50_ms": first}
        for way, first in (("direct", 0.5), ("ours", 4.25))
    ]  # fmt: skip
    told = gateway.compared(gateway.summed_up(rounds))
    assert told["µs of one more piece"] == {"direct": 1.0, "ours": 20.0}
    assert told["ms until the first words, beyond the upstream's"] == {"ours": {"1 clients": 3.75}}


def test_what_was_not_seen_in_time_is_told_in_words_and_not_as_seconds() -> None:
    gateway, began = load("gateway"), time.monotonic()
    assert gateway.seconds_until(lambda: False, began - 3, patience=2) == "not within 2"
    found = gateway.seconds_until(lambda: True, began - 3, patience=2)
    assert found >= 3, "it is so, however late that was found out"


def test_parts_of_the_gateways_figures_take_their_places_and_memory_is_told_from_a_tenth_on(
    tmp_path: Path,
) -> None:
    gateway, here = load("gateway"), {"processor": "one", "cores": 2}
    way = {"way": "ours", "total_us": 800.0, "per_second": 600.0}
    gateway.write({"ways": {"medians": [way]}}, here, tmp_path)
    gateway.write({"sizes": {"medians": []}}, here, tmp_path)
    assert set(json.loads((tmp_path / "gateway.json").read_text())) == {"machine", "ways", "sizes"}
    gateway.write({"keys": {}}, here | {"cores": 4}, tmp_path)
    assert set(json.loads((tmp_path / "gateway.json").read_text())) == {"machine", "keys"}
    ET.parse(tmp_path / "gateway.svg")
    seen = [{"answers": n, "MB": {"gateway": 40.0 + n / 1000}} for n in (500, 1_000, 6_000, 10_000)]
    assert gateway.told_memory(seen) == {
        "MB": {"gateway": {"after a tenth": 41.0, "at most after that": 50.0, "at the end": 50.0}}
    }


def test_the_upstream_of_the_gateways_figures_streams_as_many_pieces_as_it_is_told() -> None:
    pieces = load("echo")._streamed(7)
    assert len(pieces) == 7
    assert b"".join(pieces).count(b"word ") == 7
    assert pieces[-1].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_reading_is_as_quick_as_fios_and_an_accelerator_as_busy_as_dlio_says() -> None:
    told = json.loads((BENCHMARKS / "results" / "storage.json").read_text())["compared"]
    beside_fio = [one for name, one in told.items() if "share of fio" in name]
    as_it_says = [one for name, one in told.items() if name.endswith("points from DLIO")]
    by_its_steps = [one for name, one in told.items() if name.endswith("points from DLIO, its steps")]
    assert (len(beside_fio), len(as_it_says), len(by_its_steps)) == (3, 6, 6), (
        "three jobs, from the disk and from memory"
    )
    assert all(one["held"] for one in beside_fio + as_it_says)
    assert all(one["rounds"] >= 6 for one in beside_fio + as_it_says + by_its_steps)


def test_what_storage_is_apart_from_its_peers_is_told_with_its_ends_and_parts_take_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("plot")
    compared = load("storage_compared")
    committed = json.loads((compared.RESULTS / "storage.json").read_text())
    assert committed["compared"] == compared.compared(committed)
    assert compared.ends([3, 1, 2]) == (1, 3)
    assert compared.ends(list(range(6))) == (0, 5)  # 31 of 32
    assert compared.ends(list(range(9))) == (1, 7)  # 1 - 2 x 10 / 512
    found = compared.compared({"bandwidth": {"1 reader": {"ours": [4.0, 1.0, 2.0], "fio": [4.0, 1.0, 1.0]}}})
    assert found["1 reader: share of fio"]["held"]  # a round in which the disk changed decides nothing
    assert not found["1 reader: share of fio"]["sure"]
    disk = {"fio, direct": [1.0, 3.0], "fio, direct, as ours": [4.0, 2.0]}
    cold = compared.compared({"cold load": {"ours, direct": [2.0, 1.5], **disk}})
    assert cold["cold load: share of fio direct"]["median"] == 0.5, (
        "the quicker of each round is the disk's speed"
    )
    monkeypatch.setattr(compared, "RESULTS", tmp_path)
    one = {"machine": {"cpu": "one"}, "asked": {"bandwidth": 1}, "bandwidth": {}}
    other = {"machine": {"cpu": "one"}, "asked": {"cold load": 2}, "cold load": {"ours, direct": [1.0]}}
    compared.write(one)
    assert compared.beside_others(other)["asked"] == {"bandwidth": 1, "cold load": 2}
    assert "bandwidth" not in compared.beside_others({**other, "machine": {"cpu": "another"}})
    compared.write(other)
    ET.parse(tmp_path / "storage_cold_load.svg")


def test_of_a_step_that_was_done_at_the_first_look_no_seconds_are_told() -> None:
    steps = {
        "find": {"started_at": 5_000_000, "ended_at": 5_000_000},
        "rebuild": {"started_at": 5_000_000, "ended_at": 25_681_000},
        "certify": {"started_at": None, "ended_at": None},
    }
    assert load("forget_line").waited(steps) == {"rebuild": 20.681}
    told = json.loads((BENCHMARKS / "results" / "forget_line.json").read_text())
    assert all(told["seconds of steps that were not done at the first look"].values())


OURS = ("ours", "ours, all guards")


def test_the_gateways_committed_figures_say_everything_the_issue_asks_for() -> None:
    told = json.loads((BENCHMARKS / "results" / "gateway.json").read_text())
    assert set(told) == {"machine", "ways", "clients", "sizes", "streams", "keys", "services", "memory"}

    beside = told["ways"]
    assert set(beside["beside"]) == {"nginx", "LiteLLM", "Portkey"}, "which versions stood beside us"
    assert "not there" not in beside["beside"].values()
    found = {one["way"]: one for one in beside["medians"]}
    assert set(found) == {"direct", "nginx", "LiteLLM", "LiteLLM, its rules", "Portkey", *OURS}
    assert {(one["clients"], one["bytes"]) for one in found.values()} == {(64, 1_000)}
    assert all(found[way]["failed"] == 0 for way in OURS)
    held = {way: found[way]["total_us"] <= goal for way, goal in beside["goals, µs"].items()}
    assert set(held) == set(OURS)
    assert beside["held"] == held, "a goal that is missed is called missed"
    ET.parse(BENCHMARKS / "results" / "gateway.svg")

    cost, first = (
        told["streams"][name]
        for name in ("µs of one more piece", "ms until the first words, beyond the upstream's")
    )
    assert set(cost) == {*first, "direct"} == set(found) - {"Portkey"}
    assert all(set(ms) == {"1 clients", "32 clients"} for ms in first.values())


def test_how_the_gateways_cost_grows_is_told_for_every_number_the_issue_names() -> None:
    told = json.loads((BENCHMARKS / "results" / "gateway.json").read_text())
    ways = {"direct", "nginx", *OURS}
    for part, by, numbers in (
        ("clients", "clients", {1, 8, 64, 256, 1024}),
        ("sizes", "bytes", {1_000, 10_000, 100_000}),
    ):
        seen = {(one["way"], one[by]) for one in told[part]["medians"] if one["total_us"] > 0}
        assert seen == {(way, number) for way in ways for number in numbers}
    assert set(told["clients"]["disk, 4 KB and fdatasync"]) == {"own loop", "fio"}
    synced = [one for one in told["clients"]["medians"] if one["way"] in OURS]
    assert all(round(one["syncs an answer"], 2) <= 2 for one in synced)
    assert all(one["failed"] == 0 for one in synced if one["clients"] <= 256)

    keys = told["keys"]["by keys"]
    assert [one["keys"] for one in keys] == [10, 1_000, 100_000]
    assert all(one["failed"] == one["one more: callers who failed"] == 0 for one in keys)
    known = [one["one more: seconds until the gateway knew it"] for one in keys]
    assert all(isinstance(seconds, float | int) for seconds in known), "nobody waited on for one"
    services = told["services"]["by services"]
    assert [(one["services"], one["failed"]) for one in services] == [(1, 0), (10, 0), (100, 0)]


def test_after_a_million_requests_the_gateways_memory_is_what_it_was() -> None:
    told = json.loads((BENCHMARKS / "results" / "gateway.json").read_text())["memory"]
    assert (told["answers"] >= 1_000_000, told["failed"]) == (True, 0)
    grown = {name: mb["at most after that"] - mb["after a tenth"] for name, mb in told["MB"].items()}
    assert {"gateway", "control", "supervisor"} <= set(grown)
    assert grown["gateway"] < 32, "36 bytes a request would be more"
    assert all(mb < 64 for mb in grown.values()), "as much as a soak allows"


def test_after_twenty_minutes_of_faults_answers_were_records_and_what_was_settled_was_used() -> None:
    told = json.loads((BENCHMARKS / "results" / "soak.json").read_text())
    assert (told["minutes"] >= 20, told["share"], told["problems"]) == (True, 0.7, [])
    faults = {"the provider dies and returns", "control stands still", "a gateway is killed"}
    assert {*faults, "the disk refuses the gateways", "the disk refuses control"} <= set(told["faults"])
    assert told["hung up by the callers"] > 0
    surplus = told["recorded as answered, not had whole"]
    assert told["records"]["answered"] == told["answers given whole"] + surplus
    assert surplus <= told["connections that broke"] + told["hung up by the callers"]
    assert min(told["settled"], told["used"]) > 0, "how far apart they may be stands among the problems"
    assert all(mb["MB at most"] - mb["MB before"] <= 68 for mb in told["memory and files"].values())
