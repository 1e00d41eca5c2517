"""The same request twice is answered once: over restarts, for the same caller only, for a day."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from freehold.gateway import replays as replays_module
from freehold.gateway.asked import Asked, Heads
from freehold.gateway.may import Said
from freehold.gateway.replays import KEEP, OtherRequest, Replays, StillUnderWay
from freehold.gateway.reply import Piece
from freehold.spec.answer import Again
from freehold.spec.ids import now
from freehold.spec.snapshot import Most
from freehold.store.spooled import Repeated
from tests.gateway.conftest import Site


@pytest.fixture
def key(site: Site) -> str:
    key = site.key(purpose="claims-handling")
    fake, url = site.upstream()
    site.fake = fake  # type: ignore[attr-defined]
    site.attached(url)
    site.publish()
    site.up()
    return key


def ask(http: httpx.Client, site: Site, key: str, once: str, words: str = "good day", **more: Any) -> Any:
    body = {"model": "chat", "messages": [{"role": "user", "content": words}], **more}
    headers = {"authorization": f"Bearer {key}", "idempotency-key": once}
    return http.post(f"{site.url}/v1/chat/completions", json=body, headers=headers)


def repeated(site: Site) -> list[Again]:
    return [record.again for record in site.control.records if isinstance(record, Repeated)]


def heard(site: Site) -> int:
    return len(site.fake.heard)  # type: ignore[attr-defined]


def test_the_same_request_gets_the_first_answer_again(site: Site, key: str, http: httpx.Client) -> None:
    first, again = ask(http, site, key, "k1"), ask(http, site, key, "k1")
    assert again.content == first.content
    assert again.headers["x-freehold-answer"] == first.headers["x-freehold-answer"]
    assert again.headers["x-freehold-replayed"] == "true"
    assert "x-freehold-replayed" not in first.headers
    assert heard(site) == 1
    assert ask(http, site, key, "k2").headers["x-freehold-answer"] != first.headers["x-freehold-answer"]


def test_that_it_is_given_again_is_recorded_with_when_and_to_whom(
    site: Site, key: str, http: httpx.Client
) -> None:
    first = ask(http, site, key, "k1").headers["x-freehold-answer"]
    ask(http, site, key, "k1")
    (again,) = site.control.wait(lambda: repeated(site))
    begun = site.begun(first).intent
    assert (again.answer, again.key, again.project, again.given) == (first, begun.key, "claims", True)
    assert again.at > begun.at
    assert again.id.startswith("agn_")


def test_what_is_given_again_counts_against_the_pace(site: Site, key: str, http: httpx.Client) -> None:
    site.change("chat", most=Most(requests=2))
    site.publish()
    assert [ask(http, site, key, "k1").status_code for _ in range(3)] == [200, 200, 429]
    assert heard(site) == 1


def test_nothing_is_given_again_that_cannot_be_recorded(
    site: Site, key: str, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(http, site, key, "k1")
    site.closed(first.headers["x-freehold-answer"])

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", full)
        refused = ask(http, site, key, "k1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "spool_unwritable")
    assert b"You said" not in refused.content
    (tried,) = site.control.wait(lambda: repeated(site))
    assert not tried.given, "written when the disk took it: asked for again, and not given"
    assert ask(http, site, key, "k1").content == first.content


def test_a_stream_is_given_again_whole(site: Site, key: str, http: httpx.Client) -> None:
    first, again = (ask(http, site, key, "k1", stream=True) for _ in range(2))
    assert again.text == first.text
    assert again.text.endswith("data: [DONE]\n\n")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert heard(site) == 1


def test_another_body_under_the_same_key_is_422(site: Site, key: str, http: httpx.Client) -> None:
    ask(http, site, key, "k1")
    other = ask(http, site, key, "k1", words="good night")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "other_request")


def test_another_caller_has_keys_of_its_own(site: Site, key: str, http: httpx.Client) -> None:
    other = site.key(purpose="claims-handling")
    site.publish()
    mine, theirs = ask(http, site, key, "k1"), ask(http, site, other, "k1")
    assert mine.headers["x-freehold-answer"] != theirs.headers["x-freehold-answer"]
    assert heard(site) == 2


def test_while_the_first_is_under_way_the_second_waits_outside(
    site: Site, key: str, http: httpx.Client
) -> None:
    answers: list[Any] = []
    slow = threading.Thread(target=lambda: answers.append(ask(http, site, key, "k1", "x [delay 1.5]")))
    slow.start()
    site.control.wait(lambda: any(hasattr(record, "intent") for record in site.control.records))
    with httpx.Client(trust_env=False) as other:
        second = ask(other, site, key, "k1", "x [delay 1.5]")
    slow.join()
    assert (second.status_code, second.headers["retry-after"]) == (409, "1")
    assert second.json()["error"]["code"] == "still_under_way"
    assert answers[0].status_code == 200
    assert heard(site) == 1


def test_a_restart_forgets_no_answer_and_nothing_lies_in_clear(
    site: Site, key: str, http: httpx.Client
) -> None:
    first = ask(http, site, key, "k1", "marker-words-7f3a")
    site.down()
    site.up()
    again = ask(http, site, key, "k1", "marker-words-7f3a")
    assert again.headers["x-freehold-answer"] == first.headers["x-freehold-answer"]
    kept = [path for path in site.home.serving.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"marker-words-7f3a" in path.read_bytes()]


def test_a_failed_or_refused_request_may_be_tried_again(site: Site, key: str, http: httpx.Client) -> None:
    assert ask(http, site, key, "k1", "[status 500]").status_code == 502
    assert ask(http, site, key, "k1", "good day").status_code == 200
    assert len(list(site.home.replays.iterdir())) == 1


def test_a_revoked_key_or_another_purpose_gets_nothing_again(
    site: Site, key: str, http: httpx.Client
) -> None:
    ask(http, site, key, "k1")
    assert ask(http, site, key, "k1", metadata={"purpose": "marketing"}).status_code == 403
    site.keys.clear()
    site.publish()
    assert ask(http, site, key, "k1").status_code == 401


def test_when_somebody_is_forgotten_what_was_kept_is_given_to_nobody_again(
    site: Site, key: str, http: httpx.Client
) -> None:
    first = ask(http, site, key, "k1")
    envelope = site.envelope(forgotten_at=now())
    site.control.envelope = (site.ix, envelope)
    site.applied(site.ix)
    again = ask(http, site, key, "k1")
    assert "x-freehold-replayed" not in again.headers
    assert again.headers["x-freehold-answer"] != first.headers["x-freehold-answer"]


def test_control_hears_of_a_forgetting_when_what_was_kept_is_gone(
    site: Site, key: str, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate rests on that word."""
    sweep, told_before = Replays.sweep, list[bool]()

    def swept(replays: Replays, at: int, forgotten_at: int = 0) -> int:
        if forgotten_at:
            told_before.append(any(report["applied"] >= site.ix for report in site.control.reports))
        return sweep(replays, at, forgotten_at)

    ask(http, site, key, "k1")
    monkeypatch.setattr(Replays, "sweep", swept)
    site.control.envelope = (site.ix + 1, site.envelope(forgotten_at=now()))
    site.applied(site.ix)
    assert not list(site.home.replays.iterdir())
    assert told_before == [False]


