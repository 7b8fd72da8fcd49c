"""The composition root of the analytics service: the worker and the report API in one process."""

from services.analytics.api import create_app
from services.analytics.dashboard.figures import FiguresReader
from services.analytics.dashboard.live import add_live
from services.analytics.dashboard.operations import Readings, add_operations
from services.analytics.dashboard.pages import ASKED, add_pages
from services.analytics.dashboard.versions import Versions
from services.analytics.measures.source import Measures
from services.analytics.projection import AnalyticsProjection
from services.analytics.queries import AnalyticsQueries
from services.analytics.schema import COLLECTIONS
from shared.erasure.followed_gate import FollowedGate
from shared.erasure.ledger import read_ledger
from shared.letters.store import letters_in
from shared.measures.computing import here
from shared.observability.status import StatusReader
from shared.runtime.clock import now
from shared.service.composition import Service
from shared.service.launch import launch
from shared.settings import Settings, servers_of, urls_for_browsers
from shared.versions.progress import caught_up


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, or the error that stopped the worker."""
    servers_of(settings)
    with Service("analytics", settings) as service:
        database, names, relations = service.database, service.names("analytics"), service.names("relations")
        gate = service.background(
            FollowedGate(
                database,
                relations,
                lambda: read_ledger(settings),
                service.versions("relations"),
                lambda marks: caught_up(database, service.versions("analytics"), marks),
                "the changes of the latest erasures are not counted yet",
            )
        )
        worker = service.worker(AnalyticsProjection(service.topics), COLLECTIONS)
        app = create_app(
            AnalyticsQueries(database, names),
            lambda: gate.problems() or worker.problems(),
            service.computing("services.analytics.measures")
            or here(Measures(database, names, relations, now, settings.rating_scales).of),
            access=service.access,
        )
        add_live(app, FiguresReader(database, names, relations, now))
        readings = service.closing(Readings(lambda: StatusReader(settings, database)))
        add_operations(app, readings, Versions(database), letters_in(settings, database), service.publisher)
        add_pages(app, **urls_for_browsers(settings, ASKED))
        service.serve(app, settings.analytics_port, gate=gate, ungated=["/v1/operations"])


def main() -> None:
    launch("analytics", run)


if __name__ == "__main__":
    main()
