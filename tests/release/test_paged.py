"""Many keys and withdrawals: what one change makes anew, and that no page says what the rows do not."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from postgres_server import past_us

from freehold.data import consent
from freehold.identity import keys
from freehold.ledger import agree, published
from freehold.ledger.record import record
from freehold.release import paged, views
from freehold.release.publish import envelope_of, newest_ix, pages, publish, publish_after, publish_first
from freehold.spec import snapshot as spec
from freehold.spec.ids import canonical, digest_bytes
from freehold.spec.principal import SYSTEM
from freehold.spec.snapshot import PAYLOAD_TYPE, GuardView, page_of
from freehold.store import tables
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.signing import Envelope, sign, verify

FOR = "claims-handling"
Looked = list[str]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty are many here."""
    monkeypatch.setattr(paged, "FEW", 20)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    """Every key that was read from its row, by its id."""
    seen: Looked = []
    view = views._key_view

    def counted(row: Mapping[Any, Any]) -> Any:
        seen.append(row["id"])
        return view(row)

    monkeypatch.setattr(views, "_key_view", counted)
    return seen


def made(tx: Tx, number: int = 1) -> list[str]:
    new = (
        keys.create(tx, by=SYSTEM, owner="per_tim", zone="serving", project="claims", purpose=FOR)
        for _ in range(number)
    )
    return [key.id for key in new]


def withdrew(tx: Tx, subject: str, state: str = consent.WITHDRAWN) -> None:
    consent.add(tx, "claims", [(subject, FOR, state)], source="per_tim")
    detail = {"subject": subject, "purpose": FOR, "source": "per_tim"}
    record(tx, f"consent.{state}", by=SYSTEM, object=subject, project="claims", detail=detail)


def person(number: int) -> str:
    return f"{number:064x}"


def changed(ground: Ground, change: Callable[[Tx], Any] = lambda _tx: None) -> Any:
    """Make a change and publish it."""
    with ground.db.write() as tx:
        did = change(tx)
        publish(tx, ground, by=SYSTEM)
    return did


def head(ground: Ground) -> dict[str, Any]:
    """The newest snapshot, its signature verified; what it says of pages is not followed."""
    with ground.db.read() as conn:
        told = envelope_of(conn, newest_ix(conn))
    assert told is not None
    payload = verify(ground.release_key.public_key(), Envelope.from_json(told), PAYLOAD_TYPE)
    said: dict[str, Any] = json.loads(payload)
    assert canonical(said) == payload
    return said


def laid(ground: Ground, of: str = "key") -> dict[str, list[dict[str, Any]]]:
    """Page -> what stands on it."""
    named = head(ground)[f"{of}_pages"]["digests"]
    with ground.db.read() as conn:
        found = dict(zip(named, pages(conn, tuple(named.values())), strict=True))
    return {name: json.loads(text) for name, text in found.items()}


def let_in(ground: Ground) -> set[str]:
    """The keys that gateways let in."""
    return {key["id"] for some in (head(ground)["keys"], *laid(ground).values()) for key in some}


def stored(ground: Ground) -> int:
    with ground.db.read() as conn:
        return conn.scalar(sa.select(sa.func.count()).select_from(tables.snapshot_pages)) or 0


def test_few_stand_in_the_snapshot_and_one_more_than_few_on_pages(ground: Ground) -> None:
    publish_first(ground)
    first = changed(ground, lambda tx: made(tx, 20))
    assert [key["id"] for key in head(ground)["keys"]] == sorted(first)
    assert head(ground)["key_pages"] == {"form": "", "digests": {}}
    last = changed(ground, made)
    assert head(ground)["keys"] == []
    assert let_in(ground) == {*first, *last}
    assert all(page_of(key["id"]) == name for name, some in laid(ground).items() for key in some)


def test_one_key_more_among_many_makes_one_page_from_the_keys_on_it(ground: Ground, looked: Looked) -> None:
    publish_first(ground)
    changed(ground, lambda tx: made(tx, 300))
    before, kept = head(ground)["key_pages"]["digests"], stored(ground)
    looked.clear()
    (one,) = changed(ground, made)
    after = head(ground)["key_pages"]["digests"]
    assert {name for name in after if after[name] != before.get(name)} == {page_of(one)}
    assert stored(ground) == kept + 1
    assert sorted(looked) == sorted(key["id"] for key in laid(ground)[page_of(one)])