def test_a_gateway_that_cannot_take_away_what_was_kept_says_so_and_goes_on_reporting(
    site: Site, key: str, http: httpx.Client
) -> None:
    """It says that it goes by the rules of before: a certificate waits, for what was kept lies there."""
    ask(http, site, key, "k1")
    away = site.home.replays.rename(site.home.replays.with_name("unmounted"))
    site.control.envelope = (site.ix + 1, site.envelope(forgotten_at=now()))
    (told,) = site.control.wait(lambda: site.control.reports[-1]["troubles"])
    assert (told["part"], told["why"]) == ("kept", "the disk says: No such file or directory")
    assert all(report["applied"] < site.ix for report in site.control.reports)
    away.rename(site.home.replays)
    site.applied(site.ix)
    assert not list(site.home.replays.iterdir())
    site.control.wait(lambda: not site.control.reports[-1]["troubles"])


# -- the folder itself ----------------------------------------------------------------------------------


def asked(word: str | None = "k1", body: bytes = b"{}", at: int = 1_800_000_000_000_000) -> Asked:
    heads = Heads(
        authorization=None,
        purpose=None,
        subject=None,
        idempotency=word,
        request_id=None,
        trace=None,
        binary_from=None,
        length=None,
        encoding=None,
    )
    said = Said(purpose=None, subject=None)
    return Asked(
        surface="openai", path="/p", service="s", heads=heads, said=said, body=body, fields={}, at=at
    )


