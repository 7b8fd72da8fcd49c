"""Tenants never see each other: whatever is asked of whatever route, no answer holds what is another tenant's."""

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, quote

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from services.analytics.api import create_app as analytics_app
from services.analytics.dashboard.figures import FiguresReader
from services.analytics.dashboard.live import add_live
from services.analytics.dashboard.operations import Readings, add_operations
from services.analytics.dashboard.pages import add_pages
from services.analytics.dashboard.versions import Versions
from services.analytics.measures.catalogue import MEASURES as ANALYTICS_MEASURES
from services.analytics.measures.source import Measures as AnalyticsMeasures
from services.analytics.queries import AnalyticsQueries
from services.apps.api import create_app as apps_app
from services.apps.figures import Figures
from services.apps.key_pairs import MongoKeyPairs
from services.apps.registry import Registry
from services.apps.signing import Signer
from services.cassandra.api import create_app as cassandra_app
from services.exports.api import create_app as exports_app
from services.exports.measures import MeasureServices, Refused
from services.exports.source import Exports
from services.ingest.api import create_app as ingest_app
from services.intelligence.api import create_app as intelligence_app
from services.postgres.api import create_app as postgres_app
from services.privacy.api import create_app as privacy_app
from services.privacy.audit_routes import add_audit
from services.privacy.erasure_evidence import Stores
from services.privacy.erasure_list import ErasureList, add_erasure_list
from services.privacy.erasures import Erasures
from services.privacy.people import People
from services.privacy.receipts import Receipts
from services.rabbitmq.api import create_app as rabbitmq_app
from services.relations.api import create_app as relations_app
from services.relations.cache import QueryCache
from services.relations.measures.catalogue import MEASURES as RELATIONS_MEASURES
from services.relations.measures.source import Measures as RelationsMeasures
from services.relations.queries import Queries
from services.webhooks.api import create_app as webhooks_app
from services.webhooks.deliveries import LOG as ATTEMPTS
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints
from services.webhooks.messages.rendering import Renderer
from shared.access.apps.compliance import erased, receipt
from shared.access.apps.mongo import MongoApps
from shared.access.apps.notices import MongoReceipts
from shared.access.apps.schema import RECEIPTS
from shared.access.audit import MemoryAuditLog, Recorder
from shared.access.audit_mongo import MongoAuditLog
from shared.access.audit_reading import MongoAuditReader
from shared.access.chain import FIRST, Act, entry_of
from shared.access.guard import Access
from shared.access.keys import NO_LIMIT, ApiKeys
from shared.access.keys_mongo import MongoKeys
from shared.access.lookup import KeyLookup
from shared.access.quota import Quotas
from shared.contracts.codec import encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event
from shared.contracts.services import SERVICES
from shared.erasure.records import hashed
from shared.http.caller import SCOPES
from shared.http.metrics import add_metrics
from shared.letters.store import Letters
from shared.measures.computing import here
from shared.observability.metrics import new_registry
from shared.observability.status import StatusReader
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import document
from shared.runtime.protocols import Document, Message, Partition, Record
from shared.settings import Settings
from shared.versions.mongo_registry import MongoRegistry
from tests.conftest import Addresses
from tests.support.apps import new_app
from tests.support.builders import STRENGTH, TOPICS, event
from tests.support.databases import fresh_database
from tests.support.intelligence import over as intelligence_over
from tests.support.measures_world import NOW, store
from tests.support.routes import PUBLIC, Found, every_route
from tests.unit.ingest.test_api import RecordingPublisher

#: In everything that a tenant's events say, and in nothing else.
MARKERS = {"acme": "quagga", "zeta": "okapi"}
OTHER = {"acme": "zeta", "zeta": "acme"}
tenants = st.sampled_from(sorted(MARKERS))


