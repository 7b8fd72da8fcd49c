"""The composition root of the relations service: the worker and the query API in one process."""

from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.factory import build_projection, strength_of, with_keys
from services.relations.findings import PlaintextFindings
from services.relations.invalidation import Invalidation, OwnWrites
from services.relations.measures.source import Measures
from services.relations.metrics import cache_metrics, lost_keys_metric
from services.relations.queries import Queries
from services.relations.schema import COLLECTIONS
from services.relations.sealing import SealedProjection
from services.relations.spellings import StoredSpellings
from shared.cassandra.address import parse
from shared.cassandra.lists import RelationshipLists
from shared.cassandra.store import CassandraTables
from shared.measures.computing import here
from shared.runtime.clock import now
from shared.service.composition import Service
from shared.service.launch import launch
from shared.settings import Settings, cassandra_of, servers_of
from shared.vault.lost import LostKeys
from shared.vault.open import key_problems, key_sweeper
from shared.vault.schema import COLLECTIONS as VAULT


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, or the error that stopped the worker."""
    servers_of(settings)
    with Service("relations", settings) as service:
        database, vault, names = service.database, service.vault, service.names("relations")
        strength, cache = strength_of(settings), QueryCache(settings.cache, settings.cache_entries)
        service.metrics.register(cache_metrics(cache))
        projection = build_projection(settings, vault)
        findings = (
            [PlaintextFindings(projection, database, service.metrics)]
            if isinstance(projection, SealedProjection)
            else []
        )
        lists = None
        if settings.reads == "cassandra":
            lists = RelationshipLists(service.closing(CassandraTables(parse(cassandra_of(settings))))).page
        gate = service.erasure_gate()

        def check() -> None:
            gate.check()
            if vault is not None and settings.keys_topic == "on":
                # The first key is in the topic before the mark of any erasure. A lost database is noticed.
                vault.check()

        worker = service.worker(
            projection,
            COLLECTIONS,
            beside=VAULT,
            wrap=lambda store: with_keys(store, vault),
            check=check,
            observers=[OwnWrites(cache), *findings],
        )
        service.background(Invalidation(settings, cache))
        service.background(StoredSpellings(database, names, service.metrics))
        service.background(LostKeys(database, lost_keys_metric(service.metrics).set))
        if (sweeper := key_sweeper(settings, database)) is not None:
            service.background(sweeper)
        app = create_app(
            Queries(database, strength, cache, names, lists),
            strength,
            lambda: key_problems(vault) or gate.problems() or worker.problems(),
            now,
            service.computing("services.relations.measures")
            or here(Measures(database, names, now, vault, settings.rating_scales).of),
            access=service.access,
            vault=vault,
        )
        service.serve(app, settings.relations_port, gate=gate, origins=settings.dashboard_origins)


def main() -> None:
    launch("relations", run)


if __name__ == "__main__":
    main()
