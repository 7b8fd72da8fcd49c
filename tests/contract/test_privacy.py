"""Erasing, correcting and exporting over HTTP, on a real MongoDB, in this process."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet
from pymongo.monitoring import CommandListener, CommandStartedEvent

import services.relations.fact_erasure as erasing
from services.intelligence.engine.question import Side
from services.intelligence.outcomes.store import OutcomeStore
from services.intelligence.schema import COLLECTIONS as INTELLIGENCE
from services.privacy.erasures import CACHE_SECONDS, STEPS
from services.privacy.schema import REQUESTS
from services.relations.fact_documents import without_digest
from shared.access.apps import compliance
from shared.access.apps.model import App
from shared.access.apps.mongo import MongoApps
from shared.access.apps.schema import COLLECTIONS as APPS
from shared.access.apps.schema import NOTICES, RECEIPTS, REGISTER
from shared.access.audit import MemoryAuditLog, Recorder
from shared.access.guard import Access
from shared.access.masks import MASK
from shared.contracts import codec
from shared.erasure.records import erasure_id, hashed
from shared.http.caller import Caller
from shared.mongo.bounded import BoundedClient
from shared.mongo.store import prepare
from tests.conftest import Addresses
from tests.support.builders import event, recorded, renamed
from tests.support.databases import fresh_database
from tests.support.intelligence import EVERYTHING
from tests.support.privacy_driver import Services
from tests.support.relations_driver import NOW, Mongo

ANN = erasure_id("default", "ann")


def facts(consumer: str, count: int = 3) -> list[Any]:
    return [
        recorded(
            f"{consumer}-{n}",
            f"2026-0{1 + n % 9}-02T10:00:00Z",
            f"sale-{n}",
            consumer_id=consumer,
            provider_id=f"p{n % 2}",
            kind="purchase",
            amount=100 + n,
            currency="EUR",
            rating=n % 5,
            text="mine",
        )
        for n in range(count)
    ]


def upserted(consumer: str, **data: Any) -> Any:
    fields = {"consumer_id": consumer, "personal": {"name": "Ann", "email": "ann@example.org"}, **data}
    return event("consumer.upserted", f"crm-{consumer}", "2026-01-01T00:00:00Z", fields)


@pytest.fixture
def services(mongo_database: Mongo) -> Services:
    world = Services(mongo_database)
    world.store([upserted("ann", consent={"mail": True}), upserted("bob"), *facts("ann"), *facts("bob")])
    return world


def undone(services: Services) -> list[str]:
    state = services.call("GET", f"/v1/erasures/{ANN}").json()
    return [step["name"] for step in state["steps"] if not step["done"]]


@pytest.mark.parametrize("mode", ["anonymise", "delete"])
def test_an_erasure_from_the_request_to_the_receipt(services: Services, mode: str) -> None:
    answer = services.call("DELETE", "/v1/consumers/ann", params={"mode": mode})
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/erasures/{ANN}")
    assert undone(services) == [*STEPS][1:]
    services.relate()
    assert undone(services) == ["aggregates", "intelligence", "sinks", "applications", "caches"]
    services.count()
    assert undone(services) == ["caches"]
    services.wait(CACHE_SECONDS)
    state = services.call("GET", f"/v1/erasures/{ANN}").json()
    assert (state["done"], [step["name"] for step in state["steps"]]) == (True, list(STEPS))

    keys = KeySet.import_key_set(services.call("GET", "/v1/erasures/keys").json())
    signed = jws.deserialize_compact(state["receipt"], keys, algorithms=["ES256"])
    claims = json.loads(signed.payload)
    assert (claims["sub"], claims["consumer_id"], claims["mode"]) == (ANN, "ann", mode)
    services.wait(100)
    assert services.call("GET", f"/v1/erasures/{ANN}").json()["receipt"] == state["receipt"]
    head, body, tail = state["receipt"].split(".")
    forged = ".".join([head, body[:-2] + ("AA" if body[-2:] != "AA" else "BB"), tail])
    with pytest.raises(BadSignatureError):
        jws.deserialize_compact(forged, keys, algorithms=["ES256"])


def test_an_erasure_waits_for_every_sink_that_was_ever_run(services: Services) -> None:
    """Of each topic that the sink reads: the profile is told of in another one than the facts."""
    assert services.call("DELETE", "/v1/consumers/ann", params={"mode": "delete"}).status_code == 202
    positions = services.database["positions"]
    positions.insert_one({"_id": "postgres@1/kith.relation-changes/0", "epoch": 1, "next": 0})
    services.relate()
    services.count()
    assert undone(services) == ["sinks", "applications", "caches"]
    assert services.call("GET", f"/v1/erasures/{ANN}").json()["sinks"] == ["postgres"]
    for topic in ("relations", "consumers"):
        changes = "kith.relation-changes" if topic == "relations" else "kith.consumer-changes"
        for part in positions.find({"_id": {"$regex": f"^relations@1/kith.{topic}/"}, "emitted": {"$gt": 0}}):
            assert undone(services) == ["sinks", "applications", "caches"]
            positions.update_one(
                {"_id": f"postgres@1/{changes}/{part['_id'].rpartition('/')[2]}"},
                {"$set": {"seen": [{"origin": part["_id"], "number": part["emitted"]}]}},
                upsert=True,
            )
    assert undone(services) == ["caches"]
    assert services.call("GET", f"/v1/erasures/{ANN}").json()["sinks"] == []


def test_the_log_names_a_sink_that_erasures_wait_for_once_an_hour(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """Two erasures that wait for different sinks, looked at in turn."""
    caplog.set_level(logging.INFO)
    positions = services.database["positions"]
    services.call("DELETE", "/v1/consumers/ann", params={"mode": "delete"})
    services.relate()
    services.count()
    assert undone(services) == ["caches"]
    services.database[REQUESTS].update_many({}, {"$unset": {"settled": ""}})
    services.call("DELETE", "/v1/consumers/bob", params={"mode": "delete"})
    services.relate()
    services.count()
    # Postgres has what tells of Ann, and RabbitMQ nothing.
    ann = services.database[REQUESTS].find_one({"consumer_id": "ann"})
    assert ann is not None
    positions.insert_one({"_id": "rabbitmq@1/kith.relation-changes/0", "epoch": 1, "next": 0})
    positions.insert_one(
        {"_id": "postgres@1/kith.relation-changes/0", "epoch": 1, "next": 0, "seen": ann["marks"]}
    )

    def looked() -> list[list[str]]:
        ids = (ANN, erasure_id("default", "bob"))
        return [services.call("GET", f"/v1/erasures/{id}").json()["sinks"] for id in ids]

    def said() -> list[str]:
        return [line for record in caplog.records if "erasures wait for" in (line := record.getMessage())]

    def named() -> list[str]:
        return [line.removeprefix("erasures wait for ").partition(":")[0] for line in said()]

    assert looked() == [["rabbitmq"], ["rabbitmq", "postgres"]]
    for _ in range(3):
        looked()
        services.call("GET", "/v1/erasures")
    assert named() == ["rabbitmq", "rabbitmq, postgres"]
    services.wait(3601)
    services.call("GET", "/v1/erasures")
    assert named()[2:] == ["rabbitmq, postgres"]


def test_an_erasure_waits_until_applications_are_about_to_be_told_and_for_no_answer_of_theirs(
    services: Services,
) -> None:
    database, app = services.database, "app_" + "a" * 16
    assert services.call("DELETE", "/v1/consumers/ann", params={"mode": "delete"}).status_code == 202
    database["positions"].insert_one({"_id": "webhooks@1/kith.consumer-changes/0", "epoch": 1, "next": 0})
    services.relate()
    services.count()
    assert undone(services) == ["applications", "caches"]
    # The webhooks service folds the erasure, and makes a notice of it in the same transaction.
    notice = compliance.erased("default", "ann", [app], services.now)
    database[NOTICES].insert_one(notice)
    emitted = database["positions"].find(
        {"_id": {"$regex": "^relations@1/kith.consumers/"}, "emitted": {"$gt": 0}}
    )
    seen = [{"origin": each["_id"], "number": each["emitted"]} for each in emitted]
    database["positions"].update_one({"_id": "webhooks@1/kith.consumer-changes/0"}, {"$set": {"seen": seen}})
    assert undone(services) == ["applications", "caches"]
    database[RECEIPTS].insert_one({**compliance.receipt(notice, app), "reason": "the application has no endpoint"})
    database[NOTICES].delete_one({"_id": notice["_id"]})
    assert undone(services) == ["caches"]
    services.wait(CACHE_SECONDS)
    state = services.call("GET", f"/v1/erasures/{ANN}").json()
    assert state["done"] is True
    told = {"app": app, "state": "waiting", "reason": "the application has no endpoint"}
    assert state["applications"] == [told]
    keys = KeySet.import_key_set(services.call("GET", "/v1/erasures/keys").json())
    claims = json.loads(jws.deserialize_compact(state["receipt"], keys, algorithms=["ES256"]).payload)
    assert claims["applications"] == {app: "waiting"}
    database[RECEIPTS].update_one({"app": app}, {"$set": {"state": "delivered", "settled": services.now}})
    state = services.call("GET", f"/v1/erasures/{ANN}").json()
    assert [each["state"] for each in state["applications"]] == ["delivered"], "shown as it is, beside the receipt"


def test_a_copy_of_a_consumers_data_is_told_to_whom_they_agree(services: Services) -> None:
    app = "app_" + "a" * 16
    services.store(
        [event("consumer.upserted", "e9", "2026-02-01T00:00:00Z", {"consumer_id": "ann", "consent": {app: True}})]
    )
    for consumer in ("ann", "ann", "bob"):
        assert services.call("GET", f"/v1/consumers/{consumer}/export").status_code == 200
    [notice] = services.database[NOTICES].find()
    assert (notice["topic"], notice["consumer_id"], notice["apps"]) == ("consumer.exported", "ann", [app])


def test_an_export_names_whom_somebody_has_ever_agreed_to(mongo_database: Mongo) -> None:
    world = Services(mongo_database, Access(Everyone(), audit=Recorder(MemoryAuditLog(), lambda: NOW)))
    prepare(mongo_database, APPS)
    store = MongoApps(mongo_database)
    letters = {"now": "a", "before": "b", "elsewhere": "c", "deleted": "d", "never": "e", "made up": "f"}
    ids = {name: "app_" + letter * 16 for name, letter in letters.items()}
    for name in ("now", "before", "elsewhere", "never"):
        tenant = "other" if name == "elsewhere" else "default"
        assert store.insert(App(ids[name], tenant, f"The app {name}", "approved", (), "0" * 64, NOW, "dev"))
    # A consent may name what is no application of the tenant. The webhooks service has kept none of those, and has
    # not come to the one that was granted last.
    stated = {ids["now"]: True, ids["before"]: False, ids["elsewhere"]: True, ids["made up"]: True, "mail": True}
    world.store([upserted("ann", consent=stated), upserted("bob")])
    mongo_database[REGISTER].insert_one({"_id": "default:ann", "apps": [ids["before"], ids["deleted"]]})
    mongo_database[REGISTER].insert_one({"_id": "other:bob", "apps": [ids["elsewhere"]]})

    def asked(consumer: str, credential: str) -> Any:
        headers = {"Authorization": f"Bearer kith_{credential}"}
        return world.call("GET", f"/v1/consumers/{consumer}/export", headers=headers).json()

    credential = "consumers:read,relations:read"
    assert asked("ann", credential)["applications"] == [
        {"app": ids["now"], "name": "The app now", "granted": True},
        {"app": ids["before"], "name": "The app before", "granted": False},
        {"app": ids["deleted"], "name": None, "granted": False},
    ]
    assert asked("bob", credential)["applications"] == []
    masked = asked("ann", f"{credential}@masks=consent")
    assert (masked["applications"], "applications" in masked["masked"]) == (MASK, True)
    assert asked("ann", f"{credential}@purpose={ids['now']}")["applications"] is None


@pytest.mark.parametrize("mode", ["anonymise", "delete"])
def test_an_erasure_is_done_only_when_both_spellings_of_the_id_are_gone(
    services: Services, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profiles, facts and keys from before ids were put in NFC: jose\u0301 with an accent of its own."""
    parts, whole = "jose\u0301", "jos\u00e9"
    with monkeypatch.context() as before:
        before.setattr(codec, "with_ids_in_nfc", lambda event: event)
        services.store([upserted(parts), *facts(parts)])
    database = services.database
    database["data_keys"].insert_one({"_id": f"default:{parts}", "wrapped": b"x", "wrapping": 1})
    assert database["relations"].count_documents({"consumer_id": parts}) == 3
    answer = services.call("DELETE", f"/v1/consumers/{quote(parts)}", params={"mode": mode})
    assert answer.json()["erasure"] == erasure_id("default", whole)
    path = answer.headers["Location"]
    steps = {step["name"]: step["done"] for step in services.call("GET", path).json()["steps"]}
    assert [name for name in ("profile", "key", "facts") if steps[name]] == []
    services.relate()
    services.count()
    services.wait(CACHE_SECONDS)
    services.call("GET", path)
    services.wait(CACHE_SECONDS)
    assert services.call("GET", path).json()["done"] is True
    assert {each["_id"] for each in database["consumers"].find()} == {
        "default:ann",
        "default:bob",
        f"default:{whole}",
    }
    [key] = database["data_keys"].find({"_id": f"default:{parts}"})
    assert (key["destroyed"], "wrapped" in key) == (True, False)
    left = {each["consumer_id"] for each in database["relations"].find()} - {"ann", "bob"}
    assert left == ({hashed("default", whole)} if mode == "anonymise" else set())
    assert database["relationships"].count_documents({"consumer_id": parts}) == 0
    totals = services.database["aggregates"].aggregate(
        [{"$match": {"by": "consumer", "key": parts}}, {"$group": {"_id": None, "count": {"$sum": "$count"}}}]
    )
    assert sum(each["count"] for each in totals) == 0


