"""Webhook endpoints of credentials that are bound to a purpose: whose they are, and what they tell of others."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.webhooks.api import create_app
from services.webhooks.deliveries import DELIVERIES, LOG
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints
from services.webhooks.messages.notice import disabled_notices
from services.webhooks.messages.rendering import Renderer
from services.webhooks.schema import BESIDE, COLLECTIONS
from shared.access.event_days import MongoCounts
from shared.access.guard import Access
from shared.http.caller import Caller
from shared.mongo.store import prepare
from shared.settings import Settings
from tests.support.builders import TOPICS
from tests.support.credentials import Journal
from tests.support.relations_driver import Mongo

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LIST = "/v1/webhooks/endpoints"
NEW = {"url": "https://app.example/", "types": ["relation.changed", "webhook.disabled"]}


class Apps:
    """A bearer's text is its purpose, after ``!`` its mask, and after ``-`` ``blind`` if it has no scope to read;
    ``kith_`` alone has neither."""

    async def caller(self, text: str) -> Caller:
        text, _, blind = text.removeprefix("kith_").partition("-")
        purpose, _, mask = text.partition("!")
        scopes = frozenset({"webhooks:manage"} if blind else {"webhooks:manage", "relations:read"})
        caller = Caller("acme", scopes, (mask,) if mask else (), purpose or "None", f"key-{purpose or None}")
        return replace(caller, purpose=purpose or None, endpoints=5 if mask else 2)


class World:
    def __init__(self, database: Mongo) -> None:
        prepare(database, {**COLLECTIONS, **BESIDE})
        self.database, self.journal = database, Journal()
        renderer = Renderer(database, str, lambda _tenant, _consumer: None, None)
        reader = lambda: LogReader(Settings())  # noqa: E731
        self.endpoints = Endpoints(database, renderer, None, TOPICS, reader, lambda: NOW)
        access = Access(Apps(), audit=self.journal)
        self.app: FastAPI = create_app(self.endpoints, list, [], access=access)

    def ask(self, purpose: str, method: str, path: str, body: Any = None) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            headers = {"Authorization": f"Bearer kith_{purpose}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=headers) as client:
                return await client.request(method, path, json=body)

        return asyncio.run(answer())

    def made(self, bearer: str, **more: Any) -> str:
        answer = self.ask(bearer, "POST", LIST, {**NEW, **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["endpoint"])


@pytest.fixture
def world(mongo_database: Mongo) -> World:
    return World(mongo_database)


def test_an_endpoint_belongs_to_the_purpose_of_its_creator(world: World) -> None:
    own, others, free = world.made("app_1"), world.made("app_2"), world.made("", description="operator")
    listed = {
        purpose: {each["endpoint"] for each in world.ask(purpose, "GET", LIST).json()["items"]}
        for purpose in ("app_1", "app_2", "")
    }
    assert listed == {"app_1": {own}, "app_2": {others}, "": {own, others, free}}
    shown = world.ask("app_1", "GET", f"{LIST}/{own}").json()
    assert (shown["purpose"], shown["bound"], "behind" in shown) == ("app_1", True, False)
    parts = [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/replay")]
    parts += [("POST", f"/{name}") for name in ("secret", "enable", "disable", "test", "retry")]
    bodies = {"": {"description": "x"}, "/replay": {"since": "beginning"}, "/secret": {}, "/retry": {}}
    for method, part in parts:
        for id in (others, free, "ep_nobody"):
            answer = world.ask(
                "app_1", method, f"{LIST}/{id}{part}", bodies.get(part) if method != "GET" else None
            )
            assert (answer.status_code, answer.json()["detail"]) == (404, "there is no endpoint with this id")
    acts = [(act.who, act.key, act.action) for act in world.journal.acts]
    assert ("app_1", "key-app_1", "webhook.create") in acts


def test_the_purpose_is_that_of_the_credential_and_stays(world: World) -> None:
    assert world.ask("app_1", "POST", LIST, {**NEW, "purpose": "app_2"}).status_code == 403
    own = world.made("app_1", purpose="app_1")
    assert world.ask("app_1", "PATCH", f"{LIST}/{own}", {"purpose": "app_2"}).status_code == 422
    for purpose in ("app_1", ""):
        answer = world.ask(purpose, "PATCH", f"{LIST}/{own}", {"purpose": None})
        assert (answer.status_code, "bound" in answer.json()["detail"]) == (422, True)
    assert world.ask("app_1", "PATCH", f"{LIST}/{own}", {"description": "mine"}).json()["purpose"] == "app_1"


def test_who_sees_less_gets_nothing_sent_that_was_chosen_by_what_they_do_not_see(world: World) -> None:
    kinds, chosen = world.made("", kinds=["purchase"]), world.made("", filter="data.after.amount > `1000`")
    own = world.made("!amount", filter="data.after.rating > `3`")
    elsewhere = {"url": "https://other.example/", "kinds": None, "filter": None}
    for bearer, endpoint, says in (
        ("!kind", kinds, "kind is hidden from this credential, and kinds of the endpoint would reveal it"),
        ("!amount", chosen, "amount is hidden from this credential, and filter of the endpoint may reveal it"),
        ("!kind", own, "kind is hidden from this credential, and filter of the endpoint may reveal it"),
    ):
        refused = world.ask(bearer, "PATCH", f"{LIST}/{endpoint}", elsewhere)
        assert (refused.status_code, refused.json()["detail"]) == (403, says)
    for bearer, endpoint in (("!amount", own), ("!amount", kinds), ("", chosen)):
        assert world.ask(bearer, "PATCH", f"{LIST}/{endpoint}", elsewhere).status_code == 200
    assert world.ask("", "GET", f"{LIST}/{kinds}").json()["masks"] == ["amount"]


def test_who_sees_less_has_nothing_sent_elsewhere_that_an_application_gets(world: World) -> None:
    app = "app_" + "a" * 16
    stated = {**NEW, "purpose": app, "bound": True}
    name = world.endpoints.create("acme", stated, "hmac", [], app).endpoint["_id"].partition(":")[2]
    elsewhere = {"url": "https://other.example/"}
    for bearer in ("!amount", f"{app}!amount"):
        refused = world.ask(bearer, "PATCH", f"{LIST}/{name}", elsewhere)
        assert (refused.status_code, "amount is hidden" in refused.json()["detail"]) == (403, True)
    assert world.ask("", "PATCH", f"{LIST}/{name}", elsewhere).status_code == 200


def test_who_may_not_read_changes_has_none_of_them_sent_elsewhere(world: World) -> None:
    """Neither by leaving their type out at the same moment, nor once somebody else has: what waits is of it."""
    name = world.made("")
    elsewhere = {"url": "https://other.example/", "types": ["webhook.disabled"]}

    def refused(**stated: Any) -> tuple[int, str]:
        answer = world.ask("-blind", "PATCH", f"{LIST}/{name}", stated)
        return answer.status_code, answer.json().get("detail", "")

    assert refused(**elsewhere) == (403, "this needs the scope relations:read, which the credential lacks")
    assert world.ask("", "PATCH", f"{LIST}/{name}", {"types": ["webhook.disabled"]}).status_code == 200
    for state in ("queued", "failed"):
        waiting = {"endpoint": f"acme:{name}", "tenant": "acme", "lane": "l", "subject": "s", "at": 1, "due": NOW}
        world.database[DELIVERIES].insert_one(
            {"_id": "d", **waiting, "attempts": 0, "state": state, "change": {"type": "relation.changed"}}
        )
        assert refused(**elsewhere) == (403, "this needs the scope relations:read, which the credential lacks")
        assert refused(template="@") == (403, "this needs the scope relations:read, which the credential lacks")
        world.database[DELIVERIES].delete_one({"_id": "d"})
    assert refused(**elsewhere) == (200, "")
    assert refused(types=["provider.changed"])[0] == 403


def test_a_credential_has_no_more_endpoints_than_its_quota(world: World) -> None:
    for purpose in ("app_1", "app_2", ""):
        for _ in range(2):
            world.made(purpose)
        refused = world.ask(purpose, "POST", LIST, NEW)
        assert (refused.status_code, "may have 2" in refused.json()["detail"]) == (409, True)


def test_nothing_tells_of_consumers_who_have_not_granted_it(world: World) -> None:
    own = world.made("app_1")
    id = f"acme:{own}"
    log = {"endpoint": id, "tenant": "acme", "webhook_id": "m", "type": "relation.changed", "milliseconds": 1}
    queued = {"endpoint": id, "tenant": "acme", "lane": "l", "state": "queued", "change": {}, "due": NOW, "at": 1}
    for number, (consumer, outcome) in enumerate([("yes", "failed"), ("hidden", "dropped")]):
        tried = {"delivery": f"d{number}", "attempt": 1, "at": NOW, "outcome": outcome}
        entry = {"_id": f"e{number}", "subject": f"consumer:{consumer}", **tried}
        world.database[LOG].insert_one({**log, **entry})
        waiting = {"_id": f"d{number}", "subject": f"consumer:{consumer}", "attempts": 1 - number}
        world.database[DELIVERIES].insert_one({**queued, **waiting})
    for purpose, subjects, waiting_ones in (("app_1", ["yes"], 1), ("", ["hidden", "yes"], 2)):
        page = world.ask(purpose, "GET", f"{LIST}/{own}/deliveries").json()["items"]
        assert sorted(each["subject"].partition(":")[2] for each in page) == subjects
        assert world.ask(purpose, "GET", f"{LIST}/{own}").json()["queued"] == waiting_ones
    assert world.ask("app_1", "GET", f"{LIST}/{own}/deliveries?outcome=dropped").json()["items"] == []


def test_the_log_repeats_nothing_that_is_hidden(world: World) -> None:
    own, others = world.made("!amount"), world.made("")
    for endpoint in (own, others):
        entry = {"endpoint": f"acme:{endpoint}", "tenant": "acme", "attempt": 1, "milliseconds": 1}
        changed = {**entry, "at": NOW, "outcome": "failed", "delivery": f"{endpoint}/l/1", "webhook_id": "msg_1"}
        echoed = {
            "type": "relation.changed",
            "answer": "amount 1250 of ada",
            "error": "amount=1250",
            "status": 400,
        }
        told = {
            "type": "consumer.erased",
            "delivery": f"{endpoint}/receipt/acme:consumer.erased/0f",
            "status": 200,
        }
        world.database[LOG].insert_many(
            [
                {"_id": f"{endpoint}1", **changed, "subject": "consumer:ada", **echoed},
                {"_id": f"{endpoint}2", **changed, "subject": "receipt/acme:consumer.erased/0f", **told},
            ]
        )

    def log(bearer: str, endpoint: str) -> tuple[list[dict[str, Any]], list[str]]:
        page = world.ask(bearer, "GET", f"{LIST}/{endpoint}/deliveries").json()
        return page["items"], page.get("masked", [])

    [_, changed], masked = log("", others)
    assert (changed["answer"], changed["error"], masked) == ("amount 1250 of ada", "amount=1250", [])
    [told, changed], masked = log("!amount", others)
    assert (changed["answer"], changed["error"], changed["subject"]) == ("•••", "•••", "consumer:ada")
    assert ("answer" in told, masked) == (False, ["answer", "error"])
    # Its deliveries have the mask.
    assert log("!amount", own)[0][1]["answer"] == "amount 1250 of ada"
    [changed], masked = log("!consumer_id", own)
    assert (changed["answer"], changed["subject"], masked) == ("•••", "•••", ["answer", "error", "subject"])
    for stated in ({"receipt": "acme:consumer.erased/0f"}, {"delivery": told["delivery"]}):
        assert world.ask("!amount", "POST", f"{LIST}/{others}/retry", stated).json() == {"deliveries": 0}
        refused = world.ask("!consumer_id", "POST", f"{LIST}/{others}/retry", stated)
        assert (refused.status_code, "consumer_id is hidden" in refused.json()["detail"]) == (403, True)


def test_nobody_who_is_bound_hears_of_another_ones_endpoints(world: World) -> None:
    own, others, free = world.made("app_1"), world.made("app_2"), world.made("")
    every = world.endpoints.all("acme")
    [disabled] = [each for each in every if each["_id"] == f"acme:{others}"]
    told = disabled_notices({**disabled, "reason": "it was down"}, every, NOW)
    assert {each["endpoint"] for each in told} == {f"acme:{free}"}
    assert own not in str(told)


def test_the_count_of_a_day_goes_on_and_begins_anew_with_the_next(mongo_database: Mongo) -> None:
    counts = MongoCounts(mongo_database)

    def claim(day: str, needed: int, wanted: int = 0, most: int = 100) -> tuple[int, int]:
        return counts.claim("acme/k", day, needed, max(needed, wanted), most)

    assert [claim("2026-11-29", amount) for amount in (5, 7)] == [(5, 95), (7, 88)]
    assert claim("2026-11-29", 89) == (0, 88), "what does not fit is not counted"
    assert claim("2026-11-29", 80, 90) == (88, 0), "no more than there is"
    assert claim("2026-11-29", 1) == (0, 0)
    assert claim("2026-11-29", 1, most=50) == (0, 0), "the quota has been lowered"
    assert counts.read("acme", "k", "2026-11-29") == 100
    assert counts.claim("acme/other", "2026-11-29", 101, 101, 100) == (0, 100)
    assert claim("2026-11-30", 3) == (3, 97)
    assert claim("2026-11-29", 4) == (4, 93), "a clock that is behind begins no day again"
    assert counts.read("acme", "k", "2026-11-30") == 7
