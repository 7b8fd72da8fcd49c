"""Who may export what: scopes, masks and the audit, over HTTP and in the feed."""

import io
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pandas as pd
import pytest
from fastapi import FastAPI
from pymongo.database import Database

from services.exports.api import create_app
from services.exports.decryption import decryptor
from services.exports.query import ExportQuery
from services.exports.source import Exports
from services.relations.schema import COLLECTIONS
from shared.access.guard import Access
from shared.http.caller import SCOPES
from shared.mongo.store import prepare
from shared.vault.fields import change_document
from shared.vault.keys import Vault
from shared.vault.master import EnvironmentKeys
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.tokens import DataKey, seal
from tests.conftest import Addresses
from tests.support.analytics_driver import get
from tests.support.credentials import Journal, Keys
from tests.support.databases import fresh_database
from tests.support.exports_world import ExportsWorld


@pytest.fixture(scope="module")
def world(servers: Addresses) -> Iterator[ExportsWorld]:
    with fresh_database(servers) as database:
        yield ExportsWorld(database)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def app(world: ExportsWorld, journal: Journal) -> FastAPI:
    access = Access(Keys(), audit=journal)
    return create_app(Exports(world.database), list, access=access)


def ask(app: FastAPI, path: str, key: str | None, **params: str) -> httpx.Response:
    return get(app, path, params, {} if key is None else {"Authorization": f"Bearer kith_{key}"})


NEEDED = {
    "/v1/export/relations": "relations:read",
    "/v1/export/relationships": "relations:read",
    "/v1/export/providers": "relations:read",
    "/v1/export/consumers": "consumers:read",
    "/v1/export/aggregates": "analytics:read",
    "/odata/v1/Relations": "relations:read",
    "/odata/v1/Relations('x')": "relations:read",
    "/odata/v1/Relations/$count": "relations:read",
    "/odata/v1/Relationships": "relations:read",
    "/odata/v1/Providers": "relations:read",
    "/odata/v1/Consumers": "consumers:read",
    "/odata/v1/Aggregates": "analytics:read",
}


@pytest.mark.parametrize(("path", "scope"), NEEDED.items())
def test_each_needs_the_scope_of_what_it_shows(app: FastAPI, path: str, scope: str) -> None:
    assert ask(app, path, None).status_code == 401
    assert ask(app, path, "wrong").status_code == 401
    others = ",".join(other for other in SCOPES if other != scope)
    assert ask(app, path, others).status_code == 403
    assert ask(app, path, scope).status_code in (200, 404)


def test_what_says_nothing_of_a_tenant_is_open(app: FastAPI) -> None:
    for path in ("/v1/export", "/odata/v1/", "/odata/v1", "/odata/v1/$metadata"):
        assert ask(app, path, None).status_code == 200
    for path in ("/odata/v1//Relations", "/odata/v1/x/Relations", "/odata/v1/ Relations", "/odata/v1/relations"):
        assert ask(app, path, None).status_code in (404, 501)


def test_personal_columns_need_their_own_scope_and_are_in_the_audit(app: FastAPI, journal: Journal) -> None:
    refused = ask(app, "/v1/export/consumers", "consumers:read", personal="true")
    assert refused.status_code == 403
    assert "personal:read" in refused.headers["www-authenticate"]
    assert journal.acts == []
    plain = ask(app, "/v1/export/consumers", "consumers:read,personal:read")
    assert "personal" not in plain.text.splitlines()[0].split(",")
    assert journal.acts == []
    shown = ask(app, "/v1/export/consumers", "consumers:read,personal:read", personal="true")
    assert "Ada Berg" in shown.text
    [act] = journal.acts
    assert (act.action, act.subject) == ("personal.read", {"export": "consumers"})
    assert set(act.fields) == {"city", "lat", "lon", "personal"}


def test_masked_columns_are_left_out_and_named(app: FastAPI, world: ExportsWorld) -> None:
    answer = ask(app, "/v1/export/relationships", "relations:read/amount")
    assert answer.headers["kith-masked"] == "amount, amounts"
    found = pd.read_csv(io.BytesIO(answer.content))
    assert not {"amount", "amounts"} & set(found.columns)
    assert found["count"].sum() == len(world.table)
    by_kind = ask(app, "/v1/export/relations", "relations:read/kind", kind="view")
    assert by_kind.status_code == 403
    of_kind = ask(app, "/v1/export/relationships", "relations:read/kind", kind="view")
    assert of_kind.status_code == 403


@pytest.mark.parametrize(
    ("dataset", "mask", "hidden"),
    [
        ("relations", "time", {"time", "event_time"}),
        ("relations", "event", {"event_source", "event_id", "event_time"}),
        ("relations", "event.*", {"event_source", "event_id", "event_time"}),
        ("relations", "event.id", {"event_id"}),
        ("relationships", "strength", {"score"}),
        ("consumers", "personal.email", {"personal"}),
    ],
)
def test_what_tells_the_same_is_hidden_too(app: FastAPI, dataset: str, mask: str, hidden: set[str]) -> None:
    scopes = "relations:read,consumers:read,personal:read"
    answer = ask(app, f"/v1/export/{dataset}", f"{scopes}/{mask}", personal="true")
    assert answer.status_code == 200, answer.text
    assert set(answer.headers["kith-masked"].split(", ")) == hidden
    assert not hidden & set(answer.text.splitlines()[0].split(","))


