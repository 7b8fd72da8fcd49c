"""Change capture on real Kafka: positions that Kafka keeps, and what happens where they are lost."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import typer
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from typer.testing import CliRunner

from services.importer.capture_command import capture_command
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.python_client.committed import CommittedLog
from shared.kafka.python_client.reader import connection
from shared.settings import Settings
from tests.support.capture import MAPPING, Failing, captured, stored
from tests.support.importer import Recorder

app = typer.Typer()
app.command("capture")(capture_command)


@pytest.fixture
def topic(real_settings: Settings) -> Iterator[str]:
    """A topic of its own with the recorded changes of orders."""
    name = f"{real_settings.topic_prefix}.shop.public.orders"
    with closing(KafkaAdminClient(**connection(real_settings))) as admin:
        admin.create_topics([NewTopic(name, 1, 1)])
        send(real_settings, name, 9)
        yield name
        admin.delete_topics([name])


def send(settings: Settings, topic: str, most: int) -> None:
    with closing(KafkaProducer(**connection(settings))) as producer:
        for record in stored("orders")[:most]:
            producer.send(topic, key=record.key, value=record.value)
        producer.flush(30)


def opened(settings: Settings, topic: str) -> CommittedLog:
    return CommittedLog(settings, "capture.shop", [topic])


def test_each_run_goes_on_after_what_kafka_has_acknowledged(
    real_settings: Settings, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejects = tmp_path / "r.jsonl"
    with closing(opened(real_settings, topic)) as log:
        assert log.lag() == 9
        with pytest.raises(Unavailable):
            captured(log, Failing(), rejects)

    for name in ("kafka", "topic_prefix", "group", "encryption"):
        monkeypatch.setenv(f"KITH_{name.upper()}", str(getattr(real_settings, name)))
    command = [str(MAPPING), "--topic", topic, "--json", "--rejects", str(rejects)]
    reports = []
    for _ in range(2):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        reports.append(json.loads(result.stdout))
    found = [(report["records"], report["accepted"], report["rejected"], report["lag"]) for report in reports]
    assert found == [(9, 6, 2, 0), (0, 0, 0, 0)]

    send(real_settings, topic, 2)
    with closing(opened(real_settings, topic)) as log:
        assert captured(log, recorder := Recorder(), rejects).total("records") == 2
    assert len(recorder.messages) == 2


def test_what_retention_deleted_unread_is_told(real_settings: Settings, topic: str) -> None:
    with closing(opened(real_settings, topic)) as log:
        partition = next(record.partition for record in log.poll(10_000))
        log.commit({partition: 2})
    with closing(KafkaAdminClient(**connection(real_settings))) as admin:
        admin.delete_records({TopicPartition(topic, 0): 5})
    with pytest.raises(ConfigurationError, match="is to go on at 2, but the log holds 5 to 9"):
        opened(real_settings, topic)


def delete(settings: Settings, topic: str, before: int) -> None:
    """What retention does."""
    with closing(KafkaAdminClient(**connection(settings))) as admin:
        admin.delete_records({TopicPartition(topic, 0): before})


def test_a_position_that_kafka_has_forgotten_skips_nothing_in_silence(real_settings: Settings, topic: str) -> None:
    with closing(opened(real_settings, topic)) as log:
        log.keep()
    with closing(KafkaAdminClient(**connection(real_settings))) as admin:
        admin.delete_groups([f"{real_settings.group}.capture.shop"])
    # All is still there, and what is read twice does no harm.
    with closing(opened(real_settings, topic)) as log:
        assert log.lag() == 9
    delete(real_settings, topic, 5)
    with pytest.raises(ConfigurationError, match=r"has no position of the group .* begins at 5.* --new"):
        opened(real_settings, topic)


def test_a_new_capture_begins_with_what_there_is_and_then_goes_on(real_settings: Settings, topic: str) -> None:
    delete(real_settings, topic, 5)
    with closing(CommittedLog(real_settings, "capture.shop", [topic], new=True)) as log:
        assert log.lag() == 4
        log.keep()
    # It has a position from its first moment, with nothing read yet.
    with closing(opened(real_settings, topic)) as log:
        assert log.lag() == 4
        records = log.poll(10_000)
        log.keep()
        log.commit({records[0].partition: records[0].offset + 1})
    with closing(opened(real_settings, topic)) as log:
        assert log.lag() == 3


def test_a_missing_topic_is_told(real_settings: Settings) -> None:
    with pytest.raises(Unavailable, match="has no topic absent"):
        opened(real_settings, "absent")
