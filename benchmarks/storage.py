"""Storage beside DLIO, fio and the loaders of others: utilization, bandwidth, cold load of weights.

    python benchmarks/storage.py FOLDER --peers PYTHON [--parts utilization] [--size "3 GB"] [--held "400 MB"]

FOLDER lies on the disk to measure and needs the size once; everything is removed at the end. PYTHON is of an
environment of its own with what we stand beside (nothing of it is a dependency of Freehold):

    python3 -m venv peers && peers/bin/pip install dlio-benchmark --no-deps
    peers/bin/pip install torch numpy hydra-core pydftracer==1.0.2 h5py mpi4py pandas psutil pillow \\
        safetensors runai-model-streamer fastsafetensors
    apt-get install fio openmpi-bin libopenmpi3

Our batches are loaded by torch's DataLoader, too: Freehold's extra `train`. What is not there is left out and
named. Caches are dropped before each cold run. Ours and theirs run in turns, another one first in every
round; how they are compared stands in storage_compared.py. Written to benchmarks/results/ unless --quick;
parts that are not measured keep their place there on the same machine.

A disk whose speed changes from minute to minute says little of utilization. Hold it below its slowest:

    systemd-run --scope -p IOReadBandwidthMax="/dev/sda 400M" python benchmarks/storage.py … --held "400 MB"

or, with control groups of the first version, by blkio.throttle.read_bps_device of a group it is put into.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).parent))
from storage_compared import HOW, STEPS, beside_others, compared, write

from freehold.sizing.bench import cache, direct, laying, loaders, loading, room, training
from freehold.sizing.bench.laying import Laid
from freehold.sizing.bench.places import Folder
from freehold.sizing.bench.profiles import PROFILES, Profile
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import machine
from freehold.sizing.bench.training import Wanted
from freehold.spec.sizes import memory_bytes

READERS = 4
MOST = 600
"""Steps of an epoch: more would only take longer."""

# run by the peers' Python: one cold load, seconds on the last line
LOADERS = {
    "safetensors": "from safetensors.torch import load_file\nfound = load_file(path)\n"
    "touched = sum(float(t.view(-1)[::1024].sum()) for t in found.values())",
    "torch.load (mmap)": "found = torch.load(path, mmap=True, weights_only=True)\n"
    "touched = sum(float(t.view(-1)[::1024].sum()) for t in found.values())",
    "run:ai streamer": "from runai_model_streamer import SafetensorsStreamer\n"
    "with SafetensorsStreamer() as streamer:\n    streamer.stream_file(path)\n"
    "    touched = sum(float(t.view(-1)[::1024].sum()) for _, t in streamer.get_tensors())",
    "fastsafetensors": "from fastsafetensors import SafeTensorsFileLoader, SingleGroup\n"
    "loader = SafeTensorsFileLoader(SingleGroup(), torch.device('cpu'), nogds=True)\n"
    "loader.add_filenames({0: [path]})\nbuffer = loader.copy_files_to_device()\n"
    "touched = sum(float(buffer.get_tensor(n).view(-1)[::1024].sum()) for n in loader.get_keys())",
}


def main() -> int:
    asked = _asked()
    here = machine()
    told = {
        "load before": round(here.load, 2),
        "size": asked.bytes,
        "runs": asked.runs,
        "readers": READERS,
        "disk held at, bytes a second": memory_bytes(asked.held) if asked.held else None,
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
    }
    results: dict[str, Any] = {
        "machine": {"cpu": here.cpu, "cores": here.cores, "kernel": platform.release()},
        "asked": dict.fromkeys(asked.parts, told),
    }
    with room.scratch(asked.folder) as folder:
        for part in asked.parts:
            results[part] = PARTS[part](folder, asked)
    print(json.dumps(results, indent=2))
    if not asked.quick:
        write(beside_others(results))
    return 0 if all(one["held"] for one in compared(results).values()) else 1


def _asked() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", default="", help="a Python that has them")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--size", default="3 GB")
    parser.add_argument("--held", default="", help="bytes a second that the disk is held at by you")
    parser.add_argument(
        "--runs", type=int, default=6, help="rounds after a warm-up, for bandwidth twice as many"
    )
    parser.add_argument("--quick", action="store_true", help="two runs of little; nothing is written")
    asked = parser.parse_args()
    asked.bytes = memory_bytes(asked.size)
    if asked.quick:
        asked.runs, asked.bytes = 2, min(asked.bytes, 1_100_000_000)
    return asked


# -- accelerator utilization, beside DLIO -----------------------------------------------------------


PART = 16


def _part(name: str) -> Profile:
    """A sixteenth of the bytes in a sixteenth of the time: sixteen times the steps from the same data."""
    job = PROFILES[name]
    return replace(
        job, record=job.record // PART, deviation=job.deviation // PART, compute=job.compute / PART
    )


JOBS = {
    "unet3d-h100, in sixteenths": _part("unet3d-h100"),
    "unet3d-a100, in sixteenths": _part("unet3d-a100"),
    "cosmoflow-a100, npz": replace(PROFILES["cosmoflow-a100"], layout="npz"),
}


def utilization(folder: Path, asked: Any) -> dict[str, Any]:
    """Percent, ours and DLIO's, on the same files: cold from the disk, and from memory.

    DLIO's twice, of the same runs: as it says, and its steps alone, without the lines it writes between them.
    """
    found = {}
    with room.scratch(room.MEMORY) as memory:
        places = {"cold": folder, "memory": memory}
        for name, job in JOBS.items():
            laid = {how: _laid(place, job, asked) for how, place in places.items()}
            found[name] = _in_turns(places, laid, job, asked)
            print(f"{name}: {_medians(found[name])}", file=sys.stderr)
    shutil.rmtree(folder / "train", ignore_errors=True)
    return found


def _laid(place: Path, job: Profile, asked: Any) -> Laid:
    shutil.rmtree(place / "train", ignore_errors=True)
    files = min(laying.files_for(job, asked.bytes), MOST * job.batch) // job.batch * job.batch
    return laying.lay(Folder(place), job, "npz", files, 1, Progress())


def _in_turns(
    places: dict[str, Path], laid: dict[str, Laid], job: Profile, asked: Any
) -> dict[str, list[float]]:
    """So that both see the same disk; the first round warms up."""
    turns: dict[str, list[float]] = {f"{who} {how}": [] for who in ("ours", "DLIO") for how in HOW}
    steps: dict[str, list[float]] = {f"{STEPS} {how}": [] for how in HOW}
    for number in range(asked.runs + 1):
        for turn in _rotated(list(turns), number):
            who, how = turn.split()
            if who == "ours":
                turns[turn].append(_ours(places[how], job, laid[how], number, how))
            elif both := _dlio(places[how], job, laid[how], asked, how):
                turns[turn].append(both[0])
                steps[f"{STEPS} {how}"].append(both[1])
    return {who: values[1:] for who, values in (turns | steps).items() if values}


def _medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {who: round(median(values), 2) for who, values in found.items()}


def _ready(folder: Path, laid: Laid, how: str) -> None:
    """Nothing to do where the files lie in memory. (The page cache is none: a kernel may take it back.)"""
    if how == "cold":
        assert cache.make_cold([folder / name for name in laid.files]) < cache.COLD


def _ours(folder: Path, job: Profile, laid: Laid, number: int, how: str) -> float:
    wanted = Wanted(
        job=job,
        layout="npz",
        accelerators=1,
        readers=READERS,
        steps=0,
        runs=0,
        seed=number,
        loader=loaders.TORCH,
    )
    _ready(folder, laid, how)
    return (
        100 * training.once(Folder(folder), laid, wanted, Progress(), number, cold=how == "cold").utilization
    )


def _dlio(folder: Path, job: Profile, laid: Laid, asked: Any, how: str) -> tuple[float, float] | None:
    """One epoch of DLIO's own, in a process of its own: what it says, and by its steps; None without DLIO."""
    if not asked.peers or not _has(asked.peers, "dlio_benchmark"):
        return None
    _ready(folder, laid, how)
    # it imports TensorFlow for a profiler that is not used here, even where torch reads: an empty one will do
    (folder / "tensorflow.py").touch()
    (folder / "valid").mkdir(exist_ok=True)
    settings = {
        "framework": "pytorch",
        "workflow.generate_data": False,
        "workflow.train": True,
        "workflow.checkpoint": False,
        "workflow.evaluation": False,
        "dataset.data_folder": folder,
        "dataset.format": "npz",
        "dataset.num_files_train": len(laid.files),
        "dataset.num_samples_per_file": 1,
        "dataset.num_subfolders_train": 0,
        "dataset.num_subfolders_eval": 0,
        "dataset.record_length": job.record,
        "dataset.record_length_resize": job.resized or 1024,
        "reader.data_loader": "pytorch",
        "reader.batch_size": job.batch,
        "reader.read_threads": READERS,
        "reader.file_shuffle": "seed",
        "reader.sample_shuffle": "seed",
        "train.epochs": 1,
        "train.computation_time": job.compute,
        "output.folder": folder / "dlio",
    }
    words = [f"++workload.{name}={value}" for name, value in settings.items()]
    told = folder / "dlio"
    with (folder / "dlio.txt").open("w") as lines:  # into a pipe, whoever reads it would be part of its steps
        _run([asked.peers, "-m", "dlio_benchmark.main", *words], cwd=folder, path=folder, said=lines)
    found = _said(told), _steps(told)
    shutil.rmtree(told)
    return found


