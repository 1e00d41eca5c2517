"""Several machines measure one place at once: each is a thread here, with a client's number of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from s3_server import S3Server

from freehold.errors import Failure
from freehold.sizing import facts as figures
from freehold.sizing.bench import loaders, storage, together, told, verdict
from freehold.sizing.bench.profiles import PROFILES, Profile
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.shown import text
from freehold.sizing.bench.storage import Asked, Report
from freehold.sizing.bench.together import Client, Meeting, NameTaken, NobodyCame, NoClient, OtherOptions
from freehold.sizing.bench.verdict import Cluster, Measured

SMALL = Profile(
    name="small", layout="tfrecord", per_file=50, record=2_000, batch=20, compute=0.002, least=0.9
)


def each(where: str, clients: int, work: Callable[[Meeting], Any], patience: float = 30) -> list[Any]:
    """What became of every client's work."""

    def one(number: int) -> Any:
        client = Client(name="tuesday", number=number, clients=clients)
        try:
            with Meeting(where, client, patience) as meeting:
                return work(meeting)
        except Failure as failure:
            return failure

    with ThreadPoolExecutor(clients) as machines:
        return list(machines.map(one, range(1, clients + 1)))


def test_everybody_hears_everybody_and_nothing_is_left(tmp_path: Path) -> None:
    heard = each(str(tmp_path), 3, lambda meeting: (meeting.meet(meeting.client.number), meeting.meet()))
    assert heard == [((1, 2, 3), (None, None, None))] * 3
    assert list(tmp_path.iterdir()) == []


def test_ever_more_read_at_once_and_what_they_bring_is_added_up(tmp_path: Path) -> None:
    brought: list[tuple[int, int]] = []

    def work(meeting: Meeting) -> object:
        def read(run: int) -> float:
            brought.append((meeting.client.number, run))
            return 10.0**meeting.client.number + run

        return together.curve(meeting, read, runs=3)

    told_all = each(str(tmp_path), 3, work)
    assert told_all == [((1, 11.0), (2, 112.0), (3, 1113.0))] * 3
    assert sorted(brought) == sorted(
        [(1, n) for n in range(3)] * 3 + [(2, n) for n in range(3)] * 2 + [(3, n) for n in range(3)]
    )


def test_who_breaks_off_is_not_waited_for(tmp_path: Path) -> None:
    def work(meeting: Meeting) -> object:
        if meeting.client.number == 2:
            raise NoClient
        return meeting.meet()

    waited, broke = each(str(tmp_path), 2, work, patience=10_000)
    assert isinstance(waited, NobodyCame)
    assert "client 2 of `tuesday`" in waited.what
    assert isinstance(broke, NoClient)


def test_who_never_comes_is_waited_for_as_long_as_was_said(tmp_path: Path) -> None:
    (tmp_path / "freehold-together-tuesday").mkdir()
    (tmp_path / "freehold-together-tuesday" / "1-2").write_text("[1")  # still being written
    with (
        pytest.raises(NobodyCame, match="client 2 of `tuesday`"),
        Meeting(str(tmp_path), Client(name="tuesday", number=1, clients=2), patience=0.1) as meeting,
    ):
        meeting.meet()


def test_machines_that_measure_different_things_are_told(tmp_path: Path) -> None:
    said = each(str(tmp_path), 2, lambda meeting: meeting.agree({"readers": meeting.client.number}))
    assert all(isinstance(one, OtherOptions) for one in said)


def test_machines_that_load_in_different_ways_are_told(tmp_path: Path) -> None:
    """Nobody typed that: it is what each of them has installed."""

    def one(meeting: Meeting) -> object:
        loader = loaders.LOADERS[meeting.client.number - 1]
        return meeting.agree(storage._plain(Asked(jobs=(SMALL,), loader=loader)))

    said = each(str(tmp_path), 2, one)
    assert all(isinstance(refused, OtherOptions) and "--loader own" in refused.hint for refused in said)


def test_a_name_that_a_killed_one_left_is_not_taken_again(tmp_path: Path) -> None:
    client = Client(name="tuesday", number=1, clients=2)
    with suppress(NobodyCame), Meeting(str(tmp_path), client, patience=0) as meeting:
        meeting.meet()
    with pytest.raises(NameTaken, match="tuesday"), Meeting(str(tmp_path), client):
        pass


@pytest.mark.parametrize("which", ["", "2", "0/2", "3/2", "1/1", "2/3/4", "a/b"])
def test_what_is_no_client_of_several_is_refused(which: str) -> None:
    assert together.client("tuesday", "2/3") == Client(name="tuesday", number=2, clients=3)
    with pytest.raises(NoClient):
        together.client("tuesday", which)


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 41])
def test_what_is_no_name_of_a_folder_is_refused(name: str) -> None:
    with pytest.raises(NoClient) as refused:
        together.client(name, "2/3")
    assert name[:40] in refused.value.why


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


def test_they_meet_in_a_bucket_too(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.let_in(monkeypatch)
    url = server.new_bucket("below")
    assert each(url, 2, lambda meeting: meeting.meet(meeting.client.number)) == [(1, 2)] * 2
    assert [path for path in server.newest.rglob("*") if path.is_file()] == []


# -- the whole of it --------------------------------------------------------------------------------

ASKED = Asked(jobs=(SMALL,), size=200_000, readers=1, runs=1, steps=4, writers=1)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """Of two machines."""
    shared = tmp_path_factory.mktemp("shared")

    def machine(number: int) -> Report:
        asked = replace(ASKED, client=Client(name="tuesday", number=number, clients=2))
        return storage.measure([str(shared)], asked, Progress())

    with ThreadPoolExecutor(2) as machines:
        found = list(machines.map(machine, (1, 2)))
    assert list(shared.iterdir()) == []
    return found


def test_two_machines_tell_the_same_of_both_together(reports: list[Report]) -> None:
    one, other = (report.found[0] for report in reports)
    assert one.trained[0].together == other.trained[0].together
    assert [clients for clients, _ in one.trained[0].together] == [1, 2]
    assert (
        one.written
        == other.written
        == sum(found.checkpoint.writing.mean for found in (one, other) if found.checkpoint)
    )
    assert one.left_out == ("load", "random", "vectors", "spill")
    assert one.trained[0].here.wanted.seed != other.trained[0].here.wanted.seed
    said = text(told.page(reports[0]))
    assert "with more machines" in said
    assert "2 clients" in said
    assert "all machines" in said


def test_a_plan_takes_what_one_machine_gets_while_the_others_read(reports: list[Report]) -> None:
    (trained,) = reports[1].found[0].trained
    both = replace(trained, together=((1, 9e6), (2, 10e6)))
    assert both.most == max(10e6, both.best)
    assert both.of_one == min(5e6, both.best)
    report = replace(reports[1], found=(replace(reports[1].found[0], trained=(both,)),))
    assert figures.load(told.facts(report))("storage.read_gb_s") == pytest.approx(both.of_one / 1e9, rel=0.01)


def test_room_is_looked_for_as_much_as_all_of_them_write() -> None:
    alone = storage.needed(ASKED)
    assert storage.needed(replace(ASKED, client=Client(name="tuesday", number=2, clients=3))) == 3 * alone


def test_processors_of_several_machines_take_in_several_times_as_much() -> None:
    cluster = Cluster(job=PROFILES["unet3d-h100"], accelerators=8)
    found = verdict.for_reading(cluster, Measured(reads=4e9, memory=3e9, clients=2))
    assert "with 2 clients at once" in found.because
    assert any("helps up to 6 GB/s" in line for line in found.advice)
