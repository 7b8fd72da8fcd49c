"""kafka-python and ``bulk_write``: up to 1,000 upserts at a time, then an offset commit.

With ``--without-crc32c`` kafka-python checksums in Python, as it does where that package is not installed.
"""

import os
import sys
from typing import Any

import orjson
from pymongo import MongoClient, UpdateOne

BATCH = 1000


def main() -> None:
    if "--without-crc32c" in sys.argv:
        sys.modules["crc32c"] = None  # type: ignore[assignment]  # makes its import fail
    from kafka import KafkaConsumer

    client: MongoClient[dict[str, Any]] = MongoClient(os.environ["BENCH_MONGO"])
    collection = client[os.environ["BENCH_DATABASE"]]["relations"]
    consumer = KafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=os.environ["BENCH_KAFKA"],
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=BATCH,
        metrics_enabled=False,
    )
    while True:
        found = consumer.poll(timeout_ms=200)
        events = [orjson.loads(message.value) for messages in found.values() for message in messages]
        if events:
            collection.bulk_write(
                [
                    UpdateOne({"_id": event["data"]["relation_id"]}, {"$set": event}, upsert=True)
                    for event in events
                ]
            )
            consumer.commit()


if __name__ == "__main__":
    main()
