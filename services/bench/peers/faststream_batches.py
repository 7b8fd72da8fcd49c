"""FastStream on confluent-kafka: a batch subscriber whose handler does one ``bulk_write`` per batch.

Events arrive as dicts, its fastest mode. They are acknowledged after the handler, so that none is lost.
"""

import asyncio
import logging
import os
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker
from pymongo import MongoClient, UpdateOne

BATCH = 1000


async def main() -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(os.environ["BENCH_MONGO"])
    collection = client[os.environ["BENCH_DATABASE"]]["relations"]
    broker = KafkaBroker(os.environ["BENCH_KAFKA"], log_level=logging.WARNING)

    def store(events: list[dict[str, Any]]) -> None:
        collection.bulk_write(
            [UpdateOne({"_id": event["data"]["relation_id"]}, {"$set": event}, upsert=True) for event in events]
        )

    subscriber = broker.subscriber(
        os.environ["BENCH_TOPIC"],
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.ACK,
        batch=True,
        max_records=BATCH,
    )
    subscriber(store)
    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main())
