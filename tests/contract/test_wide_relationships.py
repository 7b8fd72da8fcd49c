"""Relationships of more kinds and months than one document holds, on a real MongoDB."""

import json
from typing import Any

import pytest

from services.exports.query import ExportQuery
from services.exports.source import Exports
from services.privacy import people
from services.relations.answers import MOST_KINDS
from services.relations.queries import Queries
from services.relations.strength import Strength
from services.relations.wide import CELLS
from shared.http.caller import Caller
from shared.http.parameters import BadParameter
from shared.runtime.protocols import Document
from tests.support.builders import STRENGTH, recorded, retracted, stored_state
from tests.support.relations_driver import NOW, Mongo, MongoKith, history, pages, uncached

MOST = 5
#: 250 kinds in two months, of which one has nearly all.
MANY = [
    recorded(
        f"e{number}",
        f"2026-{10 + (number < 3)}-01T00:00:{number % 60:02}Z",
        f"r{number}",
        kind=f"k{number}",
        amount=number % 3 - 1,
        currency="EUR",
        rating=number % 6,
    )
    for number in range(250)
]


def stored(database: Mongo, *names: str) -> dict[str, dict[str, Document]]:
    return {name: {document["_id"]: document for document in database[name].find()} for name in names}


@pytest.mark.parametrize("slice_events", [1, 40])
def test_what_is_stored_is_what_memory_stores(mongo_database: Mongo, slice_events: int) -> None:
    events = history(3)[:: 1 if slice_events > 1 else 3]
    kith = MongoKith(mongo_database, slice_events, most_cells=MOST)
    kith.store(events)
    wanted = stored_state(events, most_cells=MOST)
    assert wanted[CELLS]
    assert stored(mongo_database, "relationships", CELLS) == {
        name: wanted[name] for name in ("relationships", CELLS)
    }


def test_a_pair_becomes_wide_and_narrow_again(mongo_database: Mongo) -> None:
    kith = MongoKith(mongo_database, most_cells=MOST)
    kith.store(MANY)
    [head] = mongo_database["relationships"].find()
    assert (head["count"], head["cells"], "kinds" in head) == (250, 250, False)
    assert mongo_database[CELLS].count_documents({}) == 250
    gone = [retracted(f"u{number}", "2026-12-01T00:00:00Z", f"r{number}") for number in range(MOST, 250)]
    kith.store(gone[:-1])
    assert mongo_database[CELLS].count_documents({}) == MOST + 1
    kith.store(gone[-1:])
    assert mongo_database[CELLS].count_documents({}) == 0
    assert stored(mongo_database, "relationships")["relationships"] == stored_state(MANY[:MOST])["relationships"]


def test_an_answer_is_bounded_and_its_cells_have_pages(mongo_database: Mongo) -> None:
    MongoKith(mongo_database, most_cells=MOST).store(MANY)
    queries = uncached(mongo_database)
    found = queries.relationship("default", "c1", "p1", NOW)
    assert found is not None
    assert (found["count"], found["amount"], found["rating_count"]) == (250, {"EUR": -1}, 250)
    assert len(found["kinds"]) == MOST_KINDS
    assert found["more_kinds"] is True
    assert [one["relation_id"] for one in found["evidence"][:3]] == ["r2", "r1", "r0"]
    whole = stored_state(MANY)["relationships"]["default:c1:p1"]["kinds"]
    strength, parts = STRENGTH.at(whole, NOW)
    assert found["strength"] == pytest.approx(strength)
    for kind, sums in found["kinds"].items():
        assert sums["strength"] == pytest.approx(parts[kind])
        assert sums["share"] == pytest.approx(parts[kind] / strength)
    [listed] = queries.relationships("default", "consumer_id", "c1", 5, None, NOW)["items"]
    assert (listed["kinds"], listed["more_kinds"], listed["strength"]) == ({}, True, found["strength"])
    with pytest.raises(BadParameter, match="half_life_months: cannot be chosen"):
        queries.relationship("default", "c1", "p1", NOW, Strength({}, 3.0))
    for limit in (7, 250, 1000):
        assert rows(queries, limit) == [
            (kind, month, cell["count"], cell["amount"])
            for kind in sorted(whole, key=lambda kind: f"{kind}:")
            for month, cell in whole[kind].items()
        ]


def test_cells_of_a_narrow_pair_have_the_same_pages(mongo_database: Mongo) -> None:
    MongoKith(mongo_database).store(MANY)
    queries = uncached(mongo_database)
    narrow = rows(queries, 30)
    found = queries.relationship("default", "c1", "p1", NOW)
    assert found is not None
    assert (len(found["kinds"]), found["more_kinds"], len(narrow)) == (MOST_KINDS, True, 250)
    for name in ("relations", "relationships", CELLS, "positions"):
        mongo_database[name].delete_many({})
    MongoKith(mongo_database, most_cells=MOST).store(MANY)
    assert rows(queries, 30) == narrow
    assert queries.cells("default", "c1", "nobody", 5, None) is None


def rows(queries: Queries, limit: int) -> list[tuple[str, str, int, dict[str, int]]]:
    def page(after: Any) -> Document:
        found = queries.cells("default", "c1", "p1", limit, after)
        assert found is not None
        return found

    return [(each["kind"], each["month"], each["count"], each["amount"]) for each in pages(page, limit)]


def test_exports_have_the_sums_and_find_the_kind(mongo_database: Mongo) -> None:
    MongoKith(mongo_database, most_cells=MOST).store(
        [*MANY, recorded("x", "2026-01-01T00:00:00Z", "x", consumer_id="c2")]
    )
    for kind, wanted in (("k7", ["c1"]), ("view", ["c2"]), ("none", []), (None, ["c1", "c2"])):
        export = Exports(mongo_database).open("relationships", ExportQuery(kind=kind))
        found = {row["consumer_id"]: row for batch in export.rows for row in batch}
        assert sorted(found) == wanted
        if "c1" in found:
            row = found["c1"]
            assert (row["count"], row["currency"], row["amount"], row["rating_count"]) == (250, "EUR", -1, 250)
            assert row["kinds"] is None


def test_the_export_of_a_person_has_every_cell(mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_BATCH", 100)
    MongoKith(mongo_database, most_cells=MOST).store(MANY)
    caller = Caller("default", frozenset())
    chunks = people.People(mongo_database, str, None).export("default", {"consumer_id": "c1"}, caller, "c1")
    parts = json.loads(b"".join(chunks))["relationships"]
    assert [len(part["kinds"]) for part in parts] == [100, 100, 50]
    kinds = {kind: months for part in parts for kind, months in part["kinds"].items()}
    assert kinds == stored_state(MANY)["relationships"]["default:c1:p1"]["kinds"]
    assert {name for part in parts for name in part} == {
        "consumer_id",
        "provider_id",
        "count",
        "first",
        "last",
        "kinds",
    }