def test_a_change_of_something_else_looks_at_no_key(ground: Ground, looked: Looked) -> None:
    publish_first(ground)
    changed(ground, lambda tx: made(tx, 300))
    before, kept = head(ground)["key_pages"], stored(ground)
    looked.clear()
    changed(ground)
    assert (head(ground)["key_pages"], stored(ground), looked) == (before, kept, [])


def test_a_void_key_is_on_no_page_any_more(ground: Ground) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))
    for key in every[:30]:
        changed(ground, lambda tx, key=key: keys.revoke(tx, by=SYSTEM, key=key))
    assert let_in(ground) == set(every[30:])


def test_a_key_that_was_voided_without_a_snapshot_is_not_in_the_next_one(ground: Ground) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))
    with ground.db.write() as tx:
        keys.revoke(tx, by=SYSTEM, key=every[0])
        new = made(tx)
    changed(ground)
    assert let_in(ground) == {*every[1:], *new}
    with ground.db.read() as conn:
        assert conn.execute(sa.select(tables.unpublished)).all() == []


def test_what_was_written_without_saying_which_has_all_of_it_laid_out_anew(
    ground: Ground, looked: Looked
) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))
    for at_once, void in ((True, every[0]), (False, every[1])):
        looked.clear()
        with ground.db.write() as tx:
            tx.execute(tables.keys.update().where(tables.keys.c.id == void).values(revoked_at=tx.at))
            tx.tells_of(["keys"])
            if at_once:
                publish(tx, ground, by=SYSTEM)
        if not at_once:
            changed(ground)
        assert set(looked) == set(every[every.index(void) + 1 :])
        assert void not in let_in(ground)


def test_a_key_that_was_named_beside_one_that_was_not_does_not_hide_it(ground: Ground) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))

    def both(tx: Tx) -> None:
        keys.revoke(tx, by=SYSTEM, key=every[0])
        tx.execute(tables.keys.update().where(tables.keys.c.id == every[1]).values(revoked_at=tx.at))

    changed(ground, both)
    assert let_in(ground) == set(every[2:])


def test_what_is_rolled_back_is_not_named_either(ground: Ground, looked: Looked) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))

    def change_and_fail() -> None:
        with ground.db.write() as tx:
            keys.revoke(tx, by=SYSTEM, key=every[0])
            publish(tx, ground, by=SYSTEM)
            raise RuntimeError("something after it fails")

    with pytest.raises(RuntimeError):
        change_and_fail()
    looked.clear()
    changed(ground)
    assert looked == []
    assert let_in(ground) == set(every)


def test_two_snapshots_in_one_transaction_both_know_what_changed(ground: Ground) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))
    with ground.db.write() as tx:
        keys.revoke(tx, by=SYSTEM, key=every[0])
        publish(tx, ground, by=SYSTEM)
        keys.revoke(tx, by=SYSTEM, key=every[1])
        publish(tx, ground, by=SYSTEM)
    assert let_in(ground) == set(every[2:])


def test_an_expired_key_goes_with_the_next_change_near_it_and_says_until_when_it_was_good(
    ground: Ground,
) -> None:
    """Gateways look at the time themselves: a page is not made anew because time went by."""
    publish_first(ground)

    def some(tx: Tx) -> str:
        made(tx, 60)
        return keys.create(
            tx,
            by=SYSTEM,
            owner="per_tim",
            zone="serving",
            project="claims",
            purpose=FOR,
            expires_at=tx.at + 1,
        ).id

    short = changed(ground, some)
    changed(ground)
    assert short in let_in(ground)
    assert [key["expires_at"] for key in laid(ground)[page_of(short)] if key["id"] == short] != [None]
    changed(ground, lambda tx: keys.revoke(tx, by=SYSTEM, key=short))
    assert short not in let_in(ground)


@pytest.mark.parametrize("how", ["gone", "another's", "damaged"])
def test_a_page_that_is_not_what_it_was_has_all_of_them_made_from_the_rows(ground: Ground, how: str) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))
    p = tables.snapshot_pages
    with ground.db.write() as tx:
        tx.tells_of([p.name])
        if how == "gone":
            tx.execute(p.delete())
        else:
            tx.execute(p.update().values(content=b"x" if how == "damaged" else paged.deflated(b"[]")))
    with ground.db.read() as conn:
        assert set(pages(conn, tuple(head(ground)["key_pages"]["digests"].values()))) == {b""}
    changed(ground, lambda tx: keys.revoke(tx, by=SYSTEM, key=every[0]))
    assert let_in(ground) == set(every[1:])


