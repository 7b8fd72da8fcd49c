"""Prometheus metrics of the graph, read at each scrape."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.intelligence.follower import Follower
from services.intelligence.job import Job
from services.intelligence.outcomes.recorder import Recorder
from services.intelligence.state import ROOM_BYTES
from shared.observability.gauges import CallbackCounters


class GraphMetrics(Collector):
    """Size, memory and progress of the graphs of all tenants together."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def describe(self) -> Iterator[Metric]:
        yield from self._families()

    def _families(self) -> tuple[GaugeMetricFamily | CounterMetricFamily, ...]:
        gauge, counter = GaugeMetricFamily, CounterMetricFamily
        return (
            gauge("kith_graph_ready", "1 when the graph is whole and follows the changes, else 0."),
            gauge("kith_graph_edges", "Relationships in the graph."),
            gauge("kith_graph_nodes", "Consumers and providers in the graph.", labels=["side"]),
            gauge("kith_graph_bytes", "Memory of the graph's arrays and names, and of providers and consents."),
            gauge("kith_graph_bytes_per_edge", "Memory per relationship; absent without any."),
            gauge("kith_graph_lag", "Changes that are stored and not followed yet, as of the last check."),
            gauge("kith_graph_scan_seconds", "How long the last scan of the relationships took."),
            counter("kith_graph_scans", "Scans of all relationships."),
            counter("kith_graph_tails_lost", "Scans that were needed because changes were missing."),
            counter("kith_graph_changes", "Changes of relations that were applied."),
            gauge("kith_graph_outgrown", "Tenants whose relationships are not held for want of room."),
            gauge(
                "kith_graph_held",
                f"What all tenants hold, in relationships of {ROOM_BYTES} bytes, which"
                " KITH_INTELLIGENCE_MAX_EDGES bounds.",
            ),
        )

    def collect(self) -> Iterator[Metric]:
        families = self._families()
        ready, edges, nodes, size, per_edge, lag, seconds, scans, lost, changes, outgrown, room = families
        follower = self._follower
        # As of the last look at each tenant: nobody's scrape waits for a tenant's questions.
        held = follower.held
        count, total = sum(each.edges for each in held), sum(each.bytes for each in held)
        sides = {
            "consumer": sum(each.consumers for each in held),
            "provider": sum(each.providers for each in held),
        }
        ready.add_metric([], 0.0 if follower.problems() else 1.0)
        edges.add_metric([], count)
        for side, number in sides.items():
            nodes.add_metric([side], number)
        size.add_metric([], total)
        if count:
            per_edge.add_metric([], total / count)
        lag.add_metric([], follower.lag)
        seconds.add_metric([], follower.scan_seconds)
        scans.add_metric([], follower.scans)
        lost.add_metric([], follower.lost)
        changes.add_metric([], follower.changes)
        outgrown.add_metric([], follower.outgrown)
        room.add_metric([], sum(each.room + each.views for each in held))
        yield from families


def job_metrics(job: Job) -> CallbackCounters:
    """Runs of the job that finds communities, and the seconds that they took."""
    names = {
        "kith_graph_jobs": "Runs of the job that finds communities and PageRank.",
        "kith_graph_job_seconds": "Seconds that these runs took.",
    }
    return CallbackCounters(names, lambda: (job.runs, job.seconds))


def outcome_metrics(recorder: Recorder) -> CallbackCounters:
    """Lists whose outcome is recorded, and those that could not be."""
    names = {
        "kith_outcomes_recorded": "Lists that were shown and are recorded.",
        "kith_outcomes_dropped": "Lists that should have been: too many waited, or MongoDB was unavailable.",
        "kith_outcomes_left_out": "Lists of nobody who may be recorded: without consent, or gone meanwhile.",
    }
    return CallbackCounters(names, lambda: (recorder.recorded, recorder.dropped, recorder.left_out))
