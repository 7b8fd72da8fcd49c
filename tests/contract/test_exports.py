"""Exports of real documents, compared with what pandas computes from the raw events."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pantab
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.exports.datasets import DATASETS
from tests.conftest import Addresses
from tests.support.databases import fresh_database
from tests.support.exports_world import ExportsWorld
from tests.support.measures_world import CAFES, left


@pytest.fixture(scope="module")
def world(servers: Addresses) -> Iterator[ExportsWorld]:
    """Nobody writes into it."""
    with fresh_database(servers) as database:
        yield ExportsWorld(database)


def facts(world: ExportsWorld) -> pd.DataFrame:
    """The raw events' facts under the names and in the order of an export."""
    table = world.table.rename(columns={"consumer": "consumer_id", "provider": "provider_id"})
    return table.sort_values(["consumer_id", "time", "kind", "amount"], ignore_index=True)


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert len(found) == len(expected) > 0
    for name in ("consumer_id", "provider_id", "kind", "currency"):
        assert found[name].astype("str").fillna("").tolist() == expected[name].astype("str").fillna("").tolist()
    for name in ("amount", "rating"):
        assert found[name].astype("Float64").fillna(-1).tolist() == (
            expected[name].astype("Float64").fillna(-1).tolist()
        )
    assert found["time"].tolist() == expected["time"].tolist()


def ordered(found: pd.DataFrame) -> pd.DataFrame:
    found["consumer_id"] = found["consumer_id"].astype("str").str.removeprefix("'")
    found["kind"] = found["kind"].astype("str")
    found["time"] = pd.to_datetime(found["time"], utc=True, format="ISO8601")
    return found.sort_values(["consumer_id", "time", "kind", "amount"], ignore_index=True)


def test_csv_of_relations_is_what_the_events_leave(world: ExportsWorld) -> None:
    same(ordered(world.csv("relations")), facts(world))


def test_json_lines_of_relations_are_too(world: ExportsWorld) -> None:
    answer = world.get("/v1/export/relations", format="jsonl")
    lines = [json.loads(line) for line in answer.content.splitlines()]
    same(ordered(pd.DataFrame(lines)), facts(world))
    [review] = [line for line in lines if line["relation_id"] == "=1+2"]
    assert review["traits"] == {"device": "phone"}
    assert "amount" not in review


def test_parquet_of_relations_is_too_with_its_types(world: ExportsWorld) -> None:
    answer = world.get("/v1/export/relations", format="parquet")
    file = pq.ParquetFile(io.BytesIO(answer.content))
    same(ordered(file.read().to_pandas()), facts(world))
    types = {field.name: field.type for field in file.schema_arrow}
    assert types["time"] == types["event_time"] == pa.timestamp("us", tz="UTC")
    assert types["amount"] == types["rating"] == pa.int64()
    assert types["kind"] == types["currency"] == pa.dictionary(pa.int32(), pa.string())
    assert file.schema_arrow.metadata[b"kith.tenant"] == b"default"
    assert b"minor units" in file.schema_arrow.field("amount").metadata[b"description"]
    column = file.metadata.row_group(0).column(4)
    assert column.path_in_schema == "kind"
    assert "RLE_DICTIONARY" in column.encodings


def test_a_tableau_extract_of_relations_is_too(world: ExportsWorld, tmp_path: Path) -> None:
    answer = world.get("/v1/export/relations", format="hyper")
    (tmp_path / "relations.hyper").write_bytes(answer.content)
    table = pantab.frame_from_hyper(tmp_path / "relations.hyper", table="relations", return_type="pyarrow")
    assert table.schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("amount").type == pa.int64()
    same(ordered(table.to_pandas()), facts(world))


@pytest.mark.parametrize(
    "filters",
    [
        {"kind": "purchase"},
        {"category": "café"},
        {"consumer_id": "c01"},
        {"provider_id": "p3", "kind": "view"},
        {"from_": "2026-09-01", "to": "2026-10-15"},
        {"from_": "2026-09-01T12:00:00+02:00", "category": "café", "kind": "review"},
    ],
)
def test_filters_leave_out_what_pandas_leaves_out(world: ExportsWorld, filters: dict[str, Any]) -> None:
    table = facts(world)
    for name in ("kind", "consumer_id", "provider_id"):
        if name in filters:
            table = table[table[name] == filters[name]]
    if "category" in filters:
        table = table[table["provider_id"].isin(CAFES)]
    if "from_" in filters:
        since = pd.Timestamp(filters["from_"])
        table = table[table["time"] >= (since.tz_localize("UTC") if since.tzinfo is None else since)]
    if "to" in filters:
        table = table[table["time"] < pd.Timestamp(filters["to"], tz="UTC")]
    same(ordered(world.csv("relations", **filters)), table.reset_index(drop=True))