def _said(told: Path) -> float:
    """Percent, by DLIO's own summary."""
    summary = json.loads(next(told.rglob("summary.json")).read_text())
    return float(summary["metric"]["train_au_mean_percentage"])


def _steps(told: Path) -> float:
    """Percent computed of what DLIO's steps took together, by its own record of them, without the first."""
    epoch = json.loads(next(told.rglob("0_output.json")).read_text())["1"]
    (took,), (computed,) = epoch["proc"].values(), epoch["compute"].values()
    return float(100 * sum(computed[1:]) / sum(took[1:]))


def _has(python: str, module: str) -> bool:
    ran = subprocess.run([python, "-c", f"import {module}"], capture_output=True)
    return ran.returncode == 0


def _run(
    command: Sequence[str], cwd: Path | None = None, path: Path | None = None, said: TextIO | None = None
) -> str:
    """What it printed, into `said` where there is one; `path` is searched for Python modules first.

    Raises RuntimeError when it fails.
    """
    mpi = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    quiet = {"DFTRACER_ENABLE": "0", "DLIO_PROFILER_ENABLE": "0"}
    env = {**os.environ, **mpi, **quiet, **({"PYTHONPATH": str(path)} if path else {})}
    ran = subprocess.run(
        command,
        stdout=said or subprocess.PIPE,
        stderr=said or subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=env,
        timeout=1800,
    )
    printed = Path(said.name).read_text() if said else ran.stdout + ran.stderr
    if ran.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{printed[-4000:]}")
    return printed


