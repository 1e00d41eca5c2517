"""How long a plan takes, and how near its formulas come to what others published.

    python benchmarks/sizing.py [FOLDER]

Plans two workloads as often as it takes, in CPU seconds of one core; then sets every published case of
tests/support/plans.py beside what the formulas give. With FREEHOLD_TEST_DATA, decode steps (ML.ENERGY)
and all-reduces (Vidur) that were measured come beside the formulas too. Writes sizing.json and sizing.svg.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from machine import described  # noqa: E402
from plot import Ratio, ratios  # noqa: E402

from freehold.sizing import facts as figures  # noqa: E402
from freehold.sizing import formulas  # noqa: E402
from freehold.sizing.bench import as_device, compute, decode  # noqa: E402
from freehold.sizing.bench.progress import Progress  # noqa: E402
from freehold.sizing.bench.provenance import cores  # noqa: E402
from freehold.sizing.devices import device  # noqa: E402
from freehold.sizing.efficiency import decode_efficiency  # noqa: E402
from freehold.sizing.serve import Shape, Traffic, step_seconds  # noqa: E402
from freehold.sizing.serving import shape_of  # noqa: E402
from freehold.sizing.size import size  # noqa: E402
from freehold.sizing.workload import from_text, known_models  # noqa: E402
from tests.support.plans import CASES  # noqa: E402

PROMISED = 1.0
"""Seconds for one plan."""
TIMES = 20
SECONDS = 3.0
"""Of each step that is measured here."""
WORK = {
    "an assistant of 8 B": """\
model: llama-3-8b
train: {method: lora, tokens: 1.0e7, epochs: 3, times_a_year: 12}
serve: {requests_a_day: 400000, tokens_in: 900, tokens_out: 250, first_token_ms: 1000, curve: office}
country: de
users: [de, fr]
growth: 1.2
""",
    "a mixture of 671 B, trained and served": """\
