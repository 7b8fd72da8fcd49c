"""What /metrics says, against what has been done; and that alerts and dashboards name only what is there."""

import asyncio
import json
import re
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.ingest.api import create_app
from services.ingest.metrics import DoorMetrics
from services.relations.cache import QueryCache
from services.relations.metrics import cache_metrics
from shared.contracts.errors import Unavailable
from shared.contracts.services import CONNECTORS
from shared.contracts.topics import INPUTS
from shared.http.metrics import add_metrics
from shared.observability.gauges import WorkerGauges
from shared.observability.metered import PublisherMeter, StoreMeter
from shared.observability.metrics import BulkHistogram, RunnerMetrics, new_registry
from shared.observability.service_metrics import add_service_metrics
from shared.runtime.protocols import Message
from shared.runtime.runner import Runner
from shared.runtime.worker import Worker
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader
from tests.support.builders import ARRIVAL_MS, OPEN, TOPICS, MemoryKith, message, recorded
from tests.support.paths import ROOT
from tests.support.runner import PLACE, RELATIONS, WatchedStore, kith_with, runner_of, steps, views
from tests.unit.ingest.test_door import NOW
from tools.reference.metrics import registered

WHERE = {"projection": "relations", "topic": RELATIONS}


def observed(kith: MemoryKith, registry: CollectorRegistry, **replaced: Any) -> Runner:
    """A runner on this world whose metrics are in ``registry``; the wall clock is 0.2 s after every arrival."""
    reader = MemoryReader(kith.log)
    metrics = RunnerMetrics(registry, "relations", wall_clock=lambda: ARRIVAL_MS / 1000 + 0.2)
    kith.reader, kith.runner = reader, runner_of(kith, reader, observer=metrics, **replaced)
    reader.assign(kith.inputs)
    return kith.runner


def test_a_runner_counts_what_it_has_stored() -> None:
    kith, registry = kith_with(WatchedStore()), CollectorRegistry()
    observed(kith, registry)
    kith.publish(views(7))
    kith.log.append(Message(RELATIONS, b"k", b"not json"))
    kith.publish([views(1)[0]])
    kith.drain()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("kith_records_read_total", **WHERE) == 9
    assert value("kith_events_stored_total", **WHERE) == 9
    assert value("kith_dead_letters_total", **WHERE, reason="not_json") == 1
    assert value("kith_slice_events_count", projection="relations") == 3
    assert value("kith_slice_events_sum", projection="relations") == 9
    assert value("kith_fold_seconds_count", projection="relations") == 3
    assert value("kith_messages_emitted_total", projection="relations") == 8, "seven changes and a dead letter"
    stored = {"projection": "relations", "collection": "relations", "operation": "insert"}
    assert value("kith_document_writes_total", **stored) == 7
    moved = {"projection": "relations", "collection": "relationships", "operation": "replace"}
    assert value("kith_document_writes_total", **moved) == 2
    assert value("kith_event_latency_seconds_count", projection="relations") == 9
    assert value("kith_event_latency_seconds_sum", projection="relations") == pytest.approx(9 * 0.2)
    assert value("kith_event_latency_seconds_bucket", projection="relations", le="0.1") == 0
    assert value("kith_event_latency_seconds_bucket", projection="relations", le="0.25") == 9


def test_what_is_tried_again_counts_once_and_each_failure_by_its_step() -> None:
    def away(attempt: int) -> None:
        if attempt in (1, 2):
            raise Unavailable("for now")

    kith, registry = kith_with(WatchedStore(away)), CollectorRegistry()
    observed(kith, registry)
    kith.publish([*views(2), recorded("e9", "2026-03-01T00:00:00Z", "r9", consumer_id="c2")])
    kith.log.append(Message(RELATIONS, b"k", b"not json"))
    kith.drain()
    assert registry.get_sample_value("kith_events_stored_total", WHERE) == 4
    assert registry.get_sample_value("kith_dead_letters_total", {**WHERE, "reason": "not_json"}) == 1
    interrupted = {"projection": "relations", "step": "commit", "reason": "unavailable"}
    assert registry.get_sample_value("kith_interruptions_total", interrupted) == 2
    kith.publish(views(1, "c3"))
    kith.publisher.available = False
    steps(kith, 3)
    publishing = {**interrupted, "step": "publish"}
    assert (registry.get_sample_value("kith_interruptions_total", publishing) or 0) >= 1
    kith.publisher.available = True
    kith.drain()
    assert registry.get_sample_value("kith_events_stored_total", WHERE) == 5


def test_a_claim_that_someone_else_has_is_counted_as_fenced() -> None:
    kith, registry = kith_with(WatchedStore()), CollectorRegistry()
    observed(kith, registry)
    steps(kith, 1)
    kith.store.claim(f"relations@1/{PLACE}", "someone else")
    kith.publish(views(1))
    kith.drain()
    fenced = {"projection": "relations", "step": "commit", "reason": "fenced"}
    assert registry.get_sample_value("kith_interruptions_total", fenced) == 1
    assert registry.get_sample_value("kith_events_stored_total", WHERE) == 1


