"""What the questions of the relations service cost MongoDB, by its own profile."""

from datetime import timedelta
from functools import partial

from services.relations.schema import COLLECTIONS
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from tests.support.relations_driver import NOW, Mongo, MongoKith, history, pages, uncached


def test_no_query_of_reader_or_writer_reads_a_whole_collection(mongo_database: Mongo) -> None:
    kith = MongoKith(mongo_database)
    events = history(9)
    kith.store(events[:200])
    mongo_database.command("profile", 2)
    kith.store(events[200:])
    queries = uncached(mongo_database)
    for consumer, provider in (("ann", None), (None, "p:1"), ("ann", "p:1")):
        for kind in (None, "review"):
            list(pages(partial(queries.relations, "default", consumer, provider, kind, 2), 2))
    for side, id in (("consumer_id", "ann"), ("provider_id", "p:1")):
        list(pages(lambda c, s=side, i=id: queries.relationships("default", s, i, 1, c, NOW), 1))  # type: ignore[misc]
    queries.relationship("default", "ann", "p:1", NOW)
    queries.profile("consumers", "default", "ann")
    queries.profile("providers", "default", "p:1")
    mongo_database.command("profile", 0)
    reads = profiled(mongo_database)
    seen = {(read["op"], read["ns"].split(".")[1]) for read in reads}
    # Asked for by erasures and by wide pairs alone, of which there are none here.
    others = {"dead_letters", "erasures", "data_keys", "relationship_cells"}
    assert {("query", name) for name in COLLECTIONS if name not in others} <= seen
    assert {("remove", "relations"), ("remove", "relationships")} <= seen
    assert [read["command"] for read in reads if "COLLSCAN" in read["planSummary"]] == []
    assert [read["command"] for read in reads if read.get("hasSortStage")] == []


def profiled(database: Mongo) -> list[Document]:
    """What the server has noted of operations that chose a plan."""
    return list(
        database["system.profile"].find(
            {"ns": {"$ne": f"{database.name}.positions"}, "planSummary": {"$exists": True}}
        )
    )


def test_a_page_far_down_costs_as_little_as_the_first(mongo_database: Mongo) -> None:
    """Also where a thousand tie: one view each in one month is the commonest relationship of all."""
    prepare(mongo_database, COLLECTIONS)
    numbered = [
        (
            n // 1000,
            {"_id": f"default:c{n}:big", "tenant": "default", "consumer_id": f"c{n}", "provider_id": "big"},
        )
        for n in range(3000)
    ]
    fact = {
        "relation_id": "big",
        "kind": "view",
        "retracted": False,
        "version": {"time": 1, "source": "s", "id": "e"},
    }
    mongo_database["relations"].insert_many(
        {**pair, **fact, "time": NOW - timedelta(days=group)} for group, pair in numbered
    )
    sums = {"count": 1, "first": NOW, "last": NOW, "kinds": {"view": {"2026-11": {"count": 1}}}, "fingerprint": 0}
    mongo_database["relationships"].insert_many(
        {**pair, **sums, "score": float(group)} for group, pair in numbered
    )
    queries = uncached(mongo_database)
    mongo_database.command("profile", 2)
    assert len(list(pages(partial(queries.relations, "default", None, "big", "view", 100), 100))) == 3000
    ranked = pages(lambda cursor: queries.relationships("default", "provider_id", "big", 100, cursor, NOW), 100)
    assert len(list(ranked)) == 3000
    mongo_database.command("profile", 0)
    reads = profiled(mongo_database)
    assert len(reads) == 60
    assert max(read["keysExamined"] for read in reads) <= 3 * 101
    assert [read["command"] for read in reads if read.get("hasSortStage")] == []