def test_another_tenant_has_its_own(world: ExportsWorld) -> None:
    found = world.csv("relations", tenant="acme")
    assert len(found) == len(left(world.events, "acme")) > 0
    assert world.get("/v1/export/relations", tenant="nobody").content.count(b"\r\n") == 1


def test_relationships_are_the_sums_of_the_raw_events(world: ExportsWorld) -> None:
    found = world.csv("relationships").set_index(["consumer_id", "provider_id"])
    found.index = found.index.set_levels(found.index.levels[0].str.removeprefix("'"), level=0)
    for pair, group in facts(world).groupby(["consumer_id", "provider_id"]):
        row = found.loc[pair]
        assert row["count"] == len(group)
        assert row["rating_count"] == group["rating"].notna().sum()
        assert row["rating_sum"] == group["rating"].sum()
        assert pd.Timestamp(row["first"]) == group["time"].min()
        assert pd.Timestamp(row["last"]) == group["time"].max()
        money = {k: v for k, v in group.groupby("currency")["amount"].sum().astype(int).items() if v}
        assert (json.loads(row["amounts"]) if isinstance(row["amounts"], str) else {}) == money
        if len(money) == 1:
            assert (row["currency"], row["amount"]) == next(iter(money.items()))
        else:
            assert pd.isna(row["currency"])
            assert pd.isna(row["amount"])
        assert json.loads(row["kinds"]) == group["kind"].value_counts().to_dict()
    assert len(found) == facts(world).groupby(["consumer_id", "provider_id"]).ngroups


def test_aggregates_are_the_sums_of_the_raw_events(world: ExportsWorld) -> None:
    found = world.csv("aggregates")
    table = facts(world)
    table["total"] = ""
    table["provider_kind"] = table["provider_id"] + ":" + table["kind"]
    columns = {"total": "total", "kind": "kind", "provider": "provider_id", "consumer": "consumer_id"}
    expected = {}
    for by, column in {**columns, "provider_kind": "provider_kind"}.items():
        for (key, day), group in table.groupby([column, "day"]):
            money = {k: v for k, v in group.groupby("currency")["amount"].sum().astype(int).items() if v}
            who = group["consumer_id"].nunique() if by in ("total", "provider") else None
            expected[by, key, str(day.date())] = (
                *(len(group), int(group["rating"].notna().sum()), int(group["rating"].sum()), money),
                who,
            )
    there = {
        (row.by, "" if pd.isna(row.key) else row.key.removeprefix("'"), row.day): (
            *(row.count_, row.rating_count, row.rating_sum),
            json.loads(row.amounts) if isinstance(row.amounts, str) else {},
            None if pd.isna(row.consumers) else row.consumers,
        )
        for row in found.rename(columns={"count": "count_"}).itertuples()
    }
    assert there == expected
    # Not only of one partition: else nothing would be added up.
    partials = world.database["aggregates"].count_documents({"tenant": "default"})
    assert partials > len(expected)


def test_aggregates_of_a_kind_and_of_days(world: ExportsWorld) -> None:
    found = world.csv("aggregates", kind="purchase", from_="2026-10-01", to="2026-11-01")
    assert set(found["by"]) == {"kind", "provider_kind"}
    assert set(found["day"]) <= {f"2026-10-{day:02}" for day in range(1, 32)}
    table = facts(world)
    month = table[(table["kind"] == "purchase") & (table["day"].dt.strftime("%Y-%m") == "2026-10")]
    assert found[found["by"] == "kind"]["count"].sum() == len(month)
    assert found[found["by"] == "provider_kind"]["count"].sum() == len(month)
    only = world.csv("aggregates", by="provider", key="p3")
    assert only["count"].sum() == (table["provider_id"] == "p3").sum()