def test_asking_again_changes_nothing_but_delete_outranks(services: Services) -> None:
    first = services.call("DELETE", "/v1/consumers/ann", params={"mode": "anonymise"}).json()
    services.wait(10)
    assert services.call("DELETE", "/v1/consumers/ann", params={"mode": "anonymise"}).json() == first
    services.relate()
    documents = dict(everything(services.database))
    services.call("DELETE", "/v1/consumers/ann", params={"mode": "anonymise"})
    services.relate()
    assert dict(everything(services.database)) == documents
    services.call("DELETE", "/v1/consumers/ann", params={"mode": "delete"})
    services.relate()
    services.call("DELETE", "/v1/consumers/ann", params={"mode": "anonymise"})
    services.relate()
    assert services.call("GET", f"/v1/erasures/{ANN}").json()["mode"] == "delete"
    names = {"ann", hashed("default", "ann")}
    assert not [each for each in services.database["relations"].find() if each["consumer_id"] in names]


def test_an_erasure_that_came_by_event_has_a_state_too(services: Services) -> None:
    services.store(
        [event("consumer.erased", "x", "2026-11-01T00:00:00Z", {"consumer_id": "ann", "mode": "delete"})]
    )
    services.call("GET", f"/v1/erasures/{ANN}")
    services.wait(CACHE_SECONDS)
    state = services.call("GET", f"/v1/erasures/{ANN}").json()
    assert (state["done"], state["asked"]) == (True, "2026-11-01T00:00:00Z")
    other = services.call("GET", f"/v1/erasures/{ANN}", headers={"Kith-Tenant": "acme"})
    assert other.status_code == services.call("GET", "/v1/erasures/nobody").status_code == 404


