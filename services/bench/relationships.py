"""Relationships as they are stored, for the benchmarks of sinks. Pure."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from services.relations.strength import Strength
from shared.contracts.events import document_id
from shared.runtime.protocols import Document

TENANT = "bench"
PROVIDERS = 100
#: Relationships of each consumer.
EACH = 10
STRENGTH = Strength({}, 6.0)


def documents(count: int) -> Iterator[Document]:
    """``count`` relationships, of distinct pairs, the same each time."""
    chance = random.Random(7)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        # Distinct pairs: the ten providers of a consumer follow each other.
        consumer = number // EACH
        pair = (TENANT, f"c{consumer}", f"p{(consumer * 7 + number % EACH) % PROVIDERS}")
        kinds = {"purchase": {f"2026-{month:02}": {"count": chance.randrange(1, 9)} for month in range(1, 4)}}
        total = sum(cell["count"] for cell in kinds["purchase"].values())
        yield {
            "_id": document_id(*pair),
            "tenant": pair[0],
            "consumer_id": pair[1],
            "provider_id": pair[2],
            "count": total,
            "first": first,
            "last": first + timedelta(days=80),
            "kinds": kinds,
            "score": STRENGTH.score(kinds),
            "fingerprint": number,
        }
