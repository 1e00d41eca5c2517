"""Reading for training: formats others can read, batches in order, slower places that rank lower."""

from __future__ import annotations

import io
import os
import signal
import sys
import tarfile
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from slow_place import DeadlyFolder, MarkedFolder, SlowFolder

from freehold.sizing.bench import laying, loaders, training
from freehold.sizing.bench.laying import Laid
from freehold.sizing.bench.layouts import LAYOUTS
from freehold.sizing.bench.loader import Loader, ReadFailed
from freehold.sizing.bench.own_job import NoSteps, laid, of_run
from freehold.sizing.bench.places import Folder
from freehold.sizing.bench.profiles import PROFILES, NoSuchProfile, Profile, by_the_rules, profile
from freehold.sizing.bench.progress import Progress, Told
from freehold.sizing.bench.reader import Brought, Piece, Way
from freehold.sizing.bench.training import Wanted

if TYPE_CHECKING:
    from freehold.sizing.bench.torch_loader import TorchLoader

SMALL = Profile(
    name="small", layout="raw", per_file=1, record=20_000, batch=4, compute=0.002, least=0.9, resized=100
)


def records(count: int, length: int) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.integers(0, 256, length, dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_gives_back_what_was_put_in(name: str) -> None:
    layout = LAYOUTS[name]
    per_file = 1 if name in ("npz", "raw") else 150
    file = io.BytesIO()
    layout.write(file, records(per_file, 1000))
    size = layout.read(io.BytesIO(file.getvalue()), 0, per_file, 1000)
    assert size == pytest.approx(1000 * per_file, rel=0.03)  # an image is a rectangle


@pytest.mark.parametrize("name", ["tfrecord", "webdataset", "parquet", "huggingface"])
def test_some_records_out_of_the_middle_of_a_file(name: str) -> None:
    file = io.BytesIO()
    LAYOUTS[name].write(file, records(150, 1000))
    assert LAYOUTS[name].read(io.BytesIO(file.getvalue()), 70, 33, 1000) == 33_000


@pytest.mark.parametrize("name", ["tfrecord", "webdataset"])
def test_a_reader_holds_a_record_at_a_time_however_many_it_reads(tmp_path: Path, name: str) -> None:
    """So that a set may be larger than memory."""
    layout, length = LAYOUTS[name], 50_000
    with (tmp_path / "file").open("wb") as file:
        layout.write(file, records(100, length))
    with (tmp_path / "file").open("rb") as file:
        tracemalloc.start()
        try:
            assert layout.read(file, 0, 100, length) == 100 * length
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 10 * length


def test_other_peoples_readers_read_what_we_write(tmp_path: Path) -> None:
    given = records(3, 1024)
    for name in ("npz", "webdataset", "parquet", "huggingface"):
        with (tmp_path / name).open("wb") as file:
            LAYOUTS[name].write(file, given if name != "npz" else given[:1])
    assert np.load(tmp_path / "npz")["x"].tobytes() == given[0].tobytes()
    with tarfile.open(tmp_path / "webdataset") as archive:
        found = [archive.extractfile(member) for member in archive]
        assert [file.read() for file in found if file] == [one.tobytes() for one in given]
    assert pq.read_table(tmp_path / "parquet")["x"].to_pylist() == [one.tobytes() for one in given]
    stream = pa.ipc.open_stream(pa.memory_map(str(tmp_path / "huggingface")))
    assert stream.read_all()["x"].to_pylist() == [one.tobytes() for one in given]


def test_every_accelerator_gets_equally_many_whole_batches_and_another_seed_another_order() -> None:
    laid = Laid(files=tuple("abcdefghi"), per_file=5, size=45)
    one, other = (laying.order(laid, batch=4, accelerators=2, steps=0, seed=seed) for seed in (1, 2))
    assert [len(rank) for rank in one] == [5, 5]
    assert all(sum(piece.count for piece in batch) == 4 for rank in one for batch in rank)
    seen = [piece.file for rank in one for batch in rank for piece in batch]
    assert set(seen) <= set("abcdefghi")
    assert one != other
    assert one == laying.order(laid, batch=4, accelerators=2, steps=0, seed=1)


def test_a_small_set_is_gone_through_again_until_there_are_steps_enough() -> None:
    laid = Laid(files=("a", "b"), per_file=3, size=6)
    (batches,) = laying.order(laid, batch=4, accelerators=1, steps=9, seed=1)
    assert len(batches) >= 9


def test_records_of_uneven_length_still_have_the_mean_they_should(tmp_path: Path) -> None:
    job = Profile(
        name="x", layout="raw", per_file=1, record=50_000, deviation=9_000, batch=2, compute=0, least=0.9
    )
    laid = laying.lay(Folder(tmp_path), job, "raw", 20, 1, Progress())
    sizes = [path.stat().st_size for path in (tmp_path / "train").iterdir()]
    assert sum(sizes) == laid.size == pytest.approx(20 * 50_000, rel=0.01)
    assert len(set(sizes)) > 10


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("record", [90, 3_000])
def test_no_layout_takes_more_of_the_disk_than_was_asked_for_beforehand(
    tmp_path: Path, name: str, record: int
) -> None:
    said = Profile(name="x", layout="raw", per_file=40, record=record, batch=2, compute=0, least=0.9)
    job = laying.as_laid(said, name)
    size = 60 * record
    laying.lay(Folder(tmp_path), job, name, laying.files_for(job, size), 1, Progress())
    taken = sum(path.stat().st_blocks * 512 for path in (tmp_path / "train").iterdir())
    assert size <= taken <= laying.on_disk(job, size)


@pytest.mark.parametrize("name", ["npz", "raw"])
def test_a_format_of_one_record_a_file_is_laid_so_whatever_the_job_says(tmp_path: Path, name: str) -> None:
    said = Profile(name="x", layout="tfrecord", per_file=25, record=900, batch=5, compute=0, least=0.9)
    job = laying.as_laid(said, name)
    laid = laying.lay(Folder(tmp_path), job, name, laying.files_for(job, 45_000), 1, Progress())
    wanted = Wanted(job=job, layout=name, accelerators=1, readers=1, steps=2, runs=1, seed=1)
    run = training.measure(Folder(tmp_path), laid, wanted, Progress()).runs[0]
    assert run.steps == 10
    assert run.size == 45_000


def way(place: Folder, **other: object) -> Way:
    settings = {"place": place, "layout": "raw", "length": 1, "resized": 0, "forget": False}
    return Way(**(settings | other))  # type: ignore[arg-type]


def loader_by(name: str, way: Way, readers: int) -> Loader | TorchLoader:
    if name == loaders.TORCH:
        pytest.importorskip("torch", reason="needs the extra `train`")
    return loaders.loader_of(name, way, readers)


@pytest.mark.parametrize("name", loaders.LOADERS)
def test_batches_arrive_in_order_whoever_reads_them(tmp_path: Path, name: str) -> None:
    for number in range(9):
        (tmp_path / str(number)).write_bytes(bytes(number + 1))
    with loader_by(name, way(Folder(tmp_path)), readers=3) as loader:
        brought = list(loader.batches([[Piece(str(n), 0, 1)] for n in range(9)]))
    assert [one.size for one in brought] == list(range(1, 10))


@pytest.mark.parametrize("name", loaders.LOADERS)
def test_a_batch_takes_in_all_its_pieces_and_every_file_is_read_by_another_process(
    tmp_path: Path, name: str
) -> None:
    for number in range(6):
        (tmp_path / str(number)).write_bytes(bytes(100 + number))
    batches = [[Piece(str(n), 0, 1), Piece(str(n + 1), 0, 1)] for n in (0, 2, 4)]
    with loader_by(name, way(MarkedFolder(tmp_path), resized=10), readers=2) as loader:
        assert [one.size for one in loader.batches(batches)] == [201, 205, 209]
    readers = {path.name for path in tmp_path.glob("up-*")}
    assert len(readers) == 2
    assert f"up-{os.getpid()}" not in readers


@pytest.mark.parametrize("name", loaders.LOADERS)
def test_whoever_wants_no_more_leaves_no_reader_behind(tmp_path: Path, name: str) -> None:
    for number in range(9):
        (tmp_path / str(number)).write_bytes(b"1")
    with loader_by(name, way(MarkedFolder(tmp_path)), readers=2) as loader:
        for _ in loader.batches([[Piece(str(n), 0, 1)] for n in range(9)]):
            break
    readers = [int(path.name.removeprefix("up-")) for path in tmp_path.glob("up-*")]
    assert readers
    patience = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in readers):
        assert time.monotonic() < patience, "somebody still reads"
        time.sleep(0.05)


