"""Two versions of the relations in a real MongoDB are compared while the live one moves on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from pymongo.database import Database

from services.rebuild import compare
from services.rebuild.build import RebuildContext, Superseded, offsets
from services.rebuild.compare import Difference, VersionComparison
from services.rebuild.diff import why
from services.rebuild.handover import hand_over
from services.rebuild.versions import approach, begin
from services.relations.projection import RelationsProjection
from services.relations.schema import COLLECTIONS
from services.relations.strength import Strength
from shared.mongo.store import MongoStore, prepare
from shared.runtime.protocols import Document
from shared.runtime.runner import Runner
from shared.testing.memory import MemoryReader
from shared.versions.generations import collections_of, own_collections
from shared.versions.live import LiveStore
from shared.versions.mongo_registry import MongoRegistry
from tests.support.builders import STRENGTH, TOPICS, MemoryKith, event
from tests.support.relations_driver import history

Mongo = Database[Document]


class Service:
    """The relations service with its documents in MongoDB and its log in memory, and a second version of it."""

    def __init__(self, database: Mongo, strength: Strength = STRENGTH) -> None:
        prepare(database, COLLECTIONS)
        self.database = database
        self.memory = MemoryKith()
        self.registry = MongoRegistry(database, "relations")
        self._runner = self._worker()
        self.context = RebuildContext(
            projection=RelationsProjection(TOPICS, strength, max_future_seconds=86_400),
            collections=COLLECTIONS,
            registry=self.registry,
            owner="rebuild",
            open_store=self._store,
            open_reader=self._reader,
            open_publisher=lambda: self.memory.publisher,
            prepare=lambda version: prepare(database, collections_of(own_collections(COLLECTIONS), version)),
            slice_events=40,
        )

    def _store(self, version: int) -> MongoStore:
        return MongoStore(self.database, collections_of(COLLECTIONS, version))

    def _reader(self) -> MemoryReader:
        reader = MemoryReader(self.memory.log)
        reader.assign(self.memory.inputs)
        return reader

    def _worker(self) -> Runner:
        return Runner(
            self._reader(),
            LiveStore(self.registry, self._store),
            self.memory.publisher,
            self.memory.projection,
            owner="worker",
            dead_letters=TOPICS.name("dead-letters"),
            slice_events=40,
        )

    def send(self, seed: int) -> None:
        self.memory.publish(history(seed))

    def work(self) -> None:
        """Until all that was sent is stored."""
        ends = {str(place): self.memory.log.end(place) for place in self.memory.inputs}
        for _ in range(2_000):
            self._runner.step(0)
            reached = offsets(self.registry, self.registry.read().live)
            if all(reached.get(place, 0) >= end for place, end in ends.items()):
                return
        raise AssertionError("the service does not get to the end")

    def compare(self, tell: Callable[[str], None] = lambda _: None, strength: Strength = STRENGTH) -> Difference:
        return VersionComparison(
            self.context, self.database, 2, lambda name: why(name, 1, 2, strength), tell
        ).compare()


@pytest.fixture
def service(mongo_database: Mongo) -> Service:
    return rebuilt(Service(mongo_database))


def rebuilt(service: Service) -> Service:
    service.send(1)
    service.work()
    target = begin(service.context, dict)
    approach(service.context, target, None)
    return service


def test_a_rebuilt_version_is_the_same_while_events_come(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_LOOK_EVERY", 7)
    seeds = iter(range(2, 100))

    def more(_: str) -> None:
        service.send(next(seeds))
        service.work()

    comparing = VersionComparison(
        service.context, service.database, 2, lambda name: why(name, 1, 2, STRENGTH), more, snapshot_seconds=0.0
    )
    found = comparing.compare()
    assert found.same, found
    assert found.collections["relations"].compared > 100
    names = {"consumers", "providers", "relations", "relationships", "relationship_cells", "erased", "erasures"}
    assert set(found.collections) == names
    assert not any(comparison.examples for comparison in found.collections.values())


def test_what_was_changed_by_other_means_is_named(service: Service) -> None:
    relations, relationships = service.database["relations"], service.database["relationships"]
    sold = relations.find_one({"amount": {"$exists": True}, "retracted": False})
    others = list(relations.find({"retracted": False, "amount": {"$exists": False}}).sort("_id", 1).limit(4))
    pair = relationships.find_one()
    assert sold is not None
    assert pair is not None
    relations.update_one({"_id": sold["_id"]}, {"$inc": {"amount": 1}})
    relations.delete_one({"_id": others[0]["_id"]})
    relations.insert_one({**others[1], "_id": "default:eve:made-up"})
    older = {**others[2]["version"], "time": others[2]["version"]["time"] - 1_000_000, "id": "older"}
    relations.update_one({"_id": others[2]["_id"]}, {"$set": {"version": older}})
    newer = {**others[3]["version"], "time": others[3]["version"]["time"] + 1_000_000, "id": "newer"}
    relations.update_one({"_id": others[3]["_id"]}, {"$set": {"version": newer, "text": "secret"}})
    relationships.update_one({"_id": pair["_id"]}, {"$inc": {"count": 1}})

    found = service.compare()
    assert not found.same
    facts = found.collections["relations"]
    assert (facts.only_live, facts.only_other, facts.different) == (1, 1, 3)
    assert dict(facts.reasons) == {
        "same event": 1,
        "missing": 1,
        "extra": 1,
        "newer event": 1,
        "older event": 1,
    }
    examples = {example.id: example for example in facts.examples}
    assert examples[sold["_id"]].fields == {"amount": (sold["amount"] + 1, sold["amount"])}
    assert "changed by other means" in examples[sold["_id"]].why
    assert "version 2 does not have it" in examples["default:eve:made-up"].why
    assert "version 1 does not have it" in examples[others[0]["_id"]].why
    assert "test/older of" in examples[others[2]["_id"]].why
    assert examples[others[3]["_id"]].fields["text"][0] == "…", "a free text was shown"
    assert "secret" not in str(found)
    summed = found.collections["relationships"]
    assert dict(summed.reasons) == {"same facts": 1}
    assert summed.examples[0].fields == {"count": (pair["count"] + 1, pair["count"])}
    assert found.collections["consumers"].same


def test_profiles_of_an_earlier_version_differ_by_what_was_wiped_only(mongo_database: Mongo) -> None:
    """Before fields had versions of their own, each part had one, and a partial profile removed the rest."""
    service = Service(mongo_database)
    crm = {"consumer_id": "c1", "personal": {"name": "Ada", "email": "ada@example.org"}, "traits": {"vip": True}}
    service.memory.publish(
        [
            event("consumer.upserted", "e1", "2026-01-01T00:00:00Z", crm),
            event(
                "consumer.upserted",
                "e2",
                "2026-01-02T00:00:00Z",
                {"consumer_id": "c1", "personal": {"phone": "+1"}},
            ),
            event("consumer.upserted", "e3", "2026-01-03T00:00:00Z", {**crm, "consumer_id": "c2"}),
        ]
    )
    service.work()
    consumers = service.database["consumers"]
    for id, personal in (("default:c1", "e2"), ("default:c2", "e3")):
        stored = consumers.find_one({"_id": id})
        assert stored is not None
        made = {entry["id"]: {n: v for n, v in entry.items() if n != "fields"} for entry in stored["versions"]}
        earlier = {"personal": made[personal], "traits": made.get("e1") or made["e3"]}
        if personal == "e2":
            stored["personal"] = {"phone": "+1"}
        consumers.replace_one({"_id": id}, {**stored, "versions": earlier})
    approach(service.context, begin(service.context, dict), None)
    found = service.compare().collections["consumers"]
    assert (found.compared, found.different, dict(found.reasons)) == (2, 1, {"fields": 1})
    [example] = found.examples
    assert example.why.startswith("personal.email, personal.name: ")
    assert "ada@example.org" not in str(example)


def test_other_weights_are_told_from_other_facts(mongo_database: Mongo) -> None:
    heavier = Strength({**STRENGTH.weights, "view": 7.0}, 6.0)
    service = rebuilt(Service(mongo_database, heavier))
    found = service.compare(strength=heavier)
    assert found.collections["relations"].same
    scores = found.collections["relationships"]
    assert scores.different
    assert set(scores.reasons) == {"score"}
    assert "which the present settings give to the newer one" in scores.examples[0].why
    assert list(scores.examples[0].fields) == ["score"]


def test_another_process_that_moves_the_version_ends_the_comparison(service: Service) -> None:
    def meddle(text: str) -> None:
        if text.endswith("relations"):
            service.send(9)
            service.work()
            approach(replace(service.context, owner="other"), 2, None)
            steps = hand_over(replace(service.context, owner="other"), 2)
            assert list(steps)[-1] == "version 2 is live"

    with pytest.raises(Superseded):
        service.compare(meddle)
    assert service.registry.read().live == 2


def test_times_and_types_are_compared_as_they_are(service: Service) -> None:
    fact = service.database["relations"].find_one({"retracted": False})
    assert fact is not None
    changes: list[tuple[str, Any]] = [
        ("time", fact["time"].replace(microsecond=(fact["time"].microsecond + 1000) % 1_000_000)),
        ("relation_id", f"{fact['relation_id']} "),
    ]
    for name, value in changes:
        service.database["relations"].update_one({"_id": fact["_id"]}, {"$set": {name: value}})
        [example] = service.compare().collections["relations"].examples
        assert example.fields == {name: (value, fact[name])}
        assert isinstance(fact["time"], datetime)
        service.database["relations"].update_one({"_id": fact["_id"]}, {"$set": {name: fact[name]}})
    assert service.compare().same
