"""Whether a topic has records. The right to describe it is enough to ask."""

from contextlib import closing

from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers
from shared.settings import Settings


def has_records(settings: Settings, topic: str) -> bool:
    """Whether a partition of ``topic`` ends after it begins; not so where there is no such topic. Raises
    Unavailable."""
    with closing(open_consumer(settings, auto_offset_reset="none")) as consumer, reaching_brokers():
        present = partitions_of(consumer, [topic])
        firsts, ends = consumer.beginning_offsets(present), consumer.end_offsets(present)
    return any(firsts[each] < end for each, end in ends.items())
