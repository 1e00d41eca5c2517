"""Objectives over real records: what spends an error budget, who sees it, how one is changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from freehold.control import objectives, progress
from freehold.release import services
from freehold.release.attach import Attachment, attach
from freehold.release.publish import publish
from freehold.spec.answer import GONE
from freehold.spec.ids import now
from freehold.spec.objectives import Kept
from freehold.spec.plain import plain
from freehold.spec.principal import SYSTEM
from freehold.spec.reading import read_service
from freehold.store import tables
from tests.control.test_deliver import SERVICE, Desk
from tests.control.test_deliver import desk as desk  # a fixture
from tests.control.test_gateway_process import Installation
from tests.control.test_gateway_process import installation as installation  # a fixture
from tests.support.claims import add_claims
from tests.support.records import an_answer

ANSWERED, FAST = "80% answered", "50% within 2s over 7d"
CHAT = Attachment(
    service="chat",
    project="claims",
    purpose="claims-handling",
    url="http://127.0.0.1:9",
    model="fake-1",
    owner="team@example.org",
    objectives=(ANSWERED, FAST),
)
Wrote = Callable[..., None]


def kept(house: Any, at: int) -> list[Kept]:
    with house.parts.ground.db.read() as conn:
        return list(house.parts.objectives.of(conn, services.find(conn, "chat"), at))


@pytest.fixture
def chat(house: Any) -> None:
    with house.parts.ground.db.write() as tx:
        attach(tx, house.parts.ground, by=SYSTEM, asked=CHAT)


@pytest.fixture
def wrote(house: Any, chat: None, clock: Any) -> Wrote:
    """Writes the records of so many answers of `chat`, a second ago."""

    def write(number: int, ending: str | None, reason: str = "ok", **more: Any) -> None:
        said = {"at": clock() - 1_000_000, "micros": 1_000_000, "service": "chat", "ending": ending}
        with house.parts.ground.db.write() as tx:
            for _ in range(number):
                tx.execute(tables.answers.insert().values(an_answer(reason=reason, **(said | more))))
            tx.tells_of(["answers"])

    return write


# -- what counts ------------------------------------------------------------------------------------


def test_an_outage_spends_the_budget_and_who_is_denied_or_leaves_does_not(installation: Installation) -> None:
    ground = installation.ground
    with ground.db.write() as tx:
        row = services.find(tx.connection, "chat")
        url = json.loads(row["provider"])["url"]
        attach(tx, ground, by=SYSTEM, asked=replace(CHAT, url=url, replace=True))
        installation.ix = publish(tx, ground, by=SYSTEM)
    installation.start()
    installation.served()
    with httpx.Client(timeout=20, trust_env=False) as client:
        whole = [installation.ask(client, words)[1] for words in 8 * ["good day"] + 4 * ["[status 500] x"]]
        body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
        asked = {"authorization": f"Bearer {installation.key}", "x-freehold-purpose": "marketing"}
        url = f"{installation.url}/v1/chat/completions"
        assert client.post(url, json=body, headers=asked).status_code == 403
        leaves(client, url, installation.key)
    installation.until(
        lambda: len(installation.answers()) == 14 and None not in installation.answers().values()
    )
    assert whole == 8 * [True] + 4 * [False]
    assert Counter(installation.answers().values()) == {"answered": 8, "failed": 4, "denied": 1, "cut off": 1}
    first, second = kept(installation.house, now())
    assert (first.span.all, first.span.bad, first.holds) == (12, 4, False)
    assert first.left == pytest.approx(1 - 4 / 2.4)
    assert first.pace == pytest.approx(4 / 2.4)
    assert (second.span.all, second.holds) == (8, True)


def leaves(client: httpx.Client, url: str, key: str) -> None:
    """Somebody hangs up in the middle of a stream."""
    words = " ".join(200 * ["word"]) + " [pause 0.05]"
    body = {"model": "chat", "messages": [{"role": "user", "content": words}], "stream": True}
    with client.stream("POST", url, json=body, headers={"authorization": f"Bearer {key}"}) as response:
        assert next(response.iter_text())


def test_what_says_nothing_of_a_service_does_not_count(house: Any, wrote: Wrote, clock: Any) -> None:
    wrote(6, "answered")
    wrote(1, "failed", "upstream-away")
    wrote(1, "cut off", "gateway-left")
    wrote(3, "cut off", GONE)
    wrote(3, "denied", "wrong-purpose")
    wrote(3, None)
    wrote(3, "failed", project="motor")
    wrote(3, "failed", service="other")
    wrote(3, "failed", release=shadow(house))
    answered, fast = kept(house, clock())
    assert (answered.span.all, answered.span.bad, answered.hour.bad) == (8, 2, 2)
    assert (fast.span.all, fast.span.bad) == (6, 0)


def shadow(house: Any) -> str:
    """A release that was asked for nobody."""
    with house.parts.ground.db.write() as tx:
        values = {"service": "chat", "serving_digest": "sha256:0", "weight": 0, "state": "shadow"}
        more = {"model": None, "approvals": "[]", "because": "", "created_at": tx.at}
        tx.execute(tables.releases.insert().values(id="rel_shadow", **values, **more))
        tx.tells_of(["releases"])
    return "rel_shadow"


def test_within_is_of_those_that_were_answered(house: Any, wrote: Wrote, clock: Any) -> None:
    wrote(2, "answered", micros=2_000_000)
    wrote(3, "answered", micros=2_000_001)
    wrote(9, "failed", "upstream-slow", micros=9_000_000)
    _, fast = kept(house, clock())
    assert (fast.span.all, fast.span.bad, fast.holds) == (5, 3, False)
    assert fast.left == pytest.approx(1 - 3 / 2.5)


def test_a_span_moves_with_the_clock(house: Any, wrote: Wrote, clock: Any) -> None:
    wrote(4, "failed", "upstream-away")
    assert [one.pace for one in kept(house, clock())] == [pytest.approx(5.0), None]
    clock.forward(seconds=3_600)
    wrote(8, "answered")
    answered, fast = kept(house, clock())
    assert (answered.span.bad, answered.hour.bad, answered.hour.all) == (4, 0, 8)
    assert (answered.state, answered.pace) == ("missed", 0.0)
    clock.forward(days=8)
    answered, fast = kept(house, clock())
    assert (answered.span.all, fast.span.all, fast.state) == (12, 0, "no verdict")
    clock.forward(days=23)
    assert [one.state for one in kept(house, clock())] == ["no verdict", "no verdict"]


def test_what_takes_long_to_count_is_told_as_it_was_for_a_moment(
    house: Any, wrote: Wrote, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "SLOW", 0.0)
    wrote(1, "answered")
    assert kept(house, clock())[0].span.all == 1
    wrote(1, "answered")
    assert kept(house, clock())[0].span.all == 1
    clock.forward(seconds=16)
    assert kept(house, clock())[0].span.all == 2


# -- who sees it ------------------------------------------------------------------------------------


def test_who_sees_the_service_sees_how_it_is_kept(house: Any, wrote: Wrote) -> None:
    client = house.client("deliver", "release")
    _, trainer = house.person("tim@example.org", "claims/trainer")
    house.project("motor")
    _, stranger = house.person("eve@example.org", "motor/auditor")
    wrote(7, "answered")
    wrote(3, "failed", "upstream-away")
    for path in ("/api/status/chat", "/api/services/chat"):
        first, second = client.get(path, headers=trainer).json()["objectives"]
        assert first == {
            "objective": "80% answered over 30d",
            "share": "0.8",
            "within_micros": None,
            "over_seconds": 2_592_000,
            "counted": 10,
            "bad": 3,
            "reached": 0.7,
            "left": -0.5,
            "pace": 1.5,
            "state": "missed",
        }
        assert (second["within_micros"], second["state"]) == (2_000_000, "kept")
        assert client.get(path, headers=stranger).status_code == 404
    wrong = "chat misses `80% answered over 30d`: `freehold status chat` says by how much"
    assert wrong in client.get("/api/status", headers=trainer).json()["wrong"]
    assert wrong not in client.get("/api/status", headers=stranger).json()["wrong"]


def test_a_service_that_keeps_them_or_was_not_asked_is_no_trouble(house: Any, wrote: Wrote) -> None:
    assert not any("misses" in one for one in progress.status(house.parts, None)["wrong"])
    wrote(10, "answered")
    assert not any("misses" in one for one in progress.status(house.parts, None)["wrong"])


# -- declared ---------------------------------------------------------------------------------------


def test_attaching_refuses_what_is_no_objective_and_plans_with_what_is(house: Any) -> None:
    client, me = house.client("release"), house.administrator
    body = {"service": "chat", "project": "claims", "purpose": "claims-handling", "model": "m"}
    body |= {"url": "http://127.0.0.1:9", "objectives": ["100% answered"]}
    refused = client.post("/api/attached", json=body, headers=me)
    assert (refused.status_code, "no error budget" in refused.text) == (400, True)
    body |= {"objectives": [ANSWERED], "plan": True}
    assert client.post("/api/attached", json=body, headers=me).json()["objectives"] == [ANSWERED]


def test_attached_without_one_its_declaration_has_the_digest_it_had(house: Any, chat: None) -> None:
    ground = house.parts.ground
    with ground.db.write() as tx:
        attach(tx, ground, by=SYSTEM, asked=replace(CHAT, objectives=(), replace=True))
        assert "objectives" not in services.spec_of(services.find(tx.connection, "chat"))
    assert kept(house, now()) == []


def test_a_file_without_them_is_the_file_it_was() -> None:
    assert "objectives" not in plain(read_service(SERVICE))
    assert plain(read_service(SERVICE + WATCHED))["objectives"] == ["99% answered"]


WATCHED = "objectives: [99% answered]\n"


def test_objectives_alone_are_written_down_and_nothing_is_trained(desk: Desk) -> None:
    first = desk.ask("/api/journeys", SERVICE, 201)["journey"]
    assert desk.world.run(first) == "done"
    before = desk.world.sum()
    plan = desk.ask("/api/plans", SERVICE + WATCHED, 200)
    assert (plan["now"], plan["change"]["fields"]) == (
        {"state": "would declare", "journey": first},
        ["objectives"],
    )
    assert [step["name"] for step in plan["steps"]] == ["declare"]
    done = desk.ask("/api/journeys", SERVICE + WATCHED, 201)
    assert (done["became"], done["journey"]) == ("declared", first)
    assert [one["objective"] for one in desk.get("/api/status/claims-triage")["objectives"]] == [
        "99% answered over 30d"
    ]
    before["entries"]["service.declared"] += 1
    assert desk.world.sum() == before
    assert desk.ask("/api/journeys", SERVICE + WATCHED, 201)["became"] == "nothing to do"
    assert desk.ask("/api/plans", SERVICE + WATCHED, 200)["now"]["state"] == "nothing to do"
    assert desk.ask("/api/journeys", SERVICE, 201)["became"] == "declared"
    assert [one["detail"]["spec"] for one in declarations(desk)] == [digest_of(desk, name) for name in "aba"]


def declarations(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(entry["body"]) for entry in desk.house.entries("service.declared")]


def digest_of(desk: Desk, name: str) -> str:
    return str(desk.ask("/api/plans", SERVICE + {"a": "", "b": WATCHED}[name], 200)["spec"])


def test_objectives_beside_another_change_are_delivered_with_it(desk: Desk) -> None:
    assert desk.world.run(desk.ask("/api/journeys", SERVICE, 201)["journey"]) == "done"
    other = SERVICE.replace("value: 0.80", "value: 0.70") + WATCHED
    assert desk.ask("/api/plans", other, 200)["now"]["state"] == "would begin"
    assert desk.ask("/api/journeys", other, 201)["became"] == "begun"


def test_while_a_canary_is_tried_its_declaration_stays(desk: Desk) -> None:
    assert desk.world.run(desk.ask("/api/journeys", SERVICE, 201)["journey"]) == "done"
    other = SERVICE.replace("value: 0.80", "value: 0.70")
    journey = desk.ask("/api/journeys", other, 201)["journey"]
    with desk.house.parts.ground.db.write() as tx:
        said = {"state": "done", "result": json.dumps({"release": "rel_x"})}
        here = (tables.steps.c.journey == journey) & (tables.steps.c.name == "canary")
        tx.execute(sa.update(tables.steps).where(here).values(**said))
        tx.tells_of(["steps"])
    assert "has a canary" in str(desk.ask("/api/journeys", SERVICE + WATCHED, 409))


def test_a_retraining_under_way_would_take_them_back_and_is_waited_for(desk: Desk) -> None:
    assert desk.world.run(desk.ask("/api/journeys", SERVICE, 201)["journey"]) == "done"
    add_claims(desk.house.parts.ground, rows=200, seed=8)
    named = {"kind": "retrain", "service": "claims-triage", "data": "claims@2"}
    journey = desk.ask("/api/journeys", "", 201, **named)["journey"]
    refused = str(desk.ask("/api/journeys", SERVICE + WATCHED, 409))
    assert f"{journey} brings what was declared when it began" in refused
    assert desk.world.run(journey) == "done"
    again = SERVICE.replace("claims@1", "claims@2") + WATCHED
    assert desk.ask("/api/journeys", again, 201)["became"] == "declared"


@pytest.mark.parametrize(
    ("objectives", "words"),
    [
        ("[99% god]", "`99% god` is not an objective"),
        ("[99% answered, 100% within 2s]", "objectives[2]"),
        ("[99% answered, 98% answered over 30d]", "there is one already"),
        ("[99% answered over 91d]", "90 days at most"),
        ("99% answered", "it should be a valid list"),
    ],
)
def test_a_files_mistake_is_told_where_it_is(desk: Desk, objectives: str, words: str) -> None:
    told = str(desk.ask("/api/plans", f"{SERVICE}objectives: {objectives}\n", 400))
    assert words in told
    assert "line 19" in told