def events_of(tenant: str) -> Iterator[Event]:
    """Half of the ids are the same for both tenants, so that whoever mixes them up finds something."""
    mark = MARKERS[tenant]
    number = 0

    def said(type: str, time: str, data: dict[str, Any]) -> Event:
        nonlocal number
        number += 1
        return event(type, f"{mark}-{number}", time, data, tenant=tenant)

    for id in ("c1", "c2", f"c-{mark}"):
        personal: dict[str, Any] = {"name": f"{mark} {id}", "email": f"{id}@{mark}.example", "phone": "+33 1"}
        place = {"country": "FR", "region": mark, "city": mark, "lat": 45.0, "lon": 5.0}
        known: dict[str, Any] = {
            "consumer_id": id,
            "personal": personal,
            "location": place,
            "traits": {"of": mark},
            "consent": {"shared": True},
        }
        yield said("consumer.upserted", "2026-10-01T00:00:00Z", known | {"traits": {"of": mark}})
    for id in ("p1", f"p-{mark}"):
        shop = {"provider_id": id, "name": mark, "categories": [mark], "traits": {"of": mark}}
        yield said("provider.upserted", "2026-10-01T00:00:00Z", shop)
    for consumer in ("c1", "c2", f"c-{mark}"):
        for provider in ("p1", f"p-{mark}"):
            for day, kind in enumerate(("purchase", "review", mark), 3):
                data: dict[str, Any] = {
                    "relation_id": f"{consumer}-{provider}-{kind}",
                    "kind": kind,
                    "consumer_id": consumer,
                    "provider_id": provider,
                    "text": mark,
                    "traits": {"of": mark},
                }
                if kind == "purchase":
                    data |= {"amount": 500, "currency": "EUR"}
                if kind == "review":
                    data |= {"rating": 4}
                yield said("relation.recorded", f"2026-11-{day:02}T10:00:00Z", data)


def letter_of(tenant: str, number: int) -> Document:
    """A dead letter, whose event is good by now."""
    mark = MARKERS[tenant]
    data = {"relation_id": mark, "consumer_id": "c1", "provider_id": "p1"}
    good = encode(event("relation.retracted", mark, "2026-11-01T00:00:00Z", data, tenant=tenant))
    record = Record(Partition(TOPICS.name("relations"), 0), number, 0, f"{tenant}:c1".encode(), good, ())
    return document(record, InvalidEvent("invalid", "was so once", f"data.{mark}"), "relations")


REPLAYED = [(tenant, at) for at, tenant in enumerate(sorted(MARKERS))]
SEEN = [(tenant, 100 + at) for tenant, at in REPLAYED]


class InProcess(MeasureServices):
    """Asks the other services without a network in between."""

    def __init__(self, market: "Market") -> None:
        super().__init__("analytics", "relations", 120)
        self._market = market

    def _ask(self, address: str, headers: Mapping[str, str]) -> dict[str, Any]:
        service, _, path = address.partition("/")
        answer = self._market.send(service, "GET", f"/{path}", headers)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.json()["detail"])
        found: dict[str, Any] = answer.json()
        return found