def everything(database: Mongo, *names: str) -> Iterator[tuple[str, Any]]:
    names = names or ("consumers", "relations", "relationships", "aggregates", "presence", "erased", "erasures")
    for name in names:
        yield name, sorted(database[name].find(), key=lambda each: each["_id"])


SUMS = ("aggregates", "presence", "relationships", "relations")


@pytest.mark.parametrize("at_once", [2, 1000])
@pytest.mark.parametrize("mode", ["anonymise", "delete"])
def test_aggregates_equal_those_of_a_world_without_the_consumer(
    servers: Addresses, services: Services, mode: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``delete``: the consumer never was. ``anonymise``: the pseudonym was there in their place."""
    monkeypatch.setattr(erasing, "AT_ONCE", at_once)
    services.store(facts("ann", 9))
    services.call("DELETE", "/v1/consumers/ann", params={"mode": mode})
    services.relate()
    services.store(facts("ann", 12))  # late, and again
    services.count()

    with fresh_database(servers) as database:
        other = Services(database)
        other.store([upserted("bob"), *facts("bob")])
        if mode == "anonymise":
            other.store(pseudonymous(facts("ann", 12)))
        assert sums(services.database) == sums(database)


def pseudonymous(events: list[Any]) -> list[Any]:
    found = []
    for one in events:
        consumer, relation = hashed("default", "ann"), renamed("default", "ann", one.data.relation_id)
        update = {"consumer_id": consumer, "relation_id": relation, "text": None}
        found.append(one.model_copy(update={"data": one.data.model_copy(update=update)}))
    return found


def sums(database: Mongo) -> dict[str, Any]:
    """Without the partition, which is the consumer's and not that of the pseudonym's name; what is zero is left
    out, as by whoever adds partial sums up. Of a pseudonym's facts also what their events are known by."""
    found: dict[str, Any] = {name: list(documents) for name, documents in everything(database, *SUMS)}
    found["relations"] = [
        without_digest(fact) if fact["consumer_id"].startswith("p-") else fact for fact in found["relations"]
    ]
    totals: dict[Any, dict[str, Any]] = {}
    for each in found.pop("aggregates"):
        total = totals.setdefault((each["tenant"], each["by"], each["key"], each["day"]), {})
        counted(each)
        for hour in each["hours"].values():
            counted(hour)
        add(total, {name: each[name] for name in each if name not in ("_id", "partition")})
    return {**found, "aggregates": {key: kept for key, total in totals.items() if (kept := nonzero(total))}}


def counted(sums: dict[str, Any]) -> None:
    """Name the number of facts of every currency: partials leave out what their count says."""
    if "amount" in sums:
        counts = sums.get("amount_count", {})
        sums["amount_count"] = {currency: counts.get(currency, sums["count"]) for currency in sums["amount"]}


def add(total: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        if isinstance(value, dict):
            add(total.setdefault(name, {}), value)
        elif isinstance(value, int):
            total[name] = total.get(name, 0) + value


def nonzero(total: dict[str, Any]) -> dict[str, Any]:
    kept = {name: nonzero(value) if isinstance(value, dict) else value for name, value in total.items()}
    return {name: value for name, value in kept.items() if value}


def test_an_export_holds_everything_and_says_what_it_masks(services: Services) -> None:
    export = services.call("GET", "/v1/consumers/ann/export").json()
    assert export["consumer"]["personal"]["email"] == "ann@example.org"
    assert [fact["relation_id"] for fact in export["relations"]] == ["sale-0", "sale-1", "sale-2"]
    assert {pair["provider_id"]: pair["count"] for pair in export["relationships"]} == {"p0": 2, "p1": 1}
    assert (export["erasure"], export["masked"]) == (None, [])
    assert "bob" not in json.dumps(export)
    assert services.call("GET", "/v1/consumers/nobody/export").status_code == 404
    services.store(
        [event("consumer.erased", "x", "2026-11-01T00:00:00Z", {"consumer_id": "ann", "mode": "delete"})]
    )
    gone = services.call("GET", "/v1/consumers/ann/export").json()
    assert (gone["relations"], gone["relationships"]) == ([], [])
    assert gone["erasure"] == {"erasure": ANN, "mode": "delete"}
    assert gone["consumer"] == {"consumer_id": "ann", "erased": "delete"}


def test_an_export_holds_what_was_concluded_about_somebody_and_nobody_else(mongo_database: Mongo) -> None:
    world = Services(mongo_database, Access(Everyone(), audit=Recorder(MemoryAuditLog(), lambda: NOW)))
    world.store([upserted("ann"), *facts("ann")])
    prepare(mongo_database, INTELLIGENCE)
    outcomes = OutcomeStore(mongo_database, str)
    at = NOW.replace(microsecond=0)

    def show(side: Side, id: str, others: Sequence[str], **as_of: Any) -> None:
        far = "provider_id" if side == "consumer" else "consumer_id"
        answer = {
            "items": [{far: other, "rank": rank, "score": 1 / rank} for rank, other in enumerate(others, 1)],
            "as_of": {"positions": {}, "month": "2026-11", "half_life_months": 6.0, "beta": 0.4, **as_of},
        }
        shown = EVERYTHING.list_of("default", side, id, answer, at)
        assert shown is not None
        outcomes.add([shown])

    show("consumer", "ann", ["p7", "p8"], model="walk")
    show("consumer", "bob", ["p7"], model="walk")
    for number in range(120):  # more than a page
        show("provider", "p9", ["bob", "ann"], model=f"places:{number:03}")
    node = {"tenant": "default", "side": "consumer", "id": "ann", "community": "3", "pagerank": 0.1, "degree": 2}
    mongo_database["graph_nodes"].insert_one({"_id": "default:consumer:ann", **node})

    def asked(scopes: str, consumer: str = "ann") -> Any:
        headers = {"Authorization": f"Bearer kith_{scopes}"}
        return world.call("GET", f"/v1/consumers/{consumer}/export", headers=headers).json()

    export = asked("consumers:read,relations:read,intelligence:read")
    assert export["graph"] == {"relationships": 2, "community": "3", "pagerank": 0.1}
    first, second, *others = export["recommended"]
    assert (first["provider_id"], first["asked_about"], first["rank"]) == ("p7", "consumer", 1)
    assert (second["provider_id"], second["score"], second["followed"]) == ("p8", 0.5, None)
    assert [each["model"] for each in others] == [f"places:{number:03}" for number in range(120)]
    assert {(each["provider_id"], each["asked_about"], each["rank"]) for each in others} == {("p9", "provider", 2)}
    assert "bob" not in json.dumps(export)
    without = asked("consumers:read,relations:read")
    assert (without["graph"], without["recommended"]) == (None, None)
    # Of bob nothing is stored but that he was recommended.
    bob = asked("consumers:read,relations:read,intelligence:read", "bob")
    assert len(bob["recommended"]) == 121


def test_an_export_of_many_relations_comes_in_pages(services: Services) -> None:
    many = [recorded(f"many-{n}", "2026-03-01T00:00:00Z", f"r{n:04}", consumer_id="ann:1") for n in range(1203)]
    services.store([upserted("ann:1"), upserted("ann"), *many])
    export = services.call("GET", "/v1/consumers/ann%3A1/export").json()
    assert [fact["relation_id"] for fact in export["relations"]] == [f"r{n:04}" for n in range(1203)]


class Everyone:
    """A key's text is its scopes, and after an ``@`` a purpose or a mask."""

    async def caller(self, text: str) -> Caller:
        scopes, _, bound = text.removeprefix("kith_").partition("@")
        caller = Caller("default", frozenset(scopes.split(",")), name="ann", key="k1")
        match bound.split("="):
            case ["purpose", purpose]:
                return replace(caller, purpose=purpose)
            case ["masks", field]:
                return replace(caller, masks=(field,))
        return caller


def test_what_somebody_has_done_is_theirs_without_a_profile_too_and_reading_it_is_on_record(
    mongo_database: Mongo,
) -> None:
    audit_log = MemoryAuditLog()
    recorder = Recorder(audit_log, lambda: NOW)
    world = Services(mongo_database, Access(Everyone(), audit=recorder))
    world.store([recorded("e1", "2026-03-01T00:00:00Z", "r1", consumer_id="cyd", text="quite fine")])

    def export(consumer: str, may: str) -> Any:
        headers = {"Authorization": f"Bearer kith_{may}"}
        return world.call("GET", f"/v1/consumers/{consumer}/export", headers=headers)

    for missing in ("consumers:read,personal:read", "relations:read,personal:read"):
        assert export("cyd", missing).status_code == 403, "it holds a profile and relations"
    assert list(audit_log.entries("default")) == []
    shown = export("cyd", "consumers:read,relations:read,personal:read").json()
    assert shown["consumer"] == {"consumer_id": "cyd"}
    assert [fact["text"] for fact in shown["relations"]] == ["quite fine"]
    [entry] = audit_log.entries("default")
    assert (entry["action"], entry["subject"]) == ("personal.read", {"consumer_id": "cyd"})
    assert "text" in entry["fields"]
    hidden = export("cyd", "consumers:read,relations:read")
    assert (hidden.status_code, "quite fine" in hidden.text) == (200, False)
    assert len(list(audit_log.entries("default"))) == 1, "masks show nothing"
    assert export("cy", "consumers:read,relations:read").status_code == 404
    recorder.close()


def test_a_purpose_that_is_not_granted_keeps_the_export_back(services: Services) -> None:
    assert services.call("GET", "/v1/consumers/ann/export", params={"purpose": "mail"}).status_code == 200
    for consumer, purpose in (("ann", "ads"), ("bob", "mail")):
        answer = services.call("GET", f"/v1/consumers/{consumer}/export", params={"purpose": purpose})
        assert answer.status_code == 403
        assert "example.org" not in answer.text


def test_a_correction_merges_into_what_is_known(services: Services) -> None:
    patch = {"personal": {"email": "new@example.org", "name": None}, "consent": None, "traits": {"vip": True}}
    answer = services.call("PATCH", "/v1/consumers/ann", json=patch)
    assert answer.status_code == 202
    services.relate()
    consumer = services.call("GET", "/v1/consumers/ann/export").json()["consumer"]
    assert (consumer["personal"], "consent" in consumer) == ({"email": "new@example.org"}, False)
    assert consumer["traits"] == {"vip": True}


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({}, "is empty"),
        ({"consumer_id": "x"}, "consumer_id"),
        ({"personal": {"email": 5}}, "data.personal.email"),
        ({"personal": "x"}, "personal"),
        ({"location": {"lat": 1.0}}, "lat and lon"),
    ],
)
def test_a_correction_that_is_none_is_refused(services: Services, patch: Any, said: str) -> None:
    answer = services.call("PATCH", "/v1/consumers/ann", json=patch)
    assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text


