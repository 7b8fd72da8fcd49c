"""What the end-to-end tests share: events by hand, waiting for an end, and looking at what is stored."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from kafka import KafkaConsumer, TopicPartition
from pymongo.database import Database
from typer.testing import CliRunner

from services.cli import up
from services.cli.__main__ import main
from services.cli.up import Stack
from services.demo.changelog import ChangeLog
from services.demo.comparison import Weights, compare
from services.demo.lag import LagReader
from services.demo.oracle import Oracle
from shared.contracts.codec import decode_fields, encode
from shared.contracts.events import event_key
from shared.contracts.topics import Topics
from shared.erasure.derived import GRAPH_NODES
from shared.kafka.python_client.reader import connection, partitions_of
from shared.observability.heartbeat import WORKERS
from shared.runtime.protocols import Document, Message, Partition
from shared.settings import Settings
from shared.vault.open import vault_in
from tests.support.logs import read_topics
from tests.support.nursery import Worker
from tests.support.plain_http import request
from tests.support.status import read_status
from tests.support.waiting import PATIENCE_SECONDS, Deadline, wait_for

ROOT = Path(__file__).parents[2]


def fields(type: str, id: str, time: str, data: dict[str, Any], **attributes: str) -> dict[str, Any]:
    """A CloudEvent of the source "shop"."""
    return {
        "specversion": "1.0",
        "id": id,
        "source": "shop",
        "type": type,
        "time": time,
        "data": data,
        **attributes,
    }


def message(event: dict[str, Any], topics: Topics) -> Message:
    """An event as upstreams that know Kafka publish it."""
    decoded = decode_fields(event)
    return Message(topics.of(decoded), event_key(decoded), encode(decoded))


def get(url: str, tenant: str = "default", **params: Any) -> Any:
    """The JSON of an API's answer."""
    answer = fetch(url, tenant, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def fetch(url: str, tenant: str = "default", **params: Any) -> httpx.Response:
    """The answer of a running stack to a GET."""
    return request("GET", url, params=params, headers=_credentials(url, tenant))


def post(url: str, json: object, tenant: str = "default") -> httpx.Response:
    """The answer of a running stack to a POST."""
    return request("POST", url, json=json, headers=_credentials(url, tenant))


@contextmanager
def running(settings: Settings, folder: Path, workers: Mapping[str, int] | None = None) -> Iterator[Stack]:
    """A stack whose keys ``get``, ``fetch`` and ``post`` show. Its services are forks (``nursery.py``); those of
    `kith up` and `kith demo`, which other tests start, import their code themselves."""
    with mock.patch.object(up, "Process", Worker), Stack(settings, folder, workers=workers) as stack:
        _stacks.append(stack)
        try:
            yield stack
        finally:
            _stacks.remove(stack)


_stacks: list[Stack] = []


def _credentials(url: str, tenant: str) -> dict[str, str]:
    [stack] = [stack for stack in _stacks if any(url.startswith(known) for known in stack.addresses.values())]
    return stack.headers(tenant)


def wait_ready(url: str) -> None:
    def ready() -> bool:
        try:
            return request("GET", f"{url}/health/ready", timeout=5.0).status_code == 200
        except httpx.TransportError:
            return False

    wait_for(f"readiness of {url}", ready)


def behind(settings: Settings, database: Database[Document]) -> str:
    """What is not stored or not published yet, in words; empty when everything is."""
    status = read_status(settings, database)
    lags = [f"{p.service} {p.topic}/{p.partition}: {p.stored} of {p.end}" for p in status.partitions if p.lag]
    return "; ".join([*lags, *([f"{status.outbox} parcels"] if status.outbox else [])])


def wait_until_drained(settings: Settings, database: Database[Document]) -> None:
    """Until every event is stored and every change counted. Looks twice: while the first look lasts, changes
    may be published after the end of their log was asked for."""
    deadline = Deadline()
    while (left := behind(settings, database)) or (left := behind(settings, database)):
        deadline.check(f"after {PATIENCE_SECONDS:.0f} s: {left}")
        time.sleep(0.25)


def differences(oracle: Oracle, settings: Settings, database: Database[Document]) -> list[str]:
    """Where the documents and the change log are not what the oracle expects of the accepted events."""
    vault = vault_in(settings, database)
    if vault is not None:
        oracle.pseudonym = vault.pseudonym
    expected = oracle.expected()
    assert expected.facts, "there is nothing to compare"
    weights = Weights(settings.kind_weights, settings.half_life_months)
    found = compare(expected, database, weights, vault)
    log = ChangeLog(expected)
    gauge = LagReader(settings, database)
    try:
        log.read(gauge.changes())
    finally:
        gauge.close()
    return [str(difference) for difference in (*found.differences, *log.judge().differences)]


def ends(settings: Settings, topics: Iterable[str]) -> dict[str, int]:
    """The end offsets, by ``topic/partition``."""
    consumer = KafkaConsumer(**connection(settings), group_id=None)
    try:
        places = partitions_of(consumer, topics)
        found: dict[TopicPartition, int] = consumer.end_offsets(places)
    finally:
        consumer.close()
    return {str(Partition(*place)): end for place, end in found.items()}


def values(settings: Settings, topic: str) -> list[tuple[dict[str, bytes], bytes | None, bytes]]:
    """Headers, key and value of every message in a topic."""
    return [(dict(record.headers), record.key, record.value or b"") for record in read_topics(settings, topic)]


def kith(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """The command ``kith`` as a process, with no settings but these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    kept = {
        name: os.environ[name]
        for name in ("KITH_CACHE_FOLDER", "KITH_MAVEN_URL", "KITH_MONGOD")
        if name in os.environ
    }
    return subprocess.Popen(
        [Path(sys.executable).with_name("kith"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**clean, **kept, **environment},
    )


def run_kith(*arguments: str, **environment: str) -> str:
    """What the command prints. It must succeed, and have nothing to complain of."""
    with kith(*arguments, **environment) as process:
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (0, "")
    return output


def call_kith(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """The same command in this process, which has loaded it already: its status, output and errors."""
    clean = {name: None for name in os.environ if name.startswith("KITH_")}
    with (
        CliRunner().isolation(env={**clean, **environment}) as (output, errors, _),
        mock.patch.object(sys, "argv", ["kith", *arguments]),
    ):
        with pytest.raises(SystemExit) as end:
            main()
        sys.stdout.flush()
        sys.stderr.flush()
        return int(end.value.code or 0), output.getvalue().decode(), errors.getvalue().decode()


#: What running processes say of themselves.
LIVELY = {WORKERS, "followers", "webhook_leases"}
#: What a job makes anew every few minutes, of the state of that moment.
PERIODIC = {GRAPH_NODES, "graph_jobs"}


def everything(database: Database[Document]) -> dict[str, dict[str, Document]]:
    """All documents, by collection, but for workers' and a job's; of positions only how far they have come."""
    found = {
        name: {document["_id"]: document for document in database[name].find()}
        for name in sorted(database.list_collection_names())
        if name not in LIVELY | PERIODIC
    }
    for position in found["positions"].values():
        del position["epoch"], position["owner"], position["session"]
    return found


def differing(
    before: Mapping[str, Mapping[str, Document]], after: Mapping[str, Mapping[str, Document]]
) -> dict[str, dict[str, tuple[Document | None, Document | None]]]:
    """What ``everything`` found otherwise: by collection and id, the document before and after."""
    changed: dict[str, dict[str, tuple[Document | None, Document | None]]] = {}
    for name in sorted({*before, *after}):
        old, new = before.get(name, {}), after.get(name, {})
        if ids := [id for id in {*old, *new} if old.get(id) != new.get(id)]:
            changed[name] = {id: (old.get(id), new.get(id)) for id in ids}
    return changed