class Market:
    """Both tenants' data in one database, the services over it, and a key for each tenant."""

    def __init__(self, database: Database[Document], kafka: str) -> None:
        self.database = database
        store(database, [one for tenant in MARKERS for one in events_of(tenant)])
        # Some are there to be replayed, which closes them, and some to be seen.
        database[DEAD_LETTERS].insert_many([letter_of(tenant, at) for tenant, at in (*REPLAYED, *SEEN)])
        keys = ApiKeys(MongoKeys(database), lambda: NOW)
        self.keys = {t: keys.create(t, "test", [*SCOPES], limit=NO_LIMIT)[1] for t in MARKERS}
        # Bound to a purpose that the consumers of both tenants have granted.
        self.bound = {t: keys.create(t, "bound", [*SCOPES], limit=NO_LIMIT, purpose="shared")[1] for t in MARKERS}
        self.audit = MemoryAuditLog()
        self.recorder = Recorder(self.audit, lambda: NOW)
        lookup = KeyLookup(MongoKeys(database))
        access = Access(lookup, None, Quotas("none"), self.recorder)
        clock = lambda: NOW  # noqa: E731
        self.publisher = RecordingPublisher()
        # The cache on, for it is shared by all tenants.
        queries = Queries(database, STRENGTH, QueryCache("lru", 1000))
        erasing = Stores(
            database,
            str,
            MongoRegistry(database, "relations"),
            MongoRegistry(database, "analytics"),
            lambda _tenant, _consumer: None,
            hashed,
        )
        receipts = Receipts(database, None, clock)
        erasures = Erasures(erasing, receipts, clock)
        analytics = here(AnalyticsMeasures(database, str, str, clock).of)
        relations = here(RelationsMeasures(database, str, clock).of)
        self.apps: dict[str, FastAPI] = {
            "ingest": ingest_app(self.publisher, TOPICS, Settings(), clock, list, access=access),
            "relations": relations_app(queries, STRENGTH, list, clock, relations, access=access),
            "analytics": analytics_app(AnalyticsQueries(database), list, analytics, access=access),
            "exports": exports_app(Exports(database), list, InProcess(self), access=access),
            "intelligence": intelligence_app(*intelligence_over(database), list, access=access),
            "privacy": privacy_app(
                erasures,
                People(database, str, None),
                receipts,
                self._publish,
                TOPICS,
                list,
                clock,
                access=access,
            ),
        }
        settings = Settings(kafka=kafka, topic_prefix="test-isolation", encryption="off")
        renderer = Renderer(database, str, lambda _tenant, _consumer: None, None)
        endpoints = Endpoints(database, renderer, None, TOPICS, lambda: LogReader(settings), clock)
        self.apps["webhooks"] = webhooks_app(endpoints, list, [], access=access)
        registry = Registry(MongoApps(database), clock)
        signer = Signer(MongoKeyPairs(database), None, "http://kith", clock)
        self.apps["apps"] = apps_app(
            registry, signer, Figures(database, str), MongoReceipts(database), list, access=access
        )
        self.registered = {
            t: registry.register(new_app(tenant=t, name=mark)).app.id for t, mark in MARKERS.items()
        }
        # Of each two receipts, so that the list has a second page.
        database[RECEIPTS].insert_many(
            receipt(erased(tenant, f"{mark}-{number}", [], NOW), self.registered[tenant])
            for tenant, mark in MARKERS.items()
            for number in range(2)
        )
        self.apps["cassandra"] = cassandra_app(list, access=access)
        self.apps["postgres"] = postgres_app(list, access=access)
        self.apps["rabbitmq"] = rabbitmq_app(list, access=access)
        self.endpoints = {tenant: _endpoint(endpoints, tenant, mark) for tenant, mark in MARKERS.items()}
        database[ATTEMPTS].insert_many(
            _attempt(tenant, self.endpoints[tenant], mark, n) for tenant, mark in MARKERS.items() for n in range(2)
        )
        assert set(self.apps) == set(SERVICES)
        # Of each tenant an entry that names it everywhere.
        for tenant, mark in MARKERS.items():
            act = Act(tenant, mark, mark, mark, {"consumer_id": mark}, (mark,), {"n": mark})
            first = entry_of(act, NOW, 1, FIRST, None)
            MongoAuditLog(database).append([first, entry_of(act, NOW, 2, first["hash"], None)])
            # And two erasures, so that every list has a second page.
            for number in range(2):
                erasures.ask(tenant, f"erased-{mark}-{number}", "delete")
        add_audit(self.apps["privacy"], MongoAuditReader(database))
        add_erasure_list(self.apps["privacy"], ErasureList(database, str, erasures))
        page = self.apps["analytics"]
        add_live(page, FiguresReader(database, str, str, clock))
        # A stream ends after its first figures, because the process is to end.
        page.state.stopping = True
        self.readings = Readings(lambda: StatusReader(settings, database))
        letters = Letters(database, TOPICS)
        add_operations(page, self.readings, Versions(database), lambda: letters, lambda: self.publisher)
        add_pages(page)
        for app in self.apps.values():
            add_metrics(app, new_registry())
        self.documents = {name: app.openapi() for name, app in self.apps.items()}
        self.cursors = self._cursors()

    def close(self) -> None:
        self.recorder.close()
        self.readings.close()

    def _publish(self, messages: Sequence[Message]) -> None:
        self.publisher.send(messages)

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        tenant: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        bound: bool = False,
        **body: Any,
    ) -> httpx.Response:
        """What the holder of a tenant's key is answered, of one that is ``bound`` to a purpose or of one that is
        not."""
        keys = self.bound if bound else self.keys
        said = {"Authorization": f"Bearer {keys[tenant]}", **(headers or {})}
        return self.send(service, method, path, said, params=params, **body)

    def send(
        self, service: str, method: str, path: str, headers: Mapping[str, str], **options: Any
    ) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(self.apps[service])
            async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=headers) as client:
                return await client.request(method, path, **options)

        return asyncio.run(answer())

    def _cursors(self) -> list[str]:
        """Places in the lists of both tenants."""
        asked = [
            ("relations", "/v1/relations", {"consumer_id": "c1"}),
            ("relations", "/v1/relationships", {"provider_id": "p1"}),
            ("analytics", "/v1/aggregates", {"by": "consumer"}),
        ]
        lists: list[tuple[str, str, str, dict[str, str]]] = [
            (tenant, "webhooks", f"/v1/webhooks/endpoints/{id.partition(':')[2]}/deliveries", {})
            for tenant, id in self.endpoints.items()
        ]
        found = [
            self.ask(service, "GET", path, tenant, {**params, "limit": "1"}).json()["next"]
            for tenant, service, path, params in lists
        ]
        found += [
            self.ask(service, "GET", path, tenant, {**params, "limit": "1"}).json()["next"]
            for service, path, params in asked
            for tenant in MARKERS
        ]
        assert all(found)
        return found


