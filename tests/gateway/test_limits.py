"""What may be used, held exactly: over processes, restarts and crashes, in any minute, on any day."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.gateway import counts as counting
from freehold.gateway.counts import Counts, CountsUnusable
from freehold.gateway.limits import (
    BudgetUsedUp,
    Limits,
    Scope,
    TooManyAtOnce,
    TooManyRequests,
    TooManyTokens,
    scopes_of,
)
from freehold.gateway.spend import Tally, cost
from freehold.spec.snapshot import KeyView, Most, ServiceView, Target

SECOND = 1_000_000
NOON = 1_800_014_400 * SECOND  # 2027-01-15 12:00 UTC
TARGET = Target(kind="provider", name="m", serving_digest="d", price_in="1", price_out="2")
SERVICE = ServiceView(
    name="chat",
    project="claims",
    purpose="p",
    sensitivity=2,
    tier="limited",
    subject="none",
    kind="attached",
    task="generate",
    state="live",
)


class Watch:
    """Seconds since the machine started."""

    def __init__(self) -> None:
        self.at = 5000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def counts(tmp_path: Path) -> Iterator[Counts]:
    counts = Counts(tmp_path)
    yield counts
    counts.close()


@pytest.fixture
def limits(counts: Counts, watch: Watch) -> Limits:
    return Limits(counts, watch)


def under(name: str = "service/chat", **most: int | str) -> Scope:
    return Scope(name=name, whose=f"`{name}`", most=Most(**most))  # type: ignore[arg-type]


def hold(
    limits: Limits, *scopes: Scope, worst: tuple[int, int], tally: Tally | None = None, at: int = NOON
) -> Any:
    return limits.held(scopes, SERVICE, TARGET, worst, tally or Tally(), at)


# -- requests -----------------------------------------------------------------------------------------


def test_no_minute_holds_more_requests_than_allowed(limits: Limits, watch: Watch) -> None:
    scopes = (under(requests=3),)
    for at in (0, 20, 40):
        watch.at = 5000 + at
        limits.count(scopes)
    watch.at = 5050
    with pytest.raises(TooManyRequests) as late:
        limits.count(scopes)
    assert 10 <= late.value.retry_after <= 11
    watch.at += late.value.retry_after
    limits.count(scopes)
    with pytest.raises(TooManyRequests):
        limits.count(scopes)


@settings(deadline=None)
@given(st.lists(st.floats(0, 200), max_size=60), st.integers(1, 5))
def test_whatever_the_times_any_sixty_seconds_keep_the_limit(
    tmp_path_factory: pytest.TempPathFactory, times: list[float], limit: int
) -> None:
    watch, counts = Watch(), Counts(tmp_path_factory.mktemp("counts"))
    limits, taken = Limits(counts, watch), []
    for at in sorted(times):
        watch.at = 5000 + at
        try:
            limits.count((under(requests=limit),))
            taken.append(at)
        except TooManyRequests as late:
            watch.at += late.retry_after
            limits.count((under(name="other", requests=1000),))
    counts.close()
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= limit


def test_a_minute_is_limited_after_the_machine_started_anew_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its seconds begin at nothing again, and the file's are of a later one than any for a long time."""
    scopes, before, after = (under(requests=3, tokens=100),), Counts(tmp_path), Watch()
    limits = Limits(before, Watch())
    limits.count(scopes)
    with hold(limits, *scopes, worst=(90, 0), tally=Tally(tokens_in=90)):
        pass
    before.close()
    monkeypatch.setattr(counting, "boot", lambda: "another start")
    counts, after.at = Counts(tmp_path), 5000.0 - 20 * counting.SECONDS
    limits = Limits(counts, after)
    for _ in range(3):
        limits.count(scopes)
    with pytest.raises(TooManyRequests):
        limits.count(scopes)
    with hold(limits, *scopes, worst=(90, 0), tally=Tally(tokens_in=90)):
        pass
    with pytest.raises(TooManyTokens), hold(limits, *scopes, worst=(11, 0)):
        pass
    counts.close()


def test_the_second_of_a_request_is_read_while_nobody_else_counts(tmp_path: Path, counts: Counts) -> None:
    """Whoever waited for the lock with an older one would not see what was counted meanwhile."""
    alone = []

    def elapsed() -> float:
        with (tmp_path / "lock").open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alone.append(True)
        return 5000.0

    limits = Limits(counts, elapsed)
    limits.count((under(requests=3),))
    with hold(limits, under(tokens=100), worst=(1, 1)):
        pass
    assert alone == [True, True]


