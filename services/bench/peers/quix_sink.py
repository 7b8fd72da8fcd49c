"""Quix Streams with its MongoDB sink. It runs in a separate environment, so it is started by its path.

It stores at its checkpoints: one ``bulk_write`` per partition, then the offsets.
"""

import os
from urllib.parse import urlsplit

from quixstreams import Application
from quixstreams.sinks.community.mongodb import MongoDBSink

#: A checkpoint of four partitions with about a thousand events each, the batch size of the other peers.
CHECKPOINT = 4000


def main() -> None:
    address = urlsplit(os.environ["BENCH_MONGO"])
    assert address.hostname is not None
    assert address.port is not None
    application = Application(
        broker_address=os.environ["BENCH_KAFKA"],
        consumer_group=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        commit_every=CHECKPOINT,
        commit_interval=0.5,
        loglevel="WARNING",
    )
    sink = MongoDBSink(
        host=address.hostname,
        port=address.port,
        db=os.environ["BENCH_DATABASE"],
        collection="relations",
        document_matcher=lambda item: {"_id": item.value["data"]["relation_id"]},
        update_method="UpdateOne",
        directConnection=True,
    )
    topic = application.topic(os.environ["BENCH_TOPIC"], value_deserializer="json")
    application.dataframe(topic).sink(sink)
    application.run()


if __name__ == "__main__":
    main()