def _endpoint(endpoints: Endpoints, tenant: str, mark: str) -> str:
    stated = {"url": f"https://{mark}.example/", "types": ["relation.changed"], "description": mark}
    return str(endpoints.create(tenant, stated, "hmac", [], mark).endpoint["_id"])


def _attempt(tenant: str, endpoint: str, mark: str, number: int) -> Document:
    return {
        "_id": f"{endpoint}/relation-changes/0/{number}#1",
        "endpoint": endpoint,
        "tenant": tenant,
        "delivery": f"{endpoint}/relation-changes/0/{number}",
        "webhook_id": mark,
        "type": "relation.changed",
        "subject": f"consumer:{mark}",
        "attempt": 1,
        "at": NOW,
        "milliseconds": 1,
        "outcome": "failed",
        "answer": mark,
    }


@pytest.fixture(scope="module")
def market(servers: Addresses) -> Iterator[Market]:
    with fresh_database(servers) as database, closing(Market(database, servers.kafka)) as made:
        yield made


IDS = ["c1", "c2", "p1", *MARKERS.values(), *(f"{side}-{m}" for side in "cp" for m in MARKERS.values())]
WORDS = [*IDS, *MARKERS, "purchase", "default:c1", "acme:c1", "zeta:c1", "", "*", "$ne", "EUR", "2026-11-01", "99"]


def values(draw: Any, schema: Mapping[str, Any], cursors: list[str]) -> str:
    """A value for a parameter: mostly of its form, for what is refused tells nothing."""
    for part in schema.get("anyOf", ()):
        if part.get("type") != "null":
            schema = {**schema, **part}
    if "enum" in schema:
        # What is compressed would hide a marker.
        return str(draw(st.sampled_from([one for one in schema["enum"] if one not in ("hyper", "parquet")])))
    if schema.get("type") == "integer":
        return str(draw(st.integers(schema.get("minimum", 0), min(schema.get("maximum", 50), 1000))))
    if schema.get("type") == "number":
        return str(draw(st.sampled_from([schema.get("minimum", 0), 1])))
    if schema.get("type") == "boolean":
        return str(draw(st.sampled_from(["true", "false"])))
    return str(draw(st.sampled_from([*WORDS, *cursors]) | st.text(max_size=8)))


#: Measure → which service has it. The route that exports them hands on their own parameters.
MEASURES = {
    **{measure.name: "relations" for measure in RELATIONS_MEASURES},
    **{measure.name: "analytics" for measure in ANALYTICS_MEASURES},
}
EXPORTED = "/v1/export/measures/{name}"


