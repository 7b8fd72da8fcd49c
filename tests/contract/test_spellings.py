"""Documents of before ids were put in NFC, beside those of now: counted, and brought together by a rebuild."""

from collections.abc import Callable
from typing import Literal
from unicodedata import normalize

import pytest
from prometheus_client import CollectorRegistry
from pymongo.monitoring import CommandListener, CommandStartedEvent

from services.analytics.projection import AnalyticsProjection
from services.analytics.schema import COLLECTIONS as ANALYTICS
from services.rebuild.corrections import CorrectionPublisher
from services.rebuild.handover import hand_over
from services.rebuild.versions import approach, begin
from services.relations import spellings
from services.relations.schema import COLLECTIONS
from services.relations.spellings import FIELDS, StoredSpellings
from shared.contracts import codec
from shared.contracts.events import Event
from shared.mongo.bounded import BoundedClient
from shared.mongo.store import MongoStore, prepare
from shared.runtime.runner import Runner
from shared.testing.memory import MemoryReader
from shared.versions.live import LiveNames
from tests.conftest import Addresses
from tests.contract.test_rebuild_compare import Service
from tests.support.builders import TOPICS, event, recorded
from tests.support.relations_driver import Mongo

WHOLE, PARTS = "jos\u00e9", "jose\u0301"


LEFT = {"consumer_id": "zoe\u0301", "mode": "anonymise"}


def said(id: str, n: int) -> list[Event]:
    """A profile, two facts with money and a provider, and another consumer's erasure; the ids in this form."""
    form: Literal["NFC", "NFD"] = "NFC" if id == WHOLE else "NFD"
    gone, shop = normalize(form, "ren\u00e9"), normalize(form, "caf\u00e9")
    money = {"kind": "purchase", "currency": "EUR", "provider_id": shop}
    return [
        event(
            "consumer.upserted",
            f"c{n}",
            f"2026-01-0{n}T00:00:00Z",
            {"consumer_id": id, "personal": {"name": "J"}},
        ),
        event("provider.upserted", f"p{n}", f"2026-01-0{n}T00:00:00Z", {"provider_id": shop, "name": f"v{n}"}),
        # One fact that both spellings state, and one that each states alone.
        recorded(
            f"both{n}",
            f"2026-01-0{n}T10:00:00Z",
            normalize(form, "r\u00e9"),
            consumer_id=id,
            amount=100 * n,
            **money,
        ),
        recorded(f"own{n}", f"2026-01-0{n}T11:00:00Z", f"own-{n}", consumer_id=id, amount=7, **money),
        recorded(f"gone{n}", f"2026-01-0{n}T11:00:00Z", f"g-{n}", consumer_id=gone, amount=1, **money),
        event("consumer.erased", f"x{n}", f"2026-01-0{n}T12:00:00Z", {"consumer_id": gone, "mode": "delete"}),
    ]


class Analytics:
    def __init__(self, service: Service) -> None:
        prepare(service.database, ANALYTICS)
        reader = MemoryReader(service.memory.log)
        reader.assign([p for p in service.memory.log.records if p.topic == TOPICS.name("relation-changes")])
        self._runner = Runner(
            reader,
            MongoStore(service.database, ANALYTICS),
            service.memory.publisher,
            AnalyticsProjection(TOPICS),
            owner="test",
            dead_letters=TOPICS.name("dead-letters"),
        )

    def count(self) -> None:
        for _ in range(60):
            self._runner.step(0)


def both(database: Mongo, monkeypatch: pytest.MonkeyPatch) -> tuple[Service, Analytics]:
    """A service that has stored the same under both spellings, the first as the version before did."""
    service = Service(database)
    analytics = Analytics(service)
    with monkeypatch.context() as before:
        before.setattr(codec, "with_ids_in_nfc", lambda found: found)
        service.memory.publish([*said(PARTS, 1), event("consumer.erased", "x9", "2026-01-05T00:00:00Z", LEFT)])
        service.work()
        service.work()  # what an erasure publishes for itself
    service.memory.publish(said(WHOLE, 2))
    service.work()
    service.work()
    analytics.count()
    return service, analytics


def sums(database: Mongo, by: str) -> dict[str, tuple[int, int]]:
    rows = database["aggregates"].aggregate(
        [
            {"$match": {"by": by}},
            {"$group": {"_id": "$key", "count": {"$sum": "$count"}, "amount": {"$sum": "$amount.EUR"}}},
            {"$match": {"$or": [{"count": {"$ne": 0}}, {"amount": {"$ne": 0}}]}},
        ]
    )
    return {row["_id"]: (row["count"], row["amount"]) for row in rows}


