"""The loop of tutorials: poll, ``json.loads``, ``update_one``. kafka-python commits every five seconds."""

import json
import os
from typing import Any

from kafka import KafkaConsumer
from pymongo import MongoClient


def main() -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(os.environ["BENCH_MONGO"])
    collection = client[os.environ["BENCH_DATABASE"]]["relations"]
    consumer = KafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=os.environ["BENCH_KAFKA"],
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
    )
    for message in consumer:
        event = json.loads(message.value)
        collection.update_one({"_id": event["data"]["relation_id"]}, {"$set": event}, upsert=True)


if __name__ == "__main__":
    main()