def test_nobody_corrects_who_is_erased_or_not_known(services: Services) -> None:
    services.call("DELETE", "/v1/consumers/ann", params={"mode": "anonymise"})
    services.relate()
    patch = {"traits": {"vip": True}}
    assert services.call("PATCH", "/v1/consumers/ann", json=patch).status_code == 409
    assert services.call("PATCH", "/v1/consumers/nobody", json=patch).status_code == 404


def test_a_pseudonym_is_not_erased_but_whom_it_stands_for(services: Services) -> None:
    services.call("DELETE", "/v1/consumers/ann", params={"mode": "anonymise"})
    services.relate()
    name = hashed("default", "ann")
    before = dict(everything(services.database))
    answer = services.call("DELETE", f"/v1/consumers/{name}", params={"mode": "delete"})
    assert (answer.status_code, "mode=delete" in answer.json()["detail"]) == (409, True), answer.text
    services.relate()
    assert dict(everything(services.database)) == before
    services.call("DELETE", "/v1/consumers/ann", params={"mode": "delete"})
    services.relate()
    assert not services.database["relations"].count_documents({"consumer_id": {"$in": ["ann", name]}})


def test_an_upstreams_own_id_may_look_like_a_pseudonym(services: Services) -> None:
    name = hashed("default", "somebody")
    services.store(facts(name))
    assert services.call("DELETE", f"/v1/consumers/{name}", params={"mode": "delete"}).status_code == 202
    services.relate()
    assert not services.database["relations"].count_documents({"consumer_id": name})


