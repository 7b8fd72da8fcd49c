"""Counts events that were published to Kafka in plain text, past the door: in a metric and in MongoDB."""

import logging
from collections import Counter
from collections.abc import Sequence

from prometheus_client import CollectorRegistry
from pymongo.database import Database

from services.relations.metrics import plaintext_metric
from services.relations.sealing import SealedProjection
from shared.contracts.errors import Unavailable
from shared.contracts.findings import FINDINGS, PLAINTEXT
from shared.mongo.errors import translated
from shared.runtime.observer import NullObserver
from shared.runtime.protocols import Document, Outcome, Partition, Record

log = logging.getLogger(__name__)


class PlaintextFindings(NullObserver):
    """An Observer. Counts in the document ``plaintext/<topic>`` of the collection ``findings``. While MongoDB is
    unavailable, the count is kept and stored with the next finding."""

    def __init__(
        self,
        projection: SealedProjection,
        database: Database[Document],
        registry: CollectorRegistry,
    ) -> None:
        self._projection = projection
        self._findings = database[FINDINGS]
        self._unstored: Counter[str] = Counter()
        self._metric = plaintext_metric(registry)

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:  # noqa: ARG002
        count = self._projection.plaintext.pop(partition, 0)
        if not count:
            return
        self._metric.labels(partition.topic).inc(count)
        self._unstored[partition.topic] += count
        log.warning("personal data arrived in plain text", extra={"topic": partition.topic, "events": count})
        try:
            for topic, unstored in list(self._unstored.items()):
                with translated():
                    self._findings.update_one(
                        {"_id": f"{PLAINTEXT}/{topic}"},
                        {"$inc": {"count": unstored}, "$currentDate": {"last": True}},
                        upsert=True,
                    )
                del self._unstored[topic]
        except Unavailable as error:
            log.debug("finding not stored yet; it is stored with the next one: %s", error)