def test_gauges_show_where_a_worker_is() -> None:
    kith, registry = kith_with(WatchedStore()), CollectorRegistry()
    worker = Worker(lambda: kith.runner)
    registry.register(WorkerGauges(worker, "relations"))
    assert registry.get_sample_value("kith_worker_ready", {"projection": "relations"}) == 0
    worker._runner = observed(kith, registry)
    place = {**WHERE, "partition": "0"}
    kith.publish(views(5))
    kith.drain()
    kith.runner._looked_at = 0.0
    kith.runner.step(0)
    assert registry.get_sample_value("kith_worker_ready", {"projection": "relations"}) == 1
    assert registry.get_sample_value("kith_partitions_owned", {"projection": "relations"}) == len(INPUTS)
    assert registry.get_sample_value("kith_partition_position", place) == 5
    assert registry.get_sample_value("kith_partition_lag", place) == 0
    assert registry.get_sample_value("kith_partition_waiting_seconds", place) == 0
    kith.publish(views(2, "c2"))
    kith.store.available = False
    kith.runner._looked_at = 0.0
    kith.runner.step(0)
    assert registry.get_sample_value("kith_partition_lag", place) == 2
    assert registry.get_sample_value("kith_partition_backlog", place) == 2
    assert (registry.get_sample_value("kith_partition_waiting_seconds", place) or 0) > 0


def test_a_store_and_a_publisher_are_measured() -> None:
    registry = CollectorRegistry()
    kith = kith_with(WatchedStore())
    publisher = PublisherMeter(registry).on(kith.publisher)
    observed(kith, registry, store=StoreMeter(registry, "relations").on(kith.store), publisher=publisher)
    kith.publish(views(3))
    kith.drain()
    for operation in ("claim", "parcels", "read", "commit"):
        labels = {"projection": "relations", "operation": operation}
        assert (registry.get_sample_value("kith_store_seconds_count", labels) or 0) >= 1, operation
    assert registry.get_sample_value("kith_messages_published_total") == 3
    assert registry.get_sample_value("kith_publish_failures_total") == 0
    kith.publisher.available = False
    with pytest.raises(Unavailable):
        publisher.send([message(views(1)[0])]).result()
    assert registry.get_sample_value("kith_publish_failures_total") == 1
    assert registry.get_sample_value("kith_messages_published_total") == 3


def test_a_publication_that_is_given_up_is_a_failure() -> None:
    class Holding:
        future: Future[None] = Future()

        def send(self, _: object) -> Future[None]:
            return self.future

        def close(self) -> None: ...

    registry, holding = CollectorRegistry(), Holding()
    PublisherMeter(registry).on(holding).send([])
    assert registry.get_sample_value("kith_publish_failures_total") == 0
    holding.future.cancel()
    assert registry.get_sample_value("kith_publish_failures_total") == 1


def test_a_bulk_histogram_is_what_one_by_one_gives() -> None:
    registry = CollectorRegistry()
    bulk = BulkHistogram("kith_x_seconds", "x", {"a": "b"}, (0.1, 1.0))
    registry.register(bulk)
    bulk.observe([0.1, 0.1001, 5.0, -3.0])
    bulk.observe([1.0])
    buckets = {
        bound: registry.get_sample_value("kith_x_seconds_bucket", {"a": "b", "le": bound})
        for bound in ("0.1", "1.0", "+Inf")
    }
    assert buckets == {"0.1": 2, "1.0": 4, "+Inf": 5}
    assert registry.get_sample_value("kith_x_seconds_sum", {"a": "b"}) == pytest.approx(6.2001)


def test_the_cache_is_counted() -> None:
    registry, cache = CollectorRegistry(), QueryCache("lru", 10)
    registry.register(cache_metrics(cache))
    for _ in range(3):
        cache.get("key", ["subject"], lambda: 1)
    assert registry.get_sample_value("kith_cache_hits_total") == 2
    assert registry.get_sample_value("kith_cache_misses_total") == 1


def door(registry: CollectorRegistry) -> FastAPI:
    publisher = MemoryPublisher(MemoryLog({TOPICS.name(short): 1 for short in INPUTS}))
    answered = DoorMetrics(registry).answered
    app = create_app(publisher, TOPICS, Settings(), lambda: NOW, list, answered, access=OPEN)
    add_metrics(app, registry)
    return app


def requested(app: FastAPI, *requests: tuple[str, str, bytes]) -> httpx.Response:
    """The answer to the last of these requests: method, path, body."""

    async def all_of_them() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            for method, path, body in requests:
                headers = {"Content-Type": "application/json"}
                answer = await client.request(method, path, content=body, headers=headers)
        return answer

    return asyncio.run(all_of_them())


