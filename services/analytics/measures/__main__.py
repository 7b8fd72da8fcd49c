"""The process that computes the measures of analytics: ``python -m services.analytics.measures``. The service
starts it.

It is started often, so it imports no web framework and no Kafka client.
"""

from services.analytics.measures.catalogue import MEASURES
from services.analytics.measures.source import Measures
from shared.measures.computing import compute_for_parent
from shared.mongo.store import connect
from shared.runtime.clock import now
from shared.service.launch import launch
from shared.settings import Settings
from shared.versions.live import LiveNames
from shared.versions.mongo_registry import MongoRegistry


def run(settings: Settings) -> None:
    assert settings.mongo is not None, "the service that starts this has it"
    with connect(settings.mongo, settings.query_seconds) as client:
        database = client[settings.database]
        names, relations = (LiveNames(MongoRegistry(database, name)) for name in ("analytics", "relations"))
        measures = Measures(database, names, relations, now, settings.rating_scales)
        compute_for_parent(MEASURES, measures.of, settings.measure_memory_mib)


if __name__ == "__main__":
    launch("analytics", run)