def keep(replays: Replays, word: str = "k1", **fields: Any) -> None:
    with replays.once("fhs_x", asked(word, **fields)) as once:
        assert once
        once.keep([], Piece(data=b"", last=True), b"answer")


def test_an_answer_is_kept_for_a_day(tmp_path: Path) -> None:
    replays = Replays(tmp_path)
    keep(replays)
    late = asked(at=asked().at + KEEP + 1)
    with replays.once("fhs_x", asked()) as once:
        assert once
        assert once.earlier
        with pytest.raises(StillUnderWay), replays.once("fhs_x", asked()):
            pass
    with replays.once("fhs_x", late) as once:
        assert once
        assert once.earlier is None
    with pytest.raises(OtherRequest), replays.once("fhs_x", asked(body=b"[]")):
        pass


def test_an_answer_half_written_by_a_dying_process_never_was(tmp_path: Path) -> None:
    replays = Replays(tmp_path)
    keep(replays)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    with replays.once("fhs_x", asked()) as once:
        assert once
        assert once.earlier is None


def test_sweeping_removes_what_is_old_then_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replays = Replays(tmp_path)
    for n in range(5):
        keep(replays, f"k{n}")
    paths = sorted(tmp_path.iterdir())
    for n, path in enumerate(paths):
        os.utime(path, (1000 + n, 1000 + n))
    assert replays.sweep(1000 * 1_000_000) == 0
    monkeypatch.setattr(replays_module, "MOST_FILES", 3)
    assert replays.sweep(1000 * 1_000_000) == 2
    assert sorted(tmp_path.iterdir()) == paths[2:]
    assert replays.sweep(1003 * 1_000_000 + KEEP) == 1


def test_what_was_kept_before_somebody_was_forgotten_is_swept(tmp_path: Path) -> None:
    replays = Replays(tmp_path)
    for n in range(3):
        keep(replays, f"k{n}")
    paths = sorted(tmp_path.iterdir())
    for n, path in enumerate(paths):
        os.utime(path, (1000 + n, 1000 + n))
    assert replays.sweep(2000 * 1_000_000, forgotten_at=1002 * 1_000_000) == 2
    assert sorted(tmp_path.iterdir()) == paths[2:]


@pytest.mark.parametrize("heard", ["while it is answered", "after it was answered"])
def test_what_was_under_way_when_somebody_was_forgotten_goes_as_well(tmp_path: Path, heard: str) -> None:
    """Its file is newer than the forgetting, the request is not: nobody waits a day for it to go."""
    said = [0]
    replays = Replays(tmp_path, lambda: said[0])
    forgotten_at = asked().at + 1
    with replays.once("fhs_x", asked()) as once:
        assert once
        once.keep([], Piece(data=b"", last=True), b"answer")
        if heard == "while it is answered":
            said[0] = forgotten_at
            assert replays.sweep(forgotten_at, forgotten_at) == 0, "it is under way"
    assert len(list(tmp_path.iterdir())) == (heard == "after it was answered")
    replays.sweep(forgotten_at, forgotten_at)
    assert not list(tmp_path.iterdir())


def test_two_gateways_may_sweep_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do when somebody is forgotten: what one has listed, the other has removed."""
    replays = Replays(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    listed = list(replays._listed())
    (tmp_path / "a").unlink()
    monkeypatch.setattr(replays, "_listed", lambda: iter(listed))
    assert replays.sweep(now(), now() + 1_000_000) == 1
    assert not list(tmp_path.iterdir())


def test_a_request_under_way_is_not_swept(tmp_path: Path) -> None:
    replays = Replays(tmp_path)
    with replays.once("fhs_x", asked()) as once:
        assert once
        (path,) = tmp_path.iterdir()
        os.utime(path, (1, 1))
        assert replays.sweep(KEEP * 10) == 0


def test_without_the_header_nothing_is_kept(tmp_path: Path) -> None:
    with Replays(tmp_path).once("fhs_x", asked(None)) as once:
        assert once is None
    assert not list(tmp_path.iterdir())