@pytest.mark.parametrize("name", loaders.LOADERS)
def test_every_reader_is_up_before_the_first_batch_is_there(tmp_path: Path, name: str) -> None:
    """Else those that still start take processors from those that read, in steps that count."""
    (tmp_path / "0").write_bytes(b"1")
    with loader_by(name, way(MarkedFolder(tmp_path)), readers=3) as loader:
        for _ in loader.batches([[Piece("0", 0, 1)]]):
            assert len(list(tmp_path.glob("up-*"))) == 3


def test_torch_loads_where_it_can_and_who_asks_for_it_where_it_cannot_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    monkeypatch.setattr(loaders, "MEMORY", tmp_path)
    assert loaders.chosen(None, [SMALL], 1, 4) == loaders.TORCH
    assert loaders.chosen(loaders.OWN, [SMALL], 1, 4) == loaders.OWN
    large = replace(SMALL, resized=1 << 50)
    assert loaders.chosen(None, [SMALL, large], 1, 4) == loaders.OWN
    with pytest.raises(loaders.NoTorchLoader, match="cannot hand batches over") as refused:
        loaders.chosen(loaders.TORCH, [large], 1, 4)
    assert str(tmp_path) in refused.value.why


def test_where_torch_does_not_load_our_own_readers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "freehold.sizing.bench.torch_loader", None)
    assert loaders.chosen(None, [SMALL], 1, 4) == loaders.OWN
    with pytest.raises(loaders.NoTorchLoader) as refused:
        loaders.chosen(loaders.TORCH, [SMALL], 1, 4)
    assert "extra `train`" in refused.value.why
    assert "--loader own" in refused.value.hint


