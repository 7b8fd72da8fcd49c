"""Queries of the relations service on a real MongoDB, on documents that its runner stored."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from services.relations import answers
from services.relations.cache import QueryCache
from services.relations.pair_queries import EVIDENCE
from services.relations.queries import BadPlace, Queries
from services.relations.strength import Strength
from shared.runtime.protocols import Document
from tests.support.builders import STRENGTH, event, recorded, retracted, stored_state
from tests.support.relations_driver import NOW, Mongo, MongoKith, history, pages, uncached


@pytest.mark.parametrize("seed", [1, 2])
def test_mongodb_stores_what_memory_stores(mongo_database: Mongo, seed: int) -> None:
    events = history(seed)
    MongoKith(mongo_database).store(events)
    expected = stored_state(events)
    assert {name for name, documents in expected.items() if documents} == {"relations", "relationships"}
    for name, documents in expected.items():
        assert {document["_id"]: document for document in mongo_database[name].find()} == documents


@pytest.mark.parametrize("seed", [3, 4])
def test_every_relation_is_on_one_page(mongo_database: Mongo, seed: int) -> None:
    events = history(seed)
    MongoKith(mongo_database).store(events)
    queries = uncached(mongo_database)
    facts = [fact for fact in stored_state(events)["relations"].values() if not fact["retracted"]]
    facts.sort(key=lambda fact: (fact["time"], fact["_id"]), reverse=True)
    assert len({fact["time"] for fact in facts}) < len(facts) / 2, "no ties"
    for tenant, consumer, provider, kind in (
        ("default", "ann", None, None),
        ("default", None, "p:1", None),
        ("default", "c:1", "café", None),
        ("acme", "ann", None, None),
        ("default", "100%", None, "review"),
        ("acme", None, "1:p", "purchase"),
        ("default", "bob", "1:p", "unheard_of"),
        ("default", "nobody", None, None),
        ("nobody", "ann", None, None),
    ):
        stated = {"tenant": tenant, "consumer_id": consumer, "provider_id": provider, "kind": kind}
        wanted = [
            answers.relation(fact)
            for fact in facts
            if all(value is None or fact[name] == value for name, value in stated.items())
        ]
        assert wanted or "nobody" in (tenant, consumer)
        for limit in (1, 3, len(wanted) or 7, 1000):
            read = partial(queries.relations, tenant, consumer, provider, kind, limit)
            assert list(pages(read, limit)) == wanted


@pytest.mark.parametrize("seed", [5, 6])
def test_every_relationship_is_on_one_page_strongest_first(mongo_database: Mongo, seed: int) -> None:
    events = history(seed)
    MongoKith(mongo_database).store(events)
    queries = uncached(mongo_database)
    documents = stored_state(events)["relationships"].values()
    for tenant, side, id in (
        ("default", "consumer_id", "ann"),
        ("default", "provider_id", "p:1"),
        ("acme", "provider_id", "café"),
        ("acme", "consumer_id", "100%"),
        ("default", "provider_id", "nobody"),
        ("nobody", "provider_id", "café"),
    ):
        wanted = [document for document in documents if (document["tenant"], document[side]) == (tenant, id)]
        wanted.sort(key=lambda document: (-document["score"], document["_id"]))
        assert wanted or "nobody" in (tenant, id)
        strengths = [STRENGTH.at(document["kinds"], NOW)[0] for document in wanted]
        for limit in (1, 2, len(wanted) or 7, 1000):

            def read(after: Any, place: tuple[str, str, str, int] = (tenant, side, id, limit)) -> Document:
                return queries.relationships(*place, after, NOW)

            found = list(pages(read, limit))
            names = ("consumer_id", "provider_id", "count", "first", "last")
            assert [[item[name] for name in names] for item in found] == [
                [document[name] for name in names] for document in wanted
            ]
            assert [item["strength"] for item in found] == pytest.approx(strengths, rel=1e-9)
            assert [sum(item["kinds"].values()) for item in found] == [item["count"] for item in found]


def test_relationships_of_one_strength_are_paged_by_their_id(mongo_database: Mongo) -> None:
    kith = MongoKith(mongo_database)
    kith.store([recorded(f"e{n}", "2026-01-01T00:00:00Z", f"r{n}", provider_id=f"p{n}") for n in range(5)])
    queries = uncached(mongo_database)
    found = pages(lambda cursor: queries.relationships("default", "consumer_id", "c1", 2, cursor, NOW), 2)
    assert [item["provider_id"] for item in found] == ["p0", "p1", "p2", "p3", "p4"]


def test_a_page_goes_on_where_the_last_one_ended_though_facts_come_and_go(mongo_database: Mongo) -> None:
    kith = MongoKith(mongo_database)
    kith.store([recorded(f"e{n}", f"2026-01-0{n}T00:00:00Z", f"r{n}") for n in range(1, 7)])
    queries = uncached(mongo_database)
    first = queries.relations("default", "c1", None, None, 3, None)
    assert [item["relation_id"] for item in first["items"]] == ["r6", "r5", "r4"]
    kith.store(
        [
            recorded("e7", "2026-01-07T00:00:00Z", "r7"),
            retracted("u4", "2026-02-01T00:00:00Z", "r4"),
            recorded("e0", "2026-01-02T12:00:00Z", "r0"),
        ]
    )
    second = queries.relations("default", "c1", None, None, 3, first["next"])
    assert [item["relation_id"] for item in second["items"]] == ["r3", "r0", "r2"]


FOREIGN: list[list[Any]] = [
    [],
    [1],
    ["1", "x"],
    [True, "x"],
    [None, "x"],
    [1, 2],
    [1.5, None],
    [1, "x", "y"],
    [1.5, "x", "y"],
    [{"$gt": 0}, "x"],
    [1, {"$gt": ""}],
    [1.5, {"$gt": ""}],
]


@pytest.mark.parametrize("place", FOREIGN, ids=str)
def test_a_place_of_another_form_is_refused(mongo_database: Mongo, place: list[Any]) -> None:
    queries = uncached(mongo_database)
    with pytest.raises(BadPlace):
        queries.relations("default", "c1", None, None, 5, place)
    with pytest.raises(BadPlace):
        queries.relationships("default", "consumer_id", "c1", 5, place, NOW)


@pytest.mark.parametrize("milliseconds", [10**15, -(10**15), 10**18, -(2**63), 2**64 - 1, 2**64])
def test_a_place_at_no_time_is_refused(mongo_database: Mongo, milliseconds: int) -> None:
    with pytest.raises(BadPlace):
        uncached(mongo_database).relations("default", "c1", None, None, 5, [milliseconds, "x"])


def test_a_place_of_the_other_list_is_refused_and_one_of_another_tenant_shows_nothing_of_it(
    mongo_database: Mongo,
) -> None:
    data = {"relation_id": "x", "kind": "view", "consumer_id": "c1"}
    events = [
        event(
            "relation.recorded",
            f"e{n}",
            NOW.isoformat(),
            {**data, "relation_id": f"r{n}", "provider_id": f"p{n}"},
            tenant=t,
        )
        for n in range(3)
        for t in ("default", "acme")
    ]
    MongoKith(mongo_database).store(events)
    queries = uncached(mongo_database)
    facts = queries.relations("acme", "c1", None, None, 1, None)["next"]
    pairs = queries.relationships("acme", "consumer_id", "c1", 1, None, NOW)["next"]
    with pytest.raises(BadPlace):
        queries.relations("default", "c1", None, None, 5, pairs)
    with pytest.raises(BadPlace):
        queries.relationships("default", "consumer_id", "c1", 5, facts, NOW)
    for id in ("nobody", "c2"):
        assert queries.relations("default", id, None, None, 5, facts)["items"] == []
        assert queries.relationships("default", "consumer_id", id, 5, pairs, NOW)["items"] == []


def test_profiles(mongo_database: Mongo) -> None:
    personal = {"name": "Ann", "email": "a@example.org"}
    MongoKith(mongo_database).store(
        [
            event("consumer.upserted", "e1", NOW.isoformat(), {"consumer_id": "c:1", "personal": personal}),
            event("consumer.upserted", "e2", NOW.isoformat(), {"consumer_id": "c:1"}, tenant="acme"),
            event("consumer.erased", "e3", NOW.isoformat(), {"consumer_id": "c2", "mode": "delete"}),
            event("provider.closed", "e4", NOW.isoformat(), {"provider_id": "c:1"}),
        ]
    )
    queries = uncached(mongo_database)
    assert queries.profile("consumers", "default", "c:1") == {"consumer_id": "c:1", "personal": personal}
    assert queries.profile("consumers", "acme", "c:1") == {"consumer_id": "c:1"}
    assert queries.profile("consumers", "default", "c2") == {"consumer_id": "c2", "erased": "delete"}
    assert queries.profile("providers", "default", "c:1") == {"provider_id": "c:1", "closed": True}
    for collection, tenant, id in (("consumers", "default", "c"), ("providers", "acme", "c:1")):
        assert queries.profile(collection, tenant, id) is None


def test_a_relationship_is_explained(mongo_database: Mongo) -> None:
    shop = {"kind": "purchase", "currency": "EUR"}
    MongoKith(mongo_database).store(
        [
            recorded("e1", "2026-11-01T00:00:00Z", "r1", **shop, amount=1000, rating=4),
            recorded("e2", "2026-05-31T23:59:59Z", "r2", **shop, amount=-200, rating=1),
            recorded("e3", "2025-11-11T00:00:00Z", "r3", kind="subscribe", amount=9900, currency="USD"),
            recorded("e4", "2026-11-20T00:00:00Z", "r4"),
            recorded("e5", "2026-11-20T00:00:00Z", "gone", **shop, amount=1),
            retracted("e6", "2026-11-21T00:00:00Z", "gone"),
            recorded("e7", "2026-11-20T00:00:00Z", "other", provider_id="p2"),
        ]
    )
    queries = uncached(mongo_database)
    found = queries.relationship("default", "c1", "p1", NOW)
    assert found is not None
    evidence = found.pop("evidence")
    assert found == {
        "consumer_id": "c1",
        "provider_id": "p1",
        "count": 4,
        "amount": {"EUR": 800, "USD": 9900},
        "rating_count": 2,
        "rating_sum": 5,
        "first": datetime(2025, 11, 11, tzinfo=UTC),
        "last": datetime(2026, 11, 20, tzinfo=UTC),
        "as_of": NOW,
        "strength": 10.0,
        "kinds": {
            "purchase": {
                "count": 2,
                "amount": {"EUR": 800},
                "rating_count": 2,
                "rating_sum": 5,
                "strength": 7.5,
                "share": 0.75,
            },
            "subscribe": {
                "count": 1,
                "amount": {"USD": 9900},
                "rating_count": 0,
                "rating_sum": 0,
                "strength": 2.0,
                "share": 0.2,
            },
            "view": {"count": 1, "amount": {}, "rating_count": 0, "rating_sum": 0, "strength": 0.5, "share": 0.05},
        },
    }
    assert [(one["relation_id"], one["weight"], one["event"]["id"]) for one in evidence] == [
        ("r1", 5.0, "e1"),
        ("r2", 2.5, "e2"),
        ("r3", 2.0, "e3"),
        ("r4", 0.5, "e4"),
    ]
    assert evidence[3] == {
        "relation_id": "r4",
        "kind": "view",
        "time": datetime(2026, 11, 20, tzinfo=UTC),
        "event": {"source": "test", "id": "e4"},
        "weight": 0.5,
    }
    for place in (("default", "c1", "p3"), ("default", "c2", "p1"), ("acme", "c1", "p1")):
        assert queries.relationship(*place, NOW) is None


def test_with_another_half_life_other_evidence_weighs_most(mongo_database: Mongo) -> None:
    old = [recorded(f"s{n}", "2024-11-01T00:00:00Z", f"s{n}", kind="subscribe") for n in range(6)]
    new = [recorded(f"v{n}", f"2026-11-0{n + 1}T00:00:00Z", f"v{n}") for n in range(6)]
    MongoKith(mongo_database).store([*old, *new])
    queries = uncached(mongo_database)

    def evidence(half_life: float) -> list[str]:
        found = queries.relationship("default", "c1", "p1", NOW, Strength(STRENGTH.weights, half_life))
        assert found is not None
        return [one["relation_id"] for one in found["evidence"]]

    # Eight times 2 to the power of −24/6 is what one view weighs.
    assert evidence(5.9) == ["v5", "v4", "v3", "v2", "v1"]
    assert evidence(6.1) == ["s1", "s2", "s3", "s4", "s5"]


@pytest.mark.parametrize("seed", [7, 8])
def test_evidence_is_what_weighs_most_and_shares_add_up(mongo_database: Mongo, seed: int) -> None:
    events = history(seed)
    MongoKith(mongo_database).store(events)
    queries, state = uncached(mongo_database), stored_state(events)
    for document in state["relationships"].values():
        tenant, consumer, provider = (document[name] for name in ("tenant", "consumer_id", "provider_id"))
        pair = {"tenant": tenant, "consumer_id": consumer, "provider_id": provider}
        facts = {
            fact["relation_id"]: fact
            for fact in state["relations"].values()
            if not fact["retracted"] and pair.items() <= fact.items()
        }
        for half_life in (0.05, 1.0, 6.0, 600.0):
            strength = Strength(STRENGTH.weights, half_life)
            weights = {id: strength.weight(fact["kind"], fact["time"], NOW) for id, fact in facts.items()}
            found = queries.relationship(tenant, consumer, provider, NOW, strength)
            assert found is not None
            evidence = found["evidence"]
            assert [one["weight"] for one in evidence] == sorted(weights.values(), reverse=True)[:EVIDENCE]
            assert len({one["relation_id"] for one in evidence}) == min(EVIDENCE, len(facts))
            for one in evidence:
                fact = facts[one["relation_id"]]
                assert one["weight"] == weights[one["relation_id"]]
                assert (one["kind"], one["time"]) == (fact["kind"], fact["time"])
                assert one["event"] == {name: fact["version"][name] for name in ("source", "id")}
            assert found["strength"] == pytest.approx(sum(weights.values()), rel=1e-9)
            assert sum(kind["strength"] for kind in found["kinds"].values()) == pytest.approx(found["strength"])
            assert sum(kind["share"] for kind in found["kinds"].values()) == pytest.approx(1.0)
            assert found["count"] == len(facts) == sum(kind["count"] for kind in found["kinds"].values())


def test_cached_answers_are_given_up_when_the_changes_tell(mongo_database: Mongo) -> None:
    kith, cache = MongoKith(mongo_database), QueryCache("lru", 100, lambda: 0.0)
    queries = Queries(mongo_database, STRENGTH, cache)

    def read() -> list[Any]:
        pair = queries.relationship("default", "c1", "p1", NOW)
        return [
            queries.profile("consumers", "default", "c1"),
            queries.profile("providers", "default", "p1"),
            len(queries.relationships("default", "consumer_id", "c1", 9, None, NOW)["items"]),
            len(queries.relationships("default", "provider_id", "p1", 9, None, NOW)["items"]),
            pair and pair["count"],
        ]

    nothing = [None, None, 0, 0, None]
    assert read() == nothing
    kith.store(
        [
            event("consumer.upserted", "e1", NOW.isoformat(), {"consumer_id": "c1"}),
            event("provider.upserted", "e2", NOW.isoformat(), {"provider_id": "p1"}),
            recorded("e3", NOW.isoformat()),
        ]
    )
    assert read() == nothing, "not cached"
    kith.forget(cache)
    fresh = [{"consumer_id": "c1"}, {"provider_id": "p1", "closed": False}, 1, 1, 1]
    assert read() == fresh
    kith.store([retracted("e4", (NOW + timedelta(1)).isoformat())])
    assert read() == fresh
    kith.forget(cache)
    assert read() == [*fresh[:2], 0, 0, None]