def parameters_of(market: Market, found: Found, measure: str) -> list[Document]:
    """What the document says that a route takes."""
    operation = market.documents[found.service]["paths"].get(found.path, {}).get(found.method.lower(), {})
    stated: list[Document] = list(operation.get("parameters", ()))
    if found.path == EXPORTED:
        own = market.documents[MEASURES[measure]]["paths"][f"/v1/measures/{measure}"]["get"]["parameters"]
        stated += [parameter for parameter in own if parameter["in"] == "query"]
    return stated


@pytest.mark.parametrize("found", every_route(), ids=str)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), tenant=tenants)
def test_no_answer_holds_what_is_another_tenants(
    market: Market, found: Found, data: st.DataObject, tenant: str
) -> None:
    operation = market.documents[found.service]["paths"].get(found.path, {}).get(found.method.lower(), {})
    cursors = market.cursors
    path, params, headers, sent = found.path, {}, {}, []
    measure = data.draw(st.sampled_from(sorted(MEASURES))) if found.path == EXPORTED else ""
    for parameter in parameters_of(market, found, measure):
        name, schema = parameter["name"], parameter["schema"]
        if parameter["in"] == "path":
            value = measure or data.draw(st.sampled_from(IDS))
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
            sent.append(value)
        elif parameter["in"] == "query" and (parameter.get("required") or data.draw(st.booleans())):
            params[name] = values(data.draw, schema, cursors)
            sent.append(params[name])
    if data.draw(st.integers(0, 4)) == 0:
        headers["Kith-Tenant"] = data.draw(tenants)
    body: dict[str, Any] = {}
    if "requestBody" in operation:
        if found.service == "ingest":
            one = data.draw(st.sampled_from(list(events_of(tenant))))
            body["json"] = [json.loads(one.model_dump_json(exclude_none=True)) | {"tenant": data.draw(tenants)}]
        elif found.service == "analytics":
            ids = [letter_of(*one)["_id"] for one in REPLAYED]
            body["json"] = {"ids": data.draw(st.lists(st.sampled_from(ids), min_size=1))}
        else:
            body["json"] = data.draw(st.sampled_from([{"personal": {"name": "Ann"}}, {"traits": {}}, {}, []]))
    market.publisher.messages.clear()
    mark = MARKERS[OTHER[tenant]]
    # An earlier example may have erased, for this tenant, a consumer of a name that has the other's marker.
    own = {"tenant": tenant, "consumer_id": {"$regex": mark}}
    market.database["erasure_requests"].delete_many(own)
    bound = data.draw(st.booleans())
    answer = market.ask(found.service, found.method, path, tenant, params, headers, bound=bound, **body)
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    # Who names another's marker may get it back (in an error that quotes a parameter), but no more than that.
    assume(not any(mark in value for value in sent))
    assert mark not in answer.text
    assert mark not in str(answer.headers)
    if headers.get("Kith-Tenant", tenant) != tenant and found.path not in PUBLIC:
        assert answer.status_code == 403
    for message in market.publisher.messages:
        assert json.loads(message.value).get("tenant", "default") == tenant


@given(data=st.data(), tenant=tenants)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_is_asked_by_the_other_tenants_names_is_not_there(
    market: Market, data: st.DataObject, tenant: str
) -> None:
    """The names that the property above leaves out: they find nothing."""
    mark = MARKERS[OTHER[tenant]]
    consumer, provider = f"c-{mark}", f"p-{mark}"
    path, params = data.draw(
        st.sampled_from(
            [
                (f"/v1/consumers/{consumer}", {}),
                (f"/v1/providers/{provider}", {}),
                (f"/v1/relationships/{consumer}/{provider}", {}),
                ("/v1/relations", {"consumer_id": consumer}),
                ("/v1/relations", {"provider_id": provider}),
                ("/v1/relations", {"consumer_id": "c1", "kind": mark}),
                ("/v1/relationships", {"consumer_id": consumer}),
                ("/v1/relationships", {"provider_id": provider}),
            ]
        )
    )
    answer = market.ask("relations", "GET", path, tenant, params)
    assert answer.status_code == 404 or answer.json()["items"] == []
    by, key = data.draw(st.sampled_from([("consumer", consumer), ("provider", provider), ("kind", mark)]))
    assert market.ask("analytics", "GET", "/v1/aggregates", tenant, {"by": by, "key": key}).json()["items"] == []


