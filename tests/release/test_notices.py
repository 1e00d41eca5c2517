"""Notices: a webhook whose signature anybody can check, a mail with a deep link, and trying again."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from smtplib import SMTP
from typing import Any

import pytest
import receivers
import sqlalchemy as sa
from receivers import Postbox, Receiver

from freehold.errors import BadInput, Conflict, NotFound
from freehold.jobs.steps import Journey
from freehold.release import notices
from freehold.release.courier import PAUSES, Courier, secret_bytes
from freehold.spec.config import Mail
from freehold.store import tables
from freehold.store.ground import Ground
from tests.conftest import MovingClock
from tests.release.conftest import person

ADMIN = person("olga")
SECRET = "a secret of sufficient length"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers.receiver() as seen:
        yield seen


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    with receivers.postbox() as box:
        yield box


# -- short ways -------------------------------------------------------------------------------------


@pytest.fixture
def wait_for_people(
    declared: Callable[..., Any], trained: Callable[..., Any], asked: Callable[..., Any]
) -> Callable[[], tuple[str, ...]]:
    """Brings a candidate to the point where two people have to decide."""

    def run() -> tuple[str, ...]:
        declared()
        ids: tuple[str, ...] = asked(trained())
        return ids

    return run


def _webhook(ground: Ground, url: str, secret: str | None = None) -> notices.Channel:
    with ground.db.write() as tx:
        return notices.add_webhook(tx, ground, by=ADMIN, url=url, secret=secret)


def _mail(ground: Ground) -> None:
    with ground.db.write() as tx:
        notices.add_mail(tx, by=ADMIN)


def _courier(ground: Ground, port: int = 0) -> Courier:
    mail = Mail(host="127.0.0.1" if port else "", port=port, sender="freehold@example.org")
    return Courier(ground, mail=mail, base_url="https://freehold.example.org/")


def _rows(ground: Ground) -> list[Any]:
    with ground.db.read() as conn:
        return list(conn.execute(sa.select(tables.notices).order_by(tables.notices.c.id)).mappings())


# -- webhooks ---------------------------------------------------------------------------------------


def test_a_webhook_tells_what_waits_with_a_deep_link_and_a_signature_that_holds(
    ground: Ground, receiver: Receiver, wait_for_people: Callable[[], tuple[str, ...]]
) -> None:
    _webhook(ground, receiver.url + "/hook")
    risk, protection = wait_for_people()
    assert _courier(ground).run_once() == 2
    headers, body = receiver.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    kind, _, signature = headers["webhook-signature"].partition(",")
    assert kind == "v1a"
    ground.release_key.public_key().verify(base64.b64decode(signature), signed)
    links = {json.loads(body)["data"]["link"] for _, body in receiver.got}
    assert links == {f"https://freehold.example.org/approvals/{id}" for id in (risk, protection)}


def test_a_webhook_with_a_shared_secret_is_signed_by_hmac(
    ground: Ground, receiver: Receiver, wait_for_people: Callable[[], tuple[str, ...]]
) -> None:
    _webhook(ground, receiver.url, SECRET)
    wait_for_people()
    _courier(ground).run_once()
    headers, body = receiver.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_a_notice_names_nobody(
    ground: Ground, receiver: Receiver, wait_for_people: Callable[[], tuple[str, ...]]
) -> None:
    _webhook(ground, receiver.url)
    wait_for_people()
    _courier(ground).run_once()
    body = receiver.got[0][1]
    assert b"@example.org" not in body.replace(b"freehold.example.org", b"")
    assert b"per_" not in body


def test_what_a_receiver_does_not_take_is_tried_again_with_growing_pauses_and_the_same_id(
    ground: Ground,
    receiver: Receiver,
    clock: MovingClock,
    wait_for_people: Callable[[], tuple[str, ...]],
) -> None:
    _webhook(ground, receiver.url)
    wait_for_people()
    courier = _courier(ground)
    receiver.status = 503
    assert courier.run_once() == 0
    assert courier.run_once() == 0
    assert len(receiver.got) == 2, "not before its pause is over"
    assert {row["because"] for row in _rows(ground)} == {"HTTP 503"}
    clock.forward(seconds=PAUSES[0] + 1)
    receiver.status = 200
    assert courier.run_once() == 2
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert sorted(ids[:2]) == sorted(ids[2:])


def test_after_the_last_pause_a_notice_has_failed_and_says_why(
    ground: Ground,
    receiver: Receiver,
    clock: MovingClock,
    wait_for_people: Callable[[], tuple[str, ...]],
) -> None:
    _webhook(ground, receiver.url)
    wait_for_people()
    receiver.status = 302  # a redirect is not followed: who knows where to
    for pause in (*PAUSES, 0):
        _courier(ground).run_once()
        clock.forward(seconds=pause + 1)
    assert {(row["state"], row["because"]) for row in _rows(ground)} == {("failed", "HTTP 302")}


def test_a_receiver_that_is_away_is_tried_again(
    ground: Ground, wait_for_people: Callable[[], tuple[str, ...]]
) -> None:
    _webhook(ground, "http://127.0.0.1:1")
    wait_for_people()
    assert _courier(ground).run_once() == 0
    assert {(row["state"], row["because"]) for row in _rows(ground)} == {("waiting", "ConnectError")}


def test_the_secret_of_a_removed_webhook_is_destroyed_and_no_other(ground: Ground) -> None:
    kept = _webhook(ground, "https://kept.example.org/hook", SECRET)
    gone = _webhook(ground, "https://gone.example.org/hook", SECRET)
    ground.keyring.put(notices.secret_name("ntc_left_by_a_crash"), b"{}")
    with ground.db.write() as tx:
        notices.remove(tx, by=ADMIN, channel=gone.id)
    assert notices.destroy_secrets(ground) == 2
    assert ground.keyring.names("notice/") == [notices.secret_name(kept.id)]


def test_a_channel_that_was_removed_gets_nothing_any_more(
    ground: Ground, receiver: Receiver, wait_for_people: Callable[[], tuple[str, ...]]
) -> None:
    channel = _webhook(ground, receiver.url)
    wait_for_people()
    with ground.db.write() as tx:
        notices.remove(tx, by=ADMIN, channel=channel.id)
    assert _courier(ground).run_once() == 0
    assert receiver.got == []


def test_the_thread_sends_what_comes_while_it_runs(
    ground: Ground,
    receiver: Receiver,
    wait_for_people: Callable[[], tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import time

    monkeypatch.setattr("freehold.release.courier.LOOK", 3600.0)
    _webhook(ground, receiver.url)
    courier = _courier(ground)
    courier.start()
    wait_for_people()
    deadline = time.monotonic() + 10
    while len(receiver.got) < 2 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    courier.stop()
    assert len(receiver.got) == 2


# -- mail -------------------------------------------------------------------------------------------


def test_everyone_who_may_decide_gets_a_letter_with_a_deep_link(
    ground: Ground, postbox: Postbox, wait_for_people: Callable[[], tuple[str, ...]]
) -> None:
    _mail(ground)
    risk, _ = wait_for_people()
    assert _courier(ground, postbox.port).run_once() == 2
    letters = dict(postbox.got)
    assert sorted(letters) == ["ann@example.org", "bob@example.org"]
    ann = letters["ann@example.org"]
    assert ann["subject"] == "An approval waits for you: claims-triage"
    text = str(ann.get_payload())
    assert f"https://freehold.example.org/approvals/{risk}" in text
    assert f"freehold approve show {risk}" in text


def test_owner_submitter_and_locked_people_get_no_letter(
    ground: Ground,
    declared: Callable[..., Any],
    trained: Callable[..., Any],
    asked: Callable[..., Any],
) -> None:
    from freehold.ledger.record import record

    _mail(ground)
    declared()
    with ground.db.write() as tx:
        for name in ("tim", "olga", "otto"):
            tx.execute(
                tables.memberships.insert().values(
                    person=f"per_{name}", project="claims", role="model-risk", created_at=1
                )
            )
        tx.execute(tables.people.update().where(tables.people.c.id == "per_otto").values(state="locked"))
        record(tx, "person.locked", by=ADMIN, object="per_otto", detail={"person": "per_otto"})
    asked(trained(), owner="Olga@example.org", roles=("model-risk",))
    assert [row["target"] for row in _rows(ground)] == ["per_ann"]


def test_a_letter_about_what_failed_says_where_the_reason_stands(ground: Ground, postbox: Postbox) -> None:
    _mail(ground)
    journey = Journey(
        id="jrn_1", kind="retrain", project="claims", service="claims-triage", spec={}, spec_digest="",
        state="failing", because="", until=None, submitted_by="per_ann", created_at=1, ended_at=None,
    )  # fmt: skip
    with ground.db.write() as tx:
        notices.tell_ended(tx, journey=journey, state="failed", owner="BOB@example.org", role="trainer")
    assert _courier(ground, postbox.port).run_once() == 2
    letters = dict(postbox.got)
    assert sorted(letters) == ["ann@example.org", "bob@example.org"], "who asked, and whose service it is"
    assert letters["ann@example.org"]["subject"] == "A retraining failed: claims-triage"
    text = str(letters["ann@example.org"].get_payload())
    assert "https://freehold.example.org/services/claims-triage" in text
    assert "freehold runs show jrn_1" in text


def test_a_refused_address_is_told_by_its_code_only(
    ground: Ground, postbox: Postbox, wait_for_people: Callable[[], tuple[str, ...]]
) -> None:
    _mail(ground)
    wait_for_people()
    postbox.reply = b"550 no mailbox ann@example.org"
    assert _courier(ground, postbox.port).run_once() == 0
    assert {row["because"] for row in _rows(ground)} == {"SMTPRecipientsRefused"}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate that only itself vouches for, and a server's context with it."""
    return receivers.self_signed(tmp_path / "mail.pem")