class Ending:
    """A loader whose readers take a second to end."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Ending:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def batches(self, wanted: Sequence[object]) -> Iterator[Brought]:
        yield from [Brought(size=1, seconds=0, cpu=0)] * len(wanted)
        time.sleep(1)


def test_readers_that_take_their_time_to_end_keep_no_accelerator_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(SMALL, compute=0.01)
    laid = laying.lay(Folder(tmp_path), job, "raw", 16, 1, Progress())
    wanted = Wanted(job=job, layout="raw", accelerators=1, readers=1, steps=8, runs=1, seed=1)
    monkeypatch.setattr(training, "loader_of", Ending)
    assert training.once(Folder(tmp_path), laid, wanted, Progress()).seconds < 1


def test_whoever_computes_does_not_wait_for_a_reader_to_take_a_question(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"1")
    many = [Piece("0", 0, 1)] * 100_000  # more than a pipe holds
    with Loader(way(Folder(tmp_path)), readers=1, ahead=2) as loader:
        (reader,) = loader._processes
        os.kill(int(reader.pid or 0), signal.SIGSTOP)
        try:
            loader._ask([many], iter([0]), deque())
        finally:
            os.kill(int(reader.pid or 0), signal.SIGCONT)
        assert loader._taken(loader._links[0]).size == 100_000


def test_a_reader_of_torchs_that_is_killed_is_told(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"1")
    loader = loader_by(loaders.TORCH, way(MarkedFolder(tmp_path)), readers=1)

    def read() -> None:
        for _ in loader.batches([[Piece("0", 0, 1)]] * 9):
            (reader,) = tmp_path.glob("up-*")
            with suppress(ProcessLookupError):  # a batch that was under way may still arrive
                os.kill(int(reader.name.removeprefix("up-")), signal.SIGKILL)

    with pytest.raises(ReadFailed, match="could not read"), loader:
        read()


def test_a_reader_that_dies_before_it_is_up_is_told_and_nobody_is_left(tmp_path: Path) -> None:
    loader = Loader(way(DeadlyFolder(tmp_path)), readers=2)
    with pytest.raises(ReadFailed, match="could not read"), loader:
        pass
    assert not any(process.is_alive() for process in loader._processes)


@pytest.mark.parametrize("name", loaders.LOADERS)
def test_a_reader_that_cannot_read_says_why(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(ReadFailed) as failed,
        loader_by(name, way(Folder(tmp_path)), readers=1) as loader,
    ):
        list(loader.batches([[Piece("nowhere", 0, 1)]]))
    assert "FileNotFoundError" in failed.value.why


@pytest.mark.parametrize("name", loaders.LOADERS)
def test_a_slow_place_keeps_the_accelerator_less_busy_than_the_same_data_from_memory(
    tmp_path: Path, name: str
) -> None:
    if name == loaders.TORCH:
        pytest.importorskip("torch", reason="needs the extra `train`")
    laid = laying.lay(Folder(tmp_path), SMALL, "raw", 16, 1, Progress())
    wanted = Wanted(job=SMALL, layout="raw", accelerators=1, readers=1, steps=4, runs=1, seed=1, loader=name)
    told: list[Told] = []
    progress = Progress(told.append)
    progress.expect(2 * training.expected(wanted, laid))
    quick = training.measure(Folder(tmp_path), laid, wanted, progress, cold=False)
    slow = training.measure(SlowFolder(tmp_path, 0.05), laid, wanted, progress)
    assert slow.utilization.mean < min(0.05, quick.utilization.mean)
    assert slow.rate.mean < quick.rate.mean
    assert slow.runs[0].steps == quick.runs[0].steps >= 4
    assert 0 < slow.runs[0].brings < 20_000 / 0.05 * 1.01
    assert told[-1].done == pytest.approx(1)


def test_two_accelerators_step_together(tmp_path: Path) -> None:
    laid = laying.lay(Folder(tmp_path), SMALL, "raw", 16, 1, Progress())
    wanted = Wanted(job=SMALL, layout="raw", accelerators=2, readers=1, steps=2, runs=1, seed=1)
    run = training.measure(Folder(tmp_path), laid, wanted, Progress()).runs[0]
    assert run.steps == 2
    assert run.size == 16 * 20_000


def test_profiles_take_in_what_is_published_of_them() -> None:
    published = {"unet3d-h100": 2.859, "unet3d-a100": 1.452, "resnet50-h100": 0.184, "cosmoflow-a100": 0.359}
    for name, rate in published.items():
        found = PROFILES[name]
        assert found.rate * found.least / 1e9 == pytest.approx(rate, rel=0.01)
    with pytest.raises(NoSuchProfile):
        profile("unet4d")


def test_the_rules_ask_for_five_times_the_memory_and_for_five_hundred_steps() -> None:
    job = PROFILES["unet3d-h100"]
    assert by_the_rules(job, 1, 10**9) == 500 * 7 * job.record
    assert by_the_rules(job, 1, 2 * 10**12) >= 10**13


def test_a_run_of_your_own_becomes_a_job() -> None:
    told = {
        "run": "run:12",
        "metrics": {"curve": [["0", "2.1", "1", "1e-4"], ["49", "0.3", "1", "0"]], "seconds": "25.0"},
        "spec": {"settings": {"batch_size": "16"}},
    }
    job = of_run(told, row=1500)
    assert (job.name, job.batch, job.record) == ("run:12", 16, 1500)
    assert job.compute == pytest.approx(0.5)
    with pytest.raises(NoSteps, match="run:12"):
        of_run(told)
    measured = told["metrics"] | {"step_seconds": "0.250000", "row_bytes": "731"}
    own = of_run(told | {"metrics": measured})
    assert (own.compute, own.record) == (0.25, 731)
    brief = laid(own, accelerators=2, readers=4)
    assert brief.most == 20 * 16 * 2 * 731
    assert laying.files_for(brief, brief.most) >= 8
    assert laying.files_for(laid(own, 1, 1, size=50_000), 50_000) >= 8
    assert laid(own, 1, 1, size=10**9).per_file == 4096
    for missing in ({"metrics": {}}, {"spec": {}}):
        with pytest.raises(NoSteps, match="run:12"):
            of_run(told | missing, row=1500)