def test_the_door_counts_verdicts_and_requests() -> None:
    registry = CollectorRegistry()
    body = b'[{"id": "e1"}, 7, {"type": "provider.closed", "id": "x", "time": "2026-05-01T08:00:00Z",'
    body += b' "data": {"provider_id": "p"}}]'
    answer = requested(door(registry), ("POST", "/v1/events", body), ("GET", "/metrics", b""))
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    (accepted,) = families["kith_door_events_accepted"].samples
    assert accepted.value == 1
    rejected = sum(
        sample.value for sample in families["kith_door_events_rejected"].samples if sample.name.endswith("_total")
    )
    assert rejected == 2
    assert registry.get_sample_value("kith_http_received_bytes_total") == len(body)
    (count,) = (s for s in families["kith_http_request_seconds"].samples if s.name.endswith("_count"))
    assert (count.value, count.labels) == (1, {"method": "POST", "route": "/v1/events", "status": "202"})
    assert registry.get_sample_value("kith_http_requests_in_flight") == 0


def test_what_senders_write_makes_no_new_labels() -> None:
    registry = CollectorRegistry()
    app = door(registry)

    @app.get("/things/{thing}")
    async def thing(thing: str) -> str:
        if thing == "bad":
            raise RuntimeError(thing)
        return thing

    requested(
        app,
        *(("GET", f"/nowhere/{n}", b"") for n in range(5)),
        *(("GET", f"/things/{n}", b"") for n in range(5)),
        ("GET", "/things/bad", b""),
        *((f"METHOD{n}", "/v1/events", b"") for n in range(5)),
        ("GET", "/health/live", b""),
    )
    found = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "kith_http_request_seconds_count"
    }
    assert found == {
        ("GET", "none", "404"): 5,
        ("GET", "/things/{thing}", "200"): 5,
        ("GET", "/things/{thing}", "500"): 1,
        ("none", "/v1/events", "405"): 5,
    }


ALERTS = sorted(ROOT.glob("services/*/alerts.yml"))
DASHBOARD = ROOT / "services/relations/dashboard.json"


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The names of all samples that the services can expose."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}
    return {family.name + suffix for family in registered().collect() for suffix in suffixes[family.type]}


def named(text: str) -> set[str]:
    return set(re.findall(r"\b(?:kith|process)_[a-z_]+", text))


def rules(file: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("file", [*ALERTS, DASHBOARD], ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_metric_that_is_watched_exists(file: Path, exposed: set[str]) -> None:
    found = named(file.read_text())
    assert found
    assert found <= exposed


def test_every_metric_is_named_by_convention(exposed: set[str]) -> None:
    assert {name for name in exposed if not name.startswith(("kith_", "process_"))} == set()
    for family in (name for name in exposed if name.endswith("_bucket")):
        assert family.endswith(("_seconds_bucket", "_events_bucket"))


def test_every_alert_is_explained_and_in_the_runbook() -> None:
    alerts = [rule for file in ALERTS for rule in rules(file)]
    assert len(alerts) > 5
    runbook = (ROOT / "docs/how-to/operate.md").read_text().partition("## Runbook")[2]
    for alert in alerts:
        assert alert["expr"]
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description"} <= set(alert["annotations"])
    named_there = re.findall(r"`(Kith\w+)`", " ".join(re.findall(r"^\|([^|]*)\|", runbook, re.MULTILINE)))
    assert sorted(named_there) == sorted(alert["alert"] for alert in alerts)


@pytest.mark.parametrize("name", CONNECTORS)
def test_where_nobody_runs_a_connector_no_rule_of_it_fires(name: str) -> None:
    """A comparison of series that are not there gives none; only these functions make something of nothing. Of the
    bridge to RabbitMQ no rule that says whether it is there may need the changes that go out."""
    found = {rule["alert"]: rule["expr"] for rule in rules(ROOT / f"services/{name}/alerts.yml")}
    for alert, expr in found.items():
        assert not re.search(r"\b(absent|absent_over_time|vector|scalar|time)\(", expr), alert
        if alert.endswith(("Gone", "NotReady")):
            metric = 'kith_service_ready{service="rabbitmq"}' if name == "rabbitmq" else "kith_worker_ready"
            assert metric in expr, alert


def test_every_panel_of_the_dashboard_asks_something() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) > 8
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert all(named(target["expr"]) for target in panel["targets"])


def test_a_service_is_ready_as_its_health_says_and_is_asked_now_and_then() -> None:
    registry, reasons, asked, now = new_registry(), [""], [], 0.0

    def ready() -> list[str]:
        asked.append(now)
        if reasons == ["broken"]:
            raise RuntimeError
        return [reason for reason in reasons if reason]

    add_service_metrics(registry, "privacy", ready, lambda: now)

    def value() -> float | None:
        return registry.get_sample_value("kith_service_ready", {"service": "privacy"})

    assert value() == 1.0
    reasons[:] = ["MongoDB is away"]
    assert value() == 1.0
    assert len(asked) == 1
    now = 6.0
    assert value() == 0.0
    reasons[:] = ["broken"]
    now = 12.0
    assert value() == 0.0
    assert "kith_service_info" in generate_latest(registry).decode()
