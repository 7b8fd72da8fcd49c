"""What KafkaPublisher adds to kafka-python's producer and needs no broker for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner

from shared.kafka.python_client.publisher import _ByKey


class Cluster:
    """What a partitioner asks of kafka-python's metadata."""

    def __init__(self, count: int) -> None:
        self._all = set(range(count))

    def topics(self) -> set[str]:
        return {"t"}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return self._all

    def available_partitions_for_topic(self, _topic: str) -> set[int]:
        return {max(self._all)}


@given(st.binary(), st.integers(1, 60))
def test_a_key_goes_where_other_clients_put_it(key: bytes, count: int) -> None:
    cluster = Cluster(count)
    expected = DefaultPartitioner().partition("t", key, key, b"", b"", cluster)
    for _ in range(2):  # asked again, the answer comes from memory
        assert _ByKey().partition("t", key, key, b"", b"", cluster) == expected


def test_of_a_topic_without_partitions_it_says_what_kafka_python_says() -> None:
    with pytest.raises(ValueError, match="not found in ClusterMetadata"):
        _ByKey().partition("u", b"k", b"k", b"", b"", Cluster(0))


def test_without_a_key_a_partition_is_taken_that_has_a_leader() -> None:
    assert _ByKey().partition("t", None, None, b"", b"", Cluster(7)) == 6