@pytest.mark.parametrize("tenant", sorted(MARKERS))
@pytest.mark.parametrize(
    "path", ["/v1/consumers/c1", "/v1/relations?consumer_id=c1", "/v1/relationships?provider_id=p1"]
)
def test_a_bound_credential_sees_those_of_its_tenant_who_have_granted_the_purpose(
    market: Market, tenant: str, path: str
) -> None:
    """Both tenants' consumers have, under the same name."""
    answer = market.ask("relations", "GET", path, tenant, bound=True)
    assert answer.status_code == 200, answer.text
    assert MARKERS[tenant] in answer.text
    assert MARKERS[OTHER[tenant]] not in answer.text


@pytest.mark.parametrize("tenant", sorted(MARKERS))
@pytest.mark.parametrize(
    ("service", "path", "params"),
    [
        ("relations", "/v1/consumers/c1", {}),
        ("relations", "/v1/providers/p1", {}),
        ("relations", "/v1/relations", {"consumer_id": "c1"}),
        ("relations", "/v1/relationships", {"provider_id": "p1"}),
        ("relations", "/v1/relationships/c1/p1", {}),
        ("relations", "/v1/measures/geography", {}),
        ("relations", "/v1/measures/rfm-consumers", {"currency": "EUR"}),
        ("analytics", "/v1/aggregates", {"by": "consumer"}),
        ("analytics", "/v1/top", {"by": "provider"}),
        ("exports", "/v1/export/relations", {}),
        ("exports", "/v1/export/consumers", {"personal": "true", "format": "jsonl"}),
        ("exports", "/odata/v1/Providers", {}),
        ("exports", "/v1/export/measures/rfm-consumers", {"currency": "EUR", "format": "jsonl"}),
        ("exports", "/v1/export/measures/top-providers", {}),
        ("analytics", "/v1/live", {}),
        ("analytics", "/v1/dead-letters", {}),
        ("privacy", "/v1/consumers/c1/export", {}),
        ("apps", "/v1/apps", {}),
    ],
)
def test_each_tenant_sees_its_own(
    market: Market, tenant: str, service: str, path: str, params: dict[str, str]
) -> None:
    """Else the property above could hold because nothing is ever shown."""
    answer = market.ask(service, "GET", path, tenant, params)
    assert answer.status_code == 200, answer.text
    assert MARKERS[tenant] in answer.text


def test_the_audits_of_tenants_are_apart(market: Market) -> None:
    for tenant in MARKERS:
        market.ask("relations", "GET", "/v1/consumers/c2", tenant)
        assert {entry["tenant"] for entry in market.audit.entries(tenant)} == {tenant}
        assert MARKERS[tenant] not in json.dumps(list(market.audit.entries(tenant))[-1])


#: Every list that hands out a token: the service, the path, what is asked, and the parameter that takes it back.
LISTS: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("relations", "/v1/relations", {"consumer_id": "c1"}, "cursor"),
    ("relations", "/v1/relationships", {"provider_id": "p1"}, "cursor"),
    ("analytics", "/v1/aggregates", {"by": "consumer"}, "cursor"),
    ("privacy", "/v1/audit", {}, "cursor"),
    ("privacy", "/v1/erasures", {}, "cursor"),
    ("webhooks", "/v1/webhooks/endpoints/{endpoint}/deliveries", {}, "cursor"),
    ("relations", "/v1/relationships/{consumer_id}/{provider_id}/cells", {}, "cursor"),
    ("apps", "/v1/apps/{client_id}/receipts", {}, "cursor"),
    ("exports", "/odata/v1/Relations", {"$orderby": "time"}, "$skiptoken"),
    ("exports", "/odata/v1/Aggregates", {"$filter": "by eq 'consumer'"}, "$skiptoken"),
)
#: Another parameter of each, with which it is another list.
OTHERWISE: tuple[dict[str, str] | None, ...] = (
    {"kind": "review"},
    {"purpose": "mail"},
    {"bucket": "hour"},
    {"action": "keys"},
    None,
    {"outcome": "failed"},
    None,
    {"state": "failed"},
    {"$filter": "rating eq 4"},
)
PAGE_OF_ONE = {"Prefer": "odata.maxpagesize=1"}


