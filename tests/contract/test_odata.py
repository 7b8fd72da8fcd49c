"""The OData feed over real documents, read by a client that is not ours and by the requests of Power Query."""

import json
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pandas as pd
import pytest
import requests
from lxml import etree
from odata import ODataService
from odata.exceptions import ODataError as ClientError

from services.exports.api import create_app
from services.exports.query import ExportQuery
from shared.erasure.records import hashed
from tests.conftest import Addresses
from tests.support.analytics_driver import get
from tests.support.builders import OPEN
from tests.support.databases import fresh_database
from tests.support.exports_world import ExportsWorld
from tests.support.measures_world import CAFES, left
from tests.support.plain_http import request
from tests.support.serving import serving

#: As Excel and Power BI send them (Power Query, 2026).
MASHUP = {
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "Microsoft.Data.Mashup (https://go.microsoft.com/fwlink/?LinkID=304225)",
    "MaxDataServiceVersion": "3.0",
    "OData-MaxVersion": "4.0",
    "Accept": "application/json;odata.metadata=minimal;q=1.0,application/json;odata=minimalmetadata;q=0.9,"
    "application/atomsvc+xml;q=0.8,application/atom+xml;q=0.8,application/xml;q=0.7,text/plain;q=0.7",
}


@pytest.fixture(scope="module")
def world(servers: Addresses) -> Iterator[ExportsWorld]:
    """Nobody writes into it."""
    with fresh_database(servers) as database:
        yield ExportsWorld(database)


@pytest.fixture(scope="module")
def address(world: ExportsWorld) -> Iterator[str]:
    """The feed behind a real port."""
    with serving(world.app) as url:
        yield f"{url}/odata/v1/"


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[ODataService]:
    """python-odata, which makes its classes of our $metadata."""
    with requests.Session() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own business
        session.trust_env = False
        yield ODataService(address, reflect_entities=True, session=session, quiet_progress=True)


def ask(
    world: ExportsWorld, path: str, headers: Mapping[str, str] | None = None, **options: Any
) -> httpx.Response:
    given = {f"${name}": str(value) for name, value in options.items()}
    return get(world.app, f"/odata/v1/{path}", given or None, headers)


def rows(world: ExportsWorld, path: str, **options: Any) -> list[dict[str, Any]]:
    """All pages."""
    answer = ask(world, path, **options)
    found: list[dict[str, Any]] = []
    while True:
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += body["value"]
        if "@odata.nextLink" not in body:
            return found
        link = urlsplit(body["@odata.nextLink"])
        answer = ask(world, f"{link.path.removeprefix('/odata/v1/')}?{link.query}")


def test_a_foreign_client_finds_the_sets_and_reads_them_whole(world: ExportsWorld, client: ODataService) -> None:
    assert set(client.entities) == {"Relations", "Relationships", "Consumers", "Providers", "Aggregates"}
    relation = client.entities["Relations"]
    found = list(client.query(relation))
    assert len(found) == len(world.table)
    assert sum(one.amount or 0 for one in found) == world.table["amount"].sum()
    assert {one.id for one in found} == {row["id"] for row in rows(world, "Relations")}
    first = found[0]
    assert isinstance(first.time, datetime)


def test_a_foreign_client_filters_orders_and_limits(world: ExportsWorld, client: ODataService) -> None:
    relation = client.entities["Relations"]
    query = client.query(relation).filter(relation.kind == "purchase").filter(relation.amount > 3000)
    found = list(query.order_by(relation.amount.desc()).limit(5))
    table = world.table
    expected = table[(table["kind"] == "purchase") & (table["amount"] > 3000)]
    assert [one.amount for one in found] == sorted(expected["amount"].astype(int), reverse=True)[:5]
    contained = list(client.query(relation).filter(relation.provider_id.startswith("p3")))
    assert len(contained) == (table["provider"] == "p3").sum()
    either = client.query(relation)
    either = either.filter(either.or_(relation.kind == "view", relation.rating == 1))
    assert len(list(either)) == ((table["kind"] == "view") | (table["rating"] == 1)).sum()