# -- bandwidth, beside fio --------------------------------------------------------------------------


def bandwidth(folder: Path, asked: Any) -> dict[str, Any]:
    """GB/s of whole files read into memory by so many readers, ours and fio's, cold."""
    job = replace(PROFILES["unet3d-h100"], layout="raw", compute=0.0, resized=0, deviation=0)
    laid = laying.lay(Folder(folder), job, "raw", max(8, laying.files_for(job, asked.bytes)), 1, Progress())
    found: dict[str, Any] = {}
    for readers in (1, 4):
        wanted = Wanted(
            job=replace(job, batch=1), layout="raw", accelerators=1, readers=readers, steps=0, runs=0, seed=1
        )
        turns: dict[str, list[float]] = {"ours": [], "fio": []}
        for number in range(2 * asked.runs + 1):
            for who in _rotated(list(turns), number):
                rate = (
                    _fio_files(folder, laid, readers)
                    if who == "fio"
                    else _brings(folder, laid, wanted, number)
                )
                turns[who] += [] if rate is None or not number else [rate]
        found[f"{readers} reader{'s' * (readers > 1)}"] = {
            who: values for who, values in turns.items() if values
        }
        print(f"bandwidth, {readers} readers: {_medians(found[list(found)[-1]])}", file=sys.stderr)
    shutil.rmtree(folder / "train")
    return found


def _brings(folder: Path, laid: Laid, wanted: Wanted, number: int) -> float:
    """GB/s of what readers had not ready when the clock began."""
    return training.once(Folder(folder), laid, wanted, Progress(), number).brings / 1e9


def _fio_files(folder: Path, laid: Laid, readers: int) -> float | None:
    """The same files through the cache, shared out among as many jobs, a mebibyte at a time.

    Without hints to the kernel: our readers and DLIO's give none either.
    """
    if shutil.which("fio") is None:
        return None
    cache.make_cold([folder / name for name in laid.files])
    shares = [laid.files[number::readers] for number in range(readers)]
    words = []
    for number, share in enumerate(shares):
        names = ":".join(str(folder / name) for name in share)
        words += [f"--name=r{number}", f"--filename={names}", "--file_service_type=sequential"]
    return _fio("--direct=0", "--invalidate=0", "--fadvise_hint=0", "--bs=1M", "--thread", *words)


