"""After an erasure, Kafka's own compaction removes the wrapped key from the files of a real broker."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record import MemoryRecords
from pymongo.database import Database

from shared.contracts.topics import WRAPPED_KEYS, Topics
from shared.kafka.python_client.has_records import has_records
from shared.kafka.topics_admin import ensure_topics
from shared.local.kafka import KafkaServer
from shared.local.processes import free_ports
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from shared.settings import Settings
from shared.vault.master import new_master_key
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.open import published, vault_in
from shared.vault.protocols import Wrapped
from shared.vault.schema import COLLECTIONS
from tests.support.waiting import wait_for

#: Instead of six hours, the quarter of a minute in which the cleaner looks for work, and the minute for which
#: a file that it has replaced stays.
LAG_MS, LOOK_MS, DELAY_MS = "500", "200", "100"


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    port, controller = free_ports(2)
    quick = {"log.cleaner.backoff.ms": LOOK_MS}
    server = KafkaServer(tmp_path / "kafka", port, controller, tmp_path / "kafka.log", quick)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def hurry(kafka: KafkaServer, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        sooner = {"max.compaction.lag.ms": LAG_MS, "file.delete.delay.ms": DELAY_MS}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, sooner)])
    finally:
        admin.close()


def on_disk(kafka: KafkaServer, topic: str) -> bytes:
    """All that the files of a topic contain: their bytes, and those of their records, which are compressed."""
    found = []
    for path in (kafka.data / "logs").glob(f"{topic}-*/*"):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # Kafka has deleted it just now.
        found.append(content)
        if ".log" in path.suffixes:
            records = MemoryRecords(content)
            while (batch := records.next_batch()) is not None:
                found += [(record.key or b"") + b"\0" + (record.value or b"") for record in batch]
    return b"\n".join(found)


def test_a_destroyed_key_leaves_the_disks_with_the_next_compaction(
    kafka: KafkaServer, mongo_database: Database[Document]
) -> None:
    settings = Settings(
        kafka=kafka.bootstrap, master_key=new_master_key(), keys_topic="on", topic_prefix="gone", partitions=1
    )
    ensure_topics(settings)
    topic = Topics("gone").name(WRAPPED_KEYS)
    assert not has_records(settings, topic)
    hurry(kafka, topic)
    prepare(mongo_database, COLLECTIONS)
    vault = vault_in(settings, mongo_database)
    assert vault is not None
    vault.keys("t", ["ann", "bob"])
    stored = MongoKeyStore(mongo_database)
    found = stored.find(["t:ann", "t:bob"])
    wrapped = {id: b64encode(key.wrapped) for id, key in found.items() if isinstance(key, Wrapped)}
    assert wrapped.keys() == {"t:ann", "t:bob"}
    assert all(secret in on_disk(kafka, topic) for secret in wrapped.values())
    assert has_records(settings, topic)
    assert not has_records(settings, "gone.nowhere")

    vault.destroy("t", "ann")
    store = published(settings, mongo_database, stored)

    def gone() -> bool:
        # As an operator does by `kith keys publish`: a partition is compacted when it gets a next record.
        store.publish_all()
        return wrapped["t:ann"] not in on_disk(kafka, topic)

    wait_for("the key's end", gone, pause=0.3)
    left = on_disk(kafka, topic)
    assert wrapped["t:bob"] in left
    assert b"key/t:ann" in left, "the mark stays"