def test_a_foreign_client_gets_one_by_its_key_and_understands_errors(
    world: ExportsWorld, client: ODataService
) -> None:
    provider = client.entities["Providers"]
    assert client.query(provider).get("p4").provider_id == "p4"
    with pytest.raises(ClientError):
        client.query(provider).get("nobody")
    with pytest.raises(ClientError) as refused:
        list(client.query(provider).filter(provider.traits == "x"))
    assert (refused.value.status_code, refused.value.code) == ("HTTP 501", "NotImplemented")
    assert "traits is computed" in refused.value.message
    assert len(world.table) > 0


TABLE_FILTERS = [
    ("kind eq 'view'", lambda t: t["kind"] == "view"),
    ("kind ne 'view' and rating ge 4", lambda t: (t["kind"] != "view") & (t["rating"] >= 4)),
    ("amount eq null", lambda t: t["amount"].isna()),
    ("amount ne null and amount lt 0", lambda t: t["amount"] < 0),
    ("amount ne 100", lambda t: t["amount"] != 100),
    ("not (amount gt 3000)", lambda t: ~(t["amount"] > 3000)),
    ("currency in ('EUR','USD')", lambda t: t["currency"].isin(["EUR", "USD"])),
    ("time ge 2026-10-01T00:00:00Z", lambda t: t["time"] >= pd.Timestamp("2026-10-01", tz="UTC")),
    ("time lt 2026-10-01T00:00:00+02:00", lambda t: t["time"] < pd.Timestamp("2026-10-01", tz="Europe/Berlin")),
    ("year(time) eq 2026 and month(time) eq 9", lambda t: (t["time"].dt.year == 2026) & (t["time"].dt.month == 9)),
    ("date(time) eq 2026-11-20", lambda t: t["day"] == pd.Timestamp("2026-11-20")),
    ("day(time) le 3 or hour(time) ge 22", lambda t: (t["time"].dt.day <= 3) | (t["time"].dt.hour >= 22)),
    ("contains(consumer_id,'1')", lambda t: t["consumer"].str.contains("1")),
    ("startswith(id,'c0')", lambda t: t["consumer"].str.startswith("c0")),
    ("endswith(provider_id,'3')", lambda t: t["provider"].str.endswith("3")),
    ("tolower(currency) eq 'eur'", lambda t: t["currency"] == "EUR"),
    ("length(kind) gt 5", lambda t: t["kind"].str.len() > 5),
    ("toupper(currency) lt 'F'", lambda t: t["currency"] < "F"),
    ("contains(tolower(kind),'IEW')", lambda t: t["kind"].isna()),
    ("contains(tolower(kind),tolower('IEW'))", lambda t: t["kind"].str.contains("iew")),
    ("startswith(trim(toupper(kind)),'PUR') eq true", lambda t: t["kind"] == "purchase"),
    ("not endswith(toupper(kind),'W')", lambda t: ~t["kind"].str.endswith("w")),
    ("length(trim(kind)) eq 4", lambda t: t["kind"].str.len() == 4),
    ("tolower(currency) ne 'eur'", lambda t: t["currency"] != "EUR"),
    ("tolower(currency) in ('eur','usd')", lambda t: t["currency"].isin(["EUR", "USD"])),
    ("year(date(time)) eq 2026", lambda t: t["time"].dt.year == 2026),
    ("year(time) eq year(2026-05-01)", lambda t: t["time"].dt.year == 2026),
    ("consumer_id eq provider_id", lambda t: t["consumer"] == t["provider"]),
    ("amount gt rating", lambda t: t["amount"] > t["rating"]),
    ("true", lambda t: t["kind"].notna()),
    ("contains(event_source,'.')", lambda t: t["kind"].isna()),
]


@pytest.mark.parametrize(("text", "chosen"), TABLE_FILTERS, ids=[text for text, _ in TABLE_FILTERS])
def test_a_filter_lets_through_what_pandas_does(world: ExportsWorld, text: str, chosen: Any) -> None:
    expected = world.table[chosen(world.table).fillna(False)]
    found = rows(world, "Relations", filter=text)
    assert len(found) == len(expected)
    assert sum(row["amount"] or 0 for row in found) == expected["amount"].sum()
    assert int(ask(world, "Relations/$count", filter=text).text) == len(expected)


