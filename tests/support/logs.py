"""What lies in topics of a real Kafka."""

from contextlib import closing

from shared.kafka.python_client.reader import open_consumer, partitions_of, record_of
from shared.runtime.protocols import Partition, Record
from shared.settings import Settings
from tests.support.waiting import Deadline


def read_topics(settings: Settings, *topics: str) -> list[Record]:
    """Every message that is in these topics now, each partition in its order."""
    found: list[Record] = []
    with closing(open_consumer(settings, auto_offset_reset="earliest")) as reader:
        places = partitions_of(reader, topics)
        ends = reader.end_offsets(places)
        left = {place for place, end in ends.items() if end}
        reader.assign(places)
        reader.seek_to_beginning(*places)
        deadline = Deadline()
        while left:
            deadline.check(f"{', '.join(topics)} cannot be read to the end")
            for place, batch in reader.poll(timeout_ms=500).items():
                found += [record_of(Partition(*place), record) for record in batch]
            left = {place for place in left if reader.position(place) < ends[place]}
    return found