def counted(database: Mongo, names: Callable[[str], str]) -> dict[str, float]:
    registry = CollectorRegistry()
    counting = StoredSpellings(database, names, registry)
    while counting.step():
        pass
    return {name: registry.get_sample_value("kith_ids_not_in_nfc", {"collection": name}) or 0.0 for name in FIELDS}


def test_a_rebuild_makes_one_document_of_two_spellings_and_the_sums_are_right(
    mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spellings, "STEP", 2)
    service, analytics = both(mongo_database, monkeypatch)
    names = LiveNames(service.registry, seconds=0.0)
    assert counted(mongo_database, names) == {
        "consumers": 2,
        "providers": 1,
        "relations": 2,
        "relationships": 1,
        "erased": 2,
        "erasures": 2,
    }
    assert sums(mongo_database, "consumer") == {PARTS: (2, 107), WHOLE: (2, 207)}

    target = begin(service.context, dict)
    approach(service.context, target, None)
    for _ in hand_over(service.context, target, CorrectionPublisher(mongo_database, TOPICS, 1, target)):
        pass
    service.work()
    analytics.count()

    assert counted(mongo_database, names) == dict.fromkeys(FIELDS, 0)
    live = {name: {each["_id"]: each for each in mongo_database[names(name)].find()} for name in COLLECTIONS}
    assert set(live["consumers"]) == {f"default:{WHOLE}", "default:ren\u00e9", "default:zo\u00e9"}
    assert set(live["providers"]) == {"default:caf\u00e9"}
    assert set(live["relations"]) == {f"default:{WHOLE}:{each}" for each in ("r\u00e9", "own-1", "own-2")}
    [pair] = live["relationships"].values()
    assert (pair["count"], pair["kinds"]["purchase"]["2026-01"]["amount"]) == (3, {"EUR": 214})
    for name in ("erased", "erasures"):
        assert sorted(each["consumer_id"] for each in live[name].values()) == ["ren\u00e9", "zo\u00e9"]
    assert sums(mongo_database, "consumer") == {WHOLE: (3, 214)}
    assert sums(mongo_database, "provider") == {"caf\u00e9": (3, 214)}
    assert sums(mongo_database, "total") == {"": (3, 214)}


def test_one_process_counts_at_a_time_and_another_goes_on(
    mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spellings, "STEP", 2)
    mongo_database["consumers"].insert_many(
        [{"_id": f"t:{n}{WHOLE if n % 3 else PARTS}"} for n in range(9)], bypass_document_validation=True
    )
    one, two = (StoredSpellings(mongo_database, str, CollectorRegistry()) for _ in range(2))
    assert one.step()
    place = mongo_database["findings"].find_one({"_id": "spelling/consumers"})
    assert place is not None
    assert (place["after"], place["count"]) == (f"t:1{WHOLE}", 1)
    # A step under way is left alone; what has died in one is due again.
    later = {"$set": {"due": place["last"].replace(year=place["last"].year + 1)}}
    mongo_database["findings"].update_one({"_id": "spelling/consumers"}, later)
    while two.step():
        pass
    assert mongo_database["findings"].find_one({"_id": "spelling/consumers", "after": place["after"]}) is not None
    mongo_database["findings"].update_one({"_id": "spelling/consumers"}, {"$unset": {"due": ""}})
    while two.step():
        pass
    found = mongo_database["findings"].find_one({"_id": "spelling/consumers"})
    assert found is not None
    assert (found["count"], "after" in found) == (3, False)
    assert not one.step(), "it is counted once a day"


def test_a_step_reads_the_index_of_ids_only(servers: Addresses, mongo_database: Mongo) -> None:
    mongo_database["relations"].insert_many([{"_id": f"t:{n}"} for n in range(9)], bypass_document_validation=True)
    seen: list[dict[str, object]] = []

    class Listener(CommandListener):
        def started(self, event: CommandStartedEvent) -> None:
            if event.command_name == "aggregate" and event.command["aggregate"] == "relations":
                seen.append(dict(event.command))

        def succeeded(self, event: object) -> None: ...
        def failed(self, event: object) -> None: ...

    with BoundedClient(servers.mongo, event_listeners=[Listener()]) as client:
        counting = StoredSpellings(client[mongo_database.name], str, CollectorRegistry())
        while counting.step():
            pass
    [command] = seen
    asked = {"aggregate": "relations", "pipeline": command["pipeline"], "cursor": {}}
    plan = mongo_database.command("explain", asked, verbosity="executionStats")
    assert "'totalDocsExamined': 0" in str(plan)
