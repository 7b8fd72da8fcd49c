"""The tables in memory and in a real Cassandra: one suite, on the rule for cells above all."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.cassandra.address import Address
from shared.cassandra.lists import RelationshipLists
from shared.cassandra.protocol import Stamped, Tables
from shared.cassandra.rows import Row, aggregate_row, fact_row, relationship_rows
from shared.cassandra.session import connect
from shared.cassandra.store import CassandraTables
from shared.cassandra.tables import AGGREGATES, BY_CONSUMER, BY_PROVIDER, BY_SCORE, FACTS, TABLES
from shared.cassandra.writer import write
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.contracts.events import document_id
from shared.runtime.protocols import Document
from shared.testing.memory_cassandra import MemoryTables

TIME = datetime(2026, 3, 1, 12, 30, 15, 123_000, tzinfo=UTC)


@pytest.fixture(scope="session")
def _real(cassandra_address: Address) -> Iterator[CassandraTables]:
    tables = CassandraTables(replace(cassandra_address, keyspace=f"test_{uuid.uuid4().hex[:12]}"))
    tables.prepare()
    tables.prepare()  # all is there: nothing to do
    yield tables
    tables.drop()
    tables.close()


@pytest.fixture(params=["memory", "real"])
def tables(request: pytest.FixtureRequest) -> Tables:
    if request.param == "memory":
        return MemoryTables()
    found: CassandraTables = request.getfixturevalue("_real")
    return found


@pytest.fixture
def tenant() -> str:
    """Of a test alone: the real tables are shared."""
    return f"t-{uuid.uuid4().hex[:12]}"


def fact(tenant: str, **given: Any) -> Row:
    document = {
        "retracted": False,
        "consumer_id": "ann",
        "relation_id": "r1",
        "provider_id": "p",
        "kind": "purchase",
        "time": TIME,
        "text": "never copied",
    }
    return fact_row((tenant, "ann", "r1"), {**document, **given}, {"source": "shop", "id": "e1"})


def relationship(tenant: str, consumer: str, provider: str, score: float, **given: Any) -> Document:
    return {
        "_id": document_id(tenant, consumer, provider),
        "tenant": tenant,
        "consumer_id": consumer,
        "provider_id": provider,
        "count": 2,
        "first": TIME,
        "last": TIME,
        "score": score,
        **(given or {"kinds": {"view": {"2026-03": {"count": 2}}}}),
    }


def put(tables: Tables, stamp: int, row: Row) -> None:
    tables.write([[Stamped(stamp, row)]])


def values(tables: Tables, tenant: str) -> list[Mapping[str, Any]]:
    return list(tables.rows(FACTS, (tenant, "ann")))


def test_a_row_comes_back_as_it_was_written(tables: Tables, tenant: str) -> None:
    put(tables, 7, fact(tenant, amount=-(10**12), currency="EUR", rating=100, traits={"b": [1, None], "a": "é"}))
    (found,) = values(tables, tenant)
    assert found == {
        "tenant": tenant,
        "consumer_id": "ann",
        "relation_id": "r1",
        "provider_id": "p",
        "kind": "purchase",
        "time": TIME,
        "amount": -(10**12),
        "currency": "EUR",
        "rating": 100,
        "traits": '{"b":[1,null],"a":"é"}',
        "event_source": "shop",
        "event_id": "e1",
    }


def test_the_higher_timestamp_wins_whenever_it_arrives(tables: Tables, tenant: str) -> None:
    put(tables, 2**62, fact(tenant, amount=2, currency="EUR"))
    put(tables, 2**62 - 1, fact(tenant, amount=1, currency="USD", rating=5))
    (found,) = values(tables, tenant)
    assert (found["amount"], found["currency"], found["rating"]) == (2, "EUR", None)
    put(tables, 2**62 + 1, fact(tenant))
    (found,) = values(tables, tenant)
    assert (found["amount"], found["currency"]) == (None, None), "what is absent hides what was there"


def test_a_deletion_is_a_write_like_any_other(tables: Tables, tenant: str) -> None:
    gone = fact(tenant, retracted=True)
    assert gone.values is None
    put(tables, 20, gone)
    put(tables, 19, fact(tenant, amount=1, currency="EUR"))
    assert values(tables, tenant) == [], "what comes late was before it"
    put(tables, 21, fact(tenant))
    assert len(values(tables, tenant)) == 1
    put(tables, 20, gone)
    assert len(values(tables, tenant)) == 1
    put(tables, 21, gone)
    assert values(tables, tenant) == [], "of a tie the deletion wins"


def test_one_timestamp_mixes_two_rows(tables: Tables, tenant: str) -> None:
    """The reason why no two writes may have one."""
    put(tables, 5, fact(tenant, amount=1, currency="EUR", rating=9))
    put(tables, 5, fact(tenant, amount=9, currency="EUR", rating=1))
    (found,) = values(tables, tenant)
    assert (found["amount"], found["rating"]) == (9, 9)


def test_a_batch_has_a_timestamp_for_each_write(tables: Tables, tenant: str) -> None:
    one, other = fact(tenant), fact(tenant, amount=3, currency="EUR")
    tables.write([[Stamped(9, other), Stamped(8, one)], []])
    (found,) = values(tables, tenant)
    assert found["amount"] == 3


def test_sums_come_back_as_they_were_written(tables: Tables, tenant: str) -> None:
    document = {"count": 3, "amount": {"EUR": 5, "USD": -1}, "consumers": 2, "hours": {"07": {"count": 3}}}
    put(tables, 1, aggregate_row((tenant, "total", "", "2026-03-01", 3), document))
    (found,) = tables.rows(AGGREGATES, (tenant, "total", ""))
    assert dict(found["amount"]) == {"EUR": 5, "USD": -1}
    assert (found["bucket"], found["partition"], found["count"], found["consumers"]) == ("2026-03-01", 3, 3, 2)
    assert (found["rating_sum"], found["hours"]) == (None, '{"07":{"count":3}}')


@pytest.mark.parametrize("side", ["provider_id", "consumer_id"])
def test_lists_are_by_score_and_within_one_score_by_id(tables: Tables, tenant: str, side: str) -> None:
    names = ["ann", "a", "a!", "a:b", "é", "100%", *(f"n{number}" for number in range(30))]
    scores = [0.0, -0.0, 1.5, -1e300, 1.5, 7.25]
    documents = [
        relationship(tenant, *((name, "p") if side == "provider_id" else ("p", name)), scores[place % len(scores)])
        for place, name in enumerate(names)
    ]
    documents[3] = {**documents[3], "kinds": {f"k{n}": {"2026-01": {"count": n}} for n in range(900)}}
    wide = {name: value for name, value in documents[4].items() if name != "kinds"}
    documents[4] = {**wide, "cells": 1001}
    pairs = [(tenant, each["consumer_id"], each["provider_id"]) for each in documents]
    write(
        tables,
        1,
        [row for pair, each in zip(pairs, documents, strict=True) for row in relationship_rows(pair, each)],
    )
    # Some move, and some go.
    documents[0] = {**documents[0], "score": 99.0}
    write(tables, 2, relationship_rows(pairs[0], documents[0]))
    write(tables, 3, relationship_rows(pairs[1], None))
    left = [documents[0], *documents[2:]]
    expected = sorted(left, key=lambda each: (-each["score"], each["_id"].encode()))
    expected = [{**each, **({"cells": 0} if "cells" in each else {})} for each in expected]
    lists = RelationshipLists(tables)
    assert lists.page(tenant, side, "p", 1000, None) == expected
    for limit in (1, 7, len(expected)):
        found: list[Document] = []
        after = None
        while page := lists.page(tenant, side, "p", limit, after):
            found += page
            after = (page[-1]["score"], page[-1]["_id"])
        assert found == expected
    assert lists.page(tenant, side, "nobody", 10, None) == []


def test_every_key_is_found(tables: Tables, tenant: str) -> None:
    put(tables, 1, fact(tenant))
    write(tables, 1, relationship_rows((tenant, "ann", "p"), relationship(tenant, "ann", "p", 2.0)))
    found = {name: [key for key in tables.keys(name) if key[0] == tenant] for name in TABLES}
    [(_, _, bucket, _)] = found[BY_PROVIDER]
    assert found == {
        FACTS: [(tenant, "ann", "r1")],
        BY_CONSUMER: [(tenant, "ann", "p")],
        BY_PROVIDER: [(tenant, "p", bucket, "ann")],
        BY_SCORE: [(tenant, "p", bucket, 2.0, document_id(tenant, "ann", "p"))],
        AGGREGATES: [],
    }


def test_a_table_without_a_column_is_waited_for_and_named(cassandra_address: Address, tenant: str) -> None:
    space = f"test_{uuid.uuid4().hex[:12]}"
    copies = {"class": "NetworkTopologyStrategy", cassandra_address.datacenter: 1}
    cluster, session = connect(cassandra_address)
    try:
        session.execute(f"CREATE KEYSPACE {space} WITH replication = {copies}", timeout=60)
        columns = "tenant text, consumer_id text, relation_id text"
        key = "PRIMARY KEY ((tenant, consumer_id), relation_id)"
        session.execute(f"CREATE TABLE {space}.{FACTS} ({columns}, {key})", timeout=60)
    finally:
        cluster.shutdown()
    tables = CassandraTables(replace(cassandra_address, keyspace=space))
    with pytest.raises(Unavailable, match=rf"with other columns.* in table {space}.{FACTS}$"):
        put(tables, 1, fact(tenant))
    tables.drop()
    tables.close()


def test_a_cluster_that_does_not_answer_is_unavailable() -> None:
    tables = CassandraTables(Address(("127.0.0.1",), 9))
    with pytest.raises(Unavailable):
        tables.prepare()
    assert tables.problems()
    tables.close()


def test_a_wrong_certificate_file_is_an_error_of_the_setting() -> None:
    tables = CassandraTables(Address(("127.0.0.1",), 9, ca="/nowhere/ca.pem"))
    with pytest.raises(ConfigurationError, match=r"/nowhere/ca\.pem"):
        tables.prepare()
