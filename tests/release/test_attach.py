"""Attaching what exists already: under the same rules, its key in nobody's sight."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from authority import Authority

from freehold.errors import BadInput, Failure, NotFound, Refused
from freehold.identity import floors
from freehold.release import attach, stop
from freehold.release.attach import Attached, Attachment, ContractNeeded, NameTaken, RestrictedStays
from freehold.release.contract import BadContract, NotCovered, read_contract
from freehold.release.fallbacks import BadFallback, FallbackRefused
from freehold.release.publish import publish, stale_for
from freehold.release.roll import NothingToRollBackTo, plan_rollback
from freehold.release.views import longest_stale
from freehold.spec.floor import Floor
from freehold.spec.guard import BadGuard
from freehold.store import tables
from freehold.store.ground import Ground
from freehold.store.hpke import open_with
from freehold.store.keyring import KeyDestroyed
from tests.release.conftest import person

OLGA = person("olga")
KEY = "sk-very-secret"
CONTRACT = """\
party: Example AI GmbH
until: 2030-12-31
purposes: [claims-handling]
regions: [eu]
sensitivity: Confidential
"""
Read = Callable[[], dict[str, Any]]


def _attach(ground: Ground, **more: Any) -> Attached:
    said: dict[str, Any] = {
        "service": "claims-chat",
        "project": "claims",
        "purpose": "claims-handling",
        "url": "http://127.0.0.1:8000",
        "model": "tiny-1b",
        "owner": "per_olga",
    }
    with ground.db.write() as tx:
        return attach.attach(tx, ground, by=OLGA, asked=Attachment(**(said | more)))


def test_an_attached_server_is_a_service_with_all_its_traffic(ground: Ground, snapshot: Read) -> None:
    done = _attach(ground, requests="60/min", spend="5 EUR/day", price_in="0.001", price_out="0.002")
    (service,) = snapshot()["services"]
    assert (service["kind"], service["task"], service["state"]) == ("attached", "generate", "live")
    assert (service["most"]["requests"], service["most"]["spend"]) == (60, "5")
    (route,) = service["routes"]
    target = route["target"]
    assert route["release"] == done.release
    assert (target["kind"], target["url"], target["name"]) == (
        "provider",
        "http://127.0.0.1:8000/v1",
        "tiny-1b",
    )
    assert (target["secret"], target["price_in"], target["price_out"]) == ("", "0.001", "0.002")
    assert target["serving_digest"] == done.serving_digest


def test_one_model_may_stand_at_several_addresses(ground: Ground, snapshot: Read) -> None:
    one = _attach(ground)
    more = _attach(ground, also=("http://10.0.0.6:8000", "http://10.0.0.7:8000/v1/"), replace=True)
    (service,) = snapshot()["services"]
    target = service["routes"][0]["target"]
    assert target["url"] == "http://127.0.0.1:8000/v1"
    assert target["also"] == ["http://10.0.0.6:8000/v1", "http://10.0.0.7:8000/v1"]
    assert target["inside"]
    assert more.serving_digest != one.serving_digest, "another declaration"
    _attach(ground, also=("https://api.example.com/v1",), replace=True)
    assert not snapshot()["services"][0]["routes"][0]["target"]["inside"], "one of them is not"


def test_who_alone_vouches_for_it_goes_with_it(ground: Ground, snapshot: Read, tmp_path: Path) -> None:
    vouches = Authority(tmp_path / "theirs").ca.read_text()
    far = {"url": "https://api.example.com/v1"}
    one = _attach(ground, **far)
    more = _attach(ground, **far, ca=f"a note of somebody's\n{vouches}", replace=True)
    assert snapshot()["services"][0]["routes"][0]["target"]["ca"] == vouches.strip()
    assert more.serving_digest != one.serving_digest, "another declaration"
    with pytest.raises(BadInput, match="over plain HTTP no certificate is shown"):
        _attach(ground, ca=vouches, replace=True)
    for said in (
        "-----BEGIN NOTHING-----",
        vouches[:99] + "é" + vouches[99:],
        f"{vouches}\n{vouches[:99]}*{vouches[99:]}",
    ):
        with pytest.raises(BadInput, match="there is no certificate in it"):
            _attach(ground, **far, ca=said, replace=True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"also": ("http://127.0.0.1:8000/",)}, "it is one address"),
        ({"also": ("http://models.example.com",)}, "anyone on the way reads along"),
        ({"also": tuple(f"http://10.0.0.{n}" for n in range(16))}, "15 may stand beside"),
        ({"also": ("https://api.example.com/v1",), "sensitivity": "Confidential"}, "nothing says"),
    ],
    ids=["twice", "plain HTTP", "too many", "without a contract"],
)
def test_every_address_is_judged_like_the_first(ground: Ground, change: dict[str, Any], why: str) -> None:
    with pytest.raises(Failure, match=why):
        _attach(ground, **change)


def test_the_providers_key_opens_only_for_the_gateway_and_stands_nowhere_else(
    ground: Ground, snapshot: Read, gateway_private: bytes
) -> None:
    _attach(ground, key=KEY)
    (service,) = snapshot()["services"]
    sealed = base64.b64decode(service["routes"][0]["target"]["secret"])
    assert open_with(gateway_private, sealed, b"provider/claims-chat") == KEY.encode()
    with ground.db.read() as conn:
        for table in tables.metadata.sorted_tables:
            assert KEY not in str(conn.execute(table.select()).all())
    assert KEY not in repr(Attachment(**_said(), key=KEY))


def _said() -> dict[str, Any]:
    return {
        "service": "claims-chat",
        "project": "claims",
        "purpose": "claims-handling",
        "url": "x",
        "model": "m",
        "owner": "o",
    }


def test_a_contract_goes_with_it_and_its_end_is_enforced_by_the_gateway(
    ground: Ground, snapshot: Read
) -> None:
    _attach(
        ground,
        url="https://api.example.com/v1",
        region="eu",
        contract=CONTRACT,
        sensitivity="Confidential",
    )
    (service,) = snapshot()["services"]
    target = service["routes"][0]["target"]
    assert (target["region"], service["regions"]) == ("eu", ["eu"])
    assert target["contract_until"] == 1_924_992_000_000_000  # 2031-01-01T00:00Z: the last day counts


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"contract": CONTRACT.replace("2030", "2026")}, "it ended on 2026-12-31"),
        ({"purpose": "marketing"}, "it is for claims-handling, not for marketing"),
        ({"region": "us"}, "it is for eu, not for us"),
        ({"region": ""}, "it is for eu, and no region was named"),
        ({"sensitivity": "Restricted"}, "it allows Confidential at most, this is Restricted"),
    ],
)
def test_what_the_contract_does_not_cover_is_not_attached(
    ground: Ground, change: dict[str, str], why: str
) -> None:
    with pytest.raises(NotCovered) as told:
        _attach(ground, **({"region": "eu", "contract": CONTRACT} | change))
    assert told.value.why == why


def test_confidential_words_do_not_leave_without_a_contract(ground: Ground) -> None:
    with pytest.raises(ContractNeeded):
        _attach(ground, url="https://api.example.com/v1", sensitivity="Confidential")
    _attach(ground, url="http://10.0.0.5:8000", sensitivity="Confidential")


OUTSIDE = "https://api.example.com/v1"
ALL = CONTRACT.replace("Confidential", "Restricted")


@pytest.mark.parametrize(
    "change",
    [
        {"url": OUTSIDE, "sensitivity": "Restricted"},
        {"url": OUTSIDE, "sensitivity": "Restricted", "contract": ALL, "region": "eu"},
        {"also": (OUTSIDE,), "sensitivity": "Restricted", "contract": ALL, "region": "eu"},
        {"url": OUTSIDE, "contract": ALL, "region": "eu"},
        {"also": (OUTSIDE,), "contract": ALL, "region": "eu"},
    ],
    ids=["no contract", "a contract", "another address", "a contract for less", "for less, another address"],
)
def test_restricted_words_leave_under_no_contract(ground: Ground, change: dict[str, Any]) -> None:
    with pytest.raises(RestrictedStays, match=r"api\.example\.com") as told:
        _attach(ground, **change)
    assert "whatever a contract says" in told.value.why
    with ground.db.read() as conn:
        assert conn.execute(attach.services.select()).first() is None


def test_restricted_words_may_be_agreed_on_with_who_runs_a_model_inside(
    ground: Ground, snapshot: Read
) -> None:
    inside = {"url": "http://10.0.0.5:8000", "region": "eu", "sensitivity": "Restricted"}
    _attach(ground, **inside, contract=ALL)
    assert snapshot()["services"][0]["routes"][0]["target"]["inside"]
    _attach(ground, **inside, replace=True)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://example.com/v1"},
        {"service": "Claims Chat"},
        {"purpose": "Claims"},
        {"model": ""},
        {"model": "a b"},
        {"key": ""},
        {"key": "two words"},
        {"key": "line\nbreak"},
        {"requests": "many"},
        {"spend": "5 USD/day"},
        {"spend": "5 EUR/day"},  # and no price: it would hold nothing back
        {"each_key": "60/min, 5 EUR/day", "price_in": "0.000"},
        {"price_in": "cheap"},
        {"sensitivity": "Secret"},
        {"region": "E U"},
        {"project": "nothing"},
        {"contract": "party: x"},
    ],
)
def test_bad_words_are_refused_and_nothing_is_left_behind(ground: Ground, change: dict[str, str]) -> None:
    with pytest.raises((BadInput, NotFound)):
        _attach(ground, **change)
    with ground.db.read() as conn:
        assert conn.execute(attach.services.select()).first() is None
    with pytest.raises(KeyDestroyed):
        ground.keyring.key("provider/claims-chat")


def test_a_name_is_taken_once_and_changed_only_on_purpose(ground: Ground, snapshot: Read) -> None:
    first = _attach(ground, key=KEY)
    with pytest.raises(NameTaken) as told:
        _attach(ground)
    assert told.value.hint == "add --replace to change it"
    second = _attach(ground, model="other-7b", replace=True)
    assert first.release != second.release
    (service,) = snapshot()["services"]
    (route,) = service["routes"]
    assert route["target"]["name"] == "other-7b"
    assert route["target"]["secret"], "the key that was there is kept"
    with pytest.raises(NameTaken):
        _attach(ground, project="marketing", replace=True)


def test_nobody_knows_what_a_provider_was_trained_on(ground: Ground) -> None:
    with pytest.raises(BadGuard) as told:
        _attach(ground, guard=("in.domain=refuse",))
    assert "tabular models of your own" in str(told.value.why)


def test_guards_are_not_lost_by_saying_nothing_of_them(ground: Ground, snapshot: Read) -> None:
    _attach(ground, guard=("in.pii=mask", "out.secrets=refuse"))
    with pytest.raises(BadInput) as told:
        _attach(ground, model="other-7b", replace=True)
    assert "in pii mask, out secrets refuse" in told.value.why
    _attach(ground, model="other-7b", replace=True, guard=("in.pii=refuse",))
    assert snapshot()["services"][0]["guard_in"]["pii"] == "refuse"
    _attach(ground, replace=True, guard=("in.pii=none",))
    assert snapshot()["services"][0]["guard_in"]["pii"] == "none"
    _attach(ground, replace=True)


def test_replacing_with_the_same_words_keeps_the_release_and_turns_the_key(
    ground: Ground, snapshot: Read, gateway_private: bytes
) -> None:
    first = _attach(ground, key=KEY)
    second = _attach(ground, key="sk-new", replace=True)
    assert first.release == second.release
    sealed = base64.b64decode(snapshot()["services"][0]["routes"][0]["target"]["secret"])
    assert open_with(gateway_private, sealed, b"provider/claims-chat") == b"sk-new"


def test_a_stopped_service_stays_stopped_when_it_is_replaced(ground: Ground, snapshot: Read) -> None:
    _attach(ground)
    with ground.db.write() as tx:
        stop.stop(tx, ground, by=OLGA, service="claims-chat", because="test")
    _attach(ground, model="other-7b", replace=True)
    assert snapshot()["services"][0]["state"] == "stopped"


def test_an_attached_service_has_nothing_of_ours_to_roll_back_to(ground: Ground) -> None:
    _attach(ground)
    with ground.db.read() as conn, pytest.raises(NothingToRollBackTo):
        plan_rollback(conn, "claims-chat", ground.clock())


def test_the_ledger_says_what_was_attached_without_address_or_party(
    ground: Ground, recorded: Callable[[str], list[dict[str, Any]]]
) -> None:
    _attach(ground, region="eu", contract=CONTRACT)
    (entry,) = recorded("service.attached")
    assert entry["detail"]["region"] == "eu"
    assert "127.0.0.1" not in json.dumps(entry)
    assert "Example AI" not in json.dumps(entry)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- a\n- b\n", "no list of fields"),
        (CONTRACT + "untill: 2030-01-01\n", "line 6 has an unknown field `untill`"),
        (CONTRACT.replace("2030-12-31", "soon"), "line 2: `until` is no day"),
        (CONTRACT.replace("[eu]", "eu"), "line 4: `regions` is missing or no list"),
        (CONTRACT.replace("party: Example AI GmbH\n", ""), "`party` is missing"),
        (CONTRACT + "party: again\n", "line 6 says `party` again"),
    ],
)
def test_a_contract_that_cannot_be_read_names_the_line(text: str, what: str) -> None:
    with pytest.raises(Failure) as told:
        read_contract(text)
    assert what in told.value.what


def test_an_unknown_field_of_a_contract_is_told_with_the_nearest(ground: Ground) -> None:
    with pytest.raises(BadContract) as told:
        read_contract(CONTRACT + "untill: 2030-01-01\n")
    assert told.value.hint == "did you mean `until`?"


def test_norway_is_a_region_and_not_a_no(ground: Ground) -> None:
    contract = read_contract(CONTRACT.replace("[eu]", "[no, se]"))
    assert contract.regions == ("no", "se")
    with pytest.raises(Refused):
        _attach(ground, region="eu", contract=CONTRACT.replace("[eu]", "[no, se]"))


def test_a_gateway_goes_by_a_snapshot_for_as_long_as_what_stands_in_it_says(ground: Ground) -> None:
    ix = _attach(ground).snapshot
    with ground.db.read() as conn:
        assert (stale_for(conn, ix), stale_for(conn, ix + 1), longest_stale(conn)) == (900, 0, 900)
    with ground.db.write() as tx:
        tx.execute(tables.services.update().values(sensitivity=4))
        tx.tells_of(["services"])
    with ground.db.read() as conn:
        assert (stale_for(conn, ix), longest_stale(conn)) == (900, 30), "what it said then is in force there"


def test_services_that_stand_in_are_named_in_their_order(ground: Ground, snapshot: Read) -> None:
    for name in ("second", "third"):
        _attach(ground, service=name)
    _attach(ground, fallback=("third", "second"))
    service = next(one for one in snapshot()["services"] if one["name"] == "claims-chat")
    assert service["fallback"] == ["third", "second"]
    assert service["routes"][0]["target"]["inside"]


@pytest.mark.parametrize(
    ("own", "other", "why"),
    [
        ({"sensitivity": "Confidential"}, {}, "takes Internal words at most"),
        ({}, {"purpose": "marketing"}, "it is for marketing"),
        ({}, {"subject": "required"}, "subject: required"),
        ({}, {"guard": ("in.pii=mask",)}, "guarded more strictly"),
        ({"region": "eu"}, {"url": "https://api.example.com", "region": "us"}, "stands in us, not in eu"),
    ],
)
def test_who_may_not_have_the_words_cannot_be_named(
    ground: Ground, own: dict[str, Any], other: dict[str, Any], why: str
) -> None:
    _attach(ground, service="second", **other)
    with pytest.raises(FallbackRefused, match="second") as refused:
        _attach(ground, fallback=("second",), **own)
    assert why in refused.value.why


def test_who_answers_nobody_cannot_be_named(ground: Ground) -> None:
    _attach(ground, service="second", url="https://api.example.com", region="eu")
    with ground.db.write() as tx:  # by a contract that allowed it, before that was refused
        tx.execute(tables.services.update().values(sensitivity=4))
        tx.tells_of(["services"])
    for own in ({"sensitivity": "Internal", "region": "eu"}, {"sensitivity": "Restricted"}):
        with pytest.raises(FallbackRefused, match="second") as refused:
            _attach(ground, fallback=("second",), **own)
        assert refused.value.why == "it is Restricted and outside, so it answers nobody"


def test_what_the_project_wants_of_both_is_no_reason_against_standing_in(ground: Ground) -> None:
    _attach(ground, service="second")
    with ground.db.write() as tx:
        floors.guard(tx, by=OLGA, name="claims", floor=Floor(guard=("in.pii=mask", "out.secrets=mask")))
    _attach(ground, fallback=("second",))
    _attach(ground, service="second", replace=True, guard=("in.pii=refuse",))
    with pytest.raises(FallbackRefused, match="second") as refused:
        _attach(ground, fallback=("second",), replace=True)
    assert "guarded more strictly" in refused.value.why


@pytest.mark.parametrize("named", [("nobody",), ("claims-chat",), ("a", "b", "c", "d", "e")])
def test_a_fallback_that_is_not_there_or_in_vain_is_told(ground: Ground, named: tuple[str, ...]) -> None:
    with pytest.raises(BadFallback):
        _attach(ground, fallback=named)


def test_a_service_is_guarded_by_what_its_project_wants_at_once(ground: Ground, snapshot: Read) -> None:
    _attach(ground, guard=("in.pii=refuse", "in.secrets=observe"))
    _attach(ground, service="free-chat")
    with ground.db.write() as tx:
        floor = Floor(purpose="claims-handling", sensitivity=2, guard=("in.pii=mask", "out.secrets=mask"))
        floors.guard(tx, by=OLGA, name="claims", floor=floor)
        publish(tx, ground, by=OLGA)
    chat, free = snapshot()["services"]
    assert (chat["guard_in"]["pii"], chat["guard_in"]["secrets"], chat["guard_out"]["secrets"]) == (
        "refuse",
        "observe",
        "mask",
    )
    assert (free["guard_in"]["pii"], free["guard_out"]["secrets"]) == ("mask", "mask")
    _attach(ground, service="free-chat", replace=True, guard=("in.pii=none",))
    assert snapshot()["services"][1]["guard_in"]["pii"] == "mask"
    with ground.db.read() as conn:
        said = {**_said(), "url": "http://127.0.0.1:8000", "service": "new-chat"}
        planned = [
            attach.plan(conn, asked=Attachment(**said, sensitivity=word), at=1)
            for word in ("Public", "Internal")
        ]
    assert [plan["guard_at_least"] for plan in planned] == [[], ["in.pii=mask", "out.secrets=mask"]]
