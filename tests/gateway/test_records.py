"""Nothing is answered that cannot be recorded, and what was begun is ended, whatever the disk does."""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from freehold.gateway import run, shipping
from freehold.gateway.border import Border
from freehold.gateway.bounds import Bounds
from freehold.gateway.shipping import adopt, close_orphans, take_spools
from freehold.spec.answer import Intent
from freehold.spec.ids import new_id, now
from freehold.spec.snapshot import Most
from freehold.store.ballast import Room
from freehold.store.frames import Mark, read_one
from freehold.store.spool import Note, Spool
from freehold.store.spooled import Began, Ended, matter_of, pack, unpack
from tests.gateway.conftest import QUICK, Site


class Disk:
    """`fdatasync` as the test wants it: failing, or waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: OSError | None = None
        self.after = self.still = 0
        self.go = threading.Event()
        self.go.set()
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self)

    def fails(self, number: int, after: int = 0) -> None:
        """From the sync after the next `after` ones on."""
        self.error, self.after = OSError(number, os.strerror(number)), after

    def stands_still(self, after: int) -> None:
        """The sync after the next `after` ones does not return before `go` is set."""
        self.still = after
        self.go.clear()

    def __call__(self, file: int) -> None:
        if self.still > 0:
            self.still -= 1
        else:
            self.go.wait(20)
        if self.error and self.after <= 0:
            raise self.error
        self.after -= 1
        self._real(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.error = None
    disk.go.set()


@pytest.fixture
def key(site: Site, disk: Disk) -> Iterator[str]:
    key = site.key(purpose="claims-handling")
    fake, url = site.upstream()
    site.fake = fake  # type: ignore[attr-defined]
    site.attached(url)
    site.publish()
    site.up(Bounds(linger=0.05, drain=2, ship=2, record=1.5))
    yield key
    disk.error = None
    disk.go.set()


def ask(http: httpx.Client, site: Site, key: str, words: str = "good day", **more: Any) -> httpx.Response:
    body = {"model": "chat", "messages": [{"role": "user", "content": words}], **more}
    return http.post(f"{site.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


def heard(site: Site) -> int:
    return len(site.fake.heard)  # type: ignore[attr-defined]


def test_a_full_disk_answers_nothing_asks_nobody_and_recovers(
    site: Site, key: str, disk: Disk, http: httpx.Client
) -> None:
    disk.fails(errno.ENOSPC)
    for _ in range(3):
        refused = ask(http, site, key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "spool_unwritable")
        assert "No space left" in refused.json()["error"]["message"]
    assert heard(site) == 0
    disk.error = None
    answer = ask(http, site, key)
    assert answer.status_code == 200
    assert site.closed(answer.headers["x-freehold-answer"]).close.ending == "answered"


def test_an_answer_whose_end_cannot_be_written_does_not_leave(
    site: Site, key: str, disk: Disk, http: httpx.Client
) -> None:
    disk.fails(errno.EIO, after=1)  # the beginning is written, the end is not
    refused = ask(http, site, key)
    assert refused.status_code == 503
    assert b"You said" not in refused.content
    assert heard(site) == 1
    disk.error = None
    end = site.closed(refused.headers["x-freehold-answer"])  # written as soon as the disk takes it
    assert (end.close.ending, end.close.reason) == ("failed", "spool-unwritable")


def test_a_stream_whose_end_cannot_be_written_is_not_done(
    site: Site, key: str, disk: Disk, http: httpx.Client
) -> None:
    disk.fails(errno.EIO, after=1)
    said = ask(http, site, key, "one two", stream=True).text
    assert "[DONE]" not in said
    assert "spool_unwritable" in said


def test_a_refusal_that_cannot_be_recorded_is_503_too(
    site: Site, key: str, disk: Disk, http: httpx.Client
) -> None:
    disk.fails(errno.ENOSPC)
    refused = ask(http, site, key, metadata={"purpose": "marketing"})
    assert refused.status_code == 503


def test_a_disk_that_does_not_answer_is_not_waited_for_for_ever(
    site: Site, key: str, disk: Disk, http: httpx.Client
) -> None:
    disk.go.clear()
    refused = ask(http, site, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "spool_stalled")
    assert heard(site) == 0
    disk.go.set()
    assert ask(http, site, key).status_code == 200


def test_what_may_be_spent_reaches_the_disk_first_and_who_spends_nothing_does_not_wait_for_it(
    site: Site, key: str, disk: Disk, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = site.services["chat"].routes[0]
    dear = replace(route, target=replace(route.target, price_in="1", price_out="1"))
    site.change("chat", most=Most(spend="10"), routes=(dear,))
    site.own()
    site.publish()
    real = os.fsync

    def still(file: int) -> None:
        if str(site.home.spend) in os.readlink(f"/proc/self/fd/{file}"):
            disk.go.wait(20)
        real(file)

    monkeypatch.setattr(os, "fsync", still)
    disk.stands_still(after=1000)
    refused = ask(http, site, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "counts_unusable")
    assert heard(site) == 0
    assert ask(http, site, key, "water", model="triage").status_code == 200
    disk.go.set()
    assert ask(http, site, key).status_code == 200
    begun = refused.headers["x-freehold-answer"]
    assert site.closed(begun).close.ending == "denied"


def troubles(http: httpx.Client, site: Site) -> dict[str, Any]:
    told = http.get(f"{site.url}/status").json()
    return {trouble["part"]: trouble for trouble in told["troubles"]}


class Hours:
    """A clock that stands until it is told to move."""

    def __init__(self) -> None:
        self.at = 10_000.0

    def __call__(self) -> float:
        return self.at


def test_control_away_for_ten_minutes_is_told_and_caught_up_without_a_gap(
    site: Site, http: httpx.Client
) -> None:
    key = site.key(purpose="claims-handling")
    _, url = site.upstream()
    site.attached(url)
    site.attached(url, name="secrets", stale_for=30)
    site.elapsed = hours = Hours()
    site.publish()
    site.up()
    answers = [ask(http, site, key).headers["x-freehold-answer"]]
    assert troubles(http, site) == {}

    site.control.away = True
    site.control.wait(lambda: site.control.polls_refused)
    hours.at += 600
    site.until(lambda: "control" in troubles(http, site))
    trouble = troubles(http, site)["control"]
    assert abs(now() - trouble["since"] - 600_000_000) < 30_000_000
    assert "nothing is lost" in trouble["lost"]
    assert counted(http, site, "trouble", 'part="control",') == ["1"]
    answers += [ask(http, site, key).headers["x-freehold-answer"] for _ in range(5)]
    refused = ask(http, site, key, model="secrets")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "rules_stale")

    site.control.away = False
    assert [site.closed(answer).close.ending for answer in answers] == ["answered"] * 6
    assert site.closed(refused.headers["x-freehold-answer"]).close.ending == "denied"
    site.until(lambda: not troubles(http, site))
    site.until(lambda: ask(http, site, key, model="secrets").status_code == 200)


def counted(http: httpx.Client, site: Site, name: str, labels: str = "") -> list[str]:
    text = http.get(f"{site.url}/metrics").text
    return re.findall(rf'^freehold_gateway_{name}\{{{labels}gateway="spl_\w+"\}} (\d+)$', text, re.M)


def test_a_disk_that_refuses_is_told_with_since_when_and_what_to_do(
    site: Site, key: str, disk: Disk, http: httpx.Client
) -> None:
    before = now()
    disk.fails(errno.ENOSPC)
    assert ask(http, site, key).status_code == 503
    trouble = troubles(http, site)["records"]
    assert before <= trouble["since"] <= now()
    assert "No space left" in trouble["why"]
    assert "nothing is lost" in trouble["lost"]
    assert "free space" in trouble["hint"]
    site.control.wait(lambda: site.control.reports[-1]["troubles"])  # control hears of it, too
    disk.error = None
    assert ask(http, site, key).status_code == 200
    assert troubles(http, site) == {}
    site.control.wait(lambda: not site.control.reports[-1]["troubles"])


def test_what_did_not_begin_has_neither_a_beginning_nor_an_end(
    site: Site, key: str, disk: Disk, http: httpx.Client
) -> None:
    disk.fails(errno.ENOSPC)
    for asked in ({}, {"metadata": {"purpose": "marketing"}}):
        refused = ask(http, site, key, **asked)
        assert refused.status_code == 503
        assert "x-freehold-answer" not in refused.headers, "there is no record to look for"
    disk.error = None
    answer = ask(http, site, key).headers["x-freehold-answer"]
    site.closed(answer)
    assert len(site.control.records) == 2
    assert counted(http, site, "spool_late") == ["0"]


def ends(site: Site, answer: str) -> list[str]:
    return [
        record.close.ending
        for record in site.control.records
        if isinstance(record, Ended) and record.close.answer == answer
    ]


def test_an_answer_refused_because_the_disk_stood_still_is_not_recorded_as_answered(
    site: Site, key: str, disk: Disk, http: httpx.Client
) -> None:
    disk.stands_still(after=1)  # the beginning is written, the end is under way for ever
    refused = ask(http, site, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "spool_stalled")
    assert b"You said" not in refused.content
    disk.go.set()
    answer = refused.headers["x-freehold-answer"]
    site.control.wait(lambda: ends(site, answer)[-1:] == ["failed"])
    # the disk had the first one already: it could only be corrected, by the one right behind it
    assert ends(site, answer) == ["answered", "failed"]
    end = site.closed(answer)
    assert (end.close.status, end.close.reason) == (503, "spool-stalled")
    assert site.words(end).request
    assert ask(http, site, key).status_code == 200


def test_a_caller_who_hangs_up_while_the_disk_stands_still_was_cut_off(
    site: Site, key: str, disk: Disk
) -> None:
    site.down()
    site.up(Bounds(linger=0.05, drain=2, ship=2, record=5))
    disk.stands_still(after=1)
    hasty = httpx.Client(trust_env=False, timeout=httpx.Timeout(30, read=1))
    with hasty, pytest.raises(httpx.ReadTimeout):
        ask(hasty, site, key)
    site.control.wait(lambda: any(isinstance(record, Began) for record in site.control.records))
    (answer,) = {a.intent.answer for a in site.control.records if isinstance(a, Began)}
    (edge,) = (edge for _, edge in site._gateways)
    site.until(lambda: not edge.server_state.tasks)  # it has noticed
    disk.go.set()
    site.control.wait(lambda: ends(site, answer)[-1:] == ["cut off"])


def test_control_away_costs_nothing_but_time(site: Site, key: str, http: httpx.Client) -> None:
    site.control.away = True
    answers = [ask(http, site, key).headers["x-freehold-answer"] for _ in range(5)]
    assert not [r for r in site.control.records if isinstance(r, Ended)]
    site.control.away = False
    assert [site.closed(answer).close.ending for answer in answers] == ["answered"] * 5


def test_an_answer_that_takes_too_long_is_given_up(site: Site, key: str, http: httpx.Client) -> None:
    site.down()
    site.up(replace(QUICK, answer=0.3, silence=5))
    slow = ask(http, site, key, "x [delay 2]")
    assert (slow.status_code, slow.json()["error"]["code"]) == (504, "answer_too_slow")
    end = site.closed(slow.headers["x-freehold-answer"]).close
    assert (end.ending, end.reason) == ("failed", "answer-too-slow")


def test_a_stream_that_outlasts_the_drain_is_cut_off_and_recorded(
    site: Site, key: str, http: httpx.Client
) -> None:
    site.down()
    site.up(replace(QUICK, drain=1))
    body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "a b c [pause 2]"}]}
    headers = {"authorization": f"Bearer {key}"}
    with http.stream("POST", f"{site.url}/v1/chat/completions", json=body, headers=headers) as response:
        pieces = response.iter_raw()
        next(pieces)
        site.down()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    end = site.closed(response.headers["x-freehold-answer"]).close
    assert (end.ending, end.reason) == ("cut off", "gateway-left")


def test_nothing_of_what_was_said_stands_in_the_log(
    site: Site, key: str, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for words in ("marker-91c", "marker-91c [status 500]", "marker-91c [hang-up]", "marker-91c [garbage]"):
        ask(http, site, key, words)
        ask(http, site, key, words, stream=True, metadata={"subject": "marker-91c"})
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("freehold")]
    assert "marker-91c" not in "\n".join(ours)
    assert "marker-91c" not in http.get(f"{site.url}/metrics").text


# -- spools of the dead -----------------------------------------------------------------------------------


def _intent(answer: str) -> Intent:
    return Intent(
        answer=answer,
        at=now(),
        project="claims",
        service="chat",
        key="key_1",
        purpose="p",
        subject=None,
        release=None,
        serving_digest=None,
        snapshot=1,
        sandbox=False,
        request="hmac-sha256:0",
        request_id=None,
        trace=None,
        idempotency=None,
    )


def _begun(spool: Spool) -> str:
    answer = new_id("ans")
    spool.commit([Note(pack(Began(_intent(answer))), Mark.BEGINS, matter_of(answer))])
    return answer


def test_whoever_opens_a_dead_spool_ends_what_was_begun(site: Site) -> None:
    spool = Spool.create(site.home.spool)
    answer = _begun(spool)
    spool.close()
    taken, others = take_spools(site.home.spool, now)
    assert (taken.id, others) == (spool.id, [])
    assert not taken.unfinished
    read = read_one(taken.read(1), 0)
    assert not isinstance(read, str)
    last = unpack(read[0].payload)
    assert isinstance(last, Ended)
    assert (last.close.answer, last.close.ending, last.close.reason) == (answer, "failed", "gateway-died")
    assert close_orphans(taken, now) == 0
    taken.close()


def test_a_living_gateways_spool_is_left_alone(site: Site) -> None:
    living = Spool.create(site.home.spool)
    _begun(living)
    assert adopt(site.home.spool, now) == []
    own, others = take_spools(site.home.spool, now)
    assert own.id != living.id
    assert not others
    own.close()
    living.close()


def test_a_gateway_ships_what_others_left_and_clears_it_away(site: Site) -> None:
    left, ids = [], set()
    for _ in range(3):
        spool = Spool.create(site.home.spool)
        ids.add(spool.id)
        left.append(_begun(spool))
        spool.close()
    site.up(QUICK)
    for answer in left:
        assert site.closed(answer).close.reason == "gateway-died"
    site.down()
    assert list(site.home.spool.iterdir()) == []
    assert set(site.control.left) == ids, "control waits for none of them"


def test_that_a_gateway_left_while_control_was_away_is_told_by_the_next_one(site: Site) -> None:
    """Else whoever is forgotten is not certified before it would have stopped by itself."""
    site.up(QUICK)
    (own,) = site.home.spool.iterdir()
    site.control.away = True
    site.down()
    assert list(site.home.spool.iterdir()) == [own]
    site.control.away = False
    site.up(QUICK)
    site.down()
    assert site.control.left == [own.name]
    assert list(site.home.spool.iterdir()) == []


def test_a_record_is_sent_when_it_is_made_and_nobody_looks_for_it_meanwhile(
    site: Site, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "IDLE", 3600.0)
    key = site.key(purpose="claims-handling")
    site.own()
    site.publish()
    url = site.up()
    for _ in range(2):
        said = {"model": "triage", "messages": [{"role": "user", "content": "water in the kitchen"}]}
        headers = {"authorization": f"Bearer {key}"}
        answer = http.post(f"{url}/v1/chat/completions", json=said, headers=headers)
        assert answer.status_code == 200
        assert site.closed(answer.headers["x-freehold-answer"]).close.ending == "answered"


def test_a_spool_that_its_gateway_removes_meanwhile_is_none(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.home.spool.mkdir(exist_ok=True)
    monkeypatch.setattr(shipping, "left_behind", lambda parent: [parent / new_id("spl")])
    assert adopt(site.home.spool, now) == []


def test_what_a_killed_gateway_had_not_named_yet_goes_when_spools_are_looked_for(site: Site) -> None:
    unnamed = site.home.spool / f"new-{new_id('spl')}"
    unnamed.mkdir(parents=True)
    assert adopt(site.home.spool, now) == []
    assert not unnamed.exists()


@pytest.mark.parametrize("fault", [KeyError("sequence"), OSError(errno.EIO, "broken")])
def test_records_go_on_after_whatever_broke_their_way_once(
    site: Site, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(run, "AGAIN", 0.01)
    key = site.key(purpose="claims-handling")
    site.own()
    site.publish()
    site.up()
    ship, faults = Border.ship, [fault]

    async def shipped(border: Border, spool: str, frames: bytes) -> int:
        if faults:
            raise faults.pop()
        return await ship(border, spool, frames)

    monkeypatch.setattr(Border, "ship", shipped)
    said = http.post(
        f"{site.url}/v1/chat/completions",
        json={"model": "triage", "messages": [{"role": "user", "content": "water"}]},
        headers={"authorization": f"Bearer {key}"},
    )
    assert site.closed(said.headers["x-freehold-answer"]).close.ending == "answered"
    assert not faults


def test_a_damaged_spool_is_told_and_kept_as_evidence(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool.create(site.home.spool)
    _begun(spool)
    _begun(spool)
    spool.close()
    (segment,) = (site.home.spool / spool.id).glob("*.frames")
    segment.write_bytes(b"?" + segment.read_bytes()[1:])
    site.up(QUICK)
    site.down()
    assert (site.home.spool / f"damaged-{spool.id}" / segment.name).exists()
    assert caplog.text.count("is damaged") == 1
    assert f"the spool `{spool.id}` is damaged" in caplog.text


def test_little_room_is_told_before_there_is_none(site: Site, key: str, http: httpx.Client) -> None:
    assert "room" not in troubles(http, site)
    site.room = Room(used=0.84, free=1 << 30)
    trouble = troubles(http, site)["room"]
    assert "84% full, 1.1 GB are left" in trouble["why"]
    assert "nothing is lost" in trouble["lost"]
    assert counted(http, site, "trouble", 'part="room",') == ["1"]
    assert ask(http, site, key).status_code == 200, "it is a warning: answers go on"
    site.room = Room(used=0.84, free=1 << 40)
    assert "room" not in troubles(http, site), "a sixth of a large disk is more than a spool ever needs"