@pytest.mark.parametrize(
    ("entities", "order"),
    [
        ("Relations", "id"),
        ("Relations", "amount desc"),
        ("Relations", "amount,time desc"),
        ("Relations", "currency desc,rating"),
        ("Relationships", "score desc"),
        ("Aggregates", "id"),
        ("Aggregates", "count desc"),
        ("Aggregates", "day desc,consumers"),
    ],
)
def test_pages_of_any_size_are_the_whole_in_order(world: ExportsWorld, entities: str, order: str) -> None:
    whole = rows(world, entities, orderby=order)
    headers = {"Prefer": "odata.maxpagesize=83"}
    answer = ask(world, entities, headers, orderby=order, count="true")
    assert answer.headers["preference-applied"] == "odata.maxpagesize=83"
    paged, pages = [], 0
    while True:
        body = answer.json()
        assert body["@odata.count"] == len(whole)
        paged += body["value"]
        pages += 1
        if "@odata.nextLink" not in body:
            break
        link = urlsplit(body["@odata.nextLink"])
        answer = ask(world, f"{link.path.removeprefix('/odata/v1/')}?{link.query}", headers)
    assert paged == whole
    assert len({row["id"] for row in whole}) == len(whole)
    assert pages == -(-len(whole) // 83) > 2


def test_top_and_skip_count_over_pages(world: ExportsWorld) -> None:
    whole = rows(world, "Relations", orderby="time")
    assert rows(world, "Relations", orderby="time", top=7, skip=3) == whole[3:10]
    assert rows(world, "Relations", top=0) == []
    headers = {"Prefer": "maxpagesize=4"}
    body = ask(world, "Relations", headers, orderby="time", top=7, skip=3).json()
    assert len(body["value"]) == 4
    link = urlsplit(body["@odata.nextLink"])
    rest = ask(world, f"{link.path.removeprefix('/odata/v1/')}?{link.query}", headers).json()
    assert body["value"] + rest["value"] == whole[3:10]
    assert "@odata.nextLink" not in rest


def test_pages_are_of_the_moment_of_the_first(world: ExportsWorld) -> None:
    before = rows(world, "Consumers", orderby="consumer_id")
    body = ask(world, "Consumers", {"Prefer": "maxpagesize=2"}, orderby="consumer_id").json()
    collection = world.database["consumers"]
    intruder = {"_id": "default:zoe", "tenant": "default", "consumer_id": "zoe", "versions": {}}
    collection.insert_one(intruder)
    try:
        link = urlsplit(body["@odata.nextLink"])
        rest = ask(world, f"{link.path.removeprefix('/odata/v1/')}?{link.query}").json()["value"]
        assert body["value"] + rest == before
        assert len(rows(world, "Consumers")) == len(before) + 1
    finally:
        collection.delete_one({"_id": "default:zoe"})


def test_a_choice_of_properties(world: ExportsWorld) -> None:
    body = ask(world, "Relations", select="kind,amount", top=1).json()
    assert body["@odata.context"] == "$metadata#Relations(kind,amount)"
    assert list(body["value"][0]) == ["kind", "amount"]


def test_one_entity_one_property_and_its_raw_value(world: ExportsWorld) -> None:
    row = rows(world, "Relations", filter="amount ne null", top=1)[0]
    one = ask(world, f"Relations('{row['id']}')").json()
    assert one.pop("@odata.context").endswith("$metadata#Relations/$entity")
    assert one == row
    assert ask(world, f"Relations(id='{row['id']}')/amount").json()["value"] == row["amount"]
    assert ask(world, f"Relations('{row['id']}')/amount/$value").text == str(row["amount"])
    assert ask(world, f"Relations('{row['id']}')/traits").status_code == 204
    assert ask(world, "Relations('=ada:=1+2')").json()["rating"] == 5
    assert ask(world, "Providers('p4')").json()["categories"] == ["bakery", "café"]
    sums = rows(world, "Aggregates", filter="by eq 'provider_kind'", top=1)[0]
    assert ask(world, f"Aggregates('{sums['id']}')").json()["count"] == sums["count"]
    assert ask(world, "Relations('nobody')").status_code == 404


def test_sums_are_those_of_the_raw_events_whichever_way_they_are_read(world: ExportsWorld) -> None:
    days = world.table.groupby("day").agg(count=("kind", "size"), consumers=("consumer", "nunique"))
    read = rows(world, "Aggregates", filter="by eq 'total'")
    expected = [(str(day.date()), row["count"], row["consumers"]) for day, row in days.iterrows()]
    assert [(row["day"], row["count"], row["consumers"]) for row in read] == expected
    busy = rows(world, "Aggregates", filter="by eq 'total' and count ge 5 and consumers ne null", orderby="day")
    assert [(row["day"], row["count"], row["consumers"]) for row in busy] == [
        one for one in expected if one[1] >= 5
    ]
    assert [row for row in read if row["count"] >= 5] == busy
    assert int(ask(world, "Aggregates/$count", filter="by eq 'total' and count ge 5").text) == len(busy)
    assert rows(world, "Aggregates", filter="by eq 'consumer' and consumers ge 0") == []


def test_lists_are_searched_by_any(world: ExportsWorld) -> None:
    found = rows(world, "Providers", filter="categories/any(c:c eq 'café')")
    assert {row["id"] for row in found} == CAFES


def test_what_power_query_sends(world: ExportsWorld) -> None:
    """Opening the feed, the navigator's preview, and a table that is filtered, sorted and narrowed."""
    service = ask(world, "", MASHUP)
    assert service.headers.get_list("odata-version") == ["4.0"]
    assert service.headers["content-type"].startswith("application/json;odata.metadata=minimal")
    assert {"name": "Relations", "kind": "EntitySet", "url": "Relations"} in service.json()["value"]
    model = ask(world, "$metadata", {**MASHUP, "Accept": "application/xml"})
    assert model.headers["content-type"] == "application/xml"
    assert ask(world, "$metadata", MASHUP).content == model.content
    preview = ask(world, "Relations", MASHUP, top=1000).json()
    assert len(preview["value"]) == len(world.table)
    text = "(kind eq 'purchase' and time ge 2026-09-01T00:00:00Z) and (amount ge 100)"
    folded = ask(
        world, "Relations", MASHUP, filter=text, orderby="time desc,amount", select="time,amount", top=200
    ).json()
    table = world.table
    since = pd.Timestamp("2026-09-01", tz="UTC")
    expected = table[(table["kind"] == "purchase") & (table["time"] >= since) & (table["amount"] >= 100)]
    assert sum(row["amount"] for row in folded["value"]) == expected["amount"].sum()
    assert int(ask(world, "Relations/$count", MASHUP, filter=text).text) == len(expected)


def test_numbers_as_texts_for_who_cannot_hold_64_bits(world: ExportsWorld) -> None:
    headers = {"Accept": "application/json;IEEE754Compatible=true"}
    body = ask(world, "Relations", headers, count="true", filter="amount ne null", top=1).json()
    assert isinstance(body["value"][0]["amount"], str)
    assert isinstance(body["@odata.count"], str)


def test_another_tenant_has_its_own(world: ExportsWorld) -> None:
    other = {"Kith-Tenant": "acme"}
    assert int(ask(world, "Relations/$count", other).text) == len(left(world.events, "acme"))
    there = ask(world, "Relations", other, top=1).json()["value"][0]["id"]
    assert ask(world, f"Relations('{there}')", other).status_code == 200
    assert (
        ask(world, "Relations", filter="id gt '~' or startswith(id,'acme') or id eq '../acme:c01'").json()["value"]
        == []
    )


@pytest.mark.parametrize(
    ("path", "options", "status", "target"),
    [
        ("Relations", {"filter": "nothing eq 1"}, 400, "$filter"),
        ("Relations", {"filter": "geo.length(kind) eq 1"}, 501, "$filter"),
        ("Relations", {"orderby": "traits"}, 501, "$orderby"),
        ("Relations", {"orderby": "nothing"}, 400, "$orderby"),
        ("Relations", {"select": "text"}, 400, "$select"),
        ("Relations", {"expand": "Consumer"}, 501, "$expand"),
        ("Relations", {"apply": "groupby((kind))"}, 501, "$apply"),
        ("Relations", {"search": "x"}, 501, "$search"),
        ("Relations", {"top": "-1"}, 400, "$top"),
        ("Relations", {"count": "maybe"}, 400, "$count"),
        ("Relations", {"skiptoken": "x"}, 400, "$skiptoken"),
        ("Relations", {"format": "atom"}, 406, None),
        ("Nothing", {}, 404, None),
        ("Relations('a')/nothing", {}, 404, None),
        ("$batch", {}, 501, "$batch"),
    ],
)
def test_what_cannot_be_done_is_refused_as_the_standard_says(
    world: ExportsWorld, path: str, options: dict[str, Any], status: int, target: str | None
) -> None:
    answer = ask(world, path, **options)
    assert (answer.status_code, answer.headers["odata-version"]) == (status, "4.0")
    error = json.loads(answer.content)["error"]
    assert error["code"]
    assert error["message"]
    assert error.get("target") == target


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("Relations('=ada:=1+2')", "$filter=kind eq 'other'"),
        ("Relations('=ada:=1+2')", "$top=1"),
        ("Relations('=ada:=1+2')/kind", "$select=kind"),
        ("Relations('=ada:=1+2')/kind/$value", "$format=json"),
        ("Relations/$count", "$count=true"),
        ("Relations/$count", "$select=kind"),
        ("$metadata", "$filter=garbage"),
        ("", "$top=1"),
        ("", "$filter=kind eq 'a'"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(world: ExportsWorld, path: str, query: str) -> None:
    answer = get(world.app, f"/odata/v1/{path}?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == query.partition("=")[0]


def test_the_options_that_each_resource_has(world: ExportsWorld) -> None:
    assert "kind" in ask(world, "Relations('=ada:=1+2')", select="kind", format="json").json()
    assert ask(world, "Relations('=ada:=1+2')/rating/$value", {"Accept": "text/plain"}).text == "5"
    assert ask(world, "", format="json").status_code == 200
    assert ask(world, "$metadata", format="xml").status_code == 200
    assert ask(world, "$metadata", format="json").status_code == 406
    assert get(world.app, "/odata/v1/Relations/$count?purpose=newsletter&$filter=true").status_code == 200


@pytest.mark.parametrize("path", ["", "$metadata"])
def test_the_purpose_that_power_query_adds_to_every_request_is_taken(world: ExportsWorld, path: str) -> None:
    assert get(world.app, f"/odata/v1/{path}?purpose=newsletter").content == ask(world, path).content


def test_what_shapes_a_list_does_not_affect_its_count_but_has_to_be_right(world: ExportsWorld) -> None:
    count = ask(world, "Relations/$count").text
    assert int(count) > 2
    shaped = ask(world, "Relations/$count", top=1, skip=1, orderby="kind desc,amount")
    assert (shaped.status_code, shaped.text) == (200, count)
    for name, value, status in (("top", "-1", 400), ("skip", "x", 400), ("orderby", "nothing", 400)):
        answer = get(world.app, f"/odata/v1/Relations/$count?${name}={value}")
        assert (answer.status_code, answer.json()["error"]["target"]) == (status, f"${name}")


@pytest.mark.parametrize(
    "text",
    [
        *("time gt 0001-01-01T00:00:00Z", "time lt 9999-12-31T23:59:59Z", "year(9999-12-31) eq 9999"),
        "trim(" * 38 + "kind" + ")" * 38 + " eq 'view'",
        "not (" * 19 + "kind eq 'view'" + ")" * 19,
        "(true and (false or " * 18 + "contains(trim(tolower(kind)),'iew')" + "))" * 18,
        f"tolower(kind) eq '{'a' * 4_500}'",
        f"contains(event_source,'{'.' * 7_900}')",
        f"startswith(id,'{'.' * 7_900}')",
        f"contains(kind,'{chr(0x1F600) * 5_000}')",
    ],
    ids=lambda text: text[:40],
)
def test_mongodb_takes_what_the_bounds_let_through(world: ExportsWorld, text: str) -> None:
    assert ask(world, "Relations/$count", filter=text).status_code == 200


LETTERS = "aAäÄßẞéÉσΣςİiIıKſﬁ Ǆ"


@pytest.mark.parametrize("case", ["tolower", "toupper"])
def test_upper_and_lower_case_know_every_letter(world: ExportsWorld, case: str) -> None:
    """Each text against each: what is equal to MongoDB is what is equal letter by letter."""
    change = str.lower if case == "tolower" else str.upper
    texts = [*LETTERS, "Straße", "STRASSE", "CAFÉ", "İstanbul", "ﬁre"]
    providers = world.database["providers"]
    documents = [
        {"_id": f"letters:{n}", "tenant": "letters", "provider_id": str(n), "name": text, "closed": False}
        for n, text in enumerate(texts)
    ]
    providers.insert_many([{**document, "versions": {}} for document in documents])
    try:
        for wanted in {"".join(map(change, text)) for text in texts} | {"Ä", "ä", "ss"}:
            expected = {str(n) for n, text in enumerate(texts) if "".join(map(change, text)) == wanted}
            asked = {"$filter": f"{case}(name) eq '{wanted}'"}
            found = get(world.app, "/odata/v1/Providers", asked, {"Kith-Tenant": "letters"}).json()["value"]
            assert {row["provider_id"] for row in found} == expected, wanted
        order = {"$filter": f"{case}(name) gt 'a'"}
        refused = get(world.app, "/odata/v1/Providers", order, {"Kith-Tenant": "letters"})
        assert (refused.status_code, "ASCII only" in refused.text) == (501, True)
    finally:
        providers.delete_many({"tenant": "letters"})


def test_an_option_that_there_is_not_is_refused_by_name(world: ExportsWorld) -> None:
    for query, name in (("$fliter=x", "$fliter"), ("purpos=x", "purpos"), ("$top=1&$top=2", "$top")):
        for path in ("Relations", "Relations/$count", "", "$metadata"):
            answer = get(world.app, f"/odata/v1/{path}?{query}")
            assert answer.status_code == 422, (path, query)
            assert answer.json()["error"]["target"] == name
    assert "did you mean $filter?" in get(world.app, "/odata/v1/Relations?$fliter=x").text


def test_links_are_right_behind_a_proxy_and_reflect_no_host(world: ExportsWorld) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Prefer": "maxpagesize=2"}
    for path in (
        "",
        "Relations",
        "Relations?$count=true",
        "Relations('=ada:=1+2')",
        "Relations('=ada:=1+2')/kind",
    ):
        answer = get(world.app, f"/odata/v1/{path}", None, headers)
        assert "evil.example" not in answer.text + str(answer.headers)
        context = urljoin(f"https://kith.example/feeds/odata/v1/{path}", answer.json()["@odata.context"])
        assert context.startswith("https://kith.example/feeds/odata/v1/$metadata")
    link = get(world.app, "/odata/v1/Relations", None, headers).json()["@odata.nextLink"]
    assert urljoin("https://kith.example/feeds/odata/v1/Relations?$top=9", link).startswith(
        "https://kith.example/feeds/odata/v1/Relations?"
    )
    stated = create_app(world.exports, list, access=OPEN, public_url="https://kith.example/feeds/")
    body = get(stated, "/odata/v1/Relations", None, headers).json()
    assert body["@odata.context"].startswith("https://kith.example/feeds/odata/v1/$metadata")
    assert body["@odata.nextLink"].startswith("https://kith.example/feeds/odata/v1/Relations?")


def test_power_query_gets_an_absolute_context(address: str) -> None:
    asked = {**MASHUP, "Host": "evil.example"}
    body = request("GET", f"{address}Relations", headers=asked).json()
    assert body["@odata.context"] == f"{address}$metadata#Relations"


def test_the_model_states_the_precision_of_times(world: ExportsWorld) -> None:
    model = etree.fromstring(ask(world, "$metadata").content)
    precisions = {one.get("Name"): one.get("Precision") for one in model.iter("{*}Property")}
    assert (precisions["time"], precisions["first"], precisions["event_time"]) == ("3", "3", "6")
    row = ask(world, "Relations('=ada:=1+2')").json()
    for name in ("time", "event_time"):
        assert len(row[name].partition(".")[2].rstrip("Z")) == int(precisions[name])
    assert row["time"] == "2026-11-20T10:00:00.123Z"


@pytest.mark.parametrize("entities", ["Relations", "Relationships", "Consumers"])
def test_a_purpose_leaves_out_who_has_not_granted_it(world: ExportsWorld, entities: str) -> None:
    def asked(**options: str) -> list[dict[str, Any]]:
        found = get(world.app, f"/odata/v1/{entities}", {"purpose": "newsletter", **options}).json()
        value: list[dict[str, Any]] = found["value"]
        assert found.get("@odata.count", len(value)) == len(value)
        return value

    everything = rows(world, entities)
    assert asked(**{"$count": "true"}) == [row for row in everything if row["consumer_id"] == "=ada"]
    assert len(asked(**{"$top": "1", "$orderby": "consumer_id"})) == 1
    count = get(world.app, f"/odata/v1/{entities}/$count", {"purpose": "newsletter"}).text
    assert int(count) == len(asked())
    [other, *_] = [row for row in everything if row["consumer_id"] != "=ada"]
    one = get(world.app, f"/odata/v1/{entities}('{other['id']}')", {"purpose": "newsletter"})
    assert one.status_code == 404
    assert asked(purpose="nobody_granted_this") == []
    file = world.csv(entities.lower(), purpose="newsletter")
    assert set(file["consumer_id"]) == {"'=ada"}
    assert len(file) == len(asked())


@pytest.mark.parametrize("entities", ["Providers", "Aggregates"])
def test_what_is_not_of_one_consumer_takes_no_purpose(world: ExportsWorld, entities: str) -> None:
    feed = get(world.app, f"/odata/v1/{entities}", {"purpose": "newsletter"})
    assert (feed.status_code, feed.json()["error"]["target"]) == (400, "purpose")
    assert world.get(f"/v1/export/{entities.lower()}", purpose="newsletter").status_code == 400


def test_the_facts_of_a_pseudonym_name_no_event_of_before(world: ExportsWorld) -> None:
    """Neither in rows, nor by a filter or an order, nor in the tokens of pages."""
    relations = world.database["relations"]
    names = {name: hashed("anon", name) for name in ("ada", "r1", "r2")}
    for relation in ("r1", "r2"):
        id = f"anon:{names['ada']}:{names[relation]}"
        fact = relations.find_one({"_id": "default:=ada:=1+2"})
        assert fact is not None
        version = {**fact["version"], "source": "shop", "id": f"secret-{relation}"}
        of = {"_id": id, "tenant": "anon", "consumer_id": names["ada"], "relation_id": names[relation]}
        relations.insert_one({**fact, **of, "version": version})
    tenant = {"Kith-Tenant": "anon"}

    def feed(**options: str) -> httpx.Response:
        return get(world.app, "/odata/v1/Relations", {f"${k}": v for k, v in options.items()}, tenant)

    try:
        for format in ("csv", "jsonl"):
            text = world.get("/v1/export/relations", "anon", format=format).text
            assert "secret" not in text
            assert text.count("anonymised") == 2
        assert [row["event_id"] for row in feed().json()["value"]] == ["anonymised"] * 2
        for text in ("event_id eq 'secret-r1'", "contains(event_id,'ecret')", "event_id in ('secret-r1')"):
            assert feed(filter=text).json()["value"] == [], text
        for text in ("event_source eq 'shop'", "tolower(event_id) eq 'secret-r1'", "event_id gt 'b'"):
            assert feed(filter=text).json()["value"] == [], text
        assert len(feed(filter="event_id eq 'anonymised'").json()["value"]) == 2
        assert len(feed(filter="event_id ne 'secret-r1'").json()["value"]) == 2
        for name in ("event_id", "event_source"):
            assert feed(orderby=name).status_code == 501
        [seen] = list(world.exports.open("relations", ExportQuery("anon")).rows)
        assert {row["event_source"] for row in seen} == {"kith/relations"}
    finally:
        relations.delete_many({"tenant": "anon"})


def test_an_older_protocol_is_refused(world: ExportsWorld) -> None:
    assert ask(world, "", {"OData-MaxVersion": "3.0"}).status_code == 400
