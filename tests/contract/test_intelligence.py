"""The intelligence service on a real MongoDB: the scan, its OpenAPI document, and what an erasure leaves."""

import math
from typing import Any

import pytest
from pymongo.database import Database

from services.intelligence import scan
from services.intelligence.api import create_app
from services.intelligence.engine.question import Side
from services.intelligence.engine.snapshot import NodeFigures, Snapshot
from services.intelligence.evaluation.tenant import read_tenant
from services.intelligence.learning.learn import learn
from services.intelligence.nodes import Nodes, _document
from services.intelligence.parameters import RecommendQuery
from services.intelligence.questions import Questions
from services.intelligence.rows import Money
from services.intelligence.scan import MongoSource
from services.intelligence.schema import COLLECTIONS
from shared.contracts.errors import ConfigurationError
from shared.contracts.events import Event, document_id
from shared.erasure.derived import forget
from shared.http.caller import SCOPES, Caller
from shared.http.parameters import BadParameter
from shared.mongo.store import prepare
from tests.contract.test_openapi import hold
from tests.support.builders import OPEN, MemoryKith
from tests.support.intelligence import MemorySource, graph_of, over, relationships_of
from tests.support.measures_world import NOW, market, store
from tests.support.relations_driver import MongoKith, history

Mongo = Database[dict[str, Any]]


def test_it_answers_as_its_document_says(mongo_database: Mongo) -> None:
    store(mongo_database, market(23))
    hold(create_app(*over(mongo_database), list, access=OPEN))


def test_consents_are_read_in_batches_that_mongodb_takes(
    mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"c{n}" for n in range(8)]
    mongo_database["consumers"].insert_many(
        {"_id": document_id("default", id), "consumer_id": id, "consent": {"mail": id != "c2"}} for id in ids
    )
    sizes: list[int] = []
    collections = type(mongo_database["consumers"])
    find = collections.find

    def counted(collection: Any, wanted: Any, *rest: Any, **options: Any) -> Any:
        if collection.name == "consumers":
            sizes.append(len(wanted["_id"]["$in"]))
        return find(collection, wanted, *rest, **options)

    monkeypatch.setattr(collections, "find", counted)
    source = MongoSource(mongo_database, {})
    assert source.granted("default", [*ids, "nobody"], "mail") == {*ids} - {"c2"}
    assert sizes == [9]
    monkeypatch.setattr(scan, "_IDS", 4)
    assert source.granted("default", [*ids, "nobody"], "mail") == {*ids} - {"c2"}
    assert sizes == [9, 4, 4, 1]


@pytest.mark.parametrize("most_cells", [1, 1_000])
def test_the_scan_is_what_mongodb_holds_with_the_numbers_of_the_same_moment(
    mongo_database: Mongo, most_cells: int
) -> None:
    # With more cells, those of a pair are in documents of their own.
    kith = MongoKith(mongo_database, most_cells=most_cells)
    events: list[Event] = history(3)
    kith.store(events)
    questions, *_ = over(mongo_database)
    stored = {
        name: {each["_id"]: each for each in mongo_database[name].find()}
        for name in ("relationships", "relationship_cells")
    }
    assert bool(stored["relationship_cells"]) == (most_cells == 1)
    with questions.reading("default") as state:
        assert graph_of(state) == relationships_of(stored)
        assert state.seen == questions.source.numbers()
        assert sum(state.seen.values()) == sum(
            len(records) for p, records in kith.memory.log.records.items() if p.topic.endswith("-changes")
        )


def test_the_job_stores_every_node_and_writes_only_what_changes(mongo_database: Mongo) -> None:
    kith = MongoKith(mongo_database)
    kith.store(market(23))
    questions, nodes, *_ = over(mongo_database)
    stored = {each["_id"]: each for each in mongo_database["graph_nodes"].find()}
    with questions.reading("default") as state:
        figures = {
            document_id(name, node.side, node.id): node
            for name, tenant in state.tenants.items()
            for node in Snapshot.of(tenant.graph).figures().nodes
        }
        graph = state.tenants["default"].graph
    assert {id: (each["degree"], each["community"]) for id, each in stored.items()} == {
        id: (node.degree, str(node.community)) for id, node in figures.items()
    }
    assert sum(each["pagerank"] for each in stored.values() if each["tenant"] == "default") == pytest.approx(
        1, 1e-3
    )
    assert nodes.store("default", Snapshot.of(graph).figures().nodes, lambda: True) == 0
    # Who leaves the graph during a run is deleted after it; providers of the same id are not.
    consumers = [node.id for node in Snapshot.of(graph).figures().nodes if node.side == "consumer"]
    nodes.delete("default", consumers[:2])
    assert nodes.store("default", Snapshot.of(graph).figures().nodes, lambda: True) == 2
    # Of what is gone nothing is left, and of another tenant nothing is touched.
    others = mongo_database["graph_nodes"].count_documents({"tenant": {"$ne": "default"}}, maxTimeMS=5_000)
    assert nodes.store("default", (), lambda: True) == sum(each["tenant"] == "default" for each in stored.values())
    assert mongo_database["graph_nodes"].count_documents({}, maxTimeMS=5_000) == others


