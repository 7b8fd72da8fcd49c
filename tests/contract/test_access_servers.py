"""The servers of deploy/compose.production.yml: TLS, SASL/SCRAM with ACLs on Kafka, users with roles on MongoDB.
Each service gets the least that it needs, as that file tells it, works with that, and can do no more."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAuthorizationFailedError
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from typer.testing import CliRunner

from services.backup.files import read_manifest
from services.backup.log import check_positions, record_ends
from services.cli.__main__ import app
from services.cli.privileges import BACKUP, OPERATOR
from shared.access.audit_mongo import MongoAuditLog
from shared.access.verify import verify
from shared.contracts.errors import InvalidEvent
from shared.contracts.services import CORE
from shared.erasure.ledger import read_ledger
from shared.kafka.clients import open_publisher
from shared.runtime.dead_letters import document
from shared.runtime.protocols import Document, Partition, Record
from shared.settings import Settings
from shared.vault import rotation
from tests.support.documents import SITE, of
from tests.support.end_to_end import fields, message
from tests.support.plain_http import request
from tests.support.secured import ADMIN, TOPICS, Clients, Login, Secured, login_of, running, wait_for
from tests.support.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with running(tmp_path_factory.mktemp("secured")) as found:
        yield found


@pytest.fixture(scope="module")
def clients(secured: Secured) -> Iterator[Clients]:
    with ExitStack() as stop:
        found = Clients(secured, stop)
        for service in CORE:
            ready = partial(found.status, service, "/health/ready")
            wait_for(service, lambda ready=ready: ready() == 200, partial(secured.log, service))  # type: ignore[misc]
        yield found


@pytest.fixture
def _nothing_forbidden(secured: Secured) -> Iterator[None]:
    """What a service tries and may not is in its log, also where it goes on without."""
    before = {service: len(secured.log(service)) for service in CORE}
    yield
    for service in CORE:
        new = secured.log(service)[before[service] :]
        for sign in ("not authorized", "AuthorizationFailed", "Traceback"):
            assert sign not in new, f"{service}: {new[-3000:]}"


works = pytest.mark.usefixtures("_nothing_forbidden")


# No token can hold a space.
NAME, CITY, TEXT = "Ann Berg", "Lyon sur Mer", "quite fine"


def upserted(consumer: str, **data: Any) -> dict[str, Any]:
    said = {"consumer_id": consumer, "personal": {"name": NAME}, "location": {"city": CITY}, **data}
    return fields("consumer.upserted", f"crm-{consumer}", "2026-03-01T00:00:00Z", said)


def viewed(consumer: str) -> dict[str, Any]:
    said = {"relation_id": "r1", "kind": "review", "consumer_id": consumer, "provider_id": "p1", "text": TEXT}
    return fields("relation.recorded", f"app-{consumer}", "2026-03-01T00:00:00Z", said)


def has(**wanted: Any) -> Callable[[httpx.Response], bool]:
    def shown(answer: httpx.Response) -> bool:
        return answer.status_code == 200 and wanted.items() <= answer.json().items()

    return shown


@works
def test_the_services_work_with_the_least(secured: Secured, clients: Clients) -> None:
    clients.send(viewed("c1"), upserted("c1"))
    clients.wait("relations", "/v1/relationships/c1/p1", lambda answer: answer.status_code == 200)
    clients.wait("relations", "/v1/consumers/c1", has(personal={"name": NAME}, location={"city": CITY}))
    clients.wait("analytics", "/v1/aggregates", lambda a: bool(a.json().get("items")))
    with ExitStack() as stop:
        database = secured.database_of(ADMIN, stop)
        assert str(database.consumers.find_one({"_id": "default:c1"})["personal"]["name"]).startswith("kith1.")
        found = verify(MongoAuditLog(database), {}, None)
    assert found.entries["default"] >= 1
    assert found.flaws == []
    wait_for("the topic", lambda: end(secured, TOPICS.name("audit")) >= 1, lambda: secured.log("relations"))


@works
def test_relations_seals_what_comes_past_the_door(secured: Secured, clients: Clients) -> None:
    past = upserted("past")
    broken = message(upserted("broken"), TOPICS)
    publisher = open_publisher(secured.settings)
    publisher.send(
        [broken._replace(value=broken.value.replace(b'"Ann Berg"', b"5")), message(past, TOPICS)]
    ).result(PATIENCE_SECONDS)
    publisher.close()
    clients.wait("relations", "/v1/consumers/past", has(personal={"name": NAME}))
    with ExitStack() as stop:
        database = secured.database_of(ADMIN, stop)
        assert NAME not in str(database.consumers.find_one({"_id": "default:past"}))
        found = database.findings.find_one({"_id": "plaintext/kith.consumers"})
        assert found["count"] >= 1


@works
def test_exports_open_what_may_be_seen(clients: Clients) -> None:
    clients.send(viewed("c2"), upserted("c2"))
    clients.wait("relations", "/v1/consumers/c2", lambda answer: answer.status_code == 200)
    clients.wait("relations", "/v1/relationships/c2/p1", lambda answer: answer.status_code == 200)
    for dataset, plain in (("consumers", CITY), ("relations", TEXT)):
        path = f"/v1/export/{dataset}"
        shown = clients.ask("exports", "GET", path, params={"consumer_id": "c2", "personal": "true"})
        assert (shown.status_code, plain in shown.text) == (200, True), shown.text
        hidden = clients.ask("exports", "GET", path, params={"consumer_id": "c2"}, masked=True)
        assert (hidden.status_code, plain in hidden.text) == (200, False), hidden.text
        refused = clients.ask("exports", "GET", path, params={"personal": "true"}, masked=True)
        assert refused.status_code == 403
    assert clients.get("exports", "/odata/v1/Consumers")["value"]
    assert clients.ask("exports", "GET", "/v1/export/aggregates").status_code == 200
    assert clients.ask("exports", "GET", "/v1/export/measures/activity").status_code == 200


@works
def test_intelligence_follows_and_stores(clients: Clients) -> None:
    clients.send(viewed("c7"), viewed("c8"))
    path = "/v1/neighbours/provider/p1"
    clients.wait("intelligence", path, lambda a: {"c7", "c8"} <= {n["id"] for n in a.json().get("nodes", ())})


@works
def test_webhooks_enqueue_and_send(clients: Clients) -> None:
    stated = {"url": "https://receiver.invalid/", "types": ["relation.changed"]}
    made = clients.ask("webhooks", "POST", "/v1/webhooks/endpoints", json=stated)
    assert made.status_code == 201, made.text
    path = f"/v1/webhooks/endpoints/{made.json()['endpoint']}"
    clients.send(viewed("c9"))
    # There is no such name: what was enqueued, rendered, signed and tried is in the log.
    clients.wait("webhooks", f"{path}/deliveries", lambda a: "consumer:c9" in a.text)
    assert clients.ask("webhooks", "POST", f"{path}/replay", json={"since": "beginning"}).status_code == 202
    assert clients.ask("webhooks", "POST", f"{path}/secret", json={}).json()["secrets"] == 2
    assert clients.ask("webhooks", "DELETE", path).status_code == 204


@works
def test_an_application_works_as_the_guide_shows(clients: Clients) -> None:
    """With the code of docs/how-to/apps.md, from the registration to what a suspended application is answered."""
    (source,) = of(SITE / "how-to/apps.md", "python")
    guide: dict[str, Any] = {}
    exec(compile(source, "apps.md", "exec"), guide)
    stated = {"client_name": "Bonus", "scope": "relations:read webhooks:manage"}
    made = clients.ask("apps", "POST", "/register", json=stated).json()
    path = f"/v1/apps/{made['client_id']}"
    assert clients.ask("apps", "POST", f"{path}/approve", json={"scopes": ["relations:read"]}).status_code == 200
    apps, relations = clients.address("apps"), clients.address("relations")
    token = guide["token"](apps, made["client_id"], made["client_secret"])
    assert guide["get"](f"{apps}/.well-known/jwks.json", token)["keys"]
    status = partial(_status_of, f"{relations}/v1/relations?consumer_id=c1", token)
    # Not 401: every service accepts it. What it shows to a credential with a purpose is tested where that is made.
    assert status() in (200, 403)
    assert clients.get("apps", f"{path}/figures")["consented"] == 0
    assert clients.ask("apps", "POST", "/oauth/revoke", data={"token": "x"}).status_code in (400, 401)
    # It is told of a consumer who has agreed to it, by way of four services.
    clients.send(upserted("c11", consent={made["client_id"]: True}))
    clients.wait("relations", "/v1/consumers/c11", lambda answer: answer.status_code == 200)
    clients.get("privacy", "/v1/consumers/c11/export")
    erased = clients.ask("privacy", "DELETE", "/v1/consumers/c11", params={"mode": "delete"})
    clients.wait("apps", f"{path}/receipts", lambda a: topics_of(a) == {"consumer.exported", "consumer.erased"})
    clients.wait("privacy", erased.headers["Location"], has(done=True))
    [told] = clients.get("privacy", erased.headers["Location"])["applications"]
    assert (told["app"], told["state"]) == (made["client_id"], "waiting")
    assert clients.ask("apps", "DELETE", path).status_code == 204
    wait_for("the end of the token", lambda: status() == 401, lambda: "")
    # It had no endpoint: that it could not be told stays visible.
    clients.wait(
        "apps", f"{path}/receipts?state=failed", lambda a: len(topics_of(a)) == 3 and "no webhook" in a.text
    )


def topics_of(answer: httpx.Response) -> set[str]:
    return {each["topic"] for each in answer.json().get("items", ())}


def _status_of(url: str, token: str) -> int:
    shown = {"Authorization": f"Bearer {token}"}
    return request("GET", url, headers=shown).status_code


@works
def test_privacy_corrects_exports_and_erases(secured: Secured, clients: Clients) -> None:
    clients.send(viewed("c3"), upserted("c3"))
    clients.wait("relations", "/v1/relationships/c3/p1", lambda answer: answer.status_code == 200)
    clients.wait("relations", "/v1/consumers/c3", has(personal={"name": NAME}))
    asked = clients.ask("privacy", "PATCH", "/v1/consumers/c3", json={"personal": {"name": "Anna Berg"}})
    assert asked.status_code == 202, asked.text
    clients.wait("relations", "/v1/consumers/c3", has(personal={"name": "Anna Berg"}))
    whole = clients.get("privacy", "/v1/consumers/c3/export")
    assert whole["consumer"]["personal"] == {"name": "Anna Berg"}
    assert [one["text"] for one in whole["relations"]] == [TEXT]
    assert "Anna Berg" not in json.dumps(clients.get("privacy", "/v1/consumers/c3/export", masked=True))
    erased = clients.ask("privacy", "DELETE", "/v1/consumers/c3", params={"mode": "delete"})
    assert erased.status_code == 202, erased.text
    clients.wait("privacy", erased.headers["Location"], has(done=True))
    assert clients.get("privacy", erased.headers["Location"])["receipt"]
    with ExitStack() as stop:
        key = secured.database_of(ADMIN, stop).data_keys.find_one({"_id": "default:c3"})
    assert set(key) - {"at"} == {"_id", "destroyed"}
    assert clients.get("relations", "/v1/consumers/c3") == {"consumer_id": "c3", "erased": "delete"}
    again = clients.ask("ingest", "POST", "/v1/events", json=[upserted("c3")])
    assert [one["reason"] for one in again.json()["rejected"]] == ["suppressed"]


@works
def test_the_dashboard_shows_an_operator_how_things_are(clients: Clients) -> None:
    found = clients.get("analytics", "/v1/operations")
    assert found["documents"]["consumers"] >= 1
    assert {partition["topic"] for partition in found["partitions"]} >= {"kith.consumers", "kith.relations"}
    assert clients.ask("analytics", "GET", "/v1/dead-letters").status_code == 200


def test_analytics_says_that_it_may_not_replay(secured: Secured, clients: Clients) -> None:
    good = message(viewed("c6"), TOPICS)
    topic = TOPICS.name("relations")
    record = Record(Partition(topic, 0), 10_000, 0, good.key, good.value, ())
    letter = document(record, InvalidEvent("invalid", "was so once"), "relations")
    with ExitStack() as stop:
        secured.database_of(ADMIN, stop).dead_letters.insert_one(letter)
    answer = clients.ask("analytics", "POST", "/v1/dead-letters/replay", json={"ids": [letter["_id"]]})
    assert (answer.status_code, "an operator" in answer.text) == (501, True), answer.text


@works
def test_the_commands_work_for_an_operator(
    secured: Secured, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in secured.environment(OPERATOR).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rotation, "SETTLE_SECONDS", 0.0)

    def kith(*arguments: str, status: int = 0) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == status, (arguments, result.output, result.exception)
        return json.loads(result.stdout.splitlines()[-1])

    clients.send(upserted("c4"))
    clients.wait("relations", "/v1/consumers/c4", has(personal={"name": NAME}))
    done = kith("keys", "rotate")
    assert done["data_keys"] >= 1
    clients.send(upserted("c5"))
    clients.wait("relations", "/v1/consumers/c5", has(personal={"name": NAME}))
    clients.wait("relations", "/v1/consumers/c4", has(personal={"name": NAME}))
    made = kith("keys", "api", "create", "--name", "till", "--scope", "events:write")
    kith("keys", "api", "revoke", kith("keys", "api", "rotate", made["prefix"])["prefix"])
    assert kith("status")["documents"]["consumers"] >= 2
    kith("rebuild", "analytics", "--once")
    assert kith("audit", "verify")["flaws"] == []


@works
def test_backups_have_a_user_of_their_own(
    secured: Secured, clients: Clients, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in secured.environment(BACKUP).items():
        monkeypatch.setenv(name, value)
    clients.send(upserted("c6"))
    clients.wait("relations", "/v1/consumers/c6", has(personal={"name": NAME}))
    folder = tmp_path / "backup"
    made = CliRunner().invoke(app, ["backup", str(folder)])
    assert made.exit_code == 0, (made.output, made.exception)
    # It sees the members of the groups, and would replace a running system otherwise.
    refused = CliRunner().invoke(app, ["restore", str(folder), "--replace"])
    assert "are still running" in str(refused.exception or refused.output)
    # What a restore does once they are stopped, in a collection that nobody uses.
    settings, manifest = Settings(), read_manifest(folder)
    check_positions([], manifest.topics, settings)
    assert read_ledger(settings) is not None
    assert record_ends(settings, {})
    with ExitStack() as stop:
        database = secured.database_of(login_of(BACKUP), stop)
        database.create_collection("scratch", validator={"a": {"$exists": True}})
        database.scratch.insert_many([{"b": 1}], bypass_document_validation=True)
        database.scratch.create_index("b")
        database.drop_collection("scratch")
        with pytest.raises(OperationFailure):
            database.client.admin.command("usersInfo")


def end(secured: Secured, topic: str) -> int:
    reader = KafkaConsumer(**secured.kafka.client(ADMIN))
    try:
        return int(sum(reader.end_offsets([TopicPartition(topic, 0)]).values()))
    finally:
        reader.close()


FORBIDDEN: list[tuple[str, Callable[[Any], object]]] = [
    (OPERATOR, lambda d: d.audit.update_many({}, {"$set": {"who": "nobody"}})),
    (OPERATOR, lambda d: d.audit.drop()),
    (OPERATOR, lambda d: d.api_keys.delete_many({})),
    (OPERATOR, lambda d: d.signing_keys.find_one()),
    (OPERATOR, lambda d: d.data_keys.drop()),
    (OPERATOR, lambda d: d.data_keys.delete_many({})),
    ("exports", lambda d: d.data_keys.insert_one({"_id": "mine"})),
    ("analytics", lambda d: d.data_keys.find_one()),
    ("privacy", lambda d: d.data_keys.delete_many({})),
    ("privacy", lambda d: d.wrapping_keys.update_many({}, {"$set": {"master": "mine"}})),
    ("relations", lambda d: d.wrapping_keys.update_many({}, {"$set": {"master": "mine"}})),
    ("ingest", lambda d: d.data_keys.delete_many({})),
    ("ingest", lambda d: d.data_keys.update_many({}, {"$set": {"wrapped": b""}})),
    ("exports", lambda d: d.wrapping_keys.delete_many({})),
    ("relations", lambda d: d.signing_keys.find_one()),
    ("ingest", lambda d: d.consumers.find_one()),
    ("ingest", lambda d: d.positions.find_one()),
    ("ingest", lambda d: d.api_keys.insert_one({"_id": "mine"})),
    ("ingest", lambda d: d.audit.delete_many({})),
    ("relations", lambda d: d.audit.update_many({}, {"$set": {"who": "nobody"}})),
    ("relations", lambda d: d.audit.delete_many({})),
    ("relations", lambda d: d.audit.drop()),
    ("relations", lambda d: d.api_keys.update_many({}, {"$set": {"revoked": None}})),
    ("relations", lambda d: d.aggregates.find_one()),
    ("analytics", lambda d: d.consumers.find_one()),
    ("analytics", lambda d: d.relationships.find_one()),
    ("analytics", lambda d: d.erasures.find_one()),
    ("analytics", lambda d: d.relations.delete_many({})),
    ("analytics", lambda d: d.audit.delete_many({})),
    ("privacy", lambda d: d.consumers.delete_many({})),
    ("privacy", lambda d: d.audit.delete_many({})),
    ("intelligence", lambda d: d.relationships.delete_many({})),
    ("intelligence", lambda d: d.positions.update_many({}, {"$set": {"emitted": 0}})),
    ("intelligence", lambda d: d.consumers.insert_one({"_id": "mine"})),
    ("intelligence", lambda d: d.audit.delete_many({})),
    ("webhooks", lambda d: d.consumers.update_many({}, {"$set": {"consent": {"all": True}}})),
    ("webhooks", lambda d: d.relationships.find_one()),
    ("webhooks", lambda d: d.audit.delete_many({})),
    ("exports", lambda d: d.relations.delete_many({})),
    ("relations", lambda d: d.app_private_keys.find_one()),
    ("ingest", lambda d: d.apps.update_many({}, {"$set": {"state": "approved"}})),
    ("webhooks", lambda d: d.app_keys.insert_one({"_id": "mine"})),
    (OPERATOR, lambda d: d.app_private_keys.find_one()),
    ("apps", lambda d: d.api_keys.insert_one({"_id": "mine"})),
    ("apps", lambda d: d.consumers.update_many({}, {"$set": {"consent": {"all": True}}})),
    ("exports", lambda d: d.audit.delete_many({})),
    ("apps", lambda d: d.app_receipts.delete_many({})),
    ("privacy", lambda d: d.app_receipts.insert_one({"_id": "mine"})),
    ("privacy", lambda d: d.app_consumers.delete_many({})),
    ("ingest", lambda d: d.app_notices.insert_one({"_id": "mine"})),
    ("exports", lambda d: d.app_consumers.find_one()),
    ("analytics", lambda d: d.client["another"].things.find_one()),
]


@pytest.mark.parametrize(("service", "act"), FORBIDDEN)
def test_no_service_can_do_more_in_mongodb(secured: Secured, service: str, act: Callable[[Any], object]) -> None:
    with ExitStack() as stop, pytest.raises(OperationFailure) as caught:
        act(secured.database_of(login_of(service), stop))
    assert caught.value.code == 13, "Unauthorized"


def test_without_a_password_there_is_nothing(secured: Secured) -> None:
    with MongoClient[Document](secured.mongo.uri_for(None)) as client, pytest.raises(OperationFailure):
        client["kith"].api_keys.find_one(max_time_ms=5_000)
    for login in (None, ("kith-ingest", "wrong")):
        with pytest.raises(KafkaError):
            KafkaAdminClient(**secured.kafka.client(login), bootstrap_timeout_ms=1_000).close()


@pytest.mark.parametrize(
    ("service", "topic"),
    [
        ("ingest", "relation-changes"),
        ("ingest", "dead-letters"),
        ("relations", "providers"),
        ("analytics", "relations"),
        ("analytics", "relation-changes"),
    ],
)
def test_no_service_can_write_where_it_has_no_business(secured: Secured, service: str, topic: str) -> None:
    publisher = KafkaProducer(**secured.kafka.client(login_of(service)), enable_idempotence=False)
    try:
        with pytest.raises(KafkaError, match=r"(?i)authoriz"):
            publisher.send(TOPICS.name(topic), b"x").get(timeout=PATIENCE_SECONDS)
    finally:
        publisher.close(timeout=1)


@pytest.mark.parametrize(
    ("service", "topic"), [("ingest", "consumers"), ("analytics", "consumers"), ("exports", "relations")]
)
def test_no_service_can_read_where_it_has_no_business(secured: Secured, service: str, topic: str) -> None:
    publisher = KafkaProducer(**secured.kafka.client(ADMIN))
    publisher.send(TOPICS.name(topic), b"not for everyone").get(timeout=PATIENCE_SECONDS)
    publisher.close()
    assert read(secured, ADMIN, topic, PATIENCE_SECONDS)
    assert not read(secured, login_of(service), topic, 2.0)


def read(secured: Secured, login: Login, topic: str, seconds: float) -> bool:
    """Whether a user gets anything of a topic."""
    reader = KafkaConsumer(**secured.kafka.client(login), auto_offset_reset="earliest")
    try:
        reader.assign([TopicPartition(TOPICS.name(topic), 0)])
        return bool(reader.poll(timeout_ms=int(1000 * seconds)))
    except TopicAuthorizationFailedError:
        return False
    finally:
        reader.close()