def test_who_waits_as_long_as_told_gets_in(limits: Limits, watch: Watch) -> None:
    scopes = (under(requests=5),)
    for at in (0.0, 0.5, 7.3, 7.4, 31.0):
        watch.at = 5000 + at
        limits.count(scopes)
    for _ in range(8):
        with pytest.raises(TooManyRequests) as late:
            limits.count(scopes)
        watch.at += late.value.retry_after
        limits.count(scopes)
        while True:
            try:
                limits.count(scopes)
            except TooManyRequests:
                break


def test_a_request_counts_in_all_of_its_scopes_or_in_none(limits: Limits) -> None:
    wide, narrow = under(requests=10), under("key/1", requests=1)
    limits.count((wide, narrow))
    for _ in range(5):
        with pytest.raises(TooManyRequests, match="key/1"):
            limits.count((wide, narrow))
    headers = dict(limits.count((wide,)))
    assert headers[b"x-ratelimit-remaining-requests"] == b"8"


def test_headers_tell_of_the_narrowest_scope(limits: Limits) -> None:
    headers = dict(limits.count((under(requests=10, tokens=500), under("key/1", requests=3))))
    assert headers[b"x-ratelimit-limit-requests"] == b"3"
    assert headers[b"x-ratelimit-remaining-requests"] == b"2"
    assert headers[b"x-ratelimit-limit-tokens"] == b"500"
    assert headers[b"x-ratelimit-reset-requests"].endswith(b"s")
    assert limits.count(()) == ()


# -- tokens -------------------------------------------------------------------------------------------


def test_tokens_are_held_at_their_most_and_given_back(limits: Limits, watch: Watch) -> None:
    scope = under(tokens=100)
    used = Tally()
    with hold(limits, scope, worst=(20, 60), tally=used):
        with pytest.raises(TooManyTokens) as late, hold(limits, scope, worst=(21, 0)):
            pass
        assert 60 <= late.value.retry_after <= 61
        used.tokens_in, used.tokens_out = 10, 10
    with hold(limits, scope, worst=(80, 0), tally=Tally(tokens_in=80)):
        pass
    watch.at += 62
    with hold(limits, scope, worst=(100, 0)):
        pass


def test_what_ends_after_its_minute_gives_nothing_back_to_another(limits: Limits, watch: Watch) -> None:
    scope = under(tokens=100)
    with hold(limits, scope, worst=(100, 0)):
        watch.at += counting.SECONDS
        with hold(limits, scope, worst=(90, 0), tally=Tally(tokens_in=90)):
            pass
    with pytest.raises(TooManyTokens), hold(limits, scope, worst=(11, 0)):
        pass


# -- at once ------------------------------------------------------------------------------------------


def test_places_are_taken_and_given_back_however_it_ends(limits: Limits) -> None:
    scope = under(at_once=2)
    first, second = hold(limits, scope, worst=(0, 0)), hold(limits, scope, worst=(0, 0))
    first.__enter__()
    second.__enter__()
    with pytest.raises(TooManyAtOnce), hold(limits, scope, worst=(0, 0)):
        pass
    with pytest.raises(KeyboardInterrupt):
        second.gen.throw(KeyboardInterrupt())
    with hold(limits, scope, worst=(0, 0)):
        pass
    first.__exit__(None, None, None)


def test_two_processes_share_the_places_and_a_dead_one_gives_its_own_back(tmp_path: Path) -> None:
    scope = under(at_once=3)
    holder = _Other(tmp_path, "one = lambda: limits.held((scope,), SERVICE, TARGET, (0, 0), Tally(), 0)")
    holder.does("held = [one(), one()]; [h.__enter__() for h in held]")
    counts = Counts(tmp_path)
    limits = Limits(counts, Watch())
    with hold(limits, scope, worst=(0, 0)), pytest.raises(TooManyAtOnce), hold(limits, scope, worst=(0, 0)):
        pass
    holder.dies()
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(hold(limits, scope, worst=(0, 0)))
        with pytest.raises(TooManyAtOnce), hold(limits, scope, worst=(0, 0)):
            pass
    counts.close()