def test_one_process_at_a_time_runs_the_job(mongo_database: Mongo) -> None:
    prepare(mongo_database, COLLECTIONS)
    one, other = Nodes(mongo_database, "one"), Nodes(mongo_database, "other")
    assert one.lease("default")
    assert not other.lease("default")
    assert other.lease("acme")
    assert one.tenants() == {"default", "acme"}
    job = {
        "at": NOW,
        "positions": [],
        "seconds": 0.1,
        "nodes": 0,
        "edges": 0,
        "modularity": 0.0,
        "communities": [],
    }
    one.finish("default", job, 3600.0)
    assert not one.lease("default")
    one.finish("default", job, 0.0)
    assert other.lease("default")
    # A process that was overtaken stores no result.
    one.finish("default", {**job, "nodes": 7}, 0.0)
    assert (one.job("default") or {})["nodes"] == 0


def test_an_erasure_takes_along_what_was_derived(mongo_database: Mongo) -> None:
    prepare(mongo_database, COLLECTIONS)
    for consumer in ("ann", "ann:b", "bob"):
        node = NodeFigures("consumer", consumer, 1, 0.1, 0)
        mongo_database["graph_nodes"].insert_one({**_document("default", node)})
    forget(mongo_database, "default", ["ann"])
    left = mongo_database["graph_nodes"].find({}, max_time_ms=5_000)
    assert sorted(each["id"] for each in left) == ["ann:b", "bob"]


def _degree(questions: Questions, consumer_id: str) -> int:
    with questions.reading("default") as state:
        return state.tenants["default"].graph.degree("consumer", consumer_id)


def test_a_model_answers_once_it_is_switched_to_and_its_points_add_up(mongo_database: Mongo) -> None:
    store(mongo_database, market(23))
    questions, _, models, _ = over(mongo_database)
    lesson = learn(*read_tenant(mongo_database, "default")).document()
    models.add("default", lesson, NOW)
    caller = Caller("default", frozenset(SCOPES))
    # Somebody who does not know every provider.
    id = next(f"c{n:02}" for n in range(40) if 0 < _degree(questions, f"c{n:02}") < 7)
    asked = RecommendQuery(consumer_id=id)
    assert questions.recommend(caller, "consumer", id, asked)["as_of"]["model"] == "walk"
    # A model that is no better than the walk never answers.
    mongo_database["models"].update_one({}, {"$set": {"evaluation.accepted": False}})
    with pytest.raises(ConfigurationError, match="does not beat the walk"):
        models.switch("default")
    mongo_database["models"].update_one({}, {"$set": {"evaluation.accepted": True}})
    models.switch("default")
    questions, _, models, _ = over(mongo_database)
    found = questions.recommend(caller, "consumer", id, asked)
    assert found["as_of"]["model"] == "logit:1"
    assert found["items"]
    for item in found["items"]:
        assert math.fsum(each["points"] for each in item["because"]) == pytest.approx(item["score"])
    with_beta = RecommendQuery(consumer_id=id, beta=0.2)
    assert questions.recommend(caller, "consumer", id, with_beta)["as_of"]["model"] == "walk"
    with pytest.raises(BadParameter):
        questions.recommend(caller, "consumer", id, RecommendQuery(consumer_id=id, beta=0.2, model="logit"))
    assert models.rollback("default") is None
    assert models.live("default") is None
    with pytest.raises(ConfigurationError, match="nothing to go back from"):
        models.rollback("default")


def test_the_points_of_a_walk_add_up_for_every_answer(mongo_database: Mongo) -> None:
    store(mongo_database, market(23))
    questions, *_ = over(mongo_database)
    caller = Caller("default", frozenset(SCOPES))
    with questions.reading("default") as state:
        names = state.tenants["default"].graph.names
        everybody: list[tuple[Side, str]] = [("consumer", id) for id in names["consumer"].ids] + [
            ("provider", id) for id in names["provider"].ids
        ]
    answers = 0
    for side, id in everybody:
        for known in (False, True):
            query = RecommendQuery.model_validate({f"{side}_id": id, "known": known})
            found = questions.recommend(caller, side, id, query)
            for item in found["items"]:
                [reason] = item["because"]
                points = [via["points"] for via in reason["via"]] + [reason["rest_points"]]
                assert math.fsum(points) == pytest.approx(item["score"], rel=1e-12)
                answers += 1
    assert answers > 100


@pytest.mark.parametrize("most_cells", [1, 1_000])
def test_money_is_the_sum_of_the_facts(mongo_database: Mongo, most_cells: int) -> None:
    events = market(23)
    MongoKith(mongo_database, most_cells=most_cells).store(events)
    source, memory = MongoSource(mongo_database, {}), MemoryKith()
    memory.publish(events)
    memory.drain()
    facts = list(mongo_database["relations"].find({"tenant": "default", "provider_id": "p4", "retracted": False}))
    wanted: dict[str, int] = {}
    for fact in facts:
        if fact.get("currency") == "EUR" and fact["kind"] != "view" and f"{fact['time']:%Y-%m}" <= "2026-10":
            wanted[fact["consumer_id"]] = wanted.get(fact["consumer_id"], 0) + fact["amount"]
    pairs = [(consumer, "p4") for consumer in sorted({fact["consumer_id"] for fact in facts} | {"nobody"})]
    asked = Money("EUR", lambda kind: kind != "view", "2026-10")
    assert wanted
    assert source.money("default", pairs, asked) == wanted == MemorySource(memory).money("default", pairs, asked)
