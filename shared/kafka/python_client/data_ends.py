"""Where the records of a log end. A transactional producer leaves markers after its records, and aborted records
stay in the log as well. These offsets are never read as records, and they are no lag."""

import time
from collections.abc import Mapping
from contextlib import closing

from kafka import TopicPartition

from shared.kafka.python_client.reader import open_consumer, reaching_brokers
from shared.settings import Settings

Offsets = Mapping[TopicPartition, int]

_SECONDS = 2.0


def data_ends(settings: Settings, positions: Offsets, ends: Offsets) -> dict[TopicPartition, int]:
    """``ends``, replaced by the reader's position where a partition holds no record from that position on.

    Reads with a consumer of its own, which is opened only where a position is below its end: a consumer of
    kafka-python whose partitions were paused and unassigned may fetch nothing more. A partition that does not
    answer within seconds keeps its end. Raises Unavailable."""
    found = dict(ends)
    left = {tp: position for tp, position in positions.items() if position < ends.get(tp, 0)}
    if not left:
        return found
    with closing(open_consumer(settings, auto_offset_reset="none")) as consumer, reaching_brokers():
        consumer.assign(list(left))
        for tp, position in left.items():
            consumer.seek(tp, position)
        deadline = time.monotonic() + _SECONDS
        while left and time.monotonic() < deadline:
            for tp in consumer.poll(timeout_ms=100, max_records=1):
                consumer.pause(tp)
                left.pop(tp, None)
            for tp in list(left):
                if consumer.position(tp) >= ends[tp]:
                    found[tp] = left.pop(tp)
    return found
