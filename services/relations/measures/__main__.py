"""The process that computes the measures of relations: ``python -m services.relations.measures``. The service
starts it.

It is started often, so it imports no web framework and no Kafka client.
"""

from services.relations.measures.catalogue import MEASURES
from services.relations.measures.source import Measures
from shared.measures.computing import compute_for_parent
from shared.mongo.store import connect
from shared.runtime.clock import now
from shared.service.launch import launch
from shared.settings import Settings
from shared.vault.open import vault_in
from shared.versions.live import LiveNames
from shared.versions.mongo_registry import MongoRegistry


def run(settings: Settings) -> None:
    assert settings.mongo is not None, "the service that starts this has it"
    with connect(settings.mongo, settings.query_seconds) as client:
        database = client[settings.database]
        names = LiveNames(MongoRegistry(database, "relations"))
        measures = Measures(database, names, now, vault_in(settings, database), settings.rating_scales)
        compute_for_parent(MEASURES, measures.of, settings.measure_memory_mib)


if __name__ == "__main__":
    launch("relations", run)
