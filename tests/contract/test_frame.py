"""Frames of real documents, from MongoDB and from the service, with their types."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import polars as pl
import pytest

from services.exports.frame import frame
from shared.access.audit_mongo import COLLECTION
from shared.contracts.errors import ConfigurationError
from tests.conftest import Addresses
from tests.support.databases import fresh_database
from tests.support.exports_world import ExportsWorld
from tests.support.serving import serving


@pytest.fixture(scope="module")
def world(servers: Addresses) -> Iterator[ExportsWorld]:
    """Nobody writes into it."""
    with fresh_database(servers) as database:
        yield ExportsWorld(database)


@pytest.fixture(scope="module")
def url(world: ExportsWorld) -> Iterator[str]:
    with serving(world.app) as url:
        yield url


def test_a_pandas_frame_has_types_to_compute_with(servers: Addresses, world: ExportsWorld) -> None:
    found = frame("relations", mongo=servers.mongo, database=world.database.name)
    assert str(found["time"].dtype) == "datetime64[us, UTC]"
    assert found["amount"].dtype == found["rating"].dtype == pd.Int64Dtype()
    assert found["kind"].dtype == "category"
    assert found["currency"].dtype == "category"
    months = found.groupby([found["time"].dt.strftime("%Y-%m"), "currency"], observed=True)["amount"].sum()
    table = world.table
    expected = table.groupby([table["time"].dt.strftime("%Y-%m"), "currency"])["amount"].sum()
    assert months.to_dict() == expected.astype(int).to_dict()
    days = frame("aggregates", mongo=servers.mongo, database=world.database.name, by="total")
    assert days["day"].dtype.kind == "M"
    assert days.set_index("day")["count"].to_dict() == table.groupby("day").size().to_dict()


def test_a_polars_frame_too(servers: Addresses, world: ExportsWorld) -> None:
    found = frame("relations", mongo=servers.mongo, database=world.database.name, library="polars")
    schema = dict(found.schema)
    assert schema["time"] == pl.Datetime("us", "UTC")
    assert schema["amount"] == pl.Int64
    assert schema["kind"] == pl.Categorical
    sums = found.group_by("provider_id").agg(pl.len(), pl.col("amount").sum())
    expected = world.table.groupby("provider").agg(len=("kind", "size"), amount=("amount", "sum"))
    assert {row[0]: row[1:] for row in sums.rows()} == {
        provider: (row["len"], int(row["amount"])) for provider, row in expected.iterrows()
    }
    days = frame("aggregates", mongo=servers.mongo, database=world.database.name, library="polars")
    assert dict(days.schema)["day"] == pl.Date


def test_the_service_gives_the_same_frame(servers: Addresses, url: str, world: ExportsWorld) -> None:
    asked: dict[str, Any] = {"since": "2026-09-01", "until": date(2026, 11, 1), "kind": "purchase"}
    there = frame("relations", url=url, **asked)
    here = frame("relations", mongo=servers.mongo, database=world.database.name, **asked)
    pd.testing.assert_frame_equal(there, here)
    table = world.table
    wanted = table[(table["kind"] == "purchase") & (table["day"] >= "2026-09-01") & (table["day"] < "2026-11-01")]
    assert len(here) == len(wanted) > 0
    assert len(frame("relations", url=url, tenant="acme")) != len(frame("relations", url=url))


def test_personal_columns_are_asked_for(
    servers: Addresses, world: ExportsWorld, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITH_ENCRYPTION", "off")
    where: dict[str, Any] = {"mongo": servers.mongo, "database": world.database.name}
    assert "text" not in frame("relations", **where).columns
    audit = world.database[COLLECTION]
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
    assert "city" in frame("consumers", url=url, personal=True).columns


def test_what_cannot_be_asked_is_said(
    servers: Addresses, world: ExportsWorld, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: dict[str, Any] = {"mongo": servers.mongo, "database": world.database.name}
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