def test_who_follows_a_killed_process_on_its_seat_has_all_places_again(tmp_path: Path) -> None:
    scope = under(at_once=3)
    holder = _Other(tmp_path, "one = lambda: limits.held((scope,), SERVICE, TARGET, (0, 0), Tally(), 0)")
    holder.does("held = [one(), one()]; [h.__enter__() for h in held]")
    holder.dies()
    after = _Other(tmp_path, "one = lambda: limits.held((scope,), SERVICE, TARGET, (0, 0), Tally(), 0)")
    beside = Counts(tmp_path)
    with ExitStack() as stack:
        for _ in range(3):  # whoever sits there now has not asked for this scope at all yet
            stack.enter_context(hold(Limits(beside, Watch()), scope, worst=(0, 0)))
    after.does("held = [one(), one()]; [h.__enter__() for h in held]")
    with (
        hold(Limits(beside, Watch()), scope, worst=(0, 0)),
        pytest.raises(TooManyAtOnce),
        hold(Limits(beside, Watch()), scope, worst=(0, 0)),
    ):
        pass
    beside.close()
    after.ends()


def test_a_place_that_could_not_be_given_back_is_given_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: Counts, limits: Limits
) -> None:
    scope = under(at_once=1, tokens=100)
    with monkeypatch.context() as broken, hold(limits, scope, worst=(90, 0), tally=Tally(tokens_in=10)):
        broken.setattr(counts, "_locked", _no_disk)
    with pytest.raises(TooManyAtOnce), hold(limits, scope, worst=(0, 0)):
        pass
    limits.settle()
    with hold(limits, scope, worst=(90, 0)):
        pass


def _no_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EIO, "no disk")


# -- money --------------------------------------------------------------------------------------------


def left(limits: Limits, scope: Scope, at: int = NOON) -> int:
    """Whole units that can still be spent."""
    for units in range(20, 0, -1):
        try:
            with hold(limits, scope, worst=(units * 1000, 0), at=at):
                return units
        except BudgetUsedUp:
            continue
    return 0


def test_what_could_cost_more_than_is_left_is_refused_and_leaves_nothing(limits: Limits) -> None:
    scope = under(spend="10")
    with (
        hold(limits, scope, worst=(4000, 2000)),
        pytest.raises(BudgetUsedUp) as used_up,
        hold(limits, scope, worst=(1000, 1000)),
    ):
        pass
    assert used_up.value.retry_after == 12 * 3600
    assert left(limits, scope) == 10


def test_an_answer_that_ends_after_midnight_does_not_touch_the_new_day(limits: Limits) -> None:
    scope, late = under(spend="10"), NOON + 13 * 3600 * SECOND
    used = Tally(tokens_in=1000)
    with hold(limits, scope, worst=(5000, 0)), hold(limits, scope, worst=(2000, 0), tally=used, at=late):
        pass
    assert left(limits, scope, late) == 9


def test_what_comes_late_over_midnight_does_not_bring_the_old_day_back(limits: Limits) -> None:
    """It began before midnight and is held, or turns out dearer, after the new day has begun to spend."""
    scope, late = under(spend="10"), NOON + 13 * 3600 * SECOND
    dearer, spent = Tally(tokens_in=2000), Tally(tokens_in=5000)
    with (
        hold(limits, scope, worst=(1000, 0), tally=dearer),
        hold(limits, scope, worst=(5000, 0), tally=spent, at=late),
    ):
        pass
    assert left(limits, scope, late) == 4, "five, and one that was not held, are of the day that runs"
    with hold(limits, scope, worst=(1000, 0), tally=Tally(tokens_in=1000)):
        pass
    assert left(limits, scope, late) == 3
    with pytest.raises(BudgetUsedUp), hold(limits, scope, worst=(4000, 0)):
        pass


def test_days_end_where_the_project_is(limits: Limits) -> None:
    scope, auckland = under(spend="10"), replace(SERVICE, timezone="Pacific/Auckland")
    spent = Tally(tokens_in=10_000)
    with limits.held((scope,), auckland, TARGET, (10_000, 0), spent, NOON):  # 01:00 on the 16th there
        pass
    with pytest.raises(BudgetUsedUp), limits.held((scope,), auckland, TARGET, (1, 0), Tally(), NOON):
        pass
    with limits.held((scope,), auckland, TARGET, (1, 0), Tally(), NOON + 23 * 3600 * SECOND):
        pass


def test_a_killed_process_leaves_what_it_held_spent_until_midnight(tmp_path: Path) -> None:
    holder = _Other(tmp_path, "held = limits.held((money,), SERVICE, TARGET, (4000, 2000), Tally(), NOON)")
    holder.does("held.__enter__()")
    holder.dies()
    counts = Counts(tmp_path)
    limits = Limits(counts, Watch())
    assert left(limits, under("money", spend="10")) == 2
    assert left(limits, under("money", spend="10"), NOON + 13 * 3600 * SECOND) == 10
    counts.close()


