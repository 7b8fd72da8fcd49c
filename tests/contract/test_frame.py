"""Frames of real documents, from MongoDB and from the service, with their types."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import polars as pl
import pytest
import uvicorn

from services.exports.frame import frame
from shared.access.audit_mongo import COLLECTION
from shared.contracts.errors import ConfigurationError
from shared.mongo.store import connect
from tests.conftest import Addresses
from tests.support.exports_world import ExportsWorld


@pytest.fixture(scope="module")
def world(servers: Addresses) -> Iterator[ExportsWorld]:
    """Nobody writes into it."""
    with connect(servers.mongo) as client:
        database = client["test-frames"]
        client.drop_database(database.name)
        yield ExportsWorld(database)
        client.drop_database(database.name)


@pytest.fixture(scope="module")
def url(world: ExportsWorld) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(world.app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_pandas_frame_has_types_to_compute_with(servers: Addresses, world: ExportsWorld) -> None:
    found = frame("relations", mongo=servers.mongo, database="test-frames")
    assert str(found["time"].dtype) == "datetime64[us, UTC]"
    assert found["amount"].dtype == found["rating"].dtype == pd.Int64Dtype()
    assert found["kind"].dtype == "category"
    assert found["currency"].dtype == "category"
    months = found.groupby([found["time"].dt.strftime("%Y-%m"), "currency"], observed=True)["amount"].sum()
    table = world.table
    expected = table.groupby([table["time"].dt.strftime("%Y-%m"), "currency"])["amount"].sum()
    assert months.to_dict() == expected.astype(int).to_dict()
    days = frame("aggregates", mongo=servers.mongo, database="test-frames", by="total")
    assert days["day"].dtype.kind == "M"
    assert days.set_index("day")["count"].to_dict() == table.groupby("day").size().to_dict()


def test_a_polars_frame_too(servers: Addresses, world: ExportsWorld) -> None:
    found = frame("relations", mongo=servers.mongo, database="test-frames", library="polars")
    schema = dict(found.schema)
    assert schema["time"] == pl.Datetime("us", "UTC")
    assert schema["amount"] == pl.Int64
    assert schema["kind"] == pl.Categorical
    sums = found.group_by("provider_id").agg(pl.len(), pl.col("amount").sum())
    expected = world.table.groupby("provider").agg(len=("kind", "size"), amount=("amount", "sum"))
    assert {row[0]: row[1:] for row in sums.rows()} == {
        provider: (row["len"], int(row["amount"])) for provider, row in expected.iterrows()
    }
    days = frame("aggregates", mongo=servers.mongo, database="test-frames", library="polars")
    assert dict(days.schema)["day"] == pl.Date


def test_the_service_gives_the_same_frame(servers: Addresses, url: str, world: ExportsWorld) -> None:
    asked: dict[str, Any] = {"since": "2026-09-01", "until": date(2026, 11, 1), "kind": "purchase"}
    there = frame("relations", url=url, **asked)
    here = frame("relations", mongo=servers.mongo, database="test-frames", **asked)
    pd.testing.assert_frame_equal(there, here)
    table = world.table
    wanted = table[(table["kind"] == "purchase") & (table["day"] >= "2026-09-01") & (table["day"] < "2026-11-01")]
    assert len(here) == len(wanted) > 0
    assert len(frame("relations", url=url, tenant="acme")) != len(frame("relations", url=url))


def test_personal_columns_are_asked_for(servers: Addresses, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITH_ENCRYPTION", "off")
    where: dict[str, Any] = {"mongo": servers.mongo, "database": "test-frames"}
    assert "text" not in frame("relations", **where).columns
    with connect(servers.mongo) as client:
        audit = client["test-frames"][COLLECTION]
        before = audit.count_documents({})
        assert frame("relations", **where, personal=True)["text"].notna().any()
        # Whoever has the database's password is no less on record than who has a key of the service.
        [entry] = audit.find({"sequence": before + 1})
        assert (entry["action"], entry["subject"]) == ("personal.read", {"export": "relations"})
        assert entry["fields"] == ["text"]
        frame("relations", **where)
        frame("providers", **where, personal=True)
        assert audit.count_documents({}) == before + 1
        frame("consumers", **where, personal=True, consumer_id="=ada")
        [entry] = audit.find({"sequence": before + 2})
        assert entry["subject"] == {"export": "consumers", "consumer_id": "=ada"}
        assert entry["fields"] == ["city", "lat", "lon", "personal"]
        before += 1
        assert audit.count_documents({}) == before + 1
    assert "city" in frame("consumers", url=url, personal=True).columns


def test_what_cannot_be_asked_is_said(servers: Addresses, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where: dict[str, Any] = {"mongo": servers.mongo, "database": "test-frames"}
    with pytest.raises(ValueError, match="there are relations, relationships"):
        frame("nothing", **where)
    with pytest.raises(ValueError, match="no filter colour"):
        frame("relations", **where, colour="red")
    with pytest.raises(ValueError, match="no filter of relationships"):
        frame("relationships", url=url, since="2026-01-01")
    for name, value in {"kind": "Purchase", "purpose": "news.letter", "tenant": "Default"}.items():
        with pytest.raises(ValueError, match=f"{name}: "):
            frame("relations", **where | {name: value})
    with pytest.raises(ValueError, match="by: "):
        frame("aggregates", **where, by="providers")
    with pytest.raises(ValueError, match="without its offset"):
        frame("relations", **where, since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="pandas or polars"):
        frame("relations", **where | {"library": "numpy"})
    monkeypatch.delenv("KITH_MONGO", raising=False)
    with pytest.raises(ConfigurationError, match="KITH_MONGO"):
        frame("relations")
    assert len(frame("relations", **where, since=datetime(2099, 1, 1, tzinfo=UTC))) == 0