def test_profiles_with_lists_and_places(world: ExportsWorld) -> None:
    providers = world.csv("providers").set_index("provider_id")
    assert json.loads(providers.loc["p4", "categories"]) == ["bakery", "café"]
    assert providers.loc["p4", "city"] == "Lyon"
    assert not providers["closed"].any()
    assert set(world.csv("providers", category="café")["provider_id"]) == CAFES
    consumers = world.csv("consumers").set_index("consumer_id")
    assert consumers.loc["c01", "country"] == "France"


def test_personal_fields_only_when_they_are_asked_for(world: ExportsWorld) -> None:
    for name in DATASETS:
        content = world.get(f"/v1/export/{name}").content.decode()
        for secret in ("Ada Berg", "Lyon", "very", "45.76") if name in ("consumers", "relations") else ():
            assert secret not in content, name
    head = world.get("/v1/export/consumers").text.splitlines()[0].split(",")
    assert not {"personal", "city", "lat", "lon"} & set(head)
    consumers = world.csv("consumers", personal="true").set_index("consumer_id")
    assert json.loads(consumers.loc["'=ada", "personal"]) == {"name": "Ada Berg"}
    assert (consumers.loc["'=ada", "city"], consumers.loc["'=ada", "lat"]) == ("Lyon", 45.76)
    relations = world.csv("relations", personal="true").set_index("relation_id")
    assert relations.loc["'=1+2", "text"] == 'Good, "very"\ngood; Café ☕'


def test_sealed_values_that_nobody_opens_stay_empty(world: ExportsWorld) -> None:
    world.database["consumers"].insert_one(
        {
            "_id": "sealed:bea",
            "tenant": "sealed",
            "consumer_id": "bea",
            "versions": {},
            "personal": {"name": "kith1.AAAA"},
            "location": {"country": "France", "city": "kith1.BBBB", "lat": "kith1.C", "lon": "kith1.D"},
        },
        bypass_document_validation=True,
    )
    for format in ("csv", "jsonl", "parquet"):
        answer = world.get("/v1/export/consumers", tenant="sealed", personal="true", format=format)
        assert answer.status_code == 200
        assert b"bea" in answer.content
        assert b"kith1" not in answer.content


def test_headers_say_what_it_is_and_of_when(world: ExportsWorld) -> None:
    # The moment is that of MongoDB's last write, to the second.
    before = datetime.now(UTC).replace(microsecond=0)
    durable = {"w": "majority"}
    world.database.client["admin"].command("appendOplogNote", 1, data={}, writeConcern=durable)
    answer = world.get("/v1/export/aggregates", format="parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert before <= datetime.fromisoformat(answer.headers["kith-as-of"]) <= datetime.now(UTC)
    day = answer.headers["kith-as-of"][:10]
    assert answer.headers["content-disposition"] == f'attachment; filename="aggregates-{day}.parquet"'


@pytest.mark.parametrize(
    ("path", "params", "status", "word"),
    [
        ("/v1/export/nothing", {}, 404, "openapi"),
        ("/v1/export/relationships", {"from_": "2026-01-01"}, 400, "no filter of relationships"),
        ("/v1/export/consumers", {"kind": "view"}, 400, "no filter of consumers"),
        ("/v1/export/relations", {"from_": "tomorrow"}, 400, "2026-11-21"),
        ("/v1/export/relations", {"from_": "2026-02-01", "to": "2026-01-01"}, 400, "later than from"),
        ("/v1/export/aggregates", {"from_": "2026-02-01T05:00:00Z"}, 400, "whole days"),
        ("/v1/export/relations", {"format": "xlsx"}, 422, "parquet"),
        ("/v1/export/relations", {"kind": "$where"}, 422, "kind"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(
    world: ExportsWorld, path: str, params: dict[str, Any], status: int, word: str
) -> None:
    answer = world.get(path, **params)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]


def test_the_catalogue_names_every_column(world: ExportsWorld) -> None:
    datasets = {one["name"]: one for one in world.get("/v1/export").json()["datasets"]}
    for name in ("relations", "relationships", "consumers", "providers", "aggregates"):
        head = world.get(f"/v1/export/{name}", personal="true").text.splitlines()[0].split(",")
        assert head == [column["name"] for column in datasets[name]["columns"]]
        assert all(column["description"] for column in datasets[name]["columns"])