def test_after_a_power_cut_a_begun_block_counts_as_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine starts anew: of the mapped memory there is what was written through, and no more."""
    counts = Counts(tmp_path)
    scope = under(spend="10")
    with hold(Limits(counts, Watch()), scope, worst=(1000, 0), tally=Tally(tokens_in=1000)):
        pass
    counts.close()
    monkeypatch.setattr(counting, "boot", lambda: "another start")
    again = Counts(tmp_path)
    assert left(Limits(again, Watch()), scope) == 8, "one was spent, and less than one more was on its way"
    again.close()


def written(limits: Limits, *scopes: Scope) -> None:
    asyncio.run(limits.written(scopes))


def test_money_is_written_through_once_a_block_and_before_it_is_spent(
    monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    scope, synced = under(spend="20"), []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(file))
    with hold(limits, scope, worst=(1000, 0), tally=Tally(tokens_in=1000)):
        written(limits, scope)
    assert len(synced) == 2, "the file and its name"
    for _ in range(9):  # within the block of a twentieth of what was left
        with hold(limits, scope, worst=(100, 0), tally=Tally(tokens_in=100)):
            written(limits, scope)
    assert len(synced) == 2
    with hold(limits, scope, worst=(100, 0)):
        written(limits, scope)
    assert len(synced) == 4
    with hold(limits, under("service/free", at_once=1, tokens=9), worst=(1, 0)):
        written(limits, under("service/free", at_once=1, tokens=9))
    assert len(synced) == 4, "money alone is written through"


def test_a_disk_that_refuses_or_does_not_answer_lets_nothing_be_spent(
    monkeypatch: pytest.MonkeyPatch, counts: Counts, watch: Watch
) -> None:
    limits, scope, answers = Limits(counts, watch, patience=0.1), under(spend="10"), threading.Event()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", _no_disk)
        with pytest.raises(CountsUnusable, match="cannot be read"), hold(limits, scope, worst=(5000, 0)):
            written(limits, scope)

    async def stalled() -> None:
        with pytest.raises(CountsUnusable) as late, hold(limits, scope, worst=(5000, 0)):
            await limits.written((scope,))
        assert "did not answer" in late.value.why
        answers.set()

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda _file: answers.wait(60))
        asyncio.run(stalled())
    assert left(limits, scope) == 10, "what was held was given back"


def test_many_who_wait_for_the_disk_ask_it_together(
    monkeypatch: pytest.MonkeyPatch, counts: Counts, limits: Limits
) -> None:
    scope, asked = under(spend="1000"), []
    keep = counts.keep
    monkeypatch.setattr(counts, "keep", lambda names: (asked.append(names), keep(names)))

    async def one() -> None:
        with hold(limits, scope, worst=(1000, 0)):
            await limits.written((scope,))

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(40)))

    asyncio.run(many())
    assert len(asked) == 1


def test_a_provider_that_claims_an_absurd_amount_ends_the_day_and_breaks_nothing(limits: Limits) -> None:
    scope, dear = under(spend="10"), replace(TARGET, price_out="999999999")
    claimed = Tally(tokens_out=2**40)
    with limits.held((scope,), SERVICE, dear, (0, 0), claimed, NOON):
        pass
    assert left(limits, scope) == 0


def test_without_a_limit_nothing_is_written(limits: Limits, tmp_path: Path) -> None:
    with hold(limits, worst=(10_000, 0)):
        pass
    assert not [path for path in tmp_path.iterdir() if len(path.name) == 64]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 100)), max_size=25))
def test_whatever_is_asked_the_day_is_never_overspent(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int, int]]
) -> None:
    counts = Counts(tmp_path_factory.mktemp("spend"))
    limits, used = Limits(counts, Watch()), Decimal(0)
    for tokens_in, tokens_out, share in asked:
        tally = Tally(tokens_in=tokens_in * share // 100, tokens_out=tokens_out * share // 100)
        try:
            with hold(limits, under(spend="10"), worst=(tokens_in, tokens_out), tally=tally):
                used += cost(TARGET, tally.tokens_in, tally.tokens_out)
        except BudgetUsedUp:
            continue
    counts.close()
    assert used <= 10


# -- the folder ---------------------------------------------------------------------------------------


def test_three_processes_never_let_more_through_than_one_would(tmp_path: Path) -> None:
    """Each asks as fast as it can; the sums are what one process alone would allow."""
    asking = (
        "ok = 0\n"
        "for _ in range(400):\n"
        "    try:\n"
        "        limits.count((many,))\n"
        "        with limits.held((money,), SERVICE, TARGET, (50, 0), Tally(tokens_in=50), NOON): ok += 1\n"
        "    except OverLimit: pass\n"
    )
    others = [_Other(tmp_path, "pass") for _ in range(3)]
    for other in others:
        other.begins(asking + "print(ok, flush=True)")
    assert sum(int(other.says()) for other in others) == 200, "10 a day at 0.05 each; 250 requests a minute"
    for other in others:
        other.ends()


def test_a_folder_that_cannot_be_used_lets_nothing_through(tmp_path: Path, watch: Watch) -> None:
    counts = Counts(tmp_path)
    limits = Limits(counts, watch)
    for path in tmp_path.iterdir():
        path.unlink()
    tmp_path.rmdir()
    with pytest.raises(CountsUnusable):
        limits.count((under(requests=1),))
    tmp_path.mkdir()
    counts.close()


def test_scopes_that_nobody_uses_are_swept(tmp_path: Path, limits: Limits) -> None:
    limits.count((under(requests=5),))
    (file,) = [path for path in tmp_path.iterdir() if len(path.name) == 64]
    asyncio.run(limits.sweep(file.stat().st_mtime + 3600))
    limits.count((under(requests=5),))
    assert dict(limits.count((under(requests=5),)))[b"x-ratelimit-remaining-requests"] == b"2"
    asyncio.run(limits.sweep(file.stat().st_mtime + 3 * 86_400))
    assert not file.exists()
    assert dict(limits.count((under(requests=5),)))[b"x-ratelimit-remaining-requests"] == b"4"


def test_sweeping_holds_the_lock_for_one_file_at_a_time_and_looks_again(
    tmp_path: Path, counts: Counts, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        limits.count((under(f"service/{n}", requests=5),))
    counts.let_go()
    files = sorted(path for path in tmp_path.iterdir() if len(path.name) == 64)
    for file in files:
        os.utime(file, (0, 0))
    unlink = os.unlink

    def meanwhile(path: str) -> None:
        unlink(path)
        for file in files:  # asked for while the others are looked at
            if file.exists():
                os.utime(file)

    monkeypatch.setattr(os, "unlink", meanwhile)
    listed = list(os.scandir(tmp_path))
    for entry in listed:
        entry.stat()
    monkeypatch.setattr(os, "scandir", lambda _folder: listed)
    assert counts.sweep(time.time()) == 1


class _Other:
    """Another gateway process on the same folder, told what to do line by line."""

    def __init__(self, folder: Path, first: str) -> None:
        begin = (
            "import sys\n"
            "from pathlib import Path\n"
            "from freehold.errors import OverLimit\n"
            "from tests.gateway.test_limits import *\n"
            f"limits = Limits(Counts(Path({str(folder)!r})), Watch())\n"
            "scope, money, many = under(at_once=3), under('money', spend='10'), under('many', requests=250)\n"
            f"{first}\n"
            "print('ready', flush=True)\n"
            "for line in sys.stdin: exec(eval(line), globals())\n"
        )
        root = Path(__file__).parents[2]
        path = os.pathsep.join((str(root), *filter(None, sys.path)))
        self._process = subprocess.Popen(
            [sys.executable, "-c", begin],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self.says() == "ready"

    def begins(self, code: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(repr(code) + "\n")
        self._process.stdin.flush()

    def does(self, code: str) -> None:
        self.begins(code + "\nprint('done', flush=True)")
        assert self.says() == "done"

    def says(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def dies(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._close()

    def ends(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._close()

    def _close(self) -> None:
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def test_a_renewed_key_has_used_what_the_one_before_it_did() -> None:
    """Else somebody would have a fresh budget by having their key renewed."""
    rules: Any = SimpleNamespace(snapshot=SimpleNamespace(projects={}), restraints={})
    key = KeyView(
        id="key_3",
        secret_digest="0" * 64,
        owner="per_1",
        project="claims",
        services=(),
        purpose=None,
        expires_at=None,
        most=Most(spend="20"),
        origin="key_1",
    )
    service = replace(SERVICE, each_key=Most(requests=5))
    names = [scope.name for scope in scopes_of(rules, key, service, None, NOON)]
    assert names == ["key/key_1", "each/chat/key_1"]
