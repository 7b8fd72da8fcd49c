"""Topics as brokers describe them, and how many replicas acknowledge in one that exists."""

from typing import Any
from unittest.mock import create_autospec

from kafka.admin import KafkaAdminClient

from shared.kafka.topics_admin import _described, _raise_in_sync


def test_a_refusal_is_not_told_as_a_change() -> None:
    admin: Any = create_autospec(KafkaAdminClient, instance=True)
    admin.describe_configs.return_value = {
        "topic": {
            name: {"min.insync.replicas": {"value": value}} for name, value in (("a", "1"), ("b", "1"), ("c", "3"))
        }
    }
    admin.alter_configs.return_value = {"topic": {"a": "OK", "b": "[Error 29] not authorized"}}
    replicas = {"a": 3, "b": 3, "c": 3, "d": 1}
    topics = [{"name": name, "partitions": [{"replica_nodes": list(range(of))}]} for name, of in replicas.items()]
    assert _raise_in_sync(admin, topics) == [
        "set min.insync.replicas of a to 2",
        "min.insync.replicas of b stays 1, and should be 2: [Error 29] not authorized",
    ]


def test_a_broker_that_does_not_know_a_new_topic_is_asked_again() -> None:
    admin: Any = create_autospec(KafkaAdminClient, instance=True)
    old, new = {"name": "a", "partitions": [{}]}, {"name": "b", "partitions": [{}]}
    admin.describe_topics.side_effect = [[old], [old, {"name": "b", "partitions": []}], [old, new]]
    assert _described(admin, ["a", "b"]) == [old, new]