def _fio(*words: str) -> float:
    """GB/s of all jobs together."""
    common = ["--rw=read", "--output-format=json", "--group_reporting"]
    if not any(word.startswith("--ioengine=") for word in words):
        common.append("--ioengine=psync")
    # options before the first job's name are everybody's
    said = json.loads(_run(["fio", *common, *words]))
    return float(said["jobs"][0]["read"]["bw_bytes"]) / 1e9


def _rotated(names: list[str], number: int) -> list[str]:
    """Another one is first in every round: a disk is not the same after somebody else."""
    first = number % len(names)
    return names[first:] + names[:first]


# -- cold load of weights ---------------------------------------------------------------------------


def cold_load(folder: Path, asked: Any) -> dict[str, list[float]]:
    """GB/s from cold into memory, each way in turns; fio's direct reads are the disk's own speed."""
    path = folder / "weights.safetensors"
    size = loading.write_weights(path, min(asked.bytes, 2_000_000_000) // 4, 4, 1)
    ways: dict[str, Callable[[], float | None]] = {
        **{name: partial(_fio_direct, path, how) for name, how in DIRECT.items()},
        **{f"ours, {way}": _our_way(path, way, size) for way in loading.WAYS},
    }
    pickled = folder / "weights.pt"
    for name in LOADERS:
        ways[name] = _their_way(asked.peers, name, pickled if "torch.load" in name else path, size)
    if asked.peers and _has(asked.peers, "torch, safetensors"):
        _run([asked.peers, "-c", _PICKLE.format(path=str(path), to=str(pickled))])
    found: dict[str, list[float]] = {}
    for number in range(asked.runs + 1):
        for name in _rotated(list(ways), number):
            for one in (path, pickled):
                if one.exists():
                    assert cache.make_cold([one]) < cache.COLD
            rate = ways[name]()
            if number and rate is not None:
                found.setdefault(name, []).append(rate)
    print(f"cold load: {_medians(found)}", file=sys.stderr)
    return found


_PICKLE = "import torch; from safetensors.torch import load_file; torch.save(load_file({path!r}), {to!r})"


DIRECT = {
    "fio, direct": ("--bs=1M", "--ioengine=libaio", "--iodepth=16"),
    "fio, direct, as ours": (f"--bs={direct.PIECE}", f"--numjobs={loading.THREADS}", "--thread"),
}
"""How fio reads past the cache: as it is usually asked to, and pieces as large as ours by as many threads.

The quicker of a round is what the disk can do: ours stands beside nothing less."""


def _fio_direct(path: Path, how: Sequence[str]) -> float | None:
    if shutil.which("fio") is None:
        return None
    jobs = ["--name=r", f"--filename={path}", "--readonly"]
    if "--thread" in how:  # each reads its own share
        jobs += [f"--size={_share(path)}", f"--offset_increment={_share(path)}"]
    return _fio("--direct=1", *how, *jobs)


def _share(path: Path) -> int:
    """Bytes of one of as many threads as there are, in whole pieces."""
    return path.stat().st_size // loading.THREADS // direct.PIECE * direct.PIECE


def _our_way(path: Path, way: str, size: int) -> Callable[[], float]:
    load = loading.loader(way, size)

    def run() -> float:
        began = time.perf_counter()
        load(path)
        return size / 1e9 / (time.perf_counter() - began)

    return run


def _their_way(python: str, name: str, path: Path, size: int) -> Callable[[], float | None]:
    """In a process of its own; what it imports is not counted."""
    there = bool(python) and _has(python, "torch") and _has(python, _module(name))
    if not there:
        print(f"LEFT OUT: {name}", file=sys.stderr)
    said = (
        f"import time, torch\nimport {_module(name)}\npath = {str(path)!r}\nbegan = time.perf_counter()\n"
        f"{LOADERS[name]}\nprint(time.perf_counter() - began)"
    )

    def run() -> float | None:
        if not there:
            return None
        return size / 1e9 / float(_run([python, "-c", said]).split()[-1])

    return run


def _module(name: str) -> str:
    return {
        "safetensors": "safetensors.torch",
        "torch.load (mmap)": "torch",
        "run:ai streamer": "runai_model_streamer",
        "fastsafetensors": "fastsafetensors",
    }[name]


PARTS: dict[str, Callable[[Path, Any], dict[str, Any]]] = {
    "utilization": utilization,
    "bandwidth": bandwidth,
    "cold load": cold_load,
}


if __name__ == "__main__":
    sys.exit(main())
