"""Where the records of a log end. A transactional producer leaves markers after its records, and aborted records
stay in the log as well. These offsets are never read as records, and they are no lag."""

import time
from collections.abc import Mapping

from kafka import KafkaConsumer, TopicPartition

from shared.kafka.python_client.reader import reaching_brokers

Offsets = Mapping[TopicPartition, int]


def data_ends(
    consumer: KafkaConsumer, positions: Offsets, ends: Offsets, seconds: float = 2.0
) -> dict[TopicPartition, int]:
    """``ends``, replaced by the reader's position where a partition holds no record from that position on.
    ``consumer`` is in no group and reads committed records. A partition that does not answer within ``seconds``
    keeps its end. Raises Unavailable."""
    found = dict(ends)
    left = {tp: position for tp, position in positions.items() if position < ends.get(tp, 0)}
    if not left:
        return found
    deadline = time.monotonic() + seconds
    with reaching_brokers():
        consumer.assign(list(left))
        for tp, position in left.items():
            consumer.seek(tp, position)
        while left and time.monotonic() < deadline:
            for tp in consumer.poll(timeout_ms=100, max_records=1):
                consumer.pause(tp)
                left.pop(tp, None)
            for tp in list(left):
                if consumer.position(tp) >= ends[tp]:
                    found[tp] = left.pop(tp)
        consumer.assign([])
    return found