model: deepseek-v3
train: {method: scratch, tokens: 14.8e12, days: 60, sequence: 4096, batch: 1}
serve: {requests_a_day: 3000000, tokens_in: 2000, tokens_out: 600, first_token_ms: 4000, token_ms: 60}
""",
}
READ = {"Qwen/Qwen3-14B": "qwen3-14b", "Qwen/Qwen3-32B": "qwen3-32b"}
"""From their batches the shares of the roofline are read, by rows."""
HELD_OUT = {
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3-8b",
    "meta-llama/Llama-3.1-70B-Instruct": "llama-3-70b",
    "meta-llama/Llama-3.1-405B-Instruct": "llama-3.1-405b",
}
"""With theirs the plan is compared, and nothing else is done."""
MOST_ROWS = 260
"""What is planned: engines of more rows are not."""
DEVICES = {"H100": "h100", "B200": "b200"}


def main() -> None:
    """Measure, set side by side, write both files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results"
    here = _here()
    told: dict[str, Any] = {
        "what": "a plan's time, and its formulas beside published cases",
        "at": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": described(),
        "promised seconds": PROMISED,
        "CPU seconds of a plan": {name: _timed(text) for name, text in WORK.items()},
        "published": [_case(case) for case in CASES],
        "measured by others": _measured(),
        "steps on this machine, planned over measured": {
            name: round(one.planned / one.measured, 3) for name, one in here.items()
        },
        "what is advised, measured again: so many times as many tokens a second": _advised(here),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sizing.json").write_text(
        json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    _draw(folder / "sizing.svg", told)
    for name, seconds in told["CPU seconds of a plan"].items():
        print(f"{name}: median {seconds['median']:.3f} s, most {seconds['most']:.3f} s")


def _timed(text: str) -> dict[str, float]:
    """CPU seconds of a plan with ranges, played hours and all; facts and models are read already."""
    work, today, took = from_text(text), dt.datetime.now(dt.UTC).date(), []
    for _ in range(TIMES):
        facts = figures.load()
        begun = time.process_time()
        size(facts, work, today)
        took.append(time.process_time() - begun)
    return {"median": round(statistics.median(took), 4), "most": round(max(took), 4), "plans": TIMES}


def _case(case: Any) -> dict[str, Any]:
    return {
        "id": case.id,
        "what": case.what,
        "published": case.published,
        "computed": case.computed,
        "unit": case.unit,
        "ratio": round(case.ratio, 4),
        "band": [case.low, case.high],
        "within": case.within,
        "misses": case.misses,
    }


# -- what is measured here --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one step for so many rows."""

    rows: int
    planned: float
    measured: float


def _advised(here: Mapping[str, Step]) -> dict[str, dict[str, float]]:
    """Weights in 8 bits for 32, and more answers at a time: what the plan says they gain, and what did."""
    most = max(decode.ROWS)
    pairs = {
        **{
            f"15m: 8 bits for 32, {rows} at a time": (f"15m, fp32, {rows}", f"15m, int8, {rows}")
            for rows in decode.ROWS
        },
        **{
            f"{model}: {most} at a time for 1": (f"{model}, 1", f"{model}, {most}")
            for model in ("135m, int8", "15m, fp32", "15m, int8")
        },
    }
    return {
        words: _gains(here[f"{before} at a time"], here[f"{after} at a time"])
        for words, (before, after) in pairs.items()
    }


def _gains(before: Step, after: Step) -> dict[str, float]:
    rows = after.rows / before.rows
    return {
        "planned": round(rows * before.planned / after.planned, 2),
        "measured": round(rows * before.measured / after.measured, 2),
    }


def _here() -> dict[str, Step]:
    """A model of 135 M on the processors says how fast they are; others are planned with that, and run."""
    told = compute.measure(("135m",), 2048, SECONDS, Progress())
    facts = figures.load(as_device.facts(told))
    on, found = device(facts, as_device.HERE), dict[str, Step]()
    for name, weights in (("135m", "int8"), ("15m", "fp32"), ("15m", "int8")):
        for rows in decode.ROWS:
            shape, width = decode.SHAPES[name], decode.WIDTHS[weights]
            model = Shape(
                parameters=shape.parameters,
                weight_bytes=width * shape.parameters,
                kv_bytes=shape.cache(4) / decode.CONTEXT,
            )
            asked = Traffic(requests_a_day=1, tokens_in=decode.CONTEXT, tokens_out=0)
            planned = step_seconds(facts, on, model, asked, 1, rows)
            run = decode.on_onnx(shape, weights, SECONDS, cores(), rows)
            found[f"{name}, {weights}, {rows} at a time"] = Step(rows, planned, run.step)
    return found


# -- what others measured ---------------------------------------------------------------------------


def _measured() -> dict[str, Any]:
    """Efficiencies that follow from files of others; told apart, and nothing is fitted to them."""
    data = Path(os.environ.get("FREEHOLD_TEST_DATA", "")) / "9_infra"
    if not (data / "mlenergy_lm-arena-chat.dev.csv").is_file():
        print("SKIPPED: FREEHOLD_TEST_DATA holds no 9_infra", file=sys.stderr)
        return {}
    read, held_out = list(_steps(data, READ)), list(_steps(data, HELD_OUT))
    return {
        "decode: formula over measured, ML.ENERGY": _told(share for _, share in read),
        "the same by rows": {rows: _at(read, int(rows)) for rows in ("8", "32", "128", "256")},
        "decode as planned over measured, batches that were held out": _planned(held_out),
        "all-reduce of 1 MiB and more, formula over measured, Vidur": _told(_rings(data)),
    }


def _at(steps: list[tuple[float, float]], rows: int) -> dict[str, float]:
    near = [share for batch, share in steps if abs(batch / rows - 1) < 0.1]
    median = round(statistics.median(near), 3)
    return {"batches": len(near), "least": round(min(near), 3), "median": median, "most": round(max(near), 3)}


def _planned(steps: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    """With the share of its rows, and beside it with the one median of all that it took the place of."""
    facts = figures.load()
    planned = [(batch, share) for batch, share in steps if batch <= MOST_ROWS]
    return {
        "by rows": _told(share / decode_efficiency(facts, "", batch) for batch, share in planned),
        "one share for all": _told(share / 0.42 for _, share in planned),
    }


def _told(ratios: Iterable[float]) -> dict[str, float]:
    found = sorted(ratios)
    tenth = len(found) // 10
    off = statistics.median(max(ratio, 1 / ratio) for ratio in found)
    return {
        "rows": len(found),
        "median": round(statistics.median(found), 3),
        "10 %": round(found[tenth], 3),
        "90 %": round(found[-tenth - 1], 3),
        "off by, median": round(off, 3),
    }


def _steps(data: Path, models: Mapping[str, str]) -> Iterator[tuple[float, float]]:
    """(rows, the step of a batch by the roofline alone over the median time between two tokens)."""
    facts = figures.load()
    with (data / "mlenergy_lm-arena-chat.dev.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["model_id"] not in models or row["gpu_model"] not in DEVICES:
                continue
            if row["weight_precision"] != "bfloat16" or int(row["data_parallel"]) > 1:
                continue
            model, device = known_models()[models[row["model_id"]]], DEVICES[row["gpu_model"]]
            devices, batch = int(row["num_gpus"]), float(row["avg_batch_size"])
            step = formulas.decode_seconds(
                batch=batch,
                context=float(row["avg_output_len"]) / 2,
                kv=shape_of(model).kv_bytes,
                parameters=model.parameters,
                weight_bytes=2 * model.parameters,
                bandwidth=devices * facts(f"device.{device}.bandwidth_gb_s") * 1e9,
                tflops=devices * facts(f"device.{device}.tflops"),
            )
            yield batch, step * 1000 / float(row["median_itl_ms"])


def _rings(data: Path) -> Iterator[float]:
    link = figures.load()("device.a100.link_gb_s") * 1e9
    with (data / "vidur_allreduce_a100_dgx.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            size, ways = float(row["size"]), int(row["num_workers"])
            measured = float(row["time_stats.all_reduce.median"]) / 1000
            if size >= 2**20 and ways > 1 and row["devices_per_node"] == row["num_workers"]:
                yield formulas.all_reduce_seconds(size, ways, link) / measured


def _draw(path: Path, told: dict[str, Any]) -> None:
    rows = [
        Ratio(
            name=f"{case['id']}  {case['what']}",
            value=case["ratio"],
            low=case["band"][0],
            high=case["band"][1],
            said=f"{case['ratio']:.2f}" + (": a known miss" if case["misses"] else ""),
        )
        for case in told["published"]
    ]
    inside = sum(case["within"] for case in told["published"])
    said = f"formula over published, bands as agreed before; {inside} of {len(rows)} inside, misses are told"
    ratios(path, "The planner beside published cases", said, rows)


if __name__ == "__main__":
    main()