FORGED = pytest.mark.parametrize("how", ["unreadable", "signed by another", "another's words"])


def forge(ground: Ground, how: str) -> None:
    """Put another snapshot in the place of the newest, which lacks a page."""
    said = head(ground)
    said["key_pages"]["digests"].popitem()
    key = Ed25519PrivateKey.generate() if how == "signed by another" else ground.release_key
    forged = sign(key, PAYLOAD_TYPE, canonical(said))
    if how == "another's words":
        forged = replace(forged, signature=bytes(64))
    s = tables.snapshots
    with ground.db.write() as tx:
        tx.tells_of([s.name])
        text = "x" if how == "unreadable" else forged.kept()
        tx.execute(s.update().where(s.c.ix == newest_ix(tx.connection)).values(envelope=text))


@FORGED
def test_a_snapshot_that_is_not_as_it_was_signed_is_nothing_to_go_on_from(ground: Ground, how: str) -> None:
    """Whoever writes into the rows has nothing of it signed by us with the next change."""
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))
    forge(ground, how)
    new = changed(ground, made)
    assert let_in(ground) == {*every, *new}


@FORGED
def test_a_start_publishes_anew_what_is_not_as_it_was_signed(ground: Ground, how: str) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))
    forge(ground, how)
    assert publish_first(ground) == 3 == publish_first(ground)
    assert let_in(ground) == set(every)


def test_withdrawals_are_on_pages_too_and_who_consents_again_is_on_none(
    ground: Ground, snapshot: Callable[[], dict[str, Any]]
) -> None:
    publish_first(ground)
    changed(ground, lambda tx: [withdrew(tx, person(number)) for number in range(40)])
    before, kept = head(ground)["withdrawal_pages"]["digests"], stored(ground)
    assert snapshot()["withdrawals"] == []
    changed(ground, lambda tx: withdrew(tx, person(7), consent.GIVEN))
    changed(ground, lambda tx: withdrew(tx, person(700)))
    found = [one["subject"] for some in laid(ground, "withdrawal").values() for one in some]
    assert sorted(found) == [*(person(number) for number in range(40) if number != 7), person(700)]
    after = head(ground)["withdrawal_pages"]["digests"]
    names = {page_of(person(7)), page_of(person(700))}
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == names
    assert stored(ground) == kept + 1, "the page of nothing is none"


def test_a_file_that_frees_somebody_names_them_and_not_the_others(ground: Ground) -> None:
    with ground.db.write() as tx:
        said = [(person(number), FOR, consent.GIVEN) for number in range(5)]
        consent.add(tx, "claims", said, source="dv_1", freed={person(3)})
        tx.tells_of(["consents"])
    with ground.db.read() as conn:
        assert conn.scalars(sa.select(tables.unpublished.c.id)).all() == [f"claims/{person(3)}"]


@pytest.mark.parametrize("seed", range(6))
def test_after_any_changes_the_snapshot_says_what_the_rows_say(ground: Ground, seed: int) -> None:
    """The pages as they came about, change after change, are the very ones that all rows at once make."""
    drawn = random.Random(seed)
    publish_first(ground)
    active: list[str] = []

    def change(tx: Tx) -> None:
        for _ in range(drawn.randint(1, 6)):
            match drawn.randrange(5):
                case 0 | 1:
                    active.extend(made(tx, drawn.randint(1, 9)))
                case 2 if active:
                    keys.revoke(tx, by=SYSTEM, key=active.pop(drawn.randrange(len(active))))
                case _:
                    state = drawn.choice([consent.WITHDRAWN, consent.WITHDRAWN, consent.GIVEN])
                    withdrew(tx, person(drawn.randrange(60)), state)
        if drawn.random() < 0.7:
            publish(tx, ground, by=SYSTEM)

    for _ in range(40):
        with ground.db.write() as tx:
            change(tx)
    changed(ground)
    said = head(ground)
    assert said["key_pages"]["form"]
    assert let_in(ground) == set(active)
    with ground.db.write() as tx:
        publish_after(tx, ground, by=SYSTEM, made_at=tx.at)
    anew = head(ground)
    both = ("keys", "key_pages", "withdrawals", "withdrawal_pages")
    assert {name: said[name] for name in both} == {name: anew[name] for name in both}


