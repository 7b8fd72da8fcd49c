"""The composition root of the intelligence service: the graph and its API in one process."""

from services.intelligence.advisers import Advisers
from services.intelligence.api import create_app
from services.intelligence.follower import Follower
from services.intelligence.job import Job
from services.intelligence.letters import Letters
from services.intelligence.metrics import GraphMetrics, job_metrics, outcome_metrics
from services.intelligence.models import Models
from services.intelligence.nodes import Nodes
from services.intelligence.outcomes.recorder import Recorder
from services.intelligence.outcomes.settings import recording_of
from services.intelligence.outcomes.store import OutcomeStore
from services.intelligence.outcomes.touched import Touched
from services.intelligence.parameters import Defaults
from services.intelligence.questions import Questions
from services.intelligence.scan import MongoSource
from services.intelligence.schema import COLLECTIONS
from shared.contracts.topic_names import CHANGES, DEAD_LETTERS
from shared.erasure.derived import forget, forget_all
from shared.erasure.followed_gate import FollowedGate
from shared.erasure.ledger import read_ledger
from shared.kafka.python_client.following import KafkaFollowing
from shared.runtime.clock import now
from shared.runtime.worker import owner_name
from shared.service.composition import Prepared, Service
from shared.service.launch import launch
from shared.settings import Settings, servers_of
from shared.versions.followers import FollowerBeat
from shared.versions.progress import reached_by


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError."""
    servers_of(settings)
    with Service("intelligence", settings) as service:
        database, topics = service.database, service.topics
        prepared = Prepared(database, COLLECTIONS)
        source = MongoSource(database, settings.intelligence_purpose)
        touched = Touched()
        letters = Letters(database, service.publisher, topics.name(DEAD_LETTERS))

        def forgetting(tenant: str, consumer_id: str) -> None:
            forget(database, tenant, [consumer_id])

        follower = service.background(
            Follower(
                lambda: KafkaFollowing(settings, [topics.name(short) for short in CHANGES.values()]),
                source,
                topics,
                unreadable=letters.bury,
                erased=forgetting,
                listener=touched,
                most_edges=settings.intelligence_max_edges,
            )
        )
        beat = service.background(FollowerBeat(database, "intelligence", owner_name(), lambda: follower.seen))
        gate = service.background(
            FollowedGate(
                database,
                service.names("relations"),
                lambda: read_ledger(settings),
                service.versions("relations"),
                lambda marks: reached_by(follower.seen, marks),
                "the graph has not followed the changes of the latest erasures yet",
                # They may have been erased while no process of this service ran.
                lambda entries: forget_all(database, entries),
            )
        )
        service.metrics.register(GraphMetrics(follower))
        models = Models(database)
        questions = Questions(
            follower,
            source,
            Defaults(settings.kind_weights, settings.half_life_months, now),
            lambda: follower.problems() or beat.problems(),
            Advisers(models),
        )
        recorder = service.background(
            Recorder(
                OutcomeStore(database, service.names("relations")),
                follower,
                touched,
                recording_of(settings),
                source.granted,
                lambda tenant, ids: forget(database, tenant, ids),
                now,
            )
        )
        service.metrics.register(outcome_metrics(recorder))
        nodes = Nodes(database, owner_name())
        job = service.background(Job(follower, nodes, settings.intelligence_job_seconds, now))
        service.metrics.register(job_metrics(job))
        app = create_app(
            questions,
            nodes,
            models,
            recorder,
            lambda: prepared.problems() or follower.problems() or gate.problems() or beat.problems(),
            access=service.access,
        )
        service.serve(app, settings.intelligence_port, gate=gate, origins=settings.dashboard_origins)


def main() -> None:
    launch("intelligence", run)


if __name__ == "__main__":
    main()