def test_a_mask_counts_inside_of_maps_as_it_does_in_the_api(app: FastAPI, world: ExportsWorld) -> None:
    """A mask without a path is every member of that name, at whatever depth."""
    consumers = world.database["consumers"]
    [ada] = consumers.find({"personal": {"$exists": True}}).limit(1)
    email = "planted@example.org"
    consumers.update_one({"_id": ada["_id"]}, {"$set": {"personal.email": email, "traits.tier": "platinum"}})
    may = "consumers:read,personal:read"
    plain = ask(app, "/v1/export/consumers", may, personal="true", format="jsonl").text
    assert email in plain
    assert "platinum" in plain
    for masks in ("email,tier", "personal.email,traits.tier"):
        found = ask(app, "/v1/export/consumers", f"{may}/{masks}", personal="true", format="jsonl")
        assert found.status_code == 200, found.text
        assert email not in found.text
        assert "platinum" not in found.text
        feed = ask(app, "/odata/v1/Consumers", f"{may}/{masks}")
        assert (feed.status_code, "platinum" in feed.text) == (200, False)
        key = ada["_id"].partition(":")[2]
        one = ask(app, f"/odata/v1/Consumers('{key}')", f"{may}/{masks}")
        assert (one.status_code, "platinum" in one.text) == (200, False)
    assert "platinum" in ask(app, "/odata/v1/Consumers", may).text


@pytest.mark.parametrize(
    ("dataset", "mask", "params"),
    [
        ("relations", "time", {"from": "2026-10-01"}),
        ("relations", "time", {"to": "2026-10-01"}),
        ("aggregates", "day", {"from": "2026-10-01"}),
        ("aggregates", "by", {"by": "kind"}),
        ("aggregates", "kind", {"by": "kind"}),
        ("aggregates", "kind", {"kind": "view"}),
        ("aggregates", "time", {}),
        ("relationships", "kind", {"kind": "view"}),
        ("providers", "categories", {"category": "café"}),
        ("relations", "categories", {"category": "café"}),
        ("relationships", "categories", {"category": "café"}),
    ],
)
def test_nothing_is_filtered_by_what_is_hidden(
    app: FastAPI, dataset: str, mask: str, params: dict[str, str]
) -> None:
    scopes = "relations:read,analytics:read"
    assert ask(app, f"/v1/export/{dataset}", scopes, **params).status_code == 200
    refused = ask(app, f"/v1/export/{dataset}", f"{scopes}/{mask}", **params)
    assert (refused.status_code, "is hidden from this credential" in refused.text) == (403, True), refused.text


def test_the_feed_tells_nothing_of_masked_properties(app: FastAPI) -> None:
    def feed(path: str, **params: Any) -> httpx.Response:
        return ask(app, f"/odata/v1/{path}", "relations:read/amount", **{f"${k}": v for k, v in params.items()})

    assert "amount" not in feed("Relations", top="1").json()["value"][0]
    key = feed("Relations", top="1").json()["value"][0]["id"]
    for refused in (
        feed("Relations", filter="amount gt 5"),
        feed("Relations", orderby="amount"),
        feed("Relations", select="amount"),
        feed("Relations/$count", filter="amount gt 5"),
        feed(f"Relations('{key}')/amount"),
    ):
        assert (refused.status_code, "amount is hidden" in refused.text) == (403, True), refused.text
    hidden = ask(app, "/odata/v1/Relations", "relations:read/consumer_id")
    assert hidden.status_code == 403
    assert hidden.headers["odata-version"] == "4.0"


def test_sealed_values_are_opened_for_who_may_and_stay_empty_once_the_key_is_destroyed(
    mongo_database: Database[dict[str, Any]],
) -> None:
    vault = Vault(MongoKeyStore(mongo_database), EnvironmentKeys(b64encode(b"m" * 32).decode()))
    prepare(mongo_database, COLLECTIONS)
    for name in ("ada", "bea"):
        key = vault.keys("default", [name])[name]
        assert isinstance(key, DataKey)
        consumer = {
            "consumer_id": name,
            "personal": {"name": f"{name} of Lyon"},
            "location": {"country": "France", "city": "Lyon", "lat": 45.5, "lon": 4.5},
        }
        sealed = change_document(consumer, partial(seal, key, "default", name))
        assert "Lyon" not in str(sealed)
        mongo_database["consumers"].insert_one(
            {"_id": f"default:{name}", "tenant": "default", "versions": {}, **sealed}
        )

    def consumers() -> dict[str, dict[str, Any]]:
        export = Exports(mongo_database, decryptor(vault)).open("consumers", ExportQuery(), personal=True)
        return {row["consumer_id"]: dict(row) for lot in export.rows for row in lot}

    found = consumers()
    assert found["ada"]["personal"] == '{"name":"ada of Lyon"}'
    assert [found["bea"][name] for name in ("city", "lat", "lon")] == ["Lyon", 45.5, 4.5]
    vault.destroy("default", "ada")
    found = consumers()
    assert [found["ada"][name] for name in ("personal", "city", "lat", "country")] == [None, None, None, "France"]
    assert found["bea"]["city"] == "Lyon"