def test_pages_of_a_release_with_other_fields_are_all_made_anew(
    ground: Ground, looked: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = changed(ground, lambda tx: made(tx, 60))
    with monkeypatch.context() as before:
        before.setattr(paged, "KEYS", replace(paged.KEYS, form="of before"))
        with ground.db.write() as tx:
            publish_after(tx, ground, by=SYSTEM, made_at=tx.at)
    assert head(ground)["key_pages"]["form"] == "of before"
    looked.clear()
    assert publish_first(ground) == newest(ground)
    assert sorted(looked) == sorted(every)
    assert head(ground)["key_pages"]["form"] == paged.KEYS.form
    assert publish_first(ground) == newest(ground)


def test_each_release_makes_every_page_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may read a guard or a default otherwise, or have changed rows in its migration: no field tells."""
    assert spec.form_of(spec.Withdrawal) == spec.WITHDRAWAL_FORM
    monkeypatch.setattr(spec, "__version__", "0.0.0")
    assert spec.form_of(spec.Withdrawal) != spec.WITHDRAWAL_FORM


@pytest.mark.parametrize("number", [5, 60])
def test_what_a_release_makes_otherwise_of_the_same_row_is_published_when_it_starts(
    ground: Ground, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = views._key_view
    with monkeypatch.context() as before:
        before.setattr(views, "_key_view", lambda row: replace(view(row), guard_in=GuardView(budget=900)))
        publish_first(ground)
        every = changed(ground, lambda tx: made(tx, number))
        assert publish_first(ground) == 2
    assert publish_first(ground) == 3 == publish_first(ground)
    some = [*head(ground)["keys"], *(key for page in laid(ground).values() for key in page)]
    assert [key["guard_in"]["budget"] for key in some] == [500] * len(every)


def newest(ground: Ground) -> int:
    with ground.db.read() as conn:
        return newest_ix(conn)


def test_pages_come_in_the_order_asked_and_nothing_stands_for_one_that_is_not_there(ground: Ground) -> None:
    publish_first(ground)
    changed(ground, lambda tx: made(tx, 60))
    digests = list(head(ground)["key_pages"]["digests"].values())
    nobodys = "sha256:" + "0" * 64
    with ground.db.read() as conn:
        first, none, second = pages(conn, (digests[1], nobodys, digests[0]))
    assert [digest_bytes(text) for text in (first, second)] == [digests[1], digests[0]]
    assert none == b""


def test_verifying_finds_a_page_that_is_missing_altered_or_nobodys(ground: Ground) -> None:
    publish_first(ground)
    changed(ground, lambda tx: made(tx, 60))

    def against() -> list[str]:
        with ground.db.read() as conn:
            return [why for place, why in agree.disagreements(conn)[1] if place.startswith("snapshot_pages")]

    assert against() == []
    p = tables.snapshot_pages
    digest = next(iter(head(ground)["key_pages"]["digests"].values()))
    row = {"digest": "sha256:" + "0" * 64, "content": b"x", "created_at": 1}
    for statement, found in (
        (p.insert().values(**row), ["its content has another digest", "no snapshot names it"]),
        (p.delete().where(p.c.digest == row["digest"]), []),
        (
            p.delete().where(p.c.digest == digest),
            [f"snapshot {newest(ground)} names it, and it is not there"],
        ),
    ):
        with ground.db.write() as tx:
            tx.tells_of([p.name])
            tx.execute(statement)
        assert against() == found


def test_verifying_makes_nothing_of_what_old_snapshots_say_beside_their_pages(ground: Ground) -> None:
    """Those of before pages hold every key."""
    payload = canonical({"keys": [{"id": str(number)} for number in range(50_000)]})
    row = {"digest": digest_bytes(payload), "created_at": 1}
    row["envelope"] = sign(ground.release_key, PAYLOAD_TYPE, payload).kept()
    with ground.db.write() as tx:
        tx.tells_of(["snapshots"])
        tx.execute(tables.snapshots.insert().values(ix=1, **row))
    publish_first(ground)
    with ground.db.read() as conn:
        tracemalloc.start()
        found = published.disagreements(conn)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert found == []
    assert most < 8 * len(payload), "read as JSON it takes 20 times its length"


def test_verifying_has_a_few_snapshots_in_memory_together_of_all_there_ever_were(ground: Ground) -> None:
    dice, size, many = random.Random(7), 50_000, 200
    with ground.db.write() as tx:
        tx.tells_of(["snapshots"])
        for ix in range(1, many + 1):
            payload = canonical({"of before": dice.randbytes(size).hex()})
            envelope = sign(ground.release_key, PAYLOAD_TYPE, payload).kept()
            row = {"digest": digest_bytes(payload), "envelope": envelope, "created_at": ix}
            tx.execute(tables.snapshots.insert().values(ix=ix, **row))
    with ground.db.read() as conn:
        tracemalloc.start()
        agree.disagreements(conn)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < size * many / 2


def test_verifying_finds_a_void_key_that_is_let_in_and_a_withdrawal_nobody_hears_of(ground: Ground) -> None:
    """As if something had changed that was not named: every page is whole, and says what was."""
    publish_first(ground)

    def some(tx: Tx) -> list[str]:
        for number in range(40):
            withdrew(tx, person(number))
        return made(tx, 60)

    every = changed(ground, some)
    with ground.db.write() as tx:  # these wait to be published: that is no disagreement
        keys.revoke(tx, by=SYSTEM, key=every[0])
        withdrew(tx, person(700))
    with ground.db.read() as conn:
        assert published.disagreements(conn) == []
    with past_us(ground.db) as connection:
        connection.exec_driver_sql("DELETE FROM unpublished")
    with ground.db.read() as conn:
        assert published.disagreements(conn) == [
            (f"keys `{every[0]}`", "it is void, and the newest snapshot lets it in"),
            (f"consents of `{person(700)}`", "they withdrew, and the newest snapshot does not say so"),
        ]
    before = newest(ground)
    assert publish_first(ground) == before + 1 == publish_first(ground)
    assert let_in(ground) == set(every[1:])
    with ground.db.read() as conn:
        assert published.disagreements(conn) == []


@pytest.mark.parametrize("number", [5, 60])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DELETE FROM keys WHERE id = '{}'", "it is void, and the newest snapshot lets it in"),
        (
            "UPDATE keys SET zone = 'control' WHERE id = '{}'",
            "it is void, and the newest snapshot lets it in",
        ),
        (
            "UPDATE keys SET services = '[\"letters\"]' WHERE id = '{}'",
            "the newest snapshot does not say of it what its row says",
        ),
        (
            "UPDATE keys SET expires_at = 7 WHERE id = '{}'",
            "the newest snapshot does not say of it what its row says",
        ),
    ],
)
def test_a_key_that_is_not_what_the_newest_snapshot_says_is_found(
    ground: Ground, number: int, change: str, why: str
) -> None:
    """Few stand in the snapshot, many on pages: both are held against the rows."""
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, number))
    with past_us(ground.db) as connection:
        connection.exec_driver_sql(change.format(every[1]))
    with ground.db.read() as conn:
        assert published.disagreements(conn) == [(f"keys `{every[1]}`", why)]
    assert publish_first(ground) == 3 == publish_first(ground)
    with ground.db.read() as conn:
        assert published.disagreements(conn) == []


@pytest.mark.parametrize("number", [5, 60])
@pytest.mark.parametrize("change", ["limits = '5/min'", "guard = 'in.pii=mask'"])
def test_a_start_finds_a_key_that_may_more_than_its_row_says(
    ground: Ground, number: int, change: str
) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, number))
    with past_us(ground.db) as connection:
        connection.exec_driver_sql(f"UPDATE keys SET {change} WHERE id = '{every[1]}'")
    assert publish_first(ground) == 3 == publish_first(ground)


def test_a_withdrawal_that_nobody_hears_of_is_found_while_there_are_few(ground: Ground) -> None:
    publish_first(ground)
    changed(ground, lambda tx: [withdrew(tx, person(number)) for number in range(4)])
    with ground.db.write() as tx:
        withdrew(tx, person(4))
    with past_us(ground.db) as connection:
        connection.exec_driver_sql("DELETE FROM unpublished")
    found = (f"consents of `{person(4)}`", "they withdrew, and the newest snapshot does not say so")
    with ground.db.read() as conn:
        assert published.disagreements(conn) == [found]
    assert publish_first(ground) == 3 == publish_first(ground)
    assert person(4) in {one["subject"] for one in head(ground)["withdrawals"]}


def test_a_page_that_was_lost_is_made_again_when_control_starts(ground: Ground) -> None:
    publish_first(ground)
    every = changed(ground, lambda tx: made(tx, 60))
    with past_us(ground.db) as connection:
        connection.exec_driver_sql("DELETE FROM snapshot_pages")
    assert publish_first(ground) == 3 == publish_first(ground)
    assert let_in(ground) == set(every)
