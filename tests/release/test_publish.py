"""The snapshot: what gateways serve by is what the rows say, signed, and never ahead of the ledger."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.policy.decide import Policies
from freehold.release.publish import envelope_of, newest, publish, publish_first
from freehold.spec.ids import canonical, digest_bytes
from freehold.spec.principal import SYSTEM
from freehold.spec.snapshot import PAYLOAD_TYPE, Snapshot
from freehold.store import tables
from freehold.store.ground import Ground
from freehold.store.hpke import open_with
from freehold.store.rows import Tx
from freehold.store.signing import Envelope, verify

Read = Callable[[], dict[str, Any]]


def _key(tx: Tx, id: str, **more: Any) -> None:
    values = {
        "id": id,
        "secret_digest": "d" * 64,
        "zone": "serving",
        "owner": "per_tim",
        "project": "claims",
        "services": '["claims-triage"]',
        "purpose": "claims-handling",
        "label": "",
        "expires_at": None,
        "revoked_at": None,
        "created_at": tx.at,
    }
    tx.execute(tables.keys.insert().values(values | more))


def _consent(tx: Tx, at: int, state: str, subject: str = "s" * 64) -> None:
    tx.execute(
        tables.consents.insert().values(
            id=f"con_{at}_{state}",
            project="claims",
            subject=subject,
            purpose="claims-handling",
            state=state,
            source="claims@1",
            at=at,
        )
    )


def _note(tx: Tx) -> None:
    """What came about has its entries; they are not what these tests are about."""
    tx.tells_of(table.name for table in tables.metadata.sorted_tables)


def test_the_first_snapshot_is_published_once(ground: Ground, snapshot: Read) -> None:
    assert publish_first(ground) == 1
    assert publish_first(ground) == 1
    said = snapshot()
    assert (said["ix"], said["origin"], said["services"]) == (1, "freehold.test/0", [])


def test_a_snapshot_names_the_policies_that_people_are_let_by_and_a_new_release_of_them_a_new_one(
    ground: Ground, snapshot: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_first(ground)
    shipped = Policies.shipped().text
    assert snapshot()["policy"] == digest_bytes(shipped.encode())
    schema = (files("freehold.policy") / "shipped.cedarschema").read_text()
    changed = Policies.from_text(shipped + "// reviewed\n", schema)
    monkeypatch.setattr(Policies, "shipped", lambda: changed)
    assert (publish_first(ground), publish_first(ground)) == (2, 2)
    assert snapshot()["policy"] == digest_bytes(changed.text.encode())


def test_a_snapshot_of_a_release_that_knew_fewer_guards_is_published_anew(
    ground: Ground, snapshot: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ground.db.write() as tx:
        _key(tx, "key_good")
        _note(tx)

    def of_before(self: Snapshot) -> bytes:
        said = self.as_json()
        for key in said["keys"]:
            del key["guard_in"]["domain"], key["guard_out"]["domain"]
        return canonical(said)

    with monkeypatch.context() as before:
        before.setattr(Snapshot, "canonical", of_before)
        publish_first(ground)
    assert "domain" not in snapshot()["keys"][0]["guard_in"]
    assert (publish_first(ground), publish_first(ground)) == (2, 2)
    assert snapshot()["keys"][0]["guard_in"]["domain"] == "none"


def test_each_snapshot_has_the_next_index_and_cites_its_entry(
    ground: Ground, snapshot: Read, recorded: Callable[[str], list[dict[str, Any]]]
) -> None:
    publish_first(ground)
    with ground.db.write() as tx:
        assert publish(tx, ground, by=SYSTEM) == 2
    last = recorded("snapshot.published")[-1]
    assert snapshot()["entry"] == last["id"]
    assert last["detail"]["ix"] == 2


def test_what_stays_of_a_snapshot_is_small_and_reads_as_what_was_signed(ground: Ground) -> None:
    with ground.db.write() as tx:
        for number in range(300):
            digest = hashlib.sha256(str(number).encode()).hexdigest()
            _key(tx, f"key_{digest[:26]}", secret_digest=digest)
        _note(tx)
        ix = publish(tx, ground, by=SYSTEM)
    with ground.db.read() as conn:
        kept = str(conn.scalar(sa.select(tables.snapshots.c.envelope).where(tables.snapshots.c.ix == ix)))
        told = envelope_of(conn, ix)
    assert told is not None
    envelope = Envelope.from_json(told)
    payload = verify(ground.release_key.public_key(), envelope, PAYLOAD_TYPE)
    assert len(json.loads(payload)["keys"]) == 300
    before = json.dumps(told)
    assert len(kept) < len(before) / 5
    assert Envelope.from_kept(kept) == envelope
    assert Envelope.from_kept(before) == envelope, "as an earlier release kept it"


def test_a_snapshot_is_gone_when_its_change_is_rolled_back(ground: Ground) -> None:
    publish_first(ground)

    def change_and_fail() -> None:
        with ground.db.write() as tx:
            publish(tx, ground, by=SYSTEM)
            raise RuntimeError("something after it fails")

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert publish_first(ground) == 1


def test_only_usable_keys_of_the_serving_zone_reach_gateways(ground: Ground, snapshot: Read) -> None:
    with ground.db.write() as tx:
        _key(tx, "key_good", expires_at=tx.at + 1_000_000, sensitivity=2)
        _key(tx, "key_revoked", revoked_at=tx.at)
        _key(tx, "key_expired", expires_at=tx.at)
        _key(tx, "key_control", zone="control")
        _note(tx)
        publish(tx, ground, by=SYSTEM)
    (only,) = snapshot()["keys"]
    assert only["id"] == "key_good"
    assert only["services"] == ["claims-triage"]
    assert only["sensitivity"] == 2


def test_the_newest_word_on_consent_counts_and_at_the_same_moment_the_no(
    ground: Ground, snapshot: Read
) -> None:
    with ground.db.write() as tx:
        _consent(tx, 10, "given")
        _consent(tx, 20, "withdrawn")
        _consent(tx, 10, "withdrawn", "b" * 64)
        _consent(tx, 20, "given", "b" * 64)
        _consent(tx, 31, "given", "c" * 64)
        tx.execute(
            tables.consents.insert().values(
                id="con_tie",
                project="claims",
                subject="c" * 64,
                purpose="claims-handling",
                state="withdrawn",
                source="per_bob",
                at=31,
            )
        )
        _note(tx)
        publish(tx, ground, by=SYSTEM)
    assert [w["subject"] for w in snapshot()["withdrawals"]] == ["c" * 64, "s" * 64]


def test_lookup_keys_cross_sealed_and_open_only_for_the_gateway(
    ground: Ground, snapshot: Read, gateway_private: bytes
) -> None:
    publish_first(ground)
    said = snapshot()
    sealed = base64.b64decode(said["lookup"]["claims"])
    key = ground.keyring.key("lookup/claims")
    assert open_with(gateway_private, sealed, b"lookup/claims") == key
    assert key.hex() not in str(said)


def test_no_gateway_hears_of_a_snapshot_before_the_ledger_has_it(
    ground: Ground, sequenced: Callable[[], None]
) -> None:
    publish_first(ground)
    with ground.db.read() as conn:
        assert newest(conn, 0) is None
    sequenced()
    with ground.db.write() as tx:
        publish(tx, ground, by=SYSTEM)
    with ground.db.read() as conn:
        found = newest(conn, 0)
        assert found is not None
        assert found[0] == 1
        assert newest(conn, 1) is None
