"""The ledger's topic on a real Kafka: read whole, and followed."""

from datetime import UTC, datetime

import pytest
from kafka.admin import ConfigResource, KafkaAdminClient

from shared.contracts.errors import Unavailable
from shared.contracts.topics import LEDGER, Topics
from shared.erasure.ledger import Ledger, read_ledger
from shared.erasure.records import LedgerEntry, Mode, erasure_id
from shared.kafka.clients import open_publisher
from shared.kafka.python_client.reader import connection
from shared.runtime.protocols import Message
from shared.settings import Settings
from tests.support.waiting import PATIENCE_SECONDS, wait_for


def entry(consumer_id: str, mode: Mode) -> LedgerEntry:
    time = datetime(2026, 3, 1, tzinfo=UTC)
    return LedgerEntry(
        erasure=erasure_id("default", consumer_id),
        tenant="default",
        consumer_id=consumer_id,
        mode=mode,
        time=time,
    )


def publish(settings: Settings, *entries: LedgerEntry | bytes) -> None:
    topic = Topics(settings.topic_prefix).name(LEDGER)
    publisher = open_publisher(settings)
    publisher.send(
        [
            Message(topic, b"x", each)
            if isinstance(each, bytes)
            else Message(topic, each.document_id.encode(), each.model_dump_json().encode())
            for each in entries
        ]
    ).result(PATIENCE_SECONDS)
    publisher.close()


def test_the_whole_ledger_is_read_and_the_highest_mode_counts(real_settings: Settings) -> None:
    assert read_ledger(real_settings) == {}
    every = [entry(f"c{n}", "anonymise") for n in range(50)]
    publish(real_settings, entry("c7", "delete"), *every, entry("c8", "delete"), b"not json", b"{}")
    found = read_ledger(real_settings)
    assert found.keys() == {f"default:c{n}" for n in range(50)}
    assert {id for id, each in found.items() if each.mode == "delete"} == {"default:c7", "default:c8"}


def test_whoever_follows_it_hears_of_the_next_erasure(real_settings: Settings) -> None:
    publish(real_settings, entry("a:b", "delete"))
    ledger = Ledger(real_settings)
    assert ledger.problems()
    ledger.start()
    try:
        wait_for("the ledger", lambda: not ledger.problems())
        assert (ledger.mode("default", "a:b"), ledger.mode("acme", "a:b")) == ("delete", None)
        assert ledger.mode("default", "later") is None
        publish(real_settings, entry("later", "anonymise"))
        wait_for("the next erasure", lambda: ledger.mode("default", "later") == "anonymise")
    finally:
        ledger.stop()


def test_the_topic_is_compacted_and_kept_for_ever(real_settings: Settings) -> None:
    admin = KafkaAdminClient(**connection(real_settings))
    try:
        name = Topics(real_settings.topic_prefix).name(LEDGER)
        configs = admin.describe_configs([ConfigResource("TOPIC", name)])["topic"][name]
        found = {setting: configs[setting]["value"] for setting in ("cleanup.policy", "retention.ms")}
        assert found == {"cleanup.policy": "compact", "retention.ms": "-1"}
    finally:
        admin.close()


def test_without_the_topic_nobody_is_taken_for_unerased(real_settings: Settings) -> None:
    elsewhere = real_settings.model_copy(update={"topic_prefix": f"{real_settings.topic_prefix}-none"})
    with pytest.raises(Unavailable, match="Kafka has no topic"):
        read_ledger(elsewhere)