def test_without_a_credential_only_the_keys_are_told(mongo_database: Mongo) -> None:
    world = Services(mongo_database, Access())
    assert world.call("GET", "/v1/erasures/keys").status_code == 200
    refused = [
        world.call("DELETE", "/v1/consumers/ann", params={"mode": "delete"}),
        world.call("PATCH", "/v1/consumers/ann", json={}),
        world.call("GET", f"/v1/erasures/{ANN}"),
        world.call("GET", "/v1/consumers/ann/export"),
    ]
    assert [answer.status_code for answer in refused] == [401] * 4
    assert not world.memory.values("consumers")


class Counted(CommandListener):
    """The commands that MongoDB gets."""

    def __init__(self) -> None:
        self._found: Counter[str] = Counter()

    def during(self, work: Callable[[], object]) -> dict[str, int]:
        self._found.clear()
        work()
        return dict(self._found)

    def started(self, event: CommandStartedEvent) -> None:
        self._found[f"{event.command_name} {event.command.get(event.command_name)}"] += 1

    def succeeded(self, event: object) -> None: ...
    def failed(self, event: object) -> None: ...


def listed(services: Services, limit: int = 100) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = services.call("GET", "/v1/erasures", params={"limit": limit, **cursor}).json()
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_an_erasure_of_before_ids_were_in_nfc_is_listed_once(
    services: Services, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requested over HTTP or through Kafka, and requested again under the id in NFC or not."""
    requests = services.database["erasure_requests"]
    for id, day in (("jose\u0301", 1), ("rene\u0301", 2), ("bob", 3)):
        name = erasure_id("default", id)
        asked = services.now.replace(day=day)
        requests.insert_one(
            {
                "_id": f"{name}/delete",
                "erasure": name,
                "tenant": "default",
                "consumer_id": id,
                "mode": "delete",
                "asked": asked,
            }
        )
    with monkeypatch.context() as before:
        before.setattr(codec, "with_ids_in_nfc", lambda event: event)
        gone = {"consumer_id": "zoe\u0301", "mode": "delete"}
        services.store([event("consumer.erased", "x", "2026-11-04T00:00:00Z", gone)])
    services.call("DELETE", "/v1/consumers/" + quote("jos\u00e9"), params={"mode": "delete"})
    services.relate()
    for _ in range(2):
        found = {item["consumer_id"]: item for item in listed(services, limit)}
        assert len(listed(services, limit)) == 4
        assert {id: item["asked"][:10] for id, item in found.items()} == {
            "jos\u00e9": "2026-11-01",
            "ren\u00e9": "2026-11-02",
            "bob": "2026-11-03",
            "zo\u00e9": "2026-11-04",
        }
        assert all(item["erasure"] == erasure_id("default", id) for id, item in found.items())
    old = services.call("GET", "/v1/erasures/" + erasure_id("default", "jose\u0301")).json()
    assert old["erasure"] == erasure_id("default", "jos\u00e9")


def test_a_page_of_erasures_is_as_many_queries_as_one(servers: Addresses, services: Services) -> None:
    counted = Counted()
    with BoundedClient(servers.mongo, event_listeners=[counted]) as client:
        watched = Services(client[services.database.name])
        for number in range(3):
            services.call("DELETE", f"/v1/consumers/c{number}", params={"mode": "delete"})
        services.relate()
        listed(watched)
        few = counted.during(lambda: listed(watched))
        for number in range(3, 40):
            services.call("DELETE", f"/v1/consumers/c{number}", params={"mode": "delete"})
        services.relate()
        assert len(listed(watched)) == 40
        assert counted.during(lambda: listed(watched)) == few


def test_a_list_of_erasures_is_read_by_an_index_of_its_tenant(services: Services) -> None:
    """Another tenant's erasures, of which there may be millions, cost it nothing."""

    def used() -> list[int]:
        names = ("erasure_requests", "erasures")
        found = [list(services.database[name].aggregate([{"$indexStats": {}}])) for name in names]
        return [
            sum(each["accesses"]["ops"] for each in some if list(each["key"])[:1] == ["tenant"]) for some in found
        ]

    gone = {"consumer_id": "ann", "mode": "delete"}
    services.store([event("consumer.erased", "x", "2026-11-04T00:00:00Z", gone)])
    services.call("DELETE", "/v1/consumers/bob", params={"mode": "delete"})
    before = used()
    assert {each["consumer_id"] for each in listed(services)} == {"ann", "bob"}
    assert all(now > then for now, then in zip(used(), before, strict=True))