def _tls_courier(ground: Ground, port: int) -> Courier:
    mail = Mail(
        host="127.0.0.1",
        port=port,
        sender="freehold@example.org",
        user="freehold",
        password_from="MAIL_PASSWORD",
        starttls=True,
    )
    return Courier(ground, mail=mail, base_url="https://freehold.example.org")


def test_over_starttls_it_signs_in_and_delivers(
    ground: Ground,
    postbox: Postbox,
    certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    wait_for_people: Callable[[], tuple[str, ...]],
) -> None:
    file, postbox.tls = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("MAIL_PASSWORD", "hunter2")
    _mail(ground)
    wait_for_people()
    assert _tls_courier(ground, postbox.port).run_once() == 2
    assert postbox.signed_in[0] == b"\0freehold\0hunter2"


@pytest.mark.parametrize(
    ("host", "password", "because"),
    [
        ("mail.example.org", "hunter2", "starttls"),
        ("127.0.0.1", "", "not set"),
    ],
)
def test_no_password_goes_where_others_could_read_it_and_none_is_made_up(
    ground: Ground,
    postbox: Postbox,
    monkeypatch: pytest.MonkeyPatch,
    wait_for_people: Callable[[], tuple[str, ...]],
    host: str,
    password: str,
    because: str,
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", password)
    mail = Mail(host=host, port=postbox.port, sender="a@example.org", user="a", password_from="MAIL_PASSWORD")
    courier = Courier(ground, mail=mail, base_url="https://freehold.example.org")
    _mail(ground)
    wait_for_people()
    monkeypatch.setattr(
        "freehold.release.courier.smtplib.SMTP", lambda _host, *a, **k: SMTP("127.0.0.1", *a, **k)
    )
    assert courier.run_once() == 0
    assert (postbox.signed_in, postbox.got) == ([], [])
    assert all(because in row["because"] for row in _rows(ground))


def test_a_disk_that_fails_for_a_moment_ends_no_courier(ground: Ground) -> None:
    """Who leads is asked of a file."""
    failed, seen = threading.Event(), threading.Event()

    def leads() -> bool:
        if not failed.is_set():
            failed.set()
            raise OSError(errno.EMFILE, "too many open files")
        seen.set()
        return False

    courier = Courier(ground, mail=Mail(), base_url="https://freehold.example.org", leads=leads)
    courier.start()
    assert failed.wait(10)
    courier.nudge()
    assert seen.wait(10)
    courier.stop()


def test_a_mail_server_that_nobody_vouches_for_gets_neither_password_nor_letter(
    ground: Ground,
    postbox: Postbox,
    certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    wait_for_people: Callable[[], tuple[str, ...]],
) -> None:
    _, postbox.tls = certificate
    monkeypatch.setenv("MAIL_PASSWORD", "hunter2")
    _mail(ground)
    wait_for_people()
    assert _tls_courier(ground, postbox.port).run_once() == 0
    assert (postbox.signed_in, postbox.got) == ([], [])
    assert {row["because"] for row in _rows(ground)} == {"SSLCertVerificationError"}


def test_without_a_mail_host_the_notice_waits_and_says_so(
    ground: Ground, wait_for_people: Callable[[], tuple[str, ...]]
) -> None:
    _mail(ground)
    wait_for_people()
    assert _courier(ground).run_once() == 0
    assert {row["because"] for row in _rows(ground)} == {"no mail host in freehold.yaml"}


# -- configuring ------------------------------------------------------------------------------------


def test_the_path_of_a_webhook_and_its_secret_stand_in_no_row(ground: Ground) -> None:
    _webhook(ground, "https://hooks.example.com/T0/very-secret-path", SECRET)
    with ground.db.read() as conn:
        for table in tables.metadata.sorted_tables:
            rows = str(conn.execute(table.select()).all())
            assert "very-secret-path" not in rows
            assert SECRET not in rows
        (channel,) = notices.channels(conn)
    assert (channel.to, channel.signed) == ("https://hooks.example.com", "hmac")


def test_the_same_place_twice_is_told_so(ground: Ground) -> None:
    for add in (lambda: _webhook(ground, "https://hooks.example.com/x"), lambda: _mail(ground)):
        add()
        with pytest.raises(Conflict):
            add()


def test_a_bad_address_or_a_short_secret_configures_nothing(ground: Ground) -> None:
    for url, secret in (("http://example.com/x", None), ("https://example.com/x", "short")):
        with pytest.raises(BadInput):
            _webhook(ground, url, secret)
    with ground.db.read() as conn:
        assert notices.channels(conn) == ()


def test_removing_what_is_not_there_is_told_so(ground: Ground) -> None:
    with pytest.raises(NotFound), ground.db.write() as tx:
        notices.remove(tx, by=ADMIN, channel="ntc_none")


def test_secrets_may_be_written_as_the_convention_does() -> None:
    assert secret_bytes("whsec_" + base64.b64encode(b"raw").decode()) == b"raw"
    assert secret_bytes("whsec_%%%") == b"whsec_%%%"