def page_of(market: Market, tenant: str, number: int, more: Mapping[str, str]) -> httpx.Response:
    """A page of one of the lists."""
    service, path, asked, _ = LISTS[number]
    names = {"endpoint": market.endpoints[tenant].partition(":")[2], "consumer_id": "c1", "provider_id": "p1"}
    names["client_id"] = market.registered[tenant]
    path = path.format(**names)
    return market.ask(service, "GET", path, tenant, {**asked, **more}, PAGE_OF_ONE)


def token_of(market: Market, tenant: str, number: int) -> str:
    """Where the second page of a list begins."""
    parameter = LISTS[number][3]
    answer = page_of(market, tenant, number, {} if parameter == "$skiptoken" else {"limit": "1"})
    assert answer.status_code == 200, answer.text
    if parameter == "$skiptoken":
        link = answer.json()["@odata.nextLink"]
        return str(parse_qs(link.partition("?")[2])["$skiptoken"][0])
    return str(answer.json()["next"])


@pytest.fixture(scope="module")
def tokens(market: Market) -> dict[tuple[str, int], str]:
    return {
        (tenant, number): token_of(market, tenant, number) for tenant in MARKERS for number in range(len(LISTS))
    }


def test_every_list_with_a_cursor_is_among_them(market: Market) -> None:
    stated = {
        (service, path)
        for service, document in market.documents.items()
        for path, operations in document["paths"].items()
        for parameter in operations.get("get", {}).get("parameters", ())
        if "cursor" in parameter["name"] or "token" in parameter["name"]
    }
    # For the application's own credential, which is not a tenant's key: tests/unit/apps.
    stated.remove(("apps", "/register/{client_id}/receipts"))
    assert stated == {(service, path) for service, path, _, parameter in LISTS if parameter == "cursor"}


def damaged(draw: Any, token: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    match draw(st.sampled_from(["bit", "end", "text", "unsigned", "longer"])):
        case "bit":
            bit = draw(st.integers(0, 8 * len(raw) - 1))
            raw[bit // 8] ^= 1 << bit % 8
        case "end":
            return token[: draw(st.integers(0, len(token) - 1))]
        case "text":
            return str(draw(st.text(st.characters(codec="utf-8"), max_size=40)))
        case "unsigned":
            # What a version before wrote: the place alone.
            return base64.urlsafe_b64encode(raw[17:]).rstrip(b"=").decode()
        case _:
            raw += b" "
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), tenant=tenants, number=st.integers(0, len(LISTS) - 1))
def test_no_list_takes_a_token_that_it_has_not_made(
    market: Market, tokens: dict[tuple[str, int], str], data: st.DataObject, tenant: str, number: int
) -> None:
    parameter, own = LISTS[number][3], tokens[tenant, number]
    assert page_of(market, tenant, number, {parameter: own}).status_code == 200
    foreign = st.sampled_from(sorted(set(tokens.values()) - {own}))
    wrong = data.draw(st.builds(str, foreign)) if data.draw(st.booleans()) else damaged(data.draw, own)
    answer = page_of(market, tenant, number, {parameter: wrong})
    assert answer.status_code == 400, (wrong, answer.text)
    assert parameter in answer.text


@pytest.mark.parametrize("number", [at for at, more in enumerate(OTHERWISE) if more], ids=lambda at: LISTS[at][1])
def test_a_token_belongs_to_its_filter(market: Market, tokens: dict[tuple[str, int], str], number: int) -> None:
    parameter = LISTS[number][3]
    for name, value in (OTHERWISE[number] or {}).items():
        answer = page_of(market, "acme", number, {name: value, parameter: tokens["acme", number]})
        assert (answer.status_code, parameter in answer.text) == (400, True), answer.text
